//! What the edge shares with the rest of the process, put together by whoever starts it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::EdgeRules;
use crate::{
    access_log::AccessLog,
    cession::Cessions,
    gates::Gates,
    http::{
        cache::GateCache, facts::FactsCell, learned::Learned, upstream::Credentials,
        zone_view::ZoneViews,
    },
    live::LiveTable,
    prewarm::Prewarm,
    replicas::Replicas,
    telemetry::{Metrics, Recorder},
};

/// What the edge's work rests on. Everything is shared with the rest of the process.
#[derive(Clone, Debug)]
pub struct EdgeParts {
    /// The table in force.
    pub live: Arc<LiveTable>,
    /// The gates of all zones.
    pub gates: Arc<Gates>,
    /// Endpoints and places, compiled from the facts in force.
    pub facts: Arc<FactsCell>,
    /// Health and load of the zones.
    pub views: Arc<ZoneViews>,
    /// What a reload may change.
    pub rules: Arc<ArcSwap<EdgeRules>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Counts by zone.
    pub recorder: Arc<Recorder>,
    /// Homes that gates have told and the table does not show yet.
    pub learned: Arc<Learned>,
    /// Who this process is to gates, if it speaks to any.
    pub credentials: Option<Arc<Credentials>>,
    /// Answers that are kept.
    pub cache: Arc<GateCache>,
    /// What sessions fetch, and what is fetched ahead of them.
    pub prewarm: Arc<Prewarm>,
    /// Replicas of sessions in other zones, if this process is a gate in a fleet.
    pub replicas: Option<Arc<Replicas>>,
    /// Sessions that change their gate within the zone, likewise.
    pub cessions: Option<Arc<Cessions>>,
    /// Where requests are logged, if anywhere.
    pub log: Option<AccessLog>,
}
