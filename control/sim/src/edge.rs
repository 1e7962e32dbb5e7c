//! An edge: knows where the session lives from the table or a redirect, whichever is newer, sends
//! requests there, and follows redirects. It has no authority and nothing to lose in a crash.

use homing_wire::Epoch;

use crate::{
    gate::Request,
    link::Party,
    turn::{Packet, Reply, Turn},
    users::ANSWER_MS,
};

/// Redirects one request follows before the client is told to come again.
const HOPS_MAX: u8 = 3;

/// One edge.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    number: usize,
    /// Whether the process runs.
    pub(crate) up: bool,
    /// Where the session lives, and since which epoch.
    pub(crate) home: (usize, Epoch),
}

impl Edge {
    /// An edge with the first table.
    #[must_use]
    pub(crate) fn new(number: usize) -> Self {
        Self { number, up: true, home: (0, Epoch::FIRST) }
    }

    /// Takes a packet in; an answer that the client is to have comes back.
    pub(crate) fn receive(
        &mut self,
        packet: Packet,
        turn: &mut Turn<'_>,
    ) -> Option<(Request, Reply)> {
        match packet {
            Packet::Table { zone, epoch } => {
                self.learn(zone, epoch);
                None
            }
            Packet::Answer { request, reply: Reply::Moved { zone, epoch } } => {
                self.learn(zone, epoch);
                // Nobody waits any more: the client has long sent it through another edge.
                if turn.now_ms > request.sent_ms + ANSWER_MS {
                    return None;
                }
                if request.hops == HOPS_MAX {
                    return Some((request, Reply::NotNow));
                }
                self.send(Request { hops: request.hops + 1, ..request }, turn);
                None
            }
            Packet::Answer { request, reply } => Some((request, reply)),
            _ => None,
        }
    }

    /// Sends a request to where the session lives.
    pub(crate) fn send(&self, request: Request, turn: &mut Turn<'_>) {
        let (zone, told) = self.home;
        let request = Packet::Request(Request { told, ..request });
        turn.send(Party::Edge(self.number), Party::Gate(zone), request);
    }

    fn learn(&mut self, zone: usize, epoch: Epoch) {
        if epoch > self.home.1 {
            self.home = (zone, epoch);
        }
    }
}
