//! The next-place and next-item tasks of `homing backtest`.

use std::fmt::Write as _;
use std::path::Path;

use homing_forecast::places::Ranked;

use crate::args::BacktestTask;
use crate::recorded::checkins::{self, Asked};
use crate::recorded::taxis;
use crate::trouble::Trouble;

mod requests;
mod sessions;

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
        BacktestTask::NycVenue => checked_in(data, Asked::Venue)?,
        BacktestTask::NycZone => checked_in(data, Asked::Zone)?,
        BacktestTask::TaxiZone15 => driven(data, 15)?,
        BacktestTask::TaxiZone30 => driven(data, 30)?,
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

fn driven(data: &Path, minutes: i64) -> Result<Vec<Answer>, Trouble> {
    let mut answers = Vec::new();
    taxis::read(&data.join("sf-taxi"))?.foretell(minutes, |fix, ranked| {
        answers.push(Answer::new(format!("{}:{}", fix.taxi, fix.second), ranked));
    })?;
    Ok(answers)
}

fn checked_in(data: &Path, asked: Asked) -> Result<Vec<Answer>, Trouble> {
    let mut answers = Vec::new();
    let checkins = checkins::read(&data.join("nyc-checkins"))?;
    checkins.foretell(asked, |checkin, ranked| {
        answers.push(Answer::new(format!("{}:{}", checkin.user, checkin.seq), ranked));
    })?;
    Ok(answers)
}
