//! A table, delta or repair from its first piece to its acknowledgement. What is damaged, older or
//! from another table is refused with the reason, and the table in force stays. If that table may
//! be the one at fault, the refusal says what its parts sum to, so that control can mend it.

use homing_wire::{
    FromProxy, NackReason, Version,
    chunk::{Assembly, ChunkFault},
    delta::Delta,
    envelope::{self, EnvelopeFault, Kind},
    limits,
    message::Chunk,
    repair::{Repair, RepairRefused},
    table::{DeltaRefused, PlacementTable, Sums},
};

use crate::{
    live::{Live, LiveTable},
    telemetry::Metrics,
};

#[cfg(test)]
mod tests;

/// Takes the next piece; the answer if it was the last. `before` sees what is about to be put in
/// force.
pub(super) fn take_table(
    live: &LiveTable,
    metrics: &Metrics,
    assembly: &mut Assembly,
    chunk: Chunk,
    before: &mut dyn FnMut(&Live),
) -> Option<FromProxy> {
    let version = chunk.version;
    let taken = match assembly.push(chunk) {
        Ok(None) => return None,
        Ok(Some((_, sealed))) => put_in_force(live, &sealed, before),
        Err(fault @ (ChunkFault::OutOfOrder { .. } | ChunkFault::TooLarge)) => {
            Err(refused(NackReason::Corrupt, fault))
        }
    };
    Some(match taken {
        Ok(InForce { version, digest, by }) => {
            if by == Kind::Repair {
                metrics.repairs.inc();
                tracing::warn!(%version, "the table differed from control's and is mended");
            }
            tracing::debug!(%version, "a table is in force");
            FromProxy::Ack { version, digest }
        }
        Err(Refused { reason, detail, sums }) => {
            metrics.nack(reason);
            tracing::warn!(%version, reason = reason.name(), detail, "a table was refused");
            FromProxy::Nack { version, reason, detail: limits::detail(detail), sums }
        }
    })
}

/// What was put in force.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InForce {
    version: Version,
    digest: u64,
    /// What led there.
    by: Kind,
}

/// Why nothing was.
#[derive(Debug)]
pub(super) struct Refused {
    reason: NackReason,
    detail: String,
    /// Of the table in force, if it is in doubt.
    sums: Option<Box<Sums>>,
}

fn refused(reason: NackReason, detail: impl ToString) -> Refused {
    Refused { reason, detail: detail.to_string(), sums: None }
}

/// Decodes sealed bytes and puts what they lead to in force.
///
/// # Errors
/// Why not; the table in force is then as it was.
pub(super) fn put_in_force(
    live: &LiveTable,
    sealed: &[u8],
    before: &mut dyn FnMut(&Live),
) -> Result<InForce, Refused> {
    let (kind, _) = envelope::open(sealed).map_err(|fault| {
        let reason = match fault {
            EnvelopeFault::Format(_) => NackReason::Format,
            _ => NackReason::Corrupt,
        };
        refused(reason, fault)
    })?;
    let now = live.load_full();
    let next = match kind {
        Kind::Table => whole(&now, sealed)?,
        Kind::Delta => advanced(&now, sealed)?,
        Kind::Repair => mended(&now, sealed)?,
    };
    let (version, digest) = (next.table.version(), next.table.digest());
    before(&next);
    live.publish(next);
    Ok(InForce { version, digest, by: kind })
}

fn whole(now: &Live, sealed: &[u8]) -> Result<Live, Refused> {
    let table =
        PlacementTable::decode(sealed).map_err(|fault| refused(NackReason::Invalid, fault))?;
    let held = now.table.version();
    // One of the same version and another content is what control sends to mend this one. The
    // digest of one that was spoilt may be right, so the whole is compared.
    let mends = table.version() == held && table != *now.table;
    if table.version() <= held && !mends && !now.is_void() {
        return Err(refused(NackReason::Older, format!("{held} is in force")));
    }
    Ok(Live::compile(table))
}

fn advanced(now: &Live, sealed: &[u8]) -> Result<Live, Refused> {
    let delta = Delta::decode(sealed).map_err(|fault| refused(NackReason::Invalid, fault))?;
    let mut table = PlacementTable::clone(&now.table);
    table.apply(&delta).map_err(|fault| {
        let reason = match fault {
            DeltaRefused::Base { .. } => NackReason::Gap,
            DeltaRefused::Older { .. } => return refused(NackReason::Older, fault),
            DeltaRefused::Digest { .. } | DeltaRefused::Faults(_) => NackReason::Invalid,
        };
        Refused { sums: now.sums(), ..refused(reason, fault) }
    })?;
    Ok(now.after(table, &delta))
}

fn mended(now: &Live, sealed: &[u8]) -> Result<Live, Refused> {
    let repair = Repair::decode(sealed).map_err(|fault| refused(NackReason::Invalid, fault))?;
    // No sums with the refusal: after a repair that did not help, the whole table is due.
    let table = now.table.mended(&repair).map_err(|fault| match fault {
        RepairRefused::Older { .. } => refused(NackReason::Older, fault),
        RepairRefused::Digest { .. } | RepairRefused::Faults(_) => {
            refused(NackReason::Invalid, fault)
        }
    })?;
    Ok(Live::compile(table))
}
