//! How wide: the blend's own scaled errors of late, at the quantiles that were asked for, which are
//! themselves moved until the coverage is what was promised (adaptive conformal inference, Gibbs
//! and Candes 2021).

use std::collections::VecDeque;

use super::Outlook;

/// Errors kept for each step.
const KEPT: usize = 600;
/// How many neighbouring steps' errors are used where a step has few of its own.
const NEIGHBOURS: usize = 3;
/// Errors enough for a step to stand alone.
const ENOUGH: usize = 200;
/// How fast the quantiles follow the coverage.
const GAIN: f64 = 0.02;
/// How errors grow with the level: between not at all (0) and in proportion (1).
const GROWTH: f64 = 0.7;
/// The share of an old error's part in the scale.
const KEEP: f64 = 0.97;
/// The same for the long run, which the scale does not fall far below: an error after a calm would
/// else look so large that it widens the bands of every storm.
const KEEP_LONG: f64 = 0.998;
const CALM_MIN: f64 = 0.3;

/// The errors of each step.
#[derive(Clone, Debug)]
pub(super) struct Calibration {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    errors: VecDeque<f64>,
    /// Mean absolute error for a level of one, and how much of it was seen.
    size: (f64, f64),
    /// The same over the long run.
    size_long: (f64, f64),
    /// The largest error so far: no band reaches much further.
    largest: f64,
    /// The share that each band leaves out, as it has to be asked for: 80 and 95 %, below and
    /// above.
    left_out: [[f64; 2]; 2],
}

/// What the bands may leave out: a little less than a fifth and a twentieth, because what comes
/// is, more often than not, wilder than what was.
const PROMISED: [f64; 2] = [0.185, 0.038];
/// How far a band may reach beyond the largest error so far.
const BEYOND: f64 = 1.5;

impl Calibration {
    pub(super) fn new(horizon: usize) -> Self {
        let left_out = PROMISED.map(|promised| [promised / 2.0; 2]);
        let step = Step {
            errors: VecDeque::new(),
            size: (0.0, 0.0),
            size_long: (0.0, 0.0),
            largest: 0.0,
            left_out,
        };
        Self { steps: vec![step; horizon] }
    }

    fn grown(level: f64) -> f64 {
        (level.abs() + 1.0).powf(GROWTH)
    }

    /// What an error of a forecast of this level is measured in.
    pub(super) fn scale(&self, step: usize, level: f64) -> f64 {
        let mean = |(sum, seen): (f64, f64)| if seen > 0.0 { sum / seen } else { 0.1 };
        let step = &self.steps[step];
        let size = mean(step.size).max(CALM_MIN * mean(step.size_long));
        (size * Self::grown(level)).max(1e-9)
    }

    pub(super) fn score(&mut self, step: usize, said: f64, scale: f64, truth: f64) {
        let error = (truth - said) / scale;
        for (band, promised) in PROMISED.iter().enumerate() {
            let Some((low, high)) = self.quantiles(step, band) else { continue };
            let asked = &mut self.steps[step].left_out[band];
            for (asked, missed) in asked.iter_mut().zip([error < low, error > high]) {
                let missed = f64::from(u8::from(missed));
                *asked = (*asked + GAIN * (promised / 2.0 - missed)).clamp(0.002, 0.4);
            }
        }
        let step = &mut self.steps[step];
        step.errors.push_back(error);
        if step.errors.len() > KEPT {
            step.errors.pop_front();
        }
        let raw = (truth - said).abs();
        step.largest = step.largest.max(raw);
        for (size, keep) in [(&mut step.size, KEEP), (&mut step.size_long, KEEP_LONG)] {
            size.0 = keep * size.0 + raw / Self::grown(said);
            size.1 = keep * size.1 + 1.0;
        }
    }

    /// The errors between which a band lies, in units of the scale.
    fn quantiles(&self, step: usize, band: usize) -> Option<(f64, f64)> {
        let own = &self.steps[step].errors;
        let mut errors: Vec<f64> = own.iter().copied().collect();
        if errors.len() < ENOUGH {
            let from = step.saturating_sub(NEIGHBOURS);
            let to = (step + NEIGHBOURS + 1).min(self.steps.len());
            errors = self.steps[from..to].iter().flat_map(|s| &s.errors).copied().collect();
        }
        if errors.len() < 5 {
            return None;
        }
        errors.sort_unstable_by(f64::total_cmp);
        let count = errors.len();
        let at = |share: f64| {
            // One more than there are, so that the band is never too narrow for want of errors.
            let rank = ((count + 1) as f64 * share).floor() as usize;
            errors[rank.clamp(1, count) - 1]
        };
        let [low, high] = self.steps[step].left_out[band];
        let high = count + 1 - (((count + 1) as f64 * high).floor() as usize).clamp(1, count);
        Some((at(low), errors[high - 1]))
    }

    pub(super) fn outlook(&self, step: usize, said: f64, scale: f64, floor: f64) -> Outlook {
        let band = |band: usize| {
            // Before anything was seen: as wide as a rough guess.
            let (low, high) = self.quantiles(step, band).unwrap_or((-3.0, 3.0));
            let (low, high) = (-low.min(0.0) * scale, high.max(0.0) * scale);
            let reach = match self.steps[step].largest {
                largest if largest > 0.0 => BEYOND * largest,
                _ => f64::INFINITY,
            };
            ((said - low.min(reach)).max(floor).min(said), said + high.min(reach))
        };
        let (inner, outer) = (band(0), band(1));
        Outlook { mean: said, band80: inner, band95: (outer.0.min(inner.0), outer.1.max(inner.1)) }
    }
}
