//! Repairs to bytes and back, with the sums that call for them. Whether a repair fits is found out
//! by the table it is taken into.

use bytes::Bytes;
use prost::Message as _;

use super::{
    DecodeFault, InvalidField, bounded, directive, directive_to_proto, exceptions,
    exceptions_to_proto, facts, invalid, open_message, version, version_to_proto,
};
use crate::{
    envelope::{self, Kind},
    limits::{DIRECTIVES_MAX, EXCEPTIONS_MAX},
    proto,
    repair::Repair,
    table::{Buckets, SEGMENTS, Sums, segment},
};

pub(crate) fn encode(repair: &Repair) -> Bytes {
    let homes = repair.exceptions.iter().map(|(key, home)| (key, home));
    let directives = repair
        .directives
        .as_ref()
        .map(|list| proto::Directives { list: list.iter().map(directive_to_proto).collect() });
    let buckets = repair.buckets.as_ref();
    let message = proto::Repair {
        version: Some(version_to_proto(repair.version)),
        created_ms: repair.created_ms,
        segments: Bytes::copy_from_slice(&repair.segments),
        exceptions: Some(exceptions_to_proto(homes)),
        facts: repair.facts.as_ref().map(facts::to_proto),
        bucket_zones: buckets.map(|b| Bytes::copy_from_slice(b.zones())).unwrap_or_default(),
        bucket_epochs: buckets.map(|b| b.epochs().to_vec()).unwrap_or_default(),
        directives,
        digest: repair.digest,
    };
    envelope::seal(Kind::Repair, &message.encode_to_vec())
}

pub(crate) fn decode(frame: &[u8]) -> Result<Repair, DecodeFault> {
    let message: proto::Repair = open_message(frame, Kind::Repair)?;
    let segments = message.segments.to_vec();
    if !segments.is_sorted_by(|a, b| a < b) {
        return Err(invalid("repair.segments", "not each once and in order").into());
    }
    let homes = exceptions("repair.exceptions", message.exceptions)?;
    let homes = bounded("repair.exceptions", homes, EXCEPTIONS_MAX)?;
    let strange = homes.iter().find(|(key, _)| segments.binary_search(&segment(*key)).is_err());
    if let Some((key, _)) = strange {
        let problem = format!("{key} is in no segment that is replaced");
        return Err(invalid("repair.exceptions", problem).into());
    }
    let buckets = match (message.bucket_zones.len(), message.bucket_epochs.len()) {
        (0, 0) => None,
        _ => Some(
            Buckets::from_arrays(message.bucket_zones.to_vec(), message.bucket_epochs).ok_or_else(
                || invalid("repair.bucket_zones", "not one owner and epoch for each bucket"),
            )?,
        ),
    };
    let directives = message.directives.map(|directives| {
        let list = bounded("repair.directives", directives.list, DIRECTIVES_MAX)?;
        list.into_iter().map(directive).collect::<Result<_, _>>()
    });
    Ok(Repair {
        version: version("repair.version", message.version)?,
        created_ms: message.created_ms,
        segments,
        exceptions: homes,
        facts: message.facts.map(facts::from_proto).transpose()?,
        buckets,
        directives: directives.transpose()?,
        digest: message.digest,
    })
}

pub(crate) fn sums_to_proto(sums: &Sums) -> proto::Sums {
    let segments: Vec<u8> = sums.segments.iter().flat_map(|sum| sum.to_be_bytes()).collect();
    proto::Sums {
        segments: segments.into(),
        facts: sums.facts,
        buckets: sums.buckets,
        directives: sums.directives,
    }
}

pub(crate) fn sums(
    field: &'static str,
    message: Option<proto::Sums>,
) -> Result<Option<Box<Sums>>, InvalidField> {
    let Some(message) = message else { return Ok(None) };
    let (words, rest) = message.segments.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
    let segments = match <[u64; SEGMENTS]>::try_from(words) {
        Ok(segments) if rest.is_empty() => segments,
        _ => {
            let found = message.segments.len();
            let due = SEGMENTS * size_of::<u64>();
            return Err(invalid(field, format!("{found} bytes of segments where {due} were due")));
        }
    };
    let (facts, buckets, directives) = (message.facts, message.buckets, message.directives);
    Ok(Some(Box::new(Sums { segments, facts, buckets, directives })))
}
