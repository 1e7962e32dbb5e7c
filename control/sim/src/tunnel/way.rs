//! The edge and the gate: they give the machines what arrives, carry out what these want, and dial.

use bytes::{Bytes, BytesMut};
use homing_session::carry::{Act, Ended, Ends, Progress, Relay, Word};

use super::{AGAIN_MS, Event, HALF_MS, Hop, Wire, World};

/// What a hop's machine has made of what arrived.
enum Made {
    Nothing,
    Ended(Ended),
}

impl World {
    /// Carries out what a hop's machine wants.
    fn pump(&mut self, hop: &mut Hop) -> Made {
        let Some(leg) = hop.leg else { return Made::Nothing };
        let now_ms = self.clock.now_ms();
        loop {
            while let Some(act) = hop.relay.poll(now_ms) {
                match act {
                    Act::ToApp { bytes, .. } => self.send(leg, true, bytes),
                    Act::ToClient { bytes, messages } => {
                        self.send(hop.left, false, bytes);
                        hop.relay.got(messages);
                    }
                    Act::Ended(ended) => return Made::Ended(ended),
                }
            }
            if hop.called && hop.relay.is_open() && hop.relay.is_between_frames() {
                hop.called = false;
                if let Some(word) = hop.relay.recall(now_ms) {
                    self.send(hop.left, false, word);
                }
                continue;
            }
            if hop.inbox.is_empty() || !hop.relay.reads_client() {
                break;
            }
            hop.relay.client_said(hop.inbox.split().freeze());
        }
        let Some(deadline) = hop.relay.deadline() else { return Made::Nothing };
        if deadline > now_ms {
            self.clock.at(deadline, Event::Look);
            return Made::Nothing;
        }
        if !hop.relay.is_between_frames() && !hop.relay.is_parting() {
            // Looked at again with the rest of the frame.
            return Made::Nothing;
        }
        match hop.relay.late() {
            Some(Act::ToClient { bytes, .. }) => {
                self.out.resumed += 1;
                self.send(hop.left, false, bytes);
            }
            Some(Act::Ended(ended)) => return Made::Ended(ended),
            Some(Act::ToApp { .. }) | None => {}
        }
        self.pump(hop)
    }

    pub(super) fn look(&mut self) {
        self.pump_gate();
        self.pump_edge();
    }

    pub(super) fn pump_edge(&mut self) {
        let mut edge = std::mem::take(&mut self.edge);
        let made = self.pump(&mut edge);
        self.edge = edge;
        if let Made::Ended(ended) = made {
            self.edge_leg_over(ended);
        }
    }

    pub(super) fn pump_gate(&mut self) {
        let Some((zone, mut gate)) = self.gate.take() else { return };
        let made = self.pump(&mut gate);
        self.gate = Some((zone, gate));
        if let Made::Ended(ended) = made {
            self.gate_leg_over(ended);
        }
    }

    pub(super) fn edge_hears_gate(&mut self, bytes: Option<Bytes>) {
        match bytes {
            Some(bytes) => {
                self.edge.relay.app_said(bytes);
                self.pump_edge();
            }
            None => {
                let ended = self.edge.relay.app_left();
                self.edge_leg_over(ended);
            }
        }
    }

    pub(super) fn gate_hears_app(&mut self, wire: Wire, bytes: Option<Bytes>) {
        let Some((_, gate)) = self.gate.as_mut().filter(|(_, gate)| gate.leg == Some(wire)) else {
            return;
        };
        match bytes {
            Some(bytes) => {
                gate.relay.app_said(bytes);
                self.pump_gate();
            }
            None => {
                let ended = gate.relay.app_left();
                self.gate_leg_over(ended);
            }
        }
    }

    pub(super) fn gate_hears_edge(&mut self, wire: Wire, bytes: Option<Bytes>) {
        let Some((_, gate)) = self.gate.as_mut().filter(|(_, gate)| gate.left == wire) else {
            return;
        };
        if let Some(bytes) = bytes {
            gate.inbox.extend_from_slice(&bytes);
            self.pump_gate();
        }
    }

    fn edge_leg_over(&mut self, ended: Ended) {
        self.note(|| format!("the edge's leg: {ended:?}"));
        self.edge.confirmed = match ended {
            Ended::Moved { confirmed, .. } => confirmed,
            Ended::Left => false,
            odd => return self.break_law(format!("the edge's leg ends with {odd:?}")),
        };
        if let Some(leg) = self.edge.leg.take() {
            self.hang_up(leg);
        }
        if !self.edge.relay.is_between_messages() {
            return self.torn();
        }
        self.edge_dials();
    }

