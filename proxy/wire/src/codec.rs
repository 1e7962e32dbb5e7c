//! The one door between bytes and types: prost messages go no further than this module. Every
//! conversion inwards is checked and says which field of which message is wrong.

use crate::{
    directive::{Cut, Directive, MoveReason},
    envelope::{self, EnvelopeFault, Kind},
    ids::{DirectiveId, Epoch, Incarnation, Version, ZoneId},
    proto,
    session_key::SessionKey,
    table::{Home, TableFault, list},
};

pub(crate) mod delta;
pub(crate) mod facts;
pub(crate) mod message;
pub(crate) mod record;
pub(crate) mod repair;
pub(crate) mod table;

/// Why bytes are not what they claim to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// The frame is damaged or foreign.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The frame holds something else.
    #[error("a {found:?} where a {expected:?} was due")]
    Kind {
        /// What it holds.
        found: Kind,
        /// What was due.
        expected: Kind,
    },
    /// Not protobuf.
    #[error("not a protobuf message: {0}")]
    Protobuf(String),
    /// A field cannot be.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// The table cannot be sealed.
    #[error("{}", list(.0))]
    Table(Vec<TableFault>),
    /// The table does not sum to what its author says.
    #[error("digest {found:016x}, its author says {expected:016x}")]
    Digest {
        /// What it sums to.
        found: u64,
        /// What it was sent with.
        expected: u64,
    },
}

/// A field that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidField {
    /// `message.field`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> InvalidField {
    InvalidField { field, problem: problem.into() }
}

pub(crate) fn open_message<M: prost::Message + Default>(
    frame: &[u8],
    expected: Kind,
) -> Result<M, DecodeFault> {
    let (found, payload) = envelope::open(frame)?;
    if found != expected {
        return Err(DecodeFault::Kind { found, expected });
    }
    M::decode(payload).map_err(|error| DecodeFault::Protobuf(error.to_string()))
}

pub(crate) fn require<T>(field: &'static str, value: Option<T>) -> Result<T, InvalidField> {
    value.ok_or_else(|| invalid(field, "missing"))
}

/// Narrows a number to what its type holds.
pub(crate) fn narrow<T: TryFrom<u32>>(field: &'static str, value: u32) -> Result<T, InvalidField> {
    T::try_from(value).map_err(|_| invalid(field, format!("{value} is too large")))
}

/// Looks a wire number up in a list of variants whose index it is.
pub(crate) fn variant<T: Copy>(
    field: &'static str,
    all: &[T],
    number: u32,
) -> Result<T, InvalidField> {
    all.get(number as usize)
        .copied()
        .ok_or_else(|| invalid(field, format!("unknown value {number}")))
}

/// The wire number of a variant: its index in the list of all.
pub(crate) fn number<T: PartialEq>(all: &[T], value: &T) -> u32 {
    all.iter().position(|candidate| candidate == value).unwrap_or_default() as u32
}

pub(crate) fn bounded<T>(
    field: &'static str,
    items: Vec<T>,
    max: usize,
) -> Result<Vec<T>, InvalidField> {
    if items.len() > max {
        return Err(invalid(field, format!("{} items, at most {max}", items.len())));
    }
    Ok(items)
}

pub(crate) fn text(field: &'static str, value: String, max: usize) -> Result<String, InvalidField> {
    if value.len() > max {
        return Err(invalid(field, format!("{} bytes, at most {max}", value.len())));
    }
    Ok(value)
}

pub(crate) fn version_to_proto(version: Version) -> proto::Version {
    proto::Version { term: version.term, n: version.n }
}

pub(crate) fn version(
    field: &'static str,
    version: Option<proto::Version>,
) -> Result<Version, InvalidField> {
    let version = require(field, version)?;
    Ok(Version { term: version.term, n: version.n })
}

pub(crate) fn key_to_bytes(key: SessionKey) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&key.0.to_be_bytes())
}

pub(crate) fn key(field: &'static str, bytes: &[u8]) -> Result<SessionKey, InvalidField> {
    let bytes: [u8; 16] = bytes
        .try_into()
        .map_err(|_| invalid(field, format!("{} bytes, a session key has 16", bytes.len())))?;
    Ok(SessionKey(u128::from_be_bytes(bytes)))
}

pub(crate) fn zone(field: &'static str, number: u32) -> Result<ZoneId, InvalidField> {
    narrow(field, number).map(ZoneId)
}

pub(crate) fn exceptions_to_proto<'a>(
    homes: impl ExactSizeIterator<Item = (&'a SessionKey, &'a Home)>,
) -> proto::Exceptions {
    let mut keys = Vec::with_capacity(homes.len() * 16);
    let mut zones = Vec::with_capacity(homes.len());
    let mut epochs = Vec::with_capacity(homes.len());
    for (key, home) in homes {
        keys.extend_from_slice(&key.0.to_be_bytes());
        zones.push(home.zone.0);
        epochs.push(home.epoch.0);
    }
    proto::Exceptions { keys: keys.into(), zones: zones.into(), epochs }
}

pub(crate) fn exceptions(
    field: &'static str,
    arrays: Option<proto::Exceptions>,
) -> Result<Vec<(SessionKey, Home)>, InvalidField> {
    let arrays = arrays.unwrap_or_default();
    let (keys, rest) = arrays.keys.as_chunks::<16>();
    if !rest.is_empty() || keys.len() != arrays.zones.len() || keys.len() != arrays.epochs.len() {
        let problem = format!(
            "{} key bytes, {} zones, {} epochs do not match",
            arrays.keys.len(),
            arrays.zones.len(),
            arrays.epochs.len()
        );
        return Err(invalid(field, problem));
    }
    let homes = arrays.zones.iter().zip(&arrays.epochs);
    Ok(keys
        .iter()
        .zip(homes)
        .map(|(key, (zone, epoch))| {
            let home = Home { zone: ZoneId(*zone), epoch: Epoch(*epoch) };
            (SessionKey(u128::from_be_bytes(*key)), home)
        })
        .collect())
}

const CUTS: [Cut; 2] = [Cut::IdleGap, Cut::Now];

pub(crate) fn directive_to_proto(directive: &Directive) -> proto::Directive {
    proto::Directive {
        id: directive.id.0,
        key: key_to_bytes(directive.key),
        from: directive.from.0.into(),
        to: directive.to.0.into(),
        from_incarnation: directive.from_incarnation.0,
        to_incarnation: directive.to_incarnation.0,
        epoch: directive.epoch.0,
        reason: number(&MoveReason::ALL, &directive.reason),
        cut: number(&CUTS, &directive.cut),
    }
}

pub(crate) fn directive(message: proto::Directive) -> Result<Directive, InvalidField> {
    Ok(Directive {
        id: DirectiveId(message.id),
        key: key("directive.key", &message.key)?,
        from: zone("directive.from", message.from)?,
        to: zone("directive.to", message.to)?,
        from_incarnation: Incarnation(message.from_incarnation),
        to_incarnation: Incarnation(message.to_incarnation),
        epoch: Epoch(message.epoch),
        reason: variant("directive.reason", &MoveReason::ALL, message.reason)?,
        cut: variant("directive.cut", &CUTS, message.cut)?,
    })
}
