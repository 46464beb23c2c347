//! The `voceguida` program: see `voceguida --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    voceguida::cli::main()
}
