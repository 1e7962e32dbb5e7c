//! Who owns one session, as one gate sees it: a small `Copy` value and one total transition
//! function. Not simpler, because a grant is irrevocable, messages may be lost, repeated and
//! reordered, and lives end; each of those is a row of the table below and nothing else.
//!
//! ```text
//! as source
//!    ┌───── Thaw ─────┐
//!    ▼                │
//!  Owner ── Freeze ─► Frozen ── Grant ─► Granted ── GrantAck ─► Retired ── Release ─► Away(to)
//!    ▲                                      │                      │
//!    └───────────────── Own, at a higher epoch: taken back ────────┘
//!
//! as target
//!  Away ── Stage ─► Staged ── Activate ─► Owner         Activate only if the directive is not
//!    ▲                │                                 fenced, the grant names this life, the
//!    └── FenceQuery ──┘  fenced for good                lease is valid and the epoch is higher
//!
//! any ── Own, replacing ─► Owner      any ── Release, at a higher epoch ─► Away(to)
//! any ── LeaseLost ─► Away
//!
//! between the gates of one zone
//!  Owner ── Cede ─► Away(own zone) ── TakeBack ─► Owner      Cede only if nothing is in execution
//! ```
//!
//! A request is executed in `Owner` under a valid lease, waits in `Frozen` and `Granted`, and is
//! redirected from `Retired` and `Away(to)`. So a redirect always leads to a gate that has
//! already taken over, and the one that granted executes nothing until it is told to own again.
//!
//! Two numbers make late messages harmless. The *epoch* is the highest this gate has owned or
//! granted; nothing at or below it is accepted. The *mark* is the last directive this gate has
//! given its word on, and which word: activated here, or fenced, never to be activated here.

mod event;

use homing_wire::{DirectiveId, Epoch, ZoneId};

pub use event::{Event, Guard, Illegal, Reaction, Refusal, StartFrom};

/// A session's ownership at one gate. What it means is in the header of this file.
///
/// Must be kept for as long as a directive about the session may be under way, because the mark
/// is a promise; [`Self::may_forget`] says whether there is anything left to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ownership {
    tenure: Tenure,
    /// The epoch of `tenure`: executed at in `Owner` and `Frozen`, granted in `Granted` and
    /// `Retired`, of the last known owner in `Away` and `Staged`. The highest seen in all.
    epoch: Epoch,
    mark: Mark,
}

/// What a gate is to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tenure {
    /// Not here. `to` is the tombstone: where it went, if it went from here.
    Away {
        /// The zone it went to.
        to: Option<ZoneId>,
    },
    /// Not here, but a copy is being kept for a handoff to here.
    Staged {
        /// The handoff.
        directive: DirectiveId,
        /// The epoch at which it would be owned here.
        epoch: Epoch,
        /// The tombstone, as in `Away`.
        to: Option<ZoneId>,
    },
    /// Here: requests are executed while the lease is valid.
    Owner,
    /// Here, and about to be granted: requests wait.
    Frozen {
        /// The handoff.
        directive: DirectiveId,
    },
    /// Given away, not yet confirmed: requests wait, the state is retained.
    Granted {
        /// The handoff.
        directive: DirectiveId,
        /// Whom it was given to.
        to: ZoneId,
    },
    /// Given away and confirmed: requests are redirected, the state is retained.
    Retired {
        /// The handoff.
        directive: DirectiveId,
        /// Whom it was given to.
        to: ZoneId,
    },
}

/// The gate's irrevocable word on directives that name it as target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Mark {
    /// No directive up to this one is ever activated here again.
    through: DirectiveId,
    /// Whether that one was activated here.
    activated: bool,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Execute it, at this epoch.
    Execute {
        /// The epoch, for the app's own fence.
        epoch: Epoch,
    },
    /// Hold it until the ownership changes or its bound is reached.
    Park,
    /// It was not executed; that zone owns the session.
    Moved {
        /// The owner.
        zone: ZoneId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// It was not executed; this gate does not know who owns the session.
    NotOwner,
    /// It was not executed; this gate owns the session but may not act on it now.
    NoLease,
}

