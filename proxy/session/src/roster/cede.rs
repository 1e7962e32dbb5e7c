//! How a session changes its gate within a zone. A gate that joins a zone is drawn for a share of
//! the sessions there, but each stays with the gate that has it until that one gives it away, at an
//! instant at which nothing of it is in execution: in one step, under one lock, without a freeze.
//! What is busy stays where it is, and its requests are sent there.

use homing_wire::{Epoch, PlaceId, ServiceId, SessionKey, table::Home};

use super::{Life, Resident, Roster, TransitionRefused, Who};
use crate::{
    dedup::DedupWindow,
    gate::{Event, Guard, Ownership, StartFrom, Tenure},
    placement::Placement,
};

/// Whether a session may begin to be executed here by the placement's word alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// This gate is drawn for it and nobody else can have it.
    Yes,
    /// This gate is drawn for it; one that was here before may still have it.
    Ask,
    /// Another gate of the zone is drawn for it.
    No,
}

/// What has become of a session that another gate of the zone has asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Cession {
    /// It is that gate's from here on.
    Given(Given),
    /// It was given before; this is what it was given with, in case the answer was lost.
    GivenBefore(Given),
    /// It is here, or may come here, and cannot be given now.
    Here,
    /// It went from here to another zone.
    Away(Home),
    /// Nothing is known of it here.
    Absent,
}

/// A session as it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The epoch at which it is owned.
    pub epoch: Epoch,
    /// Its service.
    pub service: ServiceId,
    /// Where its client is.
    pub place: Option<PlaceId>,
    /// The names of the requests it has executed.
    pub window: Option<DedupWindow>,
}

impl Roster {
    /// Gives a session to the gate that is drawn for it now, if nothing of it is in execution.
    /// `coming` says that a handoff to this very life is open, so that it may yet come here.
    pub fn cede(&mut self, key: SessionKey, coming: bool) -> Cession {
        let zone = self.zone;
        let absent = if coming { Cession::Here } else { Cession::Absent };
        let Some(slot) = self.index.get(&key).copied() else { return absent };
        let resident = self.residents.get_mut(slot);
        match resident.ownership.tenure() {
            Tenure::Owner => {
                let life = Default::default();
                let in_flight = resident.in_flight;
                let guard = Guard { incarnation: life, lease_valid: true, in_flight };
                match resident.ownership.next(Event::Cede { zone }, guard) {
                    Ok((ceded, _)) => {
                        resident.ownership = ceded;
                        self.counts.homes -= 1;
                        Cession::Given(resident.given())
                    }
                    Err(_) => Cession::Here,
                }
            }
            Tenure::Away { to: Some(to) } if to == zone => Cession::GivenBefore(resident.given()),
            Tenure::Away { .. } if coming => Cession::Here,
            Tenure::Away { to: None } => Cession::Absent,
            Tenure::Away { to: Some(to) } | Tenure::Retired { to, .. } => {
                Cession::Away(Home { zone: to, epoch: resident.ownership.epoch() })
            }
            Tenure::Frozen { .. } | Tenure::Granted { .. } | Tenure::Staged { .. } => Cession::Here,
        }
    }

    /// Takes in a session that another gate of the zone has given; what is known better here stays.
    /// Whether that was news here.
    ///
    /// # Errors
    /// It is not taken: it was given at an epoch that is over, or there is no room.
    pub fn receive(
        &mut self,
        who: Who,
        (epoch, window): (Epoch, Option<DedupWindow>),
        placement: &Placement,
        life: Life,
        now_ms: u64,
    ) -> Result<bool, TransitionRefused> {
        let known = self.ownership(who.key);
        if known.is_some_and(|known| known.is_home() && known.epoch() >= epoch) {
            return Ok(false);
        }
        let (directive, from) = (Default::default(), StartFrom::Store);
        let own = Event::Own { directive, incarnation: life.incarnation, epoch, from };
        self.transition(who.key, own, placement, life, now_ms)?;
        if let (Some(window), Some(held)) = (window, self.dedup_mut(who.key)) {
            *held = window;
        }
        Ok(true)
    }
}

impl Resident {
    /// Whether only the placement's word would make this gate the owner.
    pub(super) fn begins(&self, placed: Home, zone: homing_wire::ZoneId) -> bool {
        let Tenure::Away { to } = self.ownership.tenure() else { return false };
        let newer = placed.epoch > self.ownership.epoch();
        placed.zone == zone && (newer || to == Some(zone))
    }

    fn given(&self) -> Given {
        Given {
            epoch: self.ownership.epoch(),
            service: self.service,
            place: self.place,
            window: self.dedup.as_deref().filter(|window| !window.is_empty()).cloned(),
        }
    }
}

impl Ownership {
    /// As it is once what it gave to a gate that is over is its own again; unchanged otherwise.
    pub(super) fn taken_back(self, zone: homing_wire::ZoneId) -> Self {
        let guard = Guard { incarnation: Default::default(), lease_valid: true, in_flight: 0 };
        self.next(Event::TakeBack { zone }, guard).map_or(self, |(owner, _)| owner)
    }
}
