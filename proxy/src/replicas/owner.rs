//! The owner's side of one replicated session, a task of its own: it tells the machine what was
//! written, sends copies when the machine wants them, and lets answers out.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use homing_session::{
    replica::{Action, Event, Replica},
    roster::Who,
};
use homing_wire::{Epoch, Facts, Heir, Intake, Tier, ZoneId};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Parts,
    copy::{self, Sending, Sent},
};
use crate::{handoff::Report, live::Live};

/// What is not answered in this time is said again, milliseconds.
const ANSWER_MS: u64 = 1_000;
/// Copies that fail in a row before another zone is asked to keep the replica.
const PATIENCE: u32 = 3;
/// Pause between two copies of a session whose answers do not wait for them: what is written
/// meanwhile goes in one.
const PACE: Duration = Duration::from_millis(50);
/// How often ownership is looked at while answers wait, and while none does.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_SELDOM: Duration = Duration::from_secs(30);
/// Pause after a copy that failed.
const AGAIN: Duration = Duration::from_millis(300);

/// What a session's task is told.
#[derive(Debug)]
pub(super) enum Told {
    /// The session is here.
    Look,
    /// A request was executed; the sender lets its answer out, if that waits.
    Written(Option<oneshot::Sender<()>>),
    /// Control has stored a word.
    Known { epoch: Epoch, seq: u64 },
}

type SendingNow = Pin<Box<dyn Future<Output = Result<Sent, String>> + Send>>;

/// One session's task.
pub(super) struct Owner {
    parts: Arc<Parts>,
    who: Who,
    zone: ZoneId,
    zone_name: String,
    epoch: Epoch,
    tier: Tier,
    named: bool,
    machine: Replica,
    /// Added to the machine's numbers: a task before this one may have told control some.
    seq_base: u64,
    /// Writes so far. Counts from one: zero is what a keeper without anything has.
    version: u64,
    tickets: u64,
    waiting: HashMap<u64, oneshot::Sender<()>>,
    /// What the keeper has: the count here, and the store's version at it.
    held: (u64, u64),
    keeper: Option<(ZoneId, String)>,
    owed: Option<(ZoneId, u64)>,
    sending: Option<SendingNow>,
    not_before: Instant,
    failed: u32,
    /// Zones that were tried in vain, to begin with another.
    turn: usize,
    /// When versions that the keeper lacks were made.
    made: BTreeMap<u64, Instant>,
    /// Since when nothing was sent, and how long that may be: a store forgets what it hears
    /// nothing of for as long as the session may be idle.
    sent_at: Instant,
    refresh: Duration,
}

impl Owner {
    /// The task of a session that lives here; `None` if its service is gone.
    pub(super) fn new(
        parts: &Arc<Parts>,
        live: &Live,
        zone: ZoneId,
        who: Who,
        epoch: Epoch,
    ) -> Option<Self> {
        let facts = live.table.facts();
        let service = facts.services.get(who.service.index())?;
        let now = Instant::now();
        Some(Self {
            parts: Arc::clone(parts),
            who,
            zone,
            zone_name: facts.zones.get(zone.index())?.name.clone(),
            epoch,
            tier: service.tier,
            named: service.idempotency,
            machine: Replica::new(service.tier, 1, ANSWER_MS),
            seq_base: parts.clock.now_us(),
            version: 1,
            tickets: 0,
            waiting: HashMap::new(),
            held: (0, 0),
            keeper: None,
            owed: None,
            sending: None,
            not_before: now,
            failed: 0,
            turn: 0,
            made: BTreeMap::new(),
            sent_at: now,
            refresh: Duration::from_millis(service.session.idle_ms / 4).max(LOOK),
        })
    }

