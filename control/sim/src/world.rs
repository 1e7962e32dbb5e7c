//! The world: puts the parties together, lets one thing happen after the other, and checks the
//! laws after each.

use homing_session::gate::{Ownership, Tenure, Verdict};
use homing_session::handoff::record::Pending;
use homing_wire::Epoch;

use crate::{
    clock::{Clock, Dice},
    control::Control,
    edge::Edge,
    faults::Faults,
    gate::{Gate, Request, Seat, Timer},
    host::HostClock,
    laws::{Law, Ledger},
    link::{Network, Party},
    scenario::{Scenario, Shape},
    tally::Tally,
    turn::{Event, Packet, Reply, Turn},
    users::{AGAIN_MS, ANSWER_MS, User},
};

/// How long a world may take to settle once nothing goes wrong any more.
const SETTLE_MS: u64 = 8_000;
/// How often control looks at leases and publishes.
const ROUND_MS: u64 = 60;

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Counts.
    pub tally: Tally,
    /// The first law broken, and when.
    pub broken: Option<(Law, u64)>,
    /// What happened, if a trace was asked for.
    pub trace: Vec<String>,
}

struct World {
    scenario: Scenario,
    clock: Clock<Event>,
    dice: Dice,
    network: Network,
    faults: Faults,
    ledger: Ledger,
    tally: Tally,
    gates: Vec<Gate>,
    edges: Vec<Edge>,
    control: Control,
    users: Vec<User>,
    calm: bool,
    /// Since when each zone's gate stands still, if it does, and what comes to it meanwhile.
    paused: Vec<Option<u64>>,
    deferred: Vec<Vec<Event>>,
    later: Vec<(u64, Event)>,
    at_once: Vec<Event>,
    lines: Option<Vec<String>>,
}

/// Lets one party act, with everything else at its disposal.
macro_rules! turn {
    ($world:ident) => {
        Turn {
            now_ms: $world.clock.now_ms(),
            scenario: &$world.scenario,
            dice: &mut $world.dice,
            faults: &mut $world.faults,
            ledger: &mut $world.ledger,
            tally: &mut $world.tally,
            network: &$world.network,
            later: &mut $world.later,
            at_once: &mut $world.at_once,
            lines: $world.lines.as_mut(),
        }
    };
}

/// Runs a world to its end, or to the first broken law.
#[must_use]
pub(crate) fn run(scenario: Scenario, traced: bool) -> Outcome {
    let mut world = World::new(scenario, traced);
    let mut end_ms = None;
    while let Some(event) = world.clock.next() {
        let now_ms = world.clock.now_ms();
        world.tally.events += 1;
        world.happen(event);
        world.watch();
        if world.ledger.broken.is_some() || (world.calm && world.is_served()) {
            end_ms = Some(now_ms);
            break;
        }
        if now_ms > world.scenario.calm_ms + SETTLE_MS {
            break;
        }
    }
    world.ledger.ends(world.ledger.broken.is_some() || end_ms.is_some());
    let at_ms = world.clock.now_ms();
    let mut tally = world.tally;
    tally.worlds = 1;
    tally.crashes = world.faults.at;
    tally.lost_with_gate = world.ledger.counts().1;
    tally.doubled_by_crash = world.ledger.doubled_by_crash;
    tally.acked_lost[world.scenario.tier as usize] = world.ledger.acked_lost;
    Outcome {
        tally,
        broken: world.ledger.broken.map(|law| (law, at_ms)),
        trace: world.lines.unwrap_or_default(),
    }
}

impl World {
    fn new(scenario: Scenario, traced: bool) -> Self {
        let mut dice = Dice::new(scenario.seed);
        let mut clock = Clock::new();
        let gates: Vec<Gate> = (0..scenario.zones)
            .map(|zone| {
                let home = zone == 0;
                let owner = Ownership::owner(Epoch::FIRST);
                let ownership = if home { owner } else { Ownership::away() };
                Gate::new(zone, ownership, Seat::new(HostClock::any(&mut dice)))
            })
            .collect();
        let mut parties = vec![Party::Control];
        parties.extend((0..scenario.zones).map(Party::Gate));
        parties.extend((0..scenario.edges).map(Party::Edge));
        if scenario.shape == Shape::Solo {
            parties.clear();
        }
        for zone in 0..scenario.zones {
            clock.at(zone as u64, Event::Gate { zone, life: 1, timer: Timer::Renew });
        }
        for client in 0..scenario.clients {
            clock.at(dice.between(0, 30), Event::ClientTries { client, attempt: 0 });
        }
        for _ in 0..scenario.partitions {
            clock.at(dice.between(0, scenario.calm_ms), Event::Partition);
        }
        for _ in 0..scenario.successions {
            clock.at(dice.between(0, scenario.calm_ms), Event::Succession);
        }
        for _ in 0..scenario.pauses {
            clock.at(dice.between(0, scenario.calm_ms), Event::Pause);
        }
        clock.at(20, Event::ControlRound);
        clock.at(dice.between(5, 100), Event::Plan);
        clock.at(scenario.calm_ms, Event::Calm);
        Self {
            faults: Faults::new(scenario.crashes, scenario.copy_failures, parties),
            edges: (0..scenario.edges).map(Edge::new).collect(),
            control: Control::new(&scenario, HostClock::any(&mut dice)),
            paused: vec![None; scenario.zones],
            deferred: vec![Vec::new(); scenario.zones],
            users: vec![User::new(); scenario.clients],
            network: Network::default(),
            ledger: Ledger::default(),
            tally: Tally::default(),
            calm: false,
            later: Vec::new(),
            at_once: Vec::new(),
            lines: traced.then(Vec::new),
            scenario,
            clock,
            dice,
            gates,
        }
    }

