//! A curve through the whole past, as Prophet draws it: a trend with breaks, the waves of the day
//! and the week, and what scheduled events add, fitted anew now and then with errors far off
//! counting less (Taylor and Letham 2018).

use super::{
    Event, Shape,
    lags::Space,
    normal::{Normal, dot},
    past::Past,
};

const BREAKS: usize = 12;
/// Waves of the day, and of the week.
const WAVES: (usize, usize) = (8, 3);
/// Kinds of events that have a part of their own.
const KINDS: usize = 8;
const TERMS: usize = 2 + BREAKS + 2 * (WAVES.0 + WAVES.1) + KINDS;
/// Rows that are fitted to, at most.
const ROWS_MAX: usize = 2_000;
/// Fits with the far errors of the last counting less.
const TURNS: usize = 2;
/// The breaks lie in this part of the past; what comes after is too little to tell a break by.
const BROKEN: f64 = 0.85;

/// The curve of one series.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    shape: Shape,
    fit: Option<Fit>,
    /// Observations since it was fitted.
    age: usize,
}

#[derive(Clone, Debug)]
struct Fit {
    fitted: [f64; TERMS],
    /// Where the past that was fitted to begins and how long it is.
    from: usize,
    length: f64,
    weekly: bool,
    kinds: Vec<u16>,
    space: Space,
}

impl Curve {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, fit: None, age: 0 }
    }

    pub(super) fn observe(&mut self) {
        self.age += 1;
    }

    /// Is to be fitted anew: there are events that the last fit does not know.
    pub(super) fn refit(&mut self) {
        self.age = usize::MAX / 2;
    }

    /// What it says of each step, at the level of the last values, which fades into the curve's.
    pub(super) fn ahead(&mut self, past: &Past, events: &[Event]) -> Vec<f64> {
        let due = self.fit.is_none() || self.age >= (self.shape.season / 2).max(24);
        if due && past.known().len() >= (2 * self.shape.season).max(48) {
            self.fit = Fit::of(past, events);
            self.age = 0;
        }
        let at = past.now();
        let Some(fit) = &self.fit else {
            return (1..=self.shape.horizon).map(|ahead| past.seasonal(at, ahead, 1)).collect();
        };
        let season = self.shape.season as f64;
        let off = fit.recent_error(past, events);
        (1..=self.shape.horizon)
            .map(|ahead| {
                let left = (-(ahead as f64) / (season / 2.0).max(4.0)).exp();
                fit.space.back(fit.value(at + ahead, season, events) + left * off)
            })
            .collect()
    }
}

impl Fit {
    fn of(past: &Past, events: &[Event]) -> Option<Self> {
        let known = past.known();
        let season = past.shape.season as f64;
        let mut kinds: Vec<u16> = events
            .iter()
            .filter(|event| event.until > known.start && event.from < known.end)
            .map(|event| event.kind)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.truncate(KINDS);
        let mut fit = Self {
            fitted: [0.0; TERMS],
            from: known.start,
            length: known.len() as f64,
            weekly: known.len() >= 14 * past.shape.season,
            kinds,
            space: if past.signed { Space::Level } else { Space::Log },
        };
        let mut penalty = [1e-5; TERMS];
        penalty[2..2 + BREAKS].fill(2e-3);
        let mut usual = f64::INFINITY;
        for _ in 0..TURNS {
            let mut normal: Normal<TERMS> = Normal::new();
            for index in known.clone().step_by(known.len().div_ceil(ROWS_MAX)) {
                let x = fit.terms(index, season, events);
                let target = fit.space.view(past, index);
                let error = (target - dot(&fit.fitted, &x)).abs();
                let far = usual.is_finite() && error > 1.5 * usual;
                normal.learn(&x, target, if far { 1.5 * usual / error } else { 1.0 }, 1.0);
            }
            fit.fitted = normal.solve(&penalty)?;
            usual = fit.usual_error(past, events);
        }
        Some(fit)
    }

    fn usual_error(&self, past: &Past, events: &[Event]) -> f64 {
        let known = past.known();
        let season = past.shape.season as f64;
        let indexes = known.clone().step_by(known.len().div_ceil(ROWS_MAX / 4));
        let (sum, count) = indexes.fold((0.0, 0.0), |(sum, count), index| {
            let error = self.space.view(past, index) - self.value(index, season, events);
            (sum + error.abs(), count + 1.0)
        });
        (sum / f64::max(count, 1.0)).max(1e-9)
    }

    /// The mean error of the last few values, the newest counting most.
    fn recent_error(&self, past: &Past, events: &[Event]) -> f64 {
        let season = past.shape.season as f64;
        let (mut sum, mut weights) = (0.0, 0.0);
        for back in 0..(past.shape.season / 12).clamp(2, 24).min(past.known().len()) {
            let (index, weight) = (past.now() - back, 0.8_f64.powi(back as i32));
            sum += weight * (self.space.view(past, index) - self.value(index, season, events));
            weights += weight;
        }
        sum / weights
    }

    fn value(&self, index: usize, season: f64, events: &[Event]) -> f64 {
        dot(&self.fitted, &self.terms(index, season, events))
    }

    fn terms(&self, index: usize, season: f64, events: &[Event]) -> [f64; TERMS] {
        let mut x = [0.0; TERMS];
        let time = (index - self.from.min(index)) as f64 / self.length;
        (x[0], x[1]) = (1.0, time);
        for (knot, term) in x[2..2 + BREAKS].iter_mut().enumerate() {
            let broken = BROKEN * (knot + 1) as f64 / (BREAKS + 1) as f64;
            *term = (time - broken).max(0.0);
        }
        let mut place = 2 + BREAKS;
        let mut waves = |count: usize, period: f64, most: usize| {
            let angle = index as f64 / period * std::f64::consts::TAU;
            for wave in 1..=count.min(most) {
                (x[place + 2 * wave - 2], x[place + 2 * wave - 1]) =
                    (angle * wave as f64).sin_cos();
            }
            place += 2 * count;
        };
        // A wave of less than two observations tells nothing.
        waves(WAVES.0, season, (season as usize).saturating_sub(1) / 2);
        waves(WAVES.1, 7.0 * season, if self.weekly { WAVES.1 } else { 0 });
        for event in events.iter().filter(|event| (event.from..event.until).contains(&index)) {
            if let Ok(kind) = self.kinds.binary_search(&event.kind) {
                x[place + kind] = 1.0;
            }
        }
        x
    }
}
