//! Page bodies that a client can check without having fetched them before: the bytes follow from
//! the path and the length alone.

use bytes::Bytes;

/// Largest page body that is made.
pub(crate) const FILL_BYTES_MAX: usize = 1 << 20;

/// A body of `len` bytes (at most [`FILL_BYTES_MAX`]) for a path.
#[must_use]
pub fn fill(path: &str, len: usize) -> Bytes {
    let len = len.min(FILL_BYTES_MAX);
    let mut state = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }) | 1;
    let mut body = Vec::with_capacity(len + 8);
    while body.len() < len {
        // Xorshift: never zero once it is not.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.truncate(len);
    Bytes::from(body)
}
