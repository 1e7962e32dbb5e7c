//! The sockets, files and threads a process takes before any of its tasks runs, so that what is
//! taken or missing is told at the start.

use std::net::{SocketAddr, TcpListener};

use tokio::runtime::Runtime;

use super::StartFault;
use crate::{
    access_log::{self, Writer},
    config::{AccessLog, Settings},
    listen::{ConnectionLimits, ListenSettings},
};

pub(super) fn bind_admin(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartFault> {
    let bound = TcpListener::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    });
    bound.map_err(|error| StartFault::Admin { address, error })
}

pub(super) fn open_access_log(
    to: &AccessLog,
) -> Result<(Option<access_log::AccessLog>, Option<Writer>), StartFault> {
    let destination = match to {
        AccessLog::Off => return Ok((None, None)),
        AccessLog::Stdout => access_log::Destination::Stdout,
        AccessLog::File(path) => access_log::Destination::File(path.clone()),
    };
    let (log, writer) = access_log::AccessLog::open(destination)
        .map_err(|error| StartFault::System { what: "opening the access log", error })?;
    Ok((Some(log), Some(writer)))
}

pub(super) fn listen_limits(settings: &Settings) -> ConnectionLimits {
    ConnectionLimits {
        connections_max: settings.limits.connections as usize,
        head_bytes_max: settings.limits.head_bytes as usize,
        ..ConnectionLimits::default()
    }
}

pub(super) fn listen_settings(settings: &Settings) -> Vec<ListenSettings> {
    let limits = listen_limits(settings);
    let one = |listen: &crate::config::Listen| ListenSettings {
        address: listen.address,
        certificates: listen.tls.clone().unwrap_or_default(),
        mutual: None,
        limits,
    };
    settings.listen.iter().map(one).collect()
}

pub(super) fn runtime(name: &'static str, threads: usize) -> Result<Runtime, StartFault> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| StartFault::System { what: "starting threads", error })
}
