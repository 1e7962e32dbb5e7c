//! Requests that wait out a freeze, as an account: who may wait, how long, and in which order they
//! go on. Only the account; the waiting itself is the shell's. A count alone would not do, because
//! each bound (a session's, the process's, bytes, time) protects someone else.

use std::collections::{BTreeSet, HashMap, VecDeque};

use homing_wire::{HoldLimits, SessionKey};

use crate::spread::{BuildKeyHasher, spread};

#[cfg(test)]
mod tests;

/// Names one held request. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    deadline_ms: u64,
    number: u64,
    key: SessionKey,
}

impl Ticket {
    /// When its hold ends at the latest.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// The session it waits for.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        self.key
    }
}

/// Why a request may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HoldRefused {
    /// Its session has as many waiting as it may.
    #[error("too many requests of this session wait")]
    Session,
    /// The process has as many waiting as it may.
    #[error("too many requests wait")]
    Process,
    /// The process holds as many bytes as it may.
    #[error("waiting requests hold too many bytes")]
    Bytes,
    /// It has waited as long as it may.
    #[error("the request has waited as long as it may")]
    Time,
}

/// A held request that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub ticket: Ticket,
    /// How long to wait before it goes on. Never falls along a session's requests.
    pub after_ms: u64,
}

/// The account of a process's held requests.
#[derive(Debug, Default)]
pub struct Hold {
    sessions: HashMap<SessionKey, VecDeque<Parked>, BuildKeyHasher>,
    /// All tickets, by deadline.
    deadlines: BTreeSet<Ticket>,
    bytes: u64,
    issued: u64,
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    ticket: Ticket,
    bytes: u64,
}

impl Hold {
    /// Lets a request of `bytes` wait for its session, behind those that wait already.
    ///
    /// `since_ms` is when it was first held: being held again does not give it more time. The
    /// limits are passed in because they change with the table.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn park(
        &mut self,
        key: SessionKey,
        bytes: u64,
        since_ms: u64,
        limits: &HoldLimits,
        now_ms: u64,
    ) -> Result<Ticket, HoldRefused> {
        let deadline_ms = since_ms.saturating_add(limits.ms_max.into());
        if deadline_ms <= now_ms {
            return Err(HoldRefused::Time);
        }
        if self.deadlines.len() >= limits.requests_total as usize {
            return Err(HoldRefused::Process);
        }
        if self.bytes.saturating_add(bytes) > limits.bytes_total {
            return Err(HoldRefused::Bytes);
        }
        if self.waiting(key) >= usize::from(limits.requests_per_session) {
            return Err(HoldRefused::Session);
        }
        self.issued += 1;
        let ticket = Ticket { deadline_ms, number: self.issued, key };
        self.bytes += bytes;
        self.deadlines.insert(ticket);
        self.sessions.entry(key).or_default().push_back(Parked { ticket, bytes });
        Ok(ticket)
    }

    /// Lets all requests of a session go on, in the order they came.
    ///
    /// Requests of different sessions start up to `spread_ms` apart, so that a zone that takes
    /// over thousands of sessions at once does not meet all their requests in one instant. `seed`
    /// varies that between releases.
    pub fn release(&mut self, key: SessionKey, spread_ms: u64, seed: u64) -> Vec<Release> {
        let parked = self.sessions.remove(&key).unwrap_or_default();
        let draw = (spread(key) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let after_ms = ((u128::from(draw) * u128::from(spread_ms)) >> 64) as u64;
        let go = |parked: Parked| {
            self.deadlines.remove(&parked.ticket);
            self.bytes -= parked.bytes;
            Release { ticket: parked.ticket, after_ms }
        };
        parked.into_iter().map(go).collect()
    }

    /// Takes one request out: its client has gone. Returns whether it was waiting.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let known = self.deadlines.remove(&ticket);
        if known {
            self.take_out(ticket);
        }
        known
    }

    /// Takes out up to `max` requests that have waited as long as they may, the longest first.
    pub fn expire(&mut self, now_ms: u64, max: usize) -> Vec<Ticket> {
        let mut over = Vec::new();
        while over.len() < max {
            let Some(first) = self.deadlines.first().copied() else {
                break;
            };
            if first.deadline_ms > now_ms {
                break;
            }
            self.deadlines.remove(&first);
            self.take_out(first);
            over.push(first);
        }
        over
    }

    fn take_out(&mut self, ticket: Ticket) {
        let Some(parked) = self.sessions.get_mut(&ticket.key) else {
            return;
        };
        if let Some(at) = parked.iter().position(|parked| parked.ticket == ticket) {
            self.bytes -= parked.remove(at).map_or(0, |parked| parked.bytes);
        }
        if parked.is_empty() {
            self.sessions.remove(&ticket.key);
        }
    }

    /// When the next hold ends.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|ticket| ticket.deadline_ms)
    }

    /// Requests of a session that wait.
    #[must_use]
    pub fn waiting(&self, key: SessionKey) -> usize {
        self.sessions.get(&key).map_or(0, VecDeque::len)
    }

    /// All requests that wait.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.deadlines.len()
    }

    /// Bytes they hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
