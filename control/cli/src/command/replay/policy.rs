//! The policies: where each lets a session live, which copies it holds.

use homing_plan::anticipate::{Costs, Outlook, move_to, stage};

use super::copies::Copies;
use super::figures::Tally;
use super::trace::{Step, Trace, nearest};

/// A rule of where sessions live and where copies of them are held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Policy {
    /// In the zone of the part learned from, always.
    Static,
    /// In the nearest zone if it is nearer by this many ms; no copies.
    Reactive { gain_ms: f64 },
    /// As `Reactive`, a copy first: it is made when a move would pay, the move a bin later.
    CopyFirst { gain_ms: f64, ttl: i64 },
    /// As `Reactive`; the copy left behind is held for so many seconds.
    KeepWarm { gain_ms: f64, seconds: i64 },
    /// By forecast; `theta` is the chance from which a copy is made.
    Predictive { theta: f64, costs: Costs, ttl: i64 },
    /// As `Reactive` with a copy in every zone at any time.
    Everywhere { gain_ms: f64 },
}

impl Policy {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Static => "static home".to_owned(),
            Self::Reactive { gain_ms: 0.0 } => "nearest".to_owned(),
            Self::Reactive { gain_ms } => format!("reactive, {gain_ms} ms"),
            Self::CopyFirst { gain_ms, .. } => format!("copy first, {gain_ms} ms"),
            Self::KeepWarm { gain_ms, seconds } => {
                format!("keep warm {} min, {gain_ms} ms", seconds / 60)
            }
            Self::Predictive { theta, costs, .. } => {
                format!("predictive {theta}, {} ms", costs.move_ms)
            }
            Self::Everywhere { gain_ms } => format!("everywhere, {gain_ms} ms"),
        }
    }

    /// For how many bins a copy is held.
    fn ttl(&self) -> i64 {
        match self {
            Self::Predictive { ttl, .. } | Self::CopyFirst { ttl, .. } => *ttl,
            _ => 0,
        }
    }
}

/// One policy on its way through a trace.
pub(super) struct Walk {
    pub(super) policy: Policy,
    /// Where each user's session lives.
    homes: Vec<Option<usize>>,
    copies: Copies,
    tally: Tally,
}

/// What a policy decided at a step.
pub(super) struct Decision {
    /// The zone that the session lives in from now on.
    pub(super) lives: usize,
    /// The zones that are to hold a copy.
    pub(super) staged: Vec<usize>,
}

/// What a predictive policy knows at a step.
pub(super) struct Sight<'a> {
    pub(super) now_ms: &'a [f64],
    pub(super) ahead_ms: &'a [Vec<f64>],
    /// Chances of the zones in the next bin.
    pub(super) next: &'a [f64],
}

impl Walk {
    pub(super) fn new(policy: Policy, trace: &Trace) -> Self {
        let zones = trace.zones.len();
        Self {
            policy,
            homes: trace.homes.clone(),
            copies: Copies::new(trace.homes.len(), zones),
            tally: Tally::default(),
        }
    }

    /// Decides a step; `None` if there is no zone.
    pub(super) fn step(&mut self, trace: &Trace, at: usize, sight: &Sight<'_>) -> Option<Decision> {
        let step = trace.steps[at];
        // A user whom nobody has seen before begins where it is nearest, at no cost.
        let near = nearest(sight.now_ms)?;
        let home = *self.homes[step.user].get_or_insert(near);
        let to = self.target(&step, home, sight);
        let mut cold = false;
        if let Some(to) = to {
            cold = !self.is_warm(&step, to);
            self.copies.drop(step.user, to, step.second);
            self.homes[step.user] = Some(to);
            if let Policy::KeepWarm { seconds, .. } = self.policy {
                self.copies.keep(step.user, home, step.second, step.second + seconds);
            }
        }
        let lives = to.unwrap_or(home);
        let staged = self.staged(trace, &step, (home, lives), sight);
        for zone in &staged {
            let until = step.second + trace.bin.map_or(step.lasts, |bin| bin * self.policy.ttl());
            match *zone == home {
                true => self.copies.keep(step.user, *zone, step.second, until),
                false => self.copies.hold(step.user, *zone, step.second, until),
            }
        }
        let copies = match self.policy {
            Policy::Everywhere { .. } => trace.zones.len() - 1,
            _ => self.copies.count(step.user, step.second),
        };
        self.tally.add(&step, sight.now_ms[lives], to.map(|_| cold), copies);
        Some(Decision { lives, staged })
    }

