//! What is around the tunnel: its client, the handoffs of its session, the deaths of gates.

use bytes::Bytes;
use homing_session::carry::{CLOSE, Word};

use super::{Event, NUMBERS, QUIET_MS, Wire, World, app};

/// Longest freeze, as long as both halves of a cut and a little more.
const FREEZE_MS: u64 = 200;

impl World {
    pub(super) fn say(&mut self) {
        self.said += 1;
        let said = app::message(self, self.said, true);
        self.send(0, true, said);
        if self.said < NUMBERS {
            let at = self.clock.now_ms() + self.dice.between(1, 90);
            self.clock.at(at, Event::Say);
        }
    }

    pub(super) fn deliver(&mut self, wire: Wire, right: bool, bytes: Option<Bytes>) {
        if wire == 0 {
            match bytes {
                Some(bytes) if right => {
                    self.edge.inbox.extend_from_slice(&bytes);
                    self.pump_edge();
                }
                Some(bytes) => self.client_hears(bytes),
                None => {}
            }
        } else if right {
            if let Some(index) = self.apps.iter().position(|leg| leg.wire == wire) {
                self.app_hears(index, bytes);
            } else {
                self.gate_hears_edge(wire, bytes);
            }
        } else if self.edge.leg == Some(wire) {
            self.edge_hears_gate(bytes);
        } else {
            self.gate_hears_app(wire, bytes);
        }
    }

    fn client_hears(&mut self, mut bytes: Bytes) {
        loop {
            let part = match self.from_edge.next(&mut bytes) {
                Ok(Some(part)) => part,
                Ok(None) => return,
                Err(broken) => return self.break_law(format!("the client reads {broken}")),
            };
            if part.opcode == CLOSE {
                self.out.closed = true;
                return;
            }
            if part.opcode == homing_session::carry::OURS {
                return self.break_law("the client reads a word of ours".to_owned());
            }
            if part.opcode > CLOSE {
                continue;
            }
            self.heard_so_far.extend_from_slice(&part.bytes);
            if !part.ends_message {
                continue;
            }
            let whole = self.heard_so_far.split();
            let expected = self.heard + 1;
            if app::number(&whole) != Some(expected) {
                return self.break_law(format!("the client reads {whole:?} for {expected}"));
            }
            self.heard = expected;
        }
    }

    /// The session is to move: its tunnel is called in.
    pub(super) fn freeze(&mut self) {
        if self.freeze.is_some() || self.clock.now_ms() > QUIET_MS || self.gate.is_none() {
            return;
        }
        self.freezes += 1;
        self.freeze = Some(self.freezes);
        let until = self.clock.now_ms() + FREEZE_MS;
        self.clock.at(until, Event::Thaw(self.freezes));
        self.note(|| "freeze".to_owned());
        if let Some((_, gate)) = &mut self.gate {
            gate.called = gate.leg.is_some();
        }
        self.pump_gate();
    }

    /// Nothing is executed here any more: the handoff goes on.
    pub(super) fn place_given_back(&mut self) {
        if self.freeze.is_none() || self.moving {
            let at = self.clock.now_ms() + 1;
            return self.clock.at(at, Event::GateDials);
        }
        self.moving = true;
        self.copied = self.states[self.home];
        let at = self.clock.now_ms() + self.dice.between(3, 40);
        let moved = self.dice.chance(700);
        self.clock.at(at, Event::Over { moved });
    }

    pub(super) fn over(&mut self, moved: bool) {
        (self.freeze, self.moving) = (None, false);
        self.note(|| format!("over, moved: {moved}"));
        if moved {
            let to = 1 - self.home;
            let leg = self.states[to].leg;
            self.states[to] = app::State { leg, ..self.copied };
            self.home = to;
        }
        self.gate_dials();
    }

    /// Tells the edge where the tunnel goes on.
    pub(super) fn tell_moved(&mut self) {
        let Some((_, gate)) = self.gate.take() else { return };
        let client = gate.confirmed.then(|| gate.relay.progress().client());
        let word = Word::Moved { epoch: homing_wire::Epoch(self.freezes), client };
        self.send(gate.left, false, word.frame(["a", "b"][self.home]));
        self.hang_up(gate.left);
    }

    pub(super) fn kill(&mut self) {
        if self.clock.now_ms() > QUIET_MS {
            return;
        }
        let Some((zone, gate)) = self.gate.take() else { return };
        self.note(|| format!("the gate of {zone} dies"));
        self.dead[zone] = true;
        let back = self.clock.now_ms() + self.dice.between(20, 300);
        self.clock.at(back, Event::Back(zone));
        self.hang_up(gate.left);
        if let Some(leg) = gate.leg {
            self.hang_up(leg);
        }
        if !self.moving {
            self.freeze = None;
        }
    }
}
