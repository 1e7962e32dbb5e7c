//! Why a process cannot start: everything that can stand in its way, told with its place.

use std::{io, net::SocketAddr};

use homing_identity::IdentityFault;

use crate::{config::ConfigFault, listen::ListenFault, local_authority::FactsRefused};

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// The zones of the file and of the last table do not fit together.
    #[error("{0}")]
    Facts(#[from] FactsRefused),
    /// The state directory cannot be used.
    #[error("{path}: {error}")]
    StateDir {
        /// What was being used.
        path: String,
        /// The system's words.
        error: io::Error,
    },
    /// A client listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenFault),
    /// The admin listener cannot be opened.
    #[error("{address}: {error}")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
    /// The process's identity cannot be used.
    #[error("{0}")]
    Identity(IdentityFault),
    /// The handoff link's socket cannot be opened.
    #[error("{address}: {error}")]
    Link {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
    /// Something else of the system.
    #[error("{what}: {error}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// The system's words.
        error: io::Error,
    },
}
