//! The one source of randomness. Everything below the edge takes a generator as an argument.

/// The thread's cryptographically secure generator.
#[expect(clippy::disallowed_methods, reason = "the one place where randomness is drawn from the system")]
pub fn rng() -> rand::rngs::ThreadRng {
    rand::rng()
}
