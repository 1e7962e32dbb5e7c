//! The settings file of a control process, read with every fault told at once at its place.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use homing_identity::IdentityFiles;
use homing_wire::document::{
    self, Faults,
    read::{MapReader, Reader},
};

use crate::{
    alerts::HOOKS_MAX,
    api::auth::{Role, Token},
    provider::Probe,
    startup::Settings,
};

mod scaling;

/// Tokens one file may list.
const TOKENS_MAX: usize = 256;
/// Tenants one token may be for.
const TENANTS_MAX: usize = 256;
/// A shorter secret can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It has faults; the text shows each with its line and remedy.
    #[error("{text}")]
    Faults {
        /// All of them, for people.
        text: String,
        /// All of them, for programs.
        faults: Faults,
    },
}

/// Reads a settings file. Paths in it are relative to its folder.
///
/// # Errors
/// The file cannot be read, or every fault of it.
pub fn load(path: &Path) -> Result<Settings, ConfigFault> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigFault::Read { path: shown.clone(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder)
        .map_err(|faults| ConfigFault::Faults { text: faults.render(&shown), faults })
}

/// Reads settings from a text.
///
/// # Errors
/// Every fault of it.
pub fn parse(text: &str, folder: &Path) -> Result<Settings, Faults> {
    document::read(text, |top| settings(top, folder))
}

fn settings(top: &mut MapReader<'_>, folder: &Path) -> Option<Settings> {
    let default = Settings::default();
    let api = top.or("api", (default.api, Vec::new()), |r| r.map(|map| api(map, folder)));
    let identity = top.optional("identity", |r| r.map(|map| identity(map, folder)));
    let secured = identity.is_some();
    let link = top.or("link", default.link, |r| r.map(|map| link(map, secured)));
    let data_dir =
        top.required("data_dir", "write `data_dir: /var/lib/homing-control`", |r| file(r, folder));
    let document = top.optional("document", |r| file(r, folder));
    let sessions_max = top.or("sessions_max", default.sessions_max, |r| {
        r.whole(1_000..=50_000_000).map(|n| n as usize)
    });
    let requests_per_second = top.or("requests_per_second", default.requests_per_second, |r| {
        r.whole(1..=1_000_000).map(|n| n as u32)
    });
    let round_ms = top.or("round", default.round_ms, |r| r.millis(100..=60_000));
    let step_ms = top.or("forecast_step", default.step_ms, |r| r.millis(100..=3_600_000));
    let min_term = top.or("min_term", default.min_term, |r| r.whole(0..=u64::MAX >> 1));
    let seed = top.or("seed", default.seed, |r| r.whole(0..=i64::MAX as u64));
    let scaling = top.or("scaling", Vec::new(), |r| scaling::list(r, folder));
    let hook = |r: &Reader<'_>| r.map(|map| scaling::webhook(map, folder, &Probe::Connect));
    let alerts = top.or("alerts", Vec::new(), |r| r.list(HOOKS_MAX, hook));
    let (api, tokens) = api;
    Some(Settings {
        api,
        link,
        tokens,
        data_dir: data_dir?,
        document,
        sessions_max,
        requests_per_second,
        round_ms,
        step_ms,
        identity,
        min_term,
        seed,
        scaling,
        alerts,
    })
}

fn api(map: &mut MapReader<'_>, folder: &Path) -> Option<(SocketAddr, Vec<Token>)> {
    let default = Settings::default().api;
    let mut seen = BTreeMap::new();
    let tokens = map.or("tokens", Vec::new(), |r| {
        r.list(TOKENS_MAX, |r| {
            let token = token(r, folder)?;
            // Idempotency keys and the audit log go by the name.
            if let Some(first) = seen.insert(token.name.clone(), r.place()) {
                r.fault("has the name of another", format!("rename one; see {first}"));
                return None;
            }
            Some(token)
        })
    });
    let has_tokens = !tokens.is_empty() || map.find("tokens").is_some();
    let address = map.or("address", default, |r| {
        let address = address(r)?;
        if is_local(address.ip()) || has_tokens {
            return Some(address);
        }
        r.fault(
            "is not a loopback address, and no tokens are listed",
            "list `tokens`, or bind 127.0.0.1",
        );
        None
    });
    Some((address, tokens))
}

