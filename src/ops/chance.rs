//! The one source of randomness. Everything below the edge takes a generator as an argument.

use rand::{SeedableRng, rngs::StdRng};

/// A cryptographically secure generator, freshly seeded by the system; it may cross `.await`.
#[expect(clippy::disallowed_methods, reason = "the one place where randomness is drawn from the system")]
pub fn fresh() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}
