//! The last values of a series, asked for their level over any recent stretch.

use std::collections::VecDeque;

/// How many values are remembered.
const MEMORY: usize = 1_024;

/// A bounded memory of values, newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    values: VecDeque<f64>,
}

impl Window {
    /// Remembers a value.
    pub(super) fn push(&mut self, value: f64) {
        if self.values.len() == MEMORY {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Mean and standard deviation of up to `count` values, `skip` values before the newest.
    pub(super) fn moments(&self, skip: usize, count: usize) -> (f64, f64) {
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        let mut anchor = None;
        for value in self.values.iter().rev().skip(skip).take(count) {
            // Distances from one of the values: squares of large values would eat the variance.
            let x = value - *anchor.get_or_insert(*value);
            n += 1.0;
            sum += x;
            squares += x * x;
        }
        let Some(anchor) = anchor else {
            return (0.0, 0.0);
        };
        let mean = sum / n;
        (anchor + mean, (squares / n - mean * mean).max(0.0).sqrt())
    }

    /// The middle one of up to `count` newest values, if there is any.
    pub(super) fn median(&self, count: usize) -> Option<f64> {
        let mut values: Vec<f64> = self.values.iter().rev().take(count).copied().collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}
