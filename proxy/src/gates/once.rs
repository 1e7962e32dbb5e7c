//! Requests that name themselves by an `Idempotency-Key` are executed once: the gate writes the
//! name into the session's dedup window before it sends the request on, and what came of it when it
//! is answered. The window moves with the session, so a key means the same in its next zone.

use homing_session::dedup::{DedupWindow, InvalidWindow};
use homing_wire::{Epoch, SessionKey, ZoneId};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Gates, Permit};

/// Under way: the digest of a request that has no status yet.
const UNDER_WAY: u16 = 0;
/// Sent, and never answered.
const UNKNOWN: u16 = 1;
/// Bits of a digest that tell what was asked; the upper ones are the status.
const ASKED_BITS: u32 = 48;

/// A request's name: its key, and what was asked under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestName {
    client: u64,
    seq: u64,
    asked: u64,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing: the request may be executed.
    New,
    /// Another request of that name is being executed.
    UnderWay,
    /// It was executed, and answered with this status.
    Executed(u16),
    /// It was sent to the app, which did not answer.
    Unknown,
    /// The key was used for another request.
    Reused,
}

/// A name that this request has entered in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered {
    name: RequestName,
    /// Whether any of it went to the app.
    sent: bool,
}

impl RequestName {
    /// The name of a request with this key. Keys are bounded by the head they come in.
    #[must_use]
    pub fn new(key: &[u8], method: &str, target: &str) -> Self {
        let hash = xxh3_128(key);
        let mut asked = Xxh3::new();
        for part in [method.as_bytes(), b" ", target.as_bytes()] {
            asked.update(part);
        }
        let asked = asked.digest() >> (u64::BITS - ASKED_BITS);
        Self { client: (hash >> 64) as u64, seq: hash as u64, asked }
    }

    fn digest(self, status: u16) -> u64 {
        u64::from(status) << ASKED_BITS | self.asked
    }

    fn read(self, digest: u64) -> Named {
        if digest & ((1 << ASKED_BITS) - 1) != self.asked {
            return Named::Reused;
        }
        match (digest >> ASKED_BITS) as u16 {
            UNDER_WAY => Named::UnderWay,
            UNKNOWN => Named::Unknown,
            status => Named::Executed(status),
        }
    }
}

impl Permit {
    /// Enters the request's name, unless it is known.
    pub fn enter(&mut self, name: RequestName) -> Named {
        let Some(shard) = self.gates.known(self.zone, self.key) else { return Named::New };
        let mut shard = shard.lock();
        let Some(window) = shard.dedup_mut(self.key) else { return Named::New };
        if let Some(digest) = window.check(name.client, name.seq) {
            return name.read(digest);
        }
        window.record(name.client, name.seq, name.digest(UNDER_WAY));
        self.entered = Some(Entered { name, sent: false });
        Named::New
    }

    /// From here on the app may have executed the request.
    pub fn is_sent(&mut self) {
        if let Some(entered) = &mut self.entered {
            entered.sent = true;
        }
    }

    /// The app has answered: what came of the request is known before its answer goes out.
    pub fn is_executed(&mut self, status: u16) {
        let Some(shard) = self.gates.known(self.zone, self.key) else { return };
        if self.entered.is_none() {
            return;
        }
        if let Some(window) = shard.lock().dedup_mut(self.key) {
            self.settle(window, Some(status));
        }
        self.entered = None;
    }

    /// Writes what came of the request under its name: the app's status, if it gave one.
    pub(super) fn settle(&self, window: &mut DedupWindow, status: Option<u16>) {
        let Some(Entered { name, sent }) = self.entered else { return };
        match (status, sent) {
            (Some(status), true) => window.amend(name.client, name.seq, name.digest(status)),
            (None, true) => window.amend(name.client, name.seq, name.digest(UNKNOWN)),
            (_, false) => window.forget(name.client, name.seq),
        }
    }
}

impl Gates {
    /// A session's window in a zone, for the cut; empty if it has none.
    #[must_use]
    pub fn window(&self, zone: ZoneId, key: SessionKey) -> Vec<u8> {
        let Some(shard) = self.known(zone, key) else { return Vec::new() };
        let shard = shard.lock();
        let window = shard.dedup(key).filter(|window| !window.is_empty());
        window.map(DedupWindow::export).unwrap_or_default()
    }

    /// As [`Self::window`], at an instant at which no named request is in execution; `None` at any
    /// other. Two equal windows with a copy of the state between them are of one instant.
    #[must_use]
    pub fn window_at_rest(&self, zone: ZoneId, key: SessionKey) -> Option<Vec<u8>> {
        let Some(shard) = self.known(zone, key) else { return Some(Vec::new()) };
        let shard = shard.lock();
        let Some(window) = shard.dedup(key) else { return Some(Vec::new()) };
        let under_way = window.digests().any(|digest| (digest >> ASKED_BITS) as u16 == UNDER_WAY);
        (!under_way).then(|| window.export())
    }

    /// Puts the window that came with a grant of this epoch in place, before the session is served
    /// here. A source that got no answer grants again: by then the session may have been served,
    /// and what its window has learnt must stay.
    ///
    /// # Errors
    /// The bytes are no window.
    pub fn put_window(
        &self,
        zone: ZoneId,
        key: SessionKey,
        epoch: Epoch,
        bytes: &[u8],
    ) -> Result<(), InvalidWindow> {
        let window = match bytes {
            [] => DedupWindow::default(),
            bytes => DedupWindow::import(bytes)?,
        };
        let Some(shard) = self.known(zone, key) else { return Ok(()) };
        let mut shard = shard.lock();
        let taken = shard.ownership(key).is_some_and(|owned| owned.epoch() >= epoch);
        if taken || window.is_empty() && shard.dedup(key).is_none() {
            return Ok(());
        }
        if let Some(held) = shard.dedup_mut(key) {
            *held = window;
        }
        Ok(())
    }
}
