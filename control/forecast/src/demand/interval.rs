//! How wide: the blend's own scaled errors of late, at quantiles that are moved until the coverage
//! is what was promised (adaptive conformal inference, Gibbs and Candes 2021), at several speeds
//! and in several scales at once, each band a mean of those that did best (Zaffran and others
//! 2022).

use super::{Outlook, Shape};
use band::{Band, CANDIDATES, Reach};
use errors::Errors;

mod band;
mod errors;

/// How many neighbouring steps' errors are used where a step has few of its own.
const NEIGHBOURS: usize = 3;
/// Errors enough for a step to stand alone.
const ENOUGH: usize = 200;
/// Errors before bands are more than a rough guess.
const FEW: usize = 5;
/// How errors grow with the level: between not at all (0) and in proportion (1).
const GROWTH: f64 = 0.7;
/// The share of an old error's part in the scale.
const KEEP: f64 = 0.98;
/// The same for the long run, which the scale does not fall far below: an error after a calm would
/// else look so large that it widens the bands of every storm.
const KEEP_LONG: f64 = 0.9995;
const CALM_MIN: f64 = 0.6;
/// Parts of the season that have a scale of their own.
const PARTS: usize = 8;
/// The share of an old error's part in the scale of a part of the season.
const KEEP_PART: f64 = 0.95;
/// Errors of a part before its scale counts as much as the whole's.
const PART_ENOUGH: f64 = 6.0;
/// What errors are measured in: the scale of late, and that of the part of the season.
pub(super) const SCALES: usize = 2;
/// What the bands may leave out: a little less than a fifth and a twentieth, because what comes is,
/// more often than not, wilder than what was.
const PROMISED: [f64; 2] = [0.197, 0.0485];
/// How much less is left out for every step ahead and observation seen: forecasts that overlap err
/// together, so that there are fewer errors than are counted.
const OVERLAP: f64 = 3.0;
/// How far a band may reach beyond the largest error so far.
const BEYOND: f64 = 1.5;

/// The errors of each step.
#[derive(Clone, Debug)]
pub(super) struct Calibration {
    steps: Vec<Step>,
    season: usize,
}

/// A mean that forgets: its sum, and how much of it was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Mean(f64, f64);

#[derive(Clone, Debug)]
struct Step {
    /// By scale; the neighbours' too while there are few.
    errors: [Errors; SCALES],
    /// How many of its own it has seen, and over how many observations.
    seen: usize,
    span: (usize, usize),
    /// Mean absolute error for a level of one.
    size: Mean,
    /// The same over the long run.
    size_long: Mean,
    /// The same by part of the season.
    size_part: [Mean; PARTS],
    /// The largest error so far: no band reaches much further.
    largest: f64,
    /// 80 and 95 %.
    bands: [Band; 2],
}

impl Mean {
    fn take(&mut self, keep: f64, value: f64) {
        self.0 = keep * self.0 + value;
        self.1 = keep * self.1 + 1.0;
    }

    fn get(self) -> Option<f64> {
        (self.1 > 0.0).then(|| self.0 / self.1)
    }
}

impl Calibration {
    pub(super) fn new(shape: Shape) -> Self {
        let step = Step {
            errors: [Errors::new(), Errors::new()],
            seen: 0,
            span: (usize::MAX, 0),
            size: Mean::default(),
            size_long: Mean::default(),
            size_part: [Mean::default(); PARTS],
            largest: 0.0,
            bands: PROMISED.map(Band::new),
        };
        Self { steps: vec![step; shape.horizon], season: shape.season }
    }

    fn grown(level: f64) -> f64 {
        (level.abs() + 1.0).powf(GROWTH)
    }

    fn part(&self, index: usize) -> usize {
        index % self.season * PARTS / self.season
    }

    /// What an error of a forecast of this level for this index is measured in.
    pub(super) fn scales(&self, step: usize, index: usize, level: f64) -> [f64; SCALES] {
        let part = self.part(index);
        let step = &self.steps[step];
        let long = step.size_long.get().unwrap_or(0.1);
        let size = step.size.get().unwrap_or(0.1).max(CALM_MIN * long);
        let own = step.size_part[part];
        let share = own.1 / (own.1 + PART_ENOUGH);
        let parted = (1.0 - share) * size + share * own.get().unwrap_or(size);
        [size, parted.max(CALM_MIN * long)].map(|size| (size * Self::grown(level)).max(1e-9))
    }

    pub(super) fn score(
        &mut self,
        step: usize,
        index: usize,
        said: f64,
        scales: [f64; SCALES],
        truth: f64,
    ) {
        for band in 0..PROMISED.len() {
            if let Some(reaches) = self.reaches(step, band, scales) {
                self.steps[step].bands[band].score(&reaches, truth - said);
            }
        }
        let from = step.saturating_sub(NEIGHBOURS);
        for near in from..(step + NEIGHBOURS + 1).min(self.steps.len()) {
            let other = &mut self.steps[near];
            if near == step || other.seen < ENOUGH {
                for (errors, scale) in other.errors.iter_mut().zip(scales) {
                    errors.push((truth - said) / scale);
                }
            }
        }
        let part = self.part(index);
        let step = &mut self.steps[step];
        step.seen += 1;
        step.span = (step.span.0.min(index), index);
        let raw = (truth - said).abs();
        step.largest = step.largest.max(raw);
        let size = raw / Self::grown(said);
        step.size.take(KEEP, size);
        step.size_long.take(KEEP_LONG, size);
        step.size_part[part].take(KEEP_PART, size);
    }

    /// How far each candidate for a band reaches; none where too few errors were seen.
    fn reaches(
        &self,
        step: usize,
        band: usize,
        scales: [f64; SCALES],
    ) -> Option<[Reach; CANDIDATES]> {
        let Step { errors, span, bands, .. } = &self.steps[step];
        if errors[0].len() < FEW {
            return None;
        }
        let span = span.1.saturating_sub(span.0) + 1;
        let overlap = 1.0 + OVERLAP * step as f64 / span as f64;
        Some(bands[band].reaches(|scale, side, left_out| {
            errors[scale].tail(side, left_out / overlap) * scales[scale]
        }))
    }

    pub(super) fn outlook(
        &self,
        step: usize,
        said: f64,
        scales: [f64; SCALES],
        floor: f64,
    ) -> Outlook {
        let most = match self.steps[step].largest {
            largest if largest > 0.0 => BEYOND * largest,
            _ => f64::INFINITY,
        };
        let [inner, outer] = [0, 1].map(|band| {
            // Before anything was seen: as wide as a rough guess.
            let reaches = self.reaches(step, band, scales);
            let blended = reaches.map(|reaches| self.steps[step].bands[band].blend(&reaches));
            let [low, high] = blended.unwrap_or([3.0 * scales[0]; 2]).map(|reach| reach.min(most));
            ((said - low).max(floor).min(said), said + high)
        });
        Outlook { mean: said, band80: inner, band95: (outer.0.min(inner.0), outer.1.max(inner.1)) }
    }
}
