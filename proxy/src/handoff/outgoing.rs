//! The source of one handoff in a fleet: its machine at work between the gate of this process, the
//! store of its zone, and a target that is reached over the link. Nothing here waits for one thing
//! only: at any moment control may decide otherwise, or the clock may run out.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use homing_session::{
    gate::{self, Reaction},
    handoff::{
        Source,
        message::{Copied, Message},
        source::{Action, Event},
    },
};
use homing_wire::{
    Directive, Gate, HandoffFigures, LinkFrame, OutcomeEnd, ServiceId, UndoneReason, limits,
    link::{Open, Payload},
};
use tokio::sync::mpsc;

use super::{
    Report,
    driver::{Driver, Fleet, us_since},
    link::frames::Framed,
    talk::{Heard, Talk},
};
use crate::{
    hold::Handover,
    state::{CopyKind, Site, StateCopy, StateFault, StateStore},
};

/// How often an idle session is asked whether it may be cut.
const GAP_LOOK: Duration = Duration::from_millis(2);

type Waiting<'a> = Pin<Box<dyn Future<Output = Said> + Send + 'a>>;

/// What something waited for has come to.
enum Said {
    Event(Event),
    Exported { ticket: u32, since: u64, state: Result<Option<StateCopy>, StateFault> },
}

