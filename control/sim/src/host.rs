//! The clocks of the hosts. They run at rates of their own, start anywhere, and tick in the
//! production machines' scale, since those machines' times are constants of theirs.

use homing_session::lease::DRIFT_PERCENT;

use crate::{clock::Dice, scenario::SCALE};

/// Furthest that two clocks stand apart, milliseconds: more than an hour.
const APART_MS: u64 = 4_000_000;
/// Parts in a thousand.
const MILLE: u64 = 1_000;

/// A host's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    offset_ms: u64,
    /// How much slower than the fastest clock allowed, in a thousand.
    slow: u64,
}

impl HostClock {
    /// Any clock that the lease allows: the slowest and the fastest most often, where errors are.
    pub(crate) fn any(dice: &mut Dice) -> Self {
        let slow = match dice.between(0, 3) {
            0 => 0,
            1 => DRIFT_PERCENT * MILLE / 100,
            _ => dice.between(0, DRIFT_PERCENT * MILLE / 100),
        };
        Self { offset_ms: dice.between(0, APART_MS), slow }
    }

    /// What it shows at a moment of the world.
    pub(crate) fn at(&self, world_ms: u64) -> u64 {
        self.offset_ms + world_ms * SCALE * MILLE / (MILLE + self.slow)
    }
}
