//! The shell of one gate around the production machines: what the proxy does with sockets and an
//! app, done with packets and a log of writes. It decides nothing; each decision is asked of
//! `Ownership`, `Source` or `Target`.

mod copy;
mod mirror;
mod request;
mod seat;
mod verdict;

use homing_session::{
    dedup::DedupWindow,
    gate::{self, Guard, Ownership, Reaction, Refusal, StartFrom, Tenure},
    handoff::{Message, Source, Target, message::Copied, source, target},
    idle::IdleGaps,
};
use homing_wire::{Directive, DirectiveId, Epoch, Incarnation, ZoneId};

use crate::{
    faults::Act,
    link::Party,
    scenario::{Mutant, Shape},
    turn::{Packet, Turn},
};

pub(crate) use copy::{Cargo, Store};
pub(crate) use request::Request;
pub(crate) use seat::Seat;

/// Something a gate waits for within itself. Void when its life ends.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    /// An export is ready.
    Exported { directive: DirectiveId, ticket: u32, since: u64, last: bool },
    /// A copy is put aside.
    Imported { directive: DirectiveId, copy: Copied, cargo: Cargo },
    /// A cut is in place.
    Installed { directive: DirectiveId, copy: Copied, cargo: Cargo },
    /// The app has done what a request asks, at this epoch.
    Executed(Request, Epoch),
    /// And the gate has the app's answer.
    Answered(Request, Epoch),
    /// A request has been held for long enough.
    HoldEnds(Request),
    /// The source's deadline, or time to look for a gap.
    Wake,
    /// Time to renew the lease.
    Renew,
    /// The deadline of the replica of that epoch.
    Mirror(Epoch),
}

/// One gate and its zone's store.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Which zone.
    pub(crate) zone: usize,
    /// Whether the process runs.
    pub(crate) up: bool,
    /// Which life of it.
    pub(crate) life: u64,
    /// Its lease.
    seat: Seat,
    /// When it last went on after a pause.
    pub(crate) resumed_ms: Option<u64>,
    /// What this gate is to the session.
    pub(crate) ownership: Ownership,
    /// The session's state here.
    pub(crate) store: Store,
    /// Made owner by the authority's word, and not seen to execute since.
    pub(crate) given: bool,
    window: DedupWindow,
    mirror: Option<mirror::Mirror>,
    kept: mirror::Kept,
    running: Vec<Request>,
    parked: Vec<(Request, u64)>,
    /// The highest epoch this life has granted away.
    granted: Epoch,
    staged: Store,
    source: Option<Source>,
    /// The last export, to be sent with the message that names it.
    exported: Option<Cargo>,
    target: Option<Target>,
    staged_from: Party,
    wake_ms: Option<u64>,
    awaits_drained: bool,
    awaits_gap_ms: Option<u64>,
    gaps: IdleGaps,
    last_request_ms: u64,
}

impl Gate {
    /// A gate in its first life, which owns the session or does not.
    #[must_use]
    pub(crate) fn new(zone: usize, ownership: Ownership, seat: Seat) -> Self {
        Self {
            zone,
            up: true,
            life: 1,
            seat,
            resumed_ms: None,
            ownership,
            store: Store::default(),
            given: false,
            window: DedupWindow::default(),
            mirror: None,
            kept: mirror::Kept::default(),
            running: Vec::new(),
            parked: Vec::new(),
            granted: Epoch(0),
            staged: Store::default(),
            source: None,
            exported: None,
            target: None,
            staged_from: Party::Control,
            wake_ms: None,
            awaits_drained: false,
            awaits_gap_ms: None,
            gaps: IdleGaps::default(),
            last_request_ms: 0,
        }
    }

    /// The process is gone, and with it, in a fleet, the state.
    pub(crate) fn crash(&mut self, turn: &mut Turn<'_>) {
        turn.ledger.dies(self.zone, self.life);
        if self.ownership.retains() && turn.scenario.shape == Shape::Fleet {
            turn.ledger.mourns();
        }
        turn.ledger.forgets();
        self.up = false;
        self.forget_everything(turn);
        self.ownership = Ownership::away();
    }

    fn forget_everything(&mut self, turn: &Turn<'_>) {
        let store = match turn.scenario.shape {
            Shape::Fleet => Store::default(),
            Shape::Solo => std::mem::take(&mut self.store),
        };
        let Self { zone, up, life, ownership, .. } = *self;
        let fresh = Self::new(zone, ownership, self.seat.clone());
        *self = Self { up, life, store, ..fresh };
    }

    /// Whether no request is held or in execution.
    #[must_use]
    pub(crate) fn is_quiet(&self) -> bool {
        self.running.is_empty() && self.parked.is_empty()
    }

