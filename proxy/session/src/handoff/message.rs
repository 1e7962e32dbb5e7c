//! What the parties of a handoff say to each other about one session, whatever carries it: a
//! function call in a solo proxy, a stream between zones, a queue in the simulation. The carrier
//! adds the session key; everything here is small and may be lost, repeated or reordered.

use homing_wire::{Directive, DirectiveId, Epoch, Incarnation, UndoneReason, ZoneId};

use crate::gate::StartFrom;

/// A message about one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Authority to source: hand the session over as the directive says. The directive is in the
    /// table as well, so losing this loses nothing.
    Prepare(Directive),
    /// Source to target: keep this copy. The bytes travel with it.
    Stage {
        /// The handoff.
        directive: DirectiveId,
        /// The life it is meant for.
        to_incarnation: Incarnation,
        /// The epoch it would be owned at.
        epoch: Epoch,
        /// What the bytes are.
        copy: Copied,
    },
    /// Target to source: the copy is kept up to this version.
    StageAck {
        /// The handoff.
        directive: DirectiveId,
        /// The version of the state that is kept.
        version: u64,
    },
    /// Target to source: the copy cannot be kept.
    StageRefused {
        /// The handoff.
        directive: DirectiveId,
        /// Why.
        why: UndoneReason,
    },
    /// Source to target: the session is yours. The last delta and the dedup window travel with it.
    Grant {
        /// The handoff.
        directive: DirectiveId,
        /// The only life that may accept it.
        to_incarnation: Incarnation,
        /// The epoch to own it at.
        epoch: Epoch,
        /// What the last delta is.
        copy: Copied,
    },
    /// Target to source: taken over.
    GrantAck {
        /// The handoff.
        directive: DirectiveId,
    },
    /// Target to authority, irrevocable: the session is owned here by this directive.
    Activated {
        /// The handoff.
        directive: DirectiveId,
        /// The life that activated it.
        incarnation: Incarnation,
    },
    /// Target to authority, irrevocable: this life will never activate the directive.
    Fenced {
        /// The handoff.
        directive: DirectiveId,
        /// The life that promises it.
        incarnation: Incarnation,
    },
    /// Source to authority: this handoff does not get on; please resolve it.
    Stalled {
        /// The handoff.
        directive: DirectiveId,
        /// Why.
        why: UndoneReason,
    },
    /// Authority to target: activated, or never to be?
    FenceQuery {
        /// The handoff.
        directive: DirectiveId,
        /// The life that is asked.
        to_incarnation: Incarnation,
    },
    /// Authority to a gate: own the session.
    Own {
        /// The last directive issued for it; it and all before are over.
        directive: DirectiveId,
        /// The life that is to own it.
        incarnation: Incarnation,
        /// The epoch to own it at.
        epoch: Epoch,
        /// What to start from.
        from: StartFrom,
    },
    /// A gate to the authority: it owns the session.
    Owned {
        /// The life that owns it.
        incarnation: Incarnation,
        /// The epoch it owns it at.
        epoch: Epoch,
    },
    /// Authority to a former owner or target: what is held below this epoch may go.
    Release {
        /// The owner.
        to: ZoneId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// A gate to an edge: the request was not executed, that zone owns the session.
    Moved {
        /// The owner.
        zone: ZoneId,
        /// Its epoch.
        epoch: Epoch,
    },
}

/// One export of a session's state: the whole of it, or what changed since an earlier version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Copied {
    /// The version it builds on; 0 for the whole state.
    pub since: u64,
    /// The version it leads to.
    pub version: u64,
    /// Its size.
    pub bytes: u64,
}
