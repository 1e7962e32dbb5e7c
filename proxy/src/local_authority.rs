//! The authority of a proxy that runs without control: it owns the table, turns an operator's
//! `move` and `drain` into directives, and commits what became of them. It is the smallest control
//! there can be: no plans, no forecasts, one writer, everything it decides is in the table.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use homing_session::handoff::record::{Event, Lives, Pending, Record};
use homing_wire::{
    Cut, Directive, DirectiveId, Incarnation, Intake, MoveReason, OutcomeEnd, SessionKey, ZoneId,
    delta::Delta,
    table::{Facts, Home, PlacementTable, TableFault},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock::Clock,
    gates::Gates,
    handoff::{Ended, Report},
    live::{Live, LiveTable},
    outcomes::Outcomes,
    telemetry::Metrics,
};

mod deal;
mod drain;
mod facts;

pub use facts::FactsRefused;

use drain::Drain;

/// Orders and reports are gathered this long and committed together: one table, one swap.
const GATHER: Duration = Duration::from_millis(4);
/// How often drains and retries are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often one batch of work may take things in.
const BATCH_MAX: usize = 4_096;
/// How often a handoff that was undone for a passing reason is ordered again.
const RETRIES_MAX: u8 = 2;
/// The pause before the first retry; it doubles.
const RETRY_MS: u64 = 2_000;

/// What an operator may ask for.
pub enum Order {
    /// Hand one session over.
    Move {
        /// The session.
        key: SessionKey,
        /// Where to.
        to: ZoneId,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<DirectiveId, OrderRefused>>,
    },
    /// Empty a zone.
    Drain {
        /// The zone.
        zone: ZoneId,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), OrderRefused>>,
    },
    /// Let a zone take sessions again.
    Open {
        /// The zone.
        zone: ZoneId,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), OrderRefused>>,
    },
    /// Put a new document in force.
    Facts {
        /// What the operator states now.
        facts: Box<Facts>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), FactsRefused>>,
    },
}

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// It lives there already.
    #[error("the session lives there already, at epoch {0}")]
    AlreadyThere(homing_wire::Epoch),
    /// It is being handed over.
    #[error("directive {0} is handing the session over already")]
    Busy(DirectiveId),
    /// The zone takes no sessions.
    #[error("the zone takes no sessions: it is {0}")]
    NotOpen(&'static str),
    /// No other zone could take them.
    #[error("no other zone is open")]
    NoOtherZone,
    /// The record of the session does not allow it.
    #[error("{0}")]
    Record(String),
}

/// The authority. [`LocalAuthority::run`] is its task.
pub struct LocalAuthority {
    live: Arc<LiveTable>,
    gates: Arc<Gates>,
    outcomes: Arc<Outcomes>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Since when every session with state must have been seen here, if it is not over.
    known_since_ms: u64,
    next: DirectiveId,
    drains: BTreeMap<ZoneId, Drain>,
    retries: HashMap<SessionKey, Retry>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    to: ZoneId,
    reason: MoveReason,
    cut: Cut,
    times: u8,
    /// `None` while a try is under way.
    due_ms: Option<u64>,
}

/// A change being gathered.
struct Change {
    live: Arc<Live>,
    delta: Delta,
    /// Sessions with an open directive, those of this change included.
    moving: HashMap<SessionKey, DirectiveId>,
}

impl LocalAuthority {
    /// Takes up the table in force. `known_since_ms` is 0 if no earlier life left a table behind:
    /// then there can be no session with state that this life has not seen.
    #[must_use]
    pub fn new(
        live: Arc<LiveTable>,
        gates: Arc<Gates>,
        outcomes: Arc<Outcomes>,
        metrics: Arc<Metrics>,
        known_since_ms: u64,
    ) -> Self {
        let clock = Clock::process();
        // Rises over restarts without being stored; a thousand a millisecond are free.
        let first = DirectiveId(clock.now_ms() << 10);
        let open = live.load().table.directives().keys().next_back().map(|id| id.0 + 1);
        let next = first.max(DirectiveId(open.unwrap_or(0)));
        Self {
            live,
            gates,
            outcomes,
            metrics,
            clock,
            known_since_ms,
            next,
            drains: BTreeMap::new(),
            retries: HashMap::new(),
        }
    }

