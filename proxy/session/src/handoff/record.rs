//! The authority's record of one session: who owns it, at which epoch, and the one thing that may
//! be pending. A `Copy` value with one total transition function; what it decides must be stored
//! before the message it sends goes out, so that no crash can make the authority contradict itself.
//!
//! ```text
//!            Prepare                     Activated
//!  Settled ──────────► Handoff(m, dst) ────────────► Settled at dst, e'
//!     ▲                   │
//!     │                   │ Fenced, or dst is dead
//!     │     Owned         ▼
//!     └──────────────── Claim at the source, e'+1; at any live gate if the source is dead
//! ```

use homing_wire::{DirectiveId, Epoch, Incarnation, ZoneId};

use super::message::Message;
use crate::gate::StartFrom;

/// What the authority holds true of one session. Durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The zone that owns the session.
    pub owner: ZoneId,
    /// The life of its gate that does.
    pub incarnation: Incarnation,
    /// The epoch it owns it at.
    pub epoch: Epoch,
    /// The last directive issued for the session.
    pub last: DirectiveId,
    /// What is not settled yet.
    pub pending: Pending,
}

/// What a record may be waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pending {
    /// Nothing: the owner knows that it is.
    Settled,
    /// The session is being handed over by directive `last`.
    Handoff {
        /// Where to.
        to: ZoneId,
        /// The only life that may take it over.
        to_incarnation: Incarnation,
        /// The epoch it would own it at.
        epoch: Epoch,
    },
    /// The owner has yet to confirm that it knows.
    Claim {
        /// What it is to start from.
        from: StartFrom,
    },
}

/// What may happen to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Hand the session over.
    Prepare {
        /// A directive higher than any before.
        directive: DirectiveId,
        /// Where to.
        to: ZoneId,
    },
    /// The target's word: it owns the session by this directive.
    Activated {
        /// The directive.
        directive: DirectiveId,
        /// The life that says so.
        incarnation: Incarnation,
    },
    /// The target's word: it never will.
    Fenced {
        /// The directive.
        directive: DirectiveId,
        /// The life that says so.
        incarnation: Incarnation,
    },
    /// A gate's word: it owns the session at this epoch.
    Owned {
        /// The life that says so.
        incarnation: Incarnation,
        /// The epoch.
        epoch: Epoch,
    },
    /// Something took too long, or a life began or ended: do what gets the record on.
    Review,
}

/// Which life of each zone's gate holds a lease, as the authority knows it. A life is taken from
/// here only on proof that it is over: its lease and the bound on clock drift have passed, or a
/// later life has registered in its place.
#[derive(Clone, Copy, Debug)]
pub struct Lives<'a> {
    /// The live life of each zone's gate, by zone index.
    pub by_zone: &'a [Option<Incarnation>],
    /// The zone that has a replica of the session and takes it if its own zone has no live gate.
    pub heir: Option<ZoneId>,
    /// Whether the state in a zone ends with its gate's life. Then the zone's next life has
    /// nothing, and the session waits for its heir if there is one.
    pub ephemeral: bool,
}

impl Lives<'_> {
    /// The live life of the zone's gate, if there is one.
    #[must_use]
    pub fn live(&self, zone: ZoneId) -> Option<Incarnation> {
        self.by_zone.get(zone.index()).copied().flatten()
    }

    /// Who takes a session from a dead life in `last`: the zone's next life, which finds the state
    /// in the zone's store; else the heir, which has a replica. Nobody else: a gate is sooner back
    /// than a state that was left behind.
    fn successor(&self, last: ZoneId) -> Option<(ZoneId, Incarnation)> {
        let last = Some(last).filter(|_| !self.ephemeral || self.heir.is_none());
        let mut wanted = [last, self.heir].into_iter().flatten();
        wanted.find_map(|zone| Some((zone, self.live(zone)?)))
    }
}

/// What the authority decided. The record is to be stored, durably if it changed, before the
/// message is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The record from now on.
    pub record: Record,
    /// What to tell whom.
    pub send: Option<(ZoneId, Message)>,
    /// How the pending handoff ended, if it did.
    pub ended: Option<Ended>,
}

/// How a handoff ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The target owns the session; the former owner may be released.
    Committed {
        /// Who owned it before.
        former: ZoneId,
    },
    /// The session goes on where it was, or at an heir, one epoch above the one granted.
    TakenBack,
}

/// Why an event does not apply to a record. Late and repeated messages end here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Another handoff or claim is pending.
    #[error("another handoff or claim is pending")]
    Busy,
    /// The directive is not higher than the last.
    #[error("the directive is not above the last one issued")]
    OldDirective,
    /// Source or target has no live gate, or they are the same.
    #[error("source or target has no live gate, or they are one")]
    NoGate,
    /// It is about a handoff, a life or an epoch that is not pending.
    #[error("it is not about what is pending")]
    NotPending,
}

