//! Records and outcomes to messages and back.

use super::{
    InvalidField, bounded, key, key_to_bytes, narrow, number, require, text, variant, zone,
};
use crate::{
    ids::{DirectiveId, Epoch, Incarnation, PlaceId, ServiceId, ZONES_MAX},
    limits::{ACTIVITIES_PER_BATCH_MAX, DETAIL_BYTES_MAX},
    proto::{self, outcome},
    record::{
        HandoffFigures, Outcome, OutcomeEnd, RecordBatch, SessionActivity, UndoneReason, ZoneSample,
    },
};

pub(crate) fn batch_to_proto(batch: &RecordBatch) -> proto::Records {
    proto::Records {
        incarnation: batch.incarnation.0,
        seq: batch.seq,
        closed_ms: batch.closed_ms,
        sessions: batch.sessions.iter().map(activity_to_proto).collect(),
        zones: batch.zones.iter().map(sample_to_proto).collect(),
    }
}

pub(crate) fn batch(message: proto::Records) -> Result<RecordBatch, InvalidField> {
    let sessions = bounded("records.sessions", message.sessions, ACTIVITIES_PER_BATCH_MAX)?;
    let zones = bounded("records.zones", message.zones, ZONES_MAX)?;
    Ok(RecordBatch {
        incarnation: Incarnation(message.incarnation),
        seq: message.seq,
        closed_ms: message.closed_ms,
        sessions: sessions.into_iter().map(activity).collect::<Result<_, _>>()?,
        zones: zones.into_iter().map(sample).collect::<Result<_, _>>()?,
    })
}

fn activity_to_proto(activity: &SessionActivity) -> proto::Activity {
    proto::Activity {
        key: key_to_bytes(activity.key),
        service: activity.service.0.into(),
        zone: activity.zone.0.into(),
        epoch: activity.epoch.0,
        place: activity.place.map(|place| place.0.into()),
        requests: activity.requests,
        bytes: activity.bytes,
        latency_us_sum: activity.latency_us_sum,
        last_seen_ms: activity.last_seen_ms,
    }
}

fn activity(message: proto::Activity) -> Result<SessionActivity, InvalidField> {
    Ok(SessionActivity {
        key: key("activity.key", &message.key)?,
        service: ServiceId(narrow("activity.service", message.service)?),
        zone: zone("activity.zone", message.zone)?,
        epoch: Epoch(message.epoch),
        place: message
            .place
            .map(|place| narrow("activity.place", place).map(PlaceId))
            .transpose()?,
        requests: message.requests,
        bytes: message.bytes,
        latency_us_sum: message.latency_us_sum,
        last_seen_ms: message.last_seen_ms,
    })
}

fn sample_to_proto(sample: &ZoneSample) -> proto::ZoneSample {
    proto::ZoneSample {
        zone: sample.zone.0.into(),
        sessions: sample.sessions,
        requests: sample.requests,
        errors: sample.errors,
        in_flight: sample.in_flight,
        p50_us: sample.p50_us,
        p99_us: sample.p99_us,
    }
}

fn sample(message: proto::ZoneSample) -> Result<ZoneSample, InvalidField> {
    Ok(ZoneSample {
        zone: zone("zone_sample.zone", message.zone)?,
        sessions: message.sessions,
        requests: message.requests,
        errors: message.errors,
        in_flight: message.in_flight,
        p50_us: message.p50_us,
        p99_us: message.p99_us,
    })
}

pub(crate) fn outcome_to_proto(value: &Outcome) -> proto::Outcome {
    let end = match &value.end {
        OutcomeEnd::Completed(figures) => outcome::End::Completed(proto::Figures {
            epoch: figures.epoch.0,
            pause_us: figures.pause_us,
            held: figures.held,
            state_bytes: figures.state_bytes,
            cut_bytes: figures.cut_bytes,
            rounds: figures.rounds.into(),
            total_us: figures.total_us,
        }),
        OutcomeEnd::Undone { why, detail } => {
            outcome::End::Undone(proto::Undone { why: why_to_proto(*why), detail: detail.clone() })
        }
    };
    proto::Outcome {
        directive: value.directive.0,
        key: key_to_bytes(value.key),
        at_ms: value.at_ms,
        end: Some(end),
    }
}

pub(crate) fn outcome(message: proto::Outcome) -> Result<Outcome, InvalidField> {
    let end = match require("outcome.end", message.end)? {
        outcome::End::Completed(figures) => OutcomeEnd::Completed(HandoffFigures {
            epoch: Epoch(figures.epoch),
            pause_us: figures.pause_us,
            held: figures.held,
            state_bytes: figures.state_bytes,
            cut_bytes: figures.cut_bytes,
            rounds: narrow("figures.rounds", figures.rounds)?,
            total_us: figures.total_us,
        }),
        outcome::End::Undone(undone) => OutcomeEnd::Undone {
            why: why(undone.why)?,
            detail: text("undone.detail", undone.detail, DETAIL_BYTES_MAX)?,
        },
    };
    Ok(Outcome {
        directive: DirectiveId(message.directive),
        key: key("outcome.key", &message.key)?,
        end,
        at_ms: message.at_ms,
    })
}

pub(crate) fn why_to_proto(why: UndoneReason) -> u32 {
    number(&UndoneReason::ALL, &why)
}

pub(crate) fn why(number: u32) -> Result<UndoneReason, InvalidField> {
    variant("undone.why", &UndoneReason::ALL, number)
}
