//! Training by single windows: the slopes of a few are gathered, then every weight takes a step
//! (Adam, Kingma and Ba 2015).

use super::{CELL, HIDDEN, Network, QUANTILES, WEIGHT_MAX, WEIGHTS, Window, cell, decode};

/// Windows whose slopes make one step.
const BATCH: usize = 4;
/// How far a step goes, at first and at last, and after how many it is halfway.
const PACE: (f32, f32, f32) = (6e-3, 1e-3, 500.0);
/// How long slopes and their squares are remembered.
const KEEP: (f32, f32) = (0.9, 0.99);
/// The slopes of a step together are no longer than this.
const SLOPE_MAX: f32 = 1.0;

/// A network in training.
#[derive(Clone, Debug)]
pub struct Trainer {
    network: Network,
    slopes: Vec<f32>,
    gathered: usize,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u32,
    trace: Vec<cell::Step>,
}

impl Trainer {
    /// Goes on with a network.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self {
            network,
            slopes: vec![0.0; WEIGHTS],
            gathered: 0,
            first: vec![0.0; WEIGHTS],
            second: vec![0.0; WEIGHTS],
            steps: 0,
            trace: Vec::new(),
        }
    }

    /// The network as it is now.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Goes on from another network at the same pace.
    pub fn adopt(&mut self, network: Network) {
        self.network = network;
    }

    /// Learns from one window, whose truths are all known, and tells the loss before: the mean
    /// pinball loss over steps and quantiles. A window whose numbers are not finite is passed over.
    pub fn learn(&mut self, window: &Window<'_>) -> Option<f32> {
        let loss = self.gather(window)?;
        self.gathered += 1;
        if self.gathered == BATCH {
            self.step();
        }
        Some(loss)
    }

    /// Adds a window's slopes.
    pub(super) fn gather(&mut self, window: &Window<'_>) -> Option<f32> {
        let whole = window.truths.len() == window.steps.len() && !window.steps.is_empty();
        let numbers = window.inputs.as_flattened().iter().chain(window.steps.as_flattened());
        if !whole || !numbers.chain(window.truths).all(|number| number.is_finite()) {
            return None;
        }
        let weights = &self.network.weights;
        self.trace.clear();
        let memory = cell::read(&weights[..CELL], window.inputs, Some(&mut self.trace));
        let (by_cell, by_decoder) = self.slopes.split_at_mut(CELL);
        let mut by_memory = [0.0; HIDDEN];
        let count = (window.steps.len() * QUANTILES.len()) as f32;
        let mut loss = 0.0;
        for (step, truth) in window.steps.iter().zip(window.truths) {
            let said = decode::say(&weights[CELL..], &memory, step);
            let mut by_quantile = [0.0; QUANTILES.len()];
            for ((slope, said), level) in by_quantile.iter_mut().zip(said.said).zip(QUANTILES) {
                *slope = if *truth > said { -level } else { 1.0 - level } / count;
                loss += (said - truth) * *slope;
            }
            decode::learn(
                &weights[CELL..],
                &memory,
                step,
                &said,
                &by_quantile,
                by_decoder,
                &mut by_memory,
            );
        }
        cell::learn(&weights[..CELL], &self.trace, &by_memory, by_cell);
        Some(loss)
    }

    /// The slopes gathered so far.
    #[cfg(test)]
    pub(super) fn slopes(&self) -> &[f32] {
        &self.slopes
    }

    fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
        let length = self.slopes.iter().map(|s| s * s).sum::<f32>().sqrt() / BATCH as f32;
        let shrink = (SLOPE_MAX / length.max(SLOPE_MAX)) / BATCH as f32;
        let turns = self.steps.min(10_000) as i32;
        let whole = (1.0 - KEEP.0.powi(turns), 1.0 - KEEP.1.powi(turns));
        let pace = PACE.1 + (PACE.0 - PACE.1) * PACE.2 / (PACE.2 + self.steps as f32);
        let moments = self.first.iter_mut().zip(&mut self.second);
        let weights = self.network.weights.iter_mut().zip(&mut self.slopes);
        for ((weight, slope), (first, second)) in weights.zip(moments) {
            let mean = *slope * shrink;
            *first = KEEP.0 * *first + (1.0 - KEEP.0) * mean;
            *second = KEEP.1 * *second + (1.0 - KEEP.1) * mean * mean;
            let step = pace * (*first / whole.0) / ((*second / whole.1).sqrt() + 1e-8);
            *weight = (*weight - step).clamp(-WEIGHT_MAX, WEIGHT_MAX);
            *slope = 0.0;
        }
        self.gathered = 0;
    }
}
