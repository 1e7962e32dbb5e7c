//! One handoff from directive to report, in one process: the source's and the target's machines
//! say what to do, this does it and tells them. What it adds is only what the machines must not
//! know: where bytes are, how long things took, and that both sides die together.

use std::{sync::Arc, time::Instant};

use homing_session::{
    handoff::source::{Source, SourceLimits},
    roster::Begin,
};
use homing_wire::{
    Directive, HandoffFigures, Intake, OutcomeEnd, Service, ServiceId, SessionKey, UndoneReason,
    table::Home,
};
use tokio::sync::mpsc;

use super::{
    Ended, Report,
    governor::Governor,
    link::HandoffLink,
    orders::Orders,
    outgoing::Outgoing,
    release::{PendingRelease, Releases},
    run::Run,
    sites::{Found, Stores},
};
use crate::{
    activation_log::ActivationLog,
    cession::{Cessions, Whereabouts},
    clock::Clock,
    gates::Gates,
    live::{Live, LiveTable},
    prewarm::Prewarm,
    replicas::Replicas,
    seat::Seat,
    state::{Site, StateStore},
    telemetry::Metrics,
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
    pub(super) prewarm: Arc<Prewarm>,
    pub(super) clock: Clock,
    /// What a gate in a fleet has beside; `None` in solo.
    fleet: Option<Arc<Fleet>>,
    pub(super) replicas: Option<Arc<Replicas>>,
    pub(super) cessions: Option<Arc<Cessions>>,
}

/// What a gate in a fleet hands sessions over with.
#[derive(Debug)]
pub struct Fleet {
    /// To the other gates.
    pub link: HandoffLink,
    /// Paces copies.
    pub governor: Arc<Governor>,
    /// Control's word to handoffs under way.
    pub orders: Arc<Orders>,
    /// Which gate this is.
    pub seat: Arc<Seat>,
}

