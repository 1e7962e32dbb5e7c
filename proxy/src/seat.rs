//! What this process is among the others of an installation: all of it, an edge, or the gate of
//! one zone. Every request asks, so the answer is a few words and atomics; what changes it (a
//! lease, a table) is rare and takes a lock.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use homing_session::{
    joining::{Joining, Neighbour, Standing},
    lease::LeaseHolder,
    roster::Begin,
};
use homing_wire::{
    DirectiveId, Gate, Incarnation, SessionKey, ZoneId, table::Facts, zone::gate_among,
};
use parking_lot::{Mutex, RwLock};

use crate::live::Live;

#[cfg(test)]
mod tests;

/// What this process is.
#[derive(Debug, Default)]
pub enum Seat {
    /// Edge and gate of every zone in one: its life is its lease.
    #[default]
    Solo,
    /// Takes clients in and guards nothing.
    Edge,
    /// Guards one zone; takes clients in too if it has listeners for them.
    Gate(Box<GateSeat>),
}

/// A gate's place: its zone, its lease, and what it must not touch.
#[derive(Debug)]
pub struct GateSeat {
    /// The process's name.
    pub name: String,
    /// The zone it guards, by name: its index may differ from table to table.
    pub zone: String,
    /// This life. A gate that was declared dead goes on as another.
    incarnation: AtomicU64,
    lease: Mutex<LeaseHolder>,
    /// Until when the lease is valid on the process's clock, for readers without the lock.
    valid_until_ms: AtomicU64,
    /// Sessions with an open directive of a former life: that one may have granted them away.
    inherited: RwLock<HashMap<SessionKey, DirectiveId>>,
    /// Sessions with an open directive to this life: they may come here, whoever is drawn for them.
    coming: RwLock<HashSet<SessionKey>>,
    /// The zone's gates by the newest table. Written before that table is in force, so that what is
    /// judged by it is never behind what is judged by the table.
    gates: ArcSwap<Vec<Gate>>,
    joining: Mutex<Joining>,
    resigned: AtomicBool,
}

impl Seat {
    /// The gate's part of it, if this process guards a zone.
    #[must_use]
    pub fn gate(&self) -> Option<&GateSeat> {
        match self {
            Self::Gate(seat) => Some(seat),
            Self::Solo | Self::Edge => None,
        }
    }

    /// Whether this process is everything.
    #[must_use]
    pub fn is_solo(&self) -> bool {
        matches!(self, Self::Solo)
    }

    /// Whether the gate of a session in a zone is this process.
    #[must_use]
    pub fn guards(&self, facts: &Facts, zone: ZoneId, key: SessionKey) -> bool {
        match self {
            Self::Solo => true,
            Self::Edge => false,
            Self::Gate(seat) => {
                let zone = facts.zones.get(zone.index());
                zone.filter(|zone| zone.name == seat.zone)
                    .and_then(|zone| zone.gate_of(key))
                    .is_some_and(|gate| gate.name == seat.name)
            }
        }
    }

    /// Whether this process speaks to a zone's endpoints itself.
    #[must_use]
    pub fn reaches(&self, facts: &Facts, zone: ZoneId) -> bool {
        match self {
            Self::Solo => true,
            Self::Edge => false,
            Self::Gate(seat) => seat.zone_in(facts) == Some(zone),
        }
    }

    /// Whether what is admitted now is covered by a lease.
    #[must_use]
    pub fn lease_valid(&self, now_ms: u64) -> bool {
        match self {
            Self::Solo => true,
            Self::Edge => false,
            Self::Gate(seat) => now_ms < seat.valid_until_ms.load(Relaxed),
        }
    }

    /// Whether a session that lives here may be served without a lease, if its service says so:
    /// this life has held one, and nobody has told it that it is over.
    #[must_use]
    pub fn held_lease(&self) -> bool {
        match self {
            Self::Solo => true,
            Self::Edge => false,
            Self::Gate(seat) => seat.valid_until_ms.load(Relaxed) > 0,
        }
    }

    /// Whether a session must be left alone until control has settled what a former life of this
    /// gate may have done with it.
    #[must_use]
    pub fn inherits(&self, key: SessionKey) -> bool {
        match self {
            Self::Solo | Self::Edge => false,
            Self::Gate(seat) => seat.inherited.read().contains_key(&key),
        }
    }

    /// Whether a session may begin to be executed here by the placement's word alone. `asked` says
    /// that the gates that were here before have been asked and do not have it.
    #[must_use]
    pub fn begin(&self, key: SessionKey, asked: bool) -> Begin {
        match self {
            Self::Solo => Begin::Yes,
            Self::Edge => Begin::No,
            Self::Gate(seat) if !seat.draws(key, &seat.name) => Begin::No,
            Self::Gate(seat) => match seat.standing() {
                Standing::Settled => Begin::Yes,
                Standing::Asking if asked => Begin::Yes,
                Standing::Asking | Standing::Unlisted => Begin::Ask,
            },
        }
    }

