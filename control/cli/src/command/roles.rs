//! `homing proxy` and `homing control`: the daemons' own code, run by this binary, with the log on
//! standard error and exit codes of their own.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::args::RoleArgs;
use crate::trouble::Trouble;

use super::check::{Kind, check_files};

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The data plane.
    Proxy,
    /// The control plane.
    Control,
}

/// Runs a daemon until a signal ends it; gives its exit code.
///
/// # Errors
/// If its settings have faults.
pub fn run(role: Role, args: &RoleArgs) -> Result<ExitCode, Trouble> {
    let kind = match role {
        Role::Proxy => Kind::Proxy,
        Role::Control => Kind::Control,
    };
    if args.check {
        return check_files(Some(kind), std::slice::from_ref(&args.config), Default::default())
            .map(|()| ExitCode::SUCCESS);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start within one process (there is none outside tests) keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .try_init();
    match role {
        Role::Proxy => Ok(homing_proxy::startup::run(&args.config)),
        Role::Control => match homing_control::config::load(&args.config) {
            Ok(settings) => Ok(homing_control::startup::run(settings)),
            Err(fault) => Err(Trouble::config(fault.to_string(), "")),
        },
    }
}
