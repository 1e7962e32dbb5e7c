//! One session's replica in another zone, as the gate that owns the session sees it: what is
//! dirty, what the replica has, and when an answer may go out. Not simpler, because a replica is
//! worth something only if control will turn to it: a zone that has every write, but that control
//! does not know to have them, inherits nothing when the owner dies.
//!
//! So a replica counts from when its zone has all that was ever answered *and* control has stored
//! its name. Both are bound to one life of the replica's gate, and the word to control carries a
//! number, so that a late one cannot bring an abandoned replica back. One machine serves one
//! epoch: whoever owns the session next starts another.

use std::collections::VecDeque;

pub use homing_wire::Tier;
use homing_wire::{Incarnation, ZoneId};

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Keep the replica in this zone from now on.
    Use(ZoneId),
    /// The state is at this version now; the answer of that ticket waits for it.
    Answer {
        /// The version the answer must not outlive.
        version: u64,
        /// The shell's own number for the answer.
        ticket: u64,
    },
    /// The replica's word: in this life, it has this epoch's state up to a version.
    Kept {
        /// The zone that says so.
        zone: ZoneId,
        /// The life of its gate.
        life: Incarnation,
        /// The version; zero for nothing of this epoch.
        version: u64,
    },
    /// Control has stored the word of that number.
    Known {
        /// The number.
        seq: u64,
    },
    /// The deadline was reached.
    Wake,
}

/// What the machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the zone what changed since a version, all of the state if that is zero, and the
    /// dedup window with it. Both of one instant at which no request is in execution, or an heir
    /// might have a write without knowing that it was made, and make it again.
    Send {
        /// The replica's zone.
        zone: ZoneId,
        /// The version it has.
        since: u64,
    },
    /// Have control store who is the heir. Of two words the one with the higher number holds.
    TellControl {
        /// The word's number within this epoch.
        seq: u64,
        /// The replica's zone.
        zone: ZoneId,
        /// The life of its gate.
        life: Incarnation,
    },
    /// Let the answer out.
    Release(u64),
}

/// The replica of one session at one epoch.
#[derive(Clone, Debug)]
pub struct Replica {
    tier: Tier,
    answer_ms: u64,
    zone: Option<ZoneId>,
    life: Incarnation,
    /// The version of the state here, as of the last event.
    version: u64,
    /// What the replica must have before it may be the heir.
    floor: u64,
    /// What it is known to have.
    acked: u64,
    /// Whether something is on its way to it.
    sending: bool,
    seq: u64,
    told: bool,
    known: bool,
    /// Answers that wait, by the version they wait for, in order.
    waiting: VecDeque<(u64, u64)>,
    wake_ms: Option<u64>,
    actions: VecDeque<Action>,
}

impl Replica {
    /// A session without a replica so far, its state at `version`. What is not answered within
    /// `answer_ms` is said again.
    #[must_use]
    pub fn new(tier: Tier, version: u64, answer_ms: u64) -> Self {
        Self {
            tier,
            answer_ms,
            zone: None,
            life: Incarnation(0),
            version,
            floor: version,
            acked: 0,
            sending: false,
            seq: 0,
            told: false,
            known: false,
            waiting: VecDeque::new(),
            wake_ms: None,
            actions: VecDeque::new(),
        }
    }

    /// The zone of the replica and the life of its gate, if there is one to speak of.
    #[must_use]
    pub fn keeper(&self) -> Option<(ZoneId, Incarnation)> {
        self.zone.map(|zone| (zone, self.life))
    }

    /// The version that outlives this zone; zero if no replica counts.
    #[must_use]
    pub fn held(&self) -> u64 {
        if self.known { self.acked } else { 0 }
    }

    /// Versions that the replica lags behind.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.version - self.held().min(self.version)
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

    /// Takes in what happened. What is late, repeated or about another replica changes nothing.
    pub fn handle(&mut self, event: Event, now_ms: u64) {
        match event {
            Event::Use(zone) if self.tier != Tier::T0 => {
                self.zone = Some(zone);
                self.begin(Incarnation(0));
                self.send(now_ms);
            }
            Event::Use(_) => {}
            Event::Answer { version, ticket } => {
                self.version = self.version.max(version);
                if self.tier == Tier::T2 {
                    self.waiting.push_back((version, ticket));
                } else {
                    self.actions.push_back(Action::Release(ticket));
                }
                if !self.sending && self.acked < self.version {
                    self.send(now_ms);
                }
            }
            Event::Kept { zone, life, version } if self.zone == Some(zone) => {
                self.kept(life, version, now_ms);
            }
            Event::Known { seq } if self.told && seq == self.seq => self.known = true,
            Event::Kept { .. } | Event::Known { .. } => {}
            Event::Wake => {
                if self.wake_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                    self.again(now_ms);
                }
            }
        }
        self.release();
    }

    /// Another replica, or another life of it: nothing it was known to have counts any more.
    fn begin(&mut self, life: Incarnation) {
        self.life = life;
        self.seq += 1;
        self.floor = self.version;
        (self.acked, self.sending) = (0, false);
        (self.told, self.known) = (false, false);
    }

    fn kept(&mut self, life: Incarnation, version: u64, now_ms: u64) {
        if life < self.life {
            return;
        }
        if life > self.life {
            self.begin(life);
            self.acked = version;
        } else if version < self.acked {
            return;
        }
        self.acked = version;
        self.sending = false;
        if !self.told && self.acked >= self.floor {
            self.tell_control(now_ms);
        }
        if self.acked < self.version || !self.told {
            self.send(now_ms);
        } else if self.known {
            self.wake_ms = None;
        }
    }

    fn again(&mut self, now_ms: u64) {
        // Lost, as far as anyone can tell.
        self.sending = false;
        self.wake_ms = None;
        if self.told && !self.known {
            self.tell_control(now_ms);
        }
        // Control may know better which life the replica's gate is in: ask it, too.
        if self.acked < self.version || !self.known {
            self.send(now_ms);
        }
    }

    fn send(&mut self, now_ms: u64) {
        let Some(zone) = self.zone else { return };
        self.sending = true;
        self.actions.push_back(Action::Send { zone, since: self.acked });
        self.wake_ms = Some(now_ms.saturating_add(self.answer_ms));
    }

    fn tell_control(&mut self, now_ms: u64) {
        let Some(zone) = self.zone else { return };
        self.told = true;
        self.actions.push_back(Action::TellControl { seq: self.seq, zone, life: self.life });
        self.wake_ms = Some(now_ms.saturating_add(self.answer_ms));
    }

    fn release(&mut self) {
        let held = self.held();
        while let Some((_, ticket)) =
            self.waiting.pop_front_if(|(version, _)| self.known && *version <= held)
        {
            self.actions.push_back(Action::Release(ticket));
        }
    }
}

#[cfg(test)]
mod tests;
