//! Control's shell around the production authority: leases, the durable record, the published
//! table. The record and the lives survive a crash; the authority machine does not.

use homing_session::{
    handoff::{
        Authority, Record,
        authority::{Action, Event},
        record::{Lives, Pending},
    },
    lease::{LeaseLedger, MARGIN_MS, RENEW_MS, Registered},
    replica::Tier,
};
use homing_wire::{
    Cut, Directive, DirectiveId, Epoch, Incarnation, MoveReason, SessionKey, ZoneId,
};

use crate::{
    faults::Act,
    host::HostClock,
    link::Party,
    scenario::{LEASE_MS, Mutant, Scenario, Shape},
    turn::{self, Packet, Turn},
};

/// The control process.
#[derive(Debug)]
pub(crate) struct Control {
    /// Whether the process runs.
    pub(crate) up: bool,
    authority: Authority,
    wake_ms: Option<u64>,
    /// Durable: the record as last stored, and the one stored before.
    stored: [Record; 2],
    /// Durable: the live life of each zone's gate.
    live: Vec<Option<Incarnation>>,
    /// Durable: the last life of each zone's gate that was struck off.
    struck: Vec<Option<Incarnation>>,
    /// Durable: the zone and life that has the session's replica, and the number of the word.
    heir: Option<(usize, Incarnation)>,
    heir_seq: (Epoch, u64),
    leases: LeaseLedger,
    clock: HostClock,
    /// Durable: how many controls there have been.
    term: u64,
}

impl Control {
    /// Control that knows of one session in zone 0.
    #[must_use]
    pub(crate) fn new(scenario: &Scenario, clock: HostClock) -> Self {
        let record = Record::settled(ZoneId(0), Incarnation(1), Epoch::FIRST);
        Self {
            up: true,
            authority: Authority::new(record, scenario.patience(), 0),
            wake_ms: None,
            stored: [record; 2],
            live: vec![Some(Incarnation(1)); scenario.zones],
            struck: vec![None; scenario.zones],
            leases: inherited(&vec![Some(Incarnation(1)); scenario.zones], clock.at(0)),
            heir: None,
            heir_seq: (Epoch(0), 0),
            clock,
            term: 1,
        }
    }

    /// The durable record.
    #[must_use]
    pub(crate) fn record(&self) -> &Record {
        &self.stored[0]
    }

    /// The process is gone.
    pub(crate) fn crash(&mut self, turn: &Turn<'_>) {
        self.up = false;
        if turn.scenario.mutant == Some(Mutant::SentBeforeStored) {
            self.stored[0] = self.stored[1];
        }
    }

    /// A new process takes up the record. No lease is held to have ended before a whole one has
    /// passed: the last may have been given just before the crash.
    pub(crate) fn restart(&mut self, turn: &mut Turn<'_>) {
        self.up = true;
        self.wake_ms = None;
        self.authority = Authority::new(self.stored[0], turn.scenario.patience(), turn.now_ms);
        self.term += 1;
        if turn.scenario.mutant == Some(Mutant::HeirForgotten) {
            self.heir = None;
        }
        if turn.scenario.shape == Shape::Fleet {
            self.clock = HostClock::any(turn.dice);
        }
        let mut now_ms = self.clock.at(turn.now_ms);
        if turn.scenario.mutant == Some(Mutant::NothingInherited) {
            now_ms = now_ms.saturating_sub(2 * u64::from(LEASE_MS));
        }
        self.leases = inherited(&self.live, now_ms);
        if turn.scenario.mutant != Some(Mutant::StruckForgotten) {
            for (zone, life) in self.struck.iter().enumerate() {
                life.iter().for_each(|life| self.leases.inherit_over(&name(zone), *life));
            }
        }
        for zone in 0..turn.scenario.zones {
            turn.send(Party::Control, Party::Gate(zone), Packet::Term { term: self.term });
        }
        self.tell(Event::LivesChanged, turn);
    }

    /// A packet has arrived.
    pub(crate) fn receive(&mut self, packet: Packet, turn: &mut Turn<'_>) {
        match packet {
            Packet::Handoff { message, .. } => self.tell(Event::Heard(message), turn),
            Packet::Heir { owner, epoch, seq, heir } => {
                let heir = (heir.0, Incarnation(heir.1));
                self.name_heir((owner.0, Incarnation(owner.1)), epoch, seq, heir, turn);
            }
            Packet::Renew { zone, life, former, seq } => {
                self.renew(zone, Incarnation(life), Incarnation(former), seq, turn);
            }
            _ => {}
        }
    }

