//! The session key: a keyed 128-bit hash of (tenant, service, raw key). The raw key (a user id, a
//! cookie's id) is hashed on arrival and never stored, logged or sent on.

use std::{fmt, str::FromStr};

use crate::ids::Bucket;

/// Identifies a session everywhere in Homing. Its top 16 bits are its bucket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionKey(pub u128);

/// The 32-byte secret that keys the hash. All proxies of one installation share it; whoever does
/// not know it can neither aim a key at a bucket nor test a guess of a user id against a log.
#[derive(Clone)]
pub struct KeySecret([u8; 32]);

impl KeySecret {
    /// Takes 32 secret bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Stretches a passphrase or the content of a secret file of any length to a key
    /// (BLAKE3 `derive_key`, which wants high-entropy input: 32 random bytes, not a password).
    #[must_use]
    pub fn from_material(material: &[u8]) -> Self {
        Self(blake3::derive_key("homing 2026 session key secret v1", material))
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(..)")
    }
}

impl SessionKey {
    /// Hashes a raw key. Each part is framed by its length, so ("ab", "c") and ("a", "bc") differ.
    #[must_use]
    pub fn derive(secret: &KeySecret, tenant: &str, service: &str, raw: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&secret.0);
        for part in [tenant.as_bytes(), service.as_bytes(), raw] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(u128::from_be_bytes(first))
    }

    /// The slice of the key space the session falls into.
    #[must_use]
    pub fn bucket(self) -> Bucket {
        Bucket((self.0 >> 112) as u16)
    }

    /// The low 64 bits: uniformly distributed and independent of the bucket, for use as a hash.
    #[must_use]
    pub fn low64(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({self})")
    }
}

/// The text was not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session key is 32 hexadecimal digits")]
pub struct InvalidSessionKey;

impl FromStr for SessionKey {
    type Err = InvalidSessionKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidSessionKey);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidSessionKey)
    }
}
