//! `homing backtest`: the forecasts of control over recorded data, strictly causal, written down
//! for a scorer to judge.

use crate::args::{BacktestArgs, BacktestTask};
use crate::trouble::Trouble;

mod anomalies;
mod demand;
mod places;

/// Forecasts a recorded data set and writes what it foretold.
///
/// # Errors
/// If the data cannot be read, or the file cannot be written.
pub fn run(args: &BacktestArgs) -> Result<(), Trouble> {
    match args.task {
        task if task.is_demand() => demand::run(task, &args.data, &args.out),
        BacktestTask::Nab => anomalies::run(&args.data, &args.out),
        task => places::run(task, &args.data, &args.out),
    }
}
