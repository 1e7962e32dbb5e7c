//! Rows put on an even grid of time, with a word about everything that did not fit.

use std::path::Path;

use super::table::Told;
use crate::trouble::Trouble;

/// Observations of a grid, at most.
const LENGTH_MAX: usize = 1_000_000;

/// Series on one grid of time.
pub(super) struct Grid {
    /// The first observation, and what lies between two, in milliseconds.
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) length: usize,
    pub(super) series: Vec<Series>,
    /// What was found wanting, for people.
    pub(super) notes: Vec<String>,
}

/// One series; `NaN` is a gap.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
}

impl Grid {
    /// # Errors
    /// If there is no row, or the rows lie too far apart for a grid.
    pub(super) fn of(told: Told, file: &Path) -> Result<Self, Trouble> {
        let wrong = |wrong: String| Trouble::failure(format!("{}: {wrong}", file.display()));
        let mut times: Vec<i64> = told.rows.iter().map(|(at, _)| *at).collect();
        let back = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
        times.sort_unstable();
        times.dedup();
        let (Some(start), Some(end)) = (times.first().copied(), times.last().copied()) else {
            let remedy = "record an observation a row below the header";
            return Err(wrong("no observations".to_owned()).remedy(remedy));
        };
        let step = usual_step(&times);
        let length = ((end - start) / step) as usize + 1;
        if length > LENGTH_MAX {
            return Err(wrong(format!(
                "from its first to its last time {length} steps of {}",
                span(step)
            ))
            .remedy(format!("give a part with at most {LENGTH_MAX} steps; is a time mistyped?")));
        }
        let mut series: Vec<Series> = told
            .names
            .into_iter()
            .map(|name| Series { name, values: vec![f64::NAN; length] })
            .collect();
        let mut taken = vec![false; length];
        let (mut doubled, mut between) = (0, 0);
        for (at, values) in told.rows {
            let place = (at - start + step / 2) / step;
            between += usize::from((at - start - place * step).abs() > step / 4);
            let place = (place as usize).min(length - 1);
            doubled += usize::from(std::mem::replace(&mut taken[place], true));
            for (series, value) in series.iter_mut().zip(values) {
                series.values[place] = value;
            }
        }
        let gaps = taken.iter().filter(|taken| !**taken).count();
        let mut notes = vec![format!("{length} observations, {} apart", span(step))];
        for (count, what) in [
            (back, "time(s) run back: put in order"),
            (doubled, "row(s) of a time that was told before: the last row counts"),
            (between, "row(s) lie between two steps: taken at the nearer"),
            (gaps, "step(s) without a row: gaps, foretold over and not scored"),
            (told.numberless, "value(s) empty or no number: gaps, foretold over and not scored"),
        ] {
            if count > 0 {
                notes.push(format!("{count} {what}"));
            }
        }
        Ok(Self { start, step, length, series, notes })
    }

    /// The place of a time, in steps from the start; rounded down.
    pub(super) fn place(&self, at: i64) -> i64 {
        at.saturating_sub(self.start).div_euclid(self.step)
    }

    pub(super) fn time(&self, place: usize) -> i64 {
        self.start + self.step * place as i64
    }
}

/// The most common distance of two neighbours; the smaller of two as common ones.
fn usual_step(times: &[i64]) -> i64 {
    let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    let mut usual = (0, 1_000);
    for run in steps.chunk_by(|a, b| a == b) {
        if run.len() > usual.0 {
            usual = (run.len(), run[0]);
        }
    }
    usual.1
}

/// A span of milliseconds, for people.
pub(super) fn span(millis: i64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if millis % unit == 0 {
            return format!("{} {name}", millis / unit);
        }
    }
    format!("{millis} ms")
}
