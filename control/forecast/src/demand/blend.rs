//! Who is believed: two ways to mix a step's experts and the plain last value, believed in turn by
//! their own recent errors, so that whatever joins cannot for long make it worse than naive.
//!
//! One way believes each expert by its recent pinball loss at the median, with a share for
//! everyone, so that who was bad for long and is good again is heard again (fixed share, Herbster
//! and Warmuth 1998). The other moves weight to whoever would have moved the mix towards the truth
//! (exponentiated gradient, Kivinen and Warmuth 1997): it finds experts that are only good
//! together.

/// How much of an old error counts after one more was seen.
const KEEP: f64 = 0.98;
/// How steeply belief in an expert falls with its error relative to the best's.
const STEEPNESS: f64 = 9.0;
/// What is shared out evenly.
const SHARE: f64 = 0.02;
/// Steps to both sides whose errors count too.
const NEIGHBOURS: usize = 2;
/// How far weights move for an error, and what is shared out evenly then.
const PACE: f64 = 0.05;
const MOVED_SHARE: f64 = 0.002;
/// The same for the mixes as for the experts: they are few, and judged for longer.
const MIX_KEEP: f64 = 0.99;
const MIX_STEEPNESS: f64 = 20.0;
/// The mixes: by errors, by moves, and the naive expert alone.
pub(super) const MIXES: usize = 3;
/// Where the naive expert speaks.
const NAIVE: usize = 0;

/// The weights of the experts at each step.
#[derive(Clone, Debug)]
pub(super) struct Blend {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    /// Absolute error of each expert, and how much was seen.
    errors: Vec<f64>,
    seen: f64,
    /// Weights that were moved.
    moved: Vec<f64>,
    /// How far the experts usually are from the mix.
    spread: f64,
    /// Absolute error of each mix.
    mixes: [f64; MIXES],
}

impl Blend {
    pub(super) fn new(experts: usize, horizon: usize) -> Self {
        let step = Step {
            errors: vec![0.0; experts],
            seen: 0.0,
            moved: vec![1.0 / experts as f64; experts],
            spread: 0.0,
            mixes: [0.0; MIXES],
        };
        Self { steps: vec![step; horizon] }
    }

    /// Judges what was said, by expert, and what each mix made of it then.
    pub(super) fn score(&mut self, step: usize, said: &[f64], mixed: &[f64; MIXES], truth: f64) {
        let step = &mut self.steps[step];
        for (error, said) in step.errors.iter_mut().zip(said) {
            *error = KEEP * *error + (said - truth).abs();
        }
        step.seen = KEEP * step.seen + 1.0;
        for (error, mixed) in step.mixes.iter_mut().zip(mixed) {
            *error = MIX_KEEP * *error + (mixed - truth).abs();
        }
        step.shift(said, mixed[1], truth);
    }

    /// What each mix makes of what was said.
    pub(super) fn mixes(&self, step: usize, said: &[f64]) -> [f64; MIXES] {
        let sum = |weights: &[f64]| weights.iter().zip(said).map(|(w, said)| w * said).sum();
        [sum(&self.believed(step)), sum(&self.steps[step].moved), said[NAIVE]]
    }

    /// The blend of the mixes.
    pub(super) fn blend(&self, step: usize, mixed: &[f64; MIXES]) -> f64 {
        let belief = belief(&self.steps[step].mixes, MIX_STEEPNESS);
        belief.iter().zip(mixed).map(|(belief, mixed)| belief * mixed).sum()
    }

    /// The share of each expert in the blend.
    pub(super) fn weights(&self, step: usize) -> Vec<f64> {
        let [by_error, by_move, naive] = belief(&self.steps[step].mixes, MIX_STEEPNESS);
        let moved = &self.steps[step].moved;
        let both = self.believed(step).into_iter().zip(moved);
        let mut weights: Vec<f64> = both.map(|(a, b)| by_error * a + by_move * b).collect();
        weights[NAIVE] += naive;
        weights
    }

    /// The weights by errors.
    fn believed(&self, step: usize) -> Vec<f64> {
        let near = step.saturating_sub(NEIGHBOURS)..(step + NEIGHBOURS + 1).min(self.steps.len());
        let mut errors = vec![0.0; self.steps[step].errors.len()];
        for near in self.steps[near].iter().filter(|near| near.seen > 0.0) {
            errors.iter_mut().zip(&near.errors).for_each(|(sum, error)| *sum += error);
        }
        let even = SHARE / errors.len() as f64;
        belief(&errors, STEEPNESS).into_iter().map(|b| (1.0 - SHARE) * b + even).collect()
    }
}

impl Step {
    /// Moves weight to those who were on the truth's side of the mix.
    fn shift(&mut self, said: &[f64], mixed: f64, truth: f64) {
        let far = said.iter().map(|said| (said - mixed).abs()).sum::<f64>() / said.len() as f64;
        self.spread = match self.spread == 0.0 {
            true => far,
            false => 0.99 * self.spread + 0.01 * far,
        };
        let (side, unit) = (if mixed > truth { 1.0 } else { -1.0 }, self.spread.max(1e-9));
        for (weight, said) in self.moved.iter_mut().zip(said) {
            let slope = (side * (said - mixed) / unit).clamp(-3.0, 3.0);
            *weight *= (-PACE * slope).exp();
        }
        let sum: f64 = self.moved.iter().sum();
        let even = MOVED_SHARE / said.len() as f64;
        self.moved.iter_mut().for_each(|w| *w = (1.0 - MOVED_SHARE) * *w / sum + even);
    }
}

/// Shares that fall with the error relative to the smallest; equal ones where nothing was seen.
fn belief<E: AsRef<[f64]> + AsMut<[f64]> + Clone>(errors: &E, steepness: f64) -> E {
    let best = errors.as_ref().iter().copied().fold(f64::INFINITY, f64::min).max(1e-12);
    let mut belief = errors.clone();
    for error in belief.as_mut() {
        *error = (-steepness * (*error / best - 1.0).min(50.0)).exp();
    }
    let sum: f64 = belief.as_ref().iter().sum();
    belief.as_mut().iter_mut().for_each(|share| *share /= sum);
    belief
}
