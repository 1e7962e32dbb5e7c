//! What moves brought, as the API tells it.

use std::collections::BTreeMap;

use axum::Json;
use homing_plan::feedback::{Brought, Correction};
use homing_wire::{Facts, PlaceId, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{entry::Operator, problem::Problem, sessions::zone_name};
use crate::clock;

/// What moves brought beside what was expected of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FeedbackBody {
    /// Moves that are being compared: their sessions' requests are watched.
    pub watched: usize,
    /// Moves that were compared since the start.
    pub compared: u64,
    /// Moves that could not be since the start, by the reason: `few_before` and `few_after` for too
    /// few requests on that side, `unlike` where only one of the two zones has gates of its own,
    /// `crowded` for more at one time than are watched.
    pub uncompared: BTreeMap<String, u64>,
    /// The zones that sessions were moved to.
    pub zones: Vec<BroughtBody>,
    /// The ways that have a factor of their own, to zones that sessions were moved to or from.
    pub ways: Vec<WayBody>,
}

/// What moves to a zone brought.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BroughtBody {
    /// The zone.
    pub zone: String,
    /// Moves that were compared; older ones count less and less.
    pub moves: f64,
    /// The latency each request was expected to gain, microseconds, mean over moves.
    pub expected_us: f64,
    /// What it gained.
    pub realised_us: f64,
    /// Of the moves made for their gain, the share that made things worse.
    pub regretted: f64,
    /// What the zone's stated round trips are multiplied by in plans.
    pub correction: CorrectionBody,
}

/// A factor on stated round trips, with 10 ms added to each for the while.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CorrectionBody {
    /// The factor, 0.5 to 4; 1 leaves them as stated.
    pub factor: f64,
    /// The lower end of the range it lies in with four chances of five.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The moves it rests on, faded.
    pub worth: f64,
}

/// A way with a factor of its own.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WayBody {
    /// Where clients are.
    pub place: String,
    /// The zone.
    pub zone: String,
    /// The factor.
    pub correction: CorrectionBody,
}

/// What moves brought beside what was expected of them.
#[utoipa::path(get, path = "/v1/feedback", tag = "sessions",
    responses((status = 200, body = FeedbackBody), (status = 404, body = Problem)))]
pub async fn feedback(Operator(api): Operator) -> Result<Json<FeedbackBody>, Problem> {
    let table = api.table()?;
    let (facts, told) = (table.facts(), api.shared.lessons.read().clone());
    let now_ms = clock::now_ms();
    let zones = told.feedback.zones().filter_map(|zone| {
        Some(brought_body(facts, zone, &told.feedback.of_zone(None, zone, now_ms)?))
    });
    let ways = told.feedback.ways().map(|(place, zone)| WayBody {
        place: place_name(facts, place),
        zone: zone_name(facts, zone),
        correction: correction_body(&told.feedback.correction(Some(place), zone, now_ms)),
    });
    Ok(Json(FeedbackBody {
        watched: told.watched,
        compared: told.compared,
        uncompared: told.uncompared.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect(),
        zones: zones.collect(),
        ways: ways.collect(),
    }))
}

/// What moves to one zone brought.
pub(super) fn brought_body(facts: &Facts, zone: ZoneId, told: &Brought) -> BroughtBody {
    BroughtBody {
        zone: zone_name(facts, zone),
        moves: told.moves,
        expected_us: told.expected_us,
        realised_us: told.realised_us,
        regretted: told.regretted,
        correction: correction_body(&told.correction),
    }
}

fn correction_body(told: &Correction) -> CorrectionBody {
    let Correction { factor, low, high, worth } = *told;
    CorrectionBody { factor, low, high, worth }
}

fn place_name(facts: &Facts, place: PlaceId) -> String {
    let named = facts.places.get(place.index()).map(|place| place.name.clone());
    named.unwrap_or_else(|| format!("place-{}", place.0))
}
