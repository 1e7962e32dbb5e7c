//! Cutting a sealed table into pieces for the link, and putting it together again. A table can be
//! far larger than a message; the pieces of one arrive in order, and a gap starts over.

use bytes::{Bytes, BytesMut};

use crate::{
    ids::Version,
    limits::{CHUNK_BYTES_MAX, ENVELOPE_BYTES_MAX},
    message::Chunk,
};

/// Cuts sealed bytes into pieces of at most [`CHUNK_BYTES_MAX`].
pub fn cut(version: Version, sealed: &Bytes) -> impl Iterator<Item = Chunk> + use<> {
    let count = sealed.len().div_ceil(CHUNK_BYTES_MAX).max(1) as u32;
    let sealed = sealed.clone();
    (0..count).map(move |index| {
        let start = index as usize * CHUNK_BYTES_MAX;
        let end = (start + CHUNK_BYTES_MAX).min(sealed.len());
        Chunk { version, index, count, bytes: sealed.slice(start..end) }
    })
}

/// Puts pieces together.
#[derive(Debug, Default)]
pub struct Assembly {
    version: Version,
    next: u32,
    count: u32,
    bytes: BytesMut,
}

/// A piece that does not fit; what was gathered is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    /// Not the piece that was due.
    #[error("piece {found} of {version} where piece {due} was due")]
    OutOfOrder {
        /// Of which document.
        version: Version,
        /// The piece that came.
        found: u32,
        /// The piece that was due.
        due: u32,
    },
    /// All pieces together would pass the bound.
    #[error("over {ENVELOPE_BYTES_MAX} bytes")]
    TooLarge,
}

impl Assembly {
    /// Takes the next piece; returns the whole when it was the last.
    ///
    /// # Errors
    /// The piece does not fit; the next document starts at its piece 0.
    pub fn push(&mut self, chunk: Chunk) -> Result<Option<(Version, Bytes)>, ChunkFault> {
        if chunk.index == 0 {
            *self = Self { version: chunk.version, count: chunk.count, ..Self::default() };
        }
        let fits = chunk.version == self.version
            && chunk.index == self.next
            && chunk.count == self.count
            && chunk.index < chunk.count;
        if !fits {
            let fault = ChunkFault::OutOfOrder {
                version: chunk.version,
                found: chunk.index,
                due: self.next,
            };
            *self = Self::default();
            return Err(fault);
        }
        if self.bytes.len() + chunk.bytes.len() > ENVELOPE_BYTES_MAX {
            *self = Self::default();
            return Err(ChunkFault::TooLarge);
        }
        self.bytes.extend_from_slice(&chunk.bytes);
        self.next += 1;
        if self.next < self.count {
            return Ok(None);
        }
        let whole = std::mem::take(self);
        Ok(Some((whole.version, whole.bytes.freeze())))
    }
}
