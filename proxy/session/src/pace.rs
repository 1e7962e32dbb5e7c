//! How fast state may be copied while users are served: a PID controller on the users' 95th
//! percentile, after Slacker (Barker et al., EDBT 2012). A fixed rate would either waste an idle
//! link or be felt on a busy one.

/// The bounds and gains of a pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaceLimits {
    /// A copy under way must end, however busy users are: bytes a second.
    pub floor: f64,
    /// Bytes a second at most.
    pub ceiling: f64,
    /// The users' 95th percentile may rise by this factor over what it is without copies,
    pub factor: f64,
    /// and by this much, microseconds: below it there is nothing to feel.
    pub slack_us: f64,
}

impl Default for PaceLimits {
    fn default() -> Self {
        let mib = f64::from(1 << 20);
        Self { floor: mib, ceiling: 1_024.0 * mib, factor: 1.2, slack_us: 2_000.0 }
    }
}

/// Gains on the relative error, per step.
const PROPORTIONAL: f64 = 0.4;
const INTEGRAL: f64 = 0.05;
const DERIVATIVE: f64 = 0.1;
/// The integral of the error stays within this, so that a long quiet spell cannot make the pace
/// deaf to the first busy moment (anti-windup).
const INTEGRAL_MAX: f64 = 4.0;
/// How much one step may change the pace.
const STEP_MAX: f64 = 2.0;
/// Weight of a new observation of the quiet percentile.
const QUIET_WEIGHT: f64 = 0.2;

/// The pace of the copies of one gate.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    limits: PaceLimits,
    rate: f64,
    integral: f64,
    last_error: f64,
    /// The 95th percentile without copies, smoothed; 0 until seen.
    quiet_us: f64,
}

impl Pace {
    /// A pace that starts at a sixteenth of its ceiling.
    #[must_use]
    pub fn new(limits: PaceLimits) -> Self {
        let rate = (limits.ceiling / 16.0).max(limits.floor);
        Self { limits, rate, integral: 0.0, last_error: 0.0, quiet_us: 0.0 }
    }

    /// Bytes a second from now on.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.rate as u64
    }

    /// The users' 95th percentile while nothing was copied, microseconds.
    pub fn quiet(&mut self, p95_us: u64) {
        let p95_us = p95_us as f64;
        self.quiet_us = match self.quiet_us {
            0.0 => p95_us,
            known => known + QUIET_WEIGHT * (p95_us - known),
        };
        self.integral *= 0.5;
        self.last_error = 0.0;
    }

    /// One step while copies are under way: the users' 95th percentile at this end, and at the
    /// other, microseconds; 0 where nobody was served. The worse of the two counts.
    pub fn busy(&mut self, here_us: u64, there_us: u64) {
        let measured = here_us.max(there_us) as f64;
        if self.quiet_us == 0.0 && measured > 0.0 {
            // Never seen without copies: what is seen first is taken as the measure.
            self.quiet_us = measured;
        }
        let target = self.quiet_us * self.limits.factor + self.limits.slack_us;
        let error = ((target - measured) / target).clamp(-4.0, 1.0);
        self.integral = (self.integral + error).clamp(-INTEGRAL_MAX, INTEGRAL_MAX);
        let change = PROPORTIONAL * error
            + INTEGRAL * self.integral
            + DERIVATIVE * (error - self.last_error);
        self.last_error = error;
        let factor = (1.0 + change).clamp(1.0 / STEP_MAX, STEP_MAX);
        self.rate = (self.rate * factor).clamp(self.limits.floor, self.limits.ceiling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_who_feel_nothing_let_the_copy_run_and_those_who_do_slow_it_to_the_floor() {
        let limits = PaceLimits::default();
        let mut pace = Pace::new(limits);
        pace.quiet(10_000);
        for _ in 0..40 {
            pace.busy(10_000, 0);
        }
        assert_eq!(pace.bytes_per_second(), limits.ceiling as u64);
        for _ in 0..60 {
            pace.busy(10_000, 90_000);
        }
        assert_eq!(pace.bytes_per_second(), limits.floor as u64);
    }

    #[test]
    fn it_settles_where_the_users_percentile_meets_its_target() {
        let limits = PaceLimits::default();
        let mut pace = Pace::new(limits);
        pace.quiet(10_000);
        // A link on which the percentile grows with the rate of the copy.
        let felt = |pace: &Pace| 10_000 + pace.bytes_per_second() / 20_000;
        for _ in 0..300 {
            pace.busy(felt(&pace), 0);
        }
        let target = 10_000.0 * limits.factor + limits.slack_us;
        let settled = felt(&pace) as f64;
        assert!((settled / target - 1.0).abs() < 0.1, "{settled} against {target}");
    }

    #[test]
    fn a_long_quiet_spell_does_not_make_it_deaf() {
        let mut pace = Pace::new(PaceLimits::default());
        pace.quiet(1_000);
        (0..10_000).for_each(|_| pace.busy(0, 0));
        let before = pace.bytes_per_second();
        (0..8).for_each(|_| pace.busy(1_000_000, 0));
        assert!(pace.bytes_per_second() < before / 8);
    }
}
