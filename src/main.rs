//! The cshell program.

use std::process::ExitCode;

fn main() -> ExitCode {
    cshell::cli::main(std::env::args_os().skip(1).collect())
}
