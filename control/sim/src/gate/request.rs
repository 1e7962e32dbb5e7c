//! How a gate's shell treats requests: as the ownership's verdict says, each once, none held for
//! longer than allowed.

use homing_session::{
    gate::{Tenure, Verdict},
    handoff::source,
    replica::Tier,
};
use homing_wire::Epoch;

use super::{Gate, Timer};
use crate::{
    faults::Act,
    link::Party,
    scenario::{EXECUTION_MS, Mutant, SCALE},
    turn::{Packet, Reply, Turn},
};

/// A client's write on its way through an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Who.
    pub(crate) client: usize,
    /// Which of its writes.
    pub(crate) seq: u8,
    /// Through which edge.
    pub(crate) edge: usize,
    /// The epoch at which the edge was told that the session lives here.
    pub(crate) told: Epoch,
    /// When the client sent it; it hangs up after its patience.
    pub(crate) sent_ms: u64,
    /// Redirects so far.
    pub(crate) hops: u8,
}

impl Request {
    fn same_write(&self, other: &Self) -> bool {
        (self.client, self.seq) == (other.client, other.seq)
    }
}

impl Gate {
    pub(super) fn admit(&mut self, request: Request, turn: &mut Turn<'_>) {
        match self.verdict(&request, turn) {
            Verdict::Execute { epoch } => {
                if self.window.check(request.client as u64, u64::from(request.seq)).is_some() {
                    turn.tally.deduplicated += 1;
                    if turn.scenario.mutant == Some(Mutant::WindowUnreplicated) {
                        return self.answer(request, Reply::Done, turn);
                    }
                    return self.answer_kept(request, turn);
                }
                let running = self.running.iter().any(|other| other.same_write(&request));
                if running || turn.strike(Act::Execute, self.me()) {
                    return;
                }
                turn.ledger.begins(epoch, self.granted);
                self.gaps.record((turn.now_ms - self.last_request_ms) * SCALE);
                self.last_request_ms = turn.now_ms;
                self.running.push(request);
                let takes_ms = turn.dice.between(0, EXECUTION_MS - 1);
                turn.wait(self.zone, self.life, takes_ms, Timer::Executed(request, epoch));
            }
            Verdict::Park => {
                if !self.parked.iter().any(|(other, _)| other.same_write(&request)) {
                    turn.tally.parked += 1;
                    turn.tally.parked_early += u64::from(!self.ownership.retains());
                    self.parked.push((request, turn.now_ms));
                    let hold_ms = turn.scenario.hold_ms;
                    turn.wait(self.zone, self.life, hold_ms, Timer::HoldEnds(request));
                }
            }
            Verdict::Moved { zone, epoch } => {
                turn.tally.redirects += 1;
                turn.tally.redirected_early +=
                    u64::from(matches!(self.ownership.tenure(), Tenure::Granted { .. }));
                self.answer(request, Reply::Moved { zone: zone.index(), epoch }, turn);
            }
            Verdict::NotOwner | Verdict::NoLease => self.answer(request, Reply::NotNow, turn),
        }
    }

    /// The app does it, whether or not the gate looks on.
    pub(crate) fn execute(&mut self, request: Request, turn: &mut Turn<'_>) {
        if self.running.contains(&request) {
            self.store.write(request.client, request.seq);
            turn.ledger.executes(request.client, request.seq);
            turn.tally.executed += 1;
        }
    }

    /// The app has answered. Nobody hears of it if the session or the lease was lost meanwhile:
    /// another gate may have executed beside this one.
    pub(super) fn executed(&mut self, request: Request, epoch: Epoch, turn: &mut Turn<'_>) {
        let Some(at) = self.running.iter().position(|running| *running == request) else { return };
        self.running.remove(at);
        self.window.record(request.client as u64, u64::from(request.seq), 0);
        let owned = self.ownership.is_home() && self.ownership.epoch() == epoch;
        if owned && self.leased(turn) {
            self.answer_kept(request, turn);
        } else {
            turn.tally.unanswered += 1;
        }
        self.last_request_ms = turn.now_ms;
        if self.running.is_empty() {
            self.send_owed(turn);
        }
        if self.running.is_empty() && std::mem::take(&mut self.awaits_drained) {
            self.tell_source(source::Event::Drained, turn.now_ms);
        }
        self.look_for_gap(turn);
    }

    pub(super) fn look_for_gap(&mut self, turn: &mut Turn<'_>) {
        let Some(pause_ms) = self.awaits_gap_ms else { return };
        let since_ms = turn.now_ms - self.last_request_ms;
        if self.running.is_empty() && self.gaps.may_cut(since_ms * SCALE, pause_ms * SCALE) {
            self.awaits_gap_ms = None;
            turn.tally.gaps += 1;
            self.tell_source(source::Event::Gap, turn.now_ms);
        } else {
            self.wake_at(turn.now_ms + 3, turn);
        }
    }

    pub(super) fn hold_ends(&mut self, request: Request, turn: &mut Turn<'_>) {
        let ended = |&(parked, since_ms): &(Request, u64)| {
            parked.same_write(&request) && turn.now_ms >= since_ms + turn.scenario.hold_ms
        };
        if turn.scenario.mutant == Some(Mutant::HoldUnbounded) {
            return;
        }
        if let Some(at) = self.parked.iter().position(ended) {
            let (request, since_ms) = self.parked.remove(at);
            self.was_held(since_ms, turn);
            turn.tally.held_out += 1;
            self.answer(request, Reply::NotNow, turn);
        }
    }

    /// Lets held requests go on, in the order they came, if nothing holds them any more.
    pub(super) fn let_go(&mut self, turn: &mut Turn<'_>) {
        for (request, since_ms) in std::mem::take(&mut self.parked) {
            if self.verdict(&request, turn) == Verdict::Park {
                self.parked.push((request, since_ms));
                continue;
            }
            self.was_held(since_ms, turn);
            self.admit(request, turn);
        }
    }

    /// A pause cannot be helped; what had to go by then goes when it ends.
    fn was_held(&self, since_ms: u64, turn: &mut Turn<'_>) {
        if self.resumed_ms != Some(turn.now_ms) {
            turn.ledger.held(turn.now_ms - since_ms, turn.scenario.hold_ms);
        }
    }

    pub(super) fn answer(&self, request: Request, reply: Reply, turn: &mut Turn<'_>) {
        if reply == Reply::Done && turn.scenario.tier == Tier::T2 {
            turn.ledger.answers(request.client, request.seq);
        }
        let answer = Packet::Answer { request, reply };
        turn.send(self.me(), Party::Edge(request.edge), answer);
    }
}
