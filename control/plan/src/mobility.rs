//! Where clients go next: counts of which place followed which, for all users and for each, shrunk
//! into one chance.
//!
//! Time is cut into bins; each horizon is counted by itself, so that no chain of guesses is needed
//! for a later one (direct forecasts). The weakest guess is "stays where it is", the next what
//! followed this place, then what followed the last two, then what this user did: each is shrunk
//! into the one before by what it rests on. Every guess is scored when the truth arrives, against
//! "stays" (Brier, 1950): where ours is not better of late, staying is what is foreseen, so that
//! nobody is moved by counts that know nothing.

use std::collections::BTreeMap;

use homing_wire::PlaceId;

mod bytes;
mod trail;

pub use trail::{Trail, Transition};

/// Milliseconds of a bin.
pub const BIN_MS: u64 = 300_000;
/// How many bins ahead each horizon is: 5, 10, 15 and 30 minutes.
pub const HORIZONS: [usize; 4] = [1, 2, 3, 6];
/// What each horizon weighs in an expected round trip.
pub const WEIGHTS: [f64; HORIZONS.len()] = [0.4, 0.3, 0.2, 0.1];
/// The place before, in a context of two, is so many bins before the last.
const BEFORE: usize = 2;

/// Contexts that are counted; those met later than these are left to the weaker guess.
const CONTEXTS_MAX: usize = 65_536;
/// Places that may follow one context; a rarer one gives way.
const FOLLOWERS_MAX: usize = 24;
/// When a context has counted so much, all its counts are halved: old habits fade.
const TOTAL_MAX: f32 = 1_000.0;
/// How many observations "stays" is worth.
const SHRINK_ONE: f64 = 5.0;
/// How many the guess by one place is worth, for the one by two.
const SHRINK_TWO: f64 = 20.0;
/// How many the crowd is worth, for a user's own.
const SHRINK_OWN: f64 = 4.0;
/// The chance of what was never seen.
const UNSEEN: f64 = 0.01;
/// Guesses that must have been scored before any is believed.
const SCORED_MIN: f64 = 50.0;
/// What a score that is one guess older weighs.
const SCORE_FADES: f64 = 0.999;
/// How much better than staying ours must be.
const BETTER: f64 = 0.98;

/// What was seen before: the horizon, the place before it and the place.
type Situation = (u8, Option<PlaceId>, PlaceId);

/// What was counted over all users.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mobility {
    contexts: BTreeMap<Situation, Followers>,
    scores: [Score; HORIZONS.len()],
}

/// What followed one situation.
#[derive(Clone, Debug, Default, PartialEq)]
struct Followers {
    total: f32,
    by_place: Vec<(PlaceId, f32)>,
}

/// How well a horizon was foretold of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Guesses that were scored, faded.
    pub scored: f64,
    /// Mean Brier score of ours: 0 is right and sure, 2 is wrong and sure.
    pub ours: f64,
    /// The same of "stays where it is".
    pub stays: f64,
}

impl Score {
    /// Whether ours is acted on.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.scored >= SCORED_MIN && self.ours < self.stays * BETTER
    }

    fn take(&mut self, ours: f64, stays: f64) {
        self.scored = self.scored * SCORE_FADES + 1.0;
        self.ours += (ours - self.ours) / self.scored;
        self.stays += (stays - self.stays) / self.scored;
    }
}

impl Mobility {
    /// Scores what would have been said of a transition, then counts it.
    pub fn learn(&mut self, seen: &Transition) {
        let Some(score) = self.scores.get(usize::from(seen.horizon)) else { return };
        let chances = self.crowd(usize::from(seen.horizon), seen.before, seen.from);
        let right = chances.iter().find(|(place, _)| *place == seen.to).map_or(0.0, |(_, p)| *p);
        let squares: f64 = chances.iter().map(|(_, chance)| chance * chance).sum();
        let stays = if seen.to == seen.from { 0.0 } else { 2.0 };
        let mut score = *score;
        score.take(squares - 2.0 * right + 1.0, stays);
        self.scores[usize::from(seen.horizon)] = score;
        self.count((seen.horizon, None, seen.from), seen.to);
        if seen.before.is_some() {
            self.count((seen.horizon, seen.before, seen.from), seen.to);
        }
    }

    /// Where the client of a session is so many bins ahead, as [`HORIZONS`] counts them: places
    /// with chances that sum to 1. "Stays" alone where nothing better is known.
    #[must_use]
    pub fn ahead(&self, horizon: usize, trail: &Trail, place: PlaceId) -> Vec<(PlaceId, f64)> {
        if !self.scores.get(horizon).is_some_and(Score::is_believed) {
            return vec![(place, 1.0)];
        }
        self.counted(horizon, trail, place)
    }

    /// The same, whether it was better than "stays" of late or not.
    #[must_use]
    pub fn counted(&self, horizon: usize, trail: &Trail, place: PlaceId) -> Vec<(PlaceId, f64)> {
        let mut chances = self.crowd(horizon, trail.before(), place);
        if HORIZONS[horizon] == 1 {
            self.lean(&mut chances, trail, place);
        }
        chances
    }

