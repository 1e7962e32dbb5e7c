//! The shell of a session's replica: the owner's side around the production machine, and the side
//! of the zone that keeps it. What a gate granted away it keeps as a replica too, since the state
//! is the same and the new owner is as alone with it as can be.

use homing_session::{
    dedup::DedupWindow,
    replica::{Action, Event, Replica, Tier},
};
use homing_wire::{Epoch, Incarnation, ZoneId};

use super::{Cargo, Gate, Request, Store, Timer};
use crate::{
    laws::Writes,
    link::Party,
    scenario::{Mutant, Shape},
    turn::{Packet, Reply, Turn},
};

/// How long the owner waits for the replica, or control, before it says a thing again.
const ANSWER_MS: u64 = 90;
/// Answers to wait in vain for before another zone is asked to keep the replica.
const PATIENCE: u32 = 4;
/// Changes of the replica's zone, in a thousand writes.
const ELSEWHERE: u64 = 250;

/// Another zone's session, as of a version of an epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    epoch: Epoch,
    store: Store,
    window: DedupWindow,
}

/// The owner's side.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    pub(super) epoch: Epoch,
    machine: Replica,
    /// Answers that wait, by their tickets.
    waiting: Vec<(u64, Request)>,
    tickets: u64,
    /// A delta to send once nothing is in execution.
    owed: Option<(ZoneId, u64)>,
    wakes_ms: Option<u64>,
    silent: u32,
}

impl Gate {
    /// The session has come to this gate, at this epoch: its replica begins.
    pub(super) fn mirror(&mut self, turn: &mut Turn<'_>) {
        let tier = turn.scenario.tier;
        let (epoch, version) = (self.ownership.epoch(), self.store.version());
        let machine = Replica::new(tier, version, ANSWER_MS);
        self.mirror = Some(Mirror {
            epoch,
            machine,
            waiting: Vec::new(),
            tickets: 0,
            owed: None,
            wakes_ms: None,
            silent: 0,
        });
        let from = match self.staged_from {
            Party::Gate(zone) if zone != self.zone => zone,
            _ => self.next_zone(self.zone, turn),
        };
        self.tell_mirror(Event::Use(ZoneId(from as u8)), turn);
    }

    fn next_zone(&self, after: usize, turn: &Turn<'_>) -> usize {
        let next = (after + 1) % turn.scenario.zones;
        if next == self.zone { (next + 1) % turn.scenario.zones } else { next }
    }

    /// A request was executed, now or before: its client is told when it may be.
    pub(super) fn answer_kept(&mut self, request: Request, turn: &mut Turn<'_>) {
        let current = self.mirror.as_ref().is_some_and(|m| m.epoch == self.ownership.epoch());
        if !current {
            self.mirror(turn);
        }
        let version = self.store.version();
        let Some(mirror) = &mut self.mirror else { return };
        mirror.tickets += 1;
        let ticket = mirror.tickets;
        mirror.waiting.push((ticket, request));
        self.tell_mirror(Event::Answer { version, ticket }, turn);
        // The zone it is likely to go to next is another now, and has the replica from here on.
        if turn.scenario.tier != Tier::T0 && turn.dice.chance(ELSEWHERE) {
            self.use_next_zone(turn);
        }
    }

    /// Gives the machine an event and does what it wants.
    pub(super) fn tell_mirror(&mut self, event: Event, turn: &mut Turn<'_>) {
        let Some(mirror) = &mut self.mirror else { return };
        mirror.machine.handle(event, turn.now_ms);
        if let Some((zone, life)) = mirror.machine.keeper() {
            let held = self.store.writes_through(mirror.machine.held());
            turn.ledger.replicates((zone.index(), life.0), held);
        }
        while let Some(action) = self.mirror.as_mut().and_then(|m| m.machine.poll()) {
            self.act_for_mirror(action, turn);
        }
        let Some(mirror) = &mut self.mirror else { return };
        turn.tally.lag_max = turn.tally.lag_max.max(mirror.machine.lag());
        let due_ms = mirror.machine.deadline();
        if due_ms.is_some() && due_ms != mirror.wakes_ms {
            mirror.wakes_ms = due_ms;
            let in_ms = due_ms.unwrap_or_default().saturating_sub(turn.now_ms);
            turn.wait(self.zone, self.life, in_ms, Timer::Mirror(mirror.epoch));
        }
    }

    fn act_for_mirror(&mut self, action: Action, turn: &mut Turn<'_>) {
        let Some(mirror) = &mut self.mirror else { return };
        let epoch = mirror.epoch;
        match action {
            Action::Release(ticket) => {
                let Some(at) = mirror.waiting.iter().position(|(t, _)| *t == ticket) else {
                    return;
                };
                let (_, request) = mirror.waiting.remove(at);
                let owned = self.ownership.is_home() && self.ownership.epoch() == epoch;
                if owned && self.leased(turn) {
                    self.answer(request, Reply::Done, turn);
                } else {
                    turn.tally.unanswered += 1;
                }
            }
            // State and window must be of one instant, and what is in execution may be in one of
            // them only: who inherited that would execute it again.
            Action::Send { zone, since } if !self.running.is_empty() => {
                mirror.owed = Some((zone, since));
            }
            Action::Send { zone, since } => {
                mirror.owed = None;
                let delta = self.store.since(since);
                let cargo = Cargo { delta, window: self.window.export(), ..Cargo::default() };
                turn.tally.deltas += 1;
                let packet = Packet::Delta { from: self.zone, epoch, since, cargo };
                turn.send(self.me(), Party::Gate(zone.index()), packet);
            }
            Action::TellControl { seq, zone, life } => {
                let heir = Packet::Heir {
                    owner: (self.zone, self.life),
                    epoch,
                    seq,
                    heir: (zone.index(), life.0),
                };
                turn.send(self.me(), Party::Control, heir);
                if turn.scenario.mutant == Some(Mutant::HeirUnknown) {
                    self.tell_mirror(Event::Known { seq }, turn);
                }
            }
        }
    }

