//! Reads each section of the settings file into its value. Every function tells its faults to the
//! reader and goes on, so that one run of `homing check` shows them all.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use homing_identity::IdentityFiles;
use homing_wire::document::{
    read::{MapReader, Named, Reader},
    tree::Value,
};
use homing_wire::limits::NAME_BYTES_MAX;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{
    AccessLog, AdminSettings, ControlSettings, DrainTimes, JwtKey, Listen, ProcessLimits,
    SecretMaterial, StoreSecrets,
    fleet::{self, GateSettings, Role},
    prewarm::{self, PrewarmSettings},
};
use crate::{
    http::forwarded::{Network, TrustedPeers},
    listen::tls::{CERTIFICATES_MAX, CertFiles},
};

const LISTENERS_MAX: usize = 64;
const KEYS_MAX: usize = 64;
const NETWORKS_MAX: usize = 1_024;
const SECRET_BYTES_MIN: usize = 16;
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What the file says, before secrets are drawn up and the parts are checked against each other.
pub(super) struct Raw {
    pub(super) name: Option<String>,
    pub(super) listen: Vec<Listen>,
    pub(super) admin: AdminSettings,
    pub(super) role: Role,
    pub(super) gate: Option<GateSettings>,
    pub(super) identity: Option<IdentityFiles>,
    pub(super) control: Option<ControlSettings>,
    pub(super) state_dir: PathBuf,
    pub(super) secrets: SecretMaterial,
    pub(super) stores: StoreSecrets,
    pub(super) endpoints_ca: Option<Vec<u8>>,
    pub(super) jwt_keys: Vec<JwtKey>,
    pub(super) access_log: AccessLog,
    pub(super) limits: ProcessLimits,
    pub(super) prewarm: PrewarmSettings,
    pub(super) trusted: TrustedPeers,
    pub(super) expose_zone: bool,
    pub(super) drain: DrainTimes,
}

/// Reads the process's part of the file; `dir` is what relative paths start from.
pub(super) fn read(map: &mut MapReader<'_>, dir: &Path) -> Raw {
    let role = map.or("role", Role::default(), fleet::read_role);
    let listeners = |list: &Reader<'_>| list.list(LISTENERS_MAX, |item| read_listen(item, dir));
    let listen = match role {
        // A gate takes edges in, on an address of its own.
        Role::Gate => map.optional("listen", listeners),
        _ => map.required("listen", "write `listen: [{address: 127.0.0.1:8080}]`", listeners),
    };
    let secrets = map.or("secrets", SecretMaterial::default(), |reader| read_secrets(reader, dir));
    Raw {
        name: map.optional("name", read_name),
        listen: listen.unwrap_or_default(),
        admin: map.optional("admin", |reader| read_admin(reader, dir)).unwrap_or_else(|| {
            AdminSettings { address: SocketAddr::from(([127, 0, 0, 1], 9900)), token: None }
        }),
        role,
        gate: map.optional("gate", fleet::read_gate),
        identity: map.optional("identity", |reader| read_identity(reader, dir)),
        control: map.optional("control", read_control),
        state_dir: map.or("state_dir", dir.join("state"), |reader| Some(dir.join(reader.text()?))),
        secrets,
        stores: map.or("stores", StoreSecrets::default(), |reader| read_stores(reader, dir)),
        endpoints_ca: map.optional("endpoints_ca", |reader| read_authorities(reader, dir)),
        jwt_keys: map.or("jwt_keys", Vec::new(), |reader| {
            reader.list(KEYS_MAX, |item| read_jwt_key(item, dir))
        }),
        access_log: map.or("access_log", AccessLog::Off, |reader| read_access_log(reader, dir)),
        limits: map.or("limits", ProcessLimits::default(), read_limits),
        prewarm: map.or("prewarm", PrewarmSettings::default(), prewarm::read),
        trusted: map.or("trusted_peers", TrustedPeers::default(), read_trusted),
        expose_zone: map.or("expose_zone", false, Reader::boolean),
        drain: map.or("drain", DrainTimes::default(), read_drain),
    }
}

