//! Users, as control knows them: what it has learnt of one, and forgetting it.

use axum::{Extension, Json, extract::Path, http::StatusCode};
use homing_wire::{DirectiveId, SessionKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api, Problem,
    affinity::{AffinityBody, affinity},
    auth::Caller,
    entry::View,
    sessions::{session_key, zone_name},
};
use crate::{
    clock,
    journal::{EndRow, HistoryRow, JournalFault},
    lead::{Command, Ended},
};

/// Rows of the history that are looked through at a time.
const PAGE: usize = 1_000;
/// Moves that are shown of one user, the latest.
const MOVES_SHOWN: usize = 50;

/// What control has learnt of a user. Nothing here names a person: a user is its session key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserBody {
    /// The session key.
    pub user: String,
    /// Its service.
    pub service: Option<String>,
    /// Where it lives.
    pub zone: String,
    /// At which epoch.
    pub epoch: u64,
    /// Since when.
    pub since: String,
    /// Where its client is, if a trusted front said so.
    pub place: Option<String>,
    /// Requests a second, of the last minutes.
    pub requests_per_second: f64,
    /// Response bytes of one.
    pub bytes_per_request: f64,
    /// Its last request.
    pub last_seen: String,
    /// Moves within the present hour.
    pub moves_this_hour: u8,
    /// The zone that has a replica of its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heir: Option<String>,
    /// How much it belongs to each zone.
    pub affinity: Vec<AffinityBody>,
    /// Its moves, the latest last.
    pub moves: Vec<MovedBody>,
}

/// One move of a user.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MovedBody {
    /// The directive.
    pub directive: u64,
    /// Where from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// Why.
    pub reason: String,
    /// When it ended.
    pub ended: String,
    /// Whether it took place.
    pub completed: bool,
}

/// What control has learnt of a user.
#[utoipa::path(get, path = "/v1/users/{user}", tag = "users",
    params(("user" = String, Path, description = "The session key, 32 hexadecimal digits")),
    responses((status = 200, body = UserBody), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
pub async fn get(
    View(api, scope): View,
    Path(user): Path<String>,
) -> Result<Json<UserBody>, Problem> {
    let key = session_key(&user)?;
    let unknown = Problem::unheard_of;
    let why = api.lead.ask(|reply| Command::Why(key, reply)).await?.ok_or_else(unknown)?;
    let (profile, told) = why.known.as_ref().ok_or_else(unknown)?;
    if !scope.sees_id(&why.facts, profile.service) {
        return Err(unknown());
    }
    let rows = history(&api, key).await?;
    let moved = |(_, row): &(u64, HistoryRow)| MovedBody {
        directive: row.directive,
        from: row.from.clone(),
        to: row.to.clone(),
        reason: row.reason.clone(),
        ended: clock::rfc3339(row.ended_ms),
        completed: matches!(row.end, EndRow::Completed { .. }),
    };
    let facts = &why.facts;
    Ok(Json(UserBody {
        user: key.to_string(),
        service: facts.services.get(profile.service.index()).map(|service| service.name.clone()),
        zone: zone_name(facts, why.home.zone),
        epoch: why.home.epoch.0,
        since: clock::rfc3339(profile.entered_ms),
        place: profile
            .place
            .and_then(|place| facts.places.get(place.index()))
            .map(|place| place.name.clone()),
        requests_per_second: f64::from(profile.rate_at(clock::now_ms())),
        bytes_per_request: f64::from(profile.bytes_per_request),
        last_seen: clock::rfc3339(profile.last_seen_ms),
        moves_this_hour: told.moves_this_hour,
        affinity: affinity(&told.zones, |zone| zone_name(facts, zone)),
        heir: why.heir.map(|zone| zone_name(facts, zone)),
        moves: rows.iter().skip(rows.len().saturating_sub(MOVES_SHOWN)).map(moved).collect(),
    }))
}

/// Forgets a user: its profile and the history of its moves, in one transaction. Where an open
/// session lives stays in the table until it is over, and a request after this begins a new
/// profile.
#[utoipa::path(delete, path = "/v1/users/{user}", tag = "users",
    params(("user" = String, Path, description = "The session key, 32 hexadecimal digits")),
    responses((status = 204, description = "Nothing is known of it any more"),
        (status = 400, body = Problem),
        (status = 404, description = "Nothing was known of it", body = Problem)))]
pub async fn delete(
    View(api, scope): View,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    let key = session_key(&user)?;
    api.must_see(&scope, key).await?;
    let rows = history(&api, key).await?;
    let gone = rows.iter().map(|(seq, row)| (*seq, DirectiveId(row.directive))).collect();
    let known = api.lead.ask(|reply| Command::Forget(key, gone, reply)).await?;
    if !known {
        return Err(Problem::not_found("nothing was known of this user"));
    }
    // Not the key: the audit log would be the place that remembers.
    tracing::info!(target: "audit", by = caller.0, "forgot a user");
    Ok(StatusCode::NO_CONTENT)
}

/// The user's moves with their places in the history. Read off the lead: it is a long walk.
async fn history(api: &Api, key: SessionKey) -> Result<Vec<(u64, HistoryRow)>, Problem> {
    let (journal, session) = (api.shared.journal.clone(), key.to_string());
    let walk = move || {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = journal.history_after(after, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = *last;
            found.extend(page.into_iter().filter(|(_, row)| row.session == session));
        }
    };
    let walked: Result<_, JournalFault> =
        tokio::task::spawn_blocking(walk).await.map_err(|_| Ended)?;
    Ok(walked?)
}
