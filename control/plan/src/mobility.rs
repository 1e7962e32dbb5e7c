//! Where clients go next: counts of which place followed which, for all users and for each, shrunk
//! into one chance.
//!
//! Time is cut into bins; each horizon is counted by itself, so that no chain of guesses is needed
//! for a later one (direct forecasts). The weakest guess is "stays where it is", the next what
//! followed this place, then what followed the last three bins: each is shrunk into the one before
//! by what it rests on. That is leant, by how much likelier something is than after this place at
//! all, towards what followed it at these hours of the day, then towards what this user did itself,
//! over all horizons at once: one user alone has too little to be counted for each.
//! Every guess is scored when the truth arrives, against "stays" (Brier, 1950): where ours is not
//! better of late, staying is what is foreseen, so that nobody is moved by counts that know
//! nothing.

use std::collections::BTreeMap;

use homing_wire::PlaceId;

mod bytes;
mod trail;

pub use trail::{Habits, Trail, Transition};

/// Milliseconds of a bin.
pub const BIN_MS: u64 = 300_000;
/// How many bins ahead each horizon is: 5, 10, 15 and 30 minutes.
pub const HORIZONS: [usize; 4] = [1, 2, 3, 6];
/// What each horizon weighs in an expected round trip.
pub const WEIGHTS: [f64; HORIZONS.len()] = [0.4, 0.3, 0.2, 0.1];
/// Hours that are counted together.
const HOURS: u64 = 3;

/// Contexts that are counted; those met later than these are left to the weaker guess.
const CONTEXTS_MAX: usize = 65_536;
/// Of them, those that the weakest counts are left, however many of the others there are.
const CONTEXTS_KEPT: usize = CONTEXTS_MAX / 8;
/// Places that may follow one context; a rarer one gives way.
const FOLLOWERS_MAX: usize = 24;
/// When a context has counted so much, all its counts are halved: old habits fade.
const TOTAL_MAX: f32 = 1_000.0;
/// How many observations "stays" is worth.
const SHRINK_ONE: f64 = 5.0;
/// How many the guess by the place is worth, for those that know more.
const SHRINK_MORE: f64 = 20.0;
/// How many the crowd is worth, for a user's own.
const SHRINK_OWN: f64 = 4.0;
/// How many, for each own step that there was no room to remember: what is left of them is too
/// regular to be true.
const SHRINK_LOST: f64 = 2.0;
/// The chance of what only the user does.
const UNSEEN: f64 = 0.003;
/// Added to chances before their ratio is taken.
const DOUBT: f64 = 0.001;
/// Guesses that must have been scored before any is believed.
const SCORED_MIN: f64 = 50.0;
/// What a score that is one guess older weighs.
const SCORE_FADES: f64 = 0.999;
/// How much better than staying ours must be.
const BETTER: f64 = 0.98;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Situation {
    horizon: u8,
    from: PlaceId,
    more: More,
}

