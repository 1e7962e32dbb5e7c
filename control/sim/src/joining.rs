//! Gates that join a zone, are killed and come again, while the zone's sessions are written to: a
//! seeded world of its own around the rosters and the joining machine that ship, because the other
//! world has one gate a zone. Tables reach each gate when they like, questions, answers and pages
//! are late or lost, edges send to any gate.

use std::collections::BTreeMap;

use homing_session::{
    joining::{Joining, Neighbour, Standing, Word},
    placement::Placement,
    roster::{Admit, Begin, Cession, Given, Roster, Who},
};
use homing_wire::{
    Capacity, Facts, Gate, Incarnation, Intake, Policy, Price, ServiceId, SessionKey, TableDraft,
    Version, Zone, ZoneId, zone::gate_among,
};

use crate::clock::Dice;

mod asking;

const ZONE: ZoneId = ZoneId(0);
const NAMES: [&str; 3] = ["gate-a", "gate-b", "gate-c"];
const SESSIONS: u64 = 5;
const HOPS_MAX: u32 = 6;

/// A defect planted to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A joined gate begins what it is drawn for without asking.
    BeginUnasked,
    /// A gate answers by a table older than the asker's.
    AnswerByOldTable,
    /// A session is given without its dedup window.
    LoseWindow,
    /// A neighbour that does not answer is taken for one that has nothing.
    SilenceIsConsent,
    /// What was given is not given again.
    GiveOnce,
    /// A page's word that a session was given before is taken without asking the others.
    TrustPages,
    /// A gate says that it has nothing more while it has what a third one is drawn for.
    ForgetThirds,
    /// What is given is taken although another gate has been drawn for it since.
    TakeUndrawn,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Joined {
    /// Writes executed.
    pub executed: u64,
    /// Repeated writes that were recognised.
    pub recognised: u64,
    /// Sessions that changed their gate.
    pub given: u64,
    /// Requests sent on to a gate that still had the session.
    pub sent_on: u64,
    /// Gates that were told by all others that they have nothing more.
    pub settled: u64,
}

/// One life of a gate.
struct Process {
    name: &'static str,
    life: Incarnation,
    alive: bool,
    /// The table it holds: an index into the world's; none before its first.
    table: Option<usize>,
    joining: Joining,
    roster: Roster,
}

/// A request on its way.
struct Request {
    session: u64,
    seq: u64,
    hops: u32,
    at: At,
}

enum At {
    Arriving(usize),
    Asking(Asking),
    Executing(usize),
    Over,
}

struct Asking {
    gate: usize,
    neighbours: Vec<Neighbour>,
    words: Vec<Word>,
    given: Vec<Option<Given>>,
    /// The newest table that an answer was given by.
    newest: Option<usize>,
}

enum Letter {
    Ask { to: usize, request: usize, slot: usize, table: usize },
    Answer { request: usize, slot: usize, cession: Cession, table: usize },
}

struct World {
    dice: Dice,
    planted: Option<Planted>,
    placement: Placement,
    tables: Vec<Vec<Gate>>,
    processes: Vec<Process>,
    requests: Vec<Request>,
    letters: Vec<Letter>,
    /// The last write of each session that was begun.
    written: BTreeMap<u64, u64>,
    executed: BTreeMap<(u64, u64), u64>,
    killed: bool,
    joined: Joined,
}

/// Runs one world. `kills` says whether gates may die; a write may then be executed twice, since
/// its name dies with its gate, but never by two at a time.
///
/// # Errors
/// Which law was broken, and when.
pub fn join(seed: u64, kills: bool, planted: Option<Planted>) -> Result<Joined, String> {
    let mut world = World::new(seed, planted);
    for step in 0..600 {
        world.step(kills);
        world.check().map_err(|fault| format!("seed {seed}, step {step}: {fault}"))?;
    }
    Ok(world.joined)
}

