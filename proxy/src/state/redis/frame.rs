//! The bytes of one copy: a session's keys as DUMP gave them. A framing of our own, because a copy
//! is read by the same Homing only, and a DUMP carries its own version and checksum.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Marks the format, with its number.
const MAGIC: [u8; 4] = *b"HRD\x01";
/// Keys of one session. Beyond, a script over them would hold the server up.
pub(super) const KEYS_MAX: usize = 10_000;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing any more.
    Gone,
    /// A value.
    Value {
        /// Its serialized form.
        dump: Bytes,
        /// What is left of its life, milliseconds; `None` lives on.
        ttl_ms: Option<u64>,
    },
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Bytes,
    pub(super) held: Held,
}

impl Entry {
    /// Bytes that it takes to send.
    pub(super) fn bytes(&self) -> usize {
        let held = match &self.held {
            Held::Gone => 0,
            Held::Value { dump, .. } => dump.len(),
        };
        self.key.len() + held
    }
}

/// A copy: the version it builds on (0 for a whole one), and keys.
pub(super) fn encode(since: u64, entries: &[Entry]) -> Bytes {
    let room = entries.iter().map(|entry| entry.bytes() + 17).sum::<usize>() + 16;
    let mut bytes = BytesMut::with_capacity(room);
    bytes.put_slice(&MAGIC);
    bytes.put_u64(since);
    bytes.put_u32(entries.len() as u32);
    for entry in entries {
        put(&mut bytes, &entry.key);
        match &entry.held {
            Held::Gone => bytes.put_u8(0),
            Held::Value { dump, ttl_ms } => {
                bytes.put_u8(if ttl_ms.is_some() { 2 } else { 1 });
                bytes.put_u64(ttl_ms.unwrap_or(0));
                put(&mut bytes, dump);
            }
        }
    }
    bytes.freeze()
}

fn put(bytes: &mut BytesMut, part: &[u8]) {
    bytes.put_u32(part.len() as u32);
    bytes.put_slice(part);
}

/// The other way round; `None` if the bytes are no copy.
pub(super) fn decode(mut bytes: Bytes) -> Option<(u64, Vec<Entry>)> {
    if bytes.remaining() < 16 || bytes.split_to(4)[..] != MAGIC {
        return None;
    }
    let since = bytes.get_u64();
    let count = bytes.get_u32() as usize;
    if count > KEYS_MAX {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let key = take(&mut bytes)?;
        let held = match bytes.try_get_u8().ok()? {
            0 => Held::Gone,
            tag @ (1 | 2) => {
                let ttl_ms = bytes.try_get_u64().ok()?;
                Held::Value { dump: take(&mut bytes)?, ttl_ms: (tag == 2).then_some(ttl_ms) }
            }
            _ => return None,
        };
        entries.push(Entry { key, held });
    }
    bytes.is_empty().then_some((since, entries))
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let len = bytes.try_get_u32().ok()? as usize;
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_comes_back_as_it_went_and_no_part_of_it_does() {
        let value = |ttl_ms| Held::Value { dump: Bytes::from_static(b"\0dump\xff"), ttl_ms };
        let entry = |key: &'static str, held| Entry { key: Bytes::from(key), held };
        let entries =
            [entry("a", value(None)), entry("", Held::Gone), entry("b", value(Some(u64::MAX)))];
        let bytes = encode(7, &entries);
        assert_eq!(decode(bytes.clone()), Some((7, entries.to_vec())));
        for end in 0..bytes.len() {
            assert_eq!(decode(bytes.slice(..end)), None, "{end}");
        }
        let more: Bytes = bytes.iter().copied().chain([0]).collect();
        assert_eq!(decode(more), None);
        let mut many = bytes.to_vec();
        many[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(decode(many.into()), None);
    }
}
