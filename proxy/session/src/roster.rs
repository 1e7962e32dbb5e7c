//! The sessions that one shard of one zone's gate knows: who owns each, what runs for it, what it
//! did. Bounded, and everything it forgets can be told again from the placement, so that a full
//! roster costs memory of habits and never ownership.

use std::collections::HashMap;

use homing_wire::{Epoch, Incarnation, PlaceId, ServiceId, SessionKey, ZoneId, table::Home};

use crate::{
    dedup::DedupWindow,
    gate::{Event, Guard, Illegal, Ownership, Reaction, StartFrom, Tenure, Verdict},
    idle::IdleGaps,
    placement::{Placed, Placement},
    spread::BuildKeyHasher,
};

mod cede;
mod report;
mod slab;
mod sweep;
#[cfg(test)]
mod tests;

pub use cede::{Begin, Cession, Given};
pub use report::SessionSummary;
pub use sweep::Ended;

use slab::Slab;

/// One shard of one zone's gate.
#[derive(Debug)]
pub struct Roster {
    zone: ZoneId,
    /// Sessions it may know at one time.
    capacity: usize,
    index: HashMap<SessionKey, u32, BuildKeyHasher>,
    residents: Slab,
    /// Slots whose activity has not been drained, each once.
    dirty: Vec<u32>,
    /// Where the sweep goes on.
    hand: u32,
    counts: RosterCounts,
}

/// What a roster has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterCounts {
    /// Sessions that live here now: owned or frozen.
    pub homes: u64,
    /// Requests in execution now.
    pub in_flight: u64,
    /// Sessions forgotten because they were over.
    pub ended: u64,
    /// Sessions forgotten to make room.
    pub evicted: u64,
    /// Sessions turned away because nothing could be forgotten.
    pub turned_away: u64,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// The session.
    pub key: SessionKey,
    /// Its service.
    pub service: ServiceId,
    /// Where its client is, if a trusted front said so.
    pub place: Option<PlaceId>,
}

/// The gate's present life, as the machines ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Which life.
    pub incarnation: Incarnation,
    /// Whether its lease is valid by its own clock.
    pub lease_valid: bool,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Execute it at this epoch. It is counted in; [`Roster::finish`] counts it out.
    Execute {
        /// The epoch.
        epoch: Epoch,
    },
    /// Hold it: the session is being handed over.
    Park,
    /// Not executed: it lives there.
    Moved(Home),
    /// Not executed: nobody here knows where it lives.
    NotOwner,
    /// Not executed: the lease is not valid.
    NoLease,
    /// Not executed: the roster is full of sessions it must not forget.
    Full,
    /// Not executed: another gate of this zone may still have it and has to be asked.
    Unasked,
}

/// What one answered request did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Response bytes sent to the client.
    pub bytes: u64,
    /// Time to the response head, microseconds.
    pub latency_us: u32,
}

/// What the end of a request has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// A handoff waits for this session's requests to end, and this was the last.
    pub drained: bool,
}

/// Why an ownership event was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefused {
    /// The machine has no such step.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The session is not known here and there is no room to know it.
    #[error("the roster is full")]
    Full,
}

/// What a roster knows of one session. Kept small: a gate holds millions of them.
#[derive(Clone, Debug)]
struct Resident {
    key: SessionKey,
    ownership: Ownership,
    last_seen_ms: u64,
    /// Since the last drain.
    bytes: u64,
    latency_us_sum: u64,
    requests: u32,
    in_flight: u32,
    gaps: IdleGaps,
    dedup: Option<Box<DedupWindow>>,
    service: ServiceId,
    place: Option<PlaceId>,
    /// Seen since the sweep came by last.
    referenced: bool,
    /// Has sent a request.
    met: bool,
    /// In the dirty list.
    dirty: bool,
}

impl Roster {
    /// An empty roster of `zone` for at most `capacity` sessions.
    #[must_use]
    pub fn new(zone: ZoneId, capacity: usize) -> Self {
        Self {
            zone,
            capacity: capacity.clamp(1, u32::MAX as usize - 1),
            index: HashMap::default(),
            residents: Slab::default(),
            dirty: Vec::new(),
            hand: 0,
            counts: RosterCounts::default(),
        }
    }

    /// Decides on one request and, if it is to be executed, counts it in.
    ///
    /// A session that is not known here lives here if the placement says so. Where the placement
    /// knows of a higher epoch than this gate, the placement is believed as far as that is safe:
    /// it stops execution here at once, and it starts it here only if nothing is under way.
    pub fn admit(
        &mut self,
        who: Who,
        placement: &Placement,
        lease_valid: bool,
        now_ms: u64,
    ) -> Admit {
        self.admit_if(who, placement, lease_valid, || Begin::Yes, now_ms)
    }