impl Record {
    /// A session owned by a live gate that knows it.
    #[must_use]
    pub const fn settled(owner: ZoneId, incarnation: Incarnation, epoch: Epoch) -> Self {
        Self { owner, incarnation, epoch, last: DirectiveId(0), pending: Pending::Settled }
    }

    /// Takes the step that `event` asks for.
    ///
    /// # Errors
    /// [`Rejected`] if it does not apply; the record stays as it is.
    pub fn next(self, event: Event, lives: Lives<'_>) -> Result<Decision, Rejected> {
        match event {
            Event::Prepare { directive, to } => self.prepare(directive, to, lives),
            Event::Activated { directive, incarnation } => {
                self.activated(directive, incarnation, lives)
            }
            Event::Fenced { directive, incarnation } => match self.pending {
                Pending::Handoff { to_incarnation, epoch, .. }
                    if (self.last, to_incarnation) == (directive, incarnation) =>
                {
                    Ok(self.take_back(epoch, lives))
                }
                _ => Err(Rejected::NotPending),
            },
            Event::Owned { incarnation, epoch } => match self.pending {
                Pending::Claim { .. } if (self.incarnation, self.epoch) == (incarnation, epoch) => {
                    Ok(Decision::of(Self { pending: Pending::Settled, ..self }))
                }
                _ => Err(Rejected::NotPending),
            },
            Event::Review => Ok(self.review(lives)),
        }
    }

    fn prepare(
        self,
        directive: DirectiveId,
        to: ZoneId,
        lives: Lives<'_>,
    ) -> Result<Decision, Rejected> {
        if self.pending != Pending::Settled {
            return Err(Rejected::Busy);
        }
        if directive <= self.last {
            return Err(Rejected::OldDirective);
        }
        let to_incarnation = lives.live(to).ok_or(Rejected::NoGate)?;
        if to == self.owner || !self.owner_lives(lives) {
            return Err(Rejected::NoGate);
        }
        let pending = Pending::Handoff { to, to_incarnation, epoch: self.epoch.next() };
        Ok(Decision::of(Self { last: directive, pending, ..self }))
    }

    fn activated(
        self,
        directive: DirectiveId,
        incarnation: Incarnation,
        lives: Lives<'_>,
    ) -> Result<Decision, Rejected> {
        match self.pending {
            // The word of a life already declared dead comes too late: its session was, or is
            // about to be, given to another.
            Pending::Handoff { to, to_incarnation, epoch }
                if (self.last, to_incarnation) == (directive, incarnation)
                    && lives.live(to) == Some(incarnation) =>
            {
                let record =
                    Self { owner: to, incarnation, epoch, pending: Pending::Settled, ..self };
                let ended = Some(Ended::Committed { former: self.owner });
                Ok(Decision { ended, ..Decision::of(record) })
            }
            _ => Err(Rejected::NotPending),
        }
    }

    fn review(self, lives: Lives<'_>) -> Decision {
        match self.pending {
            Pending::Handoff { to, to_incarnation, epoch } => {
                if lives.live(to) != Some(to_incarnation) {
                    return self.take_back(epoch, lives);
                }
                let query = Message::FenceQuery { directive: self.last, to_incarnation };
                Decision { send: Some((to, query)), ..Decision::of(self) }
            }
            _ if !self.owner_lives(lives) => self.give_to_heir(lives),
            Pending::Claim { from } => self.claim(from),
            Pending::Settled => Decision::of(self),
        }
    }

    /// Undoes the handoff that would have been at `granted`, given the target's promise or death.
    fn take_back(self, granted: Epoch, lives: Lives<'_>) -> Decision {
        let back = Self { epoch: granted, pending: Pending::Settled, ..self };
        let decision = if self.owner_lives(lives) {
            Self { epoch: granted.next(), ..back }.claim(StartFrom::Retained)
        } else {
            back.give_to_heir(lives)
        };
        Decision { ended: Some(Ended::TakenBack), ..decision }
    }

    /// Gives a session whose owner is dead to a live gate. With none alive it stays with the dead,
    /// which is as good as nobody, until a review finds one.
    fn give_to_heir(self, lives: Lives<'_>) -> Decision {
        let Some((owner, incarnation)) = lives.successor(self.owner) else {
            return Decision::of(self);
        };
        Self { owner, incarnation, epoch: self.epoch.next(), ..self }.claim(StartFrom::Store)
    }

    fn claim(self, from: StartFrom) -> Decision {
        let own = Message::Own {
            directive: self.last,
            incarnation: self.incarnation,
            epoch: self.epoch,
            from,
        };
        let record = Self { pending: Pending::Claim { from }, ..self };
        Decision { send: Some((self.owner, own)), ..Decision::of(record) }
    }

    fn owner_lives(&self, lives: Lives<'_>) -> bool {
        lives.live(self.owner) == Some(self.incarnation)
    }
}

impl Decision {
    const fn of(record: Record) -> Self {
        Self { record, send: None, ended: None }
    }
}

#[cfg(test)]
mod tests;
