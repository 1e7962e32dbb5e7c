//! What two gates say to each other on the handoff link: one stream a handoff, frames in order.
//! A frame is a small head, bounded and checked like every message, and the bytes it announces
//! follow it raw, so that sixteen megabytes of state are never copied into a message.

use prost::Message as _;

use crate::{
    codec::{InvalidField, invalid, key, key_to_bytes, record, require, text},
    ids::{DirectiveId, Epoch, Incarnation, Version},
    limits::{DETAIL_BYTES_MAX, LINK_HEAD_BYTES_MAX, NAME_BYTES_MAX},
    proto::{self, link_frame::Body},
    record::UndoneReason,
    session_key::SessionKey,
};

mod cession;

/// The protocol that this build speaks on the link; the TLS handshake agrees on it (ALPN).
pub const PROTOCOL: &[u8] = b"homing-handoff/1";

/// One frame's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFrame {
    /// Source to target, first on a stream: whose handoff this is.
    Open(Box<Open>),
    /// Source to target: keep this copy; its bytes follow.
    Stage(Payload),
    /// Target to source: the copy is kept.
    StageAck {
        /// The version of the state that is kept.
        version: u64,
        /// The 95th percentile of the target's requests of late, microseconds; 0 for none.
        p95_us: u32,
    },
    /// Target to source: it cannot be.
    Refused {
        /// Why.
        why: UndoneReason,
        /// The fault in words.
        detail: String,
    },
    /// Source to target: the session is yours. The last copy and the dedup window follow.
    Grant {
        /// The last copy.
        payload: Payload,
        /// Bytes of the dedup window, which follow the copy's.
        window_bytes: u32,
    },
    /// Target to source: taken over.
    GrantAck {
        /// From the grant's arrival to the first request that may run, microseconds.
        applied_us: u32,
    },
    /// Owner to keeper, first on a stream: whose replica this is.
    Mirror(Box<Mirror>),
    /// Owner to keeper: what changed. The copy and the dedup window of the same instant follow.
    Replica {
        /// The copy; its versions are the store's.
        payload: Payload,
        /// Bytes of the dedup window, which follow the copy's.
        window_bytes: u32,
        /// The version it builds on, as the owner counts; 0 for a whole replica.
        since: u64,
        /// The version it leads to, likewise.
        version: u64,
    },
    /// Keeper to owner: what it has of the owner's epoch.
    Kept {
        /// The life that has it.
        incarnation: Incarnation,
        /// Up to which version, as the owner counts; 0 for nothing.
        version: u64,
    },
    /// Joined gate to a gate that was there before, first on a stream: what it wants.
    Cede(Box<Cede>),
    /// The answer: what has become of one session. Its dedup window follows.
    Cession(Box<Cession>),
    /// The answer to a page, after the sessions of it that were given.
    CededPage {
        /// Where the next page begins; `None` after the last.
        next: Option<u64>,
        /// Sessions of this page that are still there and that any other gate is drawn for.
        left: u64,
        /// The table by which that was judged.
        table: Version,
    },
}

/// What a gate that has joined a zone wants of one that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cede {
    /// The zone by name.
    pub zone: String,
    /// The name of the gate that asks.
    pub gate: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// The table in force there: whoever answers has one that is no older.
    pub table: Version,
    /// Of which sessions.
    pub of: CedeOf,
}

/// Which sessions are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CedeOf {
    /// This one.
    Session(SessionKey),
    /// All that can be given of the page that begins here.
    Page(u64),
}

/// What has become of a session that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cession {
    /// The session.
    pub key: SessionKey,
    /// What has become of it.
    pub kind: CessionKind,
    /// The table by which that was judged.
    pub table: Version,
}

impl Cession {
    /// Bytes of the dedup window that follow.
    #[must_use]
    pub fn window_bytes(&self) -> u32 {
        match &self.kind {
            CessionKind::Given(given) | CessionKind::GivenBefore(given) => given.window_bytes,
            _ => 0,
        }
    }
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CessionKind {
    /// It is the asker's from here on.
    Given(Given),
    /// As `Given`, by an earlier answer: repeated, because that one may have been lost.
    GivenBefore(Given),
    /// It is here and cannot be given now: its requests are to be sent here.
    Here,
    /// It went to another zone from here.
    Away {
        /// The zone by name.
        zone: String,
        /// The epoch at which it is owned there.
        epoch: Epoch,
    },
    /// Nothing is known of it here, and never will be.
    Absent,
}

/// A session that changes its gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The epoch at which it is owned: it stays as it was.
    pub epoch: Epoch,
    /// Whose service.
    pub tenant: String,
    /// The service's name.
    pub service: String,
    /// Where its client is; empty if nobody said so.
    pub place: String,
    /// Bytes of its dedup window, which follow.
    pub window_bytes: u32,
}

