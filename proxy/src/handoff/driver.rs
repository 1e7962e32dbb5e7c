//! One handoff from directive to report, in one process: the source's and the target's machines
//! say what to do, this does it and tells them. What it adds is only what the machines must not
//! know: where bytes are, how long things took, and that both sides die together.

use std::{sync::Arc, time::Instant};

use homing_session::handoff::source::{Source, SourceLimits};
use homing_wire::{
    Directive, HandoffFigures, Intake, OutcomeEnd, Service, ServiceId, UndoneReason, table::Home,
};
use tokio::sync::mpsc;

use super::{
    Ended, Report,
    release::{PendingRelease, Releases},
    run::Run,
    sites::{Found, Stores},
};
use crate::{
    activation_log::ActivationLog, clock::Clock, gates::Gates, live::Live, live::LiveTable,
    state::StateStore, telemetry::Metrics,
};

/// What a hook may take beyond its own bound before the machine looks elsewhere.
const ANSWER_SLACK_MS: u32 = 250;
/// What a service without hooks is given for an answer.
const ANSWER_MS: u32 = 2_000;

/// Carries directives out.
pub struct Driver {
    pub(super) live: Arc<LiveTable>,
    pub(super) gates: Arc<Gates>,
    pub(super) stores: Arc<Stores>,
    pub(super) log: Arc<ActivationLog>,
    pub(super) releases: Arc<Releases>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

impl Driver {
    /// All parts a handoff needs.
    #[must_use]
    pub fn new(
        live: Arc<LiveTable>,
        gates: Arc<Gates>,
        stores: Arc<Stores>,
        log: Arc<ActivationLog>,
        releases: Arc<Releases>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { live, gates, stores, log, releases, metrics, clock: Clock::process() }
    }

    /// Carries one directive out and reports its end. Never fails: whatever happens is an end.
    pub async fn drive(&self, directive: Directive, reports: &mpsc::Sender<Report>) {
        let live = self.live.load_full();
        let (end, home, cleanup) = match self.prepare(&live, &directive).await {
            Err((end, home)) => (end, home, None),
            Ok((store, service)) => {
                let mut run = self.run(&live, &directive, store, service);
                let (end, home) = run.carry_out().await;
                (end, home, Some(run))
            }
        };
        match &end {
            OutcomeEnd::Completed(figures) => self.metrics.completed(figures.pause_us),
            OutcomeEnd::Undone { why, .. } => self.metrics.undone(*why),
        }
        tracing::info!(
            directive = directive.id.0, key = %directive.key,
            from = directive.from.0, to = directive.to.0, ?end, "handoff ended"
        );
        let completed = matches!(end, OutcomeEnd::Completed(_));
        let ended = Ended { directive, end, home, at_ms: self.clock.now_ms() };
        // Nobody to report to means that the process is leaving.
        let _ = reports.send(Report::Ended(ended)).await;
        if let Some(run) = cleanup {
            self.clean_up(run, completed).await;
        }
    }

    fn run<'a>(
        &'a self,
        live: &'a Live,
        directive: &Directive,
        store: Option<Arc<dyn StateStore>>,
        service: ServiceId,
    ) -> Run<'a> {
        let facts = live.table.facts();
        let limits = limits(facts.services.get(service.index()), facts.policy.cut);
        let source = Source::new(directive.clone(), limits, self.clock.now_ms());
        let from = self.stores.site(live, service, directive.from, directive.key);
        let to = self.stores.site(live, service, directive.to, directive.key);
        Run::new(self, directive.clone(), source, store, service, from, to)
    }

    /// What must hold before a byte is moved. The error is the end.
    async fn prepare(
        &self,
        live: &Live,
        directive: &Directive,
    ) -> Result<(Option<Arc<dyn StateStore>>, ServiceId), (OutcomeEnd, Option<Home>)> {
        let undone = |why, detail: String| (OutcomeEnd::Undone { why, detail }, None);
        let facts = live.table.facts();
        let home = self.gates.home(live, directive.key);
        if home == (Home { zone: directive.to, epoch: directive.epoch }) {
            // Carried out by an earlier life of this process, which could not report any more.
            let figures = HandoffFigures { epoch: home.epoch, ..HandoffFigures::default() };
            return Err((OutcomeEnd::Completed(figures), Some(home)));
        }
        if home.zone != directive.from || home.epoch >= directive.epoch {
            let detail = format!("the session lives in zone {} at epoch {}", home.zone, home.epoch);
            return Err(undone(UndoneReason::Stale, detail));
        }
        match facts.zones.get(directive.to.index()).map(|zone| zone.intake) {
            Some(Intake::Open) => {}
            intake => {
                let word = intake.map_or("gone".to_owned(), |intake| format!("{intake:?}"));
                let detail = format!("the target zone is {}", word.to_lowercase());
                return Err(undone(UndoneReason::TargetUnavailable, detail));
            }
        }
        let remembered = self.gates.session(directive.from, directive.key);
        let service = remembered.map(|session| session.service);
        let found = match service.and_then(|id| Some((id, facts.services.get(id.index())?))) {
            Some((id, service)) => Found::Service(self.stores.of(service), id),
            None => self.stores.find(live, directive.from, directive.key).await,
        };
        match found {
            Found::Service(store, id) => Ok((store, id)),
            Found::Nowhere => {
                let detail = "no zone remembers it and no store has state of it".to_owned();
                Err(undone(UndoneReason::SessionGone, detail))
            }
        }
    }

    /// What may take its time: nobody waits for it.
    async fn clean_up(&self, run: Run<'_>, completed: bool) {
        let Run { store: Some(store), directive, from, to, discard, .. } = run else { return };
        let key = directive.key;
        if let Some(epoch) = discard
            && let Err(fault) = store.release(&to, key, epoch).await
        {
            tracing::warn!(%key, zone = to.zone.0, %fault, "a staged copy stays behind");
        }
        if !completed {
            return;
        }
        if let Err(fault) = store.fence(&from, key, directive.epoch).await {
            // No gate sends requests there any more; the app's own fence is a second one.
            tracing::warn!(%key, zone = from.zone.0, %fault, "the source's app is not fenced");
        }
        self.releases.add(PendingRelease {
            key,
            site: from,
            service: run.service,
            to: Home { zone: directive.to, epoch: directive.epoch },
        });
    }
}

fn limits(service: Option<&Service>, cut: homing_wire::CutLimits) -> SourceLimits {
    let bounds = service.and_then(|service| service.state.bounds());
    SourceLimits {
        cut,
        answer_ms: bounds.map_or(ANSWER_MS, |(ms, _)| ms) + ANSWER_SLACK_MS,
        state_bytes_max: bounds.map_or(u64::MAX, |(_, bytes)| bytes),
        ..SourceLimits::default()
    }
}

/// Microseconds since then.
pub(super) fn us_since(then: Instant) -> u64 {
    then.elapsed().as_micros() as u64
}