/// What else is known in a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum More {
    Nothing,
    /// Which [`HOURS`] of the day it is.
    Hours(u8),
    /// Where the client was in the two bins before, the later one first.
    Before([PlaceId; 2]),
}

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
    /// Scores what would have been said of a transition, then counts it. The user's habits are as
    /// of its end, the transition itself not among them.
    pub fn learn(&mut self, seen: &Transition) {
        let Some(score) = self.scores.get(usize::from(seen.horizon)) else { return };
        let Transition { horizon, hours, before, from, to, .. } = *seen;
        let now = Now { horizon, hours, before, from };
        let chances = self.foretold(now, &seen.habits, &self.pooled(from));
        let right = chances.iter().find(|(place, _)| *place == to).map_or(0.0, |(_, p)| *p);
        let squares: f64 = chances.iter().map(|(_, chance)| chance * chance).sum();
        let stays = if to == from { 0.0 } else { 2.0 };
        let mut score = *score;
        score.take(squares - 2.0 * right + 1.0, stays);
        self.scores[usize::from(horizon)] = score;
        let more = [Some(More::Nothing), Some(More::Hours(hours)), before.map(More::Before)];
        for more in more.into_iter().flatten() {
            self.count(Situation { horizon, from, more }, to);
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
        let now = Now::of(horizon, trail, place);
        self.foretold(now, &trail.habits(place), &self.pooled(place))
    }

    /// Where the client is over all horizons, each with its weight.
    #[must_use]
    pub fn expected(&self, trail: &Trail, place: PlaceId) -> Vec<(PlaceId, f64)> {
        if !self.scores.iter().any(Score::is_believed) {
            return vec![(place, 1.0)];
        }
        let (habits, pooled) = (trail.habits(place), self.pooled(place));
        let mut sum: BTreeMap<PlaceId, f64> = BTreeMap::new();
        for (horizon, weight) in WEIGHTS.iter().enumerate() {
            let chances = match self.scores[horizon].is_believed() {
                true => self.foretold(Now::of(horizon, trail, place), &habits, &pooled),
                false => vec![(place, 1.0)],
            };
            for (place, chance) in chances {
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
        for (situation, followers) in &self.contexts {
            let more = match situation.more {
                More::Before([one, two]) => {
                    to(one).zip(to(two)).map(|(one, two)| More::Before([one, two]))
                }
                more => Some(more),
            };
            let (Some(from), Some(more)) = (to(situation.from), more) else { continue };
            let situation = Situation { from, more, ..*situation };
            let by_place: Vec<(PlaceId, f32)> = followers
                .by_place
                .iter()
                .filter_map(|(place, count)| Some((to(*place)?, *count)))
                .collect();
            let total = by_place.iter().map(|(_, count)| count).sum();
            next.contexts.insert(situation, Followers { total, by_place });
        }
        next
    }

    /// Everything that is known, made into one guess.
    fn foretold(
        &self,
        now: Now,
        habits: &Habits,
        pooled: &[(PlaceId, f64)],
    ) -> Vec<(PlaceId, f64)> {
        let Now { horizon, hours, before, from } = now;
        let known = |more| self.contexts.get(&Situation { horizon, from, more });
        let usual = self.usual(horizon, from);
        let mut chances = usual.clone();
        if let Some(followers) = before.and_then(|before| known(More::Before(before))) {
            mix(&mut chances, followers.counts(), SHRINK_MORE);
        }
        if let Some(followers) = known(More::Hours(hours)) {
            let mut then = usual.clone();
            mix(&mut then, followers.counts(), SHRINK_MORE);
            lean(&mut chances, &usual, &then);
        }
        if habits.steps().next().is_some() {
            let mut user = pooled.to_vec();
            mix(&mut user, habits.steps(), SHRINK_OWN + SHRINK_LOST * f64::from(habits.lost));
            for (habit, _) in habits.steps() {
                match chances.iter_mut().find(|(known, _)| *known == habit) {
                    Some((_, chance)) => *chance = chance.max(UNSEEN),
                    None => chances.push((habit, UNSEEN)),
                }
            }
            lean(&mut chances, pooled, &user);
        }
        chances
    }

    /// What all users together do from a place.
    fn usual(&self, horizon: u8, from: PlaceId) -> Vec<(PlaceId, f64)> {
        let mut chances = vec![(from, 1.0)];
        let situation = Situation { horizon, from, more: More::Nothing };
        if let Some(followers) = self.contexts.get(&situation) {
            mix(&mut chances, followers.counts(), SHRINK_ONE);
        }
        chances
    }

    /// What all users together do from a place, over all horizons.
    fn pooled(&self, from: PlaceId) -> Vec<(PlaceId, f64)> {
        let mut sum: Vec<(PlaceId, f64)> = vec![(from, 0.0)];
        for horizon in 0..HORIZONS.len() as u8 {
            for (place, chance) in self.usual(horizon, from) {
                let share = chance / HORIZONS.len() as f64;
                match sum.iter_mut().find(|(known, _)| *known == place) {
                    Some((_, all)) => *all += share,
                    None => sum.push((place, share)),
                }
            }
        }
        sum
    }

    fn count(&mut self, situation: Situation, to: PlaceId) {
        let most = match situation.more {
            More::Nothing => CONTEXTS_MAX,
            _ => CONTEXTS_MAX - CONTEXTS_KEPT,
        };
        if self.contexts.len() >= most && !self.contexts.contains_key(&situation) {
            return;
        }
        self.contexts.entry(situation).or_default().add(to);
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

    fn counts(&self) -> impl Iterator<Item = (PlaceId, f64)> + Clone + '_ {
        self.by_place.iter().map(|(place, count)| (*place, f64::from(*count)))
    }
}

/// What a guess is made from, beside the user's habits.
#[derive(Clone, Copy)]
struct Now {
    horizon: u8,
    hours: u8,
    before: Option<[PlaceId; 2]>,
    from: PlaceId,
}

impl Now {
    fn of(horizon: usize, trail: &Trail, from: PlaceId) -> Self {
        Self { horizon: horizon as u8, hours: trail.hours(), before: trail.before(), from }
    }
}

/// Leans chances by how much likelier each place is by one list than by another.
fn lean(chances: &mut [(PlaceId, f64)], than: &[(PlaceId, f64)], by: &[(PlaceId, f64)]) {
    let of = |list: &[(PlaceId, f64)], place: PlaceId| {
        list.iter().find(|(known, _)| *known == place).map_or(0.0, |(_, chance)| *chance)
    };
    for (known, chance) in chances.iter_mut() {
        *chance *= (of(by, *known) + DOUBT) / (of(than, *known) + DOUBT);
    }
    let sum: f64 = chances.iter().map(|(_, chance)| chance).sum();
    chances.iter_mut().for_each(|(_, chance)| *chance /= sum);
}

/// Shrinks counts into chances that are worth so many observations.
fn mix(
    chances: &mut Vec<(PlaceId, f64)>,
    counts: impl Iterator<Item = (PlaceId, f64)> + Clone,
    worth: f64,
) {
    let total: f64 = counts.clone().map(|(_, count)| count).sum();
    for (_, chance) in chances.iter_mut() {
        *chance *= worth / (total + worth);
    }
    for (place, count) in counts {
        let share = count / (total + worth);
        match chances.iter_mut().find(|(known, _)| *known == place) {
            Some((_, chance)) => *chance += share,
            None => chances.push((place, share)),
        }
    }
}

#[cfg(test)]
mod tests;