    /// Looks at a table that is about to be put in force.
    pub fn look_at(&self, next: &Live) {
        let Self::Gate(seat) = self else { return };
        let facts = next.table.facts();
        let Some(zone) = facts.zone_named(&seat.zone) else { return };
        let stated = &facts.zones[zone.index()];
        let inherited: HashMap<_, _> = next
            .table
            .directives()
            .values()
            .filter(|directive| directive.from == zone)
            .filter(|directive| directive.from_incarnation != seat.incarnation())
            // Another gate of the zone carries its own out.
            .filter(|directive| stated.gate_living(directive.from_incarnation).is_none())
            .map(|directive| (directive.key, directive.id))
            .collect();
        let mut known = seat.inherited.write();
        if *known != inherited {
            *known = inherited;
        }
        drop(known);
        let life = seat.incarnation();
        let coming = next
            .table
            .directives()
            .values()
            .filter(|directive| directive.to == zone && directive.to_incarnation == life);
        *seat.coming.write() = coming.map(|directive| directive.key).collect();
        if **seat.gates.load() != stated.gates {
            seat.gates.store(Arc::new(stated.gates.clone()));
        }
        let mut joining = seat.joining.lock();
        let before = joining.standing();
        joining.look((&seat.name, life), &stated.gates);
        if before == Standing::Unlisted && joining.standing() == Standing::Asking {
            let neighbours = joining.waiting().len();
            tracing::info!(zone = seat.zone, neighbours, "joins a zone that has gates already");
        }
    }
}

impl GateSeat {
    /// A gate that holds no lease yet.
    #[must_use]
    pub fn new(name: String, zone: String, incarnation: Incarnation) -> Self {
        Self {
            name,
            zone,
            incarnation: AtomicU64::new(incarnation.0),
            lease: Mutex::default(),
            valid_until_ms: AtomicU64::new(0),
            inherited: RwLock::default(),
            coming: RwLock::default(),
            gates: ArcSwap::default(),
            joining: Mutex::default(),
            resigned: AtomicBool::new(false),
        }
    }

    /// This life.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Relaxed))
    }

    /// Control has declared this life dead: it holds nothing any more, and another begins.
    pub fn begin_again(&self, next: Incarnation) {
        let mut lease = self.lease.lock();
        *lease = LeaseHolder::default();
        self.valid_until_ms.store(0, Relaxed);
        self.incarnation.store(next.0, Relaxed);
        *self.joining.lock() = Joining::default();
        self.coming.write().clear();
    }

    /// The zone's gates by the newest table.
    #[must_use]
    pub fn listed(&self) -> Arc<Vec<Gate>> {
        self.gates.load_full()
    }

    /// Whether no table has changed that list since.
    #[must_use]
    pub fn still_lists(&self, listed: &Arc<Vec<Gate>>) -> bool {
        Arc::ptr_eq(&self.gates.load(), listed)
    }

    /// Whether the gate of that name is drawn for a session among those of the zone.
    #[must_use]
    pub fn draws(&self, key: SessionKey, name: &str) -> bool {
        gate_among(&self.gates.load(), key).is_some_and(|gate| gate.name == name)
    }

    /// How far this life is into its zone.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.joining.lock().standing()
    }

    /// The gates that have to be asked for sessions that would begin here.
    #[must_use]
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.joining.lock().waiting().to_vec()
    }

    /// A gate has said that it has nothing more that this one is drawn for.
    pub fn has_given_all(&self, neighbour: &Neighbour) {
        self.joining.lock().done(neighbour);
    }

    /// Whether a handoff of a session to this very life is open.
    #[must_use]
    pub fn is_coming(&self, key: SessionKey) -> bool {
        self.coming.read().contains(&key)
    }

    /// Sessions that may come to this life and that another gate is drawn for.
    #[must_use]
    pub fn coming_for_others(&self) -> u64 {
        self.coming.read().iter().filter(|key| !self.draws(**key, &self.name)).count() as u64
    }

    /// This life acts no more, and asks for no lease any more.
    pub fn resign(&self) {
        let mut lease = self.lease.lock();
        *lease = LeaseHolder::default();
        self.valid_until_ms.store(0, Relaxed);
        self.resigned.store(true, Relaxed);
    }

    /// Whether this life has ended by its own will.
    #[must_use]
    pub fn has_resigned(&self) -> bool {
        self.resigned.load(Relaxed)
    }

    /// Whether the newest table says that this life is leaving, and others take its sessions.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.own_entry().is_some_and(|gate| gate.leaving)
    }

    /// Whether the newest table lists this life.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.own_entry().is_some()
    }

    /// Whether there is another gate in the zone that stays, be it one that is entering.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.gates.load().iter().any(|gate| gate.name != self.name && !gate.leaving)
    }

    fn own_entry(&self) -> Option<Gate> {
        let own = |gate: &&Gate| gate.name == self.name && gate.incarnation == self.incarnation();
        self.gates.load().iter().find(own).cloned()
    }

    /// A renewal is being sent; the number to send it under, and how long until the next one,
    /// milliseconds.
    pub fn renewal(&self, now_ms: u64) -> (u64, u64) {
        let mut lease = self.lease.lock();
        (lease.renew_sent(now_ms), lease.next_renewal_ms(now_ms))
    }

    /// Control has answered a renewal.
    pub fn granted(&self, seq: u64, term: u64, lease_ms: u32) {
        let mut lease = self.lease.lock();
        lease.granted(seq, term, lease_ms);
        // Under the lock, so that two answers cannot overtake each other here.
        self.valid_until_ms.store(lease.valid_until_ms(), Relaxed);
    }

    /// The zone's index in these facts.
    #[must_use]
    pub fn zone_in(&self, facts: &Facts) -> Option<ZoneId> {
        facts.zone_named(&self.zone)
    }
}
