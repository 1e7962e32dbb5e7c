//! The next place or item of a user, as a ranking with probabilities.
//!
//! Experts count what followed in a context each: after the last three places, at this hour, for
//! this user. Their counts are shrunk into one chance, weakest expert first; then boosted trees
//! weigh all counts against each other, as far as there was enough to learn from. A last row of
//! each list stands for "none of these", so that the chances of the others stay honest.

mod experts;
mod lists;

pub use experts::{Candidate, Expert, Experts, key};
pub use lists::Lists;

use crate::trees::{Forest, Settings, Unfit};

/// A guess with its chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// The place or item.
    pub item: u32,
    /// How probable it is.
    pub chance: f64,
}

/// What is known when the next item is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The context's key for each expert, as `key` makes them.
    pub keys: &'a [u64],
    /// The time, in the unit of the experts' half-lives. Not a number: as if no time had passed.
    pub at: f64,
    /// Hints that are the same for all candidates. Not a number: unknown.
    pub hints: &'a [f32],
}

/// Experts with the trees that weigh them.
#[derive(Debug)]
pub struct Forecaster {
    experts: Experts,
    limit: usize,
    lists: Lists,
    forest: Option<Forest>,
}

impl Forecaster {
    /// A forecaster that knows nothing yet. It weighs `limit` candidates at most.
    #[must_use]
    pub fn new(experts: Vec<Expert>, limit: usize) -> Self {
        let experts = Experts::new(experts);
        Self { experts, limit, lists: Lists::default(), forest: None }
    }

    /// Ranks what may come, the most probable first. Empty if nothing was ever learned.
    ///
    /// `of_item` adds hints about a candidate: always as many, for `None` too.
    pub fn rank<F: Fn(Option<u32>) -> Vec<f32>>(
        &self,
        moment: Moment<'_>,
        of_item: F,
    ) -> Vec<Ranked> {
        let candidates = self.candidates(moment, of_item);
        let Some(forest) = &self.forest else {
            return ranked(candidates.iter().map(|c| (c.item, c.chance)));
        };
        let scores: Vec<f64> = candidates.iter().map(|c| forest.score(&c.features)).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - top).exp()).sum();
        let chances = scores.iter().map(|score| (score - top).exp() / sum);
        ranked(candidates.iter().map(|c| c.item).zip(chances))
    }

    /// Notes what would have been asked and what came, for the trees to learn from. To be called
    /// before `learn` of the same item: the counts must not know the answer.
    pub fn note<F: Fn(Option<u32>) -> Vec<f32>>(
        &mut self,
        moment: Moment<'_>,
        of_item: F,
        came: u32,
    ) {
        let candidates = self.candidates(moment, of_item);
        self.lists.push(&candidates, came);
    }

    /// Counts what came.
    pub fn learn(&mut self, keys: &[u64], at: f64, came: u32) {
        self.experts.learn(keys, at, came);
    }

    /// Grows the trees anew from all that was noted so far.
    ///
    /// # Errors
    /// If nothing was noted. The counts then rank alone, as before.
    pub fn train(&mut self, settings: &Settings) -> Result<(), Unfit> {
        self.forest = Some(self.lists.forest(settings)?);
        Ok(())
    }

    fn candidates<F: Fn(Option<u32>) -> Vec<f32>>(
        &self,
        moment: Moment<'_>,
        of_item: F,
    ) -> Vec<Candidate> {
        let mut candidates = self.experts.consider(moment.keys, moment.at, self.limit);
        for candidate in &mut candidates {
            candidate.features.extend_from_slice(moment.hints);
            candidate.features.extend(of_item(candidate.item));
        }
        candidates
    }
}

fn ranked(chances: impl Iterator<Item = (Option<u32>, f64)>) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> =
        chances.filter_map(|(item, chance)| Some(Ranked { item: item?, chance })).collect();
    ranked.sort_by(|a, b| b.chance.total_cmp(&a.chance).then(a.item.cmp(&b.item)));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecaster() -> Forecaster {
        Forecaster::new(vec![Expert::new(1.0), Expert::new(1.0).fading(50.0)], 5)
    }

    /// Walks a cycle of four places with a stray now and then; ranks every step.
    fn walk(steps: &[u32]) -> Vec<Vec<Ranked>> {
        let mut forecaster = forecaster();
        let mut last = 0;
        let mut seen = Vec::new();
        for (at, came) in steps.iter().enumerate() {
            let keys = [key(&[0]), key(&[1, u64::from(last)])];
            let moment = Moment { keys: &keys, at: at as f64, hints: &[0.0] };
            seen.push(forecaster.rank(moment, |_| Vec::new()));
            forecaster.note(moment, |_| Vec::new(), *came);
            forecaster.learn(&keys, at as f64, *came);
            if at == 200 {
                let settings = Settings { rounds: 20, ..Settings::default() };
                forecaster.train(&settings).unwrap();
            }
            last = *came;
        }
        seen
    }

    fn cycle() -> Vec<u32> {
        (0..400).map(|at| if at % 11 == 0 { 7 } else { at % 4 }).collect()
    }

    #[test]
    fn a_cycle_is_foretold_with_sane_chances() {
        let steps = cycle();
        let seen = walk(&steps);
        let right = (200..400).filter(|at| seen[*at][0].item == steps[*at]).count();
        assert!(right > 150, "{right}");
        for list in &seen {
            let sum: f64 = list.iter().map(|ranked| ranked.chance).sum();
            assert!(sum <= 1.0 + 1e-9, "{sum}");
            assert!(list.windows(2).all(|pair| pair[0].chance >= pair[1].chance));
        }
    }

    #[test]
    fn what_comes_later_changes_no_earlier_ranking() {
        let (steps, mut other) = (cycle(), cycle());
        for step in &mut other[300..] {
            *step = 9;
        }
        assert_eq!(walk(&steps)[..=300], walk(&other)[..=300]);
        assert_ne!(walk(&steps)[310..], walk(&other)[310..]);
    }

    #[test]
    fn poison_has_a_stated_outcome() {
        let mut forecaster = forecaster();
        let keys = [key(&[0]), key(&[1])];
        let nan = Moment { keys: &keys, at: f64::NAN, hints: &[f32::NAN] };
        assert_eq!(forecaster.rank(nan, |_| Vec::new()), [], "nothing learned, nothing ranked");
        assert_eq!(forecaster.train(&Settings::default()), Err(Unfit::Empty));
        forecaster.learn(&keys, f64::NAN, 3);
        let one = forecaster.rank(nan, |_| Vec::new());
        assert_eq!(one[0].item, 3, "one observation is all there is");
        assert!(one[0].chance > 0.0 && one[0].chance < 1.0);
        let stranger = [keys[0], key(&[99])];
        let moment = Moment { keys: &stranger, at: 1.0, hints: &[] };
        assert_eq!(forecaster.rank(moment, |_| Vec::new())[0].item, 3, "falls back to the crowd");
    }
}