/// A name that every log, metric and control itself can spell.
fn read_name(reader: &Reader<'_>) -> Option<String> {
    let name = reader.text()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        reader.fault("is no name of a proxy", "write 1 to 63 letters, digits, `-`, `_` and `.`");
        return None;
    }
    Some(name.to_owned())
}

pub(super) fn read_address(reader: &Reader<'_>) -> Option<SocketAddr> {
    let text = reader.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        reader.fault("is no address to listen on", "write an IP and a port: 127.0.0.1:8080");
    }
    address
}

fn read_listen(reader: &Reader<'_>, dir: &Path) -> Option<Listen> {
    reader.map(|map| {
        let address = map.required("address", "write `address: 127.0.0.1:8080`", read_address);
        let tls = map.find("tls").map(|tls| match tls.node().value {
            Value::Seq(_) => {
                tls.list(CERTIFICATES_MAX, |item| read_cert(item, dir)).unwrap_or_default()
            }
            _ => read_cert(&tls, dir).into_iter().collect(),
        });
        Some(Listen { address: address?, tls })
    })
}

fn read_cert(reader: &Reader<'_>, dir: &Path) -> Option<CertFiles> {
    reader.map(|map| {
        let path = |reader: &Reader<'_>| existing_file(reader, dir);
        let cert = map.required("cert", "write `cert: chain.pem`", path);
        let key = map.required("key", "write `key: key.pem`", path);
        Some(CertFiles { cert: cert?, key: key? })
    })
}

fn existing_file(reader: &Reader<'_>, dir: &Path) -> Option<PathBuf> {
    let path = dir.join(reader.text()?);
    match std::fs::metadata(&path) {
        Ok(file) if file.is_file() => Some(path),
        Ok(_) => {
            reader.fault("is not a file", "name a file");
            None
        }
        Err(error) => {
            reader.fault(format!("cannot be read: {error}"), "name a file this process may read");
            None
        }
    }
}

fn read_identity(reader: &Reader<'_>, dir: &Path) -> Option<IdentityFiles> {
    reader.map(|map| {
        let path = |reader: &Reader<'_>| existing_file(reader, dir);
        let ca = map.required("ca", "write `ca: ca.pem`", path);
        let cert = map.required("cert", "write `cert: edge-1.pem`", path);
        let key = map.required("key", "write `key: edge-1.key`", path);
        Some(IdentityFiles { ca: ca?, cert: cert?, key: key? })
    })
}

fn read_admin(reader: &Reader<'_>, dir: &Path) -> Option<AdminSettings> {
    reader.map(|map| {
        let address = map.required("address", "write `address: 127.0.0.1:9900`", read_address);
        let token = map.optional("token", |reader| read_secret(reader, dir));
        let address = address?;
        if token.is_none() && !address.ip().is_loopback() {
            map.itself().fault(
                format!("{address} can be reached from other machines, and no token is set"),
                "listen on 127.0.0.1, or set `token: {file: admin.token}`",
            );
            return None;
        }
        let token = match token.map(String::from_utf8) {
            None => None,
            Some(Ok(token)) => Some(token.trim().to_owned()),
            Some(Err(_)) => {
                map.itself().fault("the token is not text", "write printable characters into it");
                None
            }
        };
        Some(AdminSettings { address, token })
    })
}

fn read_control(reader: &Reader<'_>) -> Option<ControlSettings> {
    reader.map(|map| {
        let url = map.required("url", "write `url: https://control:7600`", |reader| {
            let url = reader.text()?;
            let known = url.parse::<http::Uri>().is_ok_and(|uri| {
                uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))
            });
            if !known {
                reader.fault("is no address of a control plane", "write https://host:port");
            }
            if known && is_open(url) {
                // Tables and orders come this way: whoever could change them steers everything.
                reader.fault(
                    "is neither encrypted nor authenticated, and not on this host",
                    "write https://host:port, and `identity` beside it",
                );
                return None;
            }
            known.then(|| url.to_owned())
        });
        let name = map.optional("name", read_name);
        Some(ControlSettings { url: url?, name })
    })
}

