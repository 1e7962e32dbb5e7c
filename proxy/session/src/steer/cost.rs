//! What a zone costs a new session, in microseconds of its user's time: one sum, kept in its terms
//! so that it can be shown, and a ranking of the best four that needs no allocation.

use homing_wire::ZoneId;

use super::{Fallbacks, Pressure, Subject, ZoneView};

/// Load up to here costs nothing.
const LOAD_FREE_PERMILLE: u32 = 600;
/// Width of the noise: costs closer than this are taken to be equal.
const NOISE_US: u64 = 1_000;

/// What a distance was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DistanceFrom {
    /// The measured round trip of the client's place.
    Place,
    /// This edge's own round trip to the zone.
    Edge,
    /// Nothing is known.
    Unknown,
}

/// Why a zone does not take a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Excluded {
    /// It serves nothing.
    Closed,
    /// It has no healthy endpoint for the service.
    Down,
    /// Requests to every endpoint for the service fail.
    Failing,
    /// It is being emptied.
    Draining,
    /// It has no room.
    Full,
}

impl Excluded {
    pub(super) fn from(pressure: Pressure) -> Option<Self> {
        match pressure {
            Pressure::Closed => Some(Self::Closed),
            Pressure::Down => Some(Self::Down),
            Pressure::Failing => Some(Self::Failing),
            Pressure::Draining => Some(Self::Draining),
            Pressure::Full => Some(Self::Full),
            Pressure::None => None,
        }
    }

    /// The word for people and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Down => "down",
            Self::Failing => "failing",
            Self::Draining => "draining",
            Self::Full => "full",
        }
    }
}

/// What one zone costs a new session; all terms in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneTerms {
    /// The zone.
    pub zone: ZoneId,
    /// The round trip to it.
    pub distance_us: u32,
    /// What that was taken from.
    pub distance_from: DistanceFrom,
    /// The solver's shadow price.
    pub price_us: u32,
    /// Grows with the square of the load above 60 %, to 40 ms when full.
    pub load_us: u32,
    /// A cold start.
    pub prestage_us: u32,
    /// How much longer it takes to answer of late than the way there and the service account for.
    pub drag_us: u32,
    /// Below 1 ms, from the seed: spreads sessions over zones that cost nearly the same.
    pub noise_us: u32,
}

impl ZoneTerms {
    /// The sum.
    #[inline]
    #[must_use]
    pub fn total_us(&self) -> u64 {
        let places = [self.distance_us, self.price_us, self.load_us];
        let rest = [self.prestage_us, self.drag_us, self.noise_us];
        places.into_iter().chain(rest).map(u64::from).sum()
    }
}

#[inline]
pub(super) fn terms(view: &ZoneView, zone: ZoneId, subject: &Subject, seed: u64) -> ZoneTerms {
    let Subject { place, service, .. } = *subject;
    let state = view.zones.get(zone.index()).copied().unwrap_or_default();
    let (distance_us, distance_from) = view.distances.rtt_us(place, zone);
    let over = u32::from(state.load_permille.min(1_000)).saturating_sub(LOAD_FREE_PERMILLE);
    ZoneTerms {
        zone,
        distance_us,
        distance_from,
        price_us: state.shadow_price_us,
        load_us: over * over / 4,
        prestage_us: state.prestage_us,
        drag_us: view.drag_us(zone, service),
        noise_us: noise(seed, zone),
    }
}

/// 0..[`NOISE_US`], independent between zones and seeds.
#[inline]
fn noise(seed: u64, zone: ZoneId) -> u32 {
    let odd = 2 * u64::from(zone.0) + 1;
    let mixed =
        (seed ^ odd.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((u128::from(mixed ^ mixed >> 32) * u128::from(NOISE_US)) >> 64) as u32
}

/// The best zones so far, best first; the lower id wins among equals.
#[derive(Default)]
pub(super) struct Ranking {
    best: [(u64, ZoneId); Fallbacks::MAX + 1],
    len: usize,
}

impl Ranking {
    /// Zones come in the order of their ids.
    pub(super) fn insert(&mut self, zone: ZoneId, cost: u64) {
        let mut at = self.len;
        while at > 0 && self.best[at - 1].0 > cost {
            if at < self.best.len() {
                self.best[at] = self.best[at - 1];
            }
            at -= 1;
        }
        if at < self.best.len() {
            self.best[at] = (cost, zone);
            self.len = (self.len + 1).min(self.best.len());
        }
    }

    pub(super) fn finish(self) -> Option<(ZoneId, Fallbacks)> {
        let (first, rest) = self.best[..self.len].split_first()?;
        let mut fallbacks = Fallbacks::default();
        for (_, zone) in rest {
            fallbacks.push(*zone);
        }
        Some((first.1, fallbacks))
    }
}
