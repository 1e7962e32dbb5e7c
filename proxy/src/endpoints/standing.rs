//! Whether one upstream takes requests, by what is seen of it: active checks with their own
//! thresholds, and the ends of real calls. No clock in it: time is an argument.

#[cfg(test)]
mod tests;

/// Calls that must fail in a row before an upstream is left alone for a while.
const CALLS_FAIL: u8 = 3;
/// How long the first time.
const EJECT_MS: u64 = 1_000;
/// Each further time doubles it, so often.
const DOUBLINGS_MAX: u8 = 5;

/// How one upstream has been doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Failed by its checks.
    down: bool,
    checks_failed: u8,
    checks_passed: u8,
    calls_failed: u8,
    ejections: u8,
    /// Left alone until then.
    ejected_until_ms: Option<u64>,
}

impl Standing {
    /// Whether it takes requests.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.down && self.ejected_until_ms.is_none()
    }

    /// A check has ended. `fall` failures in a row take it down, `rise` passes bring it back.
    pub fn checked(&mut self, passed: bool, fall: u8, rise: u8) {
        if passed {
            self.checks_failed = 0;
            self.checks_passed = self.checks_passed.saturating_add(1);
            if self.checks_passed >= rise {
                self.down = false;
            }
        } else {
            self.checks_passed = 0;
            self.checks_failed = self.checks_failed.saturating_add(1);
            if self.checks_failed >= fall {
                self.down = true;
            }
        }
    }

    /// A call has ended: with an answer of any status, or without one.
    pub fn called(&mut self, answered: bool, now_ms: u64) {
        if answered {
            self.calls_failed = 0;
            self.ejections = 0;
            return;
        }
        self.calls_failed = self.calls_failed.saturating_add(1);
        if self.calls_failed >= CALLS_FAIL && self.ejected_until_ms.is_none() {
            let doublings = self.ejections.min(DOUBLINGS_MAX);
            self.ejected_until_ms = Some(now_ms + (EJECT_MS << doublings));
            self.ejections = self.ejections.saturating_add(1);
        }
    }

    /// Lets an upstream back whose time alone is over: one more failure sends it off again.
    pub fn tick(&mut self, now_ms: u64) {
        if self.ejected_until_ms.is_some_and(|until| until <= now_ms) {
            self.ejected_until_ms = None;
            self.calls_failed = CALLS_FAIL - 1;
        }
    }
}