    /// Nothing is in execution any more: sends what waited for that.
    pub(super) fn send_owed(&mut self, turn: &mut Turn<'_>) {
        let owed = self.mirror.as_mut().and_then(|mirror| mirror.owed.take());
        if let (Some((zone, since)), true) = (owed, self.ownership.is_home()) {
            self.act_for_mirror(Action::Send { zone, since }, turn);
        }
    }

    /// The deadline of the machine of that epoch.
    pub(super) fn wake_mirror(&mut self, epoch: Epoch, turn: &mut Turn<'_>) {
        let owned = self.ownership.is_home();
        let Some(mirror) = self.mirror.as_mut().filter(|m| m.epoch == epoch && owned) else {
            return;
        };
        // The timer of a deadline that was moved since means nothing.
        if mirror.machine.deadline().is_none_or(|at_ms| at_ms > turn.now_ms) {
            return;
        }
        mirror.wakes_ms = None;
        mirror.silent += 1;
        if mirror.silent >= PATIENCE {
            return self.use_next_zone(turn);
        }
        self.tell_mirror(Event::Wake, turn);
    }

    fn use_next_zone(&mut self, turn: &mut Turn<'_>) {
        let Some(mirror) = &mut self.mirror else { return };
        mirror.silent = 0;
        let Some((zone, _)) = mirror.machine.keeper() else { return };
        let next = ZoneId(self.next_zone(zone.index(), turn) as u8);
        if next != zone {
            turn.tally.replicas_changed += 1;
            self.tell_mirror(Event::Use(next), turn);
        }
    }

    /// The replica's word.
    pub(super) fn hear_kept(
        &mut self,
        epoch: Epoch,
        keeper: (usize, u64),
        version: u64,
        turn: &mut Turn<'_>,
    ) {
        let (zone, life) = (ZoneId(keeper.0 as u8), Incarnation(keeper.1));
        if let Some(mirror) = self.mirror.as_mut().filter(|mirror| mirror.epoch == epoch) {
            mirror.silent = 0;
            self.tell_mirror(Event::Kept { zone, life, version }, turn);
        }
    }

    /// Control's word on the heir.
    pub(super) fn hear_known(&mut self, epoch: Epoch, seq: u64, turn: &mut Turn<'_>) {
        if self.mirror.as_ref().is_some_and(|mirror| mirror.epoch == epoch) {
            self.tell_mirror(Event::Known { seq }, turn);
        }
    }

    // The other side.

    /// What this gate, in that life, would go on from if it were given the session.
    pub(crate) fn replica(&self, life: u64) -> Option<Writes> {
        let keeps = self.up && self.life == life && !self.ownership.is_home();
        keeps.then(|| self.kept.store.writes())
    }

    /// Keeps what the owner at that epoch sends, unless this gate knows of a later one.
    pub(super) fn keep(
        &mut self,
        from: usize,
        epoch: Epoch,
        since: u64,
        cargo: &Cargo,
        turn: &mut Turn<'_>,
    ) {
        let own = self.ownership.epoch();
        let outdated = epoch < own || (epoch == own && self.ownership.is_home());
        if outdated || epoch < self.kept.epoch {
            return;
        }
        if since == 0 && epoch > self.kept.epoch {
            self.kept = Kept { epoch, ..Kept::default() };
        }
        let fits = epoch == self.kept.epoch && since <= self.kept.store.version();
        let reaches = since + cargo.delta.len() as u64;
        if fits && reaches >= self.kept.store.version() {
            self.kept.store.apply(since, &cargo.delta);
            if let Ok(window) = DedupWindow::import(&cargo.window) {
                self.kept.window = window;
            }
        }
        let version = if fits { self.kept.store.version() } else { 0 };
        let kept = Packet::Kept { epoch, keeper: (self.zone, self.life), version };
        turn.send(self.me(), Party::Gate(from), kept);
    }

    /// What was granted away is the new owner's state: this gate's copy is its first replica.
    pub(super) fn keep_granted(&mut self) {
        let epoch = self.ownership.epoch();
        let (store, window) = (self.store.clone(), self.window.clone());
        self.kept = Kept { epoch, store, window };
        self.mirror = None;
    }

    /// The session is this gate's, to be gone on with from what its zone has.
    pub(super) fn inherit(&mut self, turn: &mut Turn<'_>) {
        if turn.scenario.shape == Shape::Fleet && turn.scenario.tier != Tier::T0 {
            let kept = std::mem::take(&mut self.kept);
            (self.store, self.window) = (kept.store, kept.window);
        }
    }
}