impl Fleet {
    /// The names of the node at the other end of a connection.
    #[must_use]
    pub fn peer_names(&self, connection: &quinn::Connection) -> Vec<String> {
        type Chain = Vec<rustls_pki_types::CertificateDer<'static>>;
        let chain = connection.peer_identity().and_then(|chain| chain.downcast::<Chain>().ok());
        chain.map_or_else(Vec::new, |chain| homing_identity::peer_names(&chain))
    }
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
        prewarm: Arc<Prewarm>,
    ) -> Self {
        Self {
            live,
            gates,
            stores,
            log,
            releases,
            metrics,
            prewarm,
            clock: Clock::process(),
            fleet: None,
            replicas: None,
            cessions: None,
        }
    }

    /// The same, of a gate in a fleet.
    #[must_use]
    pub fn in_fleet(
        self,
        fleet: Arc<Fleet>,
        replicas: Arc<Replicas>,
        cessions: Arc<Cessions>,
    ) -> Self {
        let (fleet, replicas, cessions) = (Some(fleet), Some(replicas), Some(cessions));
        Self { fleet, replicas, cessions, ..self }
    }

    /// Whether a directive is this process's to carry out, in this life.
    #[must_use]
    pub fn is_ours(&self, live: &Live, directive: &Directive) -> bool {
        let seat = self.gates.seat();
        match seat.gate() {
            None => seat.is_solo(),
            Some(gate) => {
                directive.from_incarnation == gate.incarnation()
                    && seat.reaches(live.table.facts(), directive.from)
            }
        }
    }

    /// Carries one directive out and reports its end. Never fails: whatever happens is an end.
    pub async fn drive(&self, directive: Directive, reports: &mpsc::Sender<Report>) {
        let live = self.live.load_full();
        let (end, home, cleanup) = match self.prepare(&live, &directive).await {
            Err((end, home)) => (end, home, None),
            Ok((store, service)) if let Some(fleet) = &self.fleet => {
                return self.hand_over(&live, fleet, directive, (store, service), reports).await;
            }
            Ok((store, service)) => {
                self.prewarm.moves(&live, directive.to, service, directive.key);
                let mut run = self.run(&live, &directive, store, service);
                let (end, home) = run.carry_out().await;
                (end, home, Some(run))
            }
        };
        let completed = matches!(end, OutcomeEnd::Completed(_));
        self.report(directive, end, home, reports).await;
        if let Some(run) = cleanup {
            self.clean_up(run, completed).await;
        }
    }

    async fn report(
        &self,
        directive: Directive,
        end: OutcomeEnd,
        home: Option<Home>,
        reports: &mpsc::Sender<Report>,
    ) {
        match &end {
            OutcomeEnd::Completed(figures) => self.metrics.completed(figures.pause_us),
            OutcomeEnd::Undone { why, .. } => self.metrics.undone(*why),
        }
        tracing::info!(
            directive = directive.id.0, key = %directive.key,
            from = directive.from.0, to = directive.to.0, ?end, "handoff ended"
        );
        let ended = Ended { directive, end, home, at_ms: self.clock.now_ms() };
        // Nobody to report to means that the process is leaving.
        let _ = reports.send(Report::Ended(ended)).await;
    }

    /// Hands a session over to another gate.
    async fn hand_over(
        &self,
        live: &Live,
        fleet: &Arc<Fleet>,
        directive: Directive,
        (store, service): (Option<Arc<dyn StateStore>>, ServiceId),
        reports: &mpsc::Sender<Report>,
    ) {
        let facts = live.table.facts();
        let limits = limits(facts.services.get(service.index()), facts.policy.cut);
        let source = Source::new(directive.clone(), limits, self.clock.now_ms());
        let from = self.stores.site(live, service, directive.from, directive.key);
        let mut outgoing = Outgoing::new(self, fleet, reports, source, service, store, from);
        let end = outgoing.carry_out().await;
        let completed = matches!(end, OutcomeEnd::Completed(_));
        let Outgoing { store, from, .. } = outgoing;
        let to = Home { zone: directive.to, epoch: directive.epoch };
        let key = directive.key;
        self.report(directive, end, completed.then_some(to), reports).await;
        if let (true, Some(store)) = (completed, store) {
            self.let_go(&*store, from, key, service, to).await;
        }
    }

    /// Fences the copy at the source, and lets it go once a table on disk says where the session
    /// lives.
    async fn let_go(
        &self,
        store: &dyn StateStore,
        site: Site,
        key: SessionKey,
        service: ServiceId,
        to: Home,
    ) {
        if let Err(fault) = store.fence(&site, key, to.epoch).await {
            // No gate sends requests there any more; the app's own fence is a second one.
            tracing::warn!(%key, zone = site.zone.0, %fault, "the source's app is not fenced");
        }
        self.releases.add(PendingRelease { key, site, service, to, since: Instant::now() });
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
        self.claim(directive).await.map_err(|(why, detail)| undone(why, detail))?;
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

    /// Sees to it that a session is here that another gate of this zone may have.
    async fn claim(&self, directive: &Directive) -> Result<(), (UndoneReason, String)> {
        let Some(cessions) = &self.cessions else { return Ok(()) };
        let (zone, key) = (directive.from, directive.key);
        if self.gates.answers_for(zone, key) {
            return Ok(());
        }
        match self.gates.seat().begin(key, false) {
            Begin::Yes => return Ok(()),
            Begin::No => {
                let detail = "another gate of its zone has the session by now".to_owned();
                return Err((UndoneReason::DrainTimeout, detail));
            }
            Begin::Ask => {}
        }
        match cessions.ask(zone, key).await {
            Whereabouts::Here => Ok(()),
            Whereabouts::At(gate) => {
                let detail = format!("{gate} has requests or sockets of it in execution");
                Err((UndoneReason::DrainTimeout, detail))
            }
            Whereabouts::Moved(home) => {
                let detail = format!("it lives in zone {} at epoch {}", home.zone, home.epoch);
                Err((UndoneReason::Stale, detail))
            }
            Whereabouts::Later => {
                let detail = "another gate of its zone may have it, and does not answer";
                Err((UndoneReason::DrainTimeout, detail.to_owned()))
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
        let to = Home { zone: directive.to, epoch: directive.epoch };
        self.let_go(&*store, from, key, run.service, to).await;
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
