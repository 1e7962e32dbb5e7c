//! Secrets that the file does not state are generated once and kept in the state directory, so
//! that a first run needs no ceremony and a second one still knows the first one's sessions.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use homing_wire::KeySecret;

use super::{SecretMaterial, Secrets};
use crate::http::cookie::{CookieKey, CookieKeys};

const GENERATED_BYTES: usize = 32;

impl SecretMaterial {
    /// The keys; missing ones are read from the state directory or generated there.
    ///
    /// # Errors
    /// The state directory cannot be read or written.
    pub fn resolve(&self, state_dir: &Path) -> io::Result<Secrets> {
        let session_key = match &self.session_key {
            Some(material) => material.clone(),
            None => kept(&state_dir.join("session-key.secret"))?,
        };
        let mut cookies = self.cookies.clone();
        if cookies.is_empty() {
            cookies.push(kept(&state_dir.join("cookie.secret"))?);
        }
        let mut keys = cookies.iter().map(|material| CookieKey::from_material(material));
        let Some(first) = keys.next() else {
            return Err(io::Error::other("no cookie key"));
        };
        Ok(Secrets {
            session_key: KeySecret::from_material(&session_key),
            cookies: CookieKeys::new(first, keys.collect()),
        })
    }
}

fn kept(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) if bytes.len() >= GENERATED_BYTES => return Ok(bytes),
        Ok(_) => return Err(io::Error::other(format!("{}: cut short", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = vec![0; GENERATED_BYTES];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}
