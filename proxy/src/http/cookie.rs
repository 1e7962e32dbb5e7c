//! The session cookie: a 16-byte raw id under a keyed BLAKE3 tag, with the id of the key that made
//! it. Not a general signed-cookie jar: a fixed size and one hash per request is all it costs.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use homing_wire::{CookieSpec, SameSite};
use subtle::ConstantTimeEq;

#[cfg(test)]
mod tests;

/// The layout's number; a cookie of another layout is a tampered one.
const VERSION: u8 = 1;
const KEY_ID: std::ops::Range<usize> = 1..5;
const RAW: std::ops::Range<usize> = 5..21;
const ISSUED: std::ops::Range<usize> = 21..25;
const TAG: std::ops::Range<usize> = 25..41;
/// Bytes before base64url: version, key id, raw id, seconds of issue, tag.
const BYTES: usize = 41;
/// Their base64url form without padding.
const TEXT: usize = 55;
/// A browser sends one cookie of a name; a few are tried so that a stray one on a parent path
/// does not hide ours, and no more so that a header full of them costs nothing.
const TRIES_MAX: usize = 4;

/// One secret that signs cookies. Its id is derived from it, so ids need no bookkeeping.
#[derive(Clone)]
pub struct CookieKey {
    id: [u8; 4],
    secret: [u8; 32],
}

impl CookieKey {
    /// Stretches the content of a secret file (32 random bytes or more, not a password).
    #[must_use]
    pub fn from_material(material: &[u8]) -> Self {
        let secret = blake3::derive_key("homing 2026 session cookie key v1", material);
        let named = blake3::derive_key("homing 2026 session cookie key id v1", material);
        Self { id: [named[0], named[1], named[2], named[3]], secret }
    }

    fn tag(&self, scope: &Scope<'_>, signed: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        for part in [scope.tenant.as_bytes(), scope.service.as_bytes(), scope.name.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(signed);
        let mut tag = [0; 16];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        tag
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKey({})", hex::encode(self.id))
    }
}

/// What a cookie is good for: one issued to a service is worth nothing at another.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The service's tenant.
    pub tenant: &'a str,
    /// The service's name.
    pub service: &'a str,
    /// The cookie's name.
    pub name: &'a str,
}

/// The keys that sign and verify: the first signs, all verify, so a new key is put in front and
/// the old one removed once the longest session has been seen again.
#[derive(Clone, Debug)]
pub struct CookieKeys {
    first: CookieKey,
    older: Vec<CookieKey>,
}

/// What the request's cookies held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No cookie of that name.
    None,
    /// One that no key of ours made, or that was altered: counted, and a new session begins.
    Tampered,
    /// One of ours whose session has been idle for too long.
    Expired,
    /// A session.
    Valid {
        /// Its raw id.
        raw: [u8; 16],
        /// Whether to issue it again: signed by an older key, or past half its life.
        renew: bool,
    },
}

impl CookieKeys {
    /// Takes the signing key and the keys still accepted.
    #[must_use]
    pub fn new(first: CookieKey, older: Vec<CookieKey>) -> Self {
        Self { first, older }
    }

    /// The cookie's value for a raw id.
    #[must_use]
    pub fn sign(&self, scope: &Scope<'_>, raw: [u8; 16], now_ms: u64) -> String {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[KEY_ID].copy_from_slice(&self.first.id);
        bytes[RAW].copy_from_slice(&raw);
        bytes[ISSUED].copy_from_slice(&seconds(now_ms).to_be_bytes());
        let tag = self.first.tag(scope, &bytes[..TAG.start]);
        bytes[TAG].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Looks for a session among the values that the request's cookies of that name have.
    /// `idle_ms` is how long a session may go unseen.
    #[must_use]
    pub fn find<'a>(
        &self,
        scope: &Scope<'_>,
        values: impl Iterator<Item = &'a [u8]>,
        idle_ms: u64,
        now_ms: u64,
    ) -> Found {
        let mut found = Found::None;
        for value in values.take(TRIES_MAX) {
            match self.verify(scope, value, idle_ms, now_ms) {
                valid @ Found::Valid { .. } => return valid,
                other => found = other,
            }
        }
        found
    }

    fn verify(&self, scope: &Scope<'_>, value: &[u8], idle_ms: u64, now_ms: u64) -> Found {
        let mut bytes = [0; BYTES];
        let decoded = value.len() == TEXT
            && URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) == Ok(BYTES)
            && bytes[0] == VERSION;
        if !decoded {
            return Found::Tampered;
        }
        let signer =
            std::iter::once(&self.first).chain(&self.older).position(|key| key.id == bytes[KEY_ID]);
        let key = match signer {
            Some(0) => &self.first,
            Some(position) => &self.older[position - 1],
            None => return Found::Tampered,
        };
        let tag = key.tag(scope, &bytes[..TAG.start]);
        if !bool::from(tag.ct_eq(&bytes[TAG])) {
            return Found::Tampered;
        }
        let mut issued = [0; 4];
        issued.copy_from_slice(&bytes[ISSUED]);
        let age_s = u64::from(seconds(now_ms).saturating_sub(u32::from_be_bytes(issued)));
        if age_s > idle_ms.div_ceil(1_000) {
            return Found::Expired;
        }
        let mut raw = [0; 16];
        raw.copy_from_slice(&bytes[RAW]);
        Found::Valid { raw, renew: signer != Some(0) || age_s > idle_ms / 2_000 }
    }
}

/// The `Set-Cookie` value. A `__Host-` or `__Secure-` name and `SameSite=None` force `Secure`,
/// since browsers drop the cookie otherwise.
#[must_use]
pub fn set_cookie(spec: &CookieSpec, value: &str, idle_ms: u64) -> String {
    let prefixed = spec.name.starts_with("__Host-") || spec.name.starts_with("__Secure-");
    let (same_site, forced) = match spec.same_site {
        SameSite::Lax => ("Lax", false),
        SameSite::Strict => ("Strict", false),
        SameSite::None => ("None", true),
    };
    let secure = if spec.secure || prefixed || forced { "; Secure" } else { "" };
    let max_age = idle_ms.div_ceil(1_000);
    format!(
        "{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site}{secure}",
        spec.name
    )
}

/// A `Cookie` field without the cookies of one name; `None` if nothing is left. The session
/// cookie is ours: an app neither needs it nor may leak it.
#[must_use]
pub fn without(field: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(field.len());
    for pair in field.split(|byte| *byte == b';') {
        let pair = pair.trim_ascii();
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        if pair.is_empty() || key == name.as_bytes() {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    (!kept.is_empty()).then_some(kept)
}

/// Seconds since the Unix epoch in 32 bits, which last until 2106.
fn seconds(now_ms: u64) -> u32 {
    u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX)
}
