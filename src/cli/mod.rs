//! The command line: subcommands, wiring, signals.

use std::process::ExitCode;

pub mod call;

/// Runs the program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
