//! Handoffs to this gate: one target machine a session, fed by whatever stream the source has
//! open at the time. The machine outlives its streams, because a source that lost one sends again
//! what was not answered, on the next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dashmap::DashMap;
use homing_session::{
    gate::{self, Reaction, Refusal},
    handoff::{
        Target,
        message::{Copied, Message},
        target::{Action, Event},
    },
    roster::Who,
};
use homing_wire::{
    Activated, DirectiveId, Epoch, Intake, LinkFrame, Service, ServiceId, SessionKey, UndoneReason,
    ZoneId, limits,
    link::{Open, Payload},
};
use tokio::sync::{Mutex, mpsc};

use super::{
    Report,
    driver::{Driver, Fleet},
    link::frames::{self, Framed, StreamFault},
};
use crate::{
    live::Live,
    state::{CopyKind, Site, StateCopy, StateFault, StateStore},
};

/// How long a stream may take to say what it is about.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// Largest state taken for services that state no bound of their own.
const STATE_BYTES_MAX: u64 = 16 << 20;
/// Handoffs to this gate that are remembered; beyond, new ones are refused until some are over.
const INCOMING_MAX: usize = 20_000;
/// A handoff that the table does not show, and of which nothing was heard for this long, is
/// forgotten; its copy expires.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The handoffs to this gate.
#[derive(Default)]
pub struct Incoming(DashMap<SessionKey, Arc<Mutex<Taking>>>);

/// One of them.
struct Taking {
    directive: DirectiveId,
    target: Target,
    key: SessionKey,
    epoch: Epoch,
    service: ServiceId,
    store: Option<Arc<dyn StateStore>>,
    site: Site,
    copy: Option<StateCopy>,
    /// The session's dedup window, as its source had it at the cut.
    window: Bytes,
    /// Whether anything is staged in the store.
    staged: bool,
    fault: Option<(UndoneReason, String)>,
    granted: Option<Instant>,
    heard: Instant,
}

/// Why a stream's handoff is not taken.
type Refuse = (UndoneReason, String);

