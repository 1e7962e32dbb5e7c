//! How well chances came true: Brier's score, hits, calibration.

use homing_wire::PlaceId;
use serde::Serialize;

/// Places with chances that sum to 1.
pub(super) type Guess = Vec<(PlaceId, f64)>;

/// Classes of the top chance that calibration is summed over.
const CLASSES: usize = 15;

/// Scores of one model at one horizon.
#[derive(Debug, Default)]
pub(super) struct Tally {
    guesses: u64,
    moved: u64,
    squares: f64,
    hit1: u64,
    hit3: u64,
    hit1_moved: u64,
    /// By class of the top chance: guesses, sum of chances, hits.
    classes: [(u64, f64, u64); CLASSES],
}

/// What they come to.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) guesses: u64,
    /// The share of clients that were elsewhere then.
    pub(super) moved: f64,
    /// Mean over guesses: 0 is right and sure, 2 is wrong and sure.
    pub(super) brier: f64,
    pub(super) hit1: f64,
    pub(super) hit3: f64,
    /// Of those that were elsewhere, the share whose place was the likeliest guess.
    pub(super) hit1_moved: f64,
    /// Expected calibration error of the top chance.
    pub(super) ece: f64,
}

impl Tally {
    pub(super) fn take(&mut self, guess: &Guess, from: PlaceId, came: PlaceId) {
        let right = guess.iter().find(|(place, _)| *place == came).map_or(0.0, |(_, p)| *p);
        let squares: f64 = guess.iter().map(|(_, chance)| chance * chance).sum();
        let mut order: Vec<&(PlaceId, f64)> = guess.iter().collect();
        // Equal chances in the order of places: no model gains by the order it lists them in.
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let hit = |most: usize| order.iter().take(most).any(|(place, _)| *place == came);
        let (moved, is_hit) = (from != came, hit(1));
        self.guesses += 1;
        self.moved += u64::from(moved);
        self.squares += squares - 2.0 * right + 1.0;
        self.hit1 += u64::from(is_hit);
        self.hit3 += u64::from(hit(3));
        self.hit1_moved += u64::from(moved && is_hit);
        let top = order.first().map_or(0.0, |(_, chance)| *chance);
        let class = ((top * CLASSES as f64) as usize).min(CLASSES - 1);
        let (count, chances, hits) = &mut self.classes[class];
        (*count, *chances, *hits) = (*count + 1, *chances + top, *hits + u64::from(is_hit));
    }

    pub(super) fn figures(&self) -> Figures {
        let share = |part: f64, of: u64| if of == 0 { 0.0 } else { part / of as f64 };
        let off = |(_, chances, hits): &(u64, f64, u64)| (chances - *hits as f64).abs();
        Figures {
            guesses: self.guesses,
            moved: share(self.moved as f64, self.guesses),
            brier: share(self.squares, self.guesses),
            hit1: share(self.hit1 as f64, self.guesses),
            hit3: share(self.hit3 as f64, self.guesses),
            hit1_moved: share(self.hit1_moved as f64, self.moved),
            ece: share(self.classes.iter().map(off).sum(), self.guesses),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sure_guess_scores_0_or_2_and_a_doubtful_one_in_between() {
        let (here, there, beyond) = (PlaceId(1), PlaceId(2), PlaceId(3));
        let score = |guess: Guess, came| {
            let mut tally = Tally::default();
            tally.take(&guess, here, came);
            tally.figures()
        };
        assert_eq!(score(vec![(here, 1.0)], here).brier, 0.0);
        let wrong = score(vec![(here, 1.0)], there);
        assert_eq!((wrong.brier, wrong.hit1, wrong.moved, wrong.ece), (2.0, 0.0, 1.0, 1.0));
        let doubt = score(vec![(here, 0.5), (there, 0.3), (beyond, 0.2)], there);
        assert!((doubt.brier - (0.25 + 0.49 + 0.04)).abs() < 1e-12, "{doubt:?}");
        assert_eq!((doubt.hit1, doubt.hit3, doubt.hit1_moved), (0.0, 1.0, 0.0));
        assert_eq!(score(Vec::new(), there).brier, 1.0);
    }
}
