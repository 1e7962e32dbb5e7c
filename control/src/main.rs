//! `homing-control CONFIG`: runs one control process. The operator's command runs the same code as
//! `homing control CONFIG`.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Runs Homing's control plane.
#[derive(Debug, Parser)]
#[command(name = "homing-control", version)]
struct Arguments {
    /// The settings file, such as configs/control.yaml.
    config: PathBuf,
    /// Read the settings, tell every fault, and do nothing else.
    #[arg(long)]
    check: bool,
    /// Write the log as JSON, one object a line.
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.log_json);
    let settings = match homing_control::config::load(&arguments.config) {
        Ok(settings) => settings,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(78);
        }
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    homing_control::run(settings)
}

/// Logs to standard error; `RUST_LOG` says how much.
fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.init();
    }
}
