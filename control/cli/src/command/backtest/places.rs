//! The next-place and next-item tasks of `homing backtest`.

use std::fmt::Write as _;
use std::path::Path;

use homing_forecast::places::{Forecaster, Ranked};
use homing_forecast::trees::{Settings, Unfit};

use crate::args::BacktestTask;
use crate::trouble::Trouble;

use super::recording;

mod checkins;
mod requests;
mod sessions;
mod taxis;

/// Guesses that are written per question.
const GUESSES: usize = 10;

/// A question's id with the answers, best first.
struct Answer {
    id: String,
    guesses: Vec<i64>,
}

impl Answer {
    fn new(id: String, ranked: &[Ranked]) -> Self {
        let guesses = ranked.iter().take(GUESSES).map(|ranked| i64::from(ranked.item)).collect();
        Self { id, guesses }
    }
}

pub(super) fn run(task: BacktestTask, data: &Path, out: &Path) -> Result<(), Trouble> {
    let answers = match task {
        BacktestTask::NycVenue => checkins::answers(data, checkins::Asked::Venue)?,
        BacktestTask::NycZone => checkins::answers(data, checkins::Asked::Zone)?,
        BacktestTask::TaxiZone15 => taxis::answers(data, 15)?,
        BacktestTask::TaxiZone30 => taxis::answers(data, 30)?,
        BacktestTask::Fifa => sessions::answers(data, "fifa")?,
        BacktestTask::Bms => sessions::answers(data, "bms")?,
        BacktestTask::Genai => requests::answers(data)?,
        _ => {
            return Err(Trouble::usage(
                "geolife is not backtested yet: of its stays only the answers' layout is known",
                "choose nyc-venue, nyc-zone, taxi-zone15, taxi-zone30, fifa, bms or genai",
            ));
        }
    };
    let mut text = String::from("id");
    for guess in 1..=GUESSES {
        let _ = write!(text, ",p{guess}");
    }
    text.push('\n');
    for answer in &answers {
        text.push_str(&answer.id);
        for guess in 0..GUESSES {
            text.push(',');
            if let Some(item) = answer.guesses.get(guess) {
                let _ = write!(text, "{item}");
            }
        }
        text.push('\n');
    }
    std::fs::write(out, text).map_err(|error| {
        Trouble::failure(format!("{}: {error}", out.display()))
            .remedy("give --out a path that can be written")
    })
}

/// Grows the trees, unless the recording was too short to note anything: counts then rank alone.
fn train(forecaster: &mut Forecaster, settings: &Settings) -> Result<(), Trouble> {
    match forecaster.train(settings) {
        Ok(()) | Err(Unfit::Empty) => Ok(()),
        Err(unfit) => Err(Trouble::failure(format!("the trees cannot be grown: {unfit}"))),
    }
}

/// Trees that weigh the counts. On half of the columns each, for the counts say much the same,
/// and with leaves too large to learn one user by heart.
fn settings() -> Settings {
    Settings {
        rounds: 80,
        rate: 0.12,
        leaves: 31,
        min_leaf: 60,
        lambda: 5.0,
        columns: 0.5,
        seed: 1,
    }
}