/// One handoff under way.
pub(super) struct Outgoing<'a> {
    driver: &'a Driver,
    fleet: &'a Arc<Fleet>,
    reports: &'a mpsc::Sender<Report>,
    directive: Directive,
    pub(super) service: ServiceId,
    pub(super) store: Option<Arc<dyn StateStore>>,
    pub(super) from: Site,
    source: Source,
    /// The last export, until the next: it may have to be sent again.
    copy: Option<StateCopy>,
    talk: Option<Talk>,
    waiting: Option<Waiting<'a>>,
    /// The fault that undoes it, for people.
    fault: Option<(UndoneReason, String)>,
    handover: Option<Arc<Handover>>,
    started: Instant,
    frozen: Option<Instant>,
    /// From the freeze to the grant on its way, microseconds.
    cut_us: u64,
    rtt: Duration,
    applied_us: u32,
    held: u32,
    /// Where the copy was when it last got on, and when that was.
    progress: (u64, tokio::time::Instant),
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(
        driver: &'a Driver,
        fleet: &'a Arc<Fleet>,
        reports: &'a mpsc::Sender<Report>,
        source: Source,
        service: ServiceId,
        store: Option<Arc<dyn StateStore>>,
        from: Site,
    ) -> Self {
        Self {
            driver,
            fleet,
            reports,
            directive: source.directive().clone(),
            service,
            store,
            from,
            source,
            copy: None,
            talk: None,
            waiting: None,
            fault: None,
            handover: None,
            started: Instant::now(),
            frozen: None,
            cut_us: 0,
            rtt: Duration::ZERO,
            applied_us: 0,
            held: 0,
            progress: (0, tokio::time::Instant::now()),
        }
    }

    /// Runs the machine to its end.
    pub(super) async fn carry_out(&mut self) -> OutcomeEnd {
        let _copying = self.fleet.governor.copying();
        let mut orders = self.fleet.orders.listen(self.directive.key);
        loop {
            while let Some(action) = self.source.poll() {
                if let Action::Report(end) = action {
                    self.wake();
                    return self.figures(end);
                }
                self.act(action).await;
            }
            let deadline = self.deadline();
            tokio::select! {
                said = waited(&mut self.waiting) => {
                    self.waiting = None;
                    self.said(said);
                }
                heard = heard(&mut self.talk) => self.heard(heard),
                reaction = orders.next() => self.stepped(reaction),
                () = tokio::time::sleep_until(deadline) => self.tell(Event::Wake),
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Export { ticket, since, .. } => self.export(ticket, since),
            Action::SendTarget(Message::Stage { copy, .. }) => {
                let payload = payload(copy, self.copy.as_ref());
                self.say(LinkFrame::Stage(payload), Bytes::new(), true).await;
            }
            Action::SendTarget(Message::Grant { copy, .. }) => {
                let payload = payload(copy, self.copy.as_ref());
                // Nothing is executed any more, so the window is as the target must have it.
                let window = self.driver.gates.window(self.from.zone, self.directive.key);
                let frame = LinkFrame::Grant { payload, window_bytes: window.len() as u32 };
                self.say(frame, window.into(), false).await;
                if self.cut_us == 0 {
                    self.cut_us = self.frozen.map_or(0, us_since);
                }
                // Who waited here can be answered: this gate will not execute them any more, and
                // the target holds them until the grant is there.
                self.wake();
            }
            Action::SendAuthority(Message::Stalled { directive, why }) => {
                let detail = self.fault.as_ref().map_or(String::new(), |(_, text)| text.clone());
                let key = self.directive.key;
                let _ = self.reports.send(Report::Stalled { directive, key, why, detail }).await;
            }
            Action::AwaitGap { pause_ms } => self.await_gap(pause_ms),
            Action::AwaitDrained => self.await_drained(),
            Action::Gate(event) => self.step(event),
            // Nothing else is said by a source, and `Report` ended the loop.
            Action::SendTarget(_) | Action::SendAuthority(_) | Action::Report(_) => {}
        }
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Event(event) => self.tell(event),
            Said::Exported { ticket, state: Err(fault), .. } => {
                let why = fault.undone();
                self.note(why, fault.to_string());
                self.tell(Event::ExportFailed { ticket, why });
            }
            Said::Exported { ticket, since, state: Ok(state) } => {
                let copied = |state: &StateCopy| Copied {
                    since: if state.kind == CopyKind::Full { 0 } else { since },
                    version: state.version,
                    bytes: state.bytes.len() as u64,
                };
                let copy = state.as_ref().map(copied).unwrap_or_default();
                self.copy = state;
                self.tell(Event::Exported { ticket, copy });
            }
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Open(rtt) => {
                self.rtt = rtt;
                self.source.link_is(u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX));
            }
            Heard::Lost(detail) => {
                self.talk = None;
                self.note(UndoneReason::TargetUnavailable, detail);
                // The machine asks again when its patience ends: over a new stream then.
            }
            Heard::Frame(LinkFrame::StageAck { version, p95_us }) => {
                self.fleet.governor.heard(p95_us);
                self.fault = None;
                self.tell(Event::StageAck { version });
            }
            Heard::Frame(LinkFrame::Refused { why, detail }) => {
                self.note(why, detail);
                self.tell(Event::StageRefused(why));
            }
            Heard::Frame(LinkFrame::GrantAck { applied_us }) => {
                self.applied_us = applied_us;
                self.tell(Event::GrantAck);
            }
            Heard::Frame(other) => tracing::warn!(?other, "a target said what only sources say"),
        }
    }

    async fn say(&mut self, frame: LinkFrame, window: Bytes, paced: bool) {
        if self.talk.is_none() {
            let Some((gate, open)) = self.target() else {
                let detail = "the target zone has no gate".to_owned();
                return self.note(UndoneReason::TargetUnavailable, detail);
            };
            self.talk = Some(Talk::begin(self.fleet, gate, open));
        }
        let bytes = self.copy.as_ref().map_or_else(Bytes::new, |copy| copy.bytes.clone());
        let framed = Framed { frame, bytes, window };
        if let Some(talk) = &mut self.talk
            && !talk.say(framed, paced).await
        {
            self.talk = None;
        }
    }

    /// The target's gate as the newest table has it, and what to open the stream with.
    fn target(&self) -> Option<(Gate, Open)> {
        let live = self.driver.live.load();
        let facts = live.table.facts();
        let Directive { id, key, from, to, to_incarnation, epoch, .. } = self.directive;
        let zone = facts.zones.get(to.index())?;
        let service = facts.services.get(self.service.index())?;
        let open = Open {
            directive: id,
            key,
            to_incarnation,
            epoch,
            from: facts.zones.get(from.index())?.name.clone(),
            to: zone.name.clone(),
            tenant: service.tenant.clone(),
            service: service.name.clone(),
            hot: self.driver.prewarm.list(key, service),
        };
        // The life that the directive names, even if another gate has joined its zone since.
        let gate = zone.gate_living(to_incarnation).or_else(|| zone.gate_of(key))?;
        Some((gate.clone(), open))
    }

    fn export(&mut self, ticket: u32, since: u64) {
        let Some(store) = self.store.clone() else {
            self.copy = None;
            return self.tell(Event::Exported { ticket, copy: Copied::default() });
        };
        let (site, key) = (self.from.clone(), self.directive.key);
        self.waiting = Some(Box::pin(async move {
            Said::Exported { ticket, since, state: store.export(&site, key, since).await }
        }));
    }

    fn await_gap(&mut self, pause_ms: u64) {
        let (driver, zone, key) = (self.driver, self.from.zone, self.directive.key);
        self.waiting = Some(Box::pin(async move {
            while !driver.gates.may_cut(zone, key, pause_ms, driver.clock.now_ms()) {
                tokio::time::sleep(GAP_LOOK).await;
            }
            Said::Event(Event::Gap)
        }));
    }

    fn await_drained(&mut self) {
        let (driver, zone, key) = (self.driver, self.from.zone, self.directive.key);
        let Some(handover) = self.handover.clone() else { return };
        self.waiting = Some(Box::pin(async move {
            while driver.gates.in_flight(zone, key) > 0 {
                handover.drained().await;
            }
            Said::Event(Event::Drained)
        }));
    }

    fn step(&mut self, event: gate::Event) {
        if matches!(event, gate::Event::Freeze { .. }) {
            self.handover = Some(self.driver.gates.holds().open(self.directive.key));
            self.frozen = Some(Instant::now());
        }
        let live = self.driver.live.load_full();
        let (key, now_ms) = (self.directive.key, self.driver.clock.now_ms());
        match self.driver.gates.step(&live, self.from.zone, key, event, now_ms) {
            Ok(reaction) => self.stepped(reaction),
            Err(refusal) => self.tell(Event::Refused(refusal)),
        }
    }

    fn stepped(&mut self, reaction: Reaction) {
        if matches!(reaction, Reaction::Thawed | Reaction::Owns | Reaction::Dropped) {
            if reaction == Reaction::Thawed && self.driver.gates.in_flight_of(&self.directive) > 0 {
                let detail = "requests in flight did not end within the freeze".to_owned();
                self.note(UndoneReason::DrainTimeout, detail);
            }
            self.frozen = None;
            self.wake();
        }
        self.tell(Event::Gate(reaction));
    }

    /// Lets those who wait ask again.
    fn wake(&mut self) {
        self.held += self.driver.gates.holds().close(self.directive.key);
        self.handover = None;
    }

    fn tell(&mut self, event: Event) {
        self.source.handle(event, self.driver.clock.now_ms());
    }

    fn note(&mut self, why: UndoneReason, detail: String) {
        self.fault = Some((why, limits::detail(detail)));
    }

    /// The machine's deadline, put off while a copy gets on: how long that takes is the link's and
    /// the governor's business, and only standing still is a fault.
    fn deadline(&mut self) -> tokio::time::Instant {
        let now = tokio::time::Instant::now();
        let now_ms = self.driver.clock.now_ms();
        let wait_ms = self.source.deadline().map_or(1_000, |at_ms| at_ms.saturating_sub(now_ms));
        let due = now + Duration::from_millis(wait_ms);
        match self.talk.as_ref().and_then(Talk::under_way) {
            None => due,
            Some(bytes) => {
                if bytes != self.progress.0 {
                    self.progress = (bytes, now);
                }
                due.max(self.progress.1 + STANDSTILL)
            }
        }
    }

    fn figures(&mut self, end: OutcomeEnd) -> OutcomeEnd {
        match end {
            OutcomeEnd::Completed(figures) => {
                // Both clocks run only where they stand: freeze to grant here, one way, and grant
                // to activation there.
                let one_way_us = (self.rtt.as_micros() / 2) as u64;
                OutcomeEnd::Completed(HandoffFigures {
                    pause_us: self.cut_us + one_way_us + u64::from(self.applied_us),
                    held: self.held,
                    total_us: us_since(self.started),
                    ..figures
                })
            }
            OutcomeEnd::Undone { why, .. } => {
                let (why, detail) = self.fault.take().unwrap_or((why, String::new()));
                OutcomeEnd::Undone { why, detail }
            }
        }
    }
}

/// A copy of which nothing is taken for this long stands still.
const STANDSTILL: Duration = Duration::from_secs(2);

fn payload(copied: Copied, copy: Option<&StateCopy>) -> Payload {
    Payload {
        since: copied.since,
        version: copied.version,
        whole: copy.is_none_or(|copy| copy.kind == CopyKind::Full),
        present: copy.is_some(),
        bytes: copied.bytes,
    }
}

async fn waited(waiting: &mut Option<Waiting<'_>>) -> Said {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

async fn heard(talk: &mut Option<Talk>) -> Heard {
    match talk {
        Some(talk) => talk.hear().await,
        None => std::future::pending().await,
    }
}
