//! Forecasts of demand: experts that watch one series, blended by how well each did lately, with
//! intervals calibrated on the blend's own errors.
//!
//! A [`Forecaster`] is told one observation after another and asked for a forecast at any time. It
//! cannot look ahead because it has not been told yet. Every forecast it gives is scored when its
//! truth arrives, and from those scores come the weights and the widths of the next ones.

use std::collections::VecDeque;

use crate::lstm::Network;

mod arima;
mod blend;
mod crew;
mod curve;
mod expert;
mod grove;
mod interval;
mod lags;
mod normal;
mod past;
mod recurrent;
mod ridge;
mod smoothing;
mod watch;

#[cfg(test)]
mod tests;

use blend::{Blend, MIXES};
use crew::{Crew, EXPERTS};
pub use expert::Expert;
use interval::{Calibration, SCALES};
use past::Past;
pub use watch::Coverage;
use watch::Watch;

/// What kind of series it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Observations in a day, or whatever its season is; at least 1, which means none.
    pub season: usize,
    /// How many steps ahead to forecast.
    pub horizon: usize,
}

/// A forecast of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outlook {
    /// The middle: as often above as below.
    pub mean: f64,
    /// Where four of five truths should lie.
    pub band80: (f64, f64),
    /// Where nineteen of twenty truths should lie.
    pub band95: (f64, f64),
}

/// Something scheduled that may change demand: a match, a sale, a holiday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Events of a kind are supposed to have the same effect.
    pub kind: u16,
    /// The observation it begins with, counted from the first that was told.
    pub from: usize,
    /// The observation after its last.
    pub until: usize,
}

/// Watches one series.
///
/// Its memory is bounded: it keeps the last 3,000 observations, eight seasons and two horizons,
/// and a quarter of that to spare.
#[derive(Clone, Debug)]
pub struct Forecaster {
    past: Past,
    events: Vec<Event>,
    crew: Crew,
    blend: Blend,
    calibration: Calibration,
    watch: Watch,
    /// What each expert said in the last forecast.
    said: Vec<Vec<f64>>,
    /// Forecasts whose truth has not all arrived, by the index they were made at.
    open: VecDeque<Open>,
}

/// A forecast that waits for its truth.
#[derive(Clone, Debug)]
struct Open {
    at: usize,
    /// By expert and step.
    said: Vec<Vec<f32>>,
    /// What each mix made of it, by step.
    mixed: Vec<[f64; MIXES]>,
    outlooks: Vec<Outlook>,
    scales: Vec<[f64; SCALES]>,
}

/// No demand is larger, in any unit.
pub const VALUE_MAX: f64 = 1e15;
/// No season is longer, in observations: a week of minutes.
pub const SEASON_MAX: usize = 10_080;
/// No forecast reaches further, in observations.
pub const HORIZON_MAX: usize = 512;
/// Events that are kept; the oldest make way.
pub const EVENTS_MAX: usize = 512;
/// Forecasts that are kept until they are scored; of those made in between none is.
const OPEN_MAX: usize = 64;

