//! A small recurrent network (LSTM, Hochreiter and Schmidhuber 1997) that reads the last steps of a
//! series and says quantiles of any steps ahead.
//!
//! Own code, because a network of two thousand weights needs no more than this, and a crate for it
//! would bring a hundred others. Nothing is drawn at random but the first weights, from a seed;
//! training goes by single windows, so that whoever trains bounds the time it takes.

use std::fmt;

mod bytes;
mod cell;
mod decode;
mod train;

#[cfg(test)]
mod tests;

pub use train::Trainer;

/// Numbers that are read at each step of the past.
pub const INPUTS: usize = 4;
/// Numbers that describe a step ahead. The first is what the quantiles are relative to.
pub const FEATURES: usize = 6;
/// The quantiles that are said.
pub const QUANTILES: [f32; 3] = [0.1, 0.5, 0.9];
/// What the cell remembers.
const HIDDEN: usize = 16;
/// The layer between memory and quantiles.
const LAYER: usize = 16;
const GATES: usize = 4 * HIDDEN;
/// Weights of the cell, a row for each input, each memory and the constant.
const CELL: usize = (INPUTS + HIDDEN + 1) * GATES;
/// Weights of the layer, a row for each memory, each feature and the constant.
const INNER: usize = (HIDDEN + FEATURES + 1) * LAYER;
/// Weights of the quantiles, a row for each unit of the layer and the constant.
const OUTER: usize = (LAYER + 1) * QUANTILES.len();
/// All weights.
const WEIGHTS: usize = CELL + INNER + OUTER;
/// No weight is larger.
const WEIGHT_MAX: f32 = 100.0;

/// The quantiles of one step.
pub type Quantiles = [f32; QUANTILES.len()];

/// The weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    weights: Vec<f32>,
}

/// A stretch of the past, what is asked of it, and what came.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The steps of the past, the oldest first.
    pub inputs: &'a [[f32; INPUTS]],
    /// The steps ahead that are asked for.
    pub steps: &'a [[f32; FEATURES]],
    /// What came at each of them; only read in training.
    pub truths: &'a [f32],
}

/// Why bytes are no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They do not begin as a network does.
    Foreign,
    /// They are of another version, or of a network of other sizes.
    Version,
    /// They are too short or too long.
    Length,
    /// They were changed: the checksum differs.
    Changed,
    /// A weight is not a number or far too large.
    Weight,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "this is not a saved network",
            Self::Version => "the network was saved by another version: train it anew",
            Self::Length => "the saved network is cut off or has something behind it",
            Self::Changed => "the saved network was changed: its checksum differs",
            Self::Weight => "the saved network holds a weight that is no usable number",
        })
    }
}

impl std::error::Error for Unreadable {}

impl Network {
    /// One that knows nothing, which says what its steps are relative to.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut weights = vec![0.0; WEIGHTS];
        let mut draw = |weights: &mut [f32], inputs: usize| {
            let reach = 1.0 / (inputs as f32).sqrt();
            weights.iter_mut().for_each(|weight| *weight = reach * even(&mut state));
        };
        draw(&mut weights[..CELL], INPUTS + HIDDEN);
        draw(&mut weights[CELL..CELL + INNER], HIDDEN + FEATURES);
        // To remember is the default.
        let constant = (INPUTS + HIDDEN) * GATES;
        weights[constant..constant + 2 * HIDDEN].fill(1.0);
        Self { weights }
    }

    /// What it says of each step.
    #[must_use]
    pub fn say(&self, window: &Window<'_>) -> Vec<Quantiles> {
        let memory = cell::read(&self.weights[..CELL], window.inputs, None);
        window
            .steps
            .iter()
            .map(|step| {
                let mut said = decode::say(&self.weights[CELL..], &memory, step).said;
                said.sort_unstable_by(f32::total_cmp);
                said
            })
            .collect()
    }

    /// The mean of networks that were trained apart, each from the same beginning: how series, or
    /// zones, share what they learned without sharing what they saw (McMahan and others 2017).
    /// None if there are none.
    #[must_use]
    pub fn mean<'a>(networks: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut weights = vec![0.0; WEIGHTS];
        let mut count = 0;
        for network in networks {
            count += 1;
            weights.iter_mut().zip(&network.weights).for_each(|(sum, weight)| *sum += weight);
        }
        weights.iter_mut().for_each(|sum| *sum /= count as f32);
        (count > 0).then_some(Self { weights })
    }
}

/// The next number of splitmix64, between -1 and 1.
fn even(state: &mut u64) -> f32 {
    (draw(state) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

/// The next number of splitmix64.
pub(crate) fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut x = *state;
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
