//! One way to turn a session key into 64 well-spread bits, for every table that is indexed by key.

use std::hash::{BuildHasherDefault, Hasher};

use homing_wire::SessionKey;

/// Spreads a key over 64 bits. Keys are uniform already; this makes any two keys differ in it, not
/// only keys that were hashed, and costs one multiplication.
#[inline]
pub(crate) fn spread(key: SessionKey) -> u64 {
    fold(key.0)
}

#[inline]
fn fold(key: u128) -> u64 {
    let low = key as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let high = (key >> 64) as u64 ^ 0xc2b2_ae3d_27d4_eb4f;
    let product = u128::from(low) * u128::from(high);
    product as u64 ^ (product >> 64) as u64
}

/// Hashes session keys for the standard maps. Not for anything that a client can choose: a session
/// key is a keyed hash, so nobody can aim it.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

/// Builds [`KeyHasher`]s.
pub(crate) type BuildKeyHasher = BuildHasherDefault<KeyHasher>;

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = fold(u128::from(self.0) << 8 | u128::from(*byte));
        }
    }

    #[inline]
    fn write_u128(&mut self, key: u128) {
        self.0 = fold(key);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