    /// Runs until both senders are gone.
    pub async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut reports: mpsc::Receiver<Report>,
    ) {
        self.take_up_drains();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (mut asked, mut told) = (Vec::new(), Vec::new());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => asked.push(order),
                    None => return,
                },
                report = reports.recv() => match report {
                    Some(report) => told.push(report),
                    None => return,
                },
                _ = tick.tick() => {}
            }
            if !(asked.is_empty() && told.is_empty()) {
                tokio::time::sleep(GATHER).await;
            }
            while let Ok(order) = orders.try_recv() {
                asked.push(order);
                if asked.len() >= BATCH_MAX {
                    break;
                }
            }
            while let Ok(report) = reports.try_recv() {
                told.push(report);
                if told.len() >= BATCH_MAX {
                    break;
                }
            }
            self.turn(asked, told);
        }
    }

    /// One turn: take in, decide, commit.
    fn turn(&mut self, asked: Vec<Order>, told: Vec<Report>) {
        let now_ms = self.clock.now_ms();
        let mut change = self.begin(now_ms);
        for report in told {
            self.take_in(report, &mut change, now_ms);
        }
        let answers: Vec<_> =
            asked.into_iter().map(|order| self.obey(order, &mut change, now_ms)).collect();
        self.retry_due(&mut change, now_ms);
        self.drain_on(&mut change, now_ms);
        self.commit(change);
        // An answer says that the table already holds it.
        answers.into_iter().for_each(|answer| answer());
    }

    fn begin(&self, now_ms: u64) -> Change {
        let live = self.live.load_full();
        let moving = live.table.directives().values().map(|d| (d.key, d.id)).collect();
        let delta = Delta::to(live.table.version().next(), now_ms);
        Change { live, delta, moving }
    }

    fn take_in(&mut self, report: Report, change: &mut Change, now_ms: u64) {
        match report {
            Report::Residence { key, home } => change.delta.set.push((key, home)),
            // What gates of a fleet say to control; here the handoff resolves itself.
            Report::Activated(_)
            | Report::Fenced { .. }
            | Report::Stalled { .. }
            | Report::Leave { .. }
            | Report::Heir(_) => {}
            Report::Ended(ended) => {
                let id = ended.directive.id;
                if change.live.table.directives().contains_key(&id) {
                    change.delta.withdrawn.push(id);
                    change.moving.remove(&ended.directive.key);
                }
                if let Some(home) = ended.home {
                    change.delta.set.push((ended.directive.key, home));
                }
                self.note_end(&ended, now_ms);
                self.outcomes.add(ended);
            }
        }
    }

    fn note_end(&mut self, ended: &Ended, now_ms: u64) {
        let Directive { key, from, to, reason, cut, .. } = ended.directive;
        let retry = match &ended.end {
            OutcomeEnd::Undone { why, .. } if why.is_transient() => {
                let times = self.retries.get(&key).map_or(0, |retry| retry.times);
                (times < RETRIES_MAX).then(|| Retry {
                    to,
                    reason,
                    cut,
                    times: times + 1,
                    due_ms: Some(now_ms + (RETRY_MS << times)),
                })
            }
            _ => None,
        };
        if let Some(drain) = self.drains.get_mut(&from) {
            let completed = matches!(ended.end, OutcomeEnd::Completed(_));
            drain.ended(ended.directive.id, key, completed, now_ms);
        }
        match retry {
            // A zone's drain has its own way of coming back to a session.
            Some(retry) if !self.drains.contains_key(&from) => {
                self.retries.insert(key, retry);
            }
            _ => {
                self.retries.remove(&key);
            }
        }
    }

    fn obey(&mut self, order: Order, change: &mut Change, now_ms: u64) -> Box<dyn FnOnce()> {
        fn answer<T: 'static>(reply: oneshot::Sender<T>, with: T) -> Box<dyn FnOnce()> {
            Box::new(move || {
                // Who asked may have gone.
                let _ = reply.send(with);
            })
        }
        match order {
            Order::Move { key, to, reply } => {
                let done = self.direct(key, to, MoveReason::Operator, Cut::IdleGap, change);
                answer(reply, done)
            }
            Order::Drain { zone, reply } => answer(reply, self.start_drain(zone, change, now_ms)),
            Order::Open { zone, reply } => answer(reply, self.open(zone, change)),
            Order::Facts { facts, reply } => {
                let done = self.replace_facts(*facts, change);
                answer(reply, done)
            }
        }
    }

    /// Writes a directive, if the session's record allows one.
    fn direct(
        &mut self,
        key: SessionKey,
        to: ZoneId,
        reason: MoveReason,
        cut: Cut,
        change: &mut Change,
    ) -> Result<DirectiveId, OrderRefused> {
        if let Some(id) = change.moving.get(&key) {
            return Err(OrderRefused::Busy(*id));
        }
        match change.zones().get(to.index()).map(|zone| zone.intake) {
            Some(Intake::Open) => {}
            Some(Intake::Draining) => return Err(OrderRefused::NotOpen("draining")),
            Some(Intake::Closed) => return Err(OrderRefused::NotOpen("closed")),
            None => return Err(OrderRefused::NotOpen("not in the table")),
        }
        let home = self.home(key, change);
        if home.zone == to {
            return Err(OrderRefused::AlreadyThere(home.epoch));
        }
        let id = self.next;
        // In one process every gate lives the same life, which directives need not name.
        let lives = vec![Some(Incarnation(0)); change.zones().len()];
        let lives = Lives { by_zone: &lives, heir: None, ephemeral: false };
        let record = Record::settled(home.zone, Incarnation(0), home.epoch);
        let decision = record
            .next(Event::Prepare { directive: id, to }, lives)
            .map_err(|rejected| OrderRefused::Record(rejected.to_string()))?;
        let Pending::Handoff { to_incarnation, epoch, .. } = decision.record.pending else {
            return Err(OrderRefused::Record("the record prepared nothing".to_owned()));
        };
        let from = home.zone;
        let from_incarnation = decision.record.incarnation;
        let directive =
            Directive { id, key, from, from_incarnation, to, to_incarnation, epoch, reason, cut };
        self.next = DirectiveId(id.0 + 1);
        change.moving.insert(key, id);
        change.delta.directives.push(directive);
        Ok(id)
    }

    /// Where a session lives: what this change already says of it, else what the gates know.
    fn home(&self, key: SessionKey, change: &Change) -> Home {
        let told = change.delta.set.iter().rev().find(|(known, _)| *known == key);
        let known = self.gates.home(&change.live, key);
        told.map_or(known, |(_, home)| if home.epoch > known.epoch { *home } else { known })
    }

    fn retry_due(&mut self, change: &mut Change, now_ms: u64) {
        let due: Vec<_> = self
            .retries
            .iter()
            .filter(|(_, retry)| retry.due_ms.is_some_and(|due_ms| due_ms <= now_ms))
            .map(|(key, retry)| (*key, *retry))
            .collect();
        for (key, retry) in due {
            match self.direct(key, retry.to, retry.reason, retry.cut, change) {
                Ok(_) => {
                    self.metrics.handoff_retries.inc();
                    self.retries.insert(key, Retry { due_ms: None, ..retry });
                }
                Err(_) => {
                    self.retries.remove(&key);
                }
            }
        }
    }

    fn replace_facts(&mut self, facts: Facts, change: &mut Change) -> Result<(), FactsRefused> {
        let table = &change.live.table;
        let in_use = |zone: ZoneId| {
            change.live.placement.buckets_owned(zone) > 0
                || self.gates.counts(zone).homes > 0
                || table.exceptions().values().any(|home| home.zone == zone)
        };
        let mut facts = facts::carry_over(table.facts(), facts, in_use)?;
        // A drain that was ordered outlives a reload; `open` ends it.
        for zone in self.drains.keys() {
            if let Some(zone) = facts.zones.get_mut(zone.index())
                && zone.intake == Intake::Open
            {
                zone.intake = Intake::Draining;
            }
        }
        let added = table.facts().zones.len()..facts.zones.len();
        change.delta.facts = Some(facts);
        for zone in added {
            self.deal_share(ZoneId(zone as u8), change);
        }
        Ok(())
    }

    fn commit(&self, change: Change) {
        if change.delta.is_empty() {
            return;
        }
        match publish(&self.live, &change.live, change.delta) {
            Ok(()) => {}
            // A fault of ours: the table stays as it was, and the log keeps the homes.
            Err(faults) => tracing::error!(?faults, "a change of the table was refused"),
        }
    }
}

