//! The app of a zone: takes each number once, answers it with itself, and keeps its state where a
//! handoff finds it.

use bytes::{Bytes, BytesMut};
use homing_session::carry::{CARRIED, CLOSE, Scanner, close, control};

use super::{Wire, World};

/// What the app knows of the session in one zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Numbers taken: one to this.
    pub(super) numbers: u64,
    /// Only the last leg that was begun may write.
    pub(super) leg: u64,
}

/// One leg at the app.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) zone: usize,
    pub(super) wire: Wire,
    number: u64,
    scanner: Scanner,
    message: BytesMut,
    over: bool,
}

/// A message of one number, in fragments, with a ping between them now and then.
pub(super) fn message(world: &mut World, number: u64, masked: bool) -> Bytes {
    let padding = if world.dice.chance(300) { world.dice.between(0, 400) as usize } else { 0 };
    let payload = format!("{number}{}", " ".repeat(padding)).into_bytes();
    let size = payload.len().div_ceil(world.dice.between(1, 3) as usize);
    let chunks: Vec<&[u8]> = payload.chunks(size).collect();
    let mut out = BytesMut::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let last = if index + 1 == chunks.len() { 0x80 } else { 0 };
        let opcode = if index == 0 { 1 } else { 0 };
        let mask = if masked { 0x80 } else { 0 };
        match chunk.len() {
            short @ 0..=125 => out.extend_from_slice(&[last | opcode, mask | short as u8]),
            long => {
                out.extend_from_slice(&[last | opcode, mask | 126]);
                out.extend_from_slice(&(long as u16).to_be_bytes());
            }
        }
        if masked {
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(chunk);
        if last == 0 && world.dice.chance(200) {
            out.extend_from_slice(&control(0x9, b"well?", masked));
        }
    }
    out.freeze()
}

/// The number of a whole message's frames, whose masks are of zeros.
pub(super) fn number(mut frames: &[u8]) -> Option<u64> {
    let mut payload = Vec::new();
    while let [_, second, rest @ ..] = frames {
        let (length, rest) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
            short => (usize::from(short), rest),
        };
        let rest = rest.get(if second & 0x80 == 0 { 0 } else { 4 }..)?;
        payload.extend_from_slice(rest.get(..length)?);
        frames = &rest[length..];
    }
    String::from_utf8(payload).ok()?.trim_end().parse().ok()
}

impl World {
    /// A leg begins in a zone: the one before may not write any more. What the app says to the
    /// handshake; `got` is how many of its messages the client has.
    pub(super) fn begin_leg(&mut self, zone: usize, wire: Wire, got: u64) -> Option<u64> {
        let state = &mut self.states[zone];
        state.leg += 1;
        let (number, taken) = (state.leg, state.numbers);
        self.apps.push(Leg {
            zone,
            wire,
            number,
            scanner: Scanner::default(),
            message: BytesMut::new(),
            over: false,
        });
        if !self.manners.counts {
            return None;
        }
        for number in got + 1..=taken {
            let again = message(self, number, false);
            self.send(wire, false, again);
        }
        Some(taken)
    }

    pub(super) fn app_hears(&mut self, index: usize, bytes: Option<Bytes>) {
        let leg = &mut self.apps[index];
        let (zone, wire) = (leg.zone, leg.wire);
        let Some(mut bytes) = bytes.filter(|_| !leg.over) else {
            leg.over = true;
            return;
        };
        loop {
            let leg = &mut self.apps[index];
            let part = match leg.scanner.next(&mut bytes) {
                Ok(Some(part)) => part,
                Ok(None) => return,
                Err(broken) => return self.break_law(format!("the app reads {broken}")),
            };
            if part.opcode == CLOSE {
                if self.manners.answers {
                    leg.over = true;
                    self.send(wire, false, close(CARRIED, "", false));
                    self.hang_up(wire);
                }
                return;
            }
            if part.opcode > CLOSE {
                continue;
            }
            leg.message.extend_from_slice(&part.bytes);
            if !part.ends_message {
                continue;
            }
            let (whole, own) = (leg.message.split(), leg.number);
            if zone != self.home || own != self.states[zone].leg {
                // Fenced: another leg, perhaps in another zone, goes on.
                self.apps[index].over = true;
                return self.hang_up(wire);
            }
            let Some(said) = number(&whole) else {
                return self.break_law(format!("the app reads a torn message {whole:?}"));
            };
            let expected = self.states[zone].numbers + 1;
            if said != expected {
                return self.break_law(format!("the app is told {said} for {expected}"));
            }
            self.states[zone].numbers = said;
            let answer = message(self, said, false);
            self.send(wire, false, answer);
        }
    }
}
