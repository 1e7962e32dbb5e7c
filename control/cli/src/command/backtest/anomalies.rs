//! The anomaly task of `homing backtest`.

use std::path::Path;

use crate::trouble::Trouble;

pub(super) fn run(_data: &Path, _out: &Path) -> Result<(), Trouble> {
    Ok(())
}
