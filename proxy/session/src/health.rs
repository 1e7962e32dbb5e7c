//! Whether an endpoint is fit to be used: what requests show (passive) and what checks show
//! (active), as one small machine an endpoint. The shell keeps one in a cell and feeds it; how
//! many of a zone's endpoints may be ejected is decided here too, so that no fault of measuring
//! empties a zone.

use homing_wire::HealthCheck;

mod budget;
#[cfg(test)]
mod tests;

pub use budget::RetryBudget;

/// A success share in full.
const FULL: u16 = u16::MAX;
/// One result moves the success share by this part of the way, as a power of two: 1/16.
const EWMA_SHIFT: u32 = 4;
/// Ejections in a row that still lengthen the next.
const DOUBLINGS_MAX: u32 = 5;

/// When an endpoint is ejected for what requests show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectLimits {
    /// Failures in a row.
    pub failures_in_row: u16,
    /// Or a moving share of successes below this, in thousandths.
    pub success_permille_min: u16,
    /// The share counts from this many results on.
    pub results_min: u16,
    /// Length of the first ejection; each further one soon after doubles it. After it the endpoint
    /// is on trial: one more failure ejects it again.
    pub eject_ms: u64,
    /// Longest ejection.
    pub eject_ms_max: u64,
    /// Most endpoints of a zone that may be ejected at one time, in percent.
    pub share_percent_max: u8,
}

impl Default for EjectLimits {
    fn default() -> Self {
        Self {
            failures_in_row: 3,
            success_permille_min: 500,
            results_min: 32,
            eject_ms: 1_000,
            eject_ms_max: 30_000,
            share_percent_max: 50,
        }
    }
}

impl EjectLimits {
    /// Whether one more of `total` endpoints may be ejected when `ejected` are. The only endpoint
    /// of a zone never is, with a share below 100.
    #[must_use]
    pub fn may_eject(&self, ejected: usize, total: usize) -> bool {
        (ejected + 1) * 100 <= total * usize::from(self.share_percent_max)
    }
}

/// What has changed by a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that matters to anyone else.
    None,
    /// It is out until then.
    Ejected {
        /// Milliseconds on the clock of `now_ms`.
        until_ms: u64,
    },
    /// It would be ejected, but too many are: it stays in use and is [`Fitness::Suspect`].
    Spared {
        /// Unless a request succeeds before. Milliseconds on the clock of `now_ms`.
        until_ms: u64,
    },
    /// Checks find it healthy again.
    Up,
    /// Checks find it unhealthy.
    Down,
}

/// What an endpoint is fit for, the best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fitness {
    /// Everything.
    #[default]
    Up,
    /// It is used because too many others are ejected; nobody should be sent there who has a
    /// choice.
    Suspect,
    /// Ejected: to be used only if there is no other.
    Ejected,
    /// Checks find it unhealthy.
    Down,
}

impl Fitness {
    /// Whether it is to be used before others that are not.
    #[must_use]
    pub fn is_up(self) -> bool {
        self <= Self::Suspect
    }
}

/// One endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Moving share of successes, 0..=[`FULL`].
    success: u16,
    results: u16,
    failures_in_row: u16,
    /// Ejections one soon after the other.
    ejections: u32,
    ejected_from_ms: u64,
    ejected_until_ms: u64,
    /// That time is spent in use: it was spared.
    spared: bool,
    checked_down: bool,
    /// Checks in a row that contradict `checked_down`.
    contradictions: u8,
}

impl Default for Health {
    /// An endpoint is taken to be healthy until something shows otherwise.
    fn default() -> Self {
        Self {
            success: FULL,
            results: 0,
            failures_in_row: 0,
            ejections: 0,
            ejected_from_ms: 0,
            ejected_until_ms: 0,
            spared: false,
            checked_down: false,
            contradictions: 0,
        }
    }
}

