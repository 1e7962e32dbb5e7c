//! Trees over the lags of one series, for all its steps at once, boosted and as a random forest,
//! grown anew now and then from what was seen lately.

use super::{
    Shape,
    lags::{Lags, Space, WIDTH},
    past::{FITTED_MAX, Past},
};
use crate::trees::{Forest, Loss, Settings};

/// Features: the lags, how far ahead, and the places in the day and the week.
const FEATURES: usize = WIDTH + 3;
/// Rows before any trees are grown.
const ROWS_MIN: usize = 600;
/// Steps of an observation that make a row.
const ROWS_EACH: usize = 3;

/// The trees of one series. Their rows are not kept: they are made again from the past.
#[derive(Clone, Debug)]
pub(super) struct Grove {
    shape: Shape,
    boosted: Option<Forest>,
    bagged: Option<Forest>,
    /// Observations since the trees were grown.
    age: usize,
}

impl Grove {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, boosted: None, bagged: None, age: 0 }
    }

    pub(super) fn observe(&mut self) {
        self.age += 1;
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

    /// The columns and targets to grow from.
    fn rows(&self, past: &Past) -> (Vec<Vec<f32>>, Vec<f32>) {
        let (season, horizon) = (self.shape.season, self.shape.horizon);
        let each = ROWS_EACH.min(horizon);
        let mut columns = vec![Vec::new(); FEATURES];
        let mut targets = Vec::new();
        let known = past.known();
        for now in known.start.max(known.end.saturating_sub(FITTED_MAX))..known.end {
            for turn in 0..each {
                // Goes round the steps, spread over the horizon.
                let ahead = (now + turn * horizon / each) % horizon + 1;
                let Some(at) = now.checked_sub(ahead).filter(|at| *at >= season) else { continue };
                let lags = Lags::of(Space::Log, past, at, ahead);
                targets.push(lags.target(past, now) as f32);
                let features = Self::features(past, &lags, at, ahead);
                for (column, feature) in columns.iter_mut().zip(features) {
                    column.push(feature);
                }
            }
        }
        (columns, targets)
    }

    /// What the boosted trees and the random forest say of each step; the season's last where
    /// there are none yet.
    pub(super) fn ahead(&mut self, past: &Past) -> [Vec<f64>; 2] {
        self.grow(past);
        let at = past.now();
        let mut both = [const { Vec::new() }; 2];
        for ahead in 1..=self.shape.horizon {
            let lags = Lags::of(Space::Log, past, at, ahead);
            let features = Self::features(past, &lags, at, ahead);
            for (said, forest) in both.iter_mut().zip([&self.boosted, &self.bagged]) {
                said.push(match forest {
                    None => past.seasonal(at, ahead, 1),
                    Some(forest) => lags.value(forest.score(&features)),
                });
            }
        }
        both
    }

    fn grow(&mut self, past: &Past) {
        let patience = self.shape.season.max(120);
        if self.boosted.is_some() && self.age < patience {
            return;
        }
        // Not even worth counting.
        if past.known().len() < self.shape.season + ROWS_MIN / ROWS_EACH {
            return;
        }
        let (columns, target) = self.rows(past);
        if target.len() < ROWS_MIN {
            return;
        }
        self.age = 0;
        let settings = Settings {
            rounds: 60,
            rate: 0.1,
            leaves: 16,
            min_leaf: 20,
            columns: 0.6,
            ..Settings::default()
        };
        if let Ok(forest) = Forest::fit(&columns, &target, Loss::Absolute, &settings) {
            self.boosted = Some(forest);
        }
        let settings =
            Settings { rounds: 24, leaves: 64, min_leaf: 8, columns: 0.4, ..Settings::default() };
        if let Ok(forest) = Forest::bagged(&columns, &target, Loss::Absolute, &settings, 0.4) {
            self.bagged = Some(forest);
        }
    }
}
