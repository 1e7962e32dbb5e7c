//! How good a zone is for a session: J(u, z) per request, in microseconds of user latency, every
//! term kept for the why. Money enters through the policy's one exchange rate.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use homing_session::drag::Drags;
use homing_wire::{Facts, Intake, Place, PlaceId, SessionKey, Zone, ZoneId};

use crate::{
    affinity::{Affinity, nearness},
    feedback::{Corrections, RoundTrip},
    mobility::{Crowd, HORIZONS, Mobility, WEIGHTS, Whereabouts},
    profile::Profile,
};

/// CPU a request is taken to cost until footprints are measured: 2 ms of one core.
const CPU_US_PER_REQUEST: f64 = 2_000.0;
/// Response bytes a request is taken to have until some were seen.
const BYTES_PER_REQUEST: f64 = 16_384.0;
/// State bytes a handoff is taken to copy until one was measured.
const STATE_BYTES: f64 = 65_536.0;
/// The pause a handoff is taken to cause.
const PAUSE_US: f64 = 20_000.0;
/// What a handoff is feared to cost beyond its pause: cold caches, new connections, the risk of
/// undoing it. In microseconds of user latency.
const MOVE_RISK_US: f64 = 250_000.0;
/// A round trip nobody measured is taken to be this much worse than the worst one measured from
/// the same place, so that ignorance never attracts a session.
const UNKNOWN_RTT_FACTOR: f64 = 1.5;

/// The terms of one zone's score for one session, per request, in microseconds of user latency.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Round trip to the zone from where the session's client is expected to be in the next half
    /// hour; 0 where its place is unknown, for every zone alike.
    pub distance_us: f64,
    /// CPU and egress prices at the policy's exchange rate.
    pub price_us: f64,
    /// The zone's shadow price: what one more session there costs the others.
    pub capacity_us: f64,
    /// How much longer the zone takes to answer of late than the service's quickest.
    pub drag_us: f64,
}

impl Terms {
    /// What a zone with too little room costs, as the solver knows it and as it was measured.
    #[must_use]
    pub fn room_us(&self) -> f64 {
        self.capacity_us + self.drag_us
    }

    /// All of them together.
    #[must_use]
    pub fn total_us(&self) -> f64 {
        self.distance_us + self.price_us + self.capacity_us + self.drag_us
    }
}

/// Scores zones for sessions against one table's facts.
#[derive(Debug)]
pub struct Scorer<'a> {
    facts: &'a Facts,
    mobility: &'a Mobility,
    corrections: Corrections,
    drags: &'a Drags,
    now_ms: u64,
    /// Where the client of the session that was asked for last is expected: its zones are asked
    /// for one after the other.
    expected: RefCell<(SessionKey, Expected)>,
    /// What all users together are expected to do: many are in the same situation.
    crowds: RefCell<BTreeMap<Whereabouts, Rc<Crowd>>>,
}

/// Situations that are remembered; as many as fit a few megabytes.
const CROWDS_MAX: usize = 16_384;

/// Places with chances.
type Expected = Vec<(PlaceId, f64)>;

