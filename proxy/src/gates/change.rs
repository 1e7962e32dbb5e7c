//! A session that changes its gate within the zone: given away at one, taken in at the other.

use std::sync::Arc;

use homing_session::{
    gate::Tenure,
    roster::{Cession, Given, Life, Who},
};
use homing_wire::{Gate, SessionKey, ZoneId};

use super::Gates;
use crate::{live::Live, seat::GateSeat};

/// What became of a session that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It lives here now.
    New,
    /// What is known of it here is as new.
    Known,
    /// Another gate is drawn for it by now, and will ask.
    NotDrawn,
}

impl Gates {
    /// Gives a session to the gate of that name, if it is drawn for it and nothing of the session
    /// is in execution. `None` if it is not drawn for it.
    #[must_use]
    pub fn cede(&self, zone: ZoneId, key: SessionKey, to: &str, coming: bool) -> Option<Cession> {
        let seat = self.seat.gate()?;
        let mut shard = self.shard(zone, key)?.lock();
        // Under the lock, as whoever begins a session looks there.
        seat.draws(key, to).then(|| shard.cede(key, coming))
    }

    /// Takes in a session that another gate of the zone has given, if this one is drawn for it
    /// still; what is known better here stays. `listed` are the zone's gates as they were when it
    /// was asked for: by other ones the answer may be late.
    pub fn receive(
        &self,
        live: &Live,
        zone: ZoneId,
        who: Who,
        given: Given,
        listed: &Arc<Vec<Gate>>,
        now_ms: u64,
    ) -> Received {
        let Some(shard) = self.shard(zone, who.key) else { return Received::NotDrawn };
        let life = Life { incarnation: self.incarnation(), lease_valid: true };
        let mut shard = shard.lock();
        // One that has joined since may have been told that this gate has nothing of it, and have
        // given it on.
        let is_ours = |seat: &GateSeat| seat.still_lists(listed) && seat.draws(who.key, &seat.name);
        if !self.seat.gate().is_some_and(is_ours) {
            return Received::NotDrawn;
        }
        match shard.receive(who, given, &live.placement, life, now_ms) {
            Ok(true) => {}
            Ok(false) => return Received::Known,
            Err(refused) => {
                tracing::debug!(key = %who.key, %refused, "a session that was given is not taken");
                return Received::Known;
            }
        }
        drop(shard);
        self.introduce(live, zone, who, now_ms);
        Received::New
    }

    /// Another gate says that a session has arrived there.
    pub fn confirm(&self, zone: ZoneId, key: SessionKey, changes: u32) {
        if let Some(shard) = self.known(zone, key) {
            shard.lock().confirm(key, changes);
        }
    }

    /// The change by which a session came to this gate, or went from it.
    #[must_use]
    pub fn changes(&self, zone: ZoneId, key: SessionKey) -> u32 {
        self.known(zone, key).map_or(0, |shard| shard.lock().changes(key))
    }

    /// Whether a session was given away and has not arrived yet as far as is known.
    #[must_use]
    pub fn is_unconfirmed(&self, zone: ZoneId, key: SessionKey) -> bool {
        self.known(zone, key).is_some_and(|shard| shard.lock().is_unconfirmed(key))
    }

    /// Sessions of a zone that were given away and have not arrived yet as far as is known.
    #[must_use]
    pub fn unconfirmed(&self, zone: ZoneId) -> u64 {
        let (mut count, mut cursor) = (0, Some(0));
        while let Some(at) = cursor {
            let (page, next) = self.page_of(zone, at, usize::MAX);
            let unconfirmed = page.iter().filter(|known| self.is_unconfirmed(zone, known.key));
            count += unconfirmed.count() as u64;
            cursor = next;
        }
        count
    }

    /// Whether requests of a session are this gate's to answer although another is drawn for it:
    /// it has the session, or is about to.
    #[must_use]
    pub fn answers_for(&self, zone: ZoneId, key: SessionKey) -> bool {
        let has = self.ownership(zone, key).is_some_and(|known| {
            known.retains() || matches!(known.tenure(), Tenure::Staged { .. })
        });
        has || self.seat.gate().is_some_and(|seat: &GateSeat| seat.is_coming(key))
    }
}
