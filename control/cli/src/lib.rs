//! The operator's command: `homing demo`, `check`, `push`, `status`, `why`, `move`, `drain` and the
//! rest, and the roles it can run. A library, so that the tests reach its parts; nothing depends on
//! it.

use std::ffi::OsString;
use std::io::Read as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

pub mod app;
pub mod args;
pub mod command;
pub mod demo;
mod recorded;
pub mod rest;
mod sheet;
mod svg;
pub mod trouble;

use args::{Cli, ConfigVerb, Verb};
use command::roles::Role;
use trouble::{Trouble, exit};

/// Runs the command line and gives the process's exit code.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    match carry_out(cli.verb) {
        Ok(code) => code,
        Err(trouble) => {
            if !trouble.text.is_empty() {
                let red = anstyle::AnsiColor::Red.on_default().bold();
                anstream::eprintln!("{red}homing:{red:#} {trouble}");
            }
            ExitCode::from(trouble.code)
        }
    }
}

fn carry_out(verb: Verb) -> Result<ExitCode, Trouble> {
    let done = match verb {
        Verb::Check(args) => command::check::run(&args),
        Verb::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "homing", &mut std::io::stdout());
            Ok(())
        }
        Verb::Backtest(args) => command::backtest::run(&args),
        Verb::Replay(args) => command::replay::run(&args),
        Verb::Certs(args) => command::certs::run(&args),
        Verb::App(args) => {
            follow_parent(args.exit_with_parent)?;
            block_on(command::app::run(args))
        }
        Verb::Demo(args) => block_on(demo::run(args)),
        Verb::Proxy(args) => {
            follow_parent(args.exit_with_parent)?;
            return command::roles::run(Role::Proxy, &args);
        }
        Verb::Control(args) => {
            follow_parent(args.exit_with_parent)?;
            return command::roles::run(Role::Control, &args);
        }
        Verb::Push(args) => block_on(command::document::push(&args)),
        Verb::Config { verb: ConfigVerb::Show(args) } => block_on(command::document::show(&args)),
        Verb::Status(args) => block_on(command::status::run(&args)),
        Verb::Why(args) => block_on(command::session::why(&args)),
        Verb::Profile(args) => block_on(command::profile::run(&args)),
        Verb::Forecast(args) => block_on(command::forecast::run(&args)),
        Verb::Scaling(args) => block_on(command::scaling::run(&args)),
        Verb::Feedback(args) => block_on(command::feedback::run(&args)),
        Verb::Audit(args) => block_on(command::audit::run(&args)),
        Verb::PredictScale(args) => block_on(command::predict::run(&args)),
        Verb::Plan(args) => block_on(command::plan::run(&args)),
        Verb::Move(args) => block_on(command::session::move_session(&args)),
        Verb::Sessions(args) => block_on(command::session::list(&args)),
        Verb::Drain(args) => block_on(command::zone::drain(&args)),
        Verb::Open(args) => block_on(command::zone::open(&args)),
    };
    done.map(|()| ExitCode::from(exit::OK))
}

fn block_on(work: impl Future<Output = Result<(), Trouble>>) -> Result<(), Trouble> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Ends this process when standard input does: whoever started it is gone. A signal at the parent's
/// death would need `unsafe` and is lost across threads.
fn follow_parent(wanted: bool) -> Result<(), Trouble> {
    if wanted {
        std::thread::Builder::new().name("follow-parent".to_owned()).spawn(|| {
            let mut nothing = [0; 64];
            while std::io::stdin().lock().read(&mut nothing).is_ok_and(|read| read > 0) {}
            std::process::exit(exit::OK.into());
        })?;
    }
    Ok(())
}
