//! Exponential smoothing with a damped trend and a season (Holt and Winters), on logarithms where
//! nothing is below zero: a few rates at once, the one believed that foresaw best of late.

use std::collections::VecDeque;

use super::{Shape, lags::Space, past::Past};

/// Rates of level, trend and season. Without a rate the season is left out.
const RATES: [(f64, f64, Option<f64>); 8] = [
    (0.05, 0.0, Some(0.1)),
    (0.2, 0.0, Some(0.1)),
    (0.2, 0.02, Some(0.3)),
    (0.5, 0.0, Some(0.1)),
    (0.5, 0.05, Some(0.3)),
    (0.8, 0.1, Some(0.2)),
    (0.3, 0.0, None),
    (0.7, 0.1, None),
];
/// What is left of the trend after a step.
const DAMPING: f64 = 0.97;
/// The share of an old error in choosing among the rates.
const KEEP: f64 = 0.99;

/// The smoothed states of one series.
#[derive(Clone, Debug)]
pub(super) struct Smoothing {
    states: Vec<State>,
    /// How far ahead the rates are compared.
    reach: usize,
    signed: bool,
}

#[derive(Clone, Debug)]
struct State {
    rates: (f64, f64, Option<f64>),
    level: f64,
    trend: f64,
    /// By place in the season, relative to the level.
    season: Vec<f32>,
    /// Levels and trends of the last steps, to be judged by what came.
    before: VecDeque<(f64, f64)>,
    error: f64,
}

impl Smoothing {
    pub(super) fn new(shape: Shape) -> Self {
        let state = |rates: (f64, f64, Option<f64>)| State {
            rates,
            level: 0.0,
            trend: 0.0,
            season: vec![0.0; if rates.2.is_some() { shape.season } else { 1 }],
            before: VecDeque::new(),
            error: 0.0,
        };
        let states = RATES.into_iter().map(state).collect();
        Self { states, reach: shape.horizon.div_ceil(2), signed: false }
    }

    fn space(past: &Past) -> Space {
        if past.signed { Space::Level } else { Space::Log }
    }

    pub(super) fn observe(&mut self, past: &Past) {
        if past.signed && !self.signed {
            // What was smoothed was logarithms: begin again on the values.
            *self = Self { signed: true, ..Self::new(past.shape) };
            let known = past.known();
            for now in known.end.saturating_sub(4 * past.shape.season)..known.end {
                self.learn(past, now, known.start);
            }
        } else {
            self.learn(past, past.now(), 0);
        }
    }

    fn learn(&mut self, past: &Past, now: usize, first: usize) {
        let seen = Self::space(past).view(past, now);
        let age = now - first.min(now);
        for state in &mut self.states {
            state.learn(seen, now, age, self.reach);
        }
    }

    /// What the best of the rates says of each step.
    pub(super) fn ahead(&self, past: &Past) -> Vec<f64> {
        let (at, space) = (past.now(), Self::space(past));
        let best = self.states.iter().min_by(|a, b| a.error.total_cmp(&b.error));
        let Some(best) = best else { return vec![past.last(); past.shape.horizon] };
        let mut said = best.level;
        let mut trend = best.trend;
        (1..=past.shape.horizon)
            .map(|ahead| {
                trend *= DAMPING;
                said += trend;
                space.back(said + best.seasonal(at + ahead))
            })
            .collect()
    }
}

impl State {
    fn seasonal(&self, index: usize) -> f64 {
        f64::from(self.season[index % self.season.len()])
    }

    fn learn(&mut self, seen: f64, now: usize, age: usize, reach: usize) {
        let length = self.season.len();
        if length > 1 && age < length {
            // The first season: its mean, and what each place is relative to it once it is over.
            self.season[now % length] = seen as f32;
            self.level += (seen - self.level) / (age + 1) as f64;
            if age + 1 == length {
                let mean = self.level as f32;
                self.season.iter_mut().for_each(|value| *value -= mean);
            }
            return;
        }
        let usual = self.seasonal(now);
        if age == 0 {
            self.level = seen;
        }
        if self.before.len() == reach
            && let Some((level, trend)) = self.before.pop_front()
        {
            let grown = DAMPING * (1.0 - DAMPING.powi(reach as i32)) / (1.0 - DAMPING);
            let error = (level + trend * grown + usual - seen).abs();
            self.error = KEEP * self.error + (1.0 - KEEP) * error;
        }
        let (alpha, beta, gamma) = self.rates;
        let said = self.level + DAMPING * self.trend;
        let level = said + alpha * (seen - usual - said);
        self.trend = DAMPING * self.trend + beta * (level - self.level - DAMPING * self.trend);
        self.level = level;
        if let Some(gamma) = gamma.filter(|_| length > 1) {
            self.season[now % length] = (usual + gamma * (seen - level - usual)) as f32;
        }
        self.before.push_back((self.level, self.trend));
    }
}
