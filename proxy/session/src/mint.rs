//! New session keys. A key is a hash, so its bucket cannot be chosen; ids are drawn until one falls
//! into a bucket of the wanted zone, which spares the table an exception for every new session.

use homing_wire::{KeySecret, SessionKey, ZoneId};

use crate::placement::Placement;

#[cfg(test)]
mod tests;

/// Draws before giving up. A zone with one bucket in a hundred is missed once in 29,000 mints;
/// a draw takes about 0.2 µs.
const DRAWS_MAX: u128 = 1_024;

/// A new session's id and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The raw id, for the client's cookie. As hard to guess as the seed.
    pub raw: [u8; 16],
    /// The key it hashes to.
    pub key: SessionKey,
    /// Whether the key lives in the wanted zone. If not, the session begins wherever the table
    /// has its key.
    pub in_zone: bool,
}

/// Mints an id whose key lives in `zone` by the placement.
///
/// `seed` must be fresh from the operating system's random source for every call: the raw id is
/// `seed` plus the number of draws.
#[must_use]
pub fn mint(
    secret: &KeySecret,
    tenant: &str,
    service: &str,
    placement: &Placement,
    zone: ZoneId,
    seed: u128,
) -> Minted {
    let draw = |n: u128| {
        let raw = seed.wrapping_add(n).to_be_bytes();
        let key = SessionKey::derive(secret, tenant, service, &raw);
        Minted { raw, key, in_zone: placement.home(key).home.zone == zone }
    };
    // A zone without buckets owns exceptions only, which are keys already in use.
    let draws = if placement.buckets_owned(zone) == 0 { 0 } else { DRAWS_MAX };
    (0..draws).map(draw).find(|minted| minted.in_zone).unwrap_or_else(|| draw(0))
}