    fn guard(&self, turn: &Turn<'_>) -> Guard {
        let undrained = turn.scenario.mutant == Some(Mutant::NotDrained);
        Guard {
            incarnation: Incarnation(self.life),
            lease_valid: self.leased(turn),
            in_flight: if undrained { 0 } else { self.running.len() as u32 },
        }
    }

    /// A packet has arrived.
    pub(crate) fn receive(&mut self, packet: Packet, turn: &mut Turn<'_>) {
        match packet {
            Packet::Handoff { from, message, cargo } => self.hear(from, message, cargo, turn),
            Packet::Request(request) => self.admit(request, turn),
            Packet::Order { term, message } if self.obeys(term, turn) => {
                self.hear(Party::Control, message, None, turn);
            }
            Packet::Term { term } => {
                self.obeys(term, turn);
            }
            Packet::Lease { life, seq, term, ms } if life == self.life => {
                self.renewed(seq, term, ms, turn);
            }
            Packet::Delta { from, epoch, since, cargo } => {
                self.keep(from, epoch, since, &cargo, turn);
            }
            Packet::Kept { epoch, keeper, version } => self.hear_kept(epoch, keeper, version, turn),
            Packet::HeirKnown { life, epoch, seq } if life == self.life => {
                self.hear_known(epoch, seq, turn);
            }
            Packet::DeclaredDead { life } if life == self.life => self.begin_again(turn),
            _ => {}
        }
        self.pump(turn);
    }

    /// Something waited for within this gate has come.
    pub(crate) fn wake(&mut self, timer: Timer, turn: &mut Turn<'_>) {
        match timer {
            Timer::Renew => self.renew(turn),
            Timer::Mirror(epoch) => self.wake_mirror(epoch, turn),
            Timer::Executed(request, epoch) => {
                self.execute(request, turn);
                self.executed(request, epoch, turn);
            }
            Timer::Answered(request, epoch) => self.executed(request, epoch, turn),
            Timer::HoldEnds(request) => self.hold_ends(request, turn),
            Timer::Exported { directive, ticket, since, last } => {
                self.export(directive, ticket, since, last, turn);
            }
            Timer::Imported { directive, copy, cargo } => {
                self.import(directive, copy, cargo, turn);
            }
            Timer::Installed { directive, copy, cargo } => {
                self.install(directive, copy, &cargo, turn);
            }
            Timer::Wake => {
                self.wake_ms = None;
                self.look_for_gap(turn);
                self.tell_source(source::Event::Wake, turn.now_ms);
            }
        }
        self.pump(turn);
    }

    fn hear(&mut self, from: Party, message: Message, cargo: Option<Cargo>, turn: &mut Turn<'_>) {
        if let Some((directive, event)) = source::heard(&message) {
            if self.source.as_ref().is_some_and(|source| source.directive().id == directive) {
                self.tell_source(event, turn.now_ms);
            }
            return;
        }
        let incarnation = Incarnation(self.life);
        match message {
            Message::Prepare(directive) => self.prepare(directive, turn),
            Message::Stage { directive, to_incarnation, epoch, copy } => {
                let newer = self.target.as_ref().is_none_or(|t| t.directive() < directive);
                if newer && to_incarnation == incarnation {
                    self.target = Some(Target::new(directive, incarnation, epoch));
                    self.staged = Store::default();
                    self.staged_from = from;
                }
                self.tell_target(directive, target::Event::Stage(copy), cargo, turn);
            }
            Message::Grant { directive, to_incarnation, copy, .. }
                if to_incarnation == incarnation =>
            {
                self.tell_target(directive, target::Event::Grant(copy), cargo, turn);
            }
            Message::FenceQuery { directive, to_incarnation } => {
                if turn.strike(Act::GiveWord, self.me()) {
                    return;
                }
                let event = gate::Event::FenceQuery { directive, to_incarnation };
                let said = if turn.scenario.mutant == Some(Mutant::PromiseForgotten) {
                    self.ownership.next(event, self.guard(turn)).ok().map(|(_, said)| said)
                } else {
                    self.step(event, turn).ok()
                };
                let word = said.and_then(|said| target::word(said, directive, incarnation));
                if let Some(word) = word {
                    turn.say(self.me(), Party::Control, word);
                }
            }
            Message::Own { directive, incarnation, epoch, from } => {
                if turn.strike(Act::Own, self.me()) {
                    return;
                }
                let event = gate::Event::Own { directive, incarnation, epoch, from };
                if self.step(event, turn).is_ok() {
                    turn.say(self.me(), Party::Control, Message::Owned { incarnation, epoch });
                }
            }
            Message::Release { to, epoch } if !turn.strike(Act::Release, self.me()) => {
                let _late = self.step(gate::Event::Release { to, epoch }, turn);
            }
            _ => {}
        }
    }

