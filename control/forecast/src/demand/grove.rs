//! Boosted trees over the lags of one series, for all its steps at once, grown anew now and then
//! from what was seen lately.

use std::collections::VecDeque;

use super::{
    Past, Shape,
    lags::{Lags, Space, WIDTH},
};
use crate::trees::{Forest, Loss, Settings};

/// Features: the lags, how far ahead, and the places in the day and the week.
const FEATURES: usize = WIDTH + 3;
/// Rows that trees are grown from.
const ROWS_MAX: usize = 9_000;
/// Rows before any are.
const ROWS_MIN: usize = 600;
/// Steps of an observation that make a row.
const ROWS_EACH: usize = 3;

/// The trees of one series.
#[derive(Clone, Debug)]
pub(super) struct Grove {
    shape: Shape,
    rows: VecDeque<([f32; FEATURES], f32)>,
    forest: Option<Forest>,
    /// Observations since the trees were grown.
    age: usize,
}

impl Grove {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, rows: VecDeque::new(), forest: None, age: 0 }
    }

    fn features(past: &Past, lags: &Lags, at: usize, ahead: usize) -> [f32; FEATURES] {
        let season = past.shape.season;
        let mut features = [0.0; FEATURES];
        for (feature, lag) in features.iter_mut().zip(lags.x) {
            *feature = lag as f32;
        }
        features[WIDTH] = ahead as f32;
        features[WIDTH + 1] = ((at + ahead) % season) as f32;
        features[WIDTH + 2] = ((at + ahead) / season % 7) as f32;
        features
    }

    pub(super) fn observe(&mut self, past: &Past) {
        let now = past.values.len() - 1;
        self.age += 1;
        let horizon = self.shape.horizon;
        let each = ROWS_EACH.min(horizon);
        for turn in 0..each {
            // Goes round the steps, spread over the horizon.
            let ahead = (now + turn * horizon / each) % horizon + 1;
            let Some(at) = now.checked_sub(ahead).filter(|at| *at >= past.shape.season) else {
                continue;
            };
            let lags = Lags::of(Space::Log, past, at, ahead);
            let target = lags.target(past.values[now]) as f32;
            if self.rows.len() == ROWS_MAX {
                self.rows.pop_front();
            }
            self.rows.push_back((Self::features(past, &lags, at, ahead), target));
        }
    }

    /// What the trees say of each step; the season's last where there are none yet.
    pub(super) fn ahead(&mut self, past: &Past) -> Vec<f64> {
        self.grow();
        let at = past.values.len() - 1;
        (1..=self.shape.horizon)
            .map(|ahead| match &self.forest {
                None => past.seasonal(at, ahead, 1),
                Some(forest) => {
                    let lags = Lags::of(Space::Log, past, at, ahead);
                    lags.value(forest.score(&Self::features(past, &lags, at, ahead)))
                }
            })
            .collect()
    }

    fn grow(&mut self) {
        let patience = self.shape.season.max(120);
        let due = self.forest.is_none() || self.age >= patience;
        if !due || self.rows.len() < ROWS_MIN {
            return;
        }
        self.age = 0;
        let columns: Vec<Vec<f32>> = (0..FEATURES)
            .map(|feature| self.rows.iter().map(|(features, _)| features[feature]).collect())
            .collect();
        let target: Vec<f32> = self.rows.iter().map(|(_, target)| *target).collect();
        let settings = Settings {
            rounds: 60,
            rate: 0.1,
            leaves: 16,
            min_leaf: 20,
            columns: 0.6,
            ..Settings::default()
        };
        if let Ok(forest) = Forest::fit(&columns, &target, Loss::Absolute, &settings) {
            self.forest = Some(forest);
        }
    }
}