/// Whether what is said to this URL can be read and changed on its way.
fn is_open(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return true };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("http") && !is_here && host != "localhost"
}

fn read_secrets(reader: &Reader<'_>, dir: &Path) -> Option<SecretMaterial> {
    reader.map(|map| {
        let session_key = map.optional("session_key", |reader| read_secret(reader, dir));
        let cookies = map.or("cookies", Vec::new(), |reader| {
            reader.list(KEYS_MAX, |item| read_secret(item, dir))
        });
        Some(SecretMaterial { session_key, cookies })
    })
}

fn read_stores(reader: &Reader<'_>, dir: &Path) -> Option<StoreSecrets> {
    reader.map(|map| {
        let redis_passwords = map.or("redis_passwords", Vec::new(), |reader| {
            let named = reader.named(KEYS_MAX)?;
            let read = |entry: &Named<'_>| {
                let password = read_bytes(&entry.value, dir, 1)?;
                let text = String::from_utf8(password).ok();
                if text.is_none() {
                    entry.value.fault("holds no text", "write the password itself into it");
                }
                Some((entry.key.to_owned(), text?.trim_end().to_owned()))
            };
            Some(named.iter().filter_map(read).collect())
        });
        let redis_ca = map.optional("redis_ca", |reader| read_authorities(reader, dir));
        Some(StoreSecrets { redis_passwords, redis_ca })
    })
}

/// The PEM file of the authorities that somebody else's certificates are checked against.
fn read_authorities(reader: &Reader<'_>, dir: &Path) -> Option<Vec<u8>> {
    let path = existing_file(reader, dir)?;
    match read_bounded(&path) {
        Ok(pem) if has_certificate(&pem) => Some(pem),
        Ok(_) => {
            reader.fault("holds no certificate", "name a PEM file of authorities");
            None
        }
        Err(error) => {
            reader.fault(format!("cannot be read: {error}"), "name one that can be");
            None
        }
    }
}

fn has_certificate(pem: &[u8]) -> bool {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    let mut found = CertificateDer::pem_slice_iter(pem).peekable();
    found.peek().is_some() && found.all(|one| one.is_ok())
}

/// A secret comes from a file or the environment, never from the settings file itself: that one
/// is read by people and kept in version control.
fn read_secret(reader: &Reader<'_>, dir: &Path) -> Option<Vec<u8>> {
    read_bytes(reader, dir, SECRET_BYTES_MIN)
}

