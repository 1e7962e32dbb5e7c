//! How a zone is scaled: what is wanted for which reason, what its providers have, what they
//! answered of late, and how long they take.

use axum::{Json, extract::Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Problem, entry::View};
use crate::{
    clock,
    provider::Standing,
    scaling::{Note, Scaling},
};

/// How a zone is scaled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScalingBody {
    /// The zone.
    pub zone: String,
    /// One for each provider that the zone has; empty if it is not scaled.
    pub groups: Vec<ScalingGroupBody>,
}

/// How a zone's endpoints of one provider are scaled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScalingGroupBody {
    /// The service that they serve; absent if every service of the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `process` or `webhook`.
    pub provider: String,
    /// When this was decided; absent before the first round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Whether wishes are put to the provider (`act: on`) or only shown here (`act: shadow`).
    pub acts: bool,
    /// Endpoints that there should be.
    pub wanted: u32,
    /// Endpoints that serve.
    pub ready: u32,
    /// Endpoints that were asked for, and those that cannot be reached for the moment.
    pub under_way: u32,
    /// Endpoints that serve no more and are about to be given back.
    pub leaving: u32,
    /// `out`, `in`, `stay`, `capped` (more are needed than there may be), `unsound` (nothing can be
    /// decided from what is stated) or `unknown` (the document has no such zone or service).
    pub verdict: String,
    /// Why, in words and numbers.
    pub reason: String,
    /// The quantile of demand that is provided for.
    pub quantile: f64,
    /// The load that is provided for.
    pub load: f64,
    /// Its unit.
    pub unit: String,
    /// What the provider has.
    pub endpoints: Vec<ScalingEndpointBody>,
    /// From asking for an endpoint until control could reach it.
    pub lead_time: LeadTimeBody,
    /// What the provider answered to the last wishes, oldest first.
    pub answers: Vec<ScalingAnswerBody>,
    /// What happened of late, oldest first.
    pub news: Vec<ScalingNewsBody>,
}

/// One endpoint of a provider.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScalingEndpointBody {
    /// Where it is.
    pub address: String,
    /// `starting`, `ready` (and reached) or `unreachable` (said to be ready, and not reached).
    pub standing: String,
    /// What keeps it from being reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Lead times measured.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LeadTimeBody {
    /// Half took no longer, milliseconds; absent before the first.
    pub p50_ms: Option<u64>,
    /// Nine of ten took no longer, milliseconds; absent before the first.
    pub p90_ms: Option<u64>,
    /// How many were measured, of the latest 64.
    pub measured: u64,
}

/// What a provider answered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScalingAnswerBody {
    /// When it was asked.
    pub at: String,
    /// How many were wished for.
    pub wanted: u32,
    /// `offered`, `refused`, `counter_offer`, or `fault` if it could not be asked.
    pub answer: String,
    /// Why.
    pub reason: String,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScalingNewsBody {
    /// When.
    pub at: String,
    /// `event`, `fault`, `lost`, `never_came`, `over_delivered` or `kept`.
    pub kind: String,
    /// What, in words.
    pub words: String,
}

/// How a zone is scaled, as of its last round.
#[utoipa::path(get, path = "/v1/zones/{name}/scaling", tag = "zones",
    params(("name" = String, Path, description = "The zone's name")),
    responses((status = 200, body = ScalingBody), (status = 404, body = Problem)))]
pub async fn of_zone(
    View(api, scope): View,
    Path(name): Path<String>,
) -> Result<Json<ScalingBody>, Problem> {
    let facts = api.table().ok().map(|table| table.facts().clone());
    let groups: Vec<ScalingGroupBody> = {
        let scaling = api.shared.scaling.read();
        let seen = |one: &&Scaling| match &facts {
            Some(facts) => scope.sees_named(facts, one.service.as_deref()),
            None => scope.is_operator(),
        };
        scaling.iter().filter(|one| one.zone == name).filter(seen).map(body).collect()
    };
    let is_stated = facts.is_some_and(|facts| facts.zone_named(&name).is_some());
    if groups.is_empty() && !is_stated {
        return Err(Problem::not_found(format!("there is no zone {name:?}")));
    }
    Ok(Json(ScalingBody { zone: name, groups }))
}

fn body(of: &Scaling) -> ScalingGroupBody {
    let answer = |note: &Note| ScalingAnswerBody {
        at: clock::rfc3339(note.at_ms),
        wanted: note.wanted,
        answer: note.word.to_owned(),
        reason: note.words.clone(),
    };
    let news = |note: &Note| ScalingNewsBody {
        at: clock::rfc3339(note.at_ms),
        kind: note.word.to_owned(),
        words: note.words.clone(),
    };
    let [p50_ms, p90_ms] = of.lead_ms;
    ScalingGroupBody {
        service: of.service.clone(),
        provider: of.provider.to_owned(),
        at: (of.at_ms > 0).then(|| clock::rfc3339(of.at_ms)),
        acts: of.acts,
        wanted: of.wanted,
        ready: of.ready,
        under_way: of.under_way,
        leaving: of.leaving,
        verdict: of.verdict.to_owned(),
        reason: of.reason.clone(),
        quantile: of.quantile,
        load: of.load,
        unit: of.unit.to_owned(),
        endpoints: of.endpoints.iter().map(endpoint).collect(),
        lead_time: LeadTimeBody { p50_ms, p90_ms, measured: of.lead_times as u64 },
        answers: of.answers.iter().map(answer).collect(),
        news: of.news.iter().map(news).collect(),
    }
}

fn endpoint((address, standing): &(String, Standing)) -> ScalingEndpointBody {
    let (word, problem) = match standing {
        Standing::Starting => ("starting", None),
        Standing::Ready => ("ready", None),
        Standing::Unreachable(problem) => ("unreachable", Some(problem.clone())),
    };
    ScalingEndpointBody { address: address.clone(), standing: word.to_owned(), problem }
}
