//! What an app has said on a tunnel of tier T2, kept from the client until the replica has the
//! state behind it: heard by the client it is a promise, which an heir must be able to keep.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// Bytes kept before the app is read no further.
const BYTES_MAX: usize = 256 << 10;

/// Where the part of the app's stream that the client was given ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seam {
    /// Between two frames: a frame of ours may follow.
    pub(super) between_frames: bool,
    /// Between two messages: another leg's may follow.
    pub(super) between_messages: bool,
}

impl Default for Seam {
    fn default() -> Self {
        Self { between_frames: true, between_messages: true }
    }
}

/// A piece of the app's stream, to be passed on as one.
#[derive(Debug, Default)]
pub(super) struct Piece {
    bytes: BytesMut,
    /// Messages that end in it.
    messages: u64,
    /// Where it ends.
    seam: Seam,
}

/// A piece that waits for the replica, at the longest until then.
#[derive(Debug)]
struct Asked {
    piece: Piece,
    word: oneshot::Receiver<()>,
    until: Instant,
}

/// The replica does not have it in time, or is not there to be asked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replica is behind")]
pub(super) struct Behind;

/// What is kept. One piece waits at a time, and what comes meanwhile gathers for the next, so
/// that a talkative app costs one copy of the state for each of the replica's words and not one
/// for each message.
#[derive(Debug, Default)]
pub(super) struct Held {
    asked: Option<Asked>,
    gathered: Piece,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_none() && self.gathered.bytes.is_empty()
    }

    /// Whether the app should not be read until some of it has gone out.
    pub(super) fn is_full(&self) -> bool {
        self.gathered.bytes.len() >= BYTES_MAX
    }

    /// Keeps what the app said; `seam` is where it ends.
    pub(super) fn gather(&mut self, said: &[u8], messages: u64, seam: Seam) {
        self.gathered.bytes.extend_from_slice(said);
        self.gathered.messages += messages;
        self.gathered.seam = seam;
    }

    /// Whether the replica is to be asked for what has gathered.
    pub(super) fn is_to_ask(&self) -> bool {
        self.asked.is_none() && !self.gathered.bytes.is_empty()
    }

    /// What has gathered waits for this word of the replica's. It has to be asked for after the
    /// app has said it: only then is the state behind it in the copy.
    pub(super) fn ask(&mut self, word: oneshot::Receiver<()>, patience: Duration) {
        let piece = std::mem::take(&mut self.gathered);
        self.asked = Some(Asked { piece, word, until: Instant::now() + patience });
    }

    /// The next piece that may go out; waits for ever if none was asked for. Nothing is lost if
    /// the wait is given up.
    ///
    /// # Errors
    /// [`Behind`]; the piece must not go out, nor anything after it.
    pub(super) async fn kept(&mut self) -> Result<(Bytes, u64, Seam), Behind> {
        let Some(asked) = &mut self.asked else { return std::future::pending().await };
        let word = timeout_at(asked.until, &mut asked.word).await;
        let piece = self.asked.take().map(|asked| asked.piece).unwrap_or_default();
        match word {
            Ok(Ok(())) => Ok((piece.bytes.freeze(), piece.messages, piece.seam)),
            _ => Err(Behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_gathers_behind_an_asked_piece_needs_a_word_of_its_own() {
        let mut held = Held::default();
        let inside = Seam { between_frames: true, between_messages: false };
        held.gather(b"one", 1, Seam::default());
        assert!(held.is_to_ask());
        let (first, word) = oneshot::channel();
        held.ask(word, LONG);
        held.gather(b"two", 1, Seam::default());
        held.gather(b"thr", 0, inside);
        assert!(!held.is_to_ask(), "one at a time");
        first.send(()).unwrap();
        let (bytes, messages, seam) = held.kept().await.unwrap();
        assert_eq!((&bytes[..], messages, seam), (&b"one"[..], 1, Seam::default()));
        assert!(held.is_to_ask() && !held.is_empty());
        let (second, word) = oneshot::channel();
        held.ask(word, LONG);
        second.send(()).unwrap();
        let (bytes, messages, seam) = held.kept().await.unwrap();
        assert_eq!((&bytes[..], messages, seam), (&b"twothr"[..], 1, inside));
        assert!(held.is_empty());
    }

    #[tokio::test]
    async fn without_the_word_nothing_goes_out() {
        let mut held = Held::default();
        held.gather(b"one", 1, Seam::default());
        let (gone, word) = oneshot::channel();
        held.ask(word, LONG);
        drop(gone);
        assert_eq!(held.kept().await, Err(Behind));
        held.gather(b"two", 1, Seam::default());
        let (_late, word) = oneshot::channel();
        held.ask(word, Duration::from_millis(5));
        assert_eq!(held.kept().await, Err(Behind));
    }
}