/// Whose replica a stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The session.
    pub key: SessionKey,
    /// The epoch it is owned at.
    pub epoch: Epoch,
    /// The owner's zone by name.
    pub from: String,
    /// The keeper's zone by name.
    pub to: String,
    /// Whose service.
    pub tenant: String,
    /// The service's name.
    pub service: String,
}

/// Whose handoff a stream carries. Zones and services go by name: the two gates may hold tables
/// of different versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The directive.
    pub directive: DirectiveId,
    /// The session.
    pub key: SessionKey,
    /// The only life that may take it over.
    pub to_incarnation: Incarnation,
    /// The epoch it would be owned at.
    pub epoch: Epoch,
    /// The source zone's name.
    pub from: String,
    /// The target zone's name.
    pub to: String,
    /// Whose service.
    pub tenant: String,
    /// The service's name.
    pub service: String,
    /// What the session fetched of late, as [`crate::prewarm::encode`] wrote it; empty for nothing.
    pub hot: bytes::Bytes,
}

/// What the bytes behind a head are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The version the copy builds on; 0 for a whole state.
    pub since: u64,
    /// The version it leads to.
    pub version: u64,
    /// Whether it is the whole state.
    pub whole: bool,
    /// Whether the session has any state; without, there are no bytes.
    pub present: bool,
    /// How many bytes follow.
    pub bytes: u64,
}

