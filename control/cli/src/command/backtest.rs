//! `homing backtest`: the forecasts of control over recorded data, strictly causal, written down
//! for a scorer to judge.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use crate::args::{BacktestArgs, BacktestTask};
use crate::trouble::Trouble;

mod anomalies;
mod demand;
mod mobility;
mod own;
mod places;

/// Forecasts a recorded data set, or the user's own, and writes what it foretold.
///
/// # Errors
/// If the data cannot be read, or the file cannot be written.
pub fn run(args: &BacktestArgs) -> Result<(), Trouble> {
    let (Some(task), Some(data), Some(out)) = (args.task, &args.data, &args.out) else {
        return own::run(&args.own, args.out.as_deref());
    };
    match task {
        task if task.is_demand() => demand::run(task, data, out),
        BacktestTask::TaxiMobility | BacktestTask::NycMobility => mobility::run(task, data, out),
        BacktestTask::Nab => anomalies::run(data, out),
        task => places::run(task, data, out),
    }
}

/// The file of forecasts.
fn create(out: &Path) -> Result<BufWriter<File>, Trouble> {
    let file = File::create(out).map_err(|error| {
        Trouble::failure(format!("{}: {error}", out.display()))
            .remedy("give --out a file in a folder that you may write to")
    })?;
    Ok(BufWriter::new(file))
}