    /// The authority's deadline.
    pub(crate) fn wake(&mut self, turn: &mut Turn<'_>) {
        self.wake_ms = None;
        self.tell(Event::Wake, turn);
    }

    /// Declares dead whose lease has surely ended, and publishes the table once more.
    pub(crate) fn round(&mut self, turn: &mut Turn<'_>) {
        if turn.scenario.shape == Shape::Fleet {
            let over = self.leases.strike(self.clock.at(turn.now_ms));
            for (name, life) in &over {
                let Some(zone) = zone_named(name) else { continue };
                self.struck[zone] = Some(*life);
                self.bury(zone, turn);
            }
            if !over.is_empty() {
                self.tell(Event::LivesChanged, turn);
            }
        }
        self.publish(turn);
    }

    fn bury(&mut self, zone: usize, turn: &mut Turn<'_>) {
        if let Some(Incarnation(life)) = self.live[zone].take() {
            turn.trace(|| format!("control declares life {life} of gate {zone} dead"));
            turn.ledger.strikes(zone, life);
            turn.ledger.dies(zone, life);
            if self.heir == Some((zone, Incarnation(life))) {
                self.heir = None;
            }
            turn.tally.declared_dead += 1;
            // In one process the state is in the apps, which outlive it: nothing may be missing.
            if turn.scenario.shape == Shape::Fleet {
                turn.ledger.mourns();
            }
        }
    }

    fn renew(
        &mut self,
        zone: usize,
        life: Incarnation,
        former: Incarnation,
        seq: u64,
        turn: &mut Turn<'_>,
    ) {
        let gate = Party::Gate(zone);
        let (name, now_ms) = (name(zone), self.clock.at(turn.now_ms));
        match self.leases.register(&name, life, former, now_ms) {
            Registered::Over => {
                return turn.send(Party::Control, gate, Packet::DeclaredDead { life: life.0 });
            }
            Registered::Wait(_) => return turn.tally.waited += 1,
            Registered::Known => {}
            Registered::Begun => {
                // A later life in its place proves that the earlier is over.
                self.bury(zone, turn);
                turn.trace(|| format!("control lets life {life} of gate {zone} begin"));
                self.live[zone] = Some(life);
                self.tell(Event::LivesChanged, turn);
            }
        }
        if let Some(ms) = self.leases.renew(&name, life, now_ms) {
            let lease = Packet::Lease { life: life.0, seq, term: self.term, ms };
            turn.send(Party::Control, gate, lease);
        }
    }

    /// Starts a handoff to a zone chosen by chance, if nothing is pending.
    pub(crate) fn plan(&mut self, turn: &mut Turn<'_>) {
        let record = *self.authority.record();
        let to = ZoneId(turn.dice.index(turn.scenario.zones) as u8);
        let wanted = Directive {
            id: DirectiveId(record.last.0 + 1),
            key: SessionKey(1),
            from: record.owner,
            to,
            from_incarnation: Incarnation(0),
            to_incarnation: Incarnation(0),
            epoch: Epoch(0),
            reason: MoveReason::Operator,
            cut: if turn.dice.chance(300) { Cut::Now } else { Cut::IdleGap },
        };
        let lives = lives(&self.live, self.heir, turn.scenario);
        if self.authority.prepare(wanted, lives, turn.now_ms).is_ok() {
            turn.tally.prepared += 1;
        }
        self.pump(turn);
    }

    /// An owner names its heir. Stored before it is answered, and only if it is the owner's last
    /// word and the heir is alive.
    fn name_heir(
        &mut self,
        owner: (usize, Incarnation),
        epoch: Epoch,
        seq: u64,
        heir: (usize, Incarnation),
        turn: &mut Turn<'_>,
    ) {
        let record = self.stored[0];
        let owns = (record.owner.index(), record.incarnation, record.epoch);
        let late = turn.scenario.mutant != Some(Mutant::HeirOutdated)
            && self.heir_seq.0 == epoch
            && seq < self.heir_seq.1;
        if owns != (owner.0, owner.1, epoch) || late || self.live[heir.0] != Some(heir.1) {
            return;
        }
        self.heir = Some(heir);
        self.heir_seq = (epoch, seq);
        turn.ledger.names_heir(heir.0, heir.1.0);
        let known = Packet::HeirKnown { life: owner.1.0, epoch, seq };
        turn.send(Party::Control, Party::Gate(owner.0), known);
    }