    /// One event and all that follows from it at once.
    fn happen(&mut self, event: Event) {
        self.at_once.push(event);
        while !self.at_once.is_empty() {
            let event = self.at_once.remove(0);
            self.dispatch(event);
            while let Some(party) = self.faults.struck.pop() {
                self.crash(party);
            }
        }
        for (at_ms, event) in self.later.drain(..) {
            self.clock.at(at_ms, event);
        }
    }

    fn dispatch(&mut self, event: Event) {
        let Some(event) = self.defer(event) else { return };
        match event {
            Event::Packet { to: Party::Gate(zone), packet } => {
                if self.gates[zone].up {
                    self.gates[zone].receive(packet, &mut turn!(self));
                }
            }
            Event::Packet { to: Party::Control, packet } => {
                if self.control.up {
                    self.control.receive(packet, &mut turn!(self));
                }
            }
            Event::Packet { to: Party::Edge(edge), packet } => self.at_edge(edge, packet),
            Event::Gate { zone, life, timer } => {
                let gate = &mut self.gates[zone];
                if gate.up && gate.life == life {
                    gate.wake(timer, &mut turn!(self));
                }
            }
            Event::ControlWake => {
                if self.control.up {
                    self.control.wake(&mut turn!(self));
                }
            }
            Event::ControlRound => {
                if self.control.up {
                    self.control.round(&mut turn!(self));
                }
                self.later.push((self.clock.now_ms() + ROUND_MS, Event::ControlRound));
            }
            Event::ClientTries { client, attempt } => self.client_tries(client, attempt),
            Event::Plan => {
                if !self.calm {
                    if self.control.up {
                        self.control.plan(&mut turn!(self));
                    }
                    let in_ms = self.dice.between(20, 250);
                    self.later.push((self.clock.now_ms() + in_ms, Event::Plan));
                }
            }
            Event::Restart(party) => self.restart(party),
            Event::Partition => self.partition(),
            Event::Pause => self.pause(),
            Event::Succession => {
                if self.control.up && !self.calm {
                    self.control.crash(&turn!(self));
                    self.control.restart(&mut turn!(self));
                }
            }
            Event::Resume { zone, since_ms } => self.resume(zone, since_ms),
            Event::Calm => {
                self.calm = true;
                self.faults.calm();
                self.network.calm();
                for zone in 0..self.gates.len() {
                    self.resume(zone, self.paused[zone].unwrap_or_default());
                }
                for client in 0..self.users.len() {
                    self.users[client].finish();
                    self.try_in(client, 1);
                }
            }
        }
    }

    fn at_edge(&mut self, edge: usize, packet: Packet) {
        if !self.edges[edge].up {
            return;
        }
        let Some((Request { client, seq, .. }, reply)) =
            self.edges[edge].receive(packet, &mut turn!(self))
        else {
            return;
        };
        if reply == Reply::Done {
            self.ledger.acknowledges(client, seq);
            let think_ms = self.users[client].answer(seq, &self.scenario, &mut self.dice);
            if let Some(think_ms) = think_ms {
                self.try_in(client, think_ms);
            }
        } else if self.users[client].refuse(seq) {
            self.try_in(client, AGAIN_MS);
        }
    }

    fn client_tries(&mut self, client: usize, attempt: u32) {
        let Some(seq) = self.users[client].next_write(attempt) else { return };
        let edge = self.dice.index(self.edges.len());
        if self.edges[edge].up {
            let sent_ms = self.clock.now_ms();
            let request = Request { client, seq, edge, told: Epoch(0), sent_ms, hops: 0 };
            self.edges[edge].send(request, &mut turn!(self));
        }
        self.try_in(client, ANSWER_MS);
    }

    fn try_in(&mut self, client: usize, in_ms: u64) {
        let attempt = self.users[client].attempt;
        self.later.push((self.clock.now_ms() + in_ms, Event::ClientTries { client, attempt }));
    }

    fn partition(&mut self) {
        let zone = self.dice.index(self.gates.len());
        let other = match self.dice.index(self.gates.len() + 1) {
            other if other == zone || other == self.gates.len() => Party::Control,
            other => Party::Gate(other),
        };
        let until_ms = self.clock.now_ms() + self.dice.between(50, 900);
        self.network.cut(Party::Gate(zone), other, until_ms);
        turn!(self).trace(|| format!("gate {zone} and {other:?} part until {until_ms} ms"));
    }

