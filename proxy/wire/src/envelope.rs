//! The sealed frame around a table, delta or repair: magic, format, kind, length, checksum. It is
//! checked before a byte is decoded, the same on disk and on the link.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::ENVELOPE_BYTES_MAX;

/// The format this build writes. It also reads the one before, of which there is none yet.
pub const FORMAT: u16 = 1;
/// Oldest format this build reads.
pub const FORMAT_OLDEST: u16 = 1;

const MAGIC: [u8; 4] = *b"HOM\x1a";
const HEAD_BYTES: usize = 20;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole placement table.
    Table,
    /// A delta between two tables.
    Delta,
    /// Some parts of a table, for one who has others.
    Repair,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Table => 1,
            Self::Delta => 2,
            Self::Repair => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Table, Self::Delta, Self::Repair].into_iter().find(|kind| kind.number() == number)
    }
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    /// Fewer bytes than a head, or than the head promises.
    #[error("cut short: {have} bytes where {want} were due")]
    Short {
        /// Bytes at hand.
        have: usize,
        /// Bytes due.
        want: usize,
    },
    /// The first bytes are not ours.
    #[error("not a Homing table, delta or repair: the first four bytes differ")]
    Magic,
    /// Written by a build this one cannot read.
    #[error("format {0}, this build reads {FORMAT_OLDEST} to {FORMAT}; upgrade this process first")]
    Format(u16),
    /// An unknown kind number.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// The length is over the bound.
    #[error("{0} bytes, over the bound of {ENVELOPE_BYTES_MAX}")]
    TooLarge(u64),
    /// More bytes than the head promises.
    #[error("{0} bytes behind the end")]
    Trailing(usize),
    /// The payload is not what was written.
    #[error("checksum {found:08x}, expected {expected:08x}: the bytes were damaged on the way")]
    Checksum {
        /// What the payload sums to.
        found: u32,
        /// What the head says.
        expected: u32,
    },
}

/// Puts a payload in its frame.
#[must_use]
pub fn seal(kind: Kind, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    out.put_slice(&MAGIC);
    out.put_u16(FORMAT);
    out.put_u8(kind.number());
    out.put_u8(0);
    out.put_u64(payload.len() as u64);
    out.put_u32(crc32c::crc32c(payload));
    out.put_slice(payload);
    out.freeze()
}

/// Checks a frame and returns its kind and payload.
///
/// # Errors
/// Whatever makes the frame not exactly what [`seal`] wrote.
pub fn open(frame: &[u8]) -> Result<(Kind, &[u8]), EnvelopeFault> {
    let Some((head, payload)) = frame.split_at_checked(HEAD_BYTES) else {
        return Err(EnvelopeFault::Short { have: frame.len(), want: HEAD_BYTES });
    };
    if head[..4] != MAGIC {
        return Err(EnvelopeFault::Magic);
    }
    let format = u16::from_be_bytes([head[4], head[5]]);
    if !(FORMAT_OLDEST..=FORMAT).contains(&format) {
        return Err(EnvelopeFault::Format(format));
    }
    let kind = Kind::from_number(head[6]).ok_or(EnvelopeFault::Kind(head[6]))?;
    let mut length = [0; 8];
    length.copy_from_slice(&head[8..16]);
    let length = u64::from_be_bytes(length);
    if length > ENVELOPE_BYTES_MAX as u64 {
        return Err(EnvelopeFault::TooLarge(length));
    }
    let length = length as usize;
    if payload.len() < length {
        return Err(EnvelopeFault::Short { have: frame.len(), want: HEAD_BYTES + length });
    }
    if payload.len() > length {
        return Err(EnvelopeFault::Trailing(payload.len() - length));
    }
    let expected = u32::from_be_bytes([head[16], head[17], head[18], head[19]]);
    let found = crc32c::crc32c(payload);
    if found != expected {
        return Err(EnvelopeFault::Checksum { found, expected });
    }
    Ok((kind, payload))
}
