//! The process's settings: read from one YAML or JSON file with all faults told at once, checked,
//! and handed on as plain values. What control may change at run time (zones, services, policy) is
//! not here but in the table; without control the same file holds it too.

pub use check::ConfigFault;
pub use fleet::{GateSettings, Role};
pub use prewarm::PrewarmSettings;

use std::{fmt, net::SocketAddr, path::PathBuf};

use homing_identity::IdentityFiles;
use homing_wire::{KeySecret, RedisUrl, table::Facts};

use crate::{
    http::{cookie::CookieKeys, forwarded::TrustedPeers},
    listen::tls::CertFiles,
};

mod check;
mod fleet;
mod prewarm;
mod raw;
mod secrets;
#[cfg(test)]
mod tests;

/// Everything one proxy process is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, unique in the installation; the host name unless stated.
    pub name: String,
    /// Where clients are taken in; at least one.
    pub listen: Vec<Listen>,
    /// Where operators ask and order.
    pub admin: AdminSettings,
    /// What this process is.
    pub role: Role,
    /// What it guards, if it is a gate.
    pub gate: Option<GateSettings>,
    /// Who it is to the installation's other processes.
    pub identity: Option<IdentityFiles>,
    /// Where control is; `None` runs without control, by the facts below.
    pub control: Option<ControlSettings>,
    /// Where the last good table, the activation log and generated secrets are kept.
    pub state_dir: PathBuf,
    /// Keys of the session hash and the session cookie, as far as they are stated.
    pub secrets: SecretMaterial,
    /// What opens the servers that keep session state.
    pub stores: StoreSecrets,
    /// The authorities that endpoints which speak TLS are believed by, in PEM; the system's if
    /// `None`.
    pub endpoints_ca: Option<Vec<u8>>,
    /// Keys that verify bearer tokens.
    pub jwt_keys: Vec<JwtKey>,
    /// Where requests are logged.
    pub access_log: AccessLog,
    /// Bounds of the process.
    pub limits: ProcessLimits,
    /// How much may be fetched ahead of sessions.
    pub prewarm: PrewarmSettings,
    /// Peers whose forwarding and place headers are believed.
    pub trusted: TrustedPeers,
    /// Whether responses name the zone that answered (`homing-zone`).
    pub expose_zone: bool,
    /// How the process leaves on TERM.
    pub drain: DrainTimes,
    /// What an operator states about zones, services and policy, if the file says so.
    pub facts: Option<Facts>,
}

/// One client listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificates; `None` speaks HTTP/1.1 and h2c in the clear.
    pub tls: Option<Vec<CertFiles>>,
}

/// The admin listener.
#[derive(Clone)]
pub struct AdminSettings {
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// Bearer token that every request but `/livez` and `/readyz` must carry. Required off
    /// loopback.
    pub token: Option<String>,
}

/// Where control is.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlSettings {
    /// `https://host:port`; `http` on a machine of one's own.
    pub url: String,
    /// The name that control's certificate carries; the URL's host unless stated.
    pub name: Option<String>,
}

/// Secrets as they were read; what is missing is generated at the start and kept in the state
/// directory.
#[derive(Clone, Default)]
pub struct SecretMaterial {
    /// For the session hash.
    pub session_key: Option<Vec<u8>>,
    /// For the session cookie; the first signs, all verify.
    pub cookies: Vec<Vec<u8>>,
}

/// What opens the servers that keep session state.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreSecrets {
    /// Passwords by `user@host:port`, `host:port` or `host`, as the service names the server.
    pub redis_passwords: Vec<(String, String)>,
    /// The authorities that `rediss://` servers are believed by, in PEM; the system's if `None`.
    pub redis_ca: Option<Vec<u8>>,
}

impl StoreSecrets {
    /// The password for a server, by the most exact name given.
    #[must_use]
    pub fn redis_password(&self, url: &RedisUrl) -> Option<&str> {
        let address = url.address();
        let user = url.user.iter().map(|user| format!("{user}@{address}"));
        let names = user.chain([address.clone(), url.host.clone()]);
        let named = |name: String| self.redis_passwords.iter().find(|(other, _)| *other == name);
        names.filter_map(named).map(|(_, password)| password.as_str()).next()
    }
}

/// Keys of the session hash and the session cookie.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Keys session keys; shared by all proxies of the installation.
    pub session_key: KeySecret,
    /// Sign session cookies.
    pub cookies: CookieKeys,
}

/// A key that verifies bearer tokens.
#[derive(Clone)]
pub struct JwtKey {
    /// The name that services refer to.
    pub id: String,
    /// The one algorithm accepted under this key.
    pub algorithm: jsonwebtoken::Algorithm,
    /// The key.
    pub key: jsonwebtoken::DecodingKey,
    /// The issuer every token must name, if stated.
    pub issuer: Option<String>,
    /// The audience every token must name, if stated.
    pub audience: Option<String>,
}

/// Where requests are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    #[default]
    Off,
    /// To standard output.
    Stdout,
    /// To a file, opened for appending.
    File(PathBuf),
}

/// Bounds of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Worker threads.
    pub threads: usize,
    /// Client connections at one time.
    pub connections: u32,
    /// Sessions remembered per zone; the longest idle ones go first.
    pub sessions_per_zone: u32,
    /// Bytes of a request head.
    pub head_bytes: u32,
    /// Bytes of answers kept, of all services that have theirs kept.
    pub cache_bytes: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            connections: 50_000,
            sessions_per_zone: 1_000_000,
            head_bytes: 64 << 10,
            cache_bytes: 64 << 20,
        }
    }
}

/// How the process leaves on TERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainTimes {
    /// How long it still takes connections while `/readyz` already fails, milliseconds.
    pub delay_ms: u64,
    /// How long requests under way may then take, milliseconds.
    pub patience_ms: u64,
}

impl Default for DrainTimes {
    fn default() -> Self {
        Self { delay_ms: 1_000, patience_ms: 30_000 }
    }
}

impl fmt::Debug for SecretMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretMaterial(..)")
    }
}

impl fmt::Debug for StoreSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreSecrets(..)")
    }
}

impl fmt::Debug for AdminSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "..");
        f.debug_struct("AdminSettings")
            .field("address", &self.address)
            .field("token", &token)
            .finish()
    }
}

impl fmt::Debug for ControlSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlSettings").field("url", &self.url).finish()
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("id", &self.id).finish_non_exhaustive()
    }
}
