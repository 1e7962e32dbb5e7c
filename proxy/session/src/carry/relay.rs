//! One process on a carried tunnel's way, for as long as one leg lasts: passes messages on, and on
//! a freeze cuts between two of them. The client is read up to the end of a message, the app is
//! asked to close and read out to its answer, and so has taken all that was said to it. Not the
//! edge's machine and another for the gate, because a solo process is both.

use bytes::Bytes;

use super::{Broken, CARRIED, CLOSE, OURS, Part, Progress, Scanner, Word, close};

/// Pauses in a row after which a client's side that does nothing is cut off all the same.
const MISSED_MAX: u32 = 2;

/// What is at the two ends of this process's part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's side is an edge, which has to be asked to pause.
    pub from_edge: bool,
    /// The app's side is a gate, which asks.
    pub to_gate: bool,
}

/// How a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The tunnel is over: what closed it was passed on.
    Closed,
    /// The app's side is gone without a word.
    Left,
    /// Another leg is to follow, wherever the session is let in.
    Cut {
        /// The app answered our close, and so has taken everything before it.
        confirmed: bool,
    },
    /// A gate says where the next leg leads.
    Moved {
        /// The word [`Word::Moved`]; its count agrees with ours if the leg is confirmed.
        word: Word,
        /// The zone it names.
        zone: String,
        /// As in `Cut`.
        confirmed: bool,
    },
    /// The client's stream is none that can be followed.
    Refused(Broken),
    /// The app's is none, and nothing can follow it.
    Odd(Broken),
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Write to the app's side.
    ToApp {
        /// Frames or parts of them.
        bytes: Bytes,
        /// A message of the client's ends with it.
        ends_message: bool,
    },
    /// Write to the client's side.
    ToClient {
        /// Frames or parts of them.
        bytes: Bytes,
        /// Messages that end with it.
        messages: u64,
    },
    /// The leg is over.
    Ended(Ended),
}

/// How far the leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Both ways are open.
    Open,
    /// The client's message under way is passed on to its end, until then at the latest. The
    /// number is the pause's: one that was taken back may still be answered.
    Finishing { until_ms: Option<u64>, turn: u32, answered: bool },
    /// The client is not read: the leg is being replaced behind the gate.
    Paused,
    /// The app was asked to close, and is read out until then at the latest.
    Parting { until_ms: u64 },
}

/// The machine. Time is in milliseconds of any clock that only rises.
#[derive(Debug)]
pub struct Relay {
    ends: Ends,
    phase: Phase,
    /// The last pause asked for.
    turn: u32,
    /// Pauses that the client's side let pass in a row, the last one among them.
    missed: u32,
    /// It has said something since the last one.
    spoke: bool,
    /// What each of the two halves of a cut may take.
    half_ms: u64,
    from_client: Scanner,
    from_app: Scanner,
    /// Of the client's: not passed on, it may have come behind the cut.
    waiting: Bytes,
    /// Of the app's, not looked at.
    heard: Bytes,
    progress: Progress,
    /// The app's own close was passed on.
    closed: bool,
    over: bool,
}

impl Relay {
    /// A tunnel with these counts; `begin` must follow.
    #[must_use]
    pub fn new(progress: Progress) -> Self {
        Self {
            ends: Ends { from_edge: false, to_gate: false },
            phase: Phase::Open,
            turn: 0,
            missed: 0,
            spoke: false,
            half_ms: 0,
            from_client: Scanner::default(),
            from_app: Scanner::default(),
            waiting: Bytes::new(),
            heard: Bytes::new(),
            progress,
            closed: false,
            over: false,
        }
    }

    /// A leg begins. Of the client's stream what was not passed on is still to be.
    pub fn begin(&mut self, ends: Ends, half_ms: u64) {
        (self.ends, self.half_ms) = (ends, half_ms);
        (self.phase, self.over, self.missed) = (Phase::Open, false, 0);
        (self.from_app, self.heard) = (Scanner::default(), Bytes::new());
    }

    /// How far the tunnel is.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The client has got so many more of the app's messages.
    pub fn got(&mut self, messages: u64) {
        self.progress.got(messages);
    }

    /// Whether the client's side is to be read.
    #[must_use]
    pub fn reads_client(&self) -> bool {
        self.waiting.is_empty() && matches!(self.phase, Phase::Open | Phase::Finishing { .. })
    }