    /// Where the client is over all horizons, each with its weight.
    #[must_use]
    pub fn expected(&self, trail: &Trail, place: PlaceId) -> Vec<(PlaceId, f64)> {
        if !self.scores.iter().any(Score::is_believed) {
            return vec![(place, 1.0)];
        }
        let mut sum: BTreeMap<PlaceId, f64> = BTreeMap::new();
        for (horizon, weight) in WEIGHTS.iter().enumerate() {
            for (place, chance) in self.ahead(horizon, trail, place) {
                *sum.entry(place).or_default() += weight * chance;
            }
        }
        sum.into_iter().collect()
    }

    /// How well each horizon was foretold of late.
    #[must_use]
    pub fn scores(&self) -> &[Score; HORIZONS.len()] {
        &self.scores
    }

    /// Rewrites places after a document changed their order; those that are gone are forgotten.
    #[must_use]
    pub fn remapped(&self, to: impl Fn(PlaceId) -> Option<PlaceId>) -> Self {
        let mut next = Self { contexts: BTreeMap::new(), scores: self.scores };
        for ((horizon, before, from), followers) in &self.contexts {
            let before_then = before.and_then(&to);
            let Some(from) = to(*from).filter(|_| before.is_some() == before_then.is_some()) else {
                continue;
            };
            let by_place: Vec<(PlaceId, f32)> = followers
                .by_place
                .iter()
                .filter_map(|(place, count)| Some((to(*place)?, *count)))
                .collect();
            let total = by_place.iter().map(|(_, count)| count).sum();
            next.contexts.insert((*horizon, before_then, from), Followers { total, by_place });
        }
        next
    }

    /// What all users together are expected to do.
    fn crowd(
        &self,
        horizon: usize,
        before: Option<PlaceId>,
        place: PlaceId,
    ) -> Vec<(PlaceId, f64)> {
        let mut chances = vec![(place, 1.0)];
        let horizon = horizon as u8;
        let known = |context| self.contexts.get(&context).map(Followers::counts);
        if let Some(one) = known((horizon, None, place)) {
            mix(&mut chances, &one, SHRINK_ONE);
        }
        if let Some(two) = before.and_then(|before| known((horizon, Some(before), place))) {
            mix(&mut chances, &two, SHRINK_TWO);
        }
        chances
    }

    /// Leans what the crowd does towards what the user did itself from here, by the square root of
    /// how much likelier that is than by the crowd: its habits know nothing of the place before.
    fn lean(&self, chances: &mut Vec<(PlaceId, f64)>, trail: &Trail, place: PlaceId) {
        let own: Vec<(PlaceId, f64)> = trail.own(place).collect();
        let crowd = self.crowd(0, None, place);
        let mut user = crowd.clone();
        mix(&mut user, &own, SHRINK_OWN);
        for (habit, _) in own {
            if chances.iter().all(|(known, _)| *known != habit) {
                chances.push((habit, UNSEEN));
            }
        }
        let of = |list: &[(PlaceId, f64)], place: PlaceId| {
            list.iter().find(|(known, _)| *known == place).map_or(0.0, |(_, chance)| *chance)
        };
        for (known, chance) in chances.iter_mut() {
            *chance *= (of(&user, *known).max(UNSEEN) / of(&crowd, *known).max(UNSEEN)).sqrt();
        }
        let sum: f64 = chances.iter().map(|(_, chance)| chance).sum();
        chances.iter_mut().for_each(|(_, chance)| *chance /= sum);
    }

    fn count(&mut self, context: Situation, to: PlaceId) {
        if self.contexts.len() >= CONTEXTS_MAX && !self.contexts.contains_key(&context) {
            return;
        }
        self.contexts.entry(context).or_default().add(to);
    }
}

impl Followers {
    fn add(&mut self, to: PlaceId) {
        self.total += 1.0;
        let is_full = self.by_place.len() >= FOLLOWERS_MAX;
        match self.by_place.iter_mut().find(|(place, _)| *place == to) {
            Some((_, count)) => *count += 1.0,
            None if !is_full => self.by_place.push((to, 1.0)),
            None => {
                // The rarest gives way and leaves its count behind (Space-Saving, Metwally 2005).
                let rarest = self.by_place.iter_mut().min_by(|a, b| a.1.total_cmp(&b.1));
                if let Some(rarest) = rarest {
                    *rarest = (to, rarest.1 + 1.0);
                }
            }
        }
        if self.total > TOTAL_MAX {
            self.total /= 2.0;
            self.by_place.iter_mut().for_each(|(_, count)| *count /= 2.0);
        }
    }

    fn counts(&self) -> Vec<(PlaceId, f64)> {
        self.by_place.iter().map(|(place, count)| (*place, f64::from(*count))).collect()
    }
}

/// Shrinks counts into chances that are worth so many observations.
fn mix(chances: &mut Vec<(PlaceId, f64)>, counts: &[(PlaceId, f64)], worth: f64) {
    let total: f64 = counts.iter().map(|(_, count)| count).sum();
    for (_, chance) in chances.iter_mut() {
        *chance *= worth / (total + worth);
    }
    for (place, count) in counts {
        let share = count / (total + worth);
        match chances.iter_mut().find(|(known, _)| known == place) {
            Some((_, chance)) => *chance += share,
            None => chances.push((*place, share)),
        }
    }
}

#[cfg(test)]
mod tests;
