//! The last errors of a step, in order of time and of size.

use std::collections::VecDeque;

/// Errors kept.
const KEPT: usize = 600;
/// How fast what was never seen grows with how rare it is (the index of a heavy tail).
const TAIL: f64 = 0.25;

/// The errors.
#[derive(Clone, Debug)]
pub(super) struct Errors {
    ages: VecDeque<f32>,
    sorted: Vec<f32>,
}

impl Errors {
    pub(super) fn new() -> Self {
        Self { ages: VecDeque::new(), sorted: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn push(&mut self, error: f64) {
        // What overflows is as large as any.
        let error = (error as f32).clamp(f32::MIN, f32::MAX);
        if self.ages.len() == KEPT
            && let Some(oldest) = self.ages.pop_front()
        {
            let place = self.sorted.partition_point(|known| *known < oldest);
            self.sorted.remove(place.min(self.sorted.len() - 1));
        }
        self.ages.push_back(error);
        let place = self.sorted.partition_point(|known| *known < error);
        self.sorted.insert(place, error);
    }

    /// How far they reach below (side 0) or above (side 1) zero so that the share `left_out` lies
    /// beyond.
    pub(super) fn tail(&self, side: usize, left_out: f64) -> f64 {
        let count = self.sorted.len();
        // One more than there are, so that the band is never too narrow for want of errors.
        let beyond = (count + 1) as f64 * left_out;
        let rank = (beyond.floor() as usize).clamp(1, count.max(1));
        let found = match side {
            0 => -self.sorted.get(rank - 1).copied().unwrap_or_default(),
            _ => self.sorted.get(count.saturating_sub(rank)).copied().unwrap_or_default(),
        };
        let found = f64::from(found);
        // Rarer than anything that was seen: further out.
        if beyond < 1.0 && found > 0.0 { found * beyond.powf(-TAIL) } else { found }
    }
}
