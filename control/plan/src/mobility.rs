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

pub use trail::{Habits, Trail, Transition, Whereabouts};

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
        let mut chances = self.together(horizon, Whereabouts { place: from, before, hours });
        if let Some(own) = Own::of(&seen.habits, &self.pooled(from)) {
            own.lean(&mut chances);
        }
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
        let mut chances = self.together(horizon as u8, trail.whereabouts(place));
        if let Some(own) = Own::of(&trail.habits(place), &self.pooled(place)) {
            own.lean(&mut chances);
        }
        chances
    }

    /// Where the client is over all horizons, each with its weight.
    #[must_use]
    pub fn expected(&self, trail: &Trail, place: PlaceId) -> Vec<(PlaceId, f64)> {
        self.crowd(trail.whereabouts(place)).expected(&trail.habits(place))
    }

    /// What all users together are expected to do from there; "stays" at horizons that are not
    /// believed.
    #[must_use]
    pub fn crowd(&self, at: Whereabouts) -> Crowd {
        if !self.scores.iter().any(Score::is_believed) {
            let (by_horizon, pooled) = (Default::default(), Vec::new());
            return Crowd { place: at.place, by_horizon, pooled };
        }
        let guess = |horizon: usize| {
            let is_believed = self.scores[horizon].is_believed();
            is_believed.then(|| self.together(horizon as u8, at))
        };
        Crowd {
            place: at.place,
            by_horizon: std::array::from_fn(guess),
            pooled: self.pooled(at.place),
        }
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

    /// What all users together are expected to do so far ahead.
    fn together(&self, horizon: u8, at: Whereabouts) -> Vec<(PlaceId, f64)> {
        let Whereabouts { place: from, before, hours } = at;
        let known = |more| self.contexts.get(&Situation { horizon, from, more });
        let usual = self.usual(horizon, from);
        let mut chances = usual.clone();
        if let Some(followers) = before.and_then(|before| known(More::Before(before))) {
            mix(&mut chances, followers.counts(), SHRINK_MORE);
        }
        if let Some(followers) = known(More::Hours(hours)) {
            let mut then = usual.clone();
            mix(&mut then, followers.counts(), SHRINK_MORE);
            lean(&mut chances, |place| likelier(&then, &usual, place));
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
            add_up(&mut sum, &self.usual(horizon, from), 1.0 / HORIZONS.len() as f64);
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

/// What all users together are expected to do from somewhere, at each horizon.
#[derive(Clone, Debug)]
pub struct Crowd {
    place: PlaceId,
    by_horizon: [Option<Vec<(PlaceId, f64)>>; HORIZONS.len()],
    pooled: Vec<(PlaceId, f64)>,
}

impl Crowd {
    /// What one of them with these habits is expected to do, over all horizons.
    #[must_use]
    pub fn expected(&self, habits: &Habits) -> Vec<(PlaceId, f64)> {
        if self.by_horizon.iter().all(Option::is_none) {
            return vec![(self.place, 1.0)];
        }
        let own = Own::of(habits, &self.pooled);
        let mut sum: Vec<(PlaceId, f64)> = vec![(self.place, 0.0)];
        for (guess, weight) in self.by_horizon.iter().zip(WEIGHTS) {
            let Some(guess) = guess else {
                sum[0].1 += weight;
                continue;
            };
            let leant = own.as_ref().map(|own| {
                let mut leant = guess.clone();
                own.lean(&mut leant);
                leant
            });
            add_up(&mut sum, leant.as_ref().unwrap_or(guess), weight);
        }
        sum
    }
}

/// How much likelier each place is for a user than for the crowd.
struct Own<'a> {
    habits: &'a Habits,
    /// Of places that neither goes to it is 1.
    ratios: Vec<(PlaceId, f64)>,
}

impl<'a> Own<'a> {
    /// `None` for a user without habits.
    fn of(habits: &'a Habits, pooled: &[(PlaceId, f64)]) -> Option<Self> {
        habits.steps().next()?;
        let mut user = pooled.to_vec();
        mix(&mut user, habits.steps(), SHRINK_OWN + SHRINK_LOST * f64::from(habits.lost));
        // The first of the two lists are the places of the second, in its order.
        let of_crowd = pooled.iter().map(|(_, chance)| *chance).chain(std::iter::repeat(0.0));
        let ratio = |((place, own), crowd): (&(PlaceId, f64), f64)| {
            (*place, (own + DOUBT) / (crowd + DOUBT))
        };
        let ratios = user.iter().zip(of_crowd).map(ratio).collect();
        Some(Self { habits, ratios })
    }

    fn lean(&self, chances: &mut Vec<(PlaceId, f64)>) {
        for (habit, _) in self.habits.steps() {
            match chances.iter_mut().find(|(known, _)| *known == habit) {
                Some((_, chance)) => *chance = chance.max(UNSEEN),
                None => chances.push((habit, UNSEEN)),
            }
        }
        let of = |place| self.ratios.iter().find(|(known, _)| *known == place);
        lean(chances, |place| of(place).map_or(1.0, |(_, ratio)| *ratio));
    }
}

/// Leans chances by how much likelier each place is.
fn lean(chances: &mut [(PlaceId, f64)], likelier: impl Fn(PlaceId) -> f64) {
    let mut sum = 0.0;
    for (place, chance) in chances.iter_mut() {
        *chance *= likelier(*place);
        sum += *chance;
    }
    chances.iter_mut().for_each(|(_, chance)| *chance /= sum);
}

/// How much likelier a place is by one list than by another.
fn likelier(by: &[(PlaceId, f64)], than: &[(PlaceId, f64)], place: PlaceId) -> f64 {
    let of = |list: &[(PlaceId, f64)]| {
        list.iter().find(|(known, _)| *known == place).map_or(0.0, |(_, chance)| *chance)
    };
    (of(by) + DOUBT) / (of(than) + DOUBT)
}

fn add_up(sum: &mut Vec<(PlaceId, f64)>, chances: &[(PlaceId, f64)], weight: f64) {
    for (place, chance) in chances {
        match sum.iter_mut().find(|(known, _)| known == place) {
            Some((_, all)) => *all += weight * chance,
            None => sum.push((*place, weight * chance)),
        }
    }
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