    /// A gate stands still for longer or shorter than its lease. Its clock and its app go on.
    fn pause(&mut self) {
        let zone = self.dice.index(self.gates.len());
        let for_ms = self.dice.between(20, 1_000);
        if self.calm || !self.gates[zone].up || self.paused[zone].is_some() {
            return;
        }
        let since_ms = self.clock.now_ms();
        self.tally.pauses += 1;
        self.paused[zone] = Some(since_ms);
        self.later.push((since_ms + for_ms, Event::Resume { zone, since_ms }));
        turn!(self).trace(|| format!("gate {zone} stands still"));
    }

    fn resume(&mut self, zone: usize, since_ms: u64) {
        if self.paused[zone] != Some(since_ms) {
            return;
        }
        self.paused[zone] = None;
        let now_ms = self.clock.now_ms();
        let turn = turn!(self);
        let leased = self.gates[zone].leased(&turn);
        turn.tally.long_pauses += u64::from(!leased);
        self.gates[zone].resumed_ms = Some(now_ms);
        self.at_once.append(&mut self.deferred[zone]);
        turn!(self).trace(|| format!("gate {zone} goes on"));
    }

    /// Keeps for later what comes to a gate that stands still.
    fn defer(&mut self, event: Event) -> Option<Event> {
        let (Event::Packet { to: Party::Gate(zone), .. } | Event::Gate { zone, .. }) = event else {
            return Some(event);
        };
        if self.paused[zone].is_none() {
            return Some(event);
        }
        let event = match event {
            Event::Gate { zone, life, timer: Timer::Executed(request, epoch) } => {
                if self.gates[zone].life == life {
                    self.gates[zone].execute(request, &mut turn!(self));
                }
                Event::Gate { zone, life, timer: Timer::Answered(request, epoch) }
            }
            event => event,
        };
        self.deferred[zone].push(event);
        None
    }

    fn crash(&mut self, party: Party) {
        turn!(self).trace(|| format!("{party:?} crashes"));
        let everyone = self.scenario.shape == Shape::Solo;
        if everyone {
            self.at_once.clear();
        }
        for zone in 0..self.gates.len() {
            if self.gates[zone].up && (everyone || party == Party::Gate(zone)) {
                self.paused[zone] = None;
                self.deferred[zone].clear();
                self.gates[zone].crash(&mut turn!(self));
            }
        }
        for edge in 0..self.edges.len() {
            self.edges[edge].up &= !(everyone || party == Party::Edge(edge));
        }
        if everyone || party == Party::Control {
            self.control.crash(&turn!(self));
        }
        let in_ms = self.dice.between(5, 700);
        self.later.push((self.clock.now_ms() + in_ms, Event::Restart(party)));
    }

    fn restart(&mut self, party: Party) {
        turn!(self).trace(|| format!("{party:?} starts again"));
        let everyone = self.scenario.shape == Shape::Solo;
        for zone in 0..self.gates.len() {
            if !self.gates[zone].up && (everyone || party == Party::Gate(zone)) {
                self.gates[zone].restart(&mut turn!(self));
            }
        }
        for edge in 0..self.edges.len() {
            if !self.edges[edge].up && (everyone || party == Party::Edge(edge)) {
                self.edges[edge] = Edge::new(edge);
            }
        }
        if !self.control.up && (everyone || party == Party::Control) {
            self.control.restart(&mut turn!(self));
        }
    }

    /// Holds the world against the laws.
    fn watch(&mut self) {
        let turn = turn!(self);
        let mut executors = Vec::new();
        for gate in self.gates.iter_mut().filter(|gate| gate.up) {
            let leased = gate.leased(&turn);
            turn.ledger.may_act(
                gate.zone,
                gate.life,
                leased && turn.scenario.shape == Shape::Fleet,
            );
            let verdict = gate.ownership.admit(leased);
            if matches!(verdict, Verdict::Execute { .. }) {
                if std::mem::take(&mut gate.given) {
                    turn.ledger.given(gate.store.writes());
                }
                executors.push(gate.store.writes());
            }
        }
        turn.ledger.after_step(executors.into_iter());
        if let Some((zone, life)) = self.ledger.heir()
            && let Some(kept) = self.gates[zone].replica(life)
        {
            self.ledger.heir_has(kept);
        }
        let record = self.control.record().epoch;
        for gate in &self.gates {
            self.ledger.not_ahead(gate.ownership.epoch(), record);
        }
        for edge in &self.edges {
            self.ledger.issued(edge.home.1, record);
        }
    }

    /// Whether all is settled: the owner serves and knows it, and every client has its answers.
    fn is_served(&mut self) -> bool {
        let record = *self.control.record();
        let turn = turn!(self);
        let gate = &self.gates[record.owner.index()];
        self.control.up
            && record.pending == Pending::Settled
            && gate.up
            && gate.life == record.incarnation.0
            && gate.leased(&turn)
            && gate.ownership.tenure() == Tenure::Owner
            && gate.ownership.epoch() == record.epoch
            && self.gates.iter().all(Gate::is_quiet)
            && self.users.iter().all(User::is_done)
    }
}
