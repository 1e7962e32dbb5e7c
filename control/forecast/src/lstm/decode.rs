//! From the memory to the quantiles of one step ahead, the same way for each of them.

use super::{FEATURES, HIDDEN, INNER, LAYER, OUTER, QUANTILES, Quantiles, cell::dot};

/// What was said of a step, and the layer it came from.
pub(super) struct Said {
    pub(super) said: Quantiles,
    layer: [f32; LAYER],
}

pub(super) fn say(weights: &[f32], memory: &[f32; HIDDEN], step: &[f32; FEATURES]) -> Said {
    let mut layer = [0.0; LAYER];
    layer.copy_from_slice(&weights[INNER - LAYER..INNER]);
    for (value, row) in memory.iter().chain(step).zip(weights.chunks_exact(LAYER)) {
        for (unit, weight) in layer.iter_mut().zip(row) {
            *unit += value * weight;
        }
    }
    layer.iter_mut().for_each(|unit| *unit = unit.tanh());
    let outer = &weights[INNER..INNER + OUTER];
    let mut said = [step[0]; QUANTILES.len()];
    for (value, row) in layer.iter().chain(&[1.0]).zip(outer.chunks_exact(QUANTILES.len())) {
        for (said, weight) in said.iter_mut().zip(row) {
            *said += value * weight;
        }
    }
    Said { said, layer }
}

/// Adds to `slopes` how the loss changes with each weight and to `by_memory` how it does with the
/// memory, given how it does with each quantile.
pub(super) fn learn(
    weights: &[f32],
    memory: &[f32; HIDDEN],
    step: &[f32; FEATURES],
    said: &Said,
    by_quantile: &Quantiles,
    slopes: &mut [f32],
    by_memory: &mut [f32; HIDDEN],
) {
    let outer = weights[INNER..INNER + OUTER].chunks_exact(QUANTILES.len());
    let (inner_slopes, outer_slopes) = slopes.split_at_mut(INNER);
    let rows = outer_slopes.chunks_exact_mut(QUANTILES.len());
    for (value, row) in said.layer.iter().chain(&[1.0]).zip(rows) {
        for (slope, quantile) in row.iter_mut().zip(by_quantile) {
            *slope += value * quantile;
        }
    }
    let mut by_layer = [0.0; LAYER];
    for ((by_layer, unit), row) in by_layer.iter_mut().zip(&said.layer).zip(outer) {
        *by_layer = dot(row, by_quantile) * (1.0 - unit * unit);
    }
    let rows = inner_slopes.chunks_exact_mut(LAYER);
    for (value, row) in memory.iter().chain(step).chain(&[1.0]).zip(rows) {
        for (slope, unit) in row.iter_mut().zip(&by_layer) {
            *slope += value * unit;
        }
    }
    for (by_memory, row) in by_memory.iter_mut().zip(weights.chunks_exact(LAYER)) {
        *by_memory += dot(row, &by_layer);
    }
}