    /// Runs for as long as the session lives here at this epoch and is written. Whatever waits for
    /// the replica when it ends is refused by its sender's end.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Told>) {
        while self.owns() {
            if self.machine.keeper().is_none() {
                self.choose();
            }
            self.act().await;
            self.begin();
            let due = self.due();
            tokio::select! {
                told = inbox.recv() => match told {
                    Some(told) => self.told(told),
                    None => return,
                },
                sent = over(&mut self.sending) => {
                    self.sending = None;
                    self.sent(sent);
                }
                () = tokio::time::sleep_until(due) => {
                    self.machine.handle(Event::Wake, self.parts.clock.now_ms());
                }
            }
            self.refresh();
        }
    }

    /// Whether the session still lives here at this epoch, in the zone this was begun for.
    fn owns(&self) -> bool {
        let live = self.parts.live.load();
        let zone = live.table.facts().zones.get(self.zone.index());
        let owned = self.parts.gates.ownership(self.zone, self.who.key);
        zone.is_some_and(|zone| zone.name == self.zone_name)
            && owned.is_some_and(|owned| owned.is_home() && owned.epoch() == self.epoch)
    }

    fn told(&mut self, told: Told) {
        let now_ms = self.parts.clock.now_ms();
        match told {
            Told::Look => {}
            Told::Written(kept) => {
                self.version += 1;
                self.tickets += 1;
                self.made.insert(self.version, Instant::now());
                let (version, ticket) = (self.version, self.tickets);
                if let Some(kept) = kept {
                    self.waiting.insert(ticket, kept);
                }
                self.machine.handle(Event::Answer { version, ticket }, now_ms);
            }
            Told::Known { epoch, seq } if epoch == self.epoch => {
                if let Some(seq) = seq.checked_sub(self.seq_base) {
                    self.machine.handle(Event::Known { seq }, now_ms);
                }
            }
            Told::Known { .. } => {}
        }
    }

    /// Does what the machine wants.
    async fn act(&mut self) {
        while let Some(action) = self.machine.poll() {
            match action {
                Action::Send { zone, since } => self.owed = Some((zone, since)),
                Action::TellControl { seq, zone, life } => {
                    let heir = Heir {
                        key: self.who.key,
                        zone: self.zone,
                        epoch: self.epoch,
                        seq: self.seq_base + seq,
                        heir: zone,
                        heir_incarnation: life,
                    };
                    // Nobody to report to means that the process is leaving.
                    let _ = self.parts.reports.send(Report::Heir(heir)).await;
                }
                Action::Release(ticket) => {
                    if let Some(kept) = self.waiting.remove(&ticket) {
                        // A client that has left needs no answer.
                        let _ = kept.send(());
                    }
                }
            }
        }
    }

    /// Begins to send what is owed, unless something is on its way.
    fn begin(&mut self) {
        if self.sending.is_some() || Instant::now() < self.not_before {
            return;
        }
        let Some((to, since)) = self.owed.take() else { return };
        let since = if since != 0 && since == self.held.0 { self.held } else { (0, 0) };
        let sending = Sending {
            key: self.who.key,
            epoch: self.epoch,
            service: self.who.service,
            from: self.zone,
            to,
            since,
            version: self.version,
            named: self.named,
            paced: self.tier != Tier::T2,
        };
        self.sent_at = Instant::now();
        self.sending = Some(Box::pin(copy::send(Arc::clone(&self.parts), sending)));
        if self.tier != Tier::T2 {
            self.not_before = Instant::now() + PACE;
        }
    }

    /// A session that is only read has nothing to send; its replica must stay all the same.
    fn refresh(&mut self) {
        let quiet = self.owed.is_none() && self.sending.is_none();
        if let (Some((zone, _)), true) = (self.machine.keeper(), quiet)
            && self.sent_at.elapsed() > self.refresh
        {
            self.owed = Some((zone, self.held.0));
        }
    }

    fn sent(&mut self, sent: Result<Sent, String>) {
        let now_ms = self.parts.clock.now_ms();
        let Some((zone, _)) = self.machine.keeper() else { return };
        match sent {
            Ok(sent) => {
                self.failed = 0;
                self.parts.counts.sent(sent.bytes);
                // Another gate of the zone has nothing of what the one before was sent.
                let other = self
                    .keeper
                    .as_ref()
                    .is_some_and(|(at, gate)| *at == zone && *gate != sent.gate);
                if other {
                    self.machine.handle(Event::Use(zone), now_ms);
                }
                self.keeper = Some((zone, sent.gate));
                self.held = if sent.kept == sent.version.0 { sent.version } else { (0, 0) };
                let later = self.made.split_off(&(sent.kept + 1));
                for made in std::mem::replace(&mut self.made, later).into_values() {
                    self.parts.counts.lagged(made.elapsed());
                }
                let (life, version) = (sent.life, sent.kept);
                self.machine.handle(Event::Kept { zone, life, version }, now_ms);
            }
            Err(fault) => {
                self.failed += 1;
                self.held = (0, 0);
                self.owed = Some((zone, 0));
                self.not_before = Instant::now() + AGAIN;
                self.parts.counts.failed.inc();
                let key = self.who.key;
                tracing::debug!(%key, zone = zone.0, fault, "a copy did not reach its keeper");
                if self.failed >= PATIENCE {
                    self.failed = 0;
                    self.turn += 1;
                    self.choose();
                }
            }
        }
    }

    /// Picks the zone that is to keep the replica.
    fn choose(&mut self) {
        let live = self.parts.live.load_full();
        if let Some(zone) = likely_next(live.table.facts(), self.zone, self.who, self.turn) {
            self.keeper = None;
            self.held = (0, 0);
            self.machine.handle(Event::Use(zone), self.parts.clock.now_ms());
        }
    }

    fn due(&self) -> Instant {
        let now = Instant::now();
        let mut due = now + if self.waiting.is_empty() { LOOK_SELDOM } else { LOOK };
        due = due.min(self.sent_at + self.refresh).max(now + AGAIN);
        if let Some(at_ms) = self.machine.deadline() {
            let wait_ms = at_ms.saturating_sub(self.parts.clock.now_ms());
            due = due.min(now + Duration::from_millis(wait_ms.max(1)));
        }
        if self.owed.is_some() && self.sending.is_none() {
            due = due.min(self.not_before);
        }
        due
    }
}

/// The zone that a session is likely to go to next: the nearest to its client of those that take
/// sessions and have a gate, beginning with the `turn`th.
fn likely_next(facts: &Facts, own: ZoneId, who: Who, turn: usize) -> Option<ZoneId> {
    let place = who.place.and_then(|place| facts.places.get(place.index()));
    let distance = |zone: usize| match place {
        Some(place) => place.rtt_us.get(zone).copied().unwrap_or(u32::MAX),
        // Nothing is known of the client: spread over the zones by the session.
        None => (who.key.low64() as u32).wrapping_mul(zone as u32 * 2 + 1),
    };
    let mut zones: Vec<usize> = (0..facts.zones.len())
        .filter(|zone| *zone != own.index())
        .filter(|zone| {
            let zone = &facts.zones[*zone];
            zone.intake == Intake::Open && !zone.gates.is_empty()
        })
        .collect();
    zones.sort_by_key(|zone| (distance(*zone), *zone));
    let zone = zones.get(turn.checked_rem(zones.len())?)?;
    Some(ZoneId(*zone as u8))
}

async fn over(sending: &mut Option<SendingNow>) -> Result<Sent, String> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}