type Step = Result<(Ownership, Reaction), Refusal>;

impl Default for Ownership {
    fn default() -> Self {
        Self::away()
    }
}

impl Ownership {
    /// A session this gate knows nothing of. Every new life starts from here.
    #[must_use]
    pub const fn away() -> Self {
        Self::fresh(Tenure::Away { to: None }, Epoch(0))
    }

    /// A session that lives here since `epoch` by the placement table.
    #[must_use]
    pub const fn owner(epoch: Epoch) -> Self {
        Self::fresh(Tenure::Owner, epoch)
    }

    /// A session that lives in another zone since `epoch`.
    #[must_use]
    pub const fn moved(zone: ZoneId, epoch: Epoch) -> Self {
        Self::fresh(Tenure::Away { to: Some(zone) }, epoch)
    }

    const fn fresh(tenure: Tenure, epoch: Epoch) -> Self {
        Self { tenure, epoch, mark: Mark { through: DirectiveId(0), activated: false } }
    }

    /// What this gate is to the session.
    #[must_use]
    pub const fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// The highest epoch seen: executed at, granted, or that of the last known owner.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether tenure and epoch are the same: a step that only left a mark is of no concern to
    /// requests or to a handoff under way.
    #[must_use]
    pub fn same_tenure(&self, other: &Self) -> bool {
        (self.tenure, self.epoch) == (other.tenure, other.epoch)
    }

    /// Whether requests are executed or held here because the session lives here.
    #[must_use]
    pub const fn is_home(&self) -> bool {
        matches!(self.tenure, Tenure::Owner | Tenure::Frozen { .. })
    }

    /// Whether this life has state of the session that it may be told to go on from.
    #[must_use]
    pub const fn retains(&self) -> bool {
        !matches!(self.tenure, Tenure::Away { .. } | Tenure::Staged { .. })
    }

    /// Whether nothing would be lost by forgetting this, given that every directive through
    /// `settled` has left the table: no state, no copy, no promise that could still be tested.
    #[must_use]
    pub fn may_forget(&self, settled: DirectiveId) -> bool {
        matches!(self.tenure, Tenure::Away { .. }) && self.mark.through <= settled
    }

    /// What to do with a request that arrives now; `lease_valid` as in [`Guard`]. On the hot path:
    /// branches only.
    #[must_use]
    pub const fn admit(&self, lease_valid: bool) -> Verdict {
        match self.tenure {
            Tenure::Owner if lease_valid => Verdict::Execute { epoch: self.epoch },
            Tenure::Owner => Verdict::NoLease,
            Tenure::Frozen { .. } | Tenure::Granted { .. } => Verdict::Park,
            Tenure::Retired { to, .. }
            | Tenure::Away { to: Some(to) }
            | Tenure::Staged { to: Some(to), .. } => Verdict::Moved { zone: to, epoch: self.epoch },
            Tenure::Away { to: None } | Tenure::Staged { to: None, .. } => Verdict::NotOwner,
        }
    }

    /// Takes the step that `event` asks for, or refuses it.
    ///
    /// # Errors
    /// [`Illegal`] with the pair and the reason if the protocol has no such step from here. The
    /// caller counts it and drops the event: it is late, repeated, misdirected or a mistake.
    pub fn next(self, event: Event, guard: Guard) -> Result<(Self, Reaction), Illegal> {
        self.step(event, guard).map_err(|why| Illegal { at: self, event, why })
    }

