//! The cell: how memory goes on from step to step, and how errors come back through it.

use super::{CELL, GATES, HIDDEN, INPUTS};

/// What a step was, kept for the way back.
#[derive(Clone, Debug)]
pub(super) struct Step {
    input: [f32; INPUTS],
    memory: [f32; HIDDEN],
    carry: [f32; HIDDEN],
    /// Input, forget, new and output gate after their functions.
    gates: [f32; GATES],
    /// What is carried on, after its function.
    shown: [f32; HIDDEN],
}

/// Reads the steps and gives the memory after the last. Keeps each step in `trace` if there is one.
pub(super) fn read(
    weights: &[f32],
    inputs: &[[f32; INPUTS]],
    mut trace: Option<&mut Vec<Step>>,
) -> [f32; HIDDEN] {
    let (mut memory, mut carry) = ([0.0; HIDDEN], [0.0; HIDDEN]);
    for input in inputs {
        let mut gates = [0.0; GATES];
        gates.copy_from_slice(&weights[CELL - GATES..CELL]);
        for (value, row) in input.iter().chain(&memory).zip(weights.chunks_exact(GATES)) {
            for (gate, weight) in gates.iter_mut().zip(row) {
                *gate += value * weight;
            }
        }
        for (place, gate) in gates.iter_mut().enumerate() {
            *gate = if place / HIDDEN == 2 { gate.tanh() } else { sigmoid(*gate) };
        }
        let before = (memory, carry);
        let mut shown = [0.0; HIDDEN];
        for unit in 0..HIDDEN {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * HIDDEN + unit]);
            carry[unit] = f * carry[unit] + i * g;
            shown[unit] = carry[unit].tanh();
            memory[unit] = o * shown[unit];
        }
        if let Some(trace) = trace.as_deref_mut() {
            trace.push(Step { input: *input, memory: before.0, carry: before.1, gates, shown });
        }
    }
    memory
}

/// Adds to `slopes` how the loss changes with each weight, given how it does with the last memory.
pub(super) fn learn(weights: &[f32], trace: &[Step], last: &[f32; HIDDEN], slopes: &mut [f32]) {
    let (mut by_memory, mut by_carry) = (*last, [0.0; HIDDEN]);
    for step in trace.iter().rev() {
        let mut by_gate = [0.0; GATES];
        for unit in 0..HIDDEN {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| step.gates[gate * HIDDEN + unit]);
            let shown = step.shown[unit];
            let carry = by_carry[unit] + by_memory[unit] * o * (1.0 - shown * shown);
            by_gate[unit] = carry * g * i * (1.0 - i);
            by_gate[HIDDEN + unit] = carry * step.carry[unit] * f * (1.0 - f);
            by_gate[2 * HIDDEN + unit] = carry * i * (1.0 - g * g);
            by_gate[3 * HIDDEN + unit] = by_memory[unit] * shown * o * (1.0 - o);
            by_carry[unit] = carry * f;
        }
        let rows = slopes.chunks_exact_mut(GATES);
        for (value, row) in step.input.iter().chain(&step.memory).chain(&[1.0]).zip(rows) {
            for (slope, gate) in row.iter_mut().zip(&by_gate) {
                *slope += value * gate;
            }
        }
        let rows = weights.chunks_exact(GATES).skip(INPUTS);
        for (by_memory, row) in by_memory.iter_mut().zip(rows) {
            *by_memory = dot(row, &by_gate);
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// In eight sums, so that they can be added at once.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