    /// Whether the app's stream, as far as it was handed out, ends between two frames.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.from_app.is_between_frames()
    }

    /// The same of messages.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.from_app.is_between_messages()
    }

    /// Whether a freeze may call it in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the app was asked to close.
    #[must_use]
    pub fn is_parting(&self) -> bool {
        matches!(self.phase, Phase::Parting { .. })
    }

    /// Whether messages of the client have to wait for the next leg.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(self.phase, Phase::Paused | Phase::Parting { .. })
    }

    /// The client's side said something. Only when `reads_client`.
    pub fn client_said(&mut self, bytes: Bytes) {
        self.spoke = true;
        self.waiting = bytes;
    }

    /// The app's side said something. Only when everything before was polled.
    pub fn app_said(&mut self, bytes: Bytes) {
        self.heard = bytes;
    }

    /// The app's side is gone; how the leg ended.
    pub fn app_left(&mut self) -> Ended {
        self.over = true;
        match self.phase {
            Phase::Parting { .. } => Ended::Cut { confirmed: false },
            _ => Ended::Left,
        }
    }

    /// The session is about to be frozen. The word goes to the client's side between two frames,
    /// so this is not to be called inside one.
    pub fn recall(&mut self, now_ms: u64) -> Option<Bytes> {
        self.turn += 1;
        self.spoke = false;
        let (turn, until_ms) = (self.turn, Some(now_ms + self.half_ms));
        self.phase = Phase::Finishing { until_ms, turn, answered: false };
        self.ends.from_edge.then(|| Word::Pause { turn }.frame(""))
    }

    /// When to call `late`.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Finishing { until_ms, .. } => until_ms,
            Phase::Parting { until_ms } => Some(until_ms),
            Phase::Open | Phase::Paused => None,
        }
    }

    /// The deadline has come. The word goes to the client's side, as that of `recall`.
    pub fn late(&mut self) -> Option<Act> {
        match self.phase {
            // The handoff will not get its freeze either, and comes back. Who is in the middle of
            // a message may go on; who does nothing, again, would keep the session here for ever.
            Phase::Finishing { .. } => {
                let is_idle = !self.spoke || self.from_client.at_boundary();
                self.missed = if is_idle { self.missed + 1 } else { 0 };
                if self.missed >= MISSED_MAX {
                    return Some(self.end(Ended::Cut { confirmed: false }));
                }
                self.phase = Phase::Open;
                let resume = || Act::ToClient { bytes: Word::Resume.frame(""), messages: 0 };
                self.ends.from_edge.then(resume)
            }
            _ => Some(self.end(Ended::Cut { confirmed: false })),
        }
    }

    /// What is to be done now; `None` if something has to be said first.
    pub fn poll(&mut self, now_ms: u64) -> Option<Act> {
        if self.over {
            return None;
        }
        if self.closed {
            return Some(self.end(Ended::Closed));
        }
        if let Some(act) = self.pass_app() {
            return Some(act);
        }
        self.pass_client().or_else(|| self.settle(now_ms))
    }

    fn end(&mut self, ended: Ended) -> Act {
        self.over = true;
        Act::Ended(ended)
    }

    fn pass_app(&mut self) -> Option<Act> {
        loop {
            let part = match self.from_app.next(&mut self.heard) {
                Ok(part) => part?,
                Err(broken) => return Some(self.end(Ended::Odd(broken))),
            };
            match part.opcode {
                OURS if self.ends.to_gate => match Word::read(&part.payload) {
                    Some((Word::Pause { turn }, _)) => {
                        self.phase = Phase::Finishing { until_ms: None, turn, answered: false };
                    }
                    Some((Word::Resume, _)) => self.phase = Phase::Open,
                    Some((word @ Word::Moved { client, .. }, zone)) => {
                        // A gate that has another count than ours has not confirmed ours.
                        let confirmed = client == Some(self.progress.client());
                        let zone = zone.to_owned();
                        return Some(self.end(Ended::Moved { word, zone, confirmed }));
                    }
                    _ => {}
                },
                OURS => return Some(self.end(Ended::Odd(Broken::Reserved))),
                // Any other code is the app's own, said before it saw ours: its close stands.
                CLOSE if self.is_parting() && answers_ours(&part) => {
                    return Some(self.end(Ended::Cut { confirmed: true }));
                }
                _ => {
                    let messages = u64::from(part.ends_message);
                    if part.opcode == CLOSE {
                        // Nothing follows a close.
                        self.closed = true;
                    }
                    return Some(Act::ToClient { bytes: part.bytes, messages });
                }
            }
        }
    }

    fn pass_client(&mut self) -> Option<Act> {
        while self.takes() {
            let part = match self.from_client.next(&mut self.waiting) {
                Ok(part) => part?,
                Err(broken) => return Some(self.end(Ended::Refused(broken))),
            };
            if part.opcode != OURS {
                self.progress.said(&part);
                return Some(Act::ToApp { bytes: part.bytes, ends_message: part.ends_message });
            }
            if !self.ends.from_edge {
                return Some(self.end(Ended::Refused(Broken::Reserved)));
            }
            self.missed = 0;
            // The answer to a pause that was taken back is no cut: more follows it.
            if let Phase::Finishing { turn: asked, answered, .. } = &mut self.phase
                && let Some((Word::Paused { turn }, _)) = Word::read(&part.payload)
            {
                *answered |= turn == *asked;
            }
        }
        None
    }

    /// Whether more of the client's may be passed on.
    fn takes(&self) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Finishing { answered, .. } if self.ends.from_edge => !answered,
            Phase::Finishing { .. } => !self.from_client.at_boundary(),
            Phase::Paused | Phase::Parting { .. } => false,
        }
    }

    /// The step that follows once the client's last message has been passed on.
    fn settle(&mut self, now_ms: u64) -> Option<Act> {
        let Phase::Finishing { until_ms, turn, answered } = self.phase else { return None };
        // Too late for this freeze: the pause is about to be taken back.
        let in_time = until_ms.is_none_or(|until_ms| now_ms < until_ms);
        if !self.from_client.at_boundary() || !in_time || (self.ends.from_edge && !answered) {
            return None;
        }
        let bytes = if self.ends.to_gate {
            self.phase = Phase::Paused;
            Word::Paused { turn }.frame("")
        } else {
            let until_ms = until_ms.unwrap_or(now_ms) + self.half_ms;
            self.phase = Phase::Parting { until_ms };
            close(CARRIED, "homing-carry", true)
        };
        Some(Act::ToApp { bytes, ends_message: false })
    }
}

fn answers_ours(part: &Part) -> bool {
    part.payload.starts_with(&CARRIED.to_be_bytes())
}