    fn step(self, event: Event, guard: Guard) -> Step {
        match event {
            Event::Freeze { directive } => self.freeze(directive),
            Event::Thaw { directive } => self.thaw(directive),
            Event::Grant { directive, to, epoch } => self.grant(directive, to, epoch, guard),
            Event::GrantAck { directive } => self.retire(directive),

            Event::Stage { directive, to_incarnation, epoch } => {
                guard.require_life(to_incarnation)?;
                self.stage(directive, epoch)
            }
            Event::Activate { directive, to_incarnation, epoch } => {
                guard.require_life(to_incarnation)?;
                self.activate(directive, epoch, guard)
            }
            Event::FenceQuery { directive, to_incarnation } => {
                guard.require_life(to_incarnation)?;
                self.answer_for_good(directive)
            }

            Event::Own { directive, incarnation, epoch, from } => {
                guard.require_life(incarnation)?;
                self.own(directive, epoch, from)
            }
            Event::Release { to, epoch } => self.release(to, epoch),
            Event::Cede { zone } => self.cede(zone, guard),
            Event::TakeBack { zone } => self.take_back(zone),
            Event::LeaseLost => Ok((self.with(Tenure::Away { to: None }), Reaction::Dropped)),
        }
    }

    fn freeze(self, directive: DirectiveId) -> Step {
        match self.tenure {
            Tenure::Owner => {
                self.require_open(directive)?;
                Ok((self.with(Tenure::Frozen { directive }), Reaction::Frozen))
            }
            Tenure::Frozen { directive: m } if m == directive => Ok((self, Reaction::Frozen)),
            _ => Err(Refusal::OutOfPlace),
        }
    }

    fn thaw(self, directive: DirectiveId) -> Step {
        match self.tenure {
            Tenure::Frozen { directive: m } if m == directive => {
                Ok((self.with(Tenure::Owner), Reaction::Thawed))
            }
            Tenure::Owner => Ok((self, Reaction::Thawed)),
            _ => Err(Refusal::OutOfPlace),
        }
    }

    fn grant(self, directive: DirectiveId, to: ZoneId, epoch: Epoch, guard: Guard) -> Step {
        let granted = self.at(epoch, Tenure::Granted { directive, to });
        match self.tenure {
            Tenure::Frozen { directive: m } if m == directive => {
                self.require_open(directive)?;
                self.require_newer(epoch)?;
                guard.require_drained()?;
                Ok((granted, Reaction::Granted))
            }
            _ if granted == self => Ok((self, Reaction::Granted)),
            _ => Err(Refusal::OutOfPlace),
        }
    }

    fn retire(self, directive: DirectiveId) -> Step {
        match self.tenure {
            Tenure::Granted { directive: m, to } | Tenure::Retired { directive: m, to }
                if m == directive =>
            {
                Ok((self.with(Tenure::Retired { directive, to }), Reaction::Retired))
            }
            _ => Err(Refusal::OutOfPlace),
        }
    }

    fn stage(self, directive: DirectiveId, epoch: Epoch) -> Step {
        self.require_open(directive)?;
        self.require_newer(epoch)?;
        let to = match self.tenure {
            Tenure::Away { to } => to,
            Tenure::Staged { directive: m, to, .. } if m <= directive => to,
            // A later handoff brings the session back: what was retained of it is obsolete.
            Tenure::Granted { to, .. } | Tenure::Retired { to, .. } => Some(to),
            _ => return Err(Refusal::OutOfPlace),
        };
        Ok((self.with(Tenure::Staged { directive, epoch, to }), Reaction::Staged))
    }

    fn activate(self, directive: DirectiveId, epoch: Epoch, guard: Guard) -> Step {
        match self.tenure {
            _ if self.mark == Mark::activated(directive) => Ok((self, Reaction::Activated)),
            Tenure::Staged { directive: m, epoch: e, .. } if (m, e) == (directive, epoch) => {
                self.require_open(directive)?;
                self.require_newer(epoch)?;
                guard.require_lease()?;
                let owner = Self { tenure: Tenure::Owner, epoch, mark: Mark::activated(directive) };
                Ok((owner, Reaction::Activated))
            }
            _ => Err(Refusal::OutOfPlace),
        }
    }

