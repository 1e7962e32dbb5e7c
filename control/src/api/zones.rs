//! Zones as they are: what the document states, how full they are, what they cost, and the
//! operator's word on whether they take sessions.

use axum::{
    Extension, Json,
    extract::{Path, Query},
    http::StatusCode,
};
use homing_wire::{Facts, Intake, PlacementTable, Zone, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::Caller,
    body::Body,
    documents::Options,
    entry::{Operator, Steward, View},
    problem::Problem,
};
use crate::{lead::Command, scope::Scope, shared::ZoneFigures};

/// Whether a zone takes sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntakeWord {
    /// Takes new sessions and handoffs.
    Open,
    /// Serves those that live there; they are handed over elsewhere.
    Draining,
    /// Serves nothing.
    Closed,
}

impl From<Intake> for IntakeWord {
    fn from(intake: Intake) -> Self {
        match intake {
            Intake::Open => Self::Open,
            Intake::Draining => Self::Draining,
            Intake::Closed => Self::Closed,
        }
    }
}

impl From<IntakeWord> for Intake {
    fn from(word: IntakeWord) -> Self {
        match word {
            IntakeWord::Open => Self::Open,
            IntakeWord::Draining => Self::Draining,
            IntakeWord::Closed => Self::Closed,
        }
    }
}

/// A zone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneBody {
    /// Its name.
    pub name: String,
    /// Its number in the table.
    pub id: u8,
    /// Whether it takes sessions.
    pub intake: IntakeWord,
    /// Who says so: `document`, `operator`, or `removed` if the document no longer names the zone.
    pub intake_by: String,
    /// Sessions that control knows to live there.
    pub sessions: u64,
    /// Sessions that proxies say live there, those control never heard of included.
    pub sessions_reported: u64,
    /// Sessions on their way in.
    pub inbound: u64,
    /// Sessions on their way out.
    pub outbound: u64,
    /// Sessions it can hold; absent if not stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_sessions: Option<u64>,
    /// Buckets it owns, of 65,536.
    pub buckets: u64,
    /// What one more session there costs the others, and how much longer its round trips are than
    /// stated by what moves brought; microseconds of latency a request.
    pub shadow_price_us: u32,
    /// Requests answered a second.
    pub requests_per_second: u64,
    /// Failures of the zone a second.
    pub errors_per_second: u64,
    /// Median time to the response head, microseconds.
    pub p50_us: u32,
    /// 99th percentile of it.
    pub p99_us: u32,
}

/// What everybody may know of a zone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneOutline {
    /// Its name.
    pub name: String,
    /// Its number in the table.
    pub id: u8,
    /// Whether it takes sessions.
    pub intake: IntakeWord,
}

/// A zone as the caller may see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ZoneSeen {
    /// By an operator.
    Whole(Box<ZoneBody>),
    /// By a tenant: what is counted there is of all tenants together.
    Outline(ZoneOutline),
}

/// All zones.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZonesBody {
    /// The zones, by their number.
    pub zones: Vec<ZoneSeen>,
}

/// What may be changed of a zone at run time.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZonePatch {
    /// Whether it takes sessions; holds until the document says otherwise.
    pub intake: IntakeWord,
}

/// How far a zone is from empty.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DrainBody {
    /// The zone.
    pub zone: String,
    /// Whether it takes sessions.
    pub intake: IntakeWord,
    /// `open` (not draining), `draining`, or `empty` (draining, and nothing known lives there).
    pub state: String,
    /// Known sessions that live there.
    pub sessions: u64,
    /// Of those, being handed over.
    pub under_way: u64,
    /// Buckets it still owns.
    pub buckets: u64,
}

/// All zones.
#[utoipa::path(get, path = "/v1/zones", tag = "zones", responses(
    (status = 200, body = ZonesBody), (status = 404, body = Problem)))]
pub async fn list(View(api, scope): View) -> Result<Json<ZonesBody>, Problem> {
    let table = api.table()?;
    let zones = 0..table.facts().zones.len();
    let zones = zones.map(|index| seen(&api, &scope, &table, index)).collect();
    Ok(Json(ZonesBody { zones }))
}

/// One zone.
#[utoipa::path(get, path = "/v1/zones/{name}", tag = "zones",
    params(("name" = String, Path, description = "The zone's name")),
    responses((status = 200, body = ZoneSeen), (status = 404, body = Problem)))]
pub async fn get(
    View(api, scope): View,
    Path(name): Path<String>,
) -> Result<Json<ZoneSeen>, Problem> {
    let table = api.table()?;
    let id = find(table.facts(), &name)?;
    Ok(Json(seen(&api, &scope, &table, id.index())))
}

/// Changes whether a zone takes sessions.
#[utoipa::path(patch, path = "/v1/zones/{name}", tag = "zones", request_body = ZonePatch,
    params(("name" = String, Path, description = "The zone's name"), Options),
    responses((status = 200, body = ZoneBody), (status = 404, body = Problem)))]
pub async fn patch(
    Steward(api): Steward,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    Body(patch): Body<ZonePatch>,
) -> Result<Json<ZoneBody>, Problem> {
    set_intake(&api, &caller, &name, patch.intake.into(), options).await?;
    let table = api.table()?;
    let id = find(table.facts(), &name)?;
    let mut zone = body(&api, &table, id.index());
    if options.dry_run {
        zone.intake = patch.intake;
    }
    Ok(Json(zone))
}