    /// As [`Self::admit`], at a gate that has neighbours in its zone: `begin` says whether a
    /// session may begin to be executed here by the placement's word alone. It is asked only where
    /// that is the question.
    pub fn admit_if(
        &mut self,
        who: Who,
        placement: &Placement,
        lease_valid: bool,
        begin: impl FnOnce() -> Begin,
        now_ms: u64,
    ) -> Admit {
        let placed = placement.home(who.key);
        let slot = match self.index.get(&who.key) {
            Some(slot) => *slot,
            None if placed.home.zone != self.zone => return Admit::Moved(placed.home),
            None if !lease_valid => return Admit::NoLease,
            None => match begin() {
                Begin::Ask => return Admit::Unasked,
                Begin::No => return Admit::Moved(placed.home),
                Begin::Yes => {
                    let Some(slot) = self.settle(who, placed, placement, now_ms) else {
                        return Admit::Full;
                    };
                    return self.execute(slot, placed.home, (who, lease_valid), now_ms);
                }
            },
        };
        let resident = self.residents.get_mut(slot);
        if resident.begins(placed.home, self.zone) {
            match begin() {
                Begin::Yes => {
                    resident.ownership = resident.ownership.taken_back(self.zone);
                    self.counts.homes += u64::from(resident.ownership.is_home());
                }
                Begin::Ask => return Admit::Unasked,
                Begin::No => {
                    let epoch = resident.ownership.epoch().max(placed.home.epoch);
                    return Admit::Moved(Home { zone: self.zone, epoch });
                }
            }
        }
        self.execute(slot, placed.home, (who, lease_valid), now_ms)
    }

    fn execute(
        &mut self,
        slot: u32,
        placed: Home,
        (who, lease_valid): (Who, bool),
        now_ms: u64,
    ) -> Admit {
        let resident = self.residents.get_mut(slot);
        let was_home = resident.ownership.is_home();
        let admit = resident.admit(placed, self.zone, lease_valid);
        if !was_home && resident.ownership.is_home() {
            self.counts.homes += 1;
        }
        if matches!(admit, Admit::Execute { .. }) {
            resident.seen(who, now_ms);
            resident.in_flight += 1;
            self.counts.in_flight += 1;
        }
        admit
    }

    /// Counts out a request that [`Self::admit`] let in. `activity` is `None` if it was not
    /// answered.
    pub fn finish(&mut self, key: SessionKey, activity: Option<Activity>, now_ms: u64) -> Finished {
        let Some(slot) = self.index.get(&key).copied() else {
            return Finished::default();
        };
        let resident = self.residents.get_mut(slot);
        if resident.in_flight == 0 {
            return Finished::default();
        }
        resident.in_flight -= 1;
        self.counts.in_flight -= 1;
        resident.last_seen_ms = resident.last_seen_ms.max(now_ms);
        if let Some(activity) = activity {
            resident.requests = resident.requests.saturating_add(1);
            resident.bytes = resident.bytes.saturating_add(activity.bytes);
            resident.latency_us_sum += u64::from(activity.latency_us);
            if !resident.dirty {
                resident.dirty = true;
                self.dirty.push(slot);
            }
        }
        let waited_for = matches!(resident.ownership.tenure(), Tenure::Frozen { .. });
        Finished { drained: waited_for && resident.in_flight == 0 }
    }

    /// Applies an ownership event. A session not known here starts from what the placement says.
    ///
    /// # Errors
    /// The ownership is then as it was.
    pub fn transition(
        &mut self,
        key: SessionKey,
        event: Event,
        placement: &Placement,
        life: Life,
        now_ms: u64,
    ) -> Result<Reaction, TransitionRefused> {
        let known = self.index.get(&key).copied();
        let (before, in_flight) = match known {
            Some(slot) => {
                let resident = self.residents.get(slot);
                (resident.ownership, resident.in_flight)
            }
            None => (self.default_ownership(placement.home(key).home), 0),
        };
        let guard =
            Guard { incarnation: life.incarnation, lease_valid: life.lease_valid, in_flight };
        let (after, reaction) = before.next(event, guard)?;
        let slot = match known {
            Some(slot) => slot,
            None => {
                let who = Who { key, service: ServiceId::default(), place: None };
                let placed = placement.home(key);
                let settled = self.settle(who, placed, placement, now_ms);
                settled.ok_or(TransitionRefused::Full)?
            }
        };
        let resident = self.residents.get_mut(slot);
        // A session just made resident is counted by what the placement said of it.
        self.counts.homes -= u64::from(resident.ownership.is_home());
        self.counts.homes += u64::from(after.is_home());
        resident.ownership = after;
        Ok(reaction)
    }

    fn default_ownership(&self, home: Home) -> Ownership {
        if home.zone == self.zone {
            Ownership::owner(home.epoch)
        } else {
            Ownership::moved(home.zone, home.epoch)
        }
    }

