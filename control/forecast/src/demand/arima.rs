//! ARIMA with a season: an autoregression on the differences from the season before, with moving
//! averages of its own errors, learned online (extended least squares) and run step by step.

use std::collections::VecDeque;

use super::{
    Shape,
    lags::Space,
    normal::{Normal, dot},
    past::Past,
};

/// Differences looked back on.
const LAGS: usize = 4;
/// A constant, the lags, the season's lag, two errors and the season's error.
const TERMS: usize = 1 + LAGS + 1 + 2 + 1;
/// Rows before anything is said.
const ROWS_MIN: f64 = 4.0 * TERMS as f64;
const PENALTY: f64 = 1e-3;
/// The share of an old row's weight: half after some 1,400.
const KEEP: f64 = 0.9995;
/// Errors up to so many times the usual one count in full.
const HUBER: f64 = 2.0;

/// The model of one series: (4,0,2)(1,1,1) where there is a season, (4,1,2) where there is none.
#[derive(Clone, Debug)]
pub(super) struct Arima {
    season: usize,
    normal: Normal<TERMS>,
    fitted: [f64; TERMS],
    /// Differences and errors of the last season, the newest at the back.
    differences: VecDeque<f64>,
    errors: VecDeque<f64>,
    usual: f64,
}

impl Arima {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            season: shape.season,
            normal: Normal::new(),
            fitted: [0.0; TERMS],
            differences: VecDeque::new(),
            errors: VecDeque::new(),
            usual: 0.0,
        }
    }

    fn space(past: &Past) -> Space {
        if past.signed { Space::Level } else { Space::Log }
    }

    fn kept(&self) -> usize {
        self.season.max(LAGS) + 1
    }

    /// The terms of the next difference, after those that are known and supposed.
    fn terms(&self, differences: &VecDeque<f64>, errors: &VecDeque<f64>) -> [f64; TERMS] {
        let back = |of: &VecDeque<f64>, steps: usize| match of.len().checked_sub(steps) {
            Some(place) => of.get(place).copied().unwrap_or_default(),
            None => 0.0,
        };
        let mut x = [0.0; TERMS];
        x[0] = self.usual.max(1e-9);
        for (lag, term) in (1..).zip(&mut x[1..=LAGS]) {
            *term = back(differences, lag);
        }
        x[LAGS + 2] = back(errors, 1);
        x[LAGS + 3] = back(errors, 2);
        if self.season > LAGS {
            x[LAGS + 1] = back(differences, self.season);
            x[LAGS + 4] = back(errors, self.season);
        }
        x
    }

    pub(super) fn observe(&mut self, past: &Past) {
        let now = past.now();
        let Some(before) = now.checked_sub(self.season) else { return };
        let space = Self::space(past);
        let difference = space.view(past, now) - space.view(past, before);
        let x = self.terms(&self.differences, &self.errors);
        let error = difference - dot(&self.fitted, &x);
        let far = self.usual > 0.0 && error.abs() > HUBER * self.usual;
        let weight = if far { HUBER * self.usual / error.abs() } else { 1.0 };
        self.usual = match self.normal.rows == 0.0 {
            true => error.abs(),
            false => 0.99 * self.usual + 0.01 * error.abs(),
        };
        self.normal.learn(&x, difference, weight, KEEP);
        if self.normal.rows >= ROWS_MIN
            && let Some(fitted) = self.normal.solve(&[PENALTY; TERMS])
        {
            self.fitted = fitted;
        }
        // A far error is taken at what is usual: it is the crowd's, not the model's.
        let reach = 8.0 * self.usual.max(1e-9);
        let kept = self.kept();
        for (all, new) in
            [(&mut self.differences, difference), (&mut self.errors, error.clamp(-reach, reach))]
        {
            all.push_back(new);
            if all.len() > kept {
                all.pop_front();
            }
        }
    }

    /// What it says of each step; the season's last until it has seen enough.
    pub(super) fn ahead(&self, past: &Past) -> Vec<f64> {
        let (at, space) = (past.now(), Self::space(past));
        let horizon = past.shape.horizon;
        if self.normal.rows < ROWS_MIN {
            return (1..=horizon).map(|ahead| past.seasonal(at, ahead, 1)).collect();
        }
        let largest = self.differences.iter().fold(0.0_f64, |most, d| most.max(d.abs()));
        let (mut differences, mut errors) = (self.differences.clone(), self.errors.clone());
        let mut seen: Vec<f64> = Vec::with_capacity(horizon);
        for ahead in 1..=horizon {
            let x = self.terms(&differences, &errors);
            // A fit that runs away stays within what was seen.
            let difference = dot(&self.fitted, &x).clamp(-largest, largest);
            let before = match ahead.checked_sub(self.season + 1) {
                Some(step) => seen[step],
                None => space.view(past, at + ahead - self.season),
            };
            seen.push(before + difference);
            differences.push_back(difference);
            errors.push_back(0.0);
        }
        seen.into_iter().map(|seen| space.back(seen)).collect()
    }
}
