//! Forecasts of demand: experts that watch one series, blended by how well each did lately, with
//! intervals calibrated on the blend's own errors.
//!
//! A [`Forecaster`] is told one observation after another and asked for a forecast at any time. It
//! cannot look ahead because it has not been told yet. Every forecast it gives is scored when its
//! truth arrives, and from those scores come the weights and the widths of the next ones.

use std::collections::VecDeque;

mod blend;
mod expert;
mod grove;
mod interval;
mod lags;
mod ridge;

#[cfg(test)]
mod tests;

use blend::Blend;
pub use expert::Expert;
use grove::Grove;
use interval::Calibration;
use lags::Space;
use ridge::Ridge;

/// What kind of series it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Observations in a day, or whatever its season is; at least 1, which means none.
    pub season: usize,
    /// How many steps ahead to forecast.
    pub horizon: usize,
}

/// A forecast of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outlook {
    /// The middle: as often above as below.
    pub mean: f64,
    /// Where four of five truths should lie.
    pub band80: (f64, f64),
    /// Where nineteen of twenty truths should lie.
    pub band95: (f64, f64),
}

/// What a series has shown so far, cleaned.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) values: Vec<f64>,
    pub(crate) shape: Shape,
    /// Whether any value was below zero: then forecasts may be, too.
    pub(crate) signed: bool,
}

impl Past {
    /// The value so many steps before the last; the first one for times before it.
    pub(crate) fn back(&self, steps: usize) -> f64 {
        let last = self.values.len() - 1;
        self.values[last.saturating_sub(steps)]
    }

    /// The value in the same place of the season as `ahead` steps after index `at`, so many
    /// seasons before; the value at `at` itself where the past does not reach so far.
    pub(crate) fn seasonal(&self, at: usize, ahead: usize, seasons: usize) -> f64 {
        let period = self.shape.season * seasons;
        let back = ahead.div_ceil(period) * period;
        match (at + ahead).checked_sub(back) {
            Some(index) => self.values[index],
            None => self.values[at],
        }
    }
}

/// Watches one series. It keeps every observation it was told, eight bytes each: a caller that
/// never ends begins another from the last months now and then.
#[derive(Clone, Debug)]
pub struct Forecaster {
    past: Past,
    profile: expert::Profile,
    ridges: Vec<Ridge>,
    grove: Grove,
    blend: Blend,
    calibration: Calibration,
    /// Forecasts whose truth has not all arrived, by the index they were made at.
    open: VecDeque<Open>,
}

/// A forecast that waits for its truth.
#[derive(Clone, Debug)]
struct Open {
    at: usize,
    /// By expert and step.
    said: Vec<Vec<f64>>,
    blended: Vec<f64>,
    scales: Vec<f64>,
}

/// No demand is larger, in any unit.
pub const VALUE_MAX: f64 = 1e15;
/// Forecasts that are kept until they are scored.
const OPEN_MAX: usize = 4_096;

impl Forecaster {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let shape = Shape { season: shape.season.max(1), horizon: shape.horizon.max(1) };
        let day = shape.season as f64;
        let ridges = vec![
            Ridge::new(shape, Space::Log, 7.0 * day.max(24.0)),
            Ridge::new(shape, Space::Log, 40.0 * day.max(24.0)),
            Ridge::new(shape, Space::Level, 21.0 * day.max(24.0)),
        ];
        let experts = Expert::ALL.len() + ridges.len() + 1;
        Self {
            past: Past { values: Vec::new(), shape, signed: false },
            profile: expert::Profile::new(shape),
            ridges,
            grove: Grove::new(shape),
            blend: Blend::new(experts, shape.horizon),
            calibration: Calibration::new(shape.horizon),
            open: VecDeque::new(),
        }
    }

    /// Takes in the next observation. What is no number (a gap) is taken as the season's last
    /// value there, or the last one; an infinite value as a gap; what is larger than any demand
    /// ([`VALUE_MAX`]) as that.
    pub fn observe(&mut self, value: f64) {
        let value = match value.is_finite() {
            true => value.clamp(-VALUE_MAX, VALUE_MAX),
            false if self.past.values.is_empty() => 0.0,
            false => self.past.seasonal(self.past.values.len() - 1, 1, 1),
        };
        self.past.signed |= value < 0.0;
        self.past.values.push(value);
        self.profile.observe(&self.past);
        for ridge in &mut self.ridges {
            ridge.observe(&self.past);
        }
        self.grove.observe(&self.past);
        self.score(value);
    }

    fn score(&mut self, value: f64) {
        let now = self.past.values.len() - 1;
        for open in &self.open {
            let step = now - open.at - 1;
            if step < open.blended.len() {
                self.blend.score(step, open.said.iter().map(|said| said[step]), value);
                self.calibration.score(step, open.blended[step], open.scales[step], value);
            }
        }
        let horizon = self.past.shape.horizon;
        while self.open.front().is_some_and(|open| open.at + horizon <= now) {
            self.open.pop_front();
        }
    }

    /// How many observations it was told.
    #[must_use]
    pub fn len(&self) -> usize {
        self.past.values.len()
    }

    /// Whether it was told none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.past.values.is_empty()
    }

    /// The share of each expert in the forecast of a step, by name.
    #[must_use]
    pub fn weights(&self, step: usize) -> Vec<(&'static str, f64)> {
        let names = Expert::ALL.iter().map(|expert| expert.name());
        let names = names.chain(self.ridges.iter().map(Ridge::name)).chain(["boosted trees"]);
        names.zip(self.blend.weights(step)).collect()
    }

    /// Forecasts the steps after the last observation, all zero if there was none.
    pub fn forecast(&mut self) -> Vec<Outlook> {
        let horizon = self.past.shape.horizon;
        if self.past.values.is_empty() {
            return vec![Outlook::default(); horizon];
        }
        let at = self.past.values.len() - 1;
        let simple = Expert::ALL.iter().map(|expert| expert.ahead(&self.past, &self.profile));
        let mut said: Vec<Vec<f64>> = simple.collect();
        said.extend(self.ridges.iter_mut().map(|ridge| ridge.ahead(&self.past)));
        said.push(self.grove.ahead(&self.past));
        let floor = if self.past.signed { f64::NEG_INFINITY } else { 0.0 };
        for value in said.iter_mut().flatten() {
            *value = if value.is_finite() { value.max(floor) } else { self.past.values[at] };
        }
        let blended: Vec<f64> = (0..horizon)
            .map(|step| self.blend.blend(step, said.iter().map(|said| said[step])))
            .collect();
        let scales: Vec<f64> =
            (0..horizon).map(|step| self.calibration.scale(step, blended[step])).collect();
        let outlooks = (0..horizon)
            .map(|step| self.calibration.outlook(step, blended[step], scales[step], floor))
            .collect();
        if self.open.len() == OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(Open { at, said, blended, scales });
        outlooks
    }
}
