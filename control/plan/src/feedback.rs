//! What moves really brought: the gain that was expected of each beside the gain that came.
//!
//! A zone whose stated round trips are wrong, or that is slow in itself, disappoints every session
//! that is moved there. A move shows one session at two zones: what it took at either, less what it
//! would have taken anywhere, is the round trip as it is. Its ratio to the stated one, as a
//! logarithm, is averaged for each zone and for each way (place and zone), with weights that fade
//! by number and by time; few observations are shrunk towards 1, those of a way towards its zone's.
//! Plans reckon with round trips corrected by that factor. What is learnt comes from what was
//! stated and measured alone, never from what was believed, so that no error feeds itself. The
//! factor is bounded, so that no run of odd measurements can shut a zone out for good, and it fades
//! while nobody is moved, so that a zone that has recovered is tried again.

use std::collections::BTreeMap;

use homing_wire::{PlaceId, ZoneId};

mod bytes;
mod factor;
#[cfg(test)]
mod tests;
mod watch;

pub use factor::{Correction, FACTOR_MAX, FACTOR_MIN};
pub use watch::{Felt, Uncompared, WATCH_MS, Watch};

use factor::{Factor, faded};

/// Added to both round trips before they are compared: what a few milliseconds are to a short way
/// is no reason to think a long one longer.
pub const PAD_US: f64 = 10_000.0;
/// Ways with a factor of their own; the one that rests on least gives way.
const WAYS_MAX: usize = 4_096;
/// A loss below this many microseconds is noise.
const NOISE_US: f64 = 1_000.0;
/// No gain or loss counts for more than a quarter of an hour.
const GAIN_US_MAX: f64 = 1e9;
/// Moves that a tally counts at most; older ones count less and less.
const MOVES_MAX: f64 = 200.0;

/// A round trip as the table states it, with what the plan made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoundTrip {
    /// As stated, where the client is expected to be; microseconds.
    pub stated_us: f64,
    /// Corrected by what earlier moves brought.
    pub believed_us: f64,
}

/// What the latency of a session's records was measured over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// From the edge to the zone and back: the way is in it.
    Way,
    /// Within the zone, by its gate: only what the zone itself takes.
    Zone,
}

/// What a move was expected to bring when it was ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The zone it leaves.
    pub from: ZoneId,
    /// The zone it goes to.
    pub to: ZoneId,
    /// Where the client is, if that is known.
    pub place: Option<PlaceId>,
    /// Whether it is made for its own gain; one that an operator, a drained zone or a full one asks
    /// for is not.
    pub for_gain: bool,
    /// What its records will tell of.
    pub seen: Seen,
    /// The round trip it leaves behind.
    pub before: RoundTrip,
    /// The round trip it gets.
    pub after: RoundTrip,
    /// What each request gains in price and room, microseconds.
    pub other_us: f64,
}

impl Expected {
    /// The latency each request was expected to gain.
    #[must_use]
    pub fn gain_us(&self) -> f64 {
        self.before.believed_us - self.after.believed_us
    }

    /// The round trips as they are, by what was measured at either zone. What requests take beyond
    /// the stated way they would have taken anywhere, as far as it is the same at both; the rest
    /// is the zone's own.
    fn real_us(&self, seen: Measured) -> [f64; 2] {
        let stated = [self.before.stated_us, self.after.stated_us];
        let measured = [seen.before_us, seen.after_us];
        let [before, after] = match self.seen {
            Seen::Way => std::array::from_fn(|side| measured[side] - stated[side]),
            // The way is as stated for all anybody knows; what the zones take is measured.
            Seen::Zone => measured,
        };
        let anywhere = f64::min(before, after).max(0.0);
        [stated[0] + (before - anywhere), stated[1] + (after - anywhere)]
    }
}

/// The median latency of a session's requests on both sides of its move, microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Where it lived.
    pub before_us: f64,
    /// Where it lives.
    pub after_us: f64,
}