    fn gate_leg_over(&mut self, ended: Ended) {
        self.note(|| format!("the gate's leg: {ended:?}"));
        let Some((_, gate)) = &mut self.gate else { return };
        gate.called = false;
        gate.confirmed = match ended {
            Ended::Cut { confirmed } => confirmed,
            odd => return self.break_law(format!("the gate's leg ends with {odd:?}")),
        };
        let between = gate.relay.is_between_messages();
        if let Some(leg) = gate.leg.take() {
            self.hang_up(leg);
        }
        if !between {
            return self.torn();
        }
        self.place_given_back();
    }

    /// The edge tries the session's home.
    pub(super) fn edge_dials(&mut self) {
        if self.edge.leg.is_some() {
            return;
        }
        let zone = self.home;
        if self.dead[zone] || self.freeze.is_some() {
            let at = self.clock.now_ms() + AGAIN_MS;
            return self.clock.at(at, Event::EdgeDials);
        }
        let (client, got) = (self.edge.relay.progress().client(), self.edge.relay.progress().app());
        let (left, leg) = (self.wire(), self.wire());
        let taken = self.begin_leg(zone, leg, got);
        let lacks = self.edge.relay.progress().lacks(taken, self.edge.confirmed);
        let Some(lacks) = lacks else { return self.unknown(self.edge.confirmed) };
        self.note(|| format!("the edge dials {zone}: {client} said, {taken:?} taken"));
        let mut relay = Relay::new(Progress::from(taken.unwrap_or(client), got));
        relay.begin(Ends { from_edge: true, to_gate: false }, HALF_MS);
        self.gate = Some((zone, Hop { relay, left, leg: Some(leg), ..Hop::default() }));
        self.edge.relay.begin(Ends { from_edge: false, to_gate: true }, HALF_MS);
        self.edge.leg = Some(left);
        self.out.legs += 1;
        self.give(left, lacks);
        self.pump_edge();
    }

    /// The gate dials its app again, or tells where the session is.
    pub(super) fn gate_dials(&mut self) {
        let Some((zone, gate)) = &self.gate else { return };
        if gate.leg.is_some() {
            return;
        }
        let zone = *zone;
        if zone != self.home {
            return self.tell_moved();
        }
        if self.freeze.is_some() {
            let at = self.clock.now_ms() + AGAIN_MS;
            return self.clock.at(at, Event::GateDials);
        }
        let got = gate.relay.progress().app();
        let leg = self.wire();
        let taken = self.begin_leg(zone, leg, got);
        let Some((_, gate)) = &mut self.gate else { return };
        let lacks = gate.relay.progress().lacks(taken, gate.confirmed);
        let confirmed = gate.confirmed;
        let Some(lacks) = lacks else { return self.unknown(confirmed) };
        let Some((_, gate)) = &mut self.gate else { return };
        gate.relay.begin(Ends { from_edge: true, to_gate: false }, HALF_MS);
        gate.leg = Some(leg);
        let left = gate.left;
        self.out.legs += 1;
        self.note(|| format!("the gate of {zone} dials: {taken:?} taken"));
        self.give(leg, lacks);
        self.send(left, false, Word::Resume.frame(""));
        self.pump_gate();
    }

    /// The app's message under way ends nowhere: by a death, or because the app did not finish it
    /// within its half of a cut.
    fn torn(&mut self) {
        self.out.closed = true;
        if !self.manners.kills && !self.out.slow {
            self.break_law("a message of the app's is torn".to_owned());
        }
    }

    /// What the app lacks cannot be told.
    fn unknown(&mut self, confirmed: bool) {
        self.out.closed = true;
        if confirmed || self.manners.counts {
            self.break_law("what the app lacks is known, and the socket was closed".to_owned());
        }
        if !self.manners.kills && self.manners.answers && !self.out.slow {
            self.break_law("the app answered in time, and the socket was closed".to_owned());
        }
    }

    fn give(&mut self, leg: Wire, lacks: Vec<Bytes>) {
        self.out.again += lacks.len() as u64;
        let all: BytesMut = lacks.iter().flat_map(|message| message.iter().copied()).collect();
        self.send(leg, true, all.freeze());
    }
}
