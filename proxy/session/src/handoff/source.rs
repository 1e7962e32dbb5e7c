//! The source of one handoff: copies the state while the session is served, waits for a moment
//! the user will not feel, freezes, drains, cuts and grants. It decides when; the gate's
//! ownership decides whether; the shell moves the bytes and reports back.
//!
//! ```text
//!  copy rounds ──► wait for a gap ──► freeze, drain ──► last delta ──► grant ──► acknowledged
//!                        ▲                 │                │
//!                        └── thaw: the freeze took too long ┘
//! ```
//! Before the grant, giving up means thawing and telling the authority that the handoff has
//! stalled. After it there is nothing to give up: the grant is repeated until the target
//! confirms or the authority decides.

mod event;

use std::collections::VecDeque;

use homing_wire::{Cut, Directive, DirectiveId, HandoffFigures, OutcomeEnd, UndoneReason};

use super::message::{Copied, Message};
use crate::gate::{self, Reaction};

pub use event::{Action, Event, SourceLimits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A pre-copy is being exported.
    Exporting,
    /// It was sent and is not acknowledged.
    Staging { copy: Copied, sent_ms: u64 },
    /// The copy is near; waiting for a gap.
    Waiting,
    /// A freeze was asked for.
    Freezing,
    /// Frozen; requests are in execution.
    Draining,
    /// Frozen and drained; the cut is being exported.
    Cutting,
    /// The cut is there; the ownership is being asked to grant it.
    Granting { copy: Copied },
    /// Granted; repeated until it is confirmed or decided otherwise.
    Granted { copy: Copied },
    /// Given up, session served; the authority has been told.
    Stalled { why: UndoneReason },
    /// Over.
    Over,
}

/// The source machine of one handoff.
#[derive(Clone, Debug)]
pub struct Source {
    directive: Directive,
    limits: SourceLimits,
    phase: Phase,
    wake_ms: Option<u64>,
    started_ms: u64,
    frozen_ms: Option<u64>,
    /// The version the target is known to have.
    acked: u64,
    /// Bytes of the last copy and how long it took to be acknowledged.
    last_bytes: u64,
    last_took_ms: u64,
    /// Names the last export asked for.
    ticket: u32,
    attempts: u8,
    figures: HandoffFigures,
    actions: VecDeque<Action>,
}

impl Source {
    /// Starts to carry out a directive at its source.
    #[must_use]
    pub fn new(directive: Directive, limits: SourceLimits, now_ms: u64) -> Self {
        let figures = HandoffFigures { epoch: directive.epoch, ..HandoffFigures::default() };
        let mut source = Self {
            directive,
            limits,
            phase: Phase::Exporting,
            wake_ms: None,
            started_ms: now_ms,
            frozen_ms: None,
            acked: 0,
            last_bytes: 0,
            last_took_ms: 0,
            ticket: 0,
            attempts: 0,
            figures,
            actions: VecDeque::new(),
        };
        source.export(now_ms);
        source
    }

    /// The directive that is carried out.
    #[must_use]
    pub fn directive(&self) -> &Directive {
        &self.directive
    }

