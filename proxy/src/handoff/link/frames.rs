//! Frames on a stream: a head, then the bytes it announces, read no further than the service
//! allows and written in pieces so that a governor can pace them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use homing_wire::{
    LinkFrame,
    link::{LinkFault, Payload},
};

use crate::handoff::governor::Governor;

/// Bytes written at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of a dedup window.
const WINDOW_BYTES_MAX: u64 = 4 << 10;
/// Longest wait for the rest of a frame whose head is there, while nothing of it arrives.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A frame with what follows it.
#[derive(Debug)]
pub struct Framed {
    /// The head.
    pub frame: LinkFrame,
    /// The state bytes.
    pub bytes: Bytes,
    /// The dedup window's bytes.
    pub window: Bytes,
}

impl Framed {
    /// A frame that nothing follows.
    #[must_use]
    pub fn bare(frame: LinkFrame) -> Self {
        Self { frame, bytes: Bytes::new(), window: Bytes::new() }
    }
}

/// Why a stream is over.
#[derive(Debug, thiserror::Error)]
pub enum StreamFault {
    /// The other side ended it.
    #[error("the stream has ended")]
    Ended,
    /// It broke off.
    #[error("{0}")]
    Broken(String),
    /// What came is no frame.
    #[error(transparent)]
    Damaged(#[from] LinkFault),
    /// More bytes than the service allows.
    #[error("{bytes} bytes of state, at most {max} are taken")]
    TooLarge {
        /// Announced.
        bytes: u64,
        /// Allowed.
        max: u64,
    },
}

/// Reads the next frame; state of up to `bytes_max` bytes.
///
/// # Errors
/// Why there is none.
pub async fn read(stream: &mut quinn::RecvStream, bytes_max: u64) -> Result<Framed, StreamFault> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.map_err(ended)?;
    let head = take(stream, LinkFrame::length(length)?).await?;
    let frame = LinkFrame::decode(&head)?;
    let (payload, window) = match &frame {
        LinkFrame::Stage(payload) => (*payload, 0),
        LinkFrame::Grant { payload, window_bytes }
        | LinkFrame::Replica { payload, window_bytes, .. } => (*payload, u64::from(*window_bytes)),
        LinkFrame::Cession(cession) => (Payload::default(), cession.window_bytes().into()),
        _ => (Payload::default(), 0),
    };
    for (bytes, max) in [(payload.bytes, bytes_max), (window, WINDOW_BYTES_MAX)] {
        if bytes > max {
            return Err(StreamFault::TooLarge { bytes, max });
        }
    }
    let bytes = take(stream, payload.bytes as usize).await?;
    let window = take(stream, window as usize).await?;
    Ok(Framed { frame, bytes, window })
}

/// Memory grows with what arrives, not with what was announced.
async fn take(stream: &mut quinn::RecvStream, length: usize) -> Result<Bytes, StreamFault> {
    let mut taken = BytesMut::with_capacity(length.min(PIECE_BYTES));
    while taken.len() < length {
        let piece = stream.read_chunk(length - taken.len(), true);
        let piece = tokio::time::timeout(SILENCE_MAX, piece)
            .await
            .map_err(|_| StreamFault::Broken("the rest of a frame did not come".to_owned()))?
            .map_err(|fault| StreamFault::Broken(fault.to_string()))?
            .ok_or(StreamFault::Ended)?;
        taken.extend_from_slice(&piece.bytes);
    }
    Ok(taken.freeze())
}

/// Writes a frame and the bytes it announces. `progress` counts what the other side's flow
/// control has taken; `governor` paces bytes that may wait.
///
/// # Errors
/// The stream broke off.
pub async fn write(
    stream: &mut quinn::SendStream,
    framed: &Framed,
    progress: &AtomicU64,
    governor: Option<&Arc<Governor>>,
) -> Result<(), StreamFault> {
    let broken = |fault: quinn::WriteError| StreamFault::Broken(fault.to_string());
    stream.write_all(&framed.frame.encode()).await.map_err(broken)?;
    progress.fetch_add(1, Relaxed);
    let mut rest = framed.bytes.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        if let Some(governor) = governor {
            governor.pace(piece.len()).await;
        }
        let length = piece.len() as u64;
        stream.write_chunk(piece).await.map_err(broken)?;
        progress.fetch_add(length, Relaxed);
    }
    if !framed.window.is_empty() {
        stream.write_chunk(framed.window.clone()).await.map_err(broken)?;
    }
    Ok(())
}

fn ended(fault: quinn::ReadExactError) -> StreamFault {
    match fault {
        quinn::ReadExactError::FinishedEarly(_) => StreamFault::Ended,
        quinn::ReadExactError::ReadError(fault) => StreamFault::Broken(fault.to_string()),
    }
}
