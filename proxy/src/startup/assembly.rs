//! The parts of the process that everything else is made of, and what they recover from a former
//! life. Nothing is started here.

use std::{io, path::Path, sync::Arc};

use homing_session::gate::{Event, StartFrom};
use homing_wire::{DirectiveId, Incarnation, SessionKey, table::Home};

use super::{fault::StartFault, fleet::Part, serving};
use crate::{
    activation_log::{ActivationLog, Recovered},
    clock::Clock,
    config::Settings,
    endpoints::EndpointPool,
    gates::Gates,
    http::{cache::GateCache, facts::FactsCell},
    live::{Live, LiveTable},
    local_authority::first_table,
    outcomes::Outcomes,
    prewarm::Prewarm,
    table_file::{Stored, TableFile},
    telemetry::{Metrics, Recorder},
};

/// The parts that everything else is made of.
pub(super) struct Assembly {
    pub(super) live: Arc<LiveTable>,
    pub(super) gates: Arc<Gates>,
    pub(super) facts: Arc<FactsCell>,
    pub(super) pool: Arc<EndpointPool>,
    pub(super) cache: Arc<GateCache>,
    pub(super) prewarm: Arc<Prewarm>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) outcomes: Arc<Outcomes>,
    pub(super) log: Arc<ActivationLog>,
    pub(super) file: TableFile,
    /// Since when this life has seen every session; 0 if no life before left anything.
    pub(super) known_since_ms: u64,
    /// Homes from the log that the table does not show.
    pub(super) homes: Vec<(SessionKey, Home)>,
}

impl Assembly {
    pub(super) fn new(settings: &Settings, part: &Part) -> Result<Self, StartFault> {
        let dir = &settings.state_dir;
        std::fs::create_dir_all(dir).map_err(|error| state_dir(dir, error))?;
        let now_ms = Clock::process().now_ms();
        let file = TableFile::in_dir(dir);
        let stored = match file.load().map_err(|error| state_dir(dir, error))? {
            Stored::Table(table) => Some(*table),
            Stored::Nothing => None,
            Stored::Damaged { aside, fault } => {
                tracing::error!(%fault, aside = %aside.display(), "the stored table is damaged");
                None
            }
        };
        let log_path = dir.join("activations");
        let (log, recovered) =
            ActivationLog::open(&log_path).map_err(|error| state_dir(&log_path, error))?;
        let known_since_ms = match (&stored, recovered.homes.is_empty()) {
            (None, true) => 0,
            _ => now_ms,
        };
        // What a former life of a gate activated is control's to know, and its table's to say.
        let homes = match part.seat.is_solo() {
            true => recovered_homes(&recovered),
            false => Vec::new(),
        };
        let table = match (&settings.facts, &settings.control) {
            (Some(facts), _) => Live::compile(first_table(facts.clone(), stored, &homes, now_ms)?),
            (None, _) => stored.map_or_else(Live::void, Live::compile),
        };
        let live = Arc::new(LiveTable::new(table));
        let (recorder, metrics) = (Arc::<Recorder>::default(), Arc::<Metrics>::default());
        let incarnation = Incarnation(now_ms);
        let gates = Gates::new(
            settings.limits.sessions_per_zone,
            incarnation,
            Arc::clone(&recorder),
            Arc::clone(&metrics),
        );
        let gates = Arc::new(gates.seated(Arc::clone(&part.seat)));
        part.seat.look_at(&live.load());
        let pool = Arc::new(EndpointPool::trusting(settings.endpoints_ca.as_deref()));
        let facts = Arc::new(FactsCell::reaching(part.reach.clone(), Arc::clone(&pool)));
        let (outcomes, log) = (Arc::default(), Arc::new(log));
        let prewarm = serving::prewarm(settings, (&live, &facts), &recorder, &metrics)?;
        let mut parts = Self {
            live,
            gates,
            facts,
            pool,
            cache: Arc::new(GateCache::new(settings.limits.cache_bytes)),
            prewarm,
            recorder,
            metrics,
            outcomes,
            log,
            file,
            known_since_ms,
            homes,
        };
        parts.seat_recovered(now_ms);
        Ok(parts)
    }

    /// Under control the table is control's; what the log knows better is seated in the gates.
    fn seat_recovered(&mut self, now_ms: u64) {
        let live = self.live.load_full();
        self.homes.retain(|(key, home)| live.home(*key).epoch < home.epoch);
        for (key, home) in &self.homes {
            let own = Event::Own {
                directive: DirectiveId(0),
                incarnation: Incarnation(0),
                epoch: home.epoch,
                from: StartFrom::Store,
            };
            let told = live.home(*key).zone;
            let release = Event::Release { to: home.zone, epoch: home.epoch };
            let seated = self.gates.step(&live, home.zone, *key, own, now_ms).is_ok()
                && (told == home.zone
                    || self.gates.step(&live, told, *key, release, now_ms).is_ok());
            if !seated {
                tracing::warn!(%key, zone = home.zone.0, "a recovered home could not be seated");
            }
        }
    }
}

fn recovered_homes(recovered: &Recovered) -> Vec<(SessionKey, Home)> {
    if recovered.damaged_bytes > 0 {
        let bytes = recovered.damaged_bytes;
        tracing::error!(bytes, "part of the activation log is damaged and was left out");
    }
    recovered.homes.values().map(|entry| (entry.key, entry.home)).collect()
}

pub(super) fn state_dir(path: &Path, error: io::Error) -> StartFault {
    StartFault::StateDir { path: path.display().to_string(), error }
}
