//! One series foretold: a forecaster is told one observation after another and asked at each, or
//! each so many; what it and its experts said is scored when the truth is there.

use homing_forecast::demand::{Event, Forecaster, Outlook, Shape};
use indicatif::ProgressBar;

use super::{ORIGINS_MAX, grid::Series};

/// Above this share of the error of other lags, a season is not one.
const SEASONAL: f64 = 0.9;

/// What came of a series.
pub(super) struct Foretold {
    pub(super) name: String,
    /// By origin.
    pub(super) outlooks: Vec<(usize, Vec<Outlook>)>,
    /// The blend's mean absolute error, and what errors are scaled by.
    pub(super) mae: f64,
    pub(super) scale: f64,
    /// Shares of truths within the bands of 80 and 95 %.
    pub(super) covered: [f64; 2],
    pub(super) experts: Vec<Scored>,
    /// What is to be said about it, for people.
    pub(super) notes: Vec<String>,
}

/// An expert's figures.
pub(super) struct Scored {
    pub(super) name: &'static str,
    pub(super) weight: f64,
    pub(super) mae: f64,
}

pub(super) fn run(series: &Series, shape: Shape, events: &[Event], bar: &ProgressBar) -> Foretold {
    let values = &series.values;
    let first = first_origin(values.len(), shape);
    let last = values.len() - 1 - shape.horizon;
    let stride = (last - first + 1).div_ceil(ORIGINS_MAX);
    let mut told = Foretold {
        name: series.name.clone(),
        outlooks: Vec::new(),
        mae: 0.0,
        scale: scale(&values[..=first], shape.season),
        covered: [0.0; 2],
        experts: Vec::new(),
        notes: notes(series, shape, first),
    };
    let mut forecaster = Forecaster::new(shape);
    let mut ahead = events.iter().peekable();
    let mut scored = 0;
    for (index, value) in values.iter().enumerate() {
        bar.inc(1);
        if index > last {
            continue;
        }
        // A schedule is known before: told as soon as a forecast may reach it.
        while let Some(event) = ahead.next_if(|event| event.from <= index + shape.horizon) {
            forecaster.announce(*event);
        }
        forecaster.observe(*value);
        let asked = index.abs_diff(first) % stride == 0;
        if index >= first && asked {
            let outlooks = forecaster.forecast();
            scored += told.score(&forecaster, &outlooks, &values[index + 1..]);
            told.outlooks.push((index, outlooks));
        } else if asked && index >= shape.season.min(first / 2) {
            // Each forecast is scored when its truth arrives: so it learns how good it is.
            forecaster.forecast();
        }
    }
    told.finish(scored);
    told
}

/// A third is to learn from, and two seasons if there are as many.
fn first_origin(length: usize, shape: Shape) -> usize {
    let last = length - 1 - shape.horizon;
    (length / 3).max((2 * shape.season).min(length / 2)).min(last)
}

impl Foretold {
    /// Adds up what was said against what came; tells how many truths there were.
    fn score(&mut self, forecaster: &Forecaster, outlooks: &[Outlook], truths: &[f64]) -> usize {
        let said = forecaster.said();
        let middle = forecaster.weights(outlooks.len() / 2);
        if self.experts.is_empty() {
            let scored = |(name, _): &(&'static str, _)| Scored { name, weight: 0.0, mae: 0.0 };
            self.experts = said.iter().map(scored).collect();
        }
        for (expert, (_, weight)) in self.experts.iter_mut().zip(middle) {
            expert.weight += weight;
        }
        let mut count = 0;
        for (step, (outlook, truth)) in outlooks.iter().zip(truths).enumerate() {
            if truth.is_nan() {
                continue;
            }
            count += 1;
            self.mae += (outlook.mean - truth).abs();
            for (covered, (low, high)) in
                self.covered.iter_mut().zip([outlook.band80, outlook.band95])
            {
                *covered += f64::from(u8::from(low <= *truth && *truth <= high));
            }
            for (expert, (_, said)) in self.experts.iter_mut().zip(&said) {
                expert.mae += (said[step] - truth).abs();
            }
        }
        count
    }

    fn finish(&mut self, scored: usize) {
        if scored == 0 {
            self.notes.push(format!("{}: only gaps where it was to be scored", self.name));
        }
        let (truths, origins) = (scored.max(1) as f64, self.outlooks.len().max(1) as f64);
        self.mae /= truths;
        self.covered = self.covered.map(|covered| covered / truths);
        for expert in &mut self.experts {
            expert.mae /= truths;
            expert.weight /= origins;
        }
    }
}

/// The mean difference from the season before, over what is learned from; 1 if there is none.
fn scale(values: &[f64], season: usize) -> f64 {
    let mean = lagged(values, season);
    mean.filter(|mean| *mean > 0.0).unwrap_or(1.0)
}

/// The mean difference from `lag` steps before.
fn lagged(values: &[f64], lag: usize) -> Option<f64> {
    let pairs = values.iter().zip(values.iter().skip(lag));
    let differences = pairs.map(|(a, b)| (a - b).abs()).filter(|d| d.is_finite());
    let (sum, count) = differences.fold((0.0, 0.0), |(sum, count), d| (sum + d, count + 1.0));
    (count > 0.0).then_some(sum / count)
}

/// What is odd about a series.
fn notes(series: &Series, shape: Shape, first: usize) -> Vec<String> {
    let (name, values) = (&series.name, &series.values);
    let mut notes = Vec::new();
    let known = || values.iter().filter(|value| !value.is_nan());
    let negative = known().filter(|value| **value < 0.0).count();
    if known().count() == 0 {
        notes.push(format!("{name}: nothing but gaps"));
    } else if known().all(|value| *value == 0.0) {
        notes.push(format!("{name}: nothing but zeros, and so is the forecast"));
    } else if negative > 0 {
        notes.push(format!("{name}: {negative} value(s) below zero: forecasts may be, too"));
    }
    let season = shape.season;
    if season > 1 && values.len() < 2 * season {
        notes.push(format!("{name}: shorter than two seasons of {season}: none is learned"));
    } else if season > 1 {
        let others = [season / 3, season / 2, 2 * season / 3].map(|lag| lagged(values, lag.max(1)));
        let other = others.into_iter().flatten().sum::<f64>() / 3.0;
        let own = lagged(values, season).unwrap_or_default();
        if own > SEASONAL * other {
            let text = "is not seen in it: experts that go by it are not believed";
            notes.push(format!("{name}: a season of {season} {text}"));
        }
    }
    notes.push(format!(
        "{name}: scored from observation {} on, MASE against the season before",
        first + 1
    ));
    notes
}
