//! The process and its signals: TERM drains, a second one leaves now, INT leaves fast, HUP reads
//! the settings again, and a file with faults changes nothing.

use std::{path::Path, process::ExitCode};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Proxy, Running, StartFault};
use crate::config::Settings;

/// The exit code of a file with faults (`EX_CONFIG`).
const BAD_CONFIG: u8 = 78;
/// The exit code when something needed is not there (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;

/// Runs a proxy by a settings file until a signal ends it.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    let settings = match Settings::load(path) {
        Ok(settings) => settings,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let outside = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = outside
        .map_err(|error| StartFault::System { what: "starting the signal loop", error })
        .and_then(|outside| outside.block_on(serve(settings, path)));
    match done {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("homing-proxy: {fault}");
            match fault {
                StartFault::Config(_) | StartFault::Facts(_) | StartFault::Identity(_) => {
                    ExitCode::from(BAD_CONFIG)
                }
                StartFault::Listen(_)
                | StartFault::Link { .. }
                | StartFault::Admin { .. }
                | StartFault::StateDir { .. }
                | StartFault::System { .. } => ExitCode::from(UNAVAILABLE),
            }
        }
    }
}

async fn serve(settings: Settings, path: &Path) -> Result<ExitCode, StartFault> {
    // Installed before anything else: a HUP without a handler kills the process.
    let [mut term, mut int, mut hup] = [
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
        listen(SignalKind::hangup())?,
    ];
    let running = Proxy::start(settings)?;
    tracing::info!(listen = ?running.addresses(), admin = %running.admin_address(), "ready");
    loop {
        tokio::select! {
            _ = hup.recv() => reload(&running, path).await,
            _ = int.recv() => {
                running.stop();
                return Ok(ExitCode::from(130));
            }
            _ = term.recv() => break,
            () = running.leaving().asked() => break,
        }
    }
    tokio::select! {
        () = running.drain() => {}
        _ = term.recv() => tracing::warn!("asked twice: leaving now"),
        _ = int.recv() => tracing::warn!("leaving now"),
    }
    running.stop();
    Ok(ExitCode::SUCCESS)
}

async fn reload(running: &Running, path: &Path) {
    let settings = match Settings::load(path) {
        Ok(settings) => settings,
        Err(fault) => {
            tracing::error!("reload refused, everything stays as it was:\n{fault}");
            return running.reload_refused();
        }
    };
    match running.reload(settings).await {
        Ok(told) => tracing::info!(changes = ?told, "reloaded"),
        Err(fault) => tracing::error!(%fault, "reload refused, everything stays as it was"),
    }
}

fn listen(kind: SignalKind) -> Result<Signal, StartFault> {
    signal(kind).map_err(|error| StartFault::System { what: "listening to signals", error })
}
