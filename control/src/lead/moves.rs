//! An operator moves a session: checked against the table, issued at once, remembered under the
//! caller's idempotency key so that asking twice moves once.

use homing_wire::{
    Cut, Directive, DirectiveId, Epoch, Incarnation, Intake, MoveReason, SessionKey, Version,
    ZoneId,
};

use super::Lead;
use crate::journal::{Entry, IdempotencyRow};

/// What is asked.
#[derive(Clone, Debug)]
pub struct MoveAsked {
    /// The session.
    pub key: SessionKey,
    /// The target's name.
    pub to: String,
    /// Cut at once instead of waiting for an idle gap.
    pub now: bool,
    /// The caller's idempotency key.
    pub idempotency: Option<String>,
    /// Tell whether it could be done, and do nothing.
    pub dry_run: bool,
}

/// A move that was issued, now or earlier under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// The directive; 0 for a dry run.
    pub directive: DirectiveId,
    /// Where the session lived.
    pub from: ZoneId,
    /// Where it is to live.
    pub to: ZoneId,
    /// The table that shows it.
    pub version: Version,
    /// Whether this very request had been answered before.
    pub repeated: bool,
}

/// Why a move was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveFault {
    /// There is no table yet.
    #[error("there is no document yet")]
    NoTable,
    /// There is no such zone.
    #[error("there is no zone {0:?}")]
    UnknownZone(String),
    /// The zone takes no sessions.
    #[error("zone {0:?} takes no sessions")]
    NotOpen(String),
    /// The session lives there already.
    #[error("the session lives in zone {0:?} already")]
    AlreadyThere(String),
    /// Another directive is moving the session.
    #[error("directive {0} is moving the session")]
    UnderWay(DirectiveId),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The handoff before is not settled yet, or the journal cannot be read.
    #[error("the session's last handoff is still being settled")]
    Busy,
}

impl Lead {
    pub(super) fn move_session(
        &mut self,
        asked: MoveAsked,
        now_ms: u64,
    ) -> Result<Moving, MoveFault> {
        let what = format!("move {} {} {}", asked.key, asked.to, asked.now);
        if let Some(key) = &asked.idempotency
            && let Some(row) = self.asked_before(key)?
        {
            return self.repeat(asked.key, &what, &row);
        }
        let table = self.table.as_ref().ok_or(MoveFault::NoTable)?;
        let version = table.version();
        let to = table.facts().zone_named(&asked.to);
        let to = to.ok_or_else(|| MoveFault::UnknownZone(asked.to.clone()))?;
        let home = table.home(asked.key);
        if home.zone == to {
            return Err(MoveFault::AlreadyThere(asked.to));
        }
        if table.facts().zones[to.index()].intake != Intake::Open {
            return Err(MoveFault::NotOpen(asked.to));
        }
        let mut open = table.directives().values();
        if let Some(under_way) = open.find(|directive| directive.key == asked.key) {
            return Err(MoveFault::UnderWay(under_way.id));
        }
        let moving =
            Moving { directive: DirectiveId(0), from: home.zone, to, version, repeated: false };
        if asked.dry_run {
            return Ok(moving);
        }
        let directive = order(asked.key, to, MoveReason::Operator, asked.now);
        let issued = self.issue(vec![directive], now_ms).pop().ok_or(MoveFault::Busy)?;
        if let Some(key) = asked.idempotency {
            let row = IdempotencyRow { directive: issued.id.0, asked: what, at_ms: now_ms };
            self.keys.insert(key.clone(), row.clone());
            self.out.entries.push(Entry::Idempotency(key, row));
        }
        Ok(Moving {
            directive: issued.id,
            version: self.table.as_ref().map_or(version, |table| table.version()),
            ..moving
        })
    }

    fn asked_before(&mut self, key: &str) -> Result<Option<IdempotencyRow>, MoveFault> {
        match self.keys.get(key) {
            Some(row) => Ok(Some(row.clone())),
            None => self.shared.journal.idempotency(key).map_err(|_| MoveFault::Busy),
        }
    }

    fn repeat(
        &self,
        key: SessionKey,
        what: &str,
        row: &IdempotencyRow,
    ) -> Result<Moving, MoveFault> {
        if row.asked != what {
            return Err(MoveFault::KeyReused);
        }
        let table = self.table.as_ref().ok_or(MoveFault::NoTable)?;
        let directive = DirectiveId(row.directive);
        let (from, to) = match table.directives().get(&directive) {
            Some(open) => (open.from, open.to),
            None => (table.home(key).zone, table.home(key).zone),
        };
        Ok(Moving { directive, from, to, version: table.version(), repeated: true })
    }
}

/// A directive as the authority wants it: source, life and epoch are filled in there.
pub(super) fn order(key: SessionKey, to: ZoneId, reason: MoveReason, now: bool) -> Directive {
    Directive {
        id: DirectiveId(0),
        key,
        from: to,
        to,
        from_incarnation: Incarnation(0),
        to_incarnation: Incarnation(0),
        epoch: Epoch(0),
        reason,
        cut: if now { Cut::Now } else { Cut::IdleGap },
    }
}