impl<'a> Scorer<'a> {
    /// A scorer for these facts, under what is known of where clients go, of what earlier moves
    /// brought, and of how slow zones are at a time.
    #[must_use]
    pub fn new(
        facts: &'a Facts,
        mobility: &'a Mobility,
        corrections: Corrections,
        (drags, now_ms): (&'a Drags, u64),
    ) -> Self {
        Self {
            facts,
            mobility,
            corrections,
            drags,
            now_ms,
            expected: RefCell::default(),
            crowds: RefCell::default(),
        }
    }

    /// The terms of one zone for one session, with the zone's shadow price as it would be with the
    /// session in it. A zone the facts do not have scores as infinitely far away.
    #[must_use]
    pub fn terms(&self, session: &Profile, zone: ZoneId, capacity_us: f64) -> Terms {
        let Some(spec) = self.facts.zones.get(zone.index()) else {
            return Terms { distance_us: f64::INFINITY, ..Terms::default() };
        };
        let trip = self.round_trip(session, zone);
        let drag_us = f64::from(self.drags.drag_us(session.service, zone, self.now_ms));
        Terms {
            distance_us: trip.believed_us,
            price_us: self.price_us(session, spec),
            capacity_us,
            // A zone that answers late is late by both: what moves taught is not counted twice.
            drag_us: (drag_us - (trip.believed_us - trip.stated_us).max(0.0)).max(0.0),
        }
    }

    /// The one-off cost of moving a session out of `from`, in microseconds of user latency:
    /// the pause as its requests feel it, egress of its state, and the risk.
    #[must_use]
    pub fn move_us(&self, session: &Profile, from: ZoneId, now_ms: u64) -> f64 {
        let rate = f64::from(session.rate_at(now_ms));
        // A request that arrives in the pause b waits b/2 on average, and rate * b of them do.
        let pause = rate * (PAUSE_US / 1e6) * PAUSE_US / 2.0;
        let egress = self.facts.zones.get(from.index()).map_or(0.0, |zone| {
            self.money_us(zone.price.egress_gib_micros as f64 * STATE_BYTES / GIB)
        });
        pause + egress + MOVE_RISK_US
    }

    /// Zones that take sessions.
    pub fn open(&self) -> impl Iterator<Item = ZoneId> + use<'a> {
        let open = |(index, zone): (usize, &Zone)| {
            (zone.intake == Intake::Open).then_some(ZoneId(index as u8))
        };
        self.facts.zones.iter().enumerate().filter_map(open)
    }

    /// The round trip to a zone from where a session's client is expected to be; 0 where its place
    /// is unknown.
    #[must_use]
    pub fn round_trip(&self, session: &Profile, zone: ZoneId) -> RoundTrip {
        let Some(place) = session.place.filter(|place| self.place(*place).is_some()) else {
            return RoundTrip::default();
        };
        let mut memo = self.expected.borrow_mut();
        if memo.0 != session.key || memo.1.is_empty() {
            let crowd = self.crowd(session.trail.whereabouts(place));
            *memo = (session.key, crowd.expected(&session.trail.habits(place)));
        }
        let mut sum = RoundTrip::default();
        for (place, chance) in &memo.1 {
            let stated_us = self.stated_us(*place, zone);
            sum.stated_us += chance * stated_us;
            sum.believed_us += chance * self.corrections.believed_us(*place, zone, stated_us);
        }
        sum
    }

    /// How much longer than stated the round trip to a zone is believed to be, mean over places by
    /// their weights; 0 if it is shorter.
    pub(crate) fn excess_us(&self, zone: ZoneId, places: &BTreeMap<PlaceId, f64>) -> f64 {
        let known = places.iter().filter(|(place, _)| self.place(**place).is_some());
        let (mut excess_us, mut weights) = (0.0, 0.0);
        for (place, weight) in known {
            let stated_us = self.stated_us(*place, zone);
            let believed_us = self.corrections.believed_us(*place, zone, stated_us);
            excess_us += weight * (believed_us - stated_us);
            weights += weight;
        }
        if weights > 0.0 { (excess_us / weights).max(0.0) } else { 0.0 }
    }

    fn crowd(&self, at: Whereabouts) -> Rc<Crowd> {
        let mut crowds = self.crowds.borrow_mut();
        if crowds.len() >= CROWDS_MAX && !crowds.contains_key(&at) {
            crowds.clear();
        }
        crowds.entry(at).or_insert_with(|| Rc::new(self.mobility.crowd(at))).clone()
    }

