//! WebSocket streams cut at message boundaries (RFC 6455 §5): what a tunnel needs to know of the
//! frames it passes on so that one of its legs can be replaced, and the few words that edge and
//! gate say to each other about it between those frames. Pure: bytes in, parts out.

use bytes::{Buf, Bytes, BytesMut};
use homing_wire::Epoch;

mod progress;
mod relay;

pub use progress::{Progress, RECENT_BYTES_MAX};
pub use relay::{Act, Ended, Ends, Relay};

/// Longest frame header: two bytes, eight of length, four of mask.
const HEADER_MAX: usize = 14;
/// Longest payload of a control frame.
const CONTROL_MAX: u64 = 125;

/// The opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// The control opcode, reserved by the RFC, under which edge and gate talk. Clients that use it are
/// refused, and no app ever sees it.
pub const OURS: u8 = 0xf;
/// The close code by which an app is told that its leg ends and another will follow.
pub const CARRIED: u16 = 4_700;

/// One part of a stream, to be passed on whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The bytes as they came: frame headers, masks and all.
    pub bytes: Bytes,
    /// The frame's opcode; 0 for a continuation.
    pub opcode: u8,
    /// Whether a data message ends with this part.
    pub ends_message: bool,
    /// A control frame's payload, unmasked.
    pub payload: Bytes,
}

/// The stream is not WebSocket any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A control frame is too long or in fragments.
    #[error("a control frame that cannot be")]
    Control,
    /// Reserved opcodes mean nothing.
    #[error("a frame of a reserved opcode")]
    Reserved,
}

/// Follows one direction of a tunnel.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The bytes of a header, or of a control frame, that is not complete.
    kept: BytesMut,
    /// Payload still to come of the data frame under way.
    left: u64,
    /// Whether that frame is its message's last.
    last: bool,
    opcode: u8,
    /// A message has begun and not ended.
    in_message: bool,
}

impl Scanner {
    /// Takes the next part off the front of `input`; `None` if more bytes are needed for one.
    ///
    /// # Errors
    /// [`Broken`]; the stream cannot be followed further.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Part>, Broken> {
        if self.left > 0 {
            return Ok(self.payload(input, BytesMut::new()));
        }
        while self.kept.len() < header_bytes(&self.kept) {
            if !input.has_remaining() {
                return Ok(None);
            }
            let missing = header_bytes(&self.kept) - self.kept.len();
            let here = missing.min(input.remaining());
            self.kept.extend_from_slice(&input.split_to(here));
        }
        let opcode = self.kept[0] & 0xf;
        let length = payload_bytes(&self.kept);
        if opcode >= CLOSE {
            return self.control(opcode, length, input);
        }
        if opcode > 0x2 {
            return Err(Broken::Reserved);
        }
        let header = self.kept.split();
        (self.left, self.last, self.opcode) = (length, header[0] & 0x80 != 0, opcode);
        self.in_message = true;
        Ok(self.payload(input, header))
    }

    /// Whether the last message is complete and no frame is under way.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.kept.is_empty() && self.left == 0 && !self.in_message
    }

    /// Whether the parts handed out end with a frame: a control frame may follow them. Bytes that
    /// are kept here for want of more were not handed out.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.left == 0
    }

    /// Whether the parts handed out end with a message: another stream's may follow them.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.left == 0 && !self.in_message
    }

    fn payload(&mut self, input: &mut Bytes, header: BytesMut) -> Option<Part> {
        let here = self.left.min(input.remaining() as u64);
        if here == 0 && self.left > 0 && header.is_empty() {
            return None;
        }
        self.left -= here;
        let payload = input.split_to(here as usize);
        let ends_message = self.left == 0 && self.last;
        if ends_message {
            self.in_message = false;
        }
        let bytes = match header.is_empty() {
            true => payload,
            false if payload.is_empty() => header.freeze(),
            false => {
                let mut whole = header;
                whole.extend_from_slice(&payload);
                whole.freeze()
            }
        };
        Some(Part { bytes, opcode: self.opcode, ends_message, payload: Bytes::new() })
    }

    /// Control frames are short and come whole, between the frames of a message if need be.
    fn control(
        &mut self,
        opcode: u8,
        length: u64,
        input: &mut Bytes,
    ) -> Result<Option<Part>, Broken> {
        if length > CONTROL_MAX || self.kept[0] & 0x80 == 0 {
            return Err(Broken::Control);
        }
        let head = header_bytes(&self.kept);
        let missing = (head + length as usize).saturating_sub(self.kept.len());
        let here = missing.min(input.remaining());
        self.kept.extend_from_slice(&input.split_to(here));
        if here < missing {
            return Ok(None);
        }
        let frame = self.kept.split().freeze();
        let mut payload = BytesMut::from(&frame[head..]);
        if frame[1] & 0x80 != 0 {
            let mask = [frame[head - 4], frame[head - 3], frame[head - 2], frame[head - 1]];
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        Ok(Some(Part { bytes: frame, opcode, ends_message: false, payload: payload.freeze() }))
    }
}