impl Change {
    /// The zones as they will be.
    fn zones(&self) -> &[homing_wire::Zone] {
        match &self.delta.facts {
            Some(facts) => &facts.zones,
            None => &self.live.table.facts().zones,
        }
    }

    /// The facts, to be changed.
    fn facts_mut(&mut self) -> &mut Facts {
        let now = self.live.table.facts();
        self.delta.facts.get_or_insert_with(|| Facts::clone(now))
    }
}

/// The table that follows `live` by `delta`, put in force.
///
/// # Errors
/// The delta's faults; the table in force is then as it was.
fn publish(table: &LiveTable, live: &Live, delta: Delta) -> Result<(), Vec<TableFault>> {
    let mut next = PlacementTable::clone(&live.table);
    let delta = next.advance(delta)?;
    table.publish(live.after(next, &delta));
    Ok(())
}

/// The first table of a life without control: what the last life left, with the file's facts.
///
/// # Errors
/// The file names too little of what the stored table still needs, or cannot be sealed.
pub fn first_table(
    facts: Facts,
    stored: Option<PlacementTable>,
    homes: &[(SessionKey, Home)],
    now_ms: u64,
) -> Result<PlacementTable, FactsRefused> {
    use homing_wire::{Version, table::TableDraft};
    let refused =
        |faults: Vec<TableFault>| FactsRefused(faults.iter().map(ToString::to_string).collect());
    let Some(mut table) = stored else {
        let mut draft = TableDraft::first(Version { term: 0, n: 1 }, facts, now_ms);
        draft.exceptions.extend(homes.iter().copied());
        return draft.seal().map_err(refused);
    };
    let in_use = |zone: ZoneId| {
        table.buckets().zones().contains(&zone.0)
            || table.exceptions().values().any(|home| home.zone == zone)
            || homes.iter().any(|(_, home)| home.zone == zone)
    };
    let mut facts = facts::carry_over(table.facts(), facts, in_use)?;
    // What an operator ordered drained stays so over a restart.
    for (zone, before) in facts.zones.iter_mut().zip(&table.facts().zones) {
        if before.intake == Intake::Draining && zone.intake == Intake::Open {
            zone.intake = Intake::Draining;
        }
    }
    let mut delta = Delta::to(table.version().next(), now_ms);
    delta.facts = Some(facts);
    let newer = |(key, home): &&(SessionKey, Home)| home.epoch > table.home(*key).epoch;
    delta.set = homes.iter().filter(newer).copied().collect();
    table.advance(delta).map_err(refused)?;
    Ok(table)
}