    /// The affinity of a session that lives in `home` to a zone.
    #[must_use]
    pub fn affinity(&self, session: &Profile, home: ZoneId, zone: ZoneId) -> Affinity {
        let belongs = session.belongs(home, zone);
        let Some(place) = session.place.filter(|place| self.place(*place).is_some()) else {
            return belongs;
        };
        let zones = (0..self.facts.zones.len()).map(|index| ZoneId(index as u8));
        let nearest_us = zones.map(|zone| self.rtt_us(place, zone)).fold(f64::INFINITY, f64::min);
        let chances = (0..HORIZONS.len()).map(|horizon| self.nearest_then(session, horizon, zone));
        Affinity {
            latency: nearness(self.rtt_us(place, zone), nearest_us),
            predicted: chances.zip(WEIGHTS).map(|(chance, weight)| chance * weight).sum(),
            ..belongs
        }
    }

    /// The chance that, so far ahead, a zone is the nearest to the session's client of those that
    /// are not closed; 0 where its place is unknown.
    #[must_use]
    pub fn nearest_then(&self, session: &Profile, horizon: usize, zone: ZoneId) -> f64 {
        let Some(place) = session.place.filter(|place| self.place(*place).is_some()) else {
            return 0.0;
        };
        let ahead = self.mobility.ahead(horizon, &session.trail, place);
        let there = ahead.iter().filter(|(place, _)| self.nearest(*place) == Some(zone));
        // A sum of nothing is minus zero, which nobody wants to read.
        there.map(|(_, chance)| chance).sum::<f64>() + 0.0
    }

    fn nearest(&self, place: PlaceId) -> Option<ZoneId> {
        let open = self.facts.zones.iter().enumerate().filter(|(_, z)| z.intake != Intake::Closed);
        let zones = open.map(|(index, _)| ZoneId(index as u8));
        zones.min_by(|a, b| self.rtt_us(place, *a).total_cmp(&self.rtt_us(place, *b)))
    }

    fn place(&self, place: PlaceId) -> Option<&'a Place> {
        self.facts.places.get(place.index())
    }

    fn rtt_us(&self, place: PlaceId, zone: ZoneId) -> f64 {
        self.corrections.believed_us(place, zone, self.stated_us(place, zone))
    }

    fn stated_us(&self, place: PlaceId, zone: ZoneId) -> f64 {
        let Some(place) = self.place(place) else {
            return 0.0;
        };
        let known = |us: &&u32| **us != u32::MAX;
        match place.rtt_us.get(zone.index()).filter(known) {
            Some(us) => f64::from(*us),
            None => {
                let worst = place.rtt_us.iter().filter(known).max();
                worst.map_or(0.0, |us| f64::from(*us) * UNKNOWN_RTT_FACTOR)
            }
        }
    }

    fn price_us(&self, session: &Profile, zone: &Zone) -> f64 {
        let bytes = bytes_per_request(session);
        let cpu_hours = CPU_US_PER_REQUEST / 3.6e9;
        let micros_per_request = zone.price.cpu_hour_micros as f64 * cpu_hours
            + zone.price.egress_gib_micros as f64 * bytes / GIB;
        // The exchange rate is stated per 1,000 requests.
        self.money_us(micros_per_request * 1e3)
    }

    fn money_us(&self, micros: f64) -> f64 {
        micros / 1e6 * self.facts.policy.currency_us as f64
    }
}

/// What a session takes of its zone: its place, thousandths of a core, bits a second.
pub(crate) fn demand(session: &Profile, now_ms: u64) -> [f64; 3] {
    let rate = f64::from(session.rate_at(now_ms));
    let cpu_milli = rate * CPU_US_PER_REQUEST / 1e3;
    [1.0, cpu_milli, rate * bytes_per_request(session) * 8.0]
}

fn bytes_per_request(session: &Profile) -> f64 {
    match f64::from(session.bytes_per_request) {
        seen if seen > 0.0 => seen,
        _ => BYTES_PER_REQUEST,
    }
}

const GIB: f64 = 1_073_741_824.0;
