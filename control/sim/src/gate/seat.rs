//! The gate's place among the others: its lease, its life, and which control it listens to. The
//! lease is the production holder's, read on this host's own clock.

use homing_session::{gate, lease::LeaseHolder};

use super::{Gate, Timer};
use crate::{
    host::HostClock,
    link::Party,
    scenario::{Mutant, RENEW_MS, Shape},
    turn::{Packet, Turn},
};

/// What of a gate outlives its ownerships, or ends with its life.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    clock: HostClock,
    holder: LeaseHolder,
    /// The life this one knows to be over; zero for none.
    former: u64,
    /// The highest term of a control that has given orders.
    term: u64,
}

impl Seat {
    /// A seat without a lease.
    pub(crate) fn new(clock: HostClock) -> Self {
        Self { clock, holder: LeaseHolder::default(), former: 0, term: 0 }
    }
}

impl Gate {
    /// Whether this gate may act now.
    #[must_use]
    pub(crate) fn leased(&self, turn: &Turn<'_>) -> bool {
        turn.scenario.shape == Shape::Solo
            || turn.scenario.mutant == Some(Mutant::LeaseIgnored)
            || self.seat.holder.is_valid(self.seat.clock.at(turn.now_ms))
    }

    /// Time to renew.
    pub(super) fn renew(&mut self, turn: &mut Turn<'_>) {
        let seq = self.seat.holder.renew_sent(self.seat.clock.at(turn.now_ms));
        let Self { zone, life, .. } = *self;
        let renew = Packet::Renew { zone, life, former: self.seat.former, seq };
        turn.send(self.me(), Party::Control, renew);
        turn.wait(zone, life, RENEW_MS, Timer::Renew);
    }

    /// Control has answered a renewal of this life.
    pub(super) fn renewed(&mut self, seq: u64, term: u64, lease_ms: u32, turn: &mut Turn<'_>) {
        self.obeys(term, turn);
        let mut seq = seq;
        if turn.scenario.mutant == Some(Mutant::LeaseFromAnswer) {
            seq = self.seat.holder.renew_sent(self.seat.clock.at(turn.now_ms));
        }
        self.seat.holder.granted(seq, term, lease_ms);
    }

    /// Whether to obey a control of that term: not if a later one has spoken.
    pub(super) fn obeys(&mut self, term: u64, turn: &mut Turn<'_>) -> bool {
        let obeys = term >= self.seat.term;
        turn.tally.outdated_orders += u64::from(!obeys);
        self.seat.term = self.seat.term.max(term);
        obeys
    }

    /// A new process, and a new life. Most find what the former left on their disk, and with it
    /// the proof that the former is over; the rest have to wait for its lease to end.
    pub(crate) fn restart(&mut self, turn: &mut Turn<'_>) {
        let knows = turn.scenario.shape == Shape::Solo || turn.dice.chance(700);
        if turn.scenario.shape == Shape::Fleet {
            self.seat.clock = HostClock::any(turn.dice);
        }
        self.live_on(if knows { self.life } else { 0 }, turn);
    }

    /// The life was declared dead; the process goes on as a new one, with nothing.
    pub(super) fn begin_again(&mut self, turn: &mut Turn<'_>) {
        if self.ownership.retains() {
            turn.ledger.mourns();
        }
        turn.ledger.forgets();
        turn.ledger.dies(self.zone, self.life);
        turn.tally.begun_again += 1;
        if let Ok((lost, _)) = self.ownership.next(gate::Event::LeaseLost, self.guard(turn)) {
            self.ownership = lost;
        }
        self.forget_everything(turn);
        self.live_on(self.life, turn);
    }

    fn live_on(&mut self, former: u64, turn: &mut Turn<'_>) {
        self.up = true;
        self.life += 1;
        self.seat = Seat { former, ..Seat::new(self.seat.clock) };
        turn.wait(self.zone, self.life, 1, Timer::Renew);
    }
}
