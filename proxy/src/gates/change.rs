//! A session that changes its gate within the zone: given away at one, taken in at the other.

use homing_session::{
    dedup::DedupWindow,
    gate::Tenure,
    roster::{Cession, Life, Who},
};
use homing_wire::{Epoch, SessionKey, ZoneId};

use super::Gates;
use crate::{live::Live, seat::GateSeat};

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
    /// still; what is known better here stays. Whether that was news here.
    pub fn receive(
        &self,
        live: &Live,
        zone: ZoneId,
        who: Who,
        (epoch, window): (Epoch, Option<DedupWindow>),
        now_ms: u64,
    ) -> bool {
        let Some(shard) = self.shard(zone, who.key) else { return false };
        let life = Life { incarnation: self.incarnation(), lease_valid: true };
        let mut shard = shard.lock();
        // One that has joined since may have been told that this gate has nothing of it.
        if !self.seat.gate().is_some_and(|seat| seat.draws(who.key, &seat.name)) {
            return false;
        }
        match shard.receive(who, (epoch, window), &live.placement, life, now_ms) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(refused) => {
                tracing::debug!(key = %who.key, %refused, "a session that was given is not taken");
                return false;
            }
        }
        drop(shard);
        self.introduce(live, zone, who, now_ms);
        true
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
