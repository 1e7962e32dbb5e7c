//! Every step the model's world can take from a state. Each is one atomic act of one party, made
//! by the production transition functions; a refused one is no step.

use homing_session::{
    gate::{self, Guard, Ownership, Reaction, StartFrom, Tenure, Verdict},
    handoff::{
        Message,
        message::Copied,
        record::{self, Decision, Ended, Pending},
        target,
    },
};
use homing_wire::{Cut, Directive, DirectiveId, Incarnation, MoveReason, SessionKey, ZoneId};

use super::{
    Mutant, Scope,
    letters::Letter,
    state::{CLIENTS, Gate, Law, State, Values, ZONES},
};

/// One step: where it leads, what it is called, and whether it is a fault.
pub(super) struct Step {
    pub(super) to: State,
    pub(super) name: &'static str,
    pub(super) zone: usize,
    pub(super) fault: bool,
    /// A law that the step itself breaks.
    pub(super) breaks: Option<Law>,
}

/// Collects the steps from one state.
pub(super) struct Stepper<'a> {
    pub(super) scope: Scope,
    pub(super) values: &'a mut Values,
    pub(super) steps: Vec<Step>,
}

impl Stepper<'_> {
    /// Fills `steps` with every step from `state`.
    pub(super) fn all(&mut self, state: &State) {
        self.steps.clear();
        self.authority(state);
        self.deposed(state);
        for zone in 0..ZONES {
            self.lives(state, zone);
        }
        for letter in state.net.iter() {
            self.deliver(state, letter);
        }
        self.clients(state);
    }

    /// How a gate sees its own lease.
    pub(super) fn lease(scope: Scope) -> impl Fn(&Gate) -> bool {
        move |gate| gate.lease || scope.mutant == Some(Mutant::LeaseIgnored)
    }

    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.scope.mutant == Some(mutant)
    }

    pub(super) fn push(&mut self, from: &State, to: State, name: &'static str, zone: usize) {
        if to != *from {
            self.steps.push(Step { to, name, zone, fault: false, breaks: None });
        }
    }

    // The authority.

    fn authority(&mut self, state: &State) {
        let record = *self.values.records.value(state.record);
        let other = ZoneId(1 - record.owner.0);
        if state.handoffs < self.scope.handoffs {
            let directive = DirectiveId(u64::from(state.handoffs) + 1);
            let event = record::Event::Prepare { directive, to: other };
            if let Some(mut to) = self.decide(state, event) {
                to.handoffs += 1;
                self.push(state, to, "authority prepares a handoff to", other.index());
            }
        }
        if let Some(to) = self.decide(state, record::Event::Review) {
            self.push(state, to, "authority reviews", record.owner.index());
        }
        if let (true, Pending::Handoff { to_incarnation, .. }) =
            (self.has(Mutant::ReclaimUnfenced), record.pending)
        {
            let event =
                record::Event::Fenced { directive: record.last, incarnation: to_incarnation };
            if let Some(to) = self.decide(state, event) {
                self.push(state, to, "authority takes back unasked", record.owner.index());
            }
        }
    }

    /// Gives the record an event and sends what it decides to say.
    pub(super) fn decide(&mut self, state: &State, event: record::Event) -> Option<State> {
        let before = *self.values.records.value(state.record);
        let decision = state.with_lives(|lives| before.next(event, lives)).ok()?;
        let mut to = *state;
        to.record = self.values.records.number(decision.record);
        self.send_decided(&mut to, before, decision, state.term);
        Some(to)
    }

    /// Sends what a control of that term has decided to say.
    pub(super) fn send_decided(
        &mut self,
        to: &mut State,
        before: record::Record,
        decision: Decision,
        term: u8,
    ) {
        let Decision { record, send, ended } = decision;
        if let (Pending::Handoff { to: zone, to_incarnation, epoch }, Pending::Settled) =
            (record.pending, before.pending)
        {
            let prepare = Message::Prepare(Directive {
                id: record.last,
                key: SessionKey(0),
                from: record.owner,
                to: zone,
                from_incarnation: Incarnation(0),
                to_incarnation,
                epoch,
                reason: MoveReason::Operator,
                cut: Cut::Now,
            });
            self.order(to, record.owner, term, prepare);
        }
        if let Some((zone, message)) = send {
            self.order(to, zone, term, message);
        }
        if let Some(Ended::Committed { former }) = ended {
            let release = Message::Release { to: record.owner, epoch: record.epoch };
            self.order(to, former, term, release);
        }
    }

    fn order(&mut self, state: &mut State, zone: ZoneId, term: u8, message: Message) {
        let letter = Letter::Order { zone: zone.index(), term, message };
        state.net.send(&mut self.values.letters, letter);
    }

    fn post(&mut self, state: &mut State, zone: ZoneId, message: Message) {
        self.post_with(state, zone.index(), message, 0);
    }

    fn post_with(&mut self, state: &mut State, zone: usize, message: Message, writes: u8) {
        let letter = Letter::ToGate { zone, message, state: writes };
        state.net.send(&mut self.values.letters, letter);
    }

    fn tell_authority(&mut self, state: &mut State, message: Message) {
        state.net.send(&mut self.values.letters, Letter::ToAuthority(message));
    }

    // Lives, leases and faults.

    fn lives(&mut self, state: &State, zone: usize) {
        let gate = state.gates[zone];
        let held_live = state.live[zone] == gate.life;
        if held_live && (!gate.lease || self.has(Mutant::DeadWithoutProof)) {
            let mut to = *state;
            to.live[zone] = 0;
            to.lossy |= self.values.ownerships.value(gate.ownership).retains();
            self.push(state, to, "authority declares dead", zone);
        }
        if gate.up && !gate.lease && held_live {
            let mut to = *state;
            to.gates[zone].lease = true;
            self.push(state, to, "gate renews its lease", zone);
        }
        // A life that was declared dead registers anew; a new process is proof by itself.
        if !gate.lease && (!gate.up || !held_live) {
            let mut to = *state;
            to.gates[zone] = self.reborn(gate);
            to.live[zone] = gate.life + 1;
            self.push(state, to, "gate begins a new life", zone);
        }
        if state.faults < self.scope.faults {
            if gate.lease {
                let mut to = *state;
                to.gates[zone].lease = false;
                to.faults += 1;
                self.fault(to, "lease lapses", zone);
            }
            if gate.up {
                let mut to = *state;
                let away = self.values.ownerships.number(Ownership::away());
                to.lossy |= self.values.ownerships.value(gate.ownership).retains();
                to.gates[zone] =
                    Gate { ownership: away, up: false, lease: false, writes: 0, ..gate };
                to.faults += 1;
                self.fault(to, "gate crashes", zone);
            }
        }
    }

    pub(super) fn fault(&mut self, to: State, name: &'static str, zone: usize) {
        self.steps.push(Step { to, name, zone, fault: true, breaks: None });
    }

    fn reborn(&mut self, gate: Gate) -> Gate {
        let guard = guard(&gate, gate.lease);
        let before = *self.values.ownerships.value(gate.ownership);
        let after = match before.next(gate::Event::LeaseLost, guard) {
            Ok((after, _)) => after,
            Err(_) => Ownership::away(),
        };
        let ownership = self.values.ownerships.number(after);
        Gate { ownership, life: gate.life + 1, up: true, lease: true, term: 0, writes: 0 }
    }

    // Letters.

    fn deliver(&mut self, state: &State, number: u16) {
        match self.values.letters.value(number).clone() {
            Letter::ToGate { zone, message, state: writes } => {
                if state.gates[zone].up {
                    self.at_gate(state, zone, &message, writes);
                }
            }
            Letter::Order { zone, term, message } => self.ordered(state, zone, term, &message),
            Letter::ToAuthority(message) => {
                let Some(event) = word(&message) else { return };
                if let Some(to) = self.decide(state, event) {
                    self.push(state, to, "authority hears the word of", usize::from(number) % 2);
                }
            }
            Letter::Request { client, zone } => self.request(state, client, zone),
            Letter::Ack { client } => {
                let mut to = *state;
                to.clients[client].acked = true;
                self.push(state, to, "client is answered", client);
            }
            Letter::Moved { client, zone, epoch } => {
                if epoch.0 > u64::from(state.clients[client].epoch) {
                    let mut to = *state;
                    to.clients[client].zone = zone.0;
                    to.clients[client].epoch = epoch.0 as u8;
                    self.push(state, to, "client is redirected", client);
                }
            }
        }
    }

    pub(super) fn at_gate(&mut self, state: &State, zone: usize, message: &Message, writes: u8) {
        let life = Incarnation(u64::from(state.gates[zone].life));
        let meant = |named| {
            if self.has(Mutant::GrantNotBound) { life } else { named }
        };
        match *message {
            Message::Prepare(ref directive) => self.source(state, zone, directive),
            Message::StageAck { directive, .. } => {
                let event = gate::Event::Freeze { directive };
                self.step_gate(state, zone, event, "source freezes", |_, _, _| {});
            }
            Message::Stage { directive, to_incarnation, epoch, .. } => {
                let to_incarnation = meant(to_incarnation);
                let event = gate::Event::Stage { directive, to_incarnation, epoch };
                self.step_gate(state, zone, event, "target keeps a copy", |this, to, _| {
                    let ack = Message::StageAck { directive, version: 0 };
                    this.post(to, ZoneId(1 - zone as u8), ack);
                });
            }
            Message::Grant { directive, to_incarnation, epoch, .. } => {
                let to_incarnation = meant(to_incarnation);
                let event = gate::Event::Activate { directive, to_incarnation, epoch };
                let changes = state.gates[zone].ownership;
                self.step_gate(state, zone, event, "target activates", |this, to, _| {
                    if to.gates[zone].ownership != changes {
                        to.gates[zone].writes = writes;
                    }
                    this.post(to, ZoneId(1 - zone as u8), Message::GrantAck { directive });
                    this.tell_authority(to, Message::Activated { directive, incarnation: life });
                });
            }
            Message::GrantAck { directive } => {
                let event = gate::Event::GrantAck { directive };
                self.step_gate(state, zone, event, "source retires", |_, _, _| {});
            }
            Message::FenceQuery { directive, to_incarnation } => {
                let event = gate::Event::FenceQuery { directive, to_incarnation };
                let forgets = self.has(Mutant::FenceForgotten);
                let before = state.gates[zone].ownership;
                self.step_gate(state, zone, event, "target gives its word", |this, to, said| {
                    if forgets {
                        to.gates[zone].ownership = before;
                    }
                    if let Some(word) = target::word(said, directive, life) {
                        this.tell_authority(to, word);
                    }
                });
            }
            Message::Own { directive, incarnation, epoch, from } => {
                let event = gate::Event::Own { directive, incarnation, epoch, from };
                let before = state.gates[zone].ownership;
                self.step_gate(state, zone, event, "gate is made owner", |this, to, _| {
                    if from == StartFrom::Store && to.gates[zone].ownership != before {
                        to.gates[zone].writes = 0;
                    }
                    this.tell_authority(to, Message::Owned { incarnation: life, epoch });
                });
            }
            Message::Release { to: owner, epoch } => {
                let event = gate::Event::Release { to: owner, epoch };
                self.step_gate(state, zone, event, "gate forgets", |_, to, _| {
                    to.gates[zone].writes = 0;
                });
            }
            _ => {}
        }
    }

    /// What the source may do about a directive, whenever it likes.
    fn source(&mut self, state: &State, zone: usize, directive: &Directive) {
        let Directive { id, to: there, to_incarnation, epoch, .. } = *directive;
        let gate = state.gates[zone];
        let copy = Copied::default();
        if self.values.ownerships.value(gate.ownership).tenure() == Tenure::Owner {
            let mut to = *state;
            let stage = Message::Stage { directive: id, to_incarnation, epoch, copy };
            self.post(&mut to, there, stage);
            self.push(state, to, "source sends a copy", zone);
        }
        let thaw = gate::Event::Thaw { directive: id };
        self.step_gate(state, zone, thaw, "source thaws", |_, _, _| {});
        let grant = gate::Event::Grant { directive: id, to: there, epoch };
        self.step_gate(state, zone, grant, "source grants", |this, to, _| {
            let grant = Message::Grant { directive: id, to_incarnation, epoch, copy };
            this.post_with(to, there.index(), grant, gate.writes);
        });
    }

    /// Gives a gate's ownership an event; on success, `then` does what follows from it.
    fn step_gate(
        &mut self,
        state: &State,
        zone: usize,
        event: gate::Event,
        name: &'static str,
        then: impl FnOnce(&mut Self, &mut State, Reaction),
    ) {
        let gate = state.gates[zone];
        let lease = Self::lease(self.scope)(&gate);
        let before = *self.values.ownerships.value(gate.ownership);
        let Ok((after, reaction)) = before.next(event, guard(&gate, lease)) else {
            return;
        };
        let mut to = *state;
        to.gates[zone].ownership = self.values.ownerships.number(after);
        then(self, &mut to, reaction);
        let gave_away = matches!(before.tenure(), Tenure::Granted { .. } | Tenure::Retired { .. });
        let broke = gave_away && after.is_home() && after.epoch() <= before.epoch();
        if to != *state {
            let breaks = broke.then_some(Law::WordKept);
            self.steps.push(Step { to, name, zone, fault: false, breaks });
        }
    }

    // Clients.

    fn clients(&mut self, state: &State) {
        let record = *self.values.records.value(state.record);
        let published = !matches!(record.pending, Pending::Handoff { .. });
        for client in 0..CLIENTS {
            let known = state.clients[client];
            if !known.acked {
                let mut to = *state;
                let letter = Letter::Request { client, zone: usize::from(known.zone) };
                to.net.send(&mut self.values.letters, letter);
                self.push(state, to, "client sends", client);
            }
            if published && record.epoch.0 > u64::from(known.epoch) {
                let mut to = *state;
                to.clients[client].zone = record.owner.0;
                to.clients[client].epoch = record.epoch.0 as u8;
                self.push(state, to, "table reaches client", client);
            }
        }
    }

    fn request(&mut self, state: &State, client: usize, zone: usize) {
        let gate = state.gates[zone];
        if !gate.up {
            return;
        }
        let lease = Self::lease(self.scope)(&gate);
        match self.values.ownerships.value(gate.ownership).admit(lease) {
            Verdict::Execute { epoch } => {
                let mut to = *state;
                let known = &mut to.clients[client];
                let forgets = self.has(Mutant::DedupForgotten) && epoch.0 > 1;
                let seen = gate.writes & 1 << client != 0 && !(forgets && known.executed == 1);
                let mut breaks = None;
                if !seen {
                    known.executed = (known.executed + 1).min(3);
                    to.gates[zone].writes |= 1 << client;
                    breaks = (epoch.0 < u64::from(to.top)).then_some(Law::EpochsRise);
                    to.top = epoch.0 as u8;
                }
                to.net.send(&mut self.values.letters, Letter::Ack { client });
                if to != *state {
                    let name = "gate executes";
                    self.steps.push(Step { to, name, zone, fault: false, breaks });
                }
            }
            Verdict::Moved { zone: there, epoch } => {
                let mut to = *state;
                let letter = Letter::Moved { client, zone: there, epoch };
                to.net.send(&mut self.values.letters, letter);
                self.push(state, to, "gate redirects", zone);
            }
            Verdict::Park | Verdict::NotOwner | Verdict::NoLease => {}
        }
    }
}

/// What a gate's machine knows of its gate. Requests are one step here, so none is in flight.
fn guard(gate: &Gate, lease_valid: bool) -> Guard {
    Guard { incarnation: Incarnation(u64::from(gate.life)), lease_valid, in_flight: 0 }
}

/// What a gate's letter is to a control's record.
pub(super) fn word(message: &Message) -> Option<record::Event> {
    Some(match *message {
        Message::Activated { directive, incarnation } => {
            record::Event::Activated { directive, incarnation }
        }
        Message::Fenced { directive, incarnation } => {
            record::Event::Fenced { directive, incarnation }
        }
        Message::Owned { incarnation, epoch } => record::Event::Owned { incarnation, epoch },
        _ => return None,
    })
}
