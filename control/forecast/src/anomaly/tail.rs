//! How rare a strangeness is among those seen before, on a scale that fits every series.

use std::collections::VecDeque;

/// How many strangenesses are remembered; two weeks, at five minutes apart.
const MEMORY: usize = 4_000;
/// Below so many, nothing is called rare.
const LEARNING: usize = 50;
/// The share of the memory that counts as its tail.
const TAIL: f64 = 0.01;
/// The least heaviness (inverse Pareto exponent) of a tail. A lighter one would turn the first
/// wobble of a series that was calm so far into a certainty.
const LEAST_HEAVINESS: f64 = 0.1;
/// No surprise is larger, in powers of ten.
const SURPRISE_MAX: f64 = 12.0;

/// The upper tail of what was seen, as ranks inside the memory, as a Pareto law beyond it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    arrived: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Tail {
    /// The negative decimal logarithm of the odds of a strangeness at least this large, judged by
    /// those before it; then remembers it. What is below `floor` is rounding.
    pub(super) fn surprise(&mut self, strangeness: f64, floor: f64) -> f64 {
        let surprise = self.judge(strangeness, floor);
        self.remember(strangeness);
        surprise
    }

    fn judge(&self, strangeness: f64, floor: f64) -> f64 {
        let count = self.sorted.len();
        if count < LEARNING {
            return 0.0;
        }
        let larger = count - self.sorted.partition_point(|seen| *seen < strangeness);
        let in_tail = ((count as f64 * TAIL) as usize).max(3);
        if larger >= in_tail {
            return -((larger as f64 + 1.0) / (count as f64 + 1.0)).log10();
        }
        let start = count - in_tail;
        // Half a typical strangeness as the smallest start: zero has no logarithm, and after a
        // constant stretch any change at all is beyond the tail.
        let from = self.sorted[start].max(0.5 * self.sorted[count / 2]).max(floor);
        let hill = self.sorted[start..].iter().map(|seen| (seen.max(from) / from).ln());
        let hill = (hill.sum::<f64>() / in_tail as f64).max(LEAST_HEAVINESS);
        let beyond = (strangeness.max(from) / from).log10() / hill;
        ((count as f64 / in_tail as f64).log10() + beyond).min(SURPRISE_MAX)
    }

    fn remember(&mut self, strangeness: f64) {
        if self.arrived.len() == MEMORY
            && let Some(oldest) = self.arrived.pop_front()
        {
            let at = self.sorted.partition_point(|seen| *seen < oldest);
            self.sorted.remove(at);
        }
        let at = self.sorted.partition_point(|seen| *seen < strangeness);
        self.sorted.insert(at, strangeness);
        self.arrived.push_back(strangeness);
    }
}
