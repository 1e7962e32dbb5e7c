//! One carried WebSocket in a seeded world: a client, an edge, a gate and an app in each of two
//! zones. The machines between client and app are those that ship and are given real frames in
//! arbitrary pieces; the session is handed over, handoffs are taken back and gates are killed. Each
//! number that the client says must be taken once and in order, and come back so.

use bytes::{Bytes, BytesMut};
use homing_session::carry::{Ends, Progress, Relay, Scanner};

use crate::clock::{Clock, Dice};

mod app;
mod ends;
mod way;

use app::State;

/// What one world was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// The app answers our close.
    pub answers: bool,
    /// The app says how far it is.
    pub counts: bool,
    /// Gates are killed.
    pub kills: bool,
}

impl Manners {
    /// Those of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { answers: !seed.is_multiple_of(3), counts: seed % 5 < 3, kills: seed % 7 < 3 }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Legs that followed another.
    pub legs: u64,
    /// Messages that were given again.
    pub again: u64,
    /// Pauses that were taken back.
    pub resumed: u64,
    /// The socket was closed, for a reason that apps and operators are told of: a gate died in the
    /// middle of a message of the app's, or the app neither answered in time nor counts.
    pub closed: bool,
    /// A piece was slower than a cut may take.
    pub slow: bool,
    /// The broken law, in words.
    pub broken: Option<String>,
    /// What happened.
    pub trace: Vec<String>,
}

/// Numbers that the client says.
const NUMBERS: u64 = 120;
/// When faults and handoffs stop.
const QUIET_MS: u64 = 6_000;
/// When everything must be over.
const END_MS: u64 = 20_000;
/// What each half of a cut may take.
const HALF_MS: u64 = 80;
/// Pause before a home that could not be reached is tried again.
const AGAIN_MS: u64 = 50;

/// A connection, by its place in the list.
type Wire = usize;

#[derive(Clone, Debug)]
enum Event {
    /// Bytes come out at the right end (or the left one); none for the end of the stream.
    Deliver { wire: Wire, right: bool, bytes: Option<Bytes> },
    /// The client says its next number.
    Say,
    /// The session is to move.
    Move,
    /// A gate dies.
    Kill,
    /// A gate is back.
    Back(usize),
    /// A machine's deadline may have come.
    Look,
    /// The edge tries the session's home.
    EdgeDials,
    /// The gate dials its app again.
    GateDials,
    /// The handoff under way ends, having moved the session or not.
    Over { moved: bool },
    /// Nothing was cut in time.
    Thaw(u64),
}

#[derive(Debug, Default)]
struct Link {
    /// When the last bytes come out, to the left and to the right.
    last: [u64; 2],
    closed: bool,
}

/// One process's part of the way.
#[derive(Debug)]
struct Hop {
    relay: Relay,
    left: Wire,
    leg: Option<Wire>,
    confirmed: bool,
    /// A freeze has called, and no word could be said yet.
    called: bool,
    /// What the left side said and the machine does not take yet.
    inbox: BytesMut,
}

impl Default for Hop {
    fn default() -> Self {
        Self {
            relay: Relay::new(Progress::default()),
            left: 0,
            leg: None,
            confirmed: true,
            called: false,
            inbox: BytesMut::new(),
        }
    }
}

