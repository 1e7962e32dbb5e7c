//! The `homing` command. All of it is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    homing_cli::run(std::env::args_os())
}
