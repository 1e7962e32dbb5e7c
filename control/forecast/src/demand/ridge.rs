//! Linear regression on lags, one for each step ahead, learned online: normal equations that
//! forget, with errors far off counting less (Huber's weights), so that a flash crowd does not bend
//! it.

use super::{Past, Shape};

/// How a series is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Logarithms: what is multiplied adds up.
    Log,
    /// As it is, in units of its own level.
    Level,
}

/// Regressors of one step.
const WIDTH: usize = 24;
/// How strongly coefficients are held at zero, relative to the regressors' own size.
const PENALTY: f64 = 1e-4;
/// Rows before anything is said.
const ROWS_MIN: f64 = 3.0 * WIDTH as f64;
/// Errors up to so many times the usual one count in full.
const HUBER: f64 = 1.5;
/// How far from its level a forecast may go, in the units of its space.
const REACH: f64 = 4.0;

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

/// A step's regressors with what they are relative to.
struct Row {
    x: [f64; WIDTH],
    centre: f64,
    unit: f64,
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

    fn view(&self, value: f64) -> f64 {
        match self.space {
            Space::Log => value.max(0.0).ln_1p(),
            Space::Level => value,
        }
    }

    fn row(&self, past: &Past, at: usize, ahead: usize) -> Row {
        let season = past.shape.season;
        let lag = |back: usize| self.view(past.values[at.saturating_sub(back)]);
        let mean = |span: usize| (0..span).map(lag).sum::<f64>() / span as f64;
        let level = mean(season.clamp(6, 96));
        let (centre, unit) = match self.space {
            Space::Log => (level, 1.0),
            Space::Level => (level, level.abs().max(1e-6)),
        };
        let seasonal = |offset: isize, seasons: usize| {
            let ahead = ahead.saturating_add_signed(offset).max(1);
            self.view(past.seasonal(at, ahead, seasons))
        };
        let week = |back: usize| lag(back + 7 * season);
        let phase = (at + ahead) as f64 / season as f64 * std::f64::consts::TAU;
        let x = [
            1.0,
            lag(0),
            lag(1),
            lag(2),
            lag(3),
            lag(5),
            lag(8),
            mean(6),
            mean(12),
            mean(24),
            seasonal(0, 1),
            seasonal(-1, 1),
            seasonal(1, 1),
            seasonal(0, 2),
            seasonal(0, 3),
            seasonal(0, 7),
            seasonal(1, 7),
            lag(season),
            lag(season + 1),
            week(0),
            phase.sin(),
            phase.cos(),
            (2.0 * phase).sin(),
            (2.0 * phase).cos(),
        ];
        let mut row = Row { x, centre, unit };
        for value in &mut row.x[1..20] {
            *value = ((*value - centre) / unit).clamp(-REACH, REACH);
        }
        row
    }

    pub(super) fn observe(&mut self, past: &Past) {
        let now = past.values.len() - 1;
        for ahead in 1..=self.steps.len() {
            // A row needs something to look back on.
            let Some(at) = now.checked_sub(ahead).filter(|at| *at >= past.shape.season) else {
                continue;
            };
            let row = self.row(past, at, ahead);
            let target = (self.view(past.values[now]) - row.centre) / row.unit;
            let target = target.clamp(-REACH, REACH);
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
                let row = self.row(past, at, ahead);
                let step = &mut self.steps[ahead - 1];
                step.fit();
                let said = dot(&step.fitted, &row.x).clamp(-REACH, REACH);
                let said = said * row.unit + row.centre;
                match self.space {
                    Space::Log => said.exp_m1(),
                    Space::Level => said,
                }
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
