//! Who is believed: each step's experts by their recent errors, with a share for everyone, so that
//! who was bad for long and is good again is heard again (fixed share, Herbster and Warmuth 1998).

/// How much of an old error counts after one more was seen.
const KEEP: f64 = 0.98;
/// How steeply belief falls with the error relative to the best's.
const STEEPNESS: f64 = 9.0;
/// What is shared out evenly.
const SHARE: f64 = 0.02;

/// The weights of the experts at each step.
#[derive(Clone, Debug)]
pub(super) struct Blend {
    /// Mean absolute error, by step and expert.
    errors: Vec<Vec<f64>>,
    seen: Vec<f64>,
}

impl Blend {
    pub(super) fn new(experts: usize, horizon: usize) -> Self {
        Self { errors: vec![vec![0.0; experts]; horizon], seen: vec![0.0; horizon] }
    }

    pub(super) fn score(&mut self, step: usize, said: impl Iterator<Item = f64>, truth: f64) {
        for (error, said) in self.errors[step].iter_mut().zip(said) {
            *error = KEEP * *error + (said - truth).abs();
        }
        self.seen[step] = KEEP * self.seen[step] + 1.0;
    }

    pub(super) fn weights(&self, step: usize) -> Vec<f64> {
        let errors = &self.errors[step];
        let experts = errors.len() as f64;
        if self.seen[step] == 0.0 {
            return vec![1.0 / experts; errors.len()];
        }
        let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
        let floor = best.max(1e-12);
        let belief: Vec<f64> = errors
            .iter()
            .map(|error| (-STEEPNESS * (error / floor - 1.0).min(50.0)).exp())
            .collect();
        let sum: f64 = belief.iter().sum();
        belief.iter().map(|b| (1.0 - SHARE) * b / sum + SHARE / experts).collect()
    }

    pub(super) fn blend(&self, step: usize, said: impl Iterator<Item = f64>) -> f64 {
        self.weights(step).iter().zip(said).map(|(weight, said)| weight * said).sum()
    }
}