/// What one move brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lesson {
    /// The latency each request was expected to gain.
    pub expected_us: f64,
    /// What it gained.
    pub realised_us: f64,
    /// Whether it was made for its gain and made things worse.
    pub regretted: bool,
}

/// What moves to each zone brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feedback {
    zones: BTreeMap<ZoneId, Tally>,
    ways: BTreeMap<(PlaceId, ZoneId), Factor>,
}

/// The moves to one zone, faded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    moves: f64,
    for_gain: f64,
    regretted: f64,
    /// Sums over moves.
    expected_us: f64,
    realised_us: f64,
    at_ms: u64,
    factor: Factor,
}

/// What moves to a zone brought, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brought {
    /// Moves that could be compared, faded.
    pub moves: f64,
    /// What each request was expected to gain, mean over moves.
    pub expected_us: f64,
    /// What it gained.
    pub realised_us: f64,
    /// Of the moves made for their gain, the share that made things worse.
    pub regretted: f64,
    /// The factor on the zone's round trips.
    pub correction: Correction,
}

impl Feedback {
    /// Learns from a move. `None`, and nothing is learnt, where a number is none.
    pub fn learn(&mut self, told: &Expected, seen: Measured, now_ms: u64) -> Option<Lesson> {
        let [before_us, after_us] = told.real_us(seen);
        let (realised_us, expected_us) = (before_us - after_us, told.gain_us());
        let numbers = [before_us, after_us, realised_us, expected_us, told.other_us];
        if !numbers.iter().all(|number| number.is_finite()) {
            return None;
        }
        let sane = |us: f64| us.clamp(-GAIN_US_MAX, GAIN_US_MAX);
        let lesson = Lesson {
            expected_us: sane(expected_us),
            realised_us: sane(realised_us),
            regretted: told.for_gain && realised_us + told.other_us < -NOISE_US,
        };
        self.zones.entry(told.to).or_default().add(told.for_gain, lesson, now_ms);
        // Where the client's place is unknown, round trips are no part of the plan.
        if let Some(place) = told.place {
            let sides = [(told.from, before_us, &told.before), (told.to, after_us, &told.after)];
            for (zone, real_us, trip) in sides {
                let ratio = (real_us.max(0.0) + PAD_US) / (trip.stated_us.max(0.0) + PAD_US);
                self.correct(place, zone, ratio.ln(), now_ms);
            }
        }
        Some(lesson)
    }

    /// The factor on the round trip of a way, or of a zone from wherever.
    #[must_use]
    pub fn correction(&self, place: Option<PlaceId>, zone: ZoneId, now_ms: u64) -> Correction {
        let of_zone = self.zones.get(&zone).map(|tally| tally.factor).unwrap_or_default();
        let own = place.and_then(|place| self.ways.get(&(place, zone)));
        own.copied().unwrap_or_default().within(&of_zone, now_ms)
    }

    /// What moves to a zone brought; `None` before the first. The correction is the one for
    /// clients at `place`.
    #[must_use]
    pub fn of_zone(&self, place: Option<PlaceId>, zone: ZoneId, now_ms: u64) -> Option<Brought> {
        let tally = self.zones.get(&zone).filter(|tally| tally.moves > 0.0)?;
        let mean = |sum: f64| if tally.moves > 0.0 { sum / tally.moves } else { 0.0 };
        Some(Brought {
            moves: tally.moves * faded(tally.at_ms, now_ms),
            expected_us: mean(tally.expected_us),
            realised_us: mean(tally.realised_us),
            regretted: tally.regretted / tally.for_gain.max(f64::MIN_POSITIVE),
            correction: self.correction(place, zone, now_ms),
        })
    }

