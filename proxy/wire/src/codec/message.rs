//! The link's messages to protobuf and back.

use super::{
    InvalidField, invalid, key, key_to_bytes, narrow, number, record, repair, require, text,
    variant, version, version_to_proto, zone,
};
use crate::{
    ids::{DirectiveId, Epoch, Incarnation},
    limits::{ADDRESS_BYTES_MAX, CHUNK_BYTES_MAX, DETAIL_BYTES_MAX, NAME_BYTES_MAX},
    message::{Activated, Chunk, FromProxy, GateHello, Heir, Hello, NackReason, ToProxy},
    proto::{self, from_proxy as up, to_proxy as down},
};

pub(crate) fn from_proxy_to_proto(message: &FromProxy) -> proto::FromProxy {
    let body = match message {
        FromProxy::Hello(hello) => up::Body::Hello(proto::Hello {
            proxy: hello.proxy.clone(),
            incarnation: hello.incarnation.0,
            holds: Some(version_to_proto(hello.holds)),
            digest: hello.digest,
            format: hello.format.into(),
            gate: hello.gate.as_ref().map(|gate| proto::GateHello {
                zone: gate.zone.clone(),
                http: gate.http.clone(),
                link: gate.link.clone(),
                former: gate.former.0,
            }),
            sums: hello.sums.as_deref().map(repair::sums_to_proto),
        }),
        FromProxy::Ack { version, digest } => {
            up::Body::Ack(proto::Ack { version: Some(version_to_proto(*version)), digest: *digest })
        }
        FromProxy::Nack { version, reason, detail, sums } => up::Body::Nack(proto::Nack {
            version: Some(version_to_proto(*version)),
            reason: number(&NackReason::ALL, reason),
            detail: detail.clone(),
            sums: sums.as_deref().map(repair::sums_to_proto),
        }),
        FromProxy::Records(batch) => up::Body::Records(record::batch_to_proto(batch)),
        FromProxy::Activated(activated) => up::Body::Activated(proto::Activated {
            directive: activated.directive.0,
            key: key_to_bytes(activated.key),
            zone: activated.zone.0.into(),
            epoch: activated.epoch.0,
            incarnation: activated.incarnation.0,
        }),
        FromProxy::Fenced { directive, incarnation } => {
            up::Body::Fenced(proto::Fenced { directive: directive.0, incarnation: incarnation.0 })
        }
        FromProxy::Outcome(outcome) => up::Body::Outcome(record::outcome_to_proto(outcome)),
        FromProxy::Residence { key, zone, epoch } => up::Body::Residence(proto::Residence {
            key: key_to_bytes(*key),
            zone: zone.0.into(),
            epoch: epoch.0,
        }),
        FromProxy::Leave { done } => up::Body::Leave(proto::Leave { done: *done }),
        FromProxy::Renew { seq } => up::Body::Renew(proto::Renew { seq: *seq }),
        FromProxy::Stalled { directive, key, why, detail } => up::Body::Stalled(proto::Stalled {
            directive: directive.0,
            key: key_to_bytes(*key),
            why: record::why_to_proto(*why),
            detail: detail.clone(),
        }),
        FromProxy::Owned { key, incarnation, epoch } => up::Body::Owned(proto::Owned {
            key: key_to_bytes(*key),
            incarnation: incarnation.0,
            epoch: epoch.0,
        }),
        FromProxy::Heir(heir) => up::Body::Heir(proto::Heir {
            key: key_to_bytes(heir.key),
            zone: heir.zone.0.into(),
            epoch: heir.epoch.0,
            seq: heir.seq,
            heir: heir.heir.0.into(),
            heir_incarnation: heir.heir_incarnation.0,
        }),
    };
    proto::FromProxy { body: Some(body) }
}

pub(crate) fn from_proxy(message: proto::FromProxy) -> Result<FromProxy, InvalidField> {
    Ok(match require("from_proxy.body", message.body)? {
        up::Body::Hello(hello) => FromProxy::Hello(Hello {
            proxy: text("hello.proxy", hello.proxy, NAME_BYTES_MAX)?,
            incarnation: Incarnation(hello.incarnation),
            holds: version("hello.holds", hello.holds)?,
            digest: hello.digest,
            format: narrow("hello.format", hello.format)?,
            gate: hello.gate.map(gate_hello).transpose()?,
            sums: repair::sums("hello.sums", hello.sums)?,
        }),
        up::Body::Ack(ack) => {
            FromProxy::Ack { version: version("ack.version", ack.version)?, digest: ack.digest }
        }
        up::Body::Nack(nack) => FromProxy::Nack {
            version: version("nack.version", nack.version)?,
            reason: variant("nack.reason", &NackReason::ALL, nack.reason)?,
            detail: text("nack.detail", nack.detail, DETAIL_BYTES_MAX)?,
            sums: repair::sums("nack.sums", nack.sums)?,
        },
        up::Body::Records(records) => FromProxy::Records(record::batch(records)?),
        up::Body::Activated(activated) => FromProxy::Activated(Activated {
            directive: DirectiveId(activated.directive),
            key: key("activated.key", &activated.key)?,
            zone: zone("activated.zone", activated.zone)?,
            epoch: Epoch(activated.epoch),
            incarnation: Incarnation(activated.incarnation),
        }),
        up::Body::Fenced(fenced) => FromProxy::Fenced {
            directive: DirectiveId(fenced.directive),
            incarnation: Incarnation(fenced.incarnation),
        },
        up::Body::Outcome(outcome) => FromProxy::Outcome(record::outcome(outcome)?),
        up::Body::Residence(residence) => FromProxy::Residence {
            key: key("residence.key", &residence.key)?,
            zone: zone("residence.zone", residence.zone)?,
            epoch: Epoch(residence.epoch),
        },
        up::Body::Leave(leave) => FromProxy::Leave { done: leave.done },
        up::Body::Renew(renew) => FromProxy::Renew { seq: renew.seq },
        up::Body::Stalled(stalled) => FromProxy::Stalled {
            directive: DirectiveId(stalled.directive),
            key: key("stalled.key", &stalled.key)?,
            why: record::why(stalled.why)?,
            detail: text("stalled.detail", stalled.detail, DETAIL_BYTES_MAX)?,
        },
        up::Body::Owned(owned) => FromProxy::Owned {
            key: key("owned.key", &owned.key)?,
            incarnation: Incarnation(owned.incarnation),
            epoch: Epoch(owned.epoch),
        },
        up::Body::Heir(heir) => FromProxy::Heir(Heir {
            key: key("heir.key", &heir.key)?,
            zone: zone("heir.zone", heir.zone)?,
            epoch: Epoch(heir.epoch),
            seq: heir.seq,
            heir: zone("heir.heir", heir.heir)?,
            heir_incarnation: Incarnation(heir.heir_incarnation),
        }),
    })
}

