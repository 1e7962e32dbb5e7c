//! The lead: one thread that owns everything that decides, so that nothing about it needs a lock or
//! an order of locks. It takes commands in batches, writes what they change to the journal in one
//! transaction, and only then answers, publishes and sends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, mpsc as std_mpsc},
    time::Instant,
};

use homing_plan::{Mobility, mobility::Transition};
use homing_session::handoff::authority::Patience;
use homing_wire::{
    Delta, DirectiveId, Incarnation, Intake, PlacementTable, SessionKey, ToProxy, Version,
    ZoneSample,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock,
    foresight::Observation,
    journal::{Entry, HeirRow, HistoryRow, IdempotencyRow, JournalFault, Recovered, Release},
    profiles::Profiles,
    shared::Shared,
};

mod command;
mod documents;
mod forget;
mod gates;
mod handoffs;
mod heirs;
mod lessons;
mod meter;
mod mobility;
mod moves;
mod provided;
mod records;
mod releases;
mod rounds;
mod why;

pub use command::{Command, Ended, Handle, mailbox};
pub use documents::{Push, PushFault, Pushed};
pub use moves::{MoveAsked, MoveFault, Moving};
pub use rounds::PlanJob;
pub use why::WhySession;

/// Commands that share one transaction.
const BATCH: usize = 4_096;
/// Deltas after which the journal takes a whole table again.
const DELTAS_PER_SNAPSHOT: u32 = 1_000;
/// Ended directives that are kept at hand, for outcomes that follow their commit.
const ENDED_KEPT: usize = 20_000;
/// Idempotency keys that are kept at hand.
const KEYS_KEPT: usize = 10_000;

/// The lead's settings.
#[derive(Clone, Copy, Debug)]
pub struct LeadSettings {
    /// Sessions remembered.
    pub sessions_max: usize,
    /// Seeds the plans.
    pub seed: u64,
    /// Milliseconds of a step of what is observed for forecasts.
    pub step_ms: u64,
    /// Zones and services that are scaled.
    pub scaled: usize,
}

/// Everything that decides.
pub struct Lead {
    shared: Arc<Shared>,
    planner: std_mpsc::SyncSender<PlanJob>,
    foresight: std_mpsc::SyncSender<Observation>,
    meter: meter::Meter,
    step_ms: u64,
    seed: u64,
    /// The lead's own copy of the table; the published one follows when the journal has it.
    table: Option<PlacementTable>,
    /// Likewise ahead of the shared one.
    document: Option<Arc<crate::shared::DocumentVersion>>,
    deltas_since_snapshot: u32,
    intakes: BTreeMap<String, Intake>,
    leaving: bool,
    provided: provided::Book,
    gates: gates::GateBook,
    handoffs: BTreeMap<SessionKey, handoffs::Held>,
    releases: BTreeMap<SessionKey, Release>,
    heirs: HashMap<SessionKey, HeirRow>,
    ended: BTreeMap<DirectiveId, (u64, HistoryRow)>,
    /// Idempotency keys of this life; older ones are in the journal.
    keys: BTreeMap<String, IdempotencyRow>,
    next_directive: u64,
    next_history: u64,
    profiles: Profiles,
    /// Highest batch taken in, by proxy life.
    marks: BTreeMap<Incarnation, u64>,
    /// Marks the journal has yet to learn of, and whom to tell then.
    unmarked: BTreeMap<Incarnation, (u64, String)>,
    samples: BTreeMap<String, (u64, Vec<ZoneSample>, u64)>,
    /// Sessions left in peace after an undone handoff, and until when.
    rests: BTreeMap<SessionKey, u64>,
    /// Where clients go, what records told since the last round, and whether the journal knows.
    mobility: Arc<Mobility>,
    seen: Vec<Transition>,
    mobility_unwritten: bool,
    /// What moves were expected to bring, and what they brought.
    lessons: lessons::Lessons,
    /// When plans started moves and from where, within the last minute.
    started: VecDeque<(u64, homing_wire::ZoneId)>,
    rounds: u64,
    planning: bool,
    out: Outgoing,
}

/// What the batch under way will write, and what it will do once that is durable.
#[derive(Default)]
struct Outgoing {
    entries: Vec<Entry>,
    then: Vec<Then>,
}