/// Bytes of the header that these bytes begin; 2 until its length is told.
fn header_bytes(kept: &[u8]) -> usize {
    let Some(second) = kept.get(1) else { return 2 };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    (2 + length + mask).min(HEADER_MAX)
}

fn payload_bytes(header: &[u8]) -> u64 {
    let wide = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    match header[1] & 0x7f {
        126 => wide(&header[2..4]),
        127 => wide(&header[2..10]),
        short => short.into(),
    }
}

/// What edge and gate say to each other on a tunnel between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Gate to edge: stop at the end of the message under way, and say so.
    Pause {
        /// Numbers the gate's pauses, so that an answer to one that was taken back is known.
        turn: u32,
    },
    /// Edge to gate: everything before this is the client's; nothing more comes until `Resume`.
    Paused {
        /// The pause that this answers.
        turn: u32,
    },
    /// Gate to edge: go on, here.
    Resume,
    /// Gate to edge: go on at the session's new home, and say there what was confirmed here.
    Moved {
        /// The epoch the session is owned at there.
        epoch: Epoch,
        /// Messages of the client that the app has taken; `None` if it did not confirm them.
        client: Option<u64>,
    },
}

impl Word {
    /// As a frame. `zone` names the home of `Moved`.
    #[must_use]
    pub fn frame(self, zone: &str) -> Bytes {
        let text = match self {
            Self::Pause { turn } => format!("pause {turn}"),
            Self::Paused { turn } => format!("paused {turn}"),
            Self::Resume => "resume".to_owned(),
            Self::Moved { epoch, client } => {
                let client = client.map_or("?".to_owned(), |client| client.to_string());
                format!("moved {zone};{epoch};{client}")
            }
        };
        control(OURS, text.as_bytes(), false)
    }

    /// Reads a frame's payload: the word, and the zone it names.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<(Self, &str)> {
        let text = std::str::from_utf8(payload).ok()?;
        match text.split_once(' ') {
            Some(("pause", turn)) => return Some((Self::Pause { turn: turn.parse().ok()? }, "")),
            Some(("paused", turn)) => return Some((Self::Paused { turn: turn.parse().ok()? }, "")),
            None if text == "resume" => return Some((Self::Resume, "")),
            _ => {}
        }
        let mut parts = text.strip_prefix("moved ")?.split(';');
        let zone = parts.next()?;
        let epoch = Epoch(parts.next()?.parse().ok()?);
        let client = parts.next()?;
        let client = if client == "?" { None } else { Some(client.parse().ok()?) };
        Some((Self::Moved { epoch, client }, zone))
    }
}

/// A control frame; masked if it goes towards a server.
#[must_use]
pub fn control(opcode: u8, payload: &[u8], masked: bool) -> Bytes {
    let payload = &payload[..payload.len().min(CONTROL_MAX as usize)];
    let mut frame = BytesMut::with_capacity(6 + payload.len());
    let length = payload.len() as u8;
    frame.extend_from_slice(&[0x80 | opcode, if masked { 0x80 | length } else { length }]);
    if masked {
        // A mask of zeros: its purpose is to keep scripts in browsers from choosing what is on
        // the wire, and here there is no script.
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// A close frame with a code and a reason.
#[must_use]
pub fn close(code: u16, reason: &str, masked: bool) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    control(CLOSE, &payload, masked)
}

#[cfg(test)]
mod tests;