fn gate_hello(gate: proto::GateHello) -> Result<GateHello, InvalidField> {
    Ok(GateHello {
        zone: text("hello.gate.zone", gate.zone, NAME_BYTES_MAX)?,
        http: text("hello.gate.http", gate.http, ADDRESS_BYTES_MAX)?,
        link: text("hello.gate.link", gate.link, ADDRESS_BYTES_MAX)?,
        former: Incarnation(gate.former),
    })
}

pub(crate) fn to_proxy_to_proto(message: &ToProxy) -> proto::ToProxy {
    let body = match message {
        ToProxy::Chunk(chunk) => down::Body::Chunk(proto::Chunk {
            version: Some(version_to_proto(chunk.version)),
            index: chunk.index,
            count: chunk.count,
            bytes: chunk.bytes.clone(),
        }),
        ToProxy::RecordsTaken { seq } => {
            down::Body::RecordsTaken(proto::RecordsTaken { seq: *seq })
        }
        ToProxy::FenceQuery { directive, incarnation, key, zone } => {
            down::Body::FenceQuery(proto::FenceQuery {
                directive: directive.0,
                incarnation: incarnation.0,
                key: key_to_bytes(*key),
                zone: zone.0.into(),
            })
        }
        ToProxy::Own { key, zone, incarnation, epoch, keep, directive } => {
            down::Body::Own(proto::Own {
                key: key_to_bytes(*key),
                zone: zone.0.into(),
                incarnation: incarnation.0,
                epoch: epoch.0,
                keep: *keep,
                directive: directive.0,
            })
        }
        ToProxy::Release { directive, key, epoch } => down::Body::Release(proto::Release {
            directive: directive.0,
            key: key_to_bytes(*key),
            epoch: epoch.0,
        }),
        ToProxy::OutcomeTaken { directive } => {
            down::Body::OutcomeTaken(proto::OutcomeTaken { directive: directive.0 })
        }
        ToProxy::Lease { seq, term, ms } => {
            down::Body::Lease(proto::Lease { seq: *seq, term: *term, ms: *ms })
        }
        ToProxy::HeirKnown { key, epoch, seq } => down::Body::HeirKnown(proto::HeirKnown {
            key: key_to_bytes(*key),
            epoch: epoch.0,
            seq: *seq,
        }),
    };
    proto::ToProxy { body: Some(body) }
}

pub(crate) fn to_proxy(message: proto::ToProxy) -> Result<ToProxy, InvalidField> {
    Ok(match require("to_proxy.body", message.body)? {
        down::Body::Chunk(chunk) => {
            if chunk.bytes.len() > CHUNK_BYTES_MAX {
                return Err(invalid("chunk.bytes", format!("{} bytes", chunk.bytes.len())));
            }
            ToProxy::Chunk(Chunk {
                version: version("chunk.version", chunk.version)?,
                index: chunk.index,
                count: chunk.count,
                bytes: chunk.bytes,
            })
        }
        down::Body::RecordsTaken(taken) => ToProxy::RecordsTaken { seq: taken.seq },
        down::Body::FenceQuery(query) => ToProxy::FenceQuery {
            directive: DirectiveId(query.directive),
            incarnation: Incarnation(query.incarnation),
            key: key("fence_query.key", &query.key)?,
            zone: zone("fence_query.zone", query.zone)?,
        },
        down::Body::Own(own) => ToProxy::Own {
            key: key("own.key", &own.key)?,
            zone: zone("own.zone", own.zone)?,
            incarnation: Incarnation(own.incarnation),
            epoch: Epoch(own.epoch),
            keep: own.keep,
            directive: DirectiveId(own.directive),
        },
        down::Body::Release(release) => ToProxy::Release {
            directive: DirectiveId(release.directive),
            key: key("release.key", &release.key)?,
            epoch: Epoch(release.epoch),
        },
        down::Body::OutcomeTaken(taken) => {
            ToProxy::OutcomeTaken { directive: DirectiveId(taken.directive) }
        }
        down::Body::Lease(lease) => {
            ToProxy::Lease { seq: lease.seq, term: lease.term, ms: lease.ms }
        }
        down::Body::HeirKnown(known) => ToProxy::HeirKnown {
            key: key("heir_known.key", &known.key)?,
            epoch: Epoch(known.epoch),
            seq: known.seq,
        },
    })
}