/// Why a frame was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// Longer than any head may be.
    #[error("a frame's head of {0} bytes, at most {LINK_HEAD_BYTES_MAX}")]
    TooLong(usize),
    /// Not a message.
    #[error("not a frame: {0}")]
    Damaged(#[from] prost::DecodeError),
    /// A field that cannot be.
    #[error(transparent)]
    Field(#[from] InvalidField),
}

impl LinkFrame {
    /// The head as bytes, its length (4 bytes, big-endian) first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = proto::LinkFrame { body: Some(self.body()) };
        let mut bytes = vec![0; 4];
        // Encoding into a vector cannot run out of room.
        let _ = message.encode(&mut bytes);
        let length = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// The length of a head from its first four bytes.
    ///
    /// # Errors
    /// It is longer than any head may be.
    pub fn length(prefix: [u8; 4]) -> Result<usize, LinkFault> {
        let length = u32::from_be_bytes(prefix) as usize;
        if length > LINK_HEAD_BYTES_MAX {
            return Err(LinkFault::TooLong(length));
        }
        Ok(length)
    }

    /// Reads a head, without its length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(head: &[u8]) -> Result<Self, LinkFault> {
        let message = proto::LinkFrame::decode(head)?;
        Ok(match require("link_frame.body", message.body)? {
            Body::Open(open) => Self::Open(Box::new(open_from(open)?)),
            Body::Stage(payload) => Self::Stage(payload_from(payload)?),
            Body::StageAck(ack) => Self::StageAck { version: ack.version, p95_us: ack.p95_us },
            Body::Refused(refused) => Self::Refused {
                why: record::why(refused.why)?,
                detail: text("refused.detail", refused.detail, DETAIL_BYTES_MAX)?,
            },
            Body::Grant(grant) => Self::Grant {
                payload: payload_from(require("grant.payload", grant.payload)?)?,
                window_bytes: grant.window_bytes,
            },
            Body::GrantAck(ack) => Self::GrantAck { applied_us: ack.applied_us },
            Body::Mirror(mirror) => Self::Mirror(Box::new(mirror_from(mirror)?)),
            Body::Replica(replica) => Self::Replica {
                payload: payload_from(require("replica.payload", replica.payload)?)?,
                window_bytes: replica.window_bytes,
                since: replica.since,
                version: replica.version,
            },
            Body::Kept(kept) => {
                Self::Kept { incarnation: Incarnation(kept.incarnation), version: kept.version }
            }
            Body::Cede(cede) => Self::Cede(Box::new(cession::cede_from(cede)?)),
            Body::Cession(cession) => Self::Cession(Box::new(cession::from_proto(cession)?)),
            Body::CededPage(page) => Self::CededPage {
                next: (page.next > 0).then_some(page.next),
                left: page.left,
                table: Version { term: page.term, n: page.n },
            },
        })
    }

    fn body(&self) -> Body {
        match self {
            Self::Open(open) => Body::Open(proto::LinkOpen {
                directive: open.directive.0,
                key: key_to_bytes(open.key),
                to_incarnation: open.to_incarnation.0,
                epoch: open.epoch.0,
                from: open.from.clone(),
                to: open.to.clone(),
                tenant: open.tenant.clone(),
                service: open.service.clone(),
                hot: open.hot.clone(),
            }),
            Self::Stage(payload) => Body::Stage(payload_to(*payload)),
            Self::StageAck { version, p95_us } => {
                Body::StageAck(proto::LinkStageAck { version: *version, p95_us: *p95_us })
            }
            Self::Refused { why, detail } => Body::Refused(proto::LinkRefused {
                why: record::why_to_proto(*why),
                detail: detail.clone(),
            }),
            Self::Grant { payload, window_bytes } => Body::Grant(proto::LinkGrant {
                payload: Some(payload_to(*payload)),
                window_bytes: *window_bytes,
            }),
            Self::GrantAck { applied_us } => {
                Body::GrantAck(proto::LinkGrantAck { applied_us: *applied_us })
            }
            Self::Mirror(mirror) => Body::Mirror(proto::LinkMirror {
                key: key_to_bytes(mirror.key),
                epoch: mirror.epoch.0,
                from: mirror.from.clone(),
                to: mirror.to.clone(),
                tenant: mirror.tenant.clone(),
                service: mirror.service.clone(),
            }),
            Self::Replica { payload, window_bytes, since, version } => {
                Body::Replica(proto::LinkReplica {
                    payload: Some(payload_to(*payload)),
                    window_bytes: *window_bytes,
                    since: *since,
                    version: *version,
                })
            }
            Self::Kept { incarnation, version } => {
                Body::Kept(proto::LinkKept { incarnation: incarnation.0, version: *version })
            }
            Self::Cede(cede) => Body::Cede(cession::cede_to(cede)),
            Self::Cession(cession) => Body::Cession(cession::to_proto(cession)),
            Self::CededPage { next, left, table: Version { term, n } } => {
                let (next, left) = (next.unwrap_or(0), *left);
                Body::CededPage(proto::LinkCededPage { next, left, term: *term, n: *n })
            }
        }
    }
}

fn open_from(open: proto::LinkOpen) -> Result<Open, InvalidField> {
    Ok(Open {
        directive: DirectiveId(open.directive),
        key: key("open.key", &open.key)?,
        to_incarnation: Incarnation(open.to_incarnation),
        epoch: Epoch(open.epoch),
        from: text("open.from", open.from, NAME_BYTES_MAX)?,
        to: text("open.to", open.to, NAME_BYTES_MAX)?,
        tenant: text("open.tenant", open.tenant, NAME_BYTES_MAX)?,
        service: text("open.service", open.service, NAME_BYTES_MAX)?,
        hot: open.hot,
    })
}

fn mirror_from(mirror: proto::LinkMirror) -> Result<Mirror, InvalidField> {
    Ok(Mirror {
        key: key("mirror.key", &mirror.key)?,
        epoch: Epoch(mirror.epoch),
        from: text("mirror.from", mirror.from, NAME_BYTES_MAX)?,
        to: text("mirror.to", mirror.to, NAME_BYTES_MAX)?,
        tenant: text("mirror.tenant", mirror.tenant, NAME_BYTES_MAX)?,
        service: text("mirror.service", mirror.service, NAME_BYTES_MAX)?,
    })
}

fn payload_to(payload: Payload) -> proto::LinkPayload {
    let Payload { since, version, whole, present, bytes } = payload;
    proto::LinkPayload { since, version, whole, present, bytes }
}

fn payload_from(payload: proto::LinkPayload) -> Result<Payload, InvalidField> {
    let proto::LinkPayload { since, version, whole, present, bytes } = payload;
    if !present && bytes > 0 {
        return Err(invalid("payload.bytes", "bytes of a state that is not there"));
    }
    Ok(Payload { since, version, whole, present, bytes })
}
