//! What a series has shown, cleaned and bounded: values are addressed by how many came before them,
//! and the oldest are forgotten.

use std::ops::Range;

use super::Shape;

/// Observations that trees and curves are fitted to, at most.
pub(super) const FITTED_MAX: usize = 3_000;

/// The last values of a series, and their logarithms.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    values: Vec<f64>,
    logs: Vec<f64>,
    /// How many values are forgotten.
    gone: usize,
    kept: usize,
    pub(crate) shape: Shape,
    /// Whether any value was below zero: then forecasts may be, too.
    pub(crate) signed: bool,
}

impl Past {
    pub(super) fn new(shape: Shape) -> Self {
        let kept = FITTED_MAX + 8 * shape.season + 2 * shape.horizon;
        Self { values: Vec::new(), logs: Vec::new(), gone: 0, kept, shape, signed: false }
    }

    pub(super) fn push(&mut self, value: f64) {
        self.signed |= value < 0.0;
        if self.values.len() >= self.kept + self.kept / 4 {
            let spare = self.values.len() - self.kept;
            self.values.drain(..spare);
            self.logs.drain(..spare);
            self.gone += spare;
        }
        self.values.push(value);
        self.logs.push(value.max(0.0).ln_1p());
    }

    /// How many values there were, the forgotten ones included.
    pub(crate) fn len(&self) -> usize {
        self.gone + self.values.len()
    }

    /// The index of the last value.
    pub(crate) fn now(&self) -> usize {
        self.len().saturating_sub(1)
    }

    /// The indexes of the values that are still known.
    pub(crate) fn known(&self) -> Range<usize> {
        self.gone..self.len()
    }

    /// The value at an index, the oldest one known for those before it; 0 if there is none.
    pub(crate) fn at(&self, index: usize) -> f64 {
        self.values.get(self.place(index)).copied().unwrap_or_default()
    }

    /// The logarithm of that value and 1; 0 for what is below zero.
    pub(crate) fn log(&self, index: usize) -> f64 {
        self.logs.get(self.place(index)).copied().unwrap_or_default()
    }

    fn place(&self, index: usize) -> usize {
        index.saturating_sub(self.gone).min(self.values.len().saturating_sub(1))
    }

    /// The last value.
    pub(crate) fn last(&self) -> f64 {
        self.values.last().copied().unwrap_or_default()
    }

    /// The value so many steps before the last; the oldest one for times before it.
    pub(crate) fn back(&self, steps: usize) -> f64 {
        self.at(self.now().saturating_sub(steps))
    }

    /// The index in the same place of the season as `ahead` steps after index `at`, so many
    /// seasons before; `at` itself where the past does not reach so far.
    pub(crate) fn seasonal_index(&self, at: usize, ahead: usize, seasons: usize) -> usize {
        let period = self.shape.season * seasons;
        let back = ahead.div_ceil(period) * period;
        (at + ahead).checked_sub(back).filter(|index| *index >= self.gone).unwrap_or(at)
    }

    /// The value there.
    pub(crate) fn seasonal(&self, at: usize, ahead: usize, seasons: usize) -> f64 {
        self.at(self.seasonal_index(at, ahead, seasons))
    }
}
