//! Directives that are open, what became of those that are not, and the newest plan.

use axum::{
    Json,
    extract::{Path, Query},
};
use homing_plan::Move;
use homing_wire::{Directive, DirectiveId, Facts, SessionKey};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    entry::View,
    problem::Problem,
    sessions::{ZoneTermsBody, terms_body, zone_name},
};
use crate::{
    clock,
    journal::{EndRow, HistoryRow},
    scope::Scope,
};

/// Items on a page at most.
const PAGE_MAX: usize = 1_000;
/// Items on a page unless the caller says otherwise.
const PAGE: usize = 100;

/// Pages of others' outcomes that one request goes past.
const PAGES_PASSED: usize = 20;

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The `next` of the page before; absent for the first.
    pub cursor: Option<u64>,
    /// Items on the page, 1 to 1,000; 100 if absent.
    pub limit: Option<usize>,
}

impl Page {
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)
    }
}

/// A directive and what is known of its end.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DirectiveBody {
    /// Its number.
    pub id: u64,
    /// The session.
    pub session: String,
    /// Where it lives, or lived.
    pub from: String,
    /// Where it is to live.
    pub to: String,
    /// `operator`, `drain`, `latency`, `cost` or `capacity`.
    pub reason: String,
    /// The epoch at which the target will own it.
    pub epoch: u64,
    /// `open`, `completed` or `undone`.
    pub state: String,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What the handoff measured, once the proxy has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<FiguresBody>,
    /// Why it was undone, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Why it was undone, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a completed handoff measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct FiguresBody {
    /// Freeze to thaw, microseconds.
    pub pause_us: u64,
    /// Requests that waited.
    pub held: u32,
    /// State bytes copied, all rounds.
    pub state_bytes: u64,
    /// Of those, copied while frozen.
    pub cut_bytes: u64,
    /// Copy rounds.
    pub rounds: u8,
    /// Directive seen to session served at the target, microseconds.
    pub total_us: u64,
}

/// Directives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DirectivesBody {
    /// This page of them, by number.
    pub directives: Vec<DirectiveBody>,
    /// Where the next page starts; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// How many are open in all.
    pub open: usize,
}

/// Ended directives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OutcomesBody {
    /// This page of them, in the order in which they ended.
    pub outcomes: Vec<DirectiveBody>,
    /// The cursor for what ends after these; to be kept and asked with again.
    pub next: u64,
}

/// The newest plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlanBody {
    /// The table it was made against.
    pub parent: String,
    /// When, RFC 3339.
    pub made: String,
    /// The seed that makes it again.
    pub seed: u64,
    /// `shadow`: moves are explained only; `on`: they are carried out. Drains always are.
    pub act: String,
    /// Sessions that were looked at. This and all that is of all tenants together is left out for
    /// those who see some tenants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub considered: Option<u64>,
    /// How many sessions would be better elsewhere and stay, by what holds them.
    pub held_back: std::collections::BTreeMap<String, u64>,
    /// The shadow price of each zone, microseconds of latency a request.
    pub prices: std::collections::BTreeMap<String, u32>,
    /// The solution for all sessions at once; absent where no zone states a capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub housing: Option<HousingBody>,
    /// How many moves it holds.
    pub moves_total: usize,
    /// The first 1,000 of them.
    pub moves: Vec<PlannedMove>,
}

/// Where all sessions should live under the zones' capacities.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HousingBody {
    /// Sessions that should live elsewhere. They move once their regret has paid for it.
    pub wanted: usize,
    /// Sessions that fit nowhere, and stay where they are.
    pub refused: u64,
    /// How far the solution may be from the best, as a share of its cost.
    pub gap: f64,
}

