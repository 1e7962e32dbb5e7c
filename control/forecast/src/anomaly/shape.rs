//! How far the last few values are, as a shape, from every shape of the same length before.

use std::collections::VecDeque;

/// Values in a shape.
const LENGTH: usize = 12;
/// How many shapes are remembered.
const MEMORY: usize = 500;
/// The mean distance to so many nearest shapes is the strangeness.
const NEIGHBOURS: usize = 5;

/// The shapes seen, compared by squared distance.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    recent: VecDeque<f64>,
    seen: VecDeque<[f64; LENGTH]>,
}

impl Shapes {
    /// The distance of the shape that ends with this value to its nearest predecessors.
    pub(super) fn strangeness(&mut self, value: f64) -> f64 {
        self.recent.push_back(value);
        // The shapes that overlap the present one are its copies, shifted; they wait.
        while self.recent.len() > 2 * LENGTH {
            self.recent.pop_front();
        }
        if self.recent.len() < 2 * LENGTH {
            return 0.0;
        }
        let past: [f64; LENGTH] = std::array::from_fn(|i| self.recent[i]);
        if self.seen.len() == MEMORY {
            self.seen.pop_front();
        }
        self.seen.push_back(past);
        let now: [f64; LENGTH] = std::array::from_fn(|i| self.recent[LENGTH + i]);
        let mut nearest = [f64::INFINITY; NEIGHBOURS];
        for shape in &self.seen {
            let far = shape.iter().zip(&now).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            let at = nearest.partition_point(|near| *near < far);
            if at < NEIGHBOURS {
                nearest[at..].rotate_right(1);
                nearest[at] = far;
            }
        }
        let known = nearest.iter().filter(|far| far.is_finite());
        let (sum, count) =
            known.fold((0.0, 0.0), |(sum, count), far| (sum + far.sqrt(), count + 1.0));
        sum / f64::max(count, 1.0)
    }
}
