//! Where one client was in the last bins, with its own habits: a few numbers in its profile.

use homing_wire::PlaceId;

use super::{BEFORE, BIN_MS, HORIZONS};

/// Bins that are remembered: the farthest horizon, the place before it and the bin under way.
const BINS: usize = HORIZONS[HORIZONS.len() - 1] + BEFORE + 1;
/// Steps of its own that a user is remembered by.
const OWN: usize = 12;
/// No place was told.
const NOWHERE: u16 = u16::MAX;

/// Where a client was, the bin under way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Which bin is under way, counted from the Unix epoch.
    pub(super) bin: u32,
    pub(super) places: [u16; BINS],
    /// From, to, and how often.
    pub(super) own: [(u16, u16, u8); OWN],
}

/// A client was at one place and, a horizon later, at another or still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which of [`HORIZONS`].
    pub horizon: u8,
    /// Where it was before that, if it is known.
    pub before: Option<PlaceId>,
    /// Where it was.
    pub from: PlaceId,
    /// Where it was then.
    pub to: PlaceId,
}

impl Default for Trail {
    fn default() -> Self {
        Self { bin: 0, places: [NOWHERE; BINS], own: [(NOWHERE, NOWHERE, 0); OWN] }
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

    /// Where it was before the bin under way, as a context.
    pub(super) fn before(&self) -> Option<PlaceId> {
        at(self.places[BEFORE])
    }

    /// Where it went itself from a place.
    pub(super) fn own(&self, from: PlaceId) -> impl Iterator<Item = (PlaceId, f64)> + use<> {
        let own = self.own.into_iter();
        own.filter(move |(place, _, count)| *place == from.0 && *count > 0)
            .map(|(_, to, count)| (PlaceId(to), f64::from(count)))
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
        let told: Vec<Transition> = HORIZONS
            .iter()
            .enumerate()
            .filter_map(|(horizon, bins)| {
                let from = at(*self.places.get(*bins)?)?;
                let before = self.places.get(bins + BEFORE).copied().and_then(at);
                Some(Transition { horizon: horizon as u8, before, from, to })
            })
            .collect();
        if let Some(step) = told.first().filter(|step| step.horizon == 0) {
            self.remember(step.from.0, to.0);
        }
        told
    }

    fn remember(&mut self, from: u16, to: u16) {
        let known = self.own.iter().position(|own| (own.0, own.1) == (from, to));
        // The rarest gives way; it leaves nothing behind, for a habit is proved by repetition.
        let slot = known.or_else(|| (0..OWN).min_by_key(|slot| self.own[*slot].2)).unwrap_or(0);
        if known.is_none() {
            self.own[slot] = (from, to, 0);
        }
        if self.own[slot].2 == u8::MAX {
            self.own.iter_mut().for_each(|own| own.2 /= 2);
        }
        self.own[slot].2 += 1;
    }
}

fn at(place: u16) -> Option<PlaceId> {
    (place != NOWHERE).then_some(PlaceId(place))
}
