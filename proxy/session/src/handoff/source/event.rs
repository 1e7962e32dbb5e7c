//! The words the source machine hears and says, and what bounds it. Apart from the machine so that
//! the machine reads in one piece.

use homing_wire::{CutLimits, OutcomeEnd, UndoneReason};

use crate::{
    gate::{self, Reaction, Refusal},
    handoff::message::{Copied, Message},
};

/// What bounds a handoff at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// The policy's bounds on the cut.
    pub cut: CutLimits,
    /// How often a freeze, or a question to the target, may fail before the handoff has stalled.
    pub attempts_max: u8,
    /// How long an export, an import or an acknowledgement may take, milliseconds.
    pub answer_ms: u32,
    /// Largest state that is moved, bytes.
    pub state_bytes_max: u64,
    /// Round trip to the target, milliseconds; 0 within one process.
    pub link_rtt_ms: u32,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            cut: CutLimits::default(),
            attempts_max: 3,
            answer_ms: 2_000,
            state_bytes_max: 16 << 20,
            link_rtt_ms: 0,
        }
    }
}

/// What the source is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An export asked for is there.
    Exported {
        /// Which one.
        ticket: u32,
        /// What it is.
        copy: Copied,
    },
    /// An export asked for failed.
    ExportFailed {
        /// Which one.
        ticket: u32,
        /// Why.
        why: UndoneReason,
    },
    /// The target keeps the copy up to this version.
    StageAck {
        /// The version.
        version: u64,
    },
    /// The target cannot keep the copy.
    StageRefused(UndoneReason),
    /// The gap asked for is here: nothing in execution, and nothing expected for the pause.
    Gap,
    /// No request is in execution any more.
    Drained,
    /// The target has taken over.
    GrantAck,
    /// The session's ownership at this gate took a step: one this machine asked for, or another
    /// that changed tenure or epoch.
    Gate(Reaction),
    /// The ownership refused a step this machine asked for.
    Refused(Refusal),
    /// The deadline was reached.
    Wake,
}

/// What the source wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Export the state from a version on; answer `Exported` or `ExportFailed`. Before the grant
    /// the dedup window is exported with it.
    Export {
        /// Names this export in its answer: one that is slow must not be taken for a later one.
        ticket: u32,
        /// The version the target has; 0 for the whole state.
        since: u64,
        /// Whether this is the cut.
        last: bool,
    },
    /// Send the target a message, with the bytes of the last export if it is a copy.
    SendTarget(Message),
    /// Tell the authority something.
    SendAuthority(Message),
    /// Answer `Gap` once the session is idle and likely to stay so this long.
    AwaitGap {
        /// The expected pause, milliseconds.
        pause_ms: u64,
    },
    /// Answer `Drained` once no request is in execution.
    AwaitDrained,
    /// Apply this to the session's ownership; answer `Gate` or `Refused`.
    Gate(gate::Event),
    /// The handoff is over; the machine may be dropped. `held` is for the shell to fill in.
    Report(OutcomeEnd),
}
