//! Where one client was in the last bins, with its own habits: a few numbers in its profile.

use homing_wire::PlaceId;

use super::{BIN_MS, HORIZONS, HOURS};

/// Bins that are remembered: the farthest horizon, the place before it and the bin under way.
const BINS: usize = HORIZONS[HORIZONS.len() - 1] + 3;
/// Steps of its own that a user is remembered by.
const OWN: usize = 12;
/// Bins of one day.
const BINS_PER_DAY: u32 = (86_400_000 / BIN_MS) as u32;
/// No place was told.
const NOWHERE: u16 = u16::MAX;

/// Where a client was, the bin under way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Which bin is under way, counted from the Unix epoch.
    pub(super) bin: u32,
    pub(super) places: [u16; BINS],
    /// From, to, and how often, over all horizons.
    pub(super) own: [(u16, u16, u8); OWN],
    /// How many there was no room for.
    pub(super) lost: u16,
}

/// Where a client is, and what is known of how it came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whereabouts {
    /// Where it is.
    pub place: PlaceId,
    /// Where it was in the two bins before, the later one first, if both are known.
    pub before: Option<[PlaceId; 2]>,
    /// Which three hours of the day it is, by UTC.
    pub hours: u8,
}

/// Where a user went itself from one place, over all horizons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Where to, and how often.
    to: [(u16, u8); OWN],
    /// Steps of the user that there was no room for, from anywhere.
    pub(super) lost: u16,
}

impl Habits {
    /// Where to, and how often.
    pub(super) fn steps(&self) -> impl Iterator<Item = (PlaceId, f64)> + Clone + '_ {
        let known = self.to.iter().filter(|(_, count)| *count > 0);
        known.map(|(to, count)| (PlaceId(*to), f64::from(*count)))
    }
}

/// A client was at one place and, a horizon later, at another or still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which of [`HORIZONS`].
    pub horizon: u8,
    /// Which three hours of the day it was then, by UTC.
    pub hours: u8,
    /// Where it was in the two bins before that, the later one first, if both are known.
    pub before: Option<[PlaceId; 2]>,
    /// Where it was.
    pub from: PlaceId,
    /// Where it was then.
    pub to: PlaceId,
    /// What the client did from there at other times.
    pub habits: Habits,
}

impl Default for Trail {
    fn default() -> Self {
        Self { bin: 0, places: [NOWHERE; BINS], own: [(NOWHERE, NOWHERE, 0); OWN], lost: 0 }
    }
}

impl Trail {
    /// Notes where the client is. What the bins that are over by that tell is returned, once.
    pub fn step(&mut self, place: PlaceId, now_ms: u64) -> Vec<Transition> {
        let bin = u32::try_from(now_ms / BIN_MS).unwrap_or(u32::MAX);
        let mut told = Vec::new();
        // A clock that went back stays in the bin under way until time has caught up.
        if bin > self.bin {
            if self.places[0] != NOWHERE {
                told = self.close();
            }
            let passed = ((bin - self.bin) as usize).min(BINS);
            self.places.rotate_right(passed % BINS);
            self.places[..passed].fill(NOWHERE);
            self.bin = bin;
        }
        self.places[0] = place.0;
        told
    }

    /// Where the client is now.
    #[must_use]
    pub fn whereabouts(&self, place: PlaceId) -> Whereabouts {
        Whereabouts { place, before: self.before_bin(0), hours: hours(self.bin) }
    }

    fn before_bin(&self, bins: usize) -> Option<[PlaceId; 2]> {
        let place = |bins: usize| self.places.get(bins).copied().and_then(at);
        Some([place(bins + 1)?, place(bins + 2)?])
    }

    /// What the client did itself from a place.
    #[must_use]
    pub fn habits(&self, from: PlaceId) -> Habits {
        let to = |own: (u16, u16, u8)| if own.0 == from.0 { (own.1, own.2) } else { (NOWHERE, 0) };
        Habits { to: self.own.map(to), lost: self.lost }
    }

    /// Rewrites places after a document changed their order.
    pub fn remap(&mut self, to: impl Fn(PlaceId) -> Option<PlaceId>) {
        let to = |place: u16| at(place).and_then(&to).map_or(NOWHERE, |place| place.0);
        self.places.iter_mut().for_each(|place| *place = to(*place));
        for own in &mut self.own {
            let (from, then) = (to(own.0), to(own.1));
            let is_known = from != NOWHERE && then != NOWHERE;
            *own = if is_known { (from, then, own.2) } else { (NOWHERE, NOWHERE, 0) };
        }
    }

    fn close(&mut self) -> Vec<Transition> {
        let Some(to) = at(self.places[0]) else { return Vec::new() };
        let told = |(horizon, bins): (usize, &usize)| {
            let from = at(*self.places.get(*bins)?)?;
            Some(Transition {
                horizon: horizon as u8,
                hours: hours(self.bin.saturating_sub(*bins as u32)),
                before: self.before_bin(*bins),
                from,
                to,
                habits: self.habits(from),
            })
        };
        let told: Vec<Transition> = HORIZONS.iter().enumerate().filter_map(told).collect();
        for seen in &told {
            self.remember(seen.from.0, to.0);
        }
        told
    }

    fn remember(&mut self, from: u16, to: u16) {
        let known = self.own.iter().position(|own| (own.0, own.1) == (from, to));
        // The rarest gives way, for a habit is proved by repetition. How many there were of it is
        // kept: what is left looks more regular than the user is.
        let slot = known.or_else(|| (0..OWN).min_by_key(|slot| self.own[*slot].2)).unwrap_or(0);
        if known.is_none() {
            self.lost = self.lost.saturating_add(self.own[slot].2.into());
            self.own[slot] = (from, to, 0);
        }
        if self.own[slot].2 == u8::MAX {
            self.own.iter_mut().for_each(|own| own.2 /= 2);
            self.lost /= 2;
        }
        self.own[slot].2 += 1;
    }
}

fn hours(bin: u32) -> u8 {
    (u64::from(bin % BINS_PER_DAY) * BIN_MS / (HOURS * 3_600_000)) as u8
}

fn at(place: u16) -> Option<PlaceId> {
    (place != NOWHERE).then_some(PlaceId(place))
}
