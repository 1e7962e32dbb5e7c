//! A directive: the order to hand one session over. It is state in the table, not a call: it stays
//! until its outcome is known, so losing any message about it loses nothing.

use crate::{
    ids::{DirectiveId, Epoch, Incarnation, ZoneId},
    session_key::SessionKey,
};

/// The order to hand one session over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Directive {
    /// Names it, and the handoff.
    pub id: DirectiveId,
    /// The session.
    pub key: SessionKey,
    /// Where it lives when the directive is written.
    pub from: ZoneId,
    /// The life of the source's gate that is to carry it out; zero in solo. A later life must not
    /// touch the session before the directive is settled: this one may have granted it away.
    pub from_incarnation: Incarnation,
    /// Where it is to live.
    pub to: ZoneId,
    /// The life of the target's gate that may accept the grant; zero in solo, where source and
    /// target share one process and one life.
    pub to_incarnation: Incarnation,
    /// The epoch at which the target will own it: one above the session's epoch when written.
    pub epoch: Epoch,
    /// Why.
    pub reason: MoveReason,
    /// Where in the session's life it may be cut.
    pub cut: Cut,
}

/// Why a session is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MoveReason {
    /// An operator asked for this session.
    Operator,
    /// Its zone is being emptied.
    Drain,
    /// Another zone is nearer its user.
    Latency,
    /// Another zone is cheaper for the same latency.
    Cost,
    /// Its zone is over capacity.
    Capacity,
}

impl MoveReason {
    /// Every reason, in the order of their wire numbers.
    pub const ALL: [Self; 5] =
        [Self::Operator, Self::Drain, Self::Latency, Self::Cost, Self::Capacity];

    /// The word for people and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Drain => "drain",
            Self::Latency => "latency",
            Self::Cost => "cost",
            Self::Capacity => "capacity",
        }
    }
}

/// Where in the session's life a handoff may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cut {
    /// In an idle gap; after the policy's patience, anywhere.
    #[default]
    IdleGap,
    /// At once: the zone is going away.
    Now,
}