    /// With a new owner comes a new heir, in the same transaction: whoever handed the session over
    /// has all of it. Who took it from the dead is alone with it.
    fn pass_on(&mut self, next: Record, turn: &mut Turn<'_>) {
        let last = self.stored[0];
        let moved = (next.owner, next.incarnation) != (last.owner, last.incarnation);
        if turn.scenario.tier == Tier::T0 || !moved {
            return;
        }
        let handed_over = matches!(last.pending, Pending::Handoff { to, .. } if to == next.owner)
            && next.pending == Pending::Settled;
        let former = (last.owner.index(), last.incarnation);
        if !handed_over {
            turn.tally.inherited += u64::from(self.heir.is_some());
            self.heir = None;
        } else if self.live[former.0] == Some(former.1) {
            self.heir = Some(former);
            turn.ledger.names_heir(former.0, former.1.0);
        } else if self.heir.is_some_and(|(zone, _)| zone == next.owner.index()) {
            self.heir = None;
        }
        // Else the heir of a former owner that died on the way: it has what was replicated then.
    }

    fn tell(&mut self, event: Event, turn: &mut Turn<'_>) {
        let lives = lives(&self.live, self.heir, turn.scenario);
        self.authority.handle(event, lives, turn.now_ms);
        self.pump(turn);
    }

    fn pump(&mut self, turn: &mut Turn<'_>) {
        while let Some(action) = self.authority.poll() {
            match action {
                Action::Persist(record) => {
                    if turn.strike(Act::Persist, Party::Control) {
                        return;
                    }
                    turn.trace(|| format!("control stores {record:?}"));
                    self.pass_on(record, turn);
                    self.stored = [record, self.stored[0]];
                    self.publish(turn);
                }
                Action::Send(zone, message) => {
                    if turn.strike(Act::Order, Party::Control) {
                        return;
                    }
                    let order = Packet::Order { term: self.term, message };
                    turn.send(Party::Control, Party::Gate(zone.index()), order);
                }
                Action::Report(_, ended) => turn.tally.ended(ended),
            }
        }
        if let Some(at_ms) = self.authority.deadline()
            && self.wake_ms.is_none_or(|planned_ms| at_ms < planned_ms)
        {
            self.wake_ms = Some(at_ms);
            turn.plan(at_ms.saturating_sub(turn.now_ms), turn::Event::ControlWake);
        }
    }

    /// Tells every edge where the session lives, unless that is about to change.
    fn publish(&mut self, turn: &mut Turn<'_>) {
        let Record { owner, epoch, pending, .. } = self.stored[0];
        if matches!(pending, Pending::Handoff { .. }) {
            return;
        }
        for edge in 0..turn.scenario.edges {
            let table = Packet::Table { zone: owner.index(), epoch };
            turn.send(Party::Control, Party::Edge(edge), table);
        }
    }
}

/// The leases of a control that starts from a table with these lives.
fn inherited(live: &[Option<Incarnation>], now_ms: u64) -> LeaseLedger {
    // Strikes off sooner than control does: more lives begin anew in the same time.
    let mut leases = LeaseLedger::paced(LEASE_MS, MARGIN_MS, RENEW_MS);
    for (zone, life) in live.iter().enumerate() {
        if let Some(life) = life {
            leases.inherit(&name(zone), *life, now_ms);
        }
    }
    leases
}

fn name(zone: usize) -> String {
    format!("gate-{zone}")
}

fn zone_named(name: &str) -> Option<usize> {
    name.strip_prefix("gate-")?.parse().ok()
}

/// The lives as the authority is to see them. Without replicas, every zone is as good as any: a
/// dead zone's session is served elsewhere, empty.
fn lives<'a>(
    live: &'a [Option<Incarnation>],
    heir: Option<(usize, Incarnation)>,
    scenario: &Scenario,
) -> Lives<'a> {
    let fleet = scenario.shape == Shape::Fleet && scenario.tier != Tier::T0;
    let any = || live.iter().position(Option::is_some);
    let heir = if fleet { heir.map(|(zone, _)| zone) } else { any() };
    Lives { by_zone: live, heir: heir.map(|zone| ZoneId(zone as u8)), ephemeral: fleet }
}