/// One move of a plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlannedMove {
    /// The session.
    pub session: String,
    /// The zone it leaves, with its terms.
    pub from: ZoneTermsBody,
    /// The zone it goes to, with its terms.
    pub to: ZoneTermsBody,
    /// Why, in a word.
    pub reason: String,
    /// What each request gains, microseconds.
    pub gain_us: f64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Regret gathered, microseconds summed over requests.
    pub regret_us: f64,
    /// The one-off cost of the move, in the same unit.
    pub move_us: f64,
    /// Whether it is carried out.
    pub carried_out: bool,
}

/// Open directives.
#[utoipa::path(get, path = "/v1/directives", tag = "directives", params(Page),
    responses((status = 200, body = DirectivesBody), (status = 404, body = Problem)))]
pub async fn list(
    View(api, scope): View,
    Query(page): Query<Page>,
) -> Result<Json<DirectivesBody>, Problem> {
    let table = api.table()?;
    let after = DirectiveId(page.cursor.map_or(0, |cursor| cursor.saturating_add(1)));
    let all: Vec<&Directive> = table.directives().values().collect();
    let keys = all.iter().map(|directive| directive.key).collect();
    let seen = api.seen(&scope, keys).await?;
    let open: Vec<&Directive> =
        all.into_iter().zip(seen).filter_map(|(one, seen)| seen.then_some(one)).collect();
    let mut rest = open.iter().filter(|directive| directive.id >= after);
    let directives: Vec<DirectiveBody> = rest
        .by_ref()
        .take(page.limit())
        .map(|directive| open_body(table.facts(), directive))
        .collect();
    let last = directives.last().map(|directive| directive.id);
    Ok(Json(DirectivesBody { directives, next: rest.next().and(last), open: open.len() }))
}

/// One directive, open or ended.
#[utoipa::path(get, path = "/v1/directives/{id}", tag = "directives",
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, body = DirectiveBody), (status = 404, body = Problem)))]
pub async fn get(
    View(api, scope): View,
    Path(id): Path<u64>,
) -> Result<Json<DirectiveBody>, Problem> {
    let id = DirectiveId(id);
    let table = api.table()?;
    let unknown = || Problem::not_found(format!("no directive {id} is known"));
    if let Some(open) = table.directives().get(&id) {
        let seen = api.seen(&scope, vec![open.key]).await?;
        return if seen == [true] {
            Ok(Json(open_body(table.facts(), open)))
        } else {
            Err(unknown())
        };
    }
    let row = api.shared.journal.history_of(id)?.map(|(_, row)| row);
    let seen = row.map(|row| seen_of(&api, &scope, vec![(0, row)]));
    let seen = match seen {
        Some(seen) => seen.await?,
        None => Vec::new(),
    };
    let row = seen.into_iter().next().ok_or_else(unknown)?;
    Ok(Json(ended_body(row)))
}

/// Ended directives, oldest first.
#[utoipa::path(get, path = "/v1/outcomes", tag = "directives", params(Page),
    responses((status = 200, body = OutcomesBody)))]
pub async fn outcomes(
    View(api, scope): View,
    Query(page): Query<Page>,
) -> Result<Json<OutcomesBody>, Problem> {
    let (mut next, mut outcomes) = (page.cursor.unwrap_or(0), Vec::new());
    // A page of others' is gone past, so that an empty one means that there are no more for now.
    for _ in 0..PAGES_PASSED {
        let found = api.shared.journal.history_after(next, page.limit())?;
        let Some((last, _)) = found.last() else { break };
        next = *last;
        let seen = seen_of(&api, &scope, found).await?;
        outcomes = seen.into_iter().map(ended_body).collect();
        if !outcomes.is_empty() {
            break;
        }
    }
    Ok(Json(OutcomesBody { outcomes, next }))
}

/// The newest plan, with the why of each move.
#[utoipa::path(get, path = "/v1/plan", tag = "directives",
    responses((status = 200, body = PlanBody),
        (status = 404, description = "No plan was made yet", body = Problem)))]
