//! A table that deals a bucket to another zone does not move the sessions that live in it: their
//! state is where it was, and control may not have heard of them yet (it was just restarted, or
//! they are younger than their first record). The gate is the authority: it keeps them at an epoch
//! above the table's word, and control is told so that it can hand them over properly.

use homing_session::gate::{Event, Reaction, StartFrom, Tenure};
use homing_wire::{DirectiveId, Epoch, Incarnation, SessionKey, ZONES_MAX, ZoneId, table::Home};

use super::Gates;
use crate::live::Live;

impl Gates {
    /// Keeps every session at home that `next` would take from its gate without a handoff. To be
    /// called before `next` replaces `now`, and after it for those who came in between; returns
    /// whom to tell control of.
    ///
    /// A home that the table names for the very session is obeyed: control has resolved something.
    pub fn defend(&self, now: &Live, next: &Live, now_ms: u64) -> Vec<(SessionKey, Home)> {
        let (before, after) = (now.table.buckets().zones(), next.table.buckets().zones());
        // Most tables deal no bucket, and then no session needs to be looked at.
        let mut robbed = [false; ZONES_MAX];
        for (from, _) in before.iter().zip(after).filter(|(from, to)| from != to) {
            if let Some(robbed) = robbed.get_mut(usize::from(*from)) {
                *robbed = true;
            }
        }
        let mut kept = Vec::new();
        for zone in (0..ZONES_MAX).filter(|zone| robbed[*zone]).map(|zone| ZoneId(zone as u8)) {
            for session in self.homes(zone) {
                let told = next.home(session.key);
                let is_taken = told.zone != zone && told.epoch > session.ownership.epoch();
                // A handoff under way ends by its own messages; its bucket is not dealt meanwhile.
                let is_still = session.ownership.tenure() == Tenure::Owner;
                // Executed there already: too late to say otherwise.
                let is_gone =
                    || self.ownership(told.zone, session.key).is_some_and(|there| there.is_home());
                if is_taken
                    && is_still
                    && !is_gone()
                    && !next.table.exceptions().contains_key(&session.key)
                {
                    let home = Home { zone, epoch: Epoch(told.epoch.0 + 1) };
                    kept.extend(self.keep(next, session.key, home, told.zone, now_ms));
                }
            }
        }
        kept
    }

    fn keep(
        &self,
        next: &Live,
        key: SessionKey,
        home: Home,
        told: ZoneId,
        now_ms: u64,
    ) -> Option<(SessionKey, Home)> {
        let own = Event::Own {
            directive: DirectiveId(0),
            incarnation: if self.seat().is_solo() { Incarnation(0) } else { self.incarnation() },
            epoch: home.epoch,
            from: StartFrom::Retained,
        };
        let release = Event::Release { to: home.zone, epoch: home.epoch };
        let done = self.step(next, home.zone, key, own, now_ms).and_then(|_| {
            // The zone that the table names sends its requests back here; its gate, if it is
            // another process, once control has taken the home in.
            match self.seat().is_solo() {
                true => self.step(next, told, key, release, now_ms),
                false => Ok(Reaction::Owns),
            }
        });
        match done {
            Ok(_) => Some((key, home)),
            Err(refusal) => {
                tracing::warn!(%key, %refusal, "a session's home could not be kept");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
