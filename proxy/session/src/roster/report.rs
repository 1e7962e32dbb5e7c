//! What a roster tells others: activity since it was last asked, in time proportional to what
//! changed, and its sessions page by page for people.

use homing_wire::{PlaceId, ServiceId, SessionActivity, SessionKey};

use super::{Resident, Roster};
use crate::gate::Ownership;

/// One resident session, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// The session.
    pub key: SessionKey,
    /// Its service.
    pub service: ServiceId,
    /// Where its client is, if a trusted front said so.
    pub place: Option<PlaceId>,
    /// What this gate is to it.
    pub ownership: Ownership,
    /// Requests in execution.
    pub in_flight: u32,
    /// Its last request or answer.
    pub last_seen_ms: u64,
}

impl From<&Resident> for SessionSummary {
    fn from(resident: &Resident) -> Self {
        Self {
            key: resident.key,
            service: resident.service,
            place: resident.place,
            ownership: resident.ownership,
            in_flight: resident.in_flight,
            last_seen_ms: resident.last_seen_ms,
        }
    }
}

impl Roster {
    /// Takes out the activity of up to `max` sessions that did something since they were last
    /// taken, and adds it to `into`. Each session appears once.
    pub fn drain_activity(&mut self, max: usize, into: &mut Vec<SessionActivity>) {
        let from = self.dirty.len().saturating_sub(max);
        for slot in self.dirty.drain(from..) {
            let resident = self.residents.get_mut(slot);
            resident.dirty = false;
            into.push(SessionActivity {
                key: resident.key,
                service: resident.service,
                zone: self.zone,
                epoch: resident.ownership.epoch(),
                place: resident.place,
                requests: std::mem::take(&mut resident.requests),
                bytes: std::mem::take(&mut resident.bytes),
                latency_us_sum: std::mem::take(&mut resident.latency_us_sum),
                last_seen_ms: resident.last_seen_ms,
            });
        }
    }

    /// Sessions whose activity waits to be taken.
    #[must_use]
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// One resident session.
    #[must_use]
    pub fn session(&self, key: SessionKey) -> Option<SessionSummary> {
        self.resident(key).map(SessionSummary::from)
    }

    /// Sessions from a cursor on, at most `max`, and the cursor of the next page; `None` after the
    /// last. Pages begin at cursor 0. A session that stays resident while paging is told once.
    #[must_use]
    pub fn page(&self, cursor: u32, max: usize) -> (Vec<SessionSummary>, Option<u32>) {
        let mut page = Vec::new();
        let mut next = cursor;
        while page.len() < max && next < self.residents.slots() {
            page.extend(self.residents.at(next).map(SessionSummary::from));
            next += 1;
        }
        (page, (next < self.residents.slots()).then_some(next))
    }
}
