//! One state of the model's world, and the laws it must obey.

use homing_session::{
    gate::{Ownership, Tenure, Verdict},
    handoff::{
        Message, Record,
        record::{Lives, Pending},
    },
};
use homing_wire::{Epoch, Incarnation, ZoneId};

use super::{
    intern::Interner,
    letters::{Letter, Net},
};

pub(super) const ZONES: usize = 2;
pub(super) const CLIENTS: usize = 2;

/// A law that the protocol must keep; the numbers are those of the protocol's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// I1: at most one gate can execute the session.
    OneExecutor,
    /// I2: executed epochs never fall, and no gate is over one epoch ahead of the record.
    EpochsRise,
    /// I3: each request executes at most once.
    OnceOnly,
    /// I4: an acknowledged write is in the owner's state.
    NothingLost,
    /// I6: a client knows no epoch that nobody issued.
    NoInventedEpoch,
    /// I7: a grant and a promise are irrevocable.
    WordKept,
}

/// The whole world. Ownerships and records are numbers; see `intern`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) net: Net,
    pub(super) record: u16,
    pub(super) gates: [Gate; ZONES],
    pub(super) clients: [Client; CLIENTS],
    /// The life the authority holds for live, per zone; 0 for none.
    pub(super) live: [u8; ZONES],
    /// The highest epoch executed at.
    pub(super) top: u8,
    pub(super) handoffs: u8,
    pub(super) faults: u8,
    /// Of the control that leads, from 0.
    pub(super) term: u8,
    /// The record of the control before it, as that one takes it to be.
    pub(super) deposed: Option<u16>,
    /// A gate died or was declared dead with state that no other has: writes may be missing.
    pub(super) lossy: bool,
}

/// One zone's gate and its session state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gate {
    pub(super) ownership: u16,
    pub(super) life: u8,
    pub(super) up: bool,
    pub(super) lease: bool,
    /// The highest term of which this life has heard.
    pub(super) term: u8,
    /// One bit per client's write: the session's state and its dedup window in one.
    pub(super) writes: u8,
}

/// One client with one write to make, and the proxy it talks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) zone: u8,
    pub(super) epoch: u8,
    pub(super) executed: u8,
    pub(super) acked: bool,
}

/// The values behind the numbers.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) ownerships: Interner<Ownership>,
    pub(super) records: Interner<Record>,
    pub(super) letters: Interner<Letter>,
}

impl Values {
    pub(super) fn new() -> Self {
        Self { ownerships: Interner::new(), records: Interner::new(), letters: Interner::new() }
    }
}

impl State {
    /// The session lives in zone 0, everyone knows it, nothing was written.
    pub(super) fn first(values: &mut Values) -> Self {
        let record = Record::settled(ZoneId(0), Incarnation(1), Epoch::FIRST);
        let gate =
            |ownership| Gate { ownership, life: 1, up: true, lease: true, term: 0, writes: 0 };
        let home = values.ownerships.number(Ownership::owner(Epoch::FIRST));
        let away = values.ownerships.number(Ownership::away());
        Self {
            net: Net::default(),
            record: values.records.number(record),
            gates: [gate(home), gate(away)],
            clients: [Client { zone: 0, epoch: 1, executed: 0, acked: false }; CLIENTS],
            live: [1; ZONES],
            top: 0,
            handoffs: 0,
            faults: 0,
            term: 0,
            deposed: None,
            lossy: false,
        }
    }

    /// What the authority knows of lives, for as long as `with` runs.
    pub(super) fn with_lives<T>(&self, with: impl FnOnce(Lives<'_>) -> T) -> T {
        let live = self.live.map(|life| (life > 0).then_some(Incarnation(u64::from(life))));
        // Every zone has a replica, if only an empty one: a dead zone's session goes elsewhere.
        let heir = live.iter().position(Option::is_some).map(|zone| ZoneId(zone as u8));
        with(Lives { by_zone: &live, heir, ephemeral: false })
    }

    /// The epoch at which the gate can execute now.
    pub(super) fn executes(&self, zone: usize, values: &Values, lease: bool) -> Option<Epoch> {
        let gate = &self.gates[zone];
        match values.ownerships.value(gate.ownership).admit(lease) {
            Verdict::Execute { epoch } if gate.up => Some(epoch),
            _ => None,
        }
    }

    /// The first law that this state breaks. `lease` says how a gate sees its own lease.
    pub(super) fn broken(&self, values: &Values, lease: impl Fn(&Gate) -> bool) -> Option<Law> {
        let record = values.records.value(self.record);
        let executors: Vec<usize> = (0..ZONES)
            .filter(|&zone| self.executes(zone, values, lease(&self.gates[zone])).is_some())
            .collect();
        if executors.len() > 1 {
            return Some(Law::OneExecutor);
        }
        let acked = (0..CLIENTS).filter(|&c| self.clients[c].acked).fold(0, |set, c| set | 1 << c);
        if !self.lossy {
            if self.clients.iter().any(|client| client.executed > 1) {
                return Some(Law::OnceOnly);
            }
            if executors.iter().any(|&zone| acked & !self.gates[zone].writes != 0) {
                return Some(Law::NothingLost);
            }
        }
        let ahead = |epoch: u64| epoch > record.epoch.0 + 1;
        let epochs = self.gates.iter().map(|gate| values.ownerships.value(gate.ownership).epoch());
        if epochs.into_iter().any(|epoch| ahead(epoch.0)) {
            return Some(Law::EpochsRise);
        }
        if self.clients.iter().any(|client| ahead(u64::from(client.epoch))) {
            return Some(Law::NoInventedEpoch);
        }
        self.breaks_its_word(values).then_some(Law::WordKept)
    }

    /// Whether one life has both activated a directive and promised not to.
    fn breaks_its_word(&self, values: &Values) -> bool {
        let words = || self.net.iter().map(|letter| values.letters.value(letter));
        words().any(|letter| match letter {
            Letter::ToAuthority(Message::Activated { directive, incarnation }) => {
                let fenced = Message::Fenced { directive: *directive, incarnation: *incarnation };
                words().any(|other| matches!(other, Letter::ToAuthority(m) if *m == fenced))
            }
            _ => false,
        })
    }

    /// Everything is settled: the owner can serve and knows it, and both writes are answered.
    pub(super) fn is_good(&self, values: &Values) -> bool {
        let record = values.records.value(self.record);
        let gate = &self.gates[record.owner.index()];
        let ownership = values.ownerships.value(gate.ownership);
        record.pending == Pending::Settled
            && gate.up
            && gate.lease
            && u64::from(gate.life) == record.incarnation.0
            && ownership.tenure() == Tenure::Owner
            && ownership.epoch() == record.epoch
            && self.clients.iter().all(|client| client.acked)
    }
}
