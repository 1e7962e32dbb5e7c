//! The `homing` command. All of it is in the library, where tests reach it.

use std::process::ExitCode;

/// `homing proxy` is the data plane, whose allocator this is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    homing_cli::run(std::env::args_os())
}
