//! What was unusual of late, with the evidence. Nothing is done about it: an operator looks, or
//! is told by a webhook (`alerts`).

use axum::{Json, extract::Query};
use homing_forecast::anomaly::Witness;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Problem, entry::View};
use crate::{
    clock,
    foresight::{Anomaly, Series, witness_name},
};

/// Which anomalies.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Since {
    /// Those after this one; the `next` of the last answer.
    pub after: Option<u64>,
    /// Only this zone's.
    pub zone: Option<String>,
}

/// Anomalies, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnomaliesBody {
    /// They.
    pub anomalies: Vec<AnomalyBody>,
    /// What to ask `after` next. Numbers begin anew with each process of control.
    pub next: u64,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnomalyBody {
    /// Its number.
    pub seq: u64,
    /// When the step began.
    pub at: String,
    /// The zone.
    pub zone: String,
    /// The service, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What of.
    pub resource: String,
    /// Its unit.
    pub unit: String,
    /// What was observed.
    pub observed: f64,
    /// What was expected, by whoever noticed most.
    pub expected: Option<f64>,
    /// From 0.5, an alarm, to 1.
    pub score: f64,
    /// Who noticed most.
    pub noticed_by: Option<String>,
    /// How surprised each witness was, as powers of ten.
    pub evidence: Vec<EvidenceBody>,
}

/// One witness.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EvidenceBody {
    /// `spike`, `level`, `shape` or `time of day`.
    pub witness: String,
    /// One in ten to this power is as strange.
    pub surprise: f64,
}

/// What was unusual: up to the last 1,000 steps of series.
#[utoipa::path(get, path = "/v1/anomalies", tag = "forecasts", params(Since),
    responses((status = 200, body = AnomaliesBody), (status = 400, body = Problem)))]
pub async fn list(
    View(api, scope): View,
    Query(since): Query<Since>,
) -> Result<Json<AnomaliesBody>, Problem> {
    let foresight = api.shared.foresight.read().clone();
    let after = since.after.unwrap_or(0);
    let facts = api.table().ok().map(|table| table.facts().clone());
    let seen = |series: &Series| match &facts {
        Some(facts) => scope.sees_named(facts, series.service.as_deref()),
        None => scope.is_operator(),
    };
    let seen = foresight.anomalies.iter().filter(|anomaly| seen(&anomaly.series));
    let seen: Vec<&Anomaly> = seen.collect();
    let wanted = |anomaly: &&&Anomaly| {
        anomaly.seq > after && since.zone.as_ref().is_none_or(|zone| *zone == anomaly.series.zone)
    };
    let anomalies = seen.iter().filter(wanted).map(|anomaly| body(anomaly)).collect();
    let next = seen.last().map_or(after, |last| last.seq.max(after));
    Ok(Json(AnomaliesBody { anomalies, next }))
}

/// An anomaly as it is told.
pub(crate) fn body(anomaly: &Anomaly) -> AnomalyBody {
    let Anomaly { seq, series, at_ms, verdict } = anomaly;
    let evidence = Witness::ALL.into_iter().zip(verdict.surprises);
    AnomalyBody {
        seq: *seq,
        at: clock::rfc3339(*at_ms),
        zone: series.zone.clone(),
        service: series.service.clone(),
        resource: series.resource.name().to_owned(),
        unit: series.resource.unit().to_owned(),
        observed: verdict.observed,
        expected: verdict.expected,
        score: verdict.score,
        noticed_by: verdict.witness.map(|witness| witness_name(witness).to_owned()),
        evidence: evidence
            .map(|(witness, surprise)| EvidenceBody {
                witness: witness_name(witness).to_owned(),
                surprise,
            })
            .collect(),
    }
}
