//! The authority over one session at work: it runs the record, repeats what was not answered, and
//! resolves what takes too long. Apart from the record because timers and repetition must not be
//! durable: after a crash the record alone is enough to go on.

use std::collections::VecDeque;

use homing_wire::{Directive, DirectiveId, Epoch, ZoneId};

use super::{
    message::Message,
    record::{self, Decision, Ended, Lives, Pending, Record, Rejected},
};

/// How patient an authority is. All in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a handoff may take before it is resolved.
    pub handoff_ms: u64,
    /// How long an answer may take before the question is repeated.
    pub answer_ms: u64,
    /// How long the former owner keeps redirecting and retaining if not all proxies acknowledge
    /// the new table before.
    pub release_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handoff_ms: 60_000, answer_ms: 1_000, release_ms: 60_000 }
    }
}

/// What an authority is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A gate said something.
    Heard(Message),
    /// A life began or ended.
    LivesChanged,
    /// Every proxy has acknowledged a table that shows this epoch.
    Published(Epoch),
    /// The deadline was reached.
    Wake,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store the record durably, and only then do what follows; publish it.
    Persist(Record),
    /// Tell a zone's gate something.
    Send(ZoneId, Message),
    /// A handoff has ended.
    Report(DirectiveId, Ended),
}

/// The authority over one session. Needed only while something about it is pending or may become
/// so; the record is what remains.
#[derive(Clone, Debug)]
pub struct Authority {
    record: Record,
    patience: Patience,
    /// The directive of the pending handoff as published, to be repeated to the source.
    directive: Option<Directive>,
    /// When the pending handoff is to be resolved.
    resolve_ms: u64,
    /// When to look again.
    wake_ms: Option<u64>,
    /// Who is still to be released, and when at the latest.
    release: Option<(ZoneId, u64)>,
    actions: VecDeque<Action>,
}

impl Authority {
    /// Takes a session's record up, as it was stored. What is pending in it is reviewed after one
    /// answer time: by then who is alive has said so.
    #[must_use]
    pub fn new(record: Record, patience: Patience, now_ms: u64) -> Self {
        let pending = record.pending != Pending::Settled;
        Self {
            record,
            patience,
            directive: None,
            resolve_ms: now_ms,
            wake_ms: pending.then_some(now_ms.saturating_add(patience.answer_ms)),
            release: None,
            actions: VecDeque::new(),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// When to call [`Self::handle`] with [`Event::Wake`].
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let release = self.release.map(|(_, at_ms)| at_ms);
        self.wake_ms.into_iter().chain(release).min()
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Hands the session over. Of `wanted`, its id, target, reason and cut count; the source, the
    /// target's life and the epoch are filled in and returned.
    ///
    /// # Errors
    /// [`Rejected`] if something is pending, or source or target is not alive.
    pub fn prepare(
        &mut self,
        wanted: Directive,
        lives: Lives<'_>,
        now_ms: u64,
    ) -> Result<Directive, Rejected> {
        let event = record::Event::Prepare { directive: wanted.id, to: wanted.to };
        let decision = self.record.next(event, lives)?;
        let from = decision.record.owner;
        let directive = match decision.record.pending {
            Pending::Handoff { to_incarnation, epoch, .. } => {
                let from_incarnation = decision.record.incarnation;
                Directive { from, from_incarnation, to_incarnation, epoch, ..wanted }
            }
            _ => return Err(Rejected::NotPending),
        };
        self.resolve_ms = now_ms.saturating_add(self.patience.handoff_ms);
        self.directive = Some(directive.clone());
        self.carry_out(decision, now_ms);
        self.actions.push_back(Action::Send(from, Message::Prepare(directive.clone())));
        Ok(directive)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event, lives: Lives<'_>, now_ms: u64) {
        match event {
            Event::Heard(message) => self.heard(message, lives, now_ms),
            Event::LivesChanged => {
                if self.misses_a_life(lives) {
                    self.take(record::Event::Review, lives, now_ms);
                }
            }
            Event::Published(epoch) => {
                if epoch >= self.record.epoch {
                    self.release_former();
                }
            }
            Event::Wake => self.woken(lives, now_ms),
        }
    }

    fn heard(&mut self, message: Message, lives: Lives<'_>, now_ms: u64) {
        let event = match message {
            Message::Activated { directive, incarnation } => {
                record::Event::Activated { directive, incarnation }
            }
            Message::Fenced { directive, incarnation } => {
                record::Event::Fenced { directive, incarnation }
            }
            Message::Owned { incarnation, epoch } => record::Event::Owned { incarnation, epoch },
            Message::Stalled { directive, .. }
                if directive == self.record.last && self.handing_over() =>
            {
                self.resolve_ms = now_ms;
                record::Event::Review
            }
            _ => return,
        };
        self.take(event, lives, now_ms);
    }

    fn woken(&mut self, lives: Lives<'_>, now_ms: u64) {
        if self.release.is_some_and(|(_, at_ms)| at_ms <= now_ms) {
            self.release_former();
        }
        if self.wake_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        match &self.directive {
            // The handoff still has time: perhaps the source was never told.
            Some(directive) if self.handing_over() && now_ms < self.resolve_ms => {
                let again = Message::Prepare(directive.clone());
                self.actions.push_back(Action::Send(self.record.owner, again));
                self.look_again(now_ms);
            }
            _ => self.take(record::Event::Review, lives, now_ms),
        }
    }

    /// Gives the record an event. What it rejects is late or repeated, and dropped.
    fn take(&mut self, event: record::Event, lives: Lives<'_>, now_ms: u64) {
        if let Ok(decision) = self.record.next(event, lives) {
            self.carry_out(decision, now_ms);
        }
    }

    fn carry_out(&mut self, decision: Decision, now_ms: u64) {
        let Decision { record, send, ended } = decision;
        if record != self.record {
            self.record = record;
            self.actions.push_back(Action::Persist(record));
        }
        if let Some((zone, message)) = send {
            self.actions.push_back(Action::Send(zone, message));
        }
        if let Some(ended) = ended {
            self.directive = None;
            self.actions.push_back(Action::Report(record.last, ended));
            self.release = match ended {
                Ended::Committed { former } => {
                    Some((former, now_ms.saturating_add(self.patience.release_ms)))
                }
                Ended::TakenBack => None,
            };
        }
        self.look_again(now_ms);
    }

    fn look_again(&mut self, now_ms: u64) {
        let pending = self.record.pending != Pending::Settled;
        self.wake_ms = pending.then_some(now_ms.saturating_add(self.patience.answer_ms));
    }

    fn release_former(&mut self) {
        // A former owner that is being handed the session back must keep what it is sent.
        if let Some((former, _)) = self.release.take()
            && former != self.record.owner
            && !matches!(self.record.pending, Pending::Handoff { to, .. } if to == former)
        {
            let release = Message::Release { to: self.record.owner, epoch: self.record.epoch };
            self.actions.push_back(Action::Send(former, release));
        }
    }

    fn handing_over(&self) -> bool {
        matches!(self.record.pending, Pending::Handoff { .. })
    }

    fn misses_a_life(&self, lives: Lives<'_>) -> bool {
        let target_lost = match self.record.pending {
            Pending::Handoff { to, to_incarnation, .. } => lives.live(to) != Some(to_incarnation),
            _ => false,
        };
        target_lost || lives.live(self.record.owner) != Some(self.record.incarnation)
    }
}

#[cfg(test)]
mod tests;
