//! One session: why it lives where it does, and moving it.

use axum::{
    Extension, Json,
    extract::{Path, Query},
    http::{HeaderMap, StatusCode},
};
use homing_plan::Terms;
use homing_wire::{Facts, SessionKey, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    affinity::{AffinityBody, affinity},
    auth::Caller,
    body::Body,
    documents::Options,
    entry::View,
    feedback::{BroughtBody, brought_body},
    problem::Problem,
};
use crate::{
    clock,
    lead::{Command, MoveAsked, WhySession},
    scope::Scope,
};

/// The longest idempotency key.
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// Why a session lives where it does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyBody {
    /// The session.
    pub session: String,
    /// Where it lives by the table.
    pub zone: String,
    /// At which epoch.
    pub epoch: u64,
    /// The zone that has a replica of it and takes it if its own is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heir: Option<String>,
    /// Whether control has heard of requests of it; if not, only the fields above speak.
    pub known: bool,
    /// What is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<WhyDetails>,
}

/// What is known of a session, and what its zones are worth to it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyDetails {
    /// Whether its home is an exception to its bucket.
    pub exceptional: bool,
    /// The directive that moves it, if one does.
    pub directive: Option<u64>,
    /// Its service.
    pub service: Option<String>,
    /// Where its client is.
    pub place: Option<String>,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Its last request, RFC 3339.
    pub last_seen: String,
    /// Since when it lives there, RFC 3339.
    pub since: String,
    /// Moves within the last hour.
    pub moves_this_hour: u8,
    /// What each zone is worth to it.
    pub zones: Vec<ZoneTermsBody>,
    /// How much it belongs to each zone.
    pub affinity: Vec<AffinityBody>,
    /// What earlier moves to each zone brought, the factor being the one for this session's place;
    /// told to operators only, for the moves are of all tenants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brought: Vec<BroughtBody>,
    /// The best other zone that would take it.
    pub best: Option<String>,
    /// What each request would gain there, microseconds; negative is a loss.
    pub gain_us: f64,
    /// Regret gathered, microseconds summed over requests.
    pub regret_us: f64,
    /// The regret that would pay for the move.
    pub regret_needed_us: f64,
    /// What keeps it: `no_gain`, `under_way`, `resting`, `regret`, `affinity`, `residence`,
    /// `flaps`, `no_room`, or nothing.
    pub held_back: Option<String>,
}

/// A zone as a session sees it. All terms are microseconds of latency a request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneTermsBody {
    /// The zone.
    pub zone: String,
    /// Round trip from its client's place, corrected by what earlier moves there brought.
    pub distance_us: f64,
    /// CPU and egress prices at the policy's exchange rate.
    pub price_us: f64,
    /// Shadow price of a place in the zone.
    pub capacity_us: f64,
    /// How much longer the zone takes to answer of late than the service's quickest.
    pub drag_us: f64,
    /// All of them.
    pub total_us: f64,
    /// Whether the zone takes sessions.
    pub open: bool,
    /// Whether it has room.
    pub room: bool,
}

/// Where to move a session.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveBody {
    /// The target's name.
    pub zone: String,
    /// Cut at once instead of waiting for an idle gap.
    #[serde(default)]
    pub now: bool,
}

/// A move that was issued.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MovingBody {
    /// The directive, to be asked for under `/v1/directives/{id}`; 0 for a dry run.
    pub directive: u64,
    /// The session.
    pub session: String,
    /// Where it lived.
    pub from: String,
    /// Where it is to live.
    pub to: String,
    /// The table that shows the directive.
    pub table_version: String,
    /// Whether this is the answer to an earlier request under the same idempotency key.
    pub repeated: bool,
}

/// Why a session lives where it does.
#[utoipa::path(get, path = "/v1/sessions/{key}/why", tag = "sessions",
    params(("key" = String, Path, description = "The session key, 32 hexadecimal digits")),
    responses((status = 200, body = WhyBody), (status = 400, body = Problem),
        (status = 404, description = "No document was taken yet, or none of the caller's tenants \
            has the session", body = Problem)))]
pub async fn why(
    View(api, scope): View,
    Path(key): Path<String>,
) -> Result<Json<WhyBody>, Problem> {
    let key = session_key(&key)?;
    let answer = api.lead.ask(|reply| Command::Why(key, reply)).await?;
    let answer = answer.ok_or_else(|| Problem::not_found("no document was taken yet"))?;
    let service = answer.known.as_ref().map(|(profile, _)| profile.service);
    if !service.map_or(scope.is_operator(), |service| scope.sees_id(&answer.facts, service)) {
        return Err(Problem::unheard_of());
    }
    Ok(Json(why_body(key, &answer, &scope)))
}

