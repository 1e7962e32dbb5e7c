//! What proxy and control say to each other on the link. Plain values: the gRPC shells convert at
//! their socket with [`FromProxy::to_proto`] and its kin, and nothing behind them sees a message.

use bytes::Bytes;

use crate::{
    codec::{self, InvalidField},
    ids::{DirectiveId, Epoch, Incarnation, Version, ZoneId},
    proto,
    record::{Outcome, RecordBatch, UndoneReason},
    session_key::SessionKey,
    table::Sums,
};

/// From a proxy to control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromProxy {
    /// First on every stream.
    Hello(Hello),
    /// The table of that version is in force here.
    Ack {
        /// Its version.
        version: Version,
        /// Its digest, as computed here.
        digest: u64,
    },
    /// A table or delta was refused; the one before stays in force.
    Nack {
        /// The version refused.
        version: Version,
        /// Why.
        reason: NackReason,
        /// The fault in words.
        detail: String,
        /// What the table that stays in force sums to, if parts of another can mend it: one who
        /// sends this reads repairs.
        sums: Option<Box<Sums>>,
    },
    /// Records.
    Records(RecordBatch),
    /// The target of a handoff owns the session.
    Activated(Activated),
    /// The target will never accept the grant of this directive.
    Fenced {
        /// Which.
        directive: DirectiveId,
        /// The life that answers.
        incarnation: Incarnation,
    },
    /// What became of a directive; repeated until taken.
    Outcome(Outcome),
    /// A session this proxy homed by its own authority.
    Residence {
        /// The session.
        key: SessionKey,
        /// Where it lives now.
        zone: ZoneId,
        /// At which epoch.
        epoch: Epoch,
    },
    /// A gate asks for its lease to be renewed.
    Renew {
        /// Counts the gate's renewals; the answer repeats it.
        seq: u64,
    },
    /// A gate's life is to end by its own will.
    Leave {
        /// It has no session any more and acts no more. Before that: it asks that others be drawn
        /// for them.
        done: bool,
    },
    /// The source of a handoff does not get on and asks for it to be resolved.
    Stalled {
        /// Whose handoff.
        directive: DirectiveId,
        /// The session.
        key: SessionKey,
        /// Why.
        why: UndoneReason,
        /// The fault in words.
        detail: String,
    },
    /// A gate's answer to [`ToProxy::Own`].
    Owned {
        /// The session.
        key: SessionKey,
        /// The life that owns it.
        incarnation: Incarnation,
        /// The epoch it owns it at.
        epoch: Epoch,
    },
    /// The gate that owns a session has a replica of it in another zone.
    Heir(Heir),
}

/// Which zone has a replica of a session, and so takes it if its own zone dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heir {
    /// The session.
    pub key: SessionKey,
    /// The zone that owns it.
    pub zone: ZoneId,
    /// The epoch it owns it at.
    pub epoch: Epoch,
    /// Counts the words of one life at one epoch; the highest holds.
    pub seq: u64,
    /// The zone that has the replica.
    pub heir: ZoneId,
    /// The life of its gate that has it.
    pub heir_incarnation: Incarnation,
}

/// Who attaches, in which life, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The proxy's name, unique in the installation.
    pub proxy: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// The table it holds; 0.0 for none.
    pub holds: Version,
    /// That table's digest.
    pub digest: u64,
    /// The newest envelope format it reads.
    pub format: u16,
    /// What it guards, if it is a gate.
    pub gate: Option<GateHello>,
    /// The sums of the table it holds: one who sends them reads repairs.
    pub sums: Option<Box<Sums>>,
}

/// What a gate guards and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateHello {
    /// The zone's name.
    pub zone: String,
    /// Where edges reach it: `host:port`.
    pub http: String,
    /// Where other gates reach it for handoffs: `host:port`.
    pub link: String,
    /// The life before this one in the same locked state directory, which is thereby known to be
    /// over; zero if there was none.
    pub former: Incarnation,
}

