//! How much a session belongs to each zone, as the API tells it.

use homing_plan::{mobility, plan::ZoneTerms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A minute in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// A zone as a session belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AffinityBody {
    /// The zone.
    pub zone: String,
    /// How good it is for the session, 0 to 100 for the best: round trip where the client is
    /// expected, price and capacity together.
    pub score: f64,
    /// How much the session belongs there, 0 to 1: the terms below by their weights.
    pub affinity: f64,
    /// How near it is, next to the nearest.
    pub latency: f64,
    /// How probable it is that the client is nearest to it in the next half hour.
    pub predicted: f64,
    /// Whether the session's data is there.
    pub data: f64,
    /// The share of its requests that was served there of late.
    pub history: f64,
    /// The chance that the client is nearest to it, by how far ahead.
    pub ahead: Vec<AheadBody>,
}

/// A chance, so far ahead.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AheadBody {
    /// Minutes from now.
    pub minutes: u64,
    /// 0 to 1; 0 for every zone if the client's place is unknown.
    pub chance: f64,
}

/// All zones of a session, in the order of the table.
pub(super) fn affinity(
    zones: &[ZoneTerms],
    name: impl Fn(homing_wire::ZoneId) -> String,
) -> Vec<AffinityBody> {
    let ahead = |zone: &ZoneTerms| {
        let chances = mobility::HORIZONS.iter().zip(zone.nearest_then);
        let body = |(bins, chance): (&usize, f64)| AheadBody {
            minutes: *bins as u64 * mobility::BIN_MS / MINUTE_MS,
            chance,
        };
        chances.map(body).collect()
    };
    let body = |zone: &ZoneTerms| AffinityBody {
        zone: name(zone.zone),
        score: zone.score,
        affinity: zone.affinity.score(),
        latency: zone.affinity.latency,
        predicted: zone.affinity.predicted,
        data: zone.affinity.data,
        history: zone.affinity.history,
        ahead: ahead(zone),
    };
    zones.iter().map(body).collect()
}
