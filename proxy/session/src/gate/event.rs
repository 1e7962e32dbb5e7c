//! The words the gate's machine hears and says: events, what it must know at their instant, its
//! reactions and its refusals. Apart from the machine so that the machine reads in one piece.

use homing_wire::{DirectiveId, Epoch, Incarnation, ZoneId};

use super::Ownership;

/// What may happen to an ownership. Each is a message of the handoff or a step of this gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A copy for a handoff to here has arrived.
    Stage {
        /// The handoff.
        directive: DirectiveId,
        /// The life it is meant for.
        to_incarnation: Incarnation,
        /// The epoch it would be owned at.
        epoch: Epoch,
    },
    /// Stop executing, for a handoff from here.
    Freeze {
        /// The handoff.
        directive: DirectiveId,
    },
    /// Go on executing: the handoff could not be completed in time.
    Thaw {
        /// The handoff.
        directive: DirectiveId,
    },
    /// The grant is about to be sent. Irrevocable.
    Grant {
        /// The handoff.
        directive: DirectiveId,
        /// Whom to.
        to: ZoneId,
        /// The epoch granted.
        epoch: Epoch,
    },
    /// The grant has arrived and the state is in place.
    Activate {
        /// The handoff.
        directive: DirectiveId,
        /// The life the grant names.
        to_incarnation: Incarnation,
        /// The epoch granted.
        epoch: Epoch,
    },
    /// The target has confirmed the grant.
    GrantAck {
        /// The handoff.
        directive: DirectiveId,
    },
    /// The authority wants an irrevocable answer: activated here, or never to be.
    FenceQuery {
        /// The handoff.
        directive: DirectiveId,
        /// The life that is asked.
        to_incarnation: Incarnation,
    },
    /// The authority makes this gate the owner.
    Own {
        /// The last directive issued for the session; it and all before are fenced here.
        directive: DirectiveId,
        /// The life that is to own it.
        incarnation: Incarnation,
        /// The epoch to own it at.
        epoch: Epoch,
        /// What it is to start from.
        from: StartFrom,
    },
    /// The session is owned by `to` at `epoch`: nothing held below that epoch is wanted any more.
    Release {
        /// The owner.
        to: ZoneId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Give the session to another gate of this very zone, which was drawn for it.
    Cede {
        /// The zone.
        zone: ZoneId,
    },
    /// The gate that it was given to is over, and it is this gate's again.
    TakeBack {
        /// The zone.
        zone: ZoneId,
    },
    /// This life's lease is lost for good: it has been declared dead and holds nothing.
    LeaseLost,
}

/// What a gate that is made the owner starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartFrom {
    /// The state this very life has retained.
    Retained,
    /// Whatever the zone's store holds: a replica, or nothing.
    Store,
}

/// What the machine has to know about its gate at the instant of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The gate's present life.
    pub incarnation: Incarnation,
    /// Whether its lease, by its own clock, outlasts the longest execution it allows: what is
    /// admitted now must not end after it.
    pub lease_valid: bool,
    /// The session's requests in execution.
    pub in_flight: u32,
}

/// What has become true by an event. A repeated event has the same reaction, so that an answer
/// that was lost is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// A copy is kept.
    Staged,
    /// No request starts from here on.
    Frozen,
    /// Requests are executed again.
    Thawed,
    /// Nothing is executed here at or below the granted epoch, ever.
    Granted,
    /// This gate owns the session by this directive.
    Activated,
    /// The target is known to own it; requests may be redirected.
    Retired,
    /// This gate will never activate the directive; its copy may go.
    Fenced,
    /// This gate owns the session by the authority's word.
    Owns,
    /// The session is another gate's of this zone, at the epoch it had.
    Ceded,
    /// What was held of the session may go.
    Dropped,
}

/// Why an event was refused. Late and repeated messages end here as well as mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The event has no place in this tenure.
    #[error("it has no place in this tenure")]
    OutOfPlace,
    /// The epoch is not above the highest seen here.
    #[error("its epoch is not above the highest seen here")]
    OldEpoch,
    /// The directive is at or below the mark.
    #[error("its directive is fenced here")]
    Fenced,
    /// It is meant for another life of this gate.
    #[error("it is meant for another life")]
    OtherLife,
    /// The lease is not valid.
    #[error("the lease is not valid")]
    NoLease,
    /// Requests are still in execution.
    #[error("requests are still in execution")]
    InFlight,
    /// This life retains no state to go on from.
    #[error("no state is retained here")]
    NothingRetained,
}

/// An event that an ownership refuses. The ownership stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} refused at {at:?}: {why}")]
pub struct Illegal {
    /// The ownership.
    pub at: Ownership,
    /// The event.
    pub event: Event,
    /// Why.
    pub why: Refusal,
}

impl Guard {
    pub(super) fn require_life(self, meant: Incarnation) -> Result<(), Refusal> {
        if self.incarnation == meant { Ok(()) } else { Err(Refusal::OtherLife) }
    }

    pub(super) fn require_lease(self) -> Result<(), Refusal> {
        if self.lease_valid { Ok(()) } else { Err(Refusal::NoLease) }
    }

    pub(super) fn require_drained(self) -> Result<(), Refusal> {
        if self.in_flight == 0 { Ok(()) } else { Err(Refusal::InFlight) }
    }
}
