//! Session state, as the handoff sees it: exported from one zone, staged in another, fenced by
//! epoch, released. Three stores ship: the app's own hooks over HTTP, Redis, and a memory store for
//! demos; what a fault means for the handoff is decided here, once for all.

use async_trait::async_trait;
use bytes::Bytes;
use homing_wire::{DirectiveId, Endpoint, Epoch, SessionKey, UndoneReason, ZoneId};

pub mod hooks;
pub mod memory;
pub mod redis;

/// Where one side of a handoff keeps its state.
#[derive(Clone, Debug)]
pub struct Site {
    /// The zone.
    pub zone: ZoneId,
    /// The endpoint of the session's service there; `None` where the store needs none.
    pub endpoint: Option<Endpoint>,
}

/// Whether a copy is the whole state or what changed since an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// Everything; replaces whatever was staged.
    Full,
    /// To be applied on top of what was staged before; only the same app understands it.
    Delta,
}

impl CopyKind {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Delta => "delta",
        }
    }
}

/// One exported copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCopy {
    /// The store's own number for the state as of this copy; rises with every change.
    pub version: u64,
    /// Whole or delta.
    pub kind: CopyKind,
    /// The bytes; opaque to Homing.
    pub bytes: Bytes,
}

/// Which call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Reading state at the source.
    Export,
    /// Staging state at the target.
    Import,
    /// Making an epoch the lowest that is served.
    Fence,
    /// Dropping what is held below an epoch.
    Release,
}

impl Hook {
    /// The word used in paths and texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Import => "import",
            Self::Fence => "fence",
            Self::Release => "release",
        }
    }
}

/// Why a store could not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// No answer could be had at all.
    #[error("{}: no answer from {site}: {detail}", .hook.name())]
    Unreachable {
        /// The call.
        hook: Hook,
        /// Whom it went to.
        site: String,
        /// The transport's words.
        detail: String,
    },
    /// No whole answer within the service's time.
    #[error("{}: no whole answer within {ms} ms", .hook.name())]
    Timeout {
        /// The call.
        hook: Hook,
        /// The bound.
        ms: u32,
    },
    /// As a timeout, of a store that several zones have one each of.
    #[error("{}: no whole answer from {site} within {ms} ms", .hook.name())]
    Hung {
        /// The call.
        hook: Hook,
        /// Whom it went to.
        site: String,
        /// The bound.
        ms: u32,
    },
    /// The store answered no.
    #[error("{}: refused: {detail}", .hook.name())]
    Refused {
        /// The call.
        hook: Hook,
        /// Status and what was said.
        detail: String,
    },
    /// The answer breaks the contract.
    #[error("{}: {detail}", .hook.name())]
    Malformed {
        /// The call.
        hook: Hook,
        /// What is wrong.
        detail: &'static str,
    },
    /// The export ended before its own length.
    #[error("export: ended after {have} of {want} bytes")]
    Truncated {
        /// Bytes read.
        have: u64,
        /// Bytes announced.
        want: u64,
    },
    /// The state is over the service's bound.
    #[error("export: {bytes} bytes of state, the service allows {max}")]
    TooLarge {
        /// Its size, as far as it was told or read.
        bytes: u64,
        /// The bound.
        max: u64,
    },
}

impl StateFault {
    /// What the fault makes of the handoff.
    #[must_use]
    pub fn undone(&self) -> UndoneReason {
        match self {
            Self::Truncated { .. } => UndoneReason::ExportTruncated,
            Self::TooLarge { .. } => UndoneReason::StateTooLarge,
            Self::Unreachable { hook, .. }
            | Self::Timeout { hook, .. }
            | Self::Hung { hook, .. }
            | Self::Refused { hook, .. }
            | Self::Malformed { hook, .. }
                if *hook == Hook::Export =>
            {
                UndoneReason::ExportFailed
            }
            Self::Unreachable { .. } => UndoneReason::TargetUnavailable,
            Self::Timeout { .. } | Self::Hung { .. } => UndoneReason::TargetTimeout,
            Self::Refused { .. } | Self::Malformed { .. } => UndoneReason::ImportRefused,
        }
    }
}

/// Where the state of one service's sessions lives.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The state of a session: all of it if `since` is 0 or unknown to the store, else what
    /// changed after version `since`. `None` if the session has no state there.
    async fn export(
        &self,
        site: &Site,
        key: SessionKey,
        since: u64,
    ) -> Result<Option<StateCopy>, StateFault>;

    /// Stages a copy at a target. Nothing staged is served before [`StateStore::fence`].
    async fn import(
        &self,
        site: &Site,
        key: SessionKey,
        directive: DirectiveId,
        copy: &StateCopy,
    ) -> Result<(), StateFault>;

    /// From now on nothing below `epoch` is served; what is staged becomes live. Idempotent.
    async fn fence(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault>;

    /// Drops what is held below `epoch`, staged copies included and the replica not. Idempotent.
    async fn release(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault>;

    /// Keeps a copy of a session that lives in another zone, apart from what handoffs stage. A
    /// delta goes on top of what is kept, and an empty one says that it is still of use. Nothing of
    /// it is served before [`StateStore::adopt`].
    async fn keep(&self, site: &Site, key: SessionKey, copy: &StateCopy) -> Result<(), StateFault>;

    /// As [`StateStore::fence`], but what becomes live is the replica. False if the store can tell
    /// that there is none: then only the fence is set.
    async fn adopt(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<bool, StateFault>;

    /// Drops the replica. Idempotent.
    async fn forsake(&self, site: &Site, key: SessionKey) -> Result<(), StateFault>;
}