impl Incoming {
    /// Serves one stream to its end.
    pub(super) async fn serve(
        &self,
        driver: &Driver,
        fleet: &Fleet,
        reports: &mpsc::Sender<Report>,
        (peer, (mut send, mut receive)): (&[String], (quinn::SendStream, quinn::RecvStream)),
    ) {
        let opened = tokio::time::timeout(OPEN_WAIT, frames::read(&mut receive, 0)).await;
        let open = match opened.map(|opened| opened.map(|framed| framed.frame)) {
            Ok(Ok(LinkFrame::Open(open))) => open,
            Ok(Ok(LinkFrame::Mirror(mirror))) => {
                if let Some(replicas) = &driver.replicas {
                    replicas.keeper().serve(*mirror, (send, receive)).await;
                }
                return;
            }
            Ok(Ok(LinkFrame::Cede(cede))) => {
                if let Some(cessions) = &driver.cessions {
                    cessions.serve(*cede, peer, send).await;
                }
                return;
            }
            _ => {
                tracing::debug!("a stream did not say what it is about");
                return;
            }
        };
        let taking = match self.taking(driver, fleet, &open) {
            Ok(taking) => taking,
            Err((why, detail)) => {
                tracing::info!(directive = open.directive.0, key = %open.key, detail, "refused");
                refuse(&mut send, why, detail).await;
                return;
            }
        };
        let bytes_max = {
            let live = driver.live.load();
            let services = &live.table.facts().services;
            let service = taking.lock().await.service;
            services.get(service.index()).map_or(0, state_bytes_max)
        };
        loop {
            let framed = match frames::read(&mut receive, bytes_max).await {
                Ok(framed) => framed,
                Err(fault @ StreamFault::TooLarge { .. }) => {
                    refuse(&mut send, UndoneReason::StateTooLarge, fault.to_string()).await;
                    return;
                }
                Err(_) => return,
            };
            let mut taking = taking.lock().await;
            let answers = taking.take(driver, fleet, reports, framed).await;
            drop(taking);
            for answer in answers {
                let answer = Framed::bare(answer);
                if frames::write(&mut send, &answer, &Default::default(), None).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The handoff that a stream is about: one that is known, or a new one if it may be taken.
    fn taking(
        &self,
        driver: &Driver,
        fleet: &Fleet,
        open: &Open,
    ) -> Result<Arc<Mutex<Taking>>, Refuse> {
        let live = driver.live.load_full();
        let (zone, service) = fits(&live, fleet, open)?;
        driver.prewarm.told(&live, zone, service, open.key, &open.hot);
        let known = self.0.get(&open.key).map(|taking| Arc::clone(&taking));
        if let Some(known) = known {
            // Locked only for moments at a time by a stream of the same handoff.
            let same = known.try_lock().map_or(true, |taking| taking.directive == open.directive);
            if same {
                return Ok(known);
            }
        } else if self.0.len() >= INCOMING_MAX {
            let detail = format!("{INCOMING_MAX} handoffs to this gate are under way");
            return Err((UndoneReason::TargetUnavailable, detail));
        }
        let spec = &live.table.facts().services[service.index()];
        let taking = Arc::new(Mutex::new(Taking {
            directive: open.directive,
            target: Target::new(open.directive, open.to_incarnation, open.epoch),
            key: open.key,
            epoch: open.epoch,
            service,
            store: driver.stores.of(spec),
            site: driver.stores.site(&live, service, zone, open.key),
            copy: None,
            window: Bytes::new(),
            staged: false,
            fault: None,
            granted: None,
            heard: Instant::now(),
        }));
        self.0.insert(open.key, Arc::clone(&taking));
        Ok(taking)
    }

    /// Control's word made a session's ownership take a step here.
    pub async fn stepped(
        &self,
        driver: &Driver,
        reports: &mpsc::Sender<Report>,
        key: SessionKey,
        reaction: Reaction,
    ) {
        let known = self.0.get(&key).map(|taking| Arc::clone(&taking));
        let Some(taking) = known else { return };
        let mut taking = taking.lock().await;
        taking.target.handle(Event::Gate(reaction));
        taking.act(driver, reports).await;
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, live: &Live) {
        let directives = live.table.directives();
        self.0.retain(|_, taking| {
            let Ok(taking) = taking.try_lock() else { return true };
            let open = directives.contains_key(&taking.directive);
            // Its directive may be in a table that is still on its way here.
            open || taking.heard.elapsed() < FORGOTTEN
        });
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("sessions", &self.0.len()).finish()
    }
}

impl Taking {
    /// Takes a frame in; what is to be answered.
    async fn take(
        &mut self,
        driver: &Driver,
        fleet: &Fleet,
        reports: &mpsc::Sender<Report>,
        framed: Framed,
    ) -> Vec<LinkFrame> {
        self.heard = Instant::now();
        let event = match framed.frame {
            LinkFrame::Stage(payload) => {
                // Whoever is sent here before the grant is finds a queue to wait in.
                driver.gates.holds().open(self.key);
                Event::Stage(self.arrived(payload, framed.bytes))
            }
            LinkFrame::Grant { payload, .. } => {
                self.window = framed.window;
                self.granted.get_or_insert_with(Instant::now);
                Event::Grant(self.arrived(payload, framed.bytes))
            }
            other => {
                tracing::warn!(?other, "a source said what only targets say");
                return Vec::new();
            }
        };
        self.target.handle(event);
        let said = self.act(driver, reports).await;
        said.into_iter().filter_map(|message| self.answer(fleet, message)).collect()
    }

    fn arrived(&mut self, payload: Payload, bytes: Bytes) -> Copied {
        let kind = if payload.whole { CopyKind::Full } else { CopyKind::Delta };
        self.copy = payload.present.then_some(StateCopy { version: payload.version, kind, bytes });
        Copied { since: payload.since, version: payload.version, bytes: payload.bytes }
    }

    fn answer(&self, fleet: &Fleet, message: Message) -> Option<LinkFrame> {
        match message {
            Message::StageAck { version, .. } => {
                Some(LinkFrame::StageAck { version, p95_us: fleet.governor.p95_us() })
            }
            Message::StageRefused { why, .. } => {
                let known = self.fault.clone();
                let (why, detail) = known.unwrap_or((why, String::new()));
                Some(LinkFrame::Refused { why, detail })
            }
            Message::GrantAck { .. } => {
                let applied = self.granted.map_or(Duration::ZERO, |granted| granted.elapsed());
                let applied_us = u32::try_from(applied.as_micros()).unwrap_or(u32::MAX);
                Some(LinkFrame::GrantAck { applied_us })
            }
            _ => None,
        }
    }

    /// Does what the machine wants; what it says to the source.
    async fn act(&mut self, driver: &Driver, reports: &mpsc::Sender<Report>) -> Vec<Message> {
        let mut said = Vec::new();
        while let Some(action) = self.target.poll() {
            match action {
                Action::Gate(event) => self.step(driver, event),
                Action::Import(copied) => {
                    let done = self.import(copied).await;
                    self.imported(done, Event::Imported);
                }
                Action::Install { copy, epoch } => {
                    let done = self.install(copy, epoch).await;
                    self.imported(done, Event::Installed);
                }
                Action::SendSource(message) => said.push(message),
                Action::SendAuthority(message) => {
                    if let Some(report) = self.word(&message) {
                        // Nobody to report to means that the process is leaving.
                        let _ = reports.send(report).await;
                    }
                }
                Action::Discard { epoch } => self.discard(driver, epoch).await,
            }
        }
        said
    }

    fn word(&self, message: &Message) -> Option<Report> {
        match *message {
            Message::Activated { directive, incarnation } => Some(Report::Activated(Activated {
                directive,
                key: self.key,
                zone: self.site.zone,
                epoch: self.epoch,
                incarnation,
            })),
            Message::Fenced { directive, incarnation } => {
                Some(Report::Fenced { directive, incarnation })
            }
            _ => None,
        }
    }

    fn step(&mut self, driver: &Driver, event: gate::Event) {
        let live = driver.live.load_full();
        let now_ms = driver.clock.now_ms();
        if matches!(event, gate::Event::Activate { .. }) {
            // Before anything can be executed here. What a source of another release may have
            // written is lost, and told: the session matters more.
            let (zone, key, epoch) = (self.site.zone, self.key, self.epoch);
            if let Err(fault) = driver.gates.put_window(zone, key, epoch, &self.window) {
                tracing::warn!(key = %self.key, %fault, "requests already executed are forgotten");
            }
        }
        match driver.gates.step(&live, self.site.zone, self.key, event, now_ms) {
            Ok(reaction) => {
                if reaction == Reaction::Activated {
                    let who = Who { key: self.key, service: self.service, place: None };
                    driver.gates.introduce(&live, self.site.zone, who, now_ms);
                    driver.gates.holds().close(self.key);
                    if let Some(replicas) = &driver.replicas {
                        replicas.begin(&live, self.site.zone, who, self.epoch);
                    }
                }
                self.target.handle(Event::Gate(reaction));
            }
            Err(refusal) => {
                if refusal != Refusal::NoLease {
                    let detail = format!("the target's gate refuses: {refusal}");
                    self.fault.get_or_insert((UndoneReason::Stale, detail));
                }
                self.target.handle(Event::Refused(refusal));
            }
        }
    }

    async fn import(&mut self, copied: Copied) -> Result<(), StateFault> {
        let (Some(store), Some(copy)) = (&self.store, &self.copy) else { return Ok(()) };
        // An empty delta is nothing to add; in the cut it would be a round trip of pause.
        if copied.since != 0 && copy.bytes.is_empty() {
            return Ok(());
        }
        store.import(&self.site, self.key, self.directive, copy).await?;
        self.staged = true;
        Ok(())
    }

    async fn install(&mut self, copied: Copied, epoch: Epoch) -> Result<(), StateFault> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        if self.copy.is_none() && self.staged {
            // The app dropped the state since the last round: the staged copy must not live on.
            store.release(&self.site, self.key, epoch).await?;
        }
        self.import(copied).await?;
        store.fence(&self.site, self.key, epoch).await
    }

    fn imported(&mut self, done: Result<(), StateFault>, event: Event) {
        match done {
            Ok(()) => self.target.handle(event),
            Err(fault) => {
                let why = fault.undone();
                self.fault = Some((why, limits::detail(fault.to_string())));
                self.target.handle(Event::ImportFailed(why));
            }
        }
        // The bytes are in the store, or nowhere.
        self.copy = None;
    }

    async fn discard(&mut self, driver: &Driver, epoch: Epoch) {
        driver.gates.holds().close(self.key);
        if let (Some(store), true) = (&self.store, self.staged)
            && let Err(fault) = store.release(&self.site, self.key, epoch).await
        {
            tracing::warn!(key = %self.key, %fault, "a staged copy stays behind");
        }
        self.staged = false;
    }
}

/// Whether this gate is the one that the source means; the zone and the service by this table.
fn fits(live: &Live, fleet: &Fleet, open: &Open) -> Result<(ZoneId, ServiceId), Refuse> {
    let facts = live.table.facts();
    let stale = |detail: String| (UndoneReason::Stale, detail);
    let unavailable = |detail: String| (UndoneReason::TargetUnavailable, detail);
    let Some(seat) = fleet.seat.gate() else {
        return Err(unavailable("it is no gate".to_owned()));
    };
    let zone = seat.zone_in(facts).filter(|_| seat.zone == open.to);
    let zone = zone.ok_or_else(|| {
        stale(format!("the gate {} guards {}, not {}", seat.name, seat.zone, open.to))
    })?;
    if open.to_incarnation != seat.incarnation() {
        let life = seat.incarnation();
        return Err(stale(format!("the gate {} lives its life {life} by now", seat.name)));
    }
    if facts.zones[zone.index()].intake != Intake::Open {
        return Err(unavailable(format!("the zone {} takes no sessions", seat.zone)));
    }
    let named =
        |service: &Service| (&service.tenant, &service.name) == (&open.tenant, &open.service);
    match facts.services.iter().position(named) {
        Some(service) => Ok((zone, ServiceId(service as u16))),
        None => {
            Err(unavailable(format!("the gate {} knows no service {:?}", seat.name, open.service)))
        }
    }
}

fn state_bytes_max(service: &Service) -> u64 {
    service.state.bounds().map_or(STATE_BYTES_MAX, |(_, bytes_max)| bytes_max)
}

async fn refuse(send: &mut quinn::SendStream, why: UndoneReason, detail: String) {
    let refused = Framed::bare(LinkFrame::Refused { why, detail: limits::detail(detail) });
    // A source that is gone needs no answer.
    if frames::write(send, &refused, &Default::default(), None).await.is_ok() {
        let _ = send.finish();
        let _ = tokio::time::timeout(OPEN_WAIT, send.stopped()).await;
    }
}
