//! The `voceguida` program: see `voceguida --help`.

use std::process::ExitCode;

/// Signalling makes and frees thousands of small things a second: with the system's allocator that is a quarter of
/// its work, and the memory of a flu morning is never given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    voceguida::cli::main()
}