pub async fn plan(View(api, scope): View) -> Result<Json<PlanBody>, Problem> {
    let made = api.shared.plan.read().clone();
    let made = made.ok_or_else(|| Problem::not_found("no plan was made yet"))?;
    let (plan, facts) = (&made.plan, &made.facts);
    let keys = plan.moves.iter().map(|mv| mv.key).collect();
    let seen = api.seen(&scope, keys).await?;
    let moves: Vec<&Move> =
        plan.moves.iter().zip(seen).filter_map(|(mv, seen)| seen.then_some(mv)).collect();
    let all = scope.is_operator();
    let held_back = plan.held_back.iter().map(|(held, n)| (held.name().to_owned(), *n));
    let prices = facts.zones.iter().zip(&plan.prices);
    Ok(Json(PlanBody {
        parent: plan.parent.to_string(),
        made: clock::rfc3339(plan.made_ms),
        seed: plan.seed,
        act: match plan.act {
            homing_wire::Act::Shadow => "shadow".to_owned(),
            homing_wire::Act::On => "on".to_owned(),
        },
        considered: all.then_some(plan.considered),
        held_back: held_back.filter(|_| all).collect(),
        prices: prices.filter(|_| all).map(|(zone, price)| (zone.name.clone(), *price)).collect(),
        housing: plan.housing.as_ref().filter(|_| all).map(|housing| HousingBody {
            wanted: housing.wanted.len(),
            refused: housing.refused,
            gap: housing.gap,
        }),
        moves_total: moves.len(),
        moves: moves.into_iter().take(PAGE_MAX).map(|mv| planned(facts, mv)).collect(),
    }))
}

/// Those of these that the caller may see.
async fn seen_of(
    api: &Api,
    scope: &Scope,
    rows: Vec<(u64, HistoryRow)>,
) -> Result<Vec<HistoryRow>, Problem> {
    // What is no key is nobody's: it parses to one that nobody has heard of.
    let key = |row: &HistoryRow| row.session.parse().unwrap_or(SessionKey(0));
    let keys = rows.iter().map(|(_, row)| key(row)).collect();
    let seen = api.seen(scope, keys).await?;
    Ok(rows.into_iter().zip(seen).filter_map(|((_, row), seen)| seen.then_some(row)).collect())
}

fn planned(facts: &Facts, mv: &Move) -> PlannedMove {
    PlannedMove {
        session: mv.key.to_string(),
        from: terms_body(zone_name(facts, mv.from), &mv.why.from, true, true),
        to: terms_body(zone_name(facts, mv.to), &mv.why.to, true, true),
        reason: mv.reason.name().to_owned(),
        gain_us: mv.why.gain_us(),
        requests_per_second: mv.why.rate,
        regret_us: mv.why.regret_us,
        move_us: mv.why.move_us,
        carried_out: mv.carried_out,
    }
}

fn open_body(facts: &Facts, directive: &Directive) -> DirectiveBody {
    DirectiveBody {
        id: directive.id.0,
        session: directive.key.to_string(),
        from: zone_name(facts, directive.from),
        to: zone_name(facts, directive.to),
        reason: directive.reason.name().to_owned(),
        epoch: directive.epoch.0,
        state: "open".to_owned(),
        ended: None,
        figures: None,
        why: None,
        detail: None,
    }
}

fn ended_body(row: HistoryRow) -> DirectiveBody {
    let (state, figures, why, detail) = match row.end {
        EndRow::Completed { figures } => ("completed", figures, None, None),
        EndRow::Undone { why, detail } => ("undone", None, Some(why), Some(detail)),
    };
    DirectiveBody {
        id: row.directive,
        session: row.session,
        from: row.from,
        to: row.to,
        reason: row.reason,
        epoch: row.epoch,
        state: state.to_owned(),
        ended: Some(clock::rfc3339(row.ended_ms)),
        figures: figures.map(|figures| FiguresBody {
            pause_us: figures.pause_us,
            held: figures.held,
            state_bytes: figures.state_bytes,
            cut_bytes: figures.cut_bytes,
            rounds: figures.rounds,
            total_us: figures.total_us,
        }),
        why,
        detail,
    }
}