struct World {
    clock: Clock<Event>,
    dice: Dice,
    manners: Manners,
    links: Vec<Link>,
    said: u64,
    heard: u64,
    from_edge: Scanner,
    heard_so_far: BytesMut,
    edge: Hop,
    gate: Option<(usize, Hop)>,
    apps: Vec<app::Leg>,
    states: [State; 2],
    dead: [bool; 2],
    home: usize,
    /// The handoff under way, and whether the session is at rest for it.
    freeze: Option<u64>,
    moving: bool,
    copied: State,
    freezes: u64,
    slow_worlds: bool,
    out: Carried,
    keeps: bool,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, keeps_trace: bool) -> Carried {
    let mut world = World {
        clock: Clock::new(),
        dice: Dice::new(seed),
        manners: Manners::of(seed),
        links: vec![Link::default()],
        said: 0,
        heard: 0,
        from_edge: Scanner::default(),
        heard_so_far: BytesMut::new(),
        edge: Hop::default(),
        gate: None,
        apps: Vec::new(),
        states: [State::default(), State::default()],
        dead: [false; 2],
        home: 0,
        freeze: None,
        moving: false,
        copied: State::default(),
        freezes: 0,
        slow_worlds: seed % 11 < 5,
        out: Carried::default(),
        keeps: keeps_trace,
    };
    world.edge.relay.begin(Ends { from_edge: false, to_gate: true }, HALF_MS);
    world.clock.at(0, Event::EdgeDials);
    world.clock.at(5, Event::Say);
    for _ in 0..world.dice.between(2, 12) {
        let at = world.dice.between(20, QUIET_MS);
        world.clock.at(at, Event::Move);
    }
    if world.manners.kills {
        for _ in 0..world.dice.between(1, 4) {
            let at = world.dice.between(20, QUIET_MS);
            world.clock.at(at, Event::Kill);
        }
    }
    while world.out.broken.is_none() && !world.out.closed {
        let Some(event) = world.clock.next() else { break };
        if world.clock.now_ms() > END_MS {
            break;
        }
        world.happens(event);
    }
    world.judge();
    world.out
}

impl World {
    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.keeps {
            let line = format!("{:>6} {}", self.clock.now_ms(), what());
            self.out.trace.push(line);
        }
    }

    fn break_law(&mut self, what: String) {
        self.note(|| what.clone());
        self.out.broken.get_or_insert(what);
    }

    fn judge(&mut self) {
        if self.out.closed {
            return;
        }
        let taken = self.states[self.home].numbers;
        if (taken, self.heard) != (NUMBERS, NUMBERS) {
            self.break_law(format!("in the end {taken} are taken and {} heard", self.heard));
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Deliver { wire, right, bytes } => self.deliver(wire, right, bytes),
            Event::Say => self.say(),
            Event::Move => self.freeze(),
            Event::Kill => self.kill(),
            Event::Back(zone) => self.dead[zone] = false,
            Event::Look => self.look(),
            Event::EdgeDials => self.edge_dials(),
            Event::GateDials => self.gate_dials(),
            Event::Over { moved } => self.over(moved),
            Event::Thaw(number) => {
                if self.freeze == Some(number) && !self.moving {
                    self.freeze = None;
                }
            }
        }
    }

    fn wire(&mut self) -> Wire {
        self.links.push(Link::default());
        self.links.len() - 1
    }

    /// Sends in pieces that nobody chose, in order.
    fn send(&mut self, wire: Wire, right: bool, mut bytes: Bytes) {
        while !bytes.is_empty() && !self.links[wire].closed {
            let most = bytes.len() as u64;
            let piece = bytes.split_to(self.dice.between(1, most) as usize);
            self.post(wire, right, Some(piece));
        }
    }

    fn post(&mut self, wire: Wire, right: bool, bytes: Option<Bytes>) {
        let is_slow = self.slow_worlds && self.dice.chance(4);
        self.out.slow |= is_slow;
        let at = self.clock.now_ms() + self.dice.between(0, if is_slow { 200 } else { 12 });
        let last = &mut self.links[wire].last[usize::from(right)];
        *last = at.max(*last);
        let at = *last;
        self.clock.at(at, Event::Deliver { wire, right, bytes });
    }

    /// Ends a connection: what is on its way arrives, and behind it the end.
    fn hang_up(&mut self, wire: Wire) {
        if !std::mem::replace(&mut self.links[wire].closed, true) {
            self.post(wire, true, None);
            self.post(wire, false, None);
        }
    }
}