    fn is_warm(&self, step: &Step, zone: usize) -> bool {
        matches!(self.policy, Policy::Everywhere { .. })
            || self.copies.is_held(step.user, zone, step.second)
    }

    fn staged(
        &self,
        trace: &Trace,
        step: &Step,
        (left, lives): (usize, usize),
        sight: &Sight<'_>,
    ) -> Vec<usize> {
        match self.policy {
            Policy::Predictive { costs, .. } => {
                let chances = arrivals(trace, step, lives, sight, &costs);
                // The zone just left holds the state as well.
                let is_held = |zone| zone == left || self.is_warm(step, zone);
                stage(&chances, lives, &costs, is_held, usize::MAX)
            }
            Policy::CopyFirst { gain_ms, .. } => {
                nearer(lives, sight.now_ms, gain_ms).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn target(&self, step: &Step, home: usize, sight: &Sight<'_>) -> Option<usize> {
        match self.policy {
            Policy::Static => None,
            Policy::Reactive { gain_ms }
            | Policy::KeepWarm { gain_ms, .. }
            | Policy::Everywhere { gain_ms } => nearer(home, sight.now_ms, gain_ms),
            Policy::CopyFirst { gain_ms, .. } => {
                nearer(home, sight.now_ms, gain_ms).filter(|zone| self.is_warm(step, *zone))
            }
            Policy::Predictive { costs, .. } => {
                let outlook = Outlook {
                    requests: step.requests,
                    now_ms: sight.now_ms,
                    ahead_ms: sight.ahead_ms,
                };
                move_to(home, &outlook, &costs, |zone| self.is_warm(step, zone))
            }
        }
    }

    /// The figures' makings, once all steps are done.
    pub(super) fn finish(self, trace: &Trace) -> (Policy, Tally) {
        let end = trace.steps.iter().map(|step| step.second + step.lasts).max().unwrap_or(0);
        let mut tally = self.tally;
        match self.policy {
            Policy::Everywhere { .. } => {
                let others = trace.zones.len() as u64 - 1;
                let users = self.homes.iter().filter(|home| home.is_some()).count() as u64;
                tally.held_s = tally.user_s * others as f64;
                tally.made = users * others;
            }
            _ => {
                tally.held_s = self.copies.held_until(end) as f64;
                tally.made = self.copies.made;
            }
        }
        (self.policy, tally)
    }
}

/// The nearest zone, if it is nearer than the home by more than this.
fn nearer(home: usize, now_ms: &[f64], gain_ms: f64) -> Option<usize> {
    let near = nearest(now_ms)?;
    (near != home && now_ms[home] - now_ms[near] > gain_ms).then_some(near)
}

/// The chances of zones in the next bin, of those where the session would move.
fn arrivals(
    trace: &Trace,
    step: &Step,
    lives: usize,
    sight: &Sight<'_>,
    costs: &Costs,
) -> Vec<f64> {
    let comes = |zone: usize| {
        let now_ms = &trace.between_ms[zone];
        // Who arrives is taken to stay for two bins more.
        let stays = [now_ms.clone(), now_ms.clone()];
        let outlook = Outlook { requests: step.requests, now_ms, ahead_ms: &stays };
        move_to(lives, &outlook, costs, |_| true) == Some(zone)
    };
    let least = costs.threshold(true);
    let chance = |(zone, chance): (usize, &f64)| {
        if *chance > least && comes(zone) { *chance } else { 0.0 }
    };
    sight.next.iter().enumerate().map(chance).collect()
}