    /// Makes a session resident as the placement has it. `None` if there is no room.
    fn settle(
        &mut self,
        who: Who,
        placed: Placed,
        placement: &Placement,
        now_ms: u64,
    ) -> Option<u32> {
        if self.index.len() >= self.capacity && !self.make_room(placement, now_ms) {
            self.counts.turned_away += 1;
            return None;
        }
        let ownership = self.default_ownership(placed.home);
        self.counts.homes += u64::from(ownership.is_home());
        let slot = self.residents.insert(Resident {
            key: who.key,
            ownership,
            last_seen_ms: now_ms,
            bytes: 0,
            latency_us_sum: 0,
            requests: 0,
            in_flight: 0,
            gaps: IdleGaps::default(),
            dedup: None,
            service: who.service,
            place: who.place,
            referenced: false,
            met: false,
            dirty: false,
        });
        self.index.insert(who.key, slot);
        Some(slot)
    }

    /// What is known of a session's ownership here; `None` if it is not resident.
    #[must_use]
    pub fn ownership(&self, key: SessionKey) -> Option<Ownership> {
        self.resident(key).map(|resident| resident.ownership)
    }

    /// Where a session lives as far as this gate can vouch for it, as a hint for steering.
    #[must_use]
    pub fn hint(&self, key: SessionKey) -> Option<Home> {
        let ownership = self.resident(key)?.ownership;
        match ownership.admit(true) {
            Verdict::Execute { epoch } => Some(Home { zone: self.zone, epoch }),
            Verdict::Moved { zone, epoch } => Some(Home { zone, epoch }),
            Verdict::Park | Verdict::NotOwner | Verdict::NoLease => None,
        }
    }

    /// Requests of a session in execution.
    #[must_use]
    pub fn in_flight(&self, key: SessionKey) -> u32 {
        self.resident(key).map_or(0, |resident| resident.in_flight)
    }

    /// Whether a handoff may cut now: nothing is in execution, and the next request is not
    /// expected within the pause. A session not known here may be cut at any time.
    #[must_use]
    pub fn may_cut(&self, key: SessionKey, pause_ms: u64, now_ms: u64) -> bool {
        self.resident(key).is_none_or(|resident| {
            let since_last_ms = now_ms.saturating_sub(resident.last_seen_ms);
            resident.in_flight == 0 && resident.gaps.may_cut(since_last_ms, pause_ms)
        })
    }

    /// A resident session's dedup window, made if it has none.
    pub fn dedup_mut(&mut self, key: SessionKey) -> Option<&mut DedupWindow> {
        let slot = *self.index.get(&key)?;
        Some(self.residents.get_mut(slot).dedup.get_or_insert_default())
    }

    /// A resident session's dedup window, if it has one.
    #[must_use]
    pub fn dedup(&self, key: SessionKey) -> Option<&DedupWindow> {
        self.resident(key)?.dedup.as_deref()
    }

    /// The zone it belongs to.
    #[must_use]
    pub fn zone(&self) -> ZoneId {
        self.zone
    }

    /// Sessions it knows, wherever they live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What it has counted.
    #[must_use]
    pub fn counts(&self) -> RosterCounts {
        self.counts
    }

    fn resident(&self, key: SessionKey) -> Option<&Resident> {
        self.index.get(&key).map(|slot| self.residents.get(*slot))
    }
}

impl Resident {
    fn admit(&mut self, placed: Home, zone: ZoneId, lease_valid: bool) -> Admit {
        let newer = placed.epoch > self.ownership.epoch();
        if newer && placed.zone == zone {
            self.believe(placed.epoch);
        }
        match self.ownership.admit(lease_valid) {
            Verdict::Execute { .. } if newer && placed.zone != zone => Admit::Moved(placed),
            Verdict::Execute { epoch } => Admit::Execute { epoch },
            Verdict::Park => Admit::Park,
            Verdict::Moved { .. } | Verdict::NotOwner if newer && placed.zone != zone => {
                Admit::Moved(placed)
            }
            Verdict::Moved { zone, epoch } => Admit::Moved(Home { zone, epoch }),
            Verdict::NotOwner => Admit::NotOwner,
            Verdict::NoLease => Admit::NoLease,
        }
    }

    /// Takes the placement's word that this gate owns the session since `epoch`. Only where no
    /// handoff is under way: one that is ends by its own messages.
    fn believe(&mut self, epoch: Epoch) {
        if !matches!(self.ownership.tenure(), Tenure::Owner | Tenure::Away { .. }) {
            return;
        }
        let incarnation = Incarnation::default();
        let own = Event::Own {
            directive: Default::default(),
            incarnation,
            epoch,
            from: StartFrom::Store,
        };
        let guard = Guard { incarnation, lease_valid: true, in_flight: self.in_flight };
        if let Ok((owner, _)) = self.ownership.next(own, guard) {
            self.ownership = owner;
        }
    }

    fn seen(&mut self, who: Who, now_ms: u64) {
        if self.in_flight == 0 && self.met {
            self.gaps.record(now_ms.saturating_sub(self.last_seen_ms));
        }
        self.last_seen_ms = self.last_seen_ms.max(now_ms);
        self.service = who.service;
        self.place = who.place.or(self.place);
        self.referenced = true;
        self.met = true;
    }
}
