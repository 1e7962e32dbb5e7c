//! Recorded movement of users, with forecasts of where they go next.

use homing_forecast::places::Forecaster;
use homing_forecast::trees::{Settings, Unfit};

use crate::trouble::Trouble;

pub(crate) mod checkins;
pub(crate) mod rows;
pub(crate) mod taxis;

/// Grows the trees, unless the recording was too short to note anything: counts then rank alone.
pub(crate) fn train(forecaster: &mut Forecaster, settings: &Settings) -> Result<(), Trouble> {
    match forecaster.train(settings) {
        Ok(()) | Err(Unfit::Empty) => Ok(()),
        Err(unfit) => Err(Trouble::failure(format!("the trees cannot be grown: {unfit}"))),
    }
}

/// Trees that weigh the counts. On half of the columns each, for the counts say much the same,
/// and with leaves too large to learn one user by heart.
pub(crate) fn settings() -> Settings {
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