    /// Zones that anybody was moved to or from.
    pub fn zones(&self) -> impl Iterator<Item = ZoneId> + '_ {
        self.zones.keys().copied()
    }

    /// Ways that have a factor of their own.
    pub fn ways(&self) -> impl Iterator<Item = (PlaceId, ZoneId)> + '_ {
        self.ways.keys().copied()
    }

    /// The factors as of a time, for as many questions as a plan asks.
    #[must_use]
    pub fn corrections(&self, now_ms: u64) -> Corrections {
        let factor = |place, zone| self.correction(place, zone, now_ms).factor as f32;
        let put = |row: &mut Vec<f32>, zone: ZoneId, factor: f32, rest: &[f32]| {
            while row.len() <= zone.index() {
                row.push(rest.get(row.len()).copied().unwrap_or(1.0));
            }
            row[zone.index()] = factor;
        };
        let mut told = Corrections::default();
        for zone in self.zones() {
            put(&mut told.zones, zone, factor(None, zone), &[]);
        }
        for (place, zone) in self.ways() {
            if told.places.len() <= place.index() {
                told.places.resize(place.index() + 1, Vec::new());
            }
            let row = &mut told.places[place.index()];
            if row.is_empty() {
                row.clone_from(&told.zones);
            }
            put(row, zone, factor(Some(place), zone), &told.zones);
        }
        told
    }

    /// Rewrites places after a document changed their order; zones that `keeps` says no to, and
    /// places that are gone, are forgotten.
    #[must_use]
    pub fn remapped(
        &self,
        to: impl Fn(PlaceId) -> Option<PlaceId>,
        keeps: impl Fn(ZoneId) -> bool,
    ) -> Self {
        let zones = self.zones.iter().filter(|(zone, _)| keeps(**zone));
        let way = |((place, zone), factor): (&(PlaceId, ZoneId), &Factor)| {
            let place = to(*place).filter(|_| keeps(*zone))?;
            Some(((place, *zone), *factor))
        };
        Self {
            zones: zones.map(|(zone, tally)| (*zone, *tally)).collect(),
            ways: self.ways.iter().filter_map(way).collect(),
        }
    }

    fn correct(&mut self, place: PlaceId, zone: ZoneId, log: f64, now_ms: u64) {
        self.zones.entry(zone).or_default().factor.add(log, now_ms);
        let way = (place, zone);
        if self.ways.len() >= WAYS_MAX && !self.ways.contains_key(&way) {
            let weight = |factor: &Factor| factor.weight_at(now_ms);
            let least = self.ways.iter().min_by(|a, b| weight(a.1).total_cmp(&weight(b.1)));
            if let Some(least) = least.map(|(way, _)| *way) {
                self.ways.remove(&least);
            }
        }
        self.ways.entry(way).or_default().add(log, now_ms);
    }
}

impl Tally {
    fn add(&mut self, for_gain: bool, lesson: Lesson, now_ms: u64) {
        let crowded = (MOVES_MAX - 1.0) / self.moves.max(MOVES_MAX - 1.0);
        let keep = faded(self.at_ms, now_ms) * crowded;
        let counts = [
            (&mut self.moves, 1.0),
            (&mut self.for_gain, f64::from(u8::from(for_gain))),
            (&mut self.regretted, f64::from(u8::from(lesson.regretted))),
            (&mut self.expected_us, lesson.expected_us),
            (&mut self.realised_us, lesson.realised_us),
        ];
        for (sum, one) in counts {
            *sum = *sum * keep + one;
        }
        self.at_ms = now_ms;
    }
}

/// Factors on round trips as of one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corrections {
    zones: Vec<f32>,
    /// By place, empty where no way from it has one of its own; then by zone.
    places: Vec<Vec<f32>>,
}

impl Corrections {
    /// A round trip as it is to be believed.
    #[must_use]
    pub fn believed_us(&self, place: PlaceId, zone: ZoneId, stated_us: f64) -> f64 {
        let own = self.places.get(place.index()).filter(|row| !row.is_empty());
        let factor = own.unwrap_or(&self.zones).get(zone.index());
        factor.map_or(stated_us, |factor| corrected_us(f64::from(*factor), stated_us))
    }
}

/// A stated round trip under a factor.
#[must_use]
pub fn corrected_us(factor: f64, stated_us: f64) -> f64 {
    (factor * (stated_us + PAD_US) - PAD_US).max(0.0)
}