    /// Whether nothing more will come of this machine.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over && self.actions.is_empty()
    }

    /// The round trip to the target, once it is known: it is no sign of a slow copy.
    pub fn link_is(&mut self, rtt_ms: u32) {
        self.limits.link_rtt_ms = rtt_ms;
    }

    /// When to call [`Self::handle`] with [`Event::Wake`].
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.wake_ms
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes in what happened. What does not fit the phase is late and dropped.
    pub fn handle(&mut self, event: Event, now_ms: u64) {
        match (self.phase, event) {
            (Phase::Over, _) => {}
            (_, Event::Gate(reaction)) => self.gate_stepped(reaction, now_ms),
            (_, Event::Wake) => self.woken(now_ms),
            (_, Event::Exported { ticket, .. } | Event::ExportFailed { ticket, .. })
                if ticket != self.ticket => {}
            (Phase::Exporting, Event::Exported { copy, .. }) => self.exported(copy, now_ms),
            (Phase::Cutting, Event::Exported { copy, .. }) => self.cut(copy, now_ms),
            (Phase::Exporting | Phase::Cutting, Event::ExportFailed { why, .. }) => {
                self.give_up(why, now_ms);
            }
            (Phase::Staging { copy, sent_ms }, Event::StageAck { version }) => {
                self.acknowledged(copy, version, sent_ms, now_ms);
            }
            (Phase::Granted { .. }, Event::StageRefused(why)) => self.refused_after_grant(why),
            (Phase::Stalled { .. }, _) => {}
            (_, Event::StageRefused(why)) => self.give_up(why, now_ms),
            (Phase::Waiting, Event::Gap) => self.freeze(now_ms),
            (Phase::Draining, Event::Drained) => {
                self.phase = Phase::Cutting;
                self.ask_export(true);
            }
            (Phase::Granted { .. }, Event::GrantAck) => {
                let ack = gate::Event::GrantAck { directive: self.directive.id };
                self.actions.push_back(Action::Gate(ack));
            }
            // The session is frozen for another, gone, or no longer ours to give.
            (Phase::Freezing | Phase::Granting { .. }, Event::Refused(_)) => {
                self.give_up(UndoneReason::Stale, now_ms);
            }
            _ => {}
        }
    }

    fn gate_stepped(&mut self, reaction: Reaction, now_ms: u64) {
        match (self.phase, reaction) {
            (Phase::Freezing, Reaction::Frozen) => {
                self.phase = Phase::Draining;
                self.actions.push_back(Action::AwaitDrained);
            }
            (Phase::Granting { copy }, Reaction::Granted) => {
                self.phase = Phase::Granted { copy };
                self.wake_in(self.limits.answer_ms, now_ms);
                self.send_grant(copy);
            }
            // Confirmed by the target, or by the authority that has committed it.
            (Phase::Granted { .. }, Reaction::Retired | Reaction::Dropped) => {
                let since_freeze = now_ms.saturating_sub(self.frozen_ms.unwrap_or(now_ms));
                self.figures.pause_us = since_freeze.saturating_mul(1_000);
                self.figures.total_us =
                    now_ms.saturating_sub(self.started_ms).saturating_mul(1_000);
                self.over(OutcomeEnd::Completed(self.figures));
            }
            // The authority has decided: the session goes on here.
            (Phase::Stalled { why }, Reaction::Owns) => self.undone(why),
            (Phase::Granted { .. }, Reaction::Owns) => self.undone(UndoneReason::TargetTimeout),
            (_, Reaction::Owns) => self.undone(UndoneReason::Withdrawn),
            (_, Reaction::Dropped) => self.undone(UndoneReason::SessionGone),
            _ => {}
        }
    }

    fn exported(&mut self, copy: Copied, now_ms: u64) {
        self.figures.state_bytes = self.figures.state_bytes.saturating_add(copy.bytes);
        self.figures.rounds = self.figures.rounds.saturating_add(1);
        if copy.bytes > self.limits.state_bytes_max {
            return self.give_up(UndoneReason::StateTooLarge, now_ms);
        }
        self.phase = Phase::Staging { copy, sent_ms: now_ms };
        self.send_stage(copy, now_ms);
    }

    fn acknowledged(&mut self, copy: Copied, version: u64, sent_ms: u64, now_ms: u64) {
        if version < copy.since {
            // The target has less than it once said; go on from what it has.
            self.acked = version;
            return self.again(UndoneReason::TargetTimeout, now_ms, Self::export);
        }
        if version != copy.version {
            return; // The answer to an earlier copy, once more.
        }
        self.acked = version;
        let rtt_ms = u64::from(self.limits.link_rtt_ms);
        let took_ms = now_ms.saturating_sub(sent_ms).saturating_sub(rtt_ms);
        let shrinks = self.last_bytes == 0 || copy.bytes * 10 <= self.last_bytes * 8;
        self.last_bytes = copy.bytes;
        self.last_took_ms = took_ms;
        // A delta without bytes is as near as a copy can be, however slow the store is.
        let near = took_ms <= NEAR_MS || (copy.since != 0 && copy.bytes == 0);
        if near || !shrinks || self.figures.rounds >= self.limits.cut.rounds_max {
            self.wait_for_gap(now_ms);
        } else {
            self.export(now_ms);
        }
    }

    fn cut(&mut self, copy: Copied, now_ms: u64) {
        self.figures.state_bytes = self.figures.state_bytes.saturating_add(copy.bytes);
        self.figures.cut_bytes = copy.bytes;
        self.figures.rounds = self.figures.rounds.saturating_add(1);
        if copy.bytes > self.limits.state_bytes_max {
            return self.give_up(UndoneReason::StateTooLarge, now_ms);
        }
        self.phase = Phase::Granting { copy };
        let Directive { id: directive, to, epoch, .. } = self.directive;
        self.actions.push_back(Action::Gate(gate::Event::Grant { directive, to, epoch }));
    }

    fn woken(&mut self, now_ms: u64) {
        if self.wake_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        match self.phase {
            Phase::Exporting => self.give_up(UndoneReason::ExportFailed, now_ms),
            Phase::Staging { copy, .. } => {
                self.again(UndoneReason::TargetTimeout, now_ms, |source, now_ms| {
                    source.send_stage(copy, now_ms);
                });
            }
            Phase::Waiting => self.freeze(now_ms),
            Phase::Freezing | Phase::Draining => {
                self.thaw_and_wait(UndoneReason::DrainTimeout, now_ms)
            }
            Phase::Cutting | Phase::Granting { .. } => {
                self.thaw_and_wait(UndoneReason::ExportFailed, now_ms);
            }
            Phase::Granted { copy } => {
                self.send_grant(copy);
                self.tell_stalled(UndoneReason::TargetTimeout, now_ms);
            }
            Phase::Stalled { why } => self.tell_stalled(why, now_ms),
            Phase::Over => {}
        }
    }

    fn export(&mut self, now_ms: u64) {
        self.phase = Phase::Exporting;
        self.wake_in(self.limits.answer_ms, now_ms);
        self.ask_export(false);
    }

    fn ask_export(&mut self, last: bool) {
        self.ticket = self.ticket.wrapping_add(1);
        let Self { ticket, acked: since, .. } = *self;
        self.actions.push_back(Action::Export { ticket, since, last });
    }

    fn send_stage(&mut self, copy: Copied, now_ms: u64) {
        let Directive { id: directive, to_incarnation, epoch, .. } = self.directive;
        self.wake_in(self.limits.answer_ms, now_ms);
        let stage = Message::Stage { directive, to_incarnation, epoch, copy };
        self.actions.push_back(Action::SendTarget(stage));
    }

    fn send_grant(&mut self, copy: Copied) {
        let Directive { id: directive, to_incarnation, epoch, .. } = self.directive;
        let grant = Message::Grant { directive, to_incarnation, epoch, copy };
        self.actions.push_back(Action::SendTarget(grant));
    }

    fn wait_for_gap(&mut self, now_ms: u64) {
        match self.directive.cut {
            Cut::Now if self.attempts == 0 => self.freeze(now_ms),
            Cut::Now | Cut::IdleGap => {
                self.phase = Phase::Waiting;
                self.wake_in(self.limits.cut.gap_wait_ms, now_ms);
                let pause_ms =
                    self.last_took_ms + u64::from(self.limits.link_rtt_ms).div_ceil(2) + 1;
                self.actions.push_back(Action::AwaitGap { pause_ms });
            }
        }
    }

    fn freeze(&mut self, now_ms: u64) {
        self.phase = Phase::Freezing;
        self.frozen_ms = Some(now_ms);
        self.wake_in(self.limits.cut.freeze_ms_max, now_ms);
        let directive = self.directive.id;
        self.actions.push_back(Action::Gate(gate::Event::Freeze { directive }));
    }

    fn thaw(&mut self) {
        if self.frozen_ms.take().is_some() {
            let directive = self.directive.id;
            self.actions.push_back(Action::Gate(gate::Event::Thaw { directive }));
        }
    }

    fn thaw_and_wait(&mut self, why: UndoneReason, now_ms: u64) {
        self.thaw();
        self.again(why, now_ms, Self::wait_for_gap);
    }

    /// Tries something once more, or gives up after too many attempts.
    fn again(&mut self, why: UndoneReason, now_ms: u64, retry: impl FnOnce(&mut Self, u64)) {
        self.attempts += 1;
        if self.attempts >= self.limits.attempts_max {
            self.give_up(why, now_ms);
        } else {
            retry(self, now_ms);
        }
    }

    /// Goes on serving and asks the authority to resolve the handoff. Only before the grant.
    fn give_up(&mut self, why: UndoneReason, now_ms: u64) {
        self.thaw();
        self.phase = Phase::Stalled { why };
        self.tell_stalled(why, now_ms);
    }

    /// The target has said that it cannot take what it was granted; only the authority may act on
    /// that, and it will have heard the same.
    fn refused_after_grant(&mut self, why: UndoneReason) {
        let directive = self.directive.id;
        self.actions.push_back(Action::SendAuthority(Message::Stalled { directive, why }));
    }

    fn tell_stalled(&mut self, why: UndoneReason, now_ms: u64) {
        let directive = self.directive.id;
        self.actions.push_back(Action::SendAuthority(Message::Stalled { directive, why }));
        self.wake_in(self.limits.answer_ms, now_ms);
    }

    fn undone(&mut self, why: UndoneReason) {
        self.over(OutcomeEnd::Undone { why, detail: String::new() });
    }

    fn over(&mut self, end: OutcomeEnd) {
        self.phase = Phase::Over;
        self.wake_ms = None;
        self.actions.push_back(Action::Report(end));
    }

    fn wake_in(&mut self, ms: u32, now_ms: u64) {
        self.wake_ms = Some(now_ms.saturating_add(u64::from(ms)));
    }
}

/// A copy that was acknowledged this fast need not be made smaller before the freeze.
const NEAR_MS: u64 = 2;

/// The directive of a message that a source machine takes in, and the event it is to it.
#[must_use]
pub fn heard(message: &Message) -> Option<(DirectiveId, Event)> {
    match *message {
        Message::StageAck { directive, version } => Some((directive, Event::StageAck { version })),
        Message::StageRefused { directive, why } => Some((directive, Event::StageRefused(why))),
        Message::GrantAck { directive } => Some((directive, Event::GrantAck)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