/// The target of a handoff owns the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activated {
    /// Whose handoff.
    pub directive: DirectiveId,
    /// The session.
    pub key: SessionKey,
    /// The target.
    pub zone: ZoneId,
    /// The epoch it owns the session at.
    pub epoch: Epoch,
    /// The life it owns the session in.
    pub incarnation: Incarnation,
}

/// Why a table or delta was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NackReason {
    /// Damaged or not decodable.
    Corrupt,
    /// Its version is not above the one held.
    Older,
    /// A delta from a table not held: send a whole one.
    Gap,
    /// Content that cannot be.
    Invalid,
    /// A format this build does not read.
    Format,
}

impl NackReason {
    /// Every reason, in the order of their wire numbers.
    pub const ALL: [Self; 5] = [Self::Corrupt, Self::Older, Self::Gap, Self::Invalid, Self::Format];

    /// The word for people and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Older => "older",
            Self::Gap => "gap",
            Self::Invalid => "invalid",
            Self::Format => "format",
        }
    }
}

/// From control to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToProxy {
    /// A piece of a sealed table, delta or repair.
    Chunk(Chunk),
    /// Records up to this number are taken in.
    RecordsTaken {
        /// The highest number taken.
        seq: u64,
    },
    /// Answer once and for ever: activated, or fenced.
    FenceQuery {
        /// Which directive.
        directive: DirectiveId,
        /// The life asked.
        incarnation: Incarnation,
        /// The directive's session.
        key: SessionKey,
        /// The directive's target.
        zone: ZoneId,
    },
    /// Own this session from now on.
    Own {
        /// The session.
        key: SessionKey,
        /// The zone that is to own it.
        zone: ZoneId,
        /// The life that is to own it.
        incarnation: Incarnation,
        /// At which epoch.
        epoch: Epoch,
        /// Whether it resumes from the state it kept; else it starts empty or from a replica.
        keep: bool,
        /// The directive this resolves.
        directive: DirectiveId,
    },
    /// The handoff is committed: drop what is held below this epoch.
    Release {
        /// Whose handoff.
        directive: DirectiveId,
        /// The session.
        key: SessionKey,
        /// The epoch it is owned at elsewhere.
        epoch: Epoch,
    },
    /// The outcome is journalled; stop repeating it.
    OutcomeTaken {
        /// Whose.
        directive: DirectiveId,
    },
    /// The gate may act for so long, counted from when it sent the renewal.
    Lease {
        /// The renewal this answers.
        seq: u64,
        /// Who grants it: a lower term than one seen is void.
        term: u64,
        /// For how long.
        ms: u32,
    },
    /// The word of that number about a session's heir is stored.
    HeirKnown {
        /// The session.
        key: SessionKey,
        /// The epoch it was about.
        epoch: Epoch,
        /// Its number.
        seq: u64,
    },
}

/// A piece of a sealed table, delta or repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The version it leads to.
    pub version: Version,
    /// Which piece, from 0.
    pub index: u32,
    /// How many pieces there are.
    pub count: u32,
    /// The piece.
    pub bytes: Bytes,
}

impl FromProxy {
    /// For the socket.
    #[must_use]
    pub fn to_proto(&self) -> proto::FromProxy {
        codec::message::from_proxy_to_proto(self)
    }

    /// From the socket.
    ///
    /// # Errors
    /// Names the field that cannot be.
    pub fn from_proto(message: proto::FromProxy) -> Result<Self, InvalidField> {
        codec::message::from_proxy(message)
    }
}

impl ToProxy {
    /// For the socket.
    #[must_use]
    pub fn to_proto(&self) -> proto::ToProxy {
        codec::message::to_proxy_to_proto(self)
    }

    /// From the socket.
    ///
    /// # Errors
    /// Names the field that cannot be.
    pub fn from_proto(message: proto::ToProxy) -> Result<Self, InvalidField> {
        codec::message::to_proxy(message)
    }
}
