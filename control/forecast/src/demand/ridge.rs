//! Linear regression on lags, one for each step ahead, learned online: normal equations that
//! forget, with errors far off counting less (Huber's weights), so that a flash crowd does not bend
//! it.

use super::{
    Shape,
    lags::{Lags, Space, WIDTH},
    normal::{Normal, dot},
    past::Past,
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
    normal: Normal<WIDTH>,
    fitted: [f64; WIDTH],
    /// Usual absolute error.
    usual: f64,
}

impl Ridge {
    /// One that halves the weight of a row after so many observations.
    pub(super) fn new(shape: Shape, space: Space, half_life: f64) -> Self {
        let step = Step { normal: Normal::new(), fitted: [0.0; WIDTH], usual: 0.0 };
        Self { space, keep: 0.5_f64.powf(1.0 / half_life), steps: vec![step; shape.horizon] }
    }

    pub(super) fn observe(&mut self, past: &Past) {
        let now = past.now();
        for ahead in 1..=self.steps.len() {
            // A row needs something to look back on.
            let Some(at) = now.checked_sub(ahead).filter(|at| *at >= past.shape.season) else {
                continue;
            };
            let row = Lags::of(self.space, past, at, ahead);
            let target = row.target(past, now);
            self.steps[ahead - 1].learn(&row.x, target, self.keep);
        }
    }

    /// What it says of each step, fitted anew.
    pub(super) fn ahead(&mut self, past: &Past) -> Vec<f64> {
        let at = past.now();
        (1..=self.steps.len())
            .map(|ahead| {
                if self.steps[ahead - 1].normal.rows < ROWS_MIN {
                    return past.seasonal(at, ahead, 1);
                }
                let row = Lags::of(self.space, past, at, ahead);
                let step = &mut self.steps[ahead - 1];
                // The old fit stays if there is no new one.
                if let Some(fitted) = step.normal.solve(&[PENALTY; WIDTH]) {
                    step.fitted = fitted;
                }
                row.value(dot(&step.fitted, &row.x))
            })
            .collect()
    }
}

impl Step {
    fn learn(&mut self, x: &[f64; WIDTH], target: f64, keep: f64) {
        let error = (target - dot(&self.fitted, x)).abs();
        let weight = match self.usual > 0.0 && error > HUBER * self.usual {
            true => HUBER * self.usual / error,
            false => 1.0,
        };
        self.usual = match self.normal.rows == 0.0 {
            true => error,
            false => 0.995 * self.usual + 0.005 * error,
        };
        self.normal.learn(x, target, weight, keep);
    }
}
