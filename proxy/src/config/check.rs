//! Puts the sections together and checks what concerns more than one of them. `Settings` can only
//! be had through here (or built by a program that takes the place of the file).

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use homing_wire::{
    KeySource,
    document::{self, Document, Faults, read::MapReader},
    limits::{DOCUMENT_BYTES_MAX, NAME_BYTES_MAX},
    table::Facts,
};

use super::{
    Settings, fleet,
    raw::{self, Raw},
};

/// Why a file gives no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// It says what cannot be; every fault with its place and remedy.
    #[error("{}", faults.render(&path.display().to_string()).trim_end())]
    Faults {
        /// The file.
        path: PathBuf,
        /// Its faults.
        faults: Faults,
    },
}

impl Settings {
    /// Reads and checks a settings file. Nothing is created or changed.
    ///
    /// # Errors
    /// All faults of the file at once.
    pub fn load(path: &Path) -> Result<Self, ConfigFault> {
        let unreadable = |error| ConfigFault::Unreadable { path: path.to_owned(), error };
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_string(&mut text))
            .map_err(unreadable)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, dir)
            .map_err(|faults| ConfigFault::Faults { path: path.to_owned(), faults })
    }

    /// Reads and checks the text of a settings file; relative paths start from `dir`.
    ///
    /// # Errors
    /// All faults of the text at once.
    pub fn parse(text: &str, dir: &Path) -> Result<Self, Faults> {
        document::read(text, |top| {
            let raw = raw::read(top, dir);
            let document = Document::read_if_given(top);
            check(&raw, document.as_ref(), top);
            Some(assemble(raw, document))
        })
    }
}

fn check(raw: &Raw, document: Option<&Document>, top: &mut MapReader<'_>) {
    if top.find("listen").is_some_and(|listen| listen.is_empty_list()) {
        top.itself().fault("there is nothing to listen on", "name at least one address");
    }
    fleet::check(raw.role, &raw.secrets, top);
    let control = raw.control.as_ref().map_or("", |control| control.url.as_str());
    if control.starts_with("https:") && raw.identity.is_none() {
        top.itself().fault(
            "control is spoken to over mutual TLS, and `identity` does not say who this is",
            "write `identity: {ca: ca.pem, cert: NAME.pem, key: NAME.key}`",
        );
    }
    match (document, top.find("control")) {
        (None, None) => top.itself().fault(
            "neither `zones` nor `control` is given, so there is nowhere to send a request",
            "state `zones` and `services` here, or `control: {url: ...}` to get them from control",
        ),
        (Some(_), Some(control)) => control.fault(
            "zones come from control and from this file",
            "take `zones`, `services`, `places` and `policy` out and push them to control, \
             or take `control` out",
        ),
        _ => {}
    }
    let services = document.map(|document| document.services.as_slice()).unwrap_or_default();
    for service in services {
        for source in &service.session.from {
            let KeySource::JwtClaim { key_id, .. } = source else { continue };
            if !raw.jwt_keys.iter().any(|key| key.id == *key_id) {
                top.itself().fault(
                    format!("service {:?} wants the token key {key_id:?}", service.name),
                    "state it under `jwt_keys`",
                );
            }
        }
    }
}

fn assemble(raw: Raw, document: Option<Document>) -> Settings {
    Settings {
        name: raw.name.unwrap_or_else(host_name),
        listen: raw.listen,
        admin: raw.admin,
        role: raw.role,
        gate: raw.gate,
        identity: raw.identity,
        control: raw.control,
        state_dir: raw.state_dir,
        secrets: raw.secrets,
        stores: raw.stores,
        endpoints_ca: raw.endpoints_ca,
        jwt_keys: raw.jwt_keys,
        access_log: raw.access_log,
        limits: raw.limits,
        prewarm: raw.prewarm,
        trusted: raw.trusted,
        expose_zone: raw.expose_zone,
        drain: raw.drain,
        facts: document.map(|document| Facts {
            zones: document.zones,
            services: document.services,
            places: document.places,
            policy: document.policy,
        }),
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.trim().chars().filter(plain).take(NAME_BYTES_MAX).collect();
    if name.is_empty() { "proxy".to_owned() } else { name }
}