    fn answer_for_good(self, directive: DirectiveId) -> Step {
        match self.tenure {
            _ if self.mark == Mark::activated(directive) => Ok((self, Reaction::Activated)),
            // A later directive was issued, so this one is settled and the question is late. The
            // word on it may have been the other one and is not remembered: say nothing.
            _ if directive < self.mark.through => Err(Refusal::Fenced),
            Tenure::Staged { directive: m, to, .. } if m <= directive => {
                Ok((self.with(Tenure::Away { to }).fenced(directive), Reaction::Fenced))
            }
            // Who granted it cannot promise that it is never activated.
            Tenure::Granted { directive: m, .. } | Tenure::Retired { directive: m, .. }
                if m == directive =>
            {
                Err(Refusal::OutOfPlace)
            }
            _ => Ok((self.fenced(directive), Reaction::Fenced)),
        }
    }

    fn own(self, directive: DirectiveId, epoch: Epoch, from: StartFrom) -> Step {
        if self.is_home() && epoch == self.epoch {
            return Ok((self, Reaction::Owns));
        }
        self.require_newer(epoch)?;
        if from == StartFrom::Retained && !self.retains() {
            return Err(Refusal::NothingRetained);
        }
        Ok((self.at(epoch, Tenure::Owner).fenced(directive), Reaction::Owns))
    }

    fn release(self, to: ZoneId, epoch: Epoch) -> Step {
        let obsolete = match self.tenure {
            Tenure::Owner | Tenure::Frozen { .. } => epoch > self.epoch,
            Tenure::Granted { .. } | Tenure::Retired { .. } | Tenure::Away { .. } => {
                epoch >= self.epoch
            }
            Tenure::Staged { epoch: staged, .. } => epoch > staged,
        };
        if !obsolete {
            return Err(Refusal::OldEpoch);
        }
        Ok((self.at(epoch, Tenure::Away { to: Some(to) }), Reaction::Dropped))
    }

    /// The epoch stays: it counts what the zone was granted, and that has not changed.
    fn cede(self, zone: ZoneId, guard: Guard) -> Step {
        match self.tenure {
            Tenure::Owner => {
                guard.require_drained()?;
                Ok((self.with(Tenure::Away { to: Some(zone) }), Reaction::Ceded))
            }
            Tenure::Away { to: Some(to) } if to == zone => Ok((self, Reaction::Ceded)),
            _ => Err(Refusal::OutOfPlace),
        }
    }

    fn take_back(self, zone: ZoneId) -> Step {
        match self.tenure {
            Tenure::Away { to: Some(to) } if to == zone => {
                Ok((self.with(Tenure::Owner), Reaction::Owns))
            }
            Tenure::Owner => Ok((self, Reaction::Owns)),
            _ => Err(Refusal::OutOfPlace),
        }
    }

    const fn with(self, tenure: Tenure) -> Self {
        Self { tenure, ..self }
    }

    const fn at(self, epoch: Epoch, tenure: Tenure) -> Self {
        Self { tenure, epoch, ..self }
    }

    /// Gives the word that nothing up to `directive` is activated here from now on.
    fn fenced(self, directive: DirectiveId) -> Self {
        if directive <= self.mark.through {
            return self;
        }
        Self { mark: Mark { through: directive, activated: false }, ..self }
    }

    fn require_open(self, directive: DirectiveId) -> Result<(), Refusal> {
        if directive > self.mark.through { Ok(()) } else { Err(Refusal::Fenced) }
    }

    fn require_newer(self, epoch: Epoch) -> Result<(), Refusal> {
        if epoch > self.epoch { Ok(()) } else { Err(Refusal::OldEpoch) }
    }
}

impl Mark {
    const fn activated(directive: DirectiveId) -> Self {
        Self { through: directive, activated: true }
    }
}

const _: () = assert!(size_of::<Ownership>() <= 56);

#[cfg(test)]
mod tests;
