//! How far a tunnel is: what the client said and the app was given, what the app said and the
//! client got. Not two plain counts, because what an app lacks has to be given to it again.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{CLOSE, Part};

/// A tunnel's counts since its socket was opened, as far as this process can tell.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages of the client before those this process has seen.
    base: u64,
    recent: Recent,
    app: u64,
}

impl Progress {
    /// Goes on from these counts of the client's and the app's messages.
    #[must_use]
    pub fn from(client: u64, app: u64) -> Self {
        Self { base: client, recent: Recent::default(), app }
    }

    /// A part of the client's is passed on. To be counted before it is written: what a dead leg
    /// did not take, the next one is given again.
    pub fn said(&mut self, part: &Part) {
        self.recent.pass(part);
    }

    /// The client has got so many more of the app's messages.
    pub fn got(&mut self, messages: u64) {
        self.app += messages;
    }

    /// Messages of the client.
    #[must_use]
    pub fn client(&self) -> u64 {
        self.base + self.recent.count
    }

    /// Messages of the app that the client has got.
    #[must_use]
    pub fn app(&self) -> u64 {
        self.app
    }

    /// What the next leg has to be given first. `taken` is how many of the client's messages its
    /// app has, if it says so; `confirmed` whether the old leg's app took them all. `None` if it
    /// is not known what the app lacks, or not kept: to give the last messages again might do
    /// them twice, and not to might lose them.
    #[must_use]
    pub fn lacks(&self, taken: Option<u64>, confirmed: bool) -> Option<Vec<Bytes>> {
        let taken = taken.or(confirmed.then(|| self.client()))?;
        self.recent.after(taken.checked_sub(self.base)?)
    }
}

/// The client's last messages, kept until nobody can ask for them again: an app that lost the last
/// of what it had taken says up to where it knows, and gets the rest once more.
#[derive(Debug, Default)]
struct Recent {
    /// Messages that ended so far.
    count: u64,
    /// Whole messages, the last one first to last.
    kept: VecDeque<Bytes>,
    bytes: usize,
    /// The message under way.
    open: BytesMut,
    /// It is larger than all that is kept; it cannot be given again.
    too_large: bool,
}

/// Bytes of messages that are kept.
pub const RECENT_BYTES_MAX: usize = 64 << 10;

impl Recent {
    /// A part of a data message was passed on.
    fn pass(&mut self, part: &Part) {
        if part.opcode >= CLOSE {
            return;
        }
        self.too_large |= self.open.len() + part.bytes.len() > RECENT_BYTES_MAX;
        if self.too_large {
            self.open.clear();
        } else {
            self.open.extend_from_slice(&part.bytes);
        }
        if !part.ends_message {
            return;
        }
        self.count += 1;
        if std::mem::take(&mut self.too_large) {
            // What came before it cannot be given without it.
            self.kept.clear();
            self.bytes = 0;
            return;
        }
        let message = self.open.split().freeze();
        self.bytes += message.len();
        self.kept.push_back(message);
        while self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    /// The messages after the first `known`, and what was passed on of the one under way; `None`
    /// if they are not all kept.
    fn after(&self, known: u64) -> Option<Vec<Bytes>> {
        if self.too_large {
            return None;
        }
        let missing = usize::try_from(self.count.checked_sub(known)?).ok()?;
        let from = self.kept.len().checked_sub(missing)?;
        let under_way = (!self.open.is_empty()).then(|| Bytes::copy_from_slice(&self.open));
        Some(self.kept.iter().skip(from).cloned().chain(under_way).collect())
    }
}