/// Moves a session. The answer comes when the directive is durable, not when it is carried out.
#[utoipa::path(post, path = "/v1/sessions/{key}/move", tag = "sessions", request_body = MoveBody,
    params(("key" = String, Path, description = "The session key, 32 hexadecimal digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "Asking twice under one key \
            moves once"), Options),
    responses(
        (status = 202, description = "Issued", body = MovingBody),
        (status = 200, description = "A dry run: it could be", body = MovingBody),
        (status = 400, body = Problem),
        (status = 404, description = "None of the caller's tenants has the session",
            body = Problem),
        (status = 409, description = "It lives there, is being moved, or the zone is not open",
            body = Problem),
        (status = 422, description = "No such zone, or the key was used for something else",
            body = Problem)))]
pub async fn move_session(
    View(api, scope): View,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    Body(body): Body<MoveBody>,
) -> Result<(StatusCode, Json<MovingBody>), Problem> {
    let key = session_key(&key)?;
    api.must_see(&scope, key).await?;
    let asked = MoveAsked {
        key,
        to: body.zone,
        now: body.now,
        idempotency: idempotency_key(&headers, &caller)?,
        dry_run: options.dry_run,
    };
    let moving = api.lead.ask(|reply| Command::Move(asked, reply)).await??;
    let table = api.table()?;
    let name = |zone: ZoneId| zone_name(table.facts(), zone);
    let answer = MovingBody {
        directive: moving.directive.0,
        session: key.to_string(),
        from: name(moving.from),
        to: name(moving.to),
        table_version: moving.version.to_string(),
        repeated: moving.repeated,
    };
    if options.dry_run {
        return Ok((StatusCode::OK, Json(answer)));
    }
    let (to, directive) = (&answer.to, answer.directive);
    let by = caller.0;
    tracing::info!(target: "audit", by, session = %key, to, directive, "moved a session");
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Keys of different callers never meet.
pub(super) fn idempotency_key(
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX {
        let words = format!("an idempotency key is 1 to {IDEMPOTENCY_KEY_MAX} visible characters");
        return Err(Problem::bad_request(words));
    }
    Ok(Some(format!("{}/{key}", caller.0)))
}

pub(super) fn session_key(text: &str) -> Result<SessionKey, Problem> {
    text.parse().map_err(|_| {
        Problem::bad_request(
            "a session key is 32 hexadecimal digits; ask a proxy's /why for the key of a request",
        )
    })
}

/// A zone's name, or its number where the table has moved on.
pub(super) fn zone_name(facts: &Facts, zone: ZoneId) -> String {
    let named = facts.zones.get(zone.index()).map(|zone| zone.name.clone());
    named.unwrap_or_else(|| format!("zone-{zone}"))
}

fn why_body(key: SessionKey, why: &WhySession, scope: &Scope) -> WhyBody {
    let facts = &why.facts;
    let name = |zone: ZoneId| zone_name(facts, zone);
    let details = why.known.as_ref().map(|(profile, told)| {
        let zone = |zone: &homing_plan::plan::ZoneTerms| {
            terms_body(name(zone.zone), &zone.terms, zone.open, zone.room)
        };
        let brought = |zone: &homing_plan::plan::ZoneTerms| {
            Some(brought_body(facts, zone.zone, zone.brought.as_ref()?))
        };
        let told_to = scope.is_operator();
        WhyDetails {
            exceptional: told.exceptional,
            directive: told.directive.map(|directive| directive.0),
            service: facts.services.get(profile.service.index()).map(|s| s.name.clone()),
            place: profile
                .place
                .and_then(|place| facts.places.get(place.index()))
                .map(|place| place.name.clone()),
            requests_per_second: told.why.rate,
            last_seen: clock::rfc3339(profile.last_seen_ms),
            since: clock::rfc3339(profile.entered_ms),
            moves_this_hour: told.moves_this_hour,
            zones: told.zones.iter().map(zone).collect(),
            affinity: affinity(&told.zones, name),
            brought: told.zones.iter().filter(|_| told_to).filter_map(brought).collect(),
            best: told.best.map(name),
            gain_us: told.best.map_or(0.0, |_| told.why.gain_us()),
            regret_us: told.why.regret_us,
            regret_needed_us: told.needed_us,
            held_back: told.held_back.map(|held| held.name().to_owned()),
        }
    });
    WhyBody {
        session: key.to_string(),
        zone: name(why.home.zone),
        epoch: why.home.epoch.0,
        heir: why.heir.map(name),
        known: details.is_some(),
        details,
    }
}

/// The terms of one zone.
pub(super) fn terms_body(zone: String, terms: &Terms, open: bool, room: bool) -> ZoneTermsBody {
    ZoneTermsBody {
        zone,
        distance_us: terms.distance_us,
        price_us: terms.price_us,
        capacity_us: terms.capacity_us,
        drag_us: terms.drag_us,
        total_us: terms.total_us(),
        open,
        room,
    }
}
