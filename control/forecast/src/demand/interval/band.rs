//! One band: candidates that follow the coverage at several speeds, each believed by how well it
//! bounded of late.

use super::SCALES;

/// How fast candidates follow the coverage.
const GAINS: [f64; 3] = [0.0035, 0.014, 0.042];
/// Candidates: each scale at each speed.
pub(super) const CANDIDATES: usize = SCALES * GAINS.len();
/// The share of an old loss.
const KEEP: f64 = 0.99;
/// How steeply belief falls with the loss relative to the best's.
const STEEPNESS: f64 = 10.0;
/// What is shared out evenly.
const SHARE: f64 = 0.05;
/// The share that may be left out, at least; and at most, in units of the promise.
const ASKED: (f64, f64) = (0.002, 3.0);
/// The shorter side reaches at least so much as the longer: after a run of errors to one side, the
/// next are as likely as not to the other.
const SHORTER: f64 = 0.85;

/// How far a band reaches below and above its middle.
pub(super) type Reach = [f64; 2];

/// The candidates of one band.
#[derive(Clone, Debug)]
pub(super) struct Band {
    promised: f64,
    /// The share left out, as it has to be asked for.
    asked: [f64; CANDIDATES],
    /// Interval scores of late.
    losses: [f64; CANDIDATES],
}

impl Band {
    pub(super) fn new(promised: f64) -> Self {
        Self { promised, asked: [promised; CANDIDATES], losses: [0.0; CANDIDATES] }
    }

    /// Each candidate's reach: `tail` tells how far the errors of a scale go to a side so that a
    /// share of them is left out.
    pub(super) fn reaches(&self, tail: impl Fn(usize, usize, f64) -> f64) -> [Reach; CANDIDATES] {
        std::array::from_fn(|place| {
            let (scale, left_out) = (place / GAINS.len(), self.asked[place] / 2.0);
            let [low, high] = [0, 1].map(|side| tail(scale, side, left_out).max(0.0));
            [low.max(SHORTER * high), high.max(SHORTER * low)]
        })
    }

    /// Judges the candidates by an error.
    pub(super) fn score(&mut self, reaches: &[Reach; CANDIDATES], error: f64) {
        for (place, [low, high]) in reaches.iter().enumerate() {
            let beyond = (-low - error).max(error - high).max(0.0);
            let missed = f64::from(u8::from(beyond > 0.0));
            let asked = self.asked[place] + GAINS[place % GAINS.len()] * (self.promised - missed);
            self.asked[place] = asked.clamp(ASKED.0, ASKED.1 * self.promised);
            let loss = low + high + 2.0 / self.promised * beyond;
            self.losses[place] = KEEP * self.losses[place] + loss;
        }
    }

    /// The band.
    pub(super) fn blend(&self, reaches: &[Reach; CANDIDATES]) -> Reach {
        let best = self.losses.iter().copied().fold(f64::INFINITY, f64::min).max(1e-12);
        let belief = self.losses.map(|loss| (-STEEPNESS * (loss / best - 1.0).min(50.0)).exp());
        let sum: f64 = belief.iter().sum();
        let even = SHARE / CANDIDATES as f64;
        let mut blended = [0.0; 2];
        for (reach, belief) in reaches.iter().zip(belief) {
            let share = (1.0 - SHARE) * belief / sum + even;
            for (blended, reach) in blended.iter_mut().zip(reach) {
                *blended += share * reach;
            }
        }
        blended
    }
}