impl World {
    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut world = Self {
            dice: Dice::new(seed),
            planted,
            placement: placement(),
            tables: vec![Vec::new()],
            processes: Vec::new(),
            requests: Vec::new(),
            letters: Vec::new(),
            written: BTreeMap::new(),
            executed: BTreeMap::new(),
            killed: false,
            joined: Joined::default(),
        };
        world.enter(0);
        world.take_table(0, 1);
        world
    }

    fn step(&mut self, kills: bool) {
        match self.dice.between(0, 99) {
            0..4 => {
                let name = self.dice.index(NAMES.len());
                self.enter(name);
            }
            4..6 if kills => self.kill(),
            6..16 => {
                let process = self.any_process();
                let newest = self.tables.len() - 1;
                let held = self.processes[process].table.unwrap_or(0);
                let next = held + self.dice.index(newest - held + 1);
                self.take_table(process, next);
            }
            16..36 => self.arrive(),
            36..50 => self.page(),
            50..80 => self.deliver(),
            _ => self.advance(),
        }
    }

    /// A new life begins, in place of the name's former one if that is dead.
    fn enter(&mut self, name: usize) {
        let name = NAMES[name];
        if self.processes.iter().any(|process| process.name == name && process.alive) {
            return;
        }
        let life = Incarnation(self.processes.len() as u64 + 1);
        self.processes.push(Process {
            name,
            life,
            alive: true,
            table: None,
            joining: Joining::default(),
            roster: Roster::new(ZONE, 64),
        });
        let (http, link) = (String::new(), String::new());
        let mut gates = self.tables.last().cloned().unwrap_or_default();
        gates.retain(|gate| gate.name != name);
        gates.push(Gate { name: name.to_owned(), incarnation: life, http, link });
        gates.sort_by(|a, b| a.name.cmp(&b.name));
        self.tables.push(gates);
    }

    /// A gate dies, and is struck off: its lease is over.
    fn kill(&mut self) {
        let process = self.any_process();
        if self.processes.iter().filter(|process| process.alive).count() < 2 {
            return;
        }
        self.killed = true;
        let dead = &mut self.processes[process];
        dead.alive = false;
        let life = dead.life;
        for request in &mut self.requests {
            let is_there = match &request.at {
                At::Arriving(at) | At::Executing(at) => *at == process,
                At::Asking(asking) => asking.gate == process,
                At::Over => false,
            };
            if is_there {
                request.at = At::Over;
            }
        }
        let mut gates = self.tables.last().cloned().unwrap_or_default();
        gates.retain(|gate| gate.incarnation != life);
        self.tables.push(gates);
    }

    fn any_process(&mut self) -> usize {
        let alive: Vec<usize> =
            (0..self.processes.len()).filter(|index| self.processes[*index].alive).collect();
        alive[self.dice.index(alive.len())]
    }

    fn take_table(&mut self, process: usize, table: usize) {
        let gates = &self.tables[table];
        let taker = &mut self.processes[process];
        taker.table = Some(table);
        let before = taker.joining.standing();
        taker.joining.look((taker.name, taker.life), gates);
        self.count_settled(process, before);
    }

    fn count_settled(&mut self, process: usize, before: Standing) {
        let after = self.processes[process].joining.standing();
        self.joined.settled += u64::from(before == Standing::Asking && after == Standing::Settled);
    }

    fn gates_of(&self, process: usize) -> &[Gate] {
        self.processes[process].table.map_or(&[], |table| &self.tables[table])
    }

    fn draws(&self, process: usize, key: SessionKey) -> Option<&Gate> {
        gate_among(self.gates_of(process), key)
    }

    /// A client writes, or repeats its last write, through an edge with any table.
    fn arrive(&mut self) {
        let session = self.dice.between(0, SESSIONS - 1);
        let under_way = self.requests.iter().filter(|request| {
            request.session == session && request.seq > 0 && !matches!(request.at, At::Over)
        });
        let last = self.written.get(&session).copied().unwrap_or(0);
        // A client has two under way at most.
        if under_way.count() > 1 {
            return;
        }
        let seq = if last > 0 && self.dice.between(0, 2) == 0 { last } else { last + 1 };
        self.written.insert(session, seq);
        let at = At::Arriving(self.any_process());
        self.requests.push(Request { session, seq, hops: 0, at });
    }

    fn advance(&mut self) {
        let under_way: Vec<usize> = (0..self.requests.len())
            .filter(|index| !matches!(self.requests[*index].at, At::Over))
            .collect();
        if under_way.is_empty() {
            return;
        }
        let index = under_way[self.dice.index(under_way.len())];
        match self.requests[index].at {
            At::Arriving(gate) => self.admit(index, gate, false),
            At::Executing(gate) => {
                let key = key(self.requests[index].session);
                self.processes[gate].roster.finish(key, None, 0);
                self.requests[index].at = At::Over;
            }
            // Its client gives up now and then.
            At::Asking(_) if self.dice.between(0, 7) == 0 => self.requests[index].at = At::Over,
            At::Asking(_) | At::Over => {}
        }
    }

    fn admit(&mut self, index: usize, gate: usize, asked: bool) {
        let request = &mut self.requests[index];
        let (session, seq) = (request.session, request.seq);
        let who = who(session);
        request.hops += 1;
        if request.hops > HOPS_MAX {
            request.at = At::Over;
            return;
        }
        let drawn = self.draws(gate, who.key).map(|drawn| (drawn.name.clone(), drawn.incarnation));
        let process = &self.processes[gate];
        let is_drawn = drawn.as_ref().is_some_and(|(name, _)| name == process.name);
        let has = process.roster.ownership(who.key).is_some_and(|known| known.retains());
        if !is_drawn && !has {
            return self.send_on(index, drawn.map(|(_, life)| life));
        }
        let standing = process.joining.standing();
        let lease = standing != Standing::Unlisted;
        let unasked = self.planted == Some(Planted::BeginUnasked);
        let begin = || match standing {
            _ if !is_drawn => Begin::No,
            _ if unasked => Begin::Yes,
            Standing::Settled => Begin::Yes,
            Standing::Asking if asked => Begin::Yes,
            Standing::Asking | Standing::Unlisted => Begin::Ask,
        };
        let roster = &mut self.processes[gate].roster;
        match roster.admit_if(who, &self.placement, lease, begin, 0) {
            Admit::Execute { .. } => {
                let probes = seq == 0;
                let known = probes
                    || roster.dedup(who.key).and_then(|window| window.check(1, seq)).is_some();
                if known {
                    roster.finish(who.key, None, 0);
                    self.joined.recognised += u64::from(!probes);
                    self.requests[index].at = At::Over;
                    return;
                }
                if let Some(window) = roster.dedup_mut(who.key) {
                    window.record(1, seq, 1);
                }
                *self.executed.entry((session, seq)).or_default() += 1;
                self.joined.executed += 1;
                self.requests[index].at = At::Executing(gate);
            }
            Admit::Unasked => self.ask(index, gate),
            Admit::Moved(_) => self.send_on(index, drawn.map(|(_, life)| life)),
            _ => self.requests[index].at = At::Over,
        }
    }

    fn send_on(&mut self, index: usize, to: Option<Incarnation>) {
        let to = to.and_then(|life| {
            self.processes.iter().position(|process| process.life == life && process.alive)
        });
        self.requests[index].at = to.map_or(At::Over, At::Arriving);
    }

    /// At most one gate has a session; and unless a gate has died, nothing is executed twice.
    fn check(&self) -> Result<(), String> {
        for session in 0..SESSIONS {
            let owners: Vec<&str> = self
                .processes
                .iter()
                .filter(|process| process.alive)
                .filter(|process| {
                    process.roster.ownership(key(session)).is_some_and(|known| known.is_home())
                })
                .map(|process| process.name)
                .collect();
            if owners.len() > 1 {
                return Err(format!("session {session} is at {owners:?}"));
            }
        }
        if self.killed {
            return Ok(());
        }
        match self.executed.iter().find(|(_, times)| **times > 1) {
            Some(((session, seq), times)) => {
                Err(format!("write {seq} of session {session} is executed {times} times"))
            }
            None => Ok(()),
        }
    }
}

fn key(session: u64) -> SessionKey {
    // The low half draws the gate: it must be spread.
    SessionKey(u128::from((session + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn who(session: u64) -> Who {
    Who { key: key(session), service: ServiceId(0), place: None }
}

/// One zone that has every session.
fn placement() -> Placement {
    let zone = Zone {
        name: "here".to_owned(),
        location: None,
        endpoints: Vec::new(),
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    };
    let (services, places) = (Vec::new(), Vec::new());
    let facts = Facts { zones: vec![zone], services, places, policy: Policy::default() };
    let first = TableDraft::first(Version { term: 1, n: 1 }, facts, 0);
    Placement::compile(&first.seal().expect("one zone and nothing else has no faults"))
}
