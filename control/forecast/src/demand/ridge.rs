//! Linear regression on lags, one for each step ahead, learned online: normal equations that
//! forget, with errors far off counting less (Huber's weights), so that a flash crowd does not bend
//! it.

use super::{
    Past, Shape,
    lags::{Lags, Space, WIDTH},
};

/// How strongly coefficients are held at zero, relative to the regressors' own size.
const PENALTY: f64 = 1e-4;
/// Rows before anything is said.
const ROWS_MIN: f64 = 3.0 * WIDTH as f64;
/// Errors up to so many times the usual one count in full.
const HUBER: f64 = 1.5;

/// One regression for each step.
#[derive(Clone, Debug)]
pub(super) struct Ridge {
    space: Space,
    keep: f64,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    /// The lower triangle of the regressors' products, row by row.
    products: Vec<f64>,
    targets: [f64; WIDTH],
    rows: f64,
    fitted: [f64; WIDTH],
    /// Usual absolute error.
    usual: f64,
}

impl Ridge {
    /// One that halves the weight of a row after so many observations.
    pub(super) fn new(shape: Shape, space: Space, half_life: f64) -> Self {
        let step = Step {
            products: vec![0.0; WIDTH * (WIDTH + 1) / 2],
            targets: [0.0; WIDTH],
            rows: 0.0,
            fitted: [0.0; WIDTH],
            usual: 0.0,
        };
        Self { space, keep: 0.5_f64.powf(1.0 / half_life), steps: vec![step; shape.horizon] }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.space {
            Space::Log => "regression on logarithms",
            Space::Level => "regression",
        }
    }

    pub(super) fn observe(&mut self, past: &Past) {
        let now = past.values.len() - 1;
        for ahead in 1..=self.steps.len() {
            // A row needs something to look back on.
            let Some(at) = now.checked_sub(ahead).filter(|at| *at >= past.shape.season) else {
                continue;
            };
            let row = Lags::of(self.space, past, at, ahead);
            let target = row.target(past.values[now]);
            self.steps[ahead - 1].learn(&row.x, target, self.keep);
        }
    }

    /// What it says of each step, fitted anew.
    pub(super) fn ahead(&mut self, past: &Past) -> Vec<f64> {
        let at = past.values.len() - 1;
        (1..=self.steps.len())
            .map(|ahead| {
                if self.steps[ahead - 1].rows < ROWS_MIN {
                    return past.seasonal(at, ahead, 1);
                }
                let row = Lags::of(self.space, past, at, ahead);
                let step = &mut self.steps[ahead - 1];
                step.fit();
                row.value(dot(&step.fitted, &row.x))
            })
            .collect()
    }
}

fn dot(a: &[f64; WIDTH], b: &[f64; WIDTH]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Step {
    fn learn(&mut self, x: &[f64; WIDTH], target: f64, keep: f64) {
        let error = (target - dot(&self.fitted, x)).abs();
        let weight = match self.usual > 0.0 && error > HUBER * self.usual {
            true => HUBER * self.usual / error,
            false => 1.0,
        };
        self.usual = if self.rows == 0.0 { error } else { 0.995 * self.usual + 0.005 * error };
        let mut cell = 0;
        for (row, left) in x.iter().enumerate() {
            let scaled = weight * left;
            for right in &x[..=row] {
                self.products[cell] = keep * self.products[cell] + scaled * right;
                cell += 1;
            }
            self.targets[row] = keep * self.targets[row] + scaled * target;
        }
        self.rows = keep * self.rows + 1.0;
    }

    /// Solves the normal equations by Cholesky; keeps the old fit if they cannot be.
    fn fit(&mut self) {
        let size: f64 = (0..WIDTH).map(|i| self.products[i * (i + 1) / 2 + i]).sum();
        let penalty = PENALTY * size / WIDTH as f64 + 1e-9;
        let at = |row: usize, column: usize| row * (row + 1) / 2 + column;
        let mut root = self.products.clone();
        for row in 0..WIDTH {
            for column in 0..=row {
                let mut sum = self.products[at(row, column)];
                if row == column {
                    sum += penalty;
                }
                for k in 0..column {
                    sum -= root[at(row, k)] * root[at(column, k)];
                }
                if row == column {
                    if sum <= 0.0 || !sum.is_finite() {
                        return;
                    }
                    root[at(row, row)] = sum.sqrt();
                } else {
                    root[at(row, column)] = sum / root[at(column, column)];
                }
            }
        }
        let mut solved = self.targets;
        for row in 0..WIDTH {
            for k in 0..row {
                solved[row] -= root[at(row, k)] * solved[k];
            }
            solved[row] /= root[at(row, row)];
        }
        for row in (0..WIDTH).rev() {
            for k in row + 1..WIDTH {
                solved[row] -= root[at(k, row)] * solved[k];
            }
            solved[row] /= root[at(row, row)];
        }
        if solved.iter().all(|value| value.is_finite()) {
            self.fitted = solved;
        }
    }
}