impl Health {
    /// What it is fit for.
    #[must_use]
    pub fn fitness(&self, now_ms: u64) -> Fitness {
        match now_ms < self.ejected_until_ms {
            _ if self.checked_down => Fitness::Down,
            true if self.spared => Fitness::Suspect,
            true => Fitness::Ejected,
            false => Fitness::Up,
        }
    }

    /// Whether it is ejected, whatever checks say.
    #[must_use]
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms && !self.spared
    }

    /// The moving share of successful requests, in thousandths.
    #[must_use]
    pub fn success_permille(&self) -> u16 {
        (u32::from(self.success) * 1_000 / u32::from(FULL)) as u16
    }

    /// Takes in how a request went. `may_eject` is [`EjectLimits::may_eject`] for its zone.
    pub fn on_request(
        &mut self,
        ok: bool,
        may_eject: bool,
        limits: &EjectLimits,
        now_ms: u64,
    ) -> Change {
        // What was sent before the ejection, or in a panic, says nothing that is not known.
        if self.is_ejected(now_ms) {
            return Change::None;
        }
        let suspect = now_ms < self.ejected_until_ms;
        if ok && suspect {
            self.ejected_until_ms = now_ms;
        }
        let goal = if ok { i32::from(FULL) } else { 0 };
        let success = i32::from(self.success);
        // Rounded away from where it is, so that it arrives at either end.
        let step = (goal - success + (goal - success).signum() * ((1 << EWMA_SHIFT) - 1))
            / (1 << EWMA_SHIFT);
        self.success = (success + step).clamp(0, i32::from(FULL)) as u16;
        self.results = self.results.saturating_add(1);
        self.failures_in_row = if ok { 0 } else { self.failures_in_row.saturating_add(1) };
        if ok || !self.is_bad(limits) {
            return Change::None;
        }
        match (may_eject, suspect) {
            (false, true) => Change::None,
            (false, false) => Change::Spared { until_ms: self.eject(false, limits, now_ms) },
            (true, _) => Change::Ejected { until_ms: self.eject(true, limits, now_ms) },
        }
    }

    fn is_bad(&self, limits: &EjectLimits) -> bool {
        self.failures_in_row >= limits.failures_in_row
            || (self.results >= limits.results_min
                && self.success_permille() < limits.success_permille_min)
    }

    /// Returns until when.
    fn eject(&mut self, out: bool, limits: &EjectLimits, now_ms: u64) -> u64 {
        let last_ms = self.ejected_until_ms.saturating_sub(self.ejected_from_ms);
        let served_ms = now_ms.saturating_sub(self.ejected_until_ms);
        // Twice as long in service as it was out: what was wrong is taken to be mended.
        let again = last_ms > 0 && served_ms < 2 * last_ms;
        self.ejections = if again { (self.ejections + 1).min(DOUBLINGS_MAX) } else { 0 };
        let length_ms = limits.eject_ms.saturating_mul(1 << self.ejections);
        self.ejected_from_ms = now_ms;
        self.ejected_until_ms = now_ms.saturating_add(length_ms.min(limits.eject_ms_max));
        self.spared = !out;
        self.success = FULL;
        self.results = 0;
        // On trial: one more failure is enough.
        self.failures_in_row = limits.failures_in_row.saturating_sub(1);
        self.ejected_until_ms
    }

    /// Takes in the result of an active check. An endpoint that recovers by its checks is also let
    /// back in from an ejection.
    pub fn on_check(&mut self, ok: bool, check: &HealthCheck, now_ms: u64) -> Change {
        if ok != self.checked_down {
            self.contradictions = 0;
            return Change::None;
        }
        self.contradictions = self.contradictions.saturating_add(1);
        let needed = if ok { check.rise } else { check.fall };
        if self.contradictions < needed.max(1) {
            return Change::None;
        }
        self.contradictions = 0;
        self.checked_down = !ok;
        if ok {
            self.ejected_until_ms = self.ejected_until_ms.min(now_ms);
            return Change::Up;
        }
        Change::Down
    }
}