/// Who control is to its proxies; with it the link is served over mutual TLS.
fn identity(map: &mut MapReader<'_>, folder: &Path) -> Option<(IdentityFiles, String)> {
    let ca = map.required("ca", "write `ca: ca.pem`", |r| file(r, folder));
    let cert = map.required("cert", "write `cert: control.pem`", |r| file(r, folder));
    let key = map.required("key", "write `key: control.key`", |r| file(r, folder));
    let name = map.or("name", "control".to_owned(), document::name);
    Some((IdentityFiles { ca: ca?, cert: cert?, key: key? }, name))
}

fn link(map: &mut MapReader<'_>, secured: bool) -> Option<SocketAddr> {
    let default = Settings::default().link;
    let plain = map.or("allow_plaintext", false, Reader::boolean);
    let address = map.or("address", default, |r| {
        let address = address(r)?;
        if is_local(address.ip()) || secured || plain {
            return Some(address);
        }
        r.fault(
            "is not a loopback address, and the link is neither encrypted nor authenticated",
            "state `identity`; or bind 127.0.0.1; or, on a network that only proxies reach, add \
             `allow_plaintext: true`",
        );
        None
    });
    Some(address)
}

fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback()
}

fn address(reader: &Reader<'_>) -> Option<SocketAddr> {
    let text = reader.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        reader.fault("is not an IP address with a port", "write 127.0.0.1:7601 or [::1]:7601");
    }
    address
}

fn file(reader: &Reader<'_>, folder: &Path) -> Option<PathBuf> {
    let text = reader.text()?;
    if text.is_empty() || text.contains('\0') {
        reader.fault("is not a path", "write where the file is, relative to this one");
        return None;
    }
    Some(folder.join(text))
}

fn token(reader: &Reader<'_>, folder: &Path) -> Option<Token> {
    const ROLES: [(&str, Role); 2] = [("read", Role::Read), ("write", Role::Write)];
    reader.map(|map| {
        let name = map.required("name", "name it for the audit log: `name: ci`", document::name);
        let role = map.required("role", "write `role: read` or `role: write`", |r| r.word(&ROLES));
        let tenants = map.given("tenants").map(|r| tenants(&r));
        let from_file = map.optional("file", |r| secret_file(r, folder));
        let from_env = map.optional("env", secret_env);
        let given = [map.find("file"), map.find("env")].into_iter().flatten().count();
        if given != 1 {
            map.itself().fault(
                "must name one source of its secret",
                "give either `file` or `env`; the secret itself never stands here",
            );
        }
        let secret = from_file.or(from_env)?;
        let token = Token::new(name?, role?, &secret);
        // A list with a fault must not become a token for everything.
        match tenants {
            None => Some(token),
            Some(tenants) => Some(token.of_tenants(tenants?)),
        }
    })
}

fn tenants(reader: &Reader<'_>) -> Option<Vec<String>> {
    let tenants = reader.list(TENANTS_MAX, document::name)?;
    if tenants.is_empty() {
        reader.fault("names no tenant", "name some, or leave `tenants` out for all");
        return None;
    }
    Some(tenants)
}

fn secret_file(reader: &Reader<'_>, folder: &Path) -> Option<Vec<u8>> {
    let path = file(reader, folder)?;
    match fs::read(&path) {
        Ok(bytes) => long_enough(reader, bytes.trim_ascii()),
        Err(fault) => {
            let words = format!("cannot be read: {fault}");
            reader.fault(words, "create it with 32 random characters, readable by control only");
            None
        }
    }
}

fn secret_env(reader: &Reader<'_>) -> Option<Vec<u8>> {
    let name = reader.text()?;
    match std::env::var(name) {
        Ok(value) => long_enough(reader, value.trim().as_bytes()),
        Err(_) => {
            reader.fault("is not set in the environment", "set it, or use `file`");
            None
        }
    }
}

fn long_enough(reader: &Reader<'_>, secret: &[u8]) -> Option<Vec<u8>> {
    if secret.len() < SECRET_BYTES_MIN {
        let words = format!("holds a secret of {} bytes", secret.len());
        reader.fault(words, "use 32 random characters: `openssl rand -hex 16`");
        return None;
    }
    Some(secret.to_vec())
}

#[cfg(test)]
mod tests;
