//! The next-place and next-item tasks of `homing backtest`.

use std::path::Path;

use crate::args::BacktestTask;
use crate::trouble::Trouble;

pub(super) fn run(_task: BacktestTask, _data: &Path, _out: &Path) -> Result<(), Trouble> {
    Ok(())
}
