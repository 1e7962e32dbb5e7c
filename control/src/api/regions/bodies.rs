//! What is asked of a region, with what is answered: the JSON of scaling ahead of time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PredictAsked {
    /// How far to look: `30m`, 48 hours at most.
    pub horizon: String,
    /// Only tell. Otherwise the event is handed to the rounds, which then scale by it.
    #[serde(default = "yes")]
    pub dry_run: bool,
    /// What is expected that the past cannot tell of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_event: Option<EventAsked>,
    /// Only of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

fn yes() -> bool {
    true
}

/// An event that is expected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventAsked {
    /// What it is called.
    pub name: String,
    /// When it begins, RFC 3339.
    pub starts: String,
    /// When it ends, RFC 3339.
    pub ends: String,
    /// What demand is multiplied by, 1 to 100.
    pub multiplier: f64,
}

/// An event that the rounds scale by.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventBody {
    /// Its number; 0 if it was not handed over.
    pub id: u64,
    /// Of which service; absent if of every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it is called.
    pub name: String,
    /// When it begins.
    pub starts: String,
    /// When it ends, and is forgotten.
    pub ends: String,
    /// What demand is multiplied by.
    pub multiplier: f64,
    /// Who told of it.
    pub by: String,
}

/// Events of a region that are not over.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventsBody {
    /// They.
    pub events: Vec<EventBody>,
}

/// What would be scaled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PredictBody {
    /// The region.
    pub region: String,
    /// From when it is looked ahead.
    pub from: String,
    /// Until when.
    pub until: String,
    /// Whether this only tells.
    pub dry_run: bool,
    /// Whether the event was handed to the rounds.
    pub applied: bool,
    /// What that means, in words.
    pub note: String,
    /// The event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventBody>,
    /// Each zone and service that is scaled.
    pub groups: Vec<PredictedBody>,
}

/// One zone and service.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PredictedBody {
    /// The zone.
    pub zone: String,
    /// The service; absent if every one of the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `planned`; `no_forecast` (nothing fresh is foreseen); `no_round` (none was decided yet).
    pub outcome: String,
    /// Without a forecast, since when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Whether rounds act on it.
    pub acts: bool,
    /// Endpoints of the provider that are ready or under way.
    pub current: u32,
    /// Those of the document beside them.
    pub fixed: u32,
    /// Endpoints of the provider that the horizon needs at its height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
    /// Why.
    pub reason: String,
    /// What load is counted in.
    pub unit: String,
    /// From asking for an endpoint until it is ready, milliseconds.
    pub lead_time_ms: u64,
    /// What the present ones cost for an hour.
    pub cost_per_hour: f64,
    /// What the wanted ones would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted_cost_per_hour: Option<f64>,
    /// What is foreseen, the event in it.
    pub forecast: Vec<QuantilesBody>,
    /// The changes that rounds would make if it came true.
    pub steps: Vec<StepBody>,
}

/// What is foreseen for a stretch of time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QuantilesBody {
    /// When it begins.
    pub at: String,
    /// As often above as below.
    pub q50: f64,
    /// Nine of ten truths lie below.
    pub q90: f64,
    /// Thirty-nine of forty do.
    pub q975: f64,
}

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepBody {
    /// `scale`.
    pub kind: String,
    /// When it is asked for.
    pub at: String,
    /// When endpoints that are asked for then should be ready.
    pub ready_by: String,
    /// Endpoints before.
    pub before: u32,
    /// Endpoints wanted.
    pub wanted: u32,
    /// Why.
    pub reason: String,
    /// Whether rounds carry it out; otherwise it is only shown (`act: shadow`).
    pub carried_out: bool,
}
