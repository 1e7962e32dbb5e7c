//! What the edge knows of the zones when it steers: slow facts compiled from the table, and the
//! quick ones (health, room, load) that the shell refreshes by swapping in a new view.

use std::sync::Arc;

use homing_wire::{Intake, PlaceId, ServiceId, ZoneId, table::Facts};

use super::cost::DistanceFrom;

/// Round trip taken for a zone of which nothing is known: about the far side of the earth, so
/// that a measured zone is preferred and an unmeasured one still serves alone.
pub const UNKNOWN_RTT_US: u32 = 250_000;

/// What an exception is worth unless the shell says otherwise: it takes a dozen bytes in every
/// proxy for as long as the session lasts.
pub const CLAIM_GAIN_US: u32 = 5_000;

/// Round trips from client places and from this edge to the zones. Shared by all views of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distances {
    zones: usize,
    /// Row by row; `u32::MAX` where unknown.
    places: Box<[u32]>,
    edge: Box<[u32]>,
}

impl Distances {
    /// Compiles the table's rows. `edge_rtt_us` is this edge's own round trip to each zone, by
    /// zone index; a missing or `u32::MAX` entry is unknown.
    #[must_use]
    pub fn compile(facts: &Facts, edge_rtt_us: &[u32]) -> Self {
        let zones = facts.zones.len();
        let at = |row: &[u32], zone| row.get(zone).copied().unwrap_or(u32::MAX);
        let rows = facts
            .places
            .iter()
            .flat_map(|place| (0..zones).map(move |zone| at(&place.rtt_us, zone)));
        Self {
            zones,
            places: rows.collect(),
            edge: (0..zones).map(|zone| at(edge_rtt_us, zone)).collect(),
        }
    }

    /// The round trip to a zone in microseconds: the client place's, else this edge's, else
    /// [`UNKNOWN_RTT_US`].
    #[inline]
    #[must_use]
    pub fn rtt_us(&self, place: Option<PlaceId>, zone: ZoneId) -> (u32, DistanceFrom) {
        let row = place.map(|place| place.index() * self.zones + zone.index());
        if let Some(rtt_us) = row.and_then(|at| self.places.get(at)).filter(known) {
            return (*rtt_us, DistanceFrom::Place);
        }
        match self.edge.get(zone.index()).filter(known) {
            Some(rtt_us) => (*rtt_us, DistanceFrom::Edge),
            None => (UNKNOWN_RTT_US, DistanceFrom::Unknown),
        }
    }
}

fn known(rtt_us: &&u32) -> bool {
    **rtt_us != u32::MAX
}

/// A set of zones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneSet([u64; 4]);

impl ZoneSet {
    /// Adds a zone.
    pub fn insert(&mut self, zone: ZoneId) {
        self.0[zone.index() / 64] |= 1 << (zone.index() % 64);
    }

    /// Takes a zone out.
    pub fn remove(&mut self, zone: ZoneId) {
        self.0[zone.index() / 64] &= !(1 << (zone.index() % 64));
    }

    /// Whether a zone is in it.
    #[inline]
    #[must_use]
    pub fn contains(&self, zone: ZoneId) -> bool {
        self.0[zone.index() / 64] >> (zone.index() % 64) & 1 == 1
    }
}

/// One zone as the edge sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneState {
    /// Whether it takes sessions.
    pub intake: Intake,
    /// Sessions that live there in thousandths of its capacity; 0 if that is not stated, 1000 and
    /// above is full.
    pub load_permille: u16,
    /// The solver's shadow price of one more session, microseconds.
    pub shadow_price_us: u32,
    /// What a cold start would cost a session there, microseconds; 0 if capacity is prestaged.
    pub prestage_us: u32,
}

impl ZoneState {
    /// The load of `sessions` in a zone of that capacity; a capacity of 0 is not stated.
    #[must_use]
    pub fn load_permille(sessions: u64, capacity: u64) -> u16 {
        let permille = u128::from(sessions) * 1_000;
        permille.checked_div(capacity.into()).unwrap_or(0).min(u16::MAX.into()) as u16
    }

    /// Whether it has no room for another session.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.load_permille >= 1_000
    }
}

/// All zones as the edge sees them at one time. Cheap to clone and change: the shell swaps a new
/// one in whenever health changes and about once a second for loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneView {
    /// By zone index.
    pub zones: Vec<ZoneState>,
    /// Zones without a healthy endpoint, by service index. A service not listed is down nowhere.
    pub down: Vec<ZoneSet>,
    /// Zones in which requests to every endpoint fail, by service index. They are still tried for
    /// the sessions that live there, since nothing else would find them well again.
    pub failing: Vec<ZoneSet>,
    /// Drag of the zones, by service index and then zone index; what is not listed has none.
    pub drags: Vec<Box<[u32]>>,
    /// Round trips.
    pub distances: Arc<Distances>,
    /// From this affinity on a session stays in a zone that is full.
    pub affinity_threshold: u16,
    /// Microseconds a session without state must gain to be made an exception of its bucket.
    pub claim_gain_us: u32,
}

impl ZoneView {
    /// A view of the table's facts with every zone healthy and empty.
    #[must_use]
    pub fn compile(facts: &Facts, edge_rtt_us: &[u32]) -> Self {
        let state = |zone: &homing_wire::Zone| ZoneState {
            intake: zone.intake,
            shadow_price_us: zone.shadow_price_us,
            ..ZoneState::default()
        };
        Self {
            zones: facts.zones.iter().map(state).collect(),
            down: vec![ZoneSet::default(); facts.services.len()],
            failing: vec![ZoneSet::default(); facts.services.len()],
            drags: Vec::new(),
            distances: Arc::new(Distances::compile(facts, edge_rtt_us)),
            affinity_threshold: facts.policy.affinity_threshold,
            claim_gain_us: CLAIM_GAIN_US,
        }
    }

    /// Whether a zone has no healthy endpoint for a service.
    #[inline]
    #[must_use]
    pub fn is_down(&self, zone: ZoneId, service: ServiceId) -> bool {
        self.down.get(service.index()).is_some_and(|down| down.contains(zone))
    }

    /// How much longer a zone takes to answer of late than the way there and the service account
    /// for, microseconds.
    #[inline]
    #[must_use]
    pub fn drag_us(&self, zone: ZoneId, service: ServiceId) -> u32 {
        let drags = self.drags.get(service.index());
        drags.and_then(|drags| drags.get(zone.index())).copied().unwrap_or(0)
    }

    /// Whether requests to every endpoint of a zone fail for a service.
    #[inline]
    #[must_use]
    pub fn is_failing(&self, zone: ZoneId, service: ServiceId) -> bool {
        self.failing.get(service.index()).is_some_and(|failing| failing.contains(zone))
    }
}
