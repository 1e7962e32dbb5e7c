//! The two machines of one handoff at work, side by side. Every wait has the source's deadline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use homing_session::{
    gate::{self, Reaction, Refusal, StartFrom},
    handoff::{
        Source, Target,
        message::{Copied, Message},
        source, target,
    },
    roster::Who,
};
use homing_wire::{
    Directive, Epoch, HandoffFigures, OutcomeEnd, ServiceId, UndoneReason, limits, table::Home,
};

use super::driver::{Driver, us_since};
use crate::{
    activation_log::Activation,
    hold::Handover,
    state::{CopyKind, Site, StateCopy, StateFault, StateStore},
};

/// How often an idle session is asked whether it may be cut.
const GAP_LOOK: Duration = Duration::from_millis(5);

/// One handoff under way.
pub(super) struct Run<'a> {
    driver: &'a Driver,
    pub(super) directive: Directive,
    pub(super) service: ServiceId,
    pub(super) store: Option<Arc<dyn StateStore>>,
    pub(super) from: Site,
    pub(super) to: Site,
    source: Source,
    target: Target,
    /// The bytes of the last export; `None` if the session had no state.
    copy: Option<StateCopy>,
    /// Whether anything is staged at the target's store.
    staged: bool,
    /// The fault that undid it, for people.
    fault: Option<(UndoneReason, String)>,
    handover: Option<Arc<Handover>>,
    started: Instant,
    frozen: Option<Instant>,
    pause_us: u64,
    held: u32,
    /// Where the session lives if that changed.
    home: Option<Home>,
    /// What the target's store is to drop, once there is time.
    pub(super) discard: Option<Epoch>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        driver: &'a Driver,
        directive: Directive,
        source: Source,
        store: Option<Arc<dyn StateStore>>,
        service: ServiceId,
        from: Site,
        to: Site,
    ) -> Self {
        let target = Target::new(directive.id, directive.to_incarnation, directive.epoch);
        Self {
            driver,
            directive,
            service,
            store,
            from,
            to,
            source,
            target,
            copy: None,
            staged: false,
            fault: None,
            handover: None,
            started: Instant::now(),
            frozen: None,
            pause_us: 0,
            held: 0,
            home: None,
            discard: None,
        }
    }

    /// Runs the machines to their end.
    pub(super) async fn carry_out(&mut self) -> (OutcomeEnd, Option<Home>) {
        loop {
            if let Some(action) = self.target.poll() {
                self.at_target(action).await;
            } else if let Some(action) = self.source.poll() {
                if let source::Action::Report(end) = action {
                    self.thawed();
                    return (self.figures(end), self.home);
                }
                self.at_source(action).await;
            } else {
                let deadline = self.deadline();
                tokio::time::sleep_until(deadline).await;
                self.tell_source(source::Event::Wake);
            }
        }
    }

    /// The machine's deadline; one second if it has none, so that nothing waits for ever.
    fn deadline(&self) -> tokio::time::Instant {
        let now_ms = self.driver.clock.now_ms();
        let wait_ms = self.source.deadline().map_or(1_000, |at_ms| at_ms.saturating_sub(now_ms));
        tokio::time::Instant::now() + Duration::from_millis(wait_ms)
    }

    fn tell_source(&mut self, event: source::Event) {
        self.source.handle(event, self.driver.clock.now_ms());
    }

    async fn at_source(&mut self, action: source::Action) {
        match action {
            source::Action::Export { ticket, since, .. } => self.export(ticket, since).await,
            source::Action::SendTarget(Message::Stage { copy, .. }) => {
                self.target.handle(target::Event::Stage(copy));
            }
            source::Action::SendTarget(Message::Grant { copy, .. }) => {
                self.target.handle(target::Event::Grant(copy));
            }
            source::Action::SendAuthority(Message::Stalled { why, .. }) => self.resolve(why),
            source::Action::AwaitGap { pause_ms } => self.await_gap(pause_ms).await,
            source::Action::AwaitDrained => self.await_drained().await,
            source::Action::Gate(event) => self.step_source(event),
            // Nothing else is said within one process, and `Report` ended the loop.
            source::Action::SendTarget(_)
            | source::Action::SendAuthority(_)
            | source::Action::Report(_) => {}
        }
    }

    async fn at_target(&mut self, action: target::Action) {
        match action {
            target::Action::Gate(event) => self.step_target(event),
            target::Action::Import(copied) => {
                let done = self.import(copied).await;
                self.imported(done, target::Event::Imported);
            }
            target::Action::Install { copy, epoch } => {
                let done = self.install(copy, epoch).await;
                self.imported(done, target::Event::Installed);
            }
            target::Action::SendSource(message) => {
                if let Some((_, event)) = source::heard(&message) {
                    self.tell_source(event);
                }
            }
            // The source tells the same authority when it has stalled, or reports the end.
            target::Action::SendAuthority(_) => {}
            target::Action::Discard { epoch } => self.discard = Some(epoch),
        }
    }

    async fn export(&mut self, ticket: u32, since: u64) {
        let (key, deadline) = (self.directive.key, self.deadline());
        let Some(store) = self.store.clone() else {
            let copy = Copied::default();
            return self.tell_source(source::Event::Exported { ticket, copy });
        };
        let export = store.export(&self.from, key, since);
        match tokio::time::timeout_at(deadline, export).await {
            Err(_) => self.tell_source(source::Event::Wake),
            Ok(Err(fault)) => {
                let why = self.note(&fault);
                self.tell_source(source::Event::ExportFailed { ticket, why });
            }
            Ok(Ok(state)) => {
                let copied = |state: &StateCopy| Copied {
                    since: if state.kind == CopyKind::Full { 0 } else { since },
                    version: state.version,
                    bytes: state.bytes.len() as u64,
                };
                let copy = state.as_ref().map(copied).unwrap_or_default();
                self.copy = state;
                self.tell_source(source::Event::Exported { ticket, copy });
            }
        }
    }

    async fn import(&mut self, copied: Copied) -> Result<(), StateFault> {
        let (Some(store), Some(copy)) = (&self.store, &self.copy) else { return Ok(()) };
        // An empty delta is nothing to add; in the cut it would be a round trip of pause.
        if copied.since != 0 && copy.bytes == Bytes::new() {
            return Ok(());
        }
        store.import(&self.to, self.directive.key, self.directive.id, copy).await?;
        self.staged = true;
        Ok(())
    }

    async fn install(&mut self, copied: Copied, epoch: Epoch) -> Result<(), StateFault> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let key = self.directive.key;
        if self.copy.is_none() && self.staged {
            // The app dropped the state since the last round: the staged copy must not live on.
            store.release(&self.to, key, epoch).await?;
        }
        self.import(copied).await?;
        store.fence(&self.to, key, epoch).await
    }

    fn imported(&mut self, done: Result<(), StateFault>, event: target::Event) {
        match done {
            Ok(()) => self.target.handle(event),
            Err(fault) => {
                let why = self.note(&fault);
                self.target.handle(target::Event::ImportFailed(why));
            }
        }
    }

    fn note(&mut self, fault: &StateFault) -> UndoneReason {
        self.fault = Some((fault.undone(), limits::detail(fault.to_string())));
        fault.undone()
    }

    async fn await_gap(&mut self, pause_ms: u64) {
        let deadline = self.deadline();
        loop {
            let now_ms = self.driver.clock.now_ms();
            if self.driver.gates.may_cut(self.from.zone, self.directive.key, pause_ms, now_ms) {
                return self.tell_source(source::Event::Gap);
            }
            if tokio::time::Instant::now() >= deadline {
                return self.tell_source(source::Event::Wake);
            }
            tokio::time::sleep(GAP_LOOK).await;
        }
    }

    async fn await_drained(&mut self) {
        let deadline = self.deadline();
        let Some(handover) = self.handover.clone() else { return };
        while self.driver.gates.in_flight(self.from.zone, self.directive.key) > 0 {
            if tokio::time::timeout_at(deadline, handover.drained()).await.is_err() {
                let detail = "requests in flight did not end within the freeze".to_owned();
                self.fault = Some((UndoneReason::DrainTimeout, detail));
                return self.tell_source(source::Event::Wake);
            }
        }
        self.tell_source(source::Event::Drained);
    }

    fn step_source(&mut self, event: gate::Event) {
        if matches!(event, gate::Event::Freeze { .. }) {
            self.handover = Some(self.driver.gates.holds().open(self.directive.key));
            self.frozen = Some(Instant::now());
        }
        match self.step(self.from.zone, event) {
            Ok(reaction) => {
                if reaction == Reaction::Retired {
                    self.introduce();
                }
                if matches!(reaction, Reaction::Thawed | Reaction::Retired | Reaction::Owns) {
                    self.thawed();
                }
                self.tell_source(source::Event::Gate(reaction));
            }
            Err(refusal) => self.tell_source(source::Event::Refused(refusal)),
        }
    }

    /// Tells the target's gate whose session it is, before the first request comes.
    fn introduce(&self) {
        let who = Who { key: self.directive.key, service: self.service, place: None };
        let live = self.driver.live.load_full();
        self.driver.gates.introduce(&live, self.to.zone, who, self.driver.clock.now_ms());
    }

    /// Requests are served again, here or there.
    fn thawed(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            self.held += self.driver.gates.holds().close(self.directive.key);
            self.pause_us = us_since(frozen);
            self.handover = None;
        }
    }

    fn step_target(&mut self, event: gate::Event) {
        if matches!(event, gate::Event::Activate { .. }) {
            let (gates, key) = (&self.driver.gates, self.directive.key);
            let window = gates.window(self.from.zone, key);
            if let Err(fault) = gates.put_window(self.to.zone, key, self.directive.epoch, &window) {
                tracing::error!(%fault, "a window of our own does not read");
            }
            let home = Home { zone: self.to.zone, epoch: self.directive.epoch };
            if let Err(error) = self.record(home) {
                // What is not recorded must not happen: a killed process would forget it.
                let detail = format!("the activation could not be recorded: {error}");
                self.fault = Some((UndoneReason::TargetUnavailable, detail));
                self.target.handle(target::Event::Refused(Refusal::OutOfPlace));
                return self.resolve(UndoneReason::TargetUnavailable);
            }
            self.home = Some(home);
        }
        match self.step(self.to.zone, event) {
            Ok(reaction) => self.target.handle(target::Event::Gate(reaction)),
            Err(refusal) => {
                self.target.handle(target::Event::Refused(refusal));
                if matches!(event, gate::Event::Activate { .. }) {
                    self.resolve(UndoneReason::TargetUnavailable);
                }
            }
        }
    }

    fn record(&self, home: Home) -> std::io::Result<()> {
        let Directive { id, key, .. } = self.directive;
        self.driver.log.append(&Activation { directive: id, key, home })
    }

    fn step(&self, zone: homing_wire::ZoneId, event: gate::Event) -> Result<Reaction, Refusal> {
        let now_ms = self.driver.clock.now_ms();
        let live = self.driver.live.load_full();
        self.driver.gates.step(&live, zone, self.directive.key, event, now_ms)
    }

    /// The one rule of recovery. Both gates are in this process, so the target's word can be had
    /// at once, and what an authority would decide by it is known: commit, or take back one epoch
    /// higher. It is told afterwards.
    fn resolve(&mut self, why: UndoneReason) {
        let Directive { id: directive, to_incarnation, epoch, .. } = self.directive;
        let query = gate::Event::FenceQuery { directive, to_incarnation };
        match self.step(self.to.zone, query) {
            Ok(Reaction::Activated) => return self.tell_source(source::Event::GrantAck),
            Ok(_) => self.target.handle(target::Event::Gate(Reaction::Fenced)),
            Err(refusal) => tracing::warn!(%directive, %refusal, "no word from the target's gate"),
        }
        if self.fault.is_none() {
            self.fault = Some((why, String::new()));
        }
        let home = Home { zone: self.from.zone, epoch: epoch.next() };
        let own = gate::Event::Own {
            directive,
            incarnation: to_incarnation,
            epoch: home.epoch,
            from: StartFrom::Retained,
        };
        match self.step(self.from.zone, own) {
            Ok(reaction) => {
                self.home = Some(home);
                if let Err(error) = self.record(home) {
                    tracing::error!(%error, key = %self.directive.key, "a home is not recorded");
                }
                self.thawed();
                self.tell_source(source::Event::Gate(reaction));
            }
            // Someone took it back already, or it is gone: nothing of it is ours any more.
            Err(_) => self.tell_source(source::Event::Gate(Reaction::Dropped)),
        }
    }

    fn figures(&mut self, end: OutcomeEnd) -> OutcomeEnd {
        match end {
            OutcomeEnd::Completed(figures) => OutcomeEnd::Completed(HandoffFigures {
                pause_us: self.pause_us,
                held: self.held,
                total_us: us_since(self.started),
                ..figures
            }),
            OutcomeEnd::Undone { why, .. } => {
                let (why, detail) = self.fault.take().unwrap_or((why, String::new()));
                OutcomeEnd::Undone { why, detail }
            }
        }
    }
}