impl Forecaster {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let shape = Shape {
            season: shape.season.clamp(1, SEASON_MAX),
            horizon: shape.horizon.clamp(1, HORIZON_MAX),
        };
        Self {
            past: Past::new(shape),
            events: Vec::new(),
            crew: Crew::new(shape),
            blend: Blend::new(EXPERTS, shape.horizon),
            calibration: Calibration::new(shape),
            watch: Watch::default(),
            said: Vec::new(),
            open: VecDeque::new(),
        }
    }

    /// Tells of a scheduled event, past or to come. One that ends before it begins is ignored.
    pub fn announce(&mut self, event: Event) {
        if event.until <= event.from {
            return;
        }
        if self.events.len() == EVENTS_MAX {
            self.events.remove(0);
        }
        let place = self.events.partition_point(|known| known.until <= event.until);
        self.events.insert(place, event);
        self.crew.announce();
    }

    /// The recurrent network as it is trained by now, to be saved, or averaged with others'.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.crew.recurrent.network()
    }

    /// Goes on from another network: one that was saved, or the mean of many series'.
    pub fn adopt(&mut self, network: Network) {
        self.crew.recurrent.adopt(network);
    }

    /// Takes in the next observation. What is no number (a gap) is taken as the season's last
    /// value there, or the last one; an infinite value as a gap; what is larger than any demand
    /// ([`VALUE_MAX`]) as that.
    pub fn observe(&mut self, value: f64) {
        let value = match value.is_finite() {
            true => value.clamp(-VALUE_MAX, VALUE_MAX),
            false if self.is_empty() => 0.0,
            false => self.past.seasonal(self.past.now(), 1, 1),
        };
        self.past.push(value);
        self.crew.observe(&self.past);
        self.score(value);
    }

    fn score(&mut self, value: f64) {
        let now = self.past.now();
        for Open { at, said, mixed, outlooks, scales } in &self.open {
            let step = now - at - 1;
            let Some(outlook) = outlooks.get(step) else { continue };
            let said: Vec<f64> = said.iter().map(|said| f64::from(said[step])).collect();
            self.blend.score(step, &said, &mixed[step], value);
            self.calibration.score(step, now, outlook.mean, scales[step], value);
        }
        let outlooks = self.open.iter().filter_map(|open| open.outlooks.get(now - open.at - 1));
        self.watch.score(outlooks, value);
        let horizon = self.past.shape.horizon;
        while self.open.front().is_some_and(|open| open.at + horizon <= now) {
            self.open.pop_front();
        }
    }

    /// How many observations it was told.
    #[must_use]
    pub fn len(&self) -> usize {
        self.past.len()
    }

    /// Whether it was told none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.past.len() == 0
    }

    /// The share of each expert in the forecast of a step, by name.
    #[must_use]
    pub fn weights(&self, step: usize) -> Vec<(&'static str, f64)> {
        let step = step.min(self.past.shape.horizon - 1);
        Crew::names().zip(self.blend.weights(step)).collect()
    }

    /// What each expert said of each step in the last forecast, by name; nothing before the first.
    #[must_use]
    pub fn said(&self) -> Vec<(&'static str, &[f64])> {
        Crew::names().zip(self.said.iter().map(Vec::as_slice)).collect()
    }

    /// How often the truth lay within the bands of 80 and 95 % of late, over all steps.
    #[must_use]
    pub fn coverage(&self) -> [Coverage; 2] {
        self.watch.coverage()
    }

    /// Forecasts the steps after the last observation, all zero if there was none.
    pub fn forecast(&mut self) -> Vec<Outlook> {
        let horizon = self.past.shape.horizon;
        if self.is_empty() {
            return vec![Outlook::default(); horizon];
        }
        let at = self.past.now();
        let mut said = self.crew.ahead(&self.past, &self.events);
        let floor = if self.past.signed { f64::NEG_INFINITY } else { 0.0 };
        for value in said.iter_mut().flatten() {
            *value = if value.is_finite() { value.max(floor) } else { self.past.last() };
        }
        let at_step = |step: usize| said.iter().map(|said| said[step]).collect::<Vec<f64>>();
        let mixed: Vec<[f64; MIXES]> =
            (0..horizon).map(|step| self.blend.mixes(step, &at_step(step))).collect();
        let blended: Vec<f64> =
            mixed.iter().enumerate().map(|(step, mixed)| self.blend.blend(step, mixed)).collect();
        let scales: Vec<[f64; SCALES]> = (0..horizon)
            .map(|step| self.calibration.scales(step, at + 1 + step, blended[step]))
            .collect();
        let outlooks: Vec<Outlook> = (0..horizon)
            .map(|step| self.calibration.outlook(step, blended[step], scales[step], floor))
            .map(|outlook| self.watch.widened(outlook, floor))
            .collect();
        if self.open.back().is_none_or(|open| at - open.at >= horizon.div_ceil(OPEN_MAX)) {
            let narrow = |said: &Vec<f64>| said.iter().map(|value| *value as f32).collect();
            let kept = said.iter().map(narrow).collect();
            self.open.push_back(Open { at, said: kept, mixed, outlooks: outlooks.clone(), scales });
        }
        self.said = said;
        outlooks
    }
}
