//! Whole tables to bytes and back, through the seal.

use bytes::Bytes;
use prost::Message as _;

use super::{
    DecodeFault, bounded, directive, directive_to_proto, exceptions, exceptions_to_proto, facts,
    invalid, open_message, require, version, version_to_proto,
};
use crate::{
    envelope::{self, Kind},
    limits::{DIRECTIVES_MAX, EXCEPTIONS_MAX},
    proto,
    table::{Buckets, PlacementTable, TableDraft},
};

pub(crate) fn encode(table: &PlacementTable) -> Bytes {
    let message = proto::Table {
        version: Some(version_to_proto(table.version())),
        created_ms: table.created_ms(),
        facts: Some(facts::to_proto(table.facts())),
        bucket_zones: Bytes::copy_from_slice(table.buckets().zones()),
        bucket_epochs: table.buckets().epochs().to_vec(),
        exceptions: Some(exceptions_to_proto(table.exceptions().iter())),
        directives: table.directives().values().map(directive_to_proto).collect(),
        digest: table.digest(),
    };
    envelope::seal(Kind::Table, &message.encode_to_vec())
}

pub(crate) fn decode(frame: &[u8]) -> Result<PlacementTable, DecodeFault> {
    let message: proto::Table = open_message(frame, Kind::Table)?;
    let buckets = Buckets::from_arrays(message.bucket_zones.to_vec(), message.bucket_epochs)
        .ok_or_else(|| invalid("table.bucket_zones", "not one owner and epoch for each bucket"))?;
    let homes = exceptions("table.exceptions", message.exceptions)?;
    let directives = bounded("table.directives", message.directives, DIRECTIVES_MAX)?
        .into_iter()
        .map(|message| directive(message).map(|directive| (directive.id, directive)));
    let draft = TableDraft {
        version: version("table.version", message.version)?,
        created_ms: message.created_ms,
        facts: facts::from_proto(require("table.facts", message.facts)?)?,
        buckets,
        exceptions: bounded("table.exceptions", homes, EXCEPTIONS_MAX)?.into_iter().collect(),
        directives: directives.collect::<Result<_, _>>()?,
    };
    let table = draft.seal().map_err(DecodeFault::Table)?;
    if table.digest() != message.digest {
        return Err(DecodeFault::Digest { found: table.digest(), expected: message.digest });
    }
    Ok(table)
}
