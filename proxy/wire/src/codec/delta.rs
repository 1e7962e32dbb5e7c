//! Deltas to bytes and back. What a delta says is checked against the table it is applied to.

use bytes::Bytes;
use prost::Message as _;

use super::{
    DecodeFault, InvalidField, bounded, directive, directive_to_proto, exceptions,
    exceptions_to_proto, facts, invalid, narrow, open_message, version, version_to_proto, zone,
};
use crate::{
    delta::{BucketRun, Delta},
    envelope::{self, Kind},
    ids::{BUCKETS, Bucket, DirectiveId, Epoch},
    limits::{DIRECTIVES_MAX, EXCEPTIONS_MAX},
    proto,
    session_key::SessionKey,
    table::Home,
};

pub(crate) fn encode(delta: &Delta) -> Bytes {
    let removed: Vec<u8> = delta.removed.iter().flat_map(|key| key.0.to_be_bytes()).collect();
    let message = proto::Delta {
        base: Some(version_to_proto(delta.base)),
        version: Some(version_to_proto(delta.version)),
        created_ms: delta.created_ms,
        facts: delta.facts.as_ref().map(facts::to_proto),
        buckets: delta.buckets.iter().map(run_to_proto).collect(),
        set: Some(exceptions_to_proto(delta.set.iter().map(|(key, home)| (key, home)))),
        removed: removed.into(),
        directives: delta.directives.iter().map(directive_to_proto).collect(),
        withdrawn: delta.withdrawn.iter().map(|id| id.0).collect(),
        digest: delta.digest,
    };
    envelope::seal(Kind::Delta, &message.encode_to_vec())
}

pub(crate) fn decode(frame: &[u8]) -> Result<Delta, DecodeFault> {
    let message: proto::Delta = open_message(frame, Kind::Delta)?;
    let (removed, rest) = message.removed.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(invalid("delta.removed", "not a whole number of session keys").into());
    }
    let set = exceptions("delta.set", message.set)?;
    let directives = bounded("delta.directives", message.directives, DIRECTIVES_MAX)?;
    let buckets = bounded("delta.buckets", message.buckets, BUCKETS)?;
    Ok(Delta {
        base: version("delta.base", message.base)?,
        version: version("delta.version", message.version)?,
        created_ms: message.created_ms,
        facts: message.facts.map(facts::from_proto).transpose()?,
        buckets: buckets.into_iter().map(run).collect::<Result<_, _>>()?,
        set: bounded("delta.set", set, EXCEPTIONS_MAX)?,
        removed: removed.iter().map(|key| SessionKey(u128::from_be_bytes(*key))).collect(),
        directives: directives.into_iter().map(directive).collect::<Result<_, _>>()?,
        withdrawn: message.withdrawn.into_iter().map(DirectiveId).collect(),
        digest: message.digest,
    })
}

fn run_to_proto(run: &BucketRun) -> proto::BucketRun {
    proto::BucketRun {
        first: run.first.0.into(),
        count: run.count,
        zone: run.home.zone.0.into(),
        epoch: run.home.epoch.0,
    }
}

fn run(message: proto::BucketRun) -> Result<BucketRun, InvalidField> {
    Ok(BucketRun {
        first: Bucket(narrow("delta.buckets.first", message.first)?),
        count: message.count,
        home: Home { zone: zone("delta.buckets.zone", message.zone)?, epoch: Epoch(message.epoch) },
    })
}