/// What waits for the journal.
enum Then {
    Advance(Delta),
    Replace(Box<PlacementTable>),
    Send(Option<String>, ToProxy),
    Answer(Box<dyn FnOnce() + Send>),
    Document(Arc<crate::shared::DocumentVersion>),
}

impl Lead {
    /// Takes up what the journal held. `recovered.table` has been published already.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        recovered: Recovered,
        settings: LeadSettings,
        planner: std_mpsc::SyncSender<PlanJob>,
        foresight: std_mpsc::SyncSender<Observation>,
    ) -> Self {
        let now_ms = clock::now_ms();
        let document = shared.document.read().clone();
        let facts = recovered.table.as_ref().map(|table| table.facts().clone());
        let patience = facts
            .as_ref()
            .map_or_else(Patience::default, |facts| handoffs::patience(&facts.policy));
        let handoffs = handoffs::take_up(&recovered, patience, now_ms);
        Self {
            planner,
            foresight,
            meter: meter::Meter::default(),
            step_ms: settings.step_ms,
            gates: gates::GateBook::inherit(&recovered),
            seed: settings.seed,
            table: recovered.table,
            document,
            deltas_since_snapshot: recovered.deltas.len() as u32,
            intakes: recovered.intakes,
            leaving: true,
            provided: provided::Book::expecting(settings.scaled),
            handoffs,
            releases: recovered.releases.into_iter().collect(),
            heirs: recovered.heirs.into_iter().collect(),
            ended: BTreeMap::new(),
            keys: BTreeMap::new(),
            next_directive: recovered.next_directive,
            next_history: recovered.next_history,
            profiles: Profiles::new(recovered.profiles, settings.sessions_max),
            marks: recovered.watermarks,
            unmarked: BTreeMap::new(),
            samples: BTreeMap::new(),
            rests: BTreeMap::new(),
            mobility: Arc::new(recovered.mobility),
            seen: Vec::new(),
            mobility_unwritten: false,
            lessons: lessons::Lessons::new(recovered.feedback, facts.as_deref()),
            started: VecDeque::new(),
            rounds: 0,
            planning: false,
            out: Outgoing::default(),
            shared,
        }
    }

    /// Opens the term: every table from now on outranks those of the terms before.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn open_term(&mut self) -> Result<(), JournalFault> {
        self.out.entries.push(Entry::Term(self.shared.term));
        if self.table.is_some() {
            self.change(|_, _| {});
        }
        self.settle()
    }

    /// Works until told to stop, or until the journal cannot be written: an answer that is not
    /// durable is worse than none.
    ///
    /// # Errors
    /// The journal failed.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Command>) -> Result<(), JournalFault> {
        while let Some(first) = inbox.blocking_recv() {
            let mut stop = self.take(first);
            for _ in 1..BATCH {
                match inbox.try_recv() {
                    Ok(next) if !stop => stop = self.take(next),
                    _ => break,
                }
            }
            self.settle()?;
            if stop {
                break;
            }
        }
        self.write_records();
        self.write_mobility();
        self.write_lessons();
        self.settle()
    }

    /// Takes one command; true if it says to stop.
    fn take(&mut self, command: Command) -> bool {
        let now_ms = clock::now_ms();
        match command {
            Command::Push(push, reply) => {
                let dry_run = push.dry_run;
                let answer = self.push(*push, now_ms);
                self.answer(reply, answer);
                if !dry_run {
                    self.leaving = true;
                }
            }
            Command::Intake { zone, intake, reply } => {
                let answer = self.set_intake(&zone, intake);
                self.answer(reply, answer);
            }
            Command::Move(asked, reply) => {
                let answer = self.move_session(asked, now_ms);
                self.answer(reply, answer);
            }
            Command::Why(key, reply) => {
                let answer = self.why(key, now_ms);
                self.answer(reply, answer);
            }
            Command::Seen(scope, keys, reply) => {
                let answer = self.seen(&scope, &keys);
                self.answer(reply, answer);
            }
            Command::Forget(key, history, reply) => {
                let answer = self.forget(key, &history);
                self.answer(reply, answer);
            }
            Command::Attached { proxy, incarnation, gate } => {
                self.attached(&proxy);
                if let Some(hello) = gate {
                    self.gate_attached(&proxy, incarnation, hello, now_ms);
                }
            }
            Command::Acked => {
                self.shared.looks_at_acks();
                self.acked(now_ms);
            }
            Command::Heard { proxy, incarnation, message } => {
                self.heard(&proxy, incarnation, message, now_ms)
            }
            Command::Provided { zone, service, endpoints } => {
                self.take_provided(zone, service, endpoints);
            }
            Command::Tick => self.tick(now_ms),
            Command::Planned(plan) => self.planned(*plan, now_ms),
            Command::Stop => return true,
        }
        false
    }

    fn answer<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.out.then.push(Then::Answer(Box::new(move || {
            // Whoever asked may have gone away; what was done stays done.
            let _ = reply.send(answer);
        })));
    }

    /// Draws up the next table, if there is one and `fill` changes anything or a term begins.
    /// Returns the version that shows the change.
    fn change(&mut self, fill: impl FnOnce(&PlacementTable, &mut Delta)) -> Option<Version> {
        let term = self.shared.term;
        let table = self.table.as_mut()?;
        let next = match table.version() {
            held if held.term < term => Version { term, n: 1 },
            held => held.next(),
        };
        let mut delta = Delta::to(next, clock::now_ms());
        fill(table, &mut delta);
        if delta.is_empty() && table.version().term == term {
            return Some(table.version());
        }
        match table.advance(delta) {
            Ok(delta) => {
                self.deltas_since_snapshot += 1;
                self.out.entries.push(Entry::Delta(delta.version, delta.encode()));
                self.out.then.push(Then::Advance(delta));
                Some(next)
            }
            Err(faults) => {
                let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
                tracing::error!(faults = words.join("; "), "a change was dropped as unsound");
                None
            }
        }
    }

    /// Writes the batch, then does what waited for it.
    fn settle(&mut self) -> Result<(), JournalFault> {
        if self.deltas_since_snapshot >= DELTAS_PER_SNAPSHOT
            && let Some(table) = &self.table
        {
            let snapshot = Entry::Snapshot(table.version(), table.encode());
            self.out.entries.push(snapshot);
            self.deltas_since_snapshot = 0;
        }
        let Outgoing { entries, then } = std::mem::take(&mut self.out);
        if !entries.is_empty() {
            let begun = Instant::now();
            self.shared.journal.write(&entries)?;
            let spent = begun.elapsed().as_micros() as u64;
            self.shared.metrics.journal_writes.add(1);
            self.shared.metrics.journal_us.add(spent);
        }
        // All that a batch changed goes out as one delta, before anybody is answered.
        let (mut whole, mut deltas, mut rest) = (None, Vec::new(), Vec::new());
        for then in then {
            match then {
                Then::Advance(delta) => deltas.push(Arc::new(delta)),
                Then::Replace(table) => {
                    whole = Some(table);
                    deltas.clear();
                }
                other => rest.push(other),
            }
        }
        self.publish(whole, deltas);
        for then in rest {
            match then {
                Then::Advance(_) | Then::Replace(_) => {}
                Then::Send(to, message) => {
                    self.shared.roll.send(to.as_deref(), &message);
                }
                Then::Answer(answer) => answer(),
                Then::Document(version) => *self.shared.document.write() = Some(version),
            }
        }
        if self.keys.len() > KEYS_KEPT {
            // The journal has them all by now.
            self.keys.clear();
        }
        Ok(())
    }

    fn publish(&self, whole: Option<Box<PlacementTable>>, deltas: Vec<Arc<Delta>>) {
        if let Some(table) = whole {
            self.shared.published.replace(*table);
        }
        if let Err(fault) = self.shared.published.advance(deltas) {
            // Two copies of one table differ: start over from the one that decides.
            tracing::error!(%fault, "the published table is replaced");
            if let Some(table) = &self.table {
                self.shared.published.replace(table.clone());
            }
        }
    }

    fn send(&mut self, to: Option<&str>, message: ToProxy) {
        self.out.then.push(Then::Send(to.map(ToOwned::to_owned), message));
    }

    fn zone_name(&self, zone: homing_wire::ZoneId) -> String {
        let facts = self.table.as_ref().map(|table| table.facts().clone());
        let name = facts.and_then(|f| f.zones.get(zone.index()).map(|zone| zone.name.clone()));
        name.unwrap_or_else(|| format!("zone-{zone}"))
    }

    fn resting(&self, now_ms: u64) -> BTreeSet<SessionKey> {
        let rests = self.rests.iter();
        rests.filter(|(_, until)| **until > now_ms).map(|(key, _)| *key).collect()
    }
}
