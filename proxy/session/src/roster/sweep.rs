//! How a roster forgets: a hand goes round over the slots, a bounded number at a time. Not a list
//! ordered by age, because that would be written to on every request.

use homing_wire::{DirectiveId, Epoch, ServiceId, SessionKey};

use super::{Resident, Roster};
use crate::{
    gate::{Ownership, Tenure},
    placement::Placement,
};

/// Slots looked at to make room for one session.
const ROOM_LOOKS: u32 = 32;
/// A dedup window is kept this long even when room is wanted: a client that sends a request again
/// does so within seconds.
const DEDUP_KEPT_MS: u64 = 60_000;

/// A session that was over and has been forgotten. If it lived here by an exception, that may go
/// from the table, and its state from the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The session.
    pub key: SessionKey,
    /// Its service.
    pub service: ServiceId,
    /// The epoch at which it lived here.
    pub epoch: Epoch,
    /// Whether it lived here by an exception.
    pub exceptional: bool,
}

impl Roster {
    /// Forgets sessions that are over: unseen for longer than `idle_ms` says for their service.
    ///
    /// Looks at `budget` slots and goes on there next time. `settled` is the directive up to which
    /// all have left the table: promises about them cannot be tested any more. Sessions that lived
    /// here are told to `ended`. Returns how many were forgotten.
    pub fn expire(
        &mut self,
        placement: &Placement,
        settled: DirectiveId,
        idle_ms: impl Fn(ServiceId) -> u64,
        mut ended: impl FnMut(Ended),
        now_ms: u64,
        budget: u32,
    ) -> u32 {
        let mut forgotten = 0;
        for _ in 0..budget.min(self.residents.slots()) {
            let slot = self.step_hand();
            let Some(resident) = self.residents.at(slot) else {
                continue;
            };
            let unseen_ms = now_ms.saturating_sub(resident.last_seen_ms);
            let over = unseen_ms > idle_ms(resident.service);
            if !over || !resident.may_go(self, placement, settled) {
                continue;
            }
            let told = Ended {
                key: resident.key,
                service: resident.service,
                epoch: resident.ownership.epoch(),
                exceptional: placement.home(resident.key).exceptional,
            };
            if resident.ownership.is_home() {
                ended(told);
            }
            self.forget(slot);
            self.counts.ended += 1;
            forgotten += 1;
        }
        forgotten
    }

    /// Forgets one session that is not over, but that the placement can bring back: its habits are
    /// lost and nothing else. Returns whether one was found.
    pub(super) fn make_room(&mut self, placement: &Placement, now_ms: u64) -> bool {
        for _ in 0..ROOM_LOOKS.min(2 * self.residents.slots()) {
            let slot = self.step_hand();
            let Some(resident) = self.residents.at(slot) else {
                continue;
            };
            let unseen_ms = now_ms.saturating_sub(resident.last_seen_ms);
            let remembers = resident.dedup.as_ref().is_some_and(|dedup| !dedup.is_empty());
            let may_go = resident.may_go(self, placement, DirectiveId::default())
                && !(remembers && unseen_ms <= DEDUP_KEPT_MS);
            if !may_go {
                continue;
            }
            if resident.referenced {
                self.residents.get_mut(slot).referenced = false;
                continue;
            }
            self.forget(slot);
            self.counts.evicted += 1;
            return true;
        }
        false
    }

    fn step_hand(&mut self) -> u32 {
        let slot = if self.hand < self.residents.slots() { self.hand } else { 0 };
        self.hand = slot + 1;
        slot
    }

    fn forget(&mut self, slot: u32) {
        if let Some(resident) = self.residents.remove(slot) {
            self.index.remove(&resident.key);
            self.counts.homes -= u64::from(resident.ownership.is_home());
        }
    }
}

impl Resident {
    /// Whether nothing but habits would be lost: nothing runs, nothing is unreported, and the
    /// placement says of its ownership what this gate says.
    fn may_go(&self, roster: &Roster, placement: &Placement, settled: DirectiveId) -> bool {
        if self.in_flight > 0 || self.dirty {
            return false;
        }
        let home = placement.home(self.key).home;
        match self.ownership.tenure() {
            // Where an owner's word on a directive still matters, its epoch is above the table's.
            Tenure::Owner => home.zone == roster.zone && home.epoch >= self.ownership.epoch(),
            // Given to another gate of the zone, which knows it better by now.
            Tenure::Away { to: Some(to) } if to == roster.zone => {
                self.ownership.may_forget(settled)
            }
            Tenure::Away { .. } => {
                home.zone != roster.zone
                    && home.epoch >= self.ownership.epoch()
                    && (self.ownership.may_forget(settled) || self.is_plain_moved(home))
            }
            Tenure::Staged { .. }
            | Tenure::Frozen { .. }
            | Tenure::Granted { .. }
            | Tenure::Retired { .. } => false,
        }
    }

    /// Whether it is exactly what it would be made from the placement again.
    fn is_plain_moved(&self, home: homing_wire::table::Home) -> bool {
        self.ownership == Ownership::moved(home.zone, home.epoch)
    }
}
