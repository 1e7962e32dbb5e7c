//! What proxies tell control about traffic and about what became of directives. Records are
//! additive and numbered per sender life, so sending one twice changes nothing.

use crate::{
    ids::{DirectiveId, Epoch, Incarnation, PlaceId, ServiceId, ZoneId},
    session_key::SessionKey,
};

/// A numbered batch of records from one life of one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    /// The sender's life; numbers below start again with each.
    pub incarnation: Incarnation,
    /// Counts batches from 1; control keeps the highest it has taken in.
    pub seq: u64,
    /// When the batch was closed, milliseconds since the Unix epoch.
    pub closed_ms: u64,
    /// Sessions that did something since the last batch.
    pub sessions: Vec<SessionActivity>,
    /// One sample a zone.
    pub zones: Vec<ZoneSample>,
}

/// What one session did since the last batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionActivity {
    /// The session.
    pub key: SessionKey,
    /// Its service.
    pub service: ServiceId,
    /// Where it lives.
    pub zone: ZoneId,
    /// At which epoch.
    pub epoch: Epoch,
    /// Where its client is, if a trusted front said so.
    pub place: Option<PlaceId>,
    /// Requests answered.
    pub requests: u32,
    /// Response bytes sent to the client.
    pub bytes: u64,
    /// Sum over requests of the time to the response head, microseconds.
    pub latency_us_sum: u64,
    /// Its last request, milliseconds since the Unix epoch.
    pub last_seen_ms: u64,
}

/// What one zone did since the last batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSample {
    /// The zone.
    pub zone: ZoneId,
    /// Sessions that live there, as this proxy knows them.
    pub sessions: u64,
    /// Requests answered.
    pub requests: u64,
    /// Of those, failures of the zone (no endpoint, 5xx, timeouts).
    pub errors: u64,
    /// Requests in flight at the time.
    pub in_flight: u32,
    /// Median and 99th percentile of the time to the response head, microseconds.
    pub p50_us: u32,
    /// See `p50_us`.
    pub p99_us: u32,
}

/// What became of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The directive.
    pub directive: DirectiveId,
    /// Its session.
    pub key: SessionKey,
    /// What became of it.
    pub end: OutcomeEnd,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// How a directive ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeEnd {
    /// The target owns the session.
    Completed(HandoffFigures),
    /// The session goes on at home.
    Undone {
        /// Why.
        why: UndoneReason,
        /// The fault in words, for people; at most [`crate::limits::DETAIL_BYTES_MAX`] bytes.
        detail: String,
    },
}

/// What a completed handoff measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandoffFigures {
    /// The epoch the target owns it at.
    pub epoch: Epoch,
    /// Freeze to thaw, microseconds.
    pub pause_us: u64,
    /// Requests that waited in the hold.
    pub held: u32,
    /// State bytes copied, all rounds.
    pub state_bytes: u64,
    /// Of those, bytes copied while frozen.
    pub cut_bytes: u64,
    /// Copy rounds, the last one included.
    pub rounds: u8,
    /// Directive seen to session served at the target, microseconds.
    pub total_us: u64,
}

/// Why a handoff was undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UndoneReason {
    /// The source's state could not be exported.
    ExportFailed,
    /// The export ended early or contradicted its own length.
    ExportTruncated,
    /// The state is larger than the service allows to move.
    StateTooLarge,
    /// The target refused the state.
    ImportRefused,
    /// The target did not answer in time.
    TargetTimeout,
    /// Requests in flight did not end within the freeze.
    DrainTimeout,
    /// The target zone takes no sessions or has no healthy endpoint.
    TargetUnavailable,
    /// The session's epoch or home had changed: the directive was stale.
    Stale,
    /// The session had ended.
    SessionGone,
    /// The source or target life ended during the handoff.
    GateLost,
    /// The directive was withdrawn.
    Withdrawn,
}

impl UndoneReason {
    /// Every reason, in the order of their wire numbers.
    pub const ALL: [Self; 11] = [
        Self::ExportFailed,
        Self::ExportTruncated,
        Self::StateTooLarge,
        Self::ImportRefused,
        Self::TargetTimeout,
        Self::DrainTimeout,
        Self::TargetUnavailable,
        Self::Stale,
        Self::SessionGone,
        Self::GateLost,
        Self::Withdrawn,
    ];

    /// The word for people and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExportFailed => "export_failed",
            Self::ExportTruncated => "export_truncated",
            Self::StateTooLarge => "state_too_large",
            Self::ImportRefused => "import_refused",
            Self::TargetTimeout => "target_timeout",
            Self::DrainTimeout => "drain_timeout",
            Self::TargetUnavailable => "target_unavailable",
            Self::Stale => "stale",
            Self::SessionGone => "session_gone",
            Self::GateLost => "gate_lost",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether the same directive may succeed later without anyone changing anything.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::DrainTimeout | Self::TargetTimeout | Self::TargetUnavailable)
    }
}