    /// Starts on a directive, unless it is old or under way.
    fn prepare(&mut self, directive: Directive, turn: &mut Turn<'_>) {
        let under_way = self.source.as_ref().is_some_and(|s| s.directive().id >= directive.id);
        let ours = self.ownership.tenure() == Tenure::Owner
            && directive.epoch > self.ownership.epoch()
            && directive.from == ZoneId(self.zone as u8);
        if ours && !under_way {
            let limits = turn.scenario.source_limits();
            self.source = Some(Source::new(directive, limits, turn.now_ms));
            self.awaits_gap_ms = None;
            self.awaits_drained = false;
        }
    }

    /// Lets the ownership take a step, and sees to what follows for requests, state and ledger.
    fn step(&mut self, event: gate::Event, turn: &mut Turn<'_>) -> Result<Reaction, Refusal> {
        let before = self.ownership;
        let (after, reaction) = before.next(event, self.guard(turn)).map_err(|i| i.why)?;
        turn.trace(|| format!("gate {} {event:?} -> {reaction:?}", self.zone));
        self.ownership = after;
        if after.same_tenure(&before) {
            return Ok(reaction);
        }
        match (reaction, event) {
            (Reaction::Granted, _) => {
                self.granted = after.epoch();
                self.keep_granted();
                // Passed on before it could execute.
                if std::mem::take(&mut self.given) {
                    turn.ledger.given(self.store.writes());
                }
            }
            (Reaction::Activated, _) => {
                turn.ledger.handed_over(self.store.writes());
                self.mirror(turn);
            }
            (Reaction::Owns, gate::Event::Own { from, .. }) => {
                // With whatever the zone's store holds, and the window that goes with it.
                if from == StartFrom::Store {
                    self.inherit(turn);
                }
                self.given = true;
                self.mirror(turn);
            }
            (Reaction::Dropped, _) => {
                self.store = Store::default();
                self.window = DedupWindow::default();
            }
            _ => {}
        }
        self.tell_source(source::Event::Gate(reaction), turn.now_ms);
        if let Some(target) = &mut self.target {
            target.handle(target::Event::Gate(reaction));
        }
        self.let_go(turn);
        Ok(reaction)
    }

    /// A step that one of the machines asked for: it hears of the result in any case.
    fn step_for_machine(&mut self, event: gate::Event, turn: &mut Turn<'_>) {
        let before = self.ownership;
        let result = self.step(event, turn);
        let of_source = matches!(
            event,
            gate::Event::Freeze { .. }
                | gate::Event::Thaw { .. }
                | gate::Event::Grant { .. }
                | gate::Event::GrantAck { .. }
        );
        match result {
            Ok(_) if !self.ownership.same_tenure(&before) => {}
            Ok(reaction) if of_source => {
                self.tell_source(source::Event::Gate(reaction), turn.now_ms);
            }
            Err(why) if of_source => self.tell_source(source::Event::Refused(why), turn.now_ms),
            Ok(reaction) => self.answer_target(target::Event::Gate(reaction)),
            Err(why) => self.answer_target(target::Event::Refused(why)),
        }
    }

    fn tell_source(&mut self, event: source::Event, now_ms: u64) {
        if let Some(source) = &mut self.source {
            source.handle(event, now_ms);
        }
    }

    fn answer_target(&mut self, event: target::Event) {
        if let Some(target) = &mut self.target {
            target.handle(event);
        }
    }

    /// Does what the machines want until they want nothing more, or the process is struck.
    fn pump(&mut self, turn: &mut Turn<'_>) {
        loop {
            if turn.is_struck(self.me()) {
                return;
            }
            if let Some(action) = self.source.as_mut().and_then(Source::poll) {
                self.act_as_source(action, turn);
            } else if let Some(action) = self.target.as_mut().and_then(Target::poll) {
                self.act_as_target(action, None, turn);
            } else {
                break;
            }
        }
        if self.source.as_ref().is_some_and(Source::is_over) {
            self.source = None;
        }
        if let Some(at_ms) = self.source.as_ref().and_then(Source::deadline) {
            self.wake_at(at_ms, turn);
        }
    }

    /// Plans a wake, unless an earlier one is planned, which will plan the next.
    fn wake_at(&mut self, at_ms: u64, turn: &mut Turn<'_>) {
        if self.wake_ms.is_none_or(|planned_ms| at_ms < planned_ms) {
            self.wake_ms = Some(at_ms);
            turn.wait(self.zone, self.life, at_ms.saturating_sub(turn.now_ms), Timer::Wake);
        }
    }

    fn me(&self) -> Party {
        Party::Gate(self.zone)
    }
}