/// As [`read_secret`], of at least `min` bytes: a password is somebody else's choice.
fn read_bytes(reader: &Reader<'_>, dir: &Path, min: usize) -> Option<Vec<u8>> {
    let (from, value) = reader.choice(&["file", "env"])?;
    let Some(value) = value else {
        reader.fault("names no secret", "write {file: path} or {env: NAME}");
        return None;
    };
    let name = value.text()?;
    let secret = match from {
        "file" => read_bounded(&dir.join(name)).map_err(|error| error.to_string()),
        _ => std::env::var(name).map(String::into_bytes).map_err(|error| error.to_string()),
    };
    match secret {
        Ok(secret) if secret.len() >= min => Some(secret),
        Ok(secret) => {
            value.fault(
                format!("holds {} bytes, too few for a secret", secret.len()),
                "fill it with 32 random bytes: head -c 32 /dev/urandom | base64",
            );
            None
        }
        Err(error) => {
            value.fault(format!("cannot be read: {error}"), "name one this process may read");
            None
        }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SECRET_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_jwt_key(reader: &Reader<'_>, dir: &Path) -> Option<JwtKey> {
    const ALGORITHMS: [(&str, Algorithm); 7] = [
        ("HS256", Algorithm::HS256),
        ("RS256", Algorithm::RS256),
        ("PS256", Algorithm::PS256),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("RS512", Algorithm::RS512),
        ("EdDSA", Algorithm::EdDSA),
    ];
    let text = |reader: &Reader<'_>| reader.text().map(str::to_owned);
    reader.map(|map| {
        let id = map.required("id", "write `id: main`", text);
        let algorithm = map
            .required("algorithm", "write `algorithm: RS256`", |reader| reader.word(&ALGORITHMS));
        let secret = map
            .required("key", "write `key: {file: public.pem}`", |reader| read_secret(reader, dir));
        let issuer = map.optional("issuer", text);
        let audience = map.optional("audience", text);
        let algorithm = algorithm?;
        let key = match (decoding_key(algorithm, &secret?), map.itself()) {
            (Ok(key), _) => key,
            (Err(error), whole) => {
                whole.fault(
                    format!("the key does not fit its algorithm: {error}"),
                    "give the public key in PEM, or for HS256 the shared secret",
                );
                return None;
            }
        };
        Some(JwtKey { id: id?, algorithm, key, issuer, audience })
    })
}

fn decoding_key(
    algorithm: Algorithm,
    secret: &[u8],
) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            Ok(DecodingKey::from_secret(secret.trim_ascii_end()))
        }
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(secret),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(secret),
        _ => DecodingKey::from_rsa_pem(secret),
    }
}

fn read_access_log(reader: &Reader<'_>, dir: &Path) -> Option<AccessLog> {
    match reader.choice(&["off", "stdout", "file"])? {
        ("off", _) => Some(AccessLog::Off),
        ("stdout", _) => Some(AccessLog::Stdout),
        (_, Some(path)) => Some(AccessLog::File(dir.join(path.text()?))),
        (_, None) => {
            reader.fault("names no file", "write {file: access.log}");
            None
        }
    }
}

fn read_limits(reader: &Reader<'_>) -> Option<ProcessLimits> {
    let default = ProcessLimits::default();
    let number =
        |map: &mut MapReader<'_>, key, default: u64, range: std::ops::RangeInclusive<u64>| {
            map.or(key, default, |reader| reader.whole(range))
        };
    reader.map(|map| {
        let threads = number(map, "threads", default.threads as u64, 1..=256);
        let connections = number(map, "connections", default.connections.into(), 1..=10_000_000);
        let sessions =
            number(map, "sessions_per_zone", default.sessions_per_zone.into(), 64..=100_000_000);
        let cache = map.or("cache", default.cache_bytes, |r| r.bytes(1 << 20..=1 << 42));
        let head = map.or("head", default.head_bytes.into(), |r| r.bytes(1 << 10..=1 << 20));
        Some(ProcessLimits {
            threads: threads as usize,
            connections: connections as u32,
            sessions_per_zone: sessions as u32,
            head_bytes: head as u32,
            cache_bytes: cache,
        })
    })
}

fn read_trusted(reader: &Reader<'_>) -> Option<TrustedPeers> {
    let networks = reader.list(NETWORKS_MAX, |item| match item.text()?.parse::<Network>() {
        Ok(network) => Some(network),
        Err(_) => {
            item.fault("is no network", "write 10.0.0.0/8, 2001:db8::/32 or one address");
            None
        }
    });
    networks.map(TrustedPeers::new)
}

fn read_drain(reader: &Reader<'_>) -> Option<DrainTimes> {
    let default = DrainTimes::default();
    reader.map(|map| {
        Some(DrainTimes {
            delay_ms: map.or("delay", default.delay_ms, |r| r.millis(0..=600_000)),
            patience_ms: map.or("patience", default.patience_ms, |r| r.millis(0..=3_600_000)),
        })
    })
}