/// Empties a zone: it takes no more sessions, and those that live there are handed over.
#[utoipa::path(post, path = "/v1/zones/{name}/drain", tag = "zones",
    params(("name" = String, Path, description = "The zone's name"), Options),
    responses((status = 202, body = DrainBody), (status = 404, body = Problem)))]
pub async fn drain(
    Steward(api): Steward,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(options): Query<Options>,
) -> Result<(StatusCode, Json<DrainBody>), Problem> {
    set_intake(&api, &caller, &name, Intake::Draining, options).await?;
    Ok((StatusCode::ACCEPTED, Json(drain_body(&api, &name)?)))
}

/// How far a zone is from empty.
#[utoipa::path(get, path = "/v1/zones/{name}/drain", tag = "zones",
    params(("name" = String, Path, description = "The zone's name")),
    responses((status = 200, body = DrainBody), (status = 404, body = Problem)))]
pub async fn drain_progress(
    Operator(api): Operator,
    Path(name): Path<String>,
) -> Result<Json<DrainBody>, Problem> {
    Ok(Json(drain_body(&api, &name)?))
}

/// Opens a zone again.
#[utoipa::path(post, path = "/v1/zones/{name}/open", tag = "zones",
    params(("name" = String, Path, description = "The zone's name"), Options),
    responses((status = 200, body = DrainBody), (status = 404, body = Problem)))]
pub async fn open(
    Steward(api): Steward,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(options): Query<Options>,
) -> Result<Json<DrainBody>, Problem> {
    set_intake(&api, &caller, &name, Intake::Open, options).await?;
    Ok(Json(drain_body(&api, &name)?))
}

async fn set_intake(
    api: &Api,
    caller: &Caller,
    zone: &str,
    intake: Intake,
    options: Options,
) -> Result<(), Problem> {
    let unknown = || Problem::not_found(format!("the document names no zone {zone:?}"));
    if options.dry_run {
        let document = api.shared.document.read().clone();
        let known = document.is_some_and(|d| d.document.zones.iter().any(|z| z.name == zone));
        return if known { Ok(()) } else { Err(unknown()) };
    }
    let name = zone.to_owned();
    let asked = |reply| Command::Intake { zone: name, intake, reply };
    if !api.lead.ask(asked).await? {
        return Err(unknown());
    }
    tracing::info!(target: "audit", by = caller.0, zone, ?intake, "set a zone's intake");
    Ok(())
}

fn find(facts: &Facts, name: &str) -> Result<ZoneId, Problem> {
    let zone = facts.zone_named(name);
    zone.ok_or_else(|| Problem::not_found(format!("there is no zone {name:?}")))
}

fn buckets(table: &PlacementTable, zone: ZoneId) -> u64 {
    table.buckets().owned_by(zone).count() as u64
}

fn drain_body(api: &Api, name: &str) -> Result<DrainBody, Problem> {
    let table = api.table()?;
    let id = find(table.facts(), name)?;
    let figures = figures(api, id);
    let intake = table.facts().zones[id.index()].intake;
    let outbound = table.directives().values().filter(|d| d.from == id).count() as u64;
    let state = match intake {
        Intake::Open => "open",
        _ if figures.living == 0 && outbound == 0 => "empty",
        _ => "draining",
    };
    Ok(DrainBody {
        zone: name.to_owned(),
        intake: intake.into(),
        state: state.to_owned(),
        sessions: figures.living,
        under_way: outbound,
        buckets: buckets(&table, id),
    })
}

fn figures(api: &Api, zone: ZoneId) -> ZoneFigures {
    api.shared.zones.read().get(zone.index()).copied().unwrap_or_default()
}

fn seen(api: &Api, scope: &Scope, table: &PlacementTable, index: usize) -> ZoneSeen {
    let whole = body(api, table, index);
    if scope.is_operator() {
        return ZoneSeen::Whole(Box::new(whole));
    }
    let ZoneBody { name, id, intake, .. } = whole;
    ZoneSeen::Outline(ZoneOutline { name, id, intake })
}

fn body(api: &Api, table: &PlacementTable, index: usize) -> ZoneBody {
    let zone: &Zone = &table.facts().zones[index];
    let id = ZoneId(index as u8);
    let figures = figures(api, id);
    let document = api.shared.document.read().clone();
    let stated = document
        .as_ref()
        .and_then(|d| d.document.zones.iter().find(|stated| stated.name == zone.name));
    let intake_by = match stated {
        None => "removed",
        Some(stated) if stated.intake == zone.intake => "document",
        Some(_) => "operator",
    };
    ZoneBody {
        name: zone.name.clone(),
        id: id.0,
        intake: zone.intake.into(),
        intake_by: intake_by.to_owned(),
        sessions: figures.living,
        sessions_reported: figures.reported,
        inbound: figures.inbound,
        outbound: figures.outbound,
        capacity_sessions: Some(zone.capacity.sessions).filter(|sessions| *sessions > 0),
        buckets: buckets(table, id),
        shadow_price_us: zone.shadow_price_us,
        requests_per_second: figures.requests_per_second,
        errors_per_second: figures.errors_per_second,
        p50_us: figures.p50_us,
        p99_us: figures.p99_us,
    }
}
