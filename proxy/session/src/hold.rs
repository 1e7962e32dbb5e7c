//! Requests that wait out a freeze, as an account: who may wait, how long, and in which order they
//! go on. Only the account; the waiting itself is the shell's. A count alone would not do, because
//! each bound (a session's, the process's, bytes, time) protects someone else.

use std::collections::{HashMap, VecDeque};

use homing_wire::{HoldLimits, SessionKey};

use crate::spread::BuildKeyHasher;

#[cfg(test)]
mod tests;

/// Names one held request. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    number: u64,
    deadline_ms: u64,
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

/// A request that asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it was first held: being held again does not give it more time.
    pub since_ms: u64,
    /// Bytes it keeps in memory while it waits.
    pub bytes: u64,
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

/// The account of a process's held requests.
#[derive(Debug, Default)]
pub struct Hold {
    sessions: HashMap<SessionKey, VecDeque<Parked>, BuildKeyHasher>,
    requests: usize,
    bytes: u64,
    issued: u64,
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    ticket: Ticket,
    bytes: u64,
}

impl Hold {
    /// Lets a request wait for its session, behind those that wait already.
    ///
    /// The limits are passed in because they change with the table.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn park(
        &mut self,
        key: SessionKey,
        waiting: Waiting,
        limits: &HoldLimits,
        now_ms: u64,
    ) -> Result<Ticket, HoldRefused> {
        let deadline_ms = waiting.since_ms.saturating_add(limits.ms_max.into());
        let bytes = waiting.bytes;
        if deadline_ms <= now_ms {
            return Err(HoldRefused::Time);
        }
        if self.requests >= limits.requests_total as usize {
            return Err(HoldRefused::Process);
        }
        if self.bytes.saturating_add(bytes) > limits.bytes_total {
            return Err(HoldRefused::Bytes);
        }
        if self.waiting(key) >= usize::from(limits.requests_per_session) {
            return Err(HoldRefused::Session);
        }
        self.issued += 1;
        let ticket = Ticket { number: self.issued, deadline_ms, key };
        self.bytes += bytes;
        self.requests += 1;
        self.sessions.entry(key).or_default().push_back(Parked { ticket, bytes });
        Ok(ticket)
    }

    /// Lets all requests of a session go on, in the order they came.
    pub fn release(&mut self, key: SessionKey) -> impl Iterator<Item = Ticket> + use<> {
        let parked = self.sessions.remove(&key).unwrap_or_default();
        self.requests -= parked.len();
        self.bytes -= parked.iter().map(|parked| parked.bytes).sum::<u64>();
        parked.into_iter().map(|parked| parked.ticket)
    }

    /// Takes one request out: its time is over, or its client has gone. Returns whether it was
    /// waiting.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let Some(parked) = self.sessions.get_mut(&ticket.key) else { return false };
        let at = parked.iter().position(|parked| parked.ticket == ticket);
        let Some(gone) = at.and_then(|at| parked.remove(at)) else { return false };
        self.requests -= 1;
        self.bytes -= gone.bytes;
        if parked.is_empty() {
            self.sessions.remove(&ticket.key);
        }
        true
    }

    /// Requests of a session that wait.
    #[must_use]
    pub fn waiting(&self, key: SessionKey) -> usize {
        self.sessions.get(&key).map_or(0, VecDeque::len)
    }

    /// All requests that wait.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Bytes they hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
