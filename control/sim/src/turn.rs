//! What a party has while it acts: the time, the dice, a way to send and to wait, and the ledger
//! that watches. Parties never see each other, so all that passes between them passes the network.

use homing_session::handoff::Message;
use homing_wire::Epoch;

use crate::{
    clock::Dice,
    faults::{Act, Faults},
    gate::{Cargo, Request, Timer},
    laws::Ledger,
    link::{Network, Party},
    scenario::{Scenario, Shape},
    tally::Tally,
};

/// What is sent between parties.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// A message of the handoff, with the bytes that travel with it.
    Handoff { from: Party, message: Message, cargo: Option<Cargo> },
    /// A control's word to a gate.
    Order { term: u64, message: Message },
    /// A control's first word to a gate.
    Term { term: u64 },
    /// The owner's state at that epoch, from a version on, for its replica.
    Delta { from: usize, epoch: Epoch, since: u64, cargo: Cargo },
    /// The zone and life that keeps the replica has that much of it.
    Kept { epoch: Epoch, keeper: (usize, u64), version: u64 },
    /// An owner names its heir; zones and lives.
    Heir { owner: (usize, u64), epoch: Epoch, seq: u64, heir: (usize, u64) },
    /// Control has stored it.
    HeirKnown { life: u64, epoch: Epoch, seq: u64 },
    /// A gate wants its lease renewed.
    Renew { zone: usize, life: u64, former: u64, seq: u64 },
    /// It is, for so long from when that renewal was sent.
    Lease { life: u64, seq: u64, term: u64, ms: u32 },
    /// It is not, and never will be.
    DeclaredDead { life: u64 },
    /// The placement table's line for the session.
    Table { zone: usize, epoch: Epoch },
    /// A request, from an edge to a gate.
    Request(Request),
    /// Its answer.
    Answer { request: Request, reply: Reply },
}

/// How a gate answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Executed, now or before.
    Done,
    /// Not executed; that zone owns the session.
    Moved { zone: usize, epoch: Epoch },
    /// Not executed; come again.
    NotNow,
}

/// What is to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A packet arrives.
    Packet { to: Party, packet: Packet },
    /// Something within one life of a gate.
    Gate { zone: usize, life: u64, timer: Timer },
    /// The authority's deadline.
    ControlWake,
    /// The authority looks for leases that have ended, and publishes its table again.
    ControlRound,
    /// A client sends a write, or sends it again.
    ClientTries { client: usize, attempt: u32 },
    /// Control starts a handoff.
    Plan,
    /// A crashed process is started again.
    Restart(Party),
    /// The network breaks somewhere.
    Partition,
    /// Another control takes over.
    Succession,
    /// A gate stands still.
    Pause,
    /// The gate of a zone goes on, if it still stands still since then.
    Resume { zone: usize, since_ms: u64 },
    /// Nothing goes wrong from here on.
    Calm,
}

/// One party's turn.
pub(crate) struct Turn<'a> {
    /// The time.
    pub(crate) now_ms: u64,
    /// The world's parameters.
    pub(crate) scenario: &'a Scenario,
    /// Chance.
    pub(crate) dice: &'a mut Dice,
    /// What goes wrong.
    pub(crate) faults: &'a mut Faults,
    /// The law.
    pub(crate) ledger: &'a mut Ledger,
    /// Counts.
    pub(crate) tally: &'a mut Tally,
    pub(crate) network: &'a Network,
    /// What is to happen later, and when.
    pub(crate) later: &'a mut Vec<(u64, Event)>,
    /// What is to happen before anything else: calls within one process.
    pub(crate) at_once: &'a mut Vec<Event>,
    pub(crate) lines: Option<&'a mut Vec<String>>,
}

impl Turn<'_> {
    /// Sends a packet.
    pub(crate) fn send(&mut self, from: Party, to: Party, packet: Packet) {
        self.trace(|| format!("{from:?} -> {to:?}: {packet:?}"));
        if self.scenario.shape == Shape::Solo && to == Party::Control {
            self.at_once.push(Event::Packet { to, packet });
            return;
        }
        let arrivals = self.network.arrivals(from, to, self.scenario, self.dice, self.now_ms);
        for at_ms in arrivals.into_iter().flatten() {
            self.later.push((at_ms, Event::Packet { to, packet: packet.clone() }));
        }
    }

    /// Sends a message of the handoff.
    pub(crate) fn say(&mut self, from: Party, to: Party, message: Message) {
        self.send(from, to, Packet::Handoff { from, message, cargo: None });
    }

    /// Plans something within a gate's life.
    pub(crate) fn wait(&mut self, zone: usize, life: u64, in_ms: u64, timer: Timer) {
        self.plan(in_ms, Event::Gate { zone, life, timer });
    }

    /// Plans anything.
    pub(crate) fn plan(&mut self, in_ms: u64, event: Event) {
        self.later.push((self.now_ms + in_ms, event));
    }

    /// Asks fate before an act; true if the actor must do no more.
    pub(crate) fn strike(&mut self, act: Act, actor: Party) -> bool {
        let struck = self.faults.strike(act, actor, self.dice);
        if struck {
            self.trace(|| format!("{actor:?} crashes before {act:?}"));
        }
        struck
    }

    /// Whether this party is to crash at the end of the turn.
    pub(crate) fn is_struck(&self, party: Party) -> bool {
        self.faults.struck.contains(&party)
    }

    /// Writes a line of the trace, if one is kept.
    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>6} ms  {}", self.now_ms, line()));
        }
    }
}
