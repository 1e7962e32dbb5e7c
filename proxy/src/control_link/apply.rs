//! A table or delta from its first piece to its acknowledgement. What is damaged, older or from
//! another table is refused with the reason, and the table in force stays.

use homing_wire::{
    FromProxy, NackReason, Version,
    chunk::{Assembly, ChunkFault},
    delta::Delta,
    envelope::{self, EnvelopeFault, Kind},
    limits,
    message::Chunk,
    table::{DeltaRefused, PlacementTable},
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
            Err((NackReason::Corrupt, fault.to_string()))
        }
    };
    Some(match taken {
        Ok((version, digest)) => {
            tracing::debug!(%version, "a table is in force");
            FromProxy::Ack { version, digest }
        }
        Err((reason, detail)) => {
            metrics.nack(reason);
            tracing::warn!(%version, reason = reason.name(), detail, "a table was refused");
            FromProxy::Nack { version, reason, detail: limits::detail(detail) }
        }
    })
}

/// Decodes sealed bytes and puts what they lead to in force.
///
/// # Errors
/// Why not; the table in force is then as it was.
pub(super) fn put_in_force(
    live: &LiveTable,
    sealed: &[u8],
    before: &mut dyn FnMut(&Live),
) -> Result<(Version, u64), (NackReason, String)> {
    let (kind, _) = envelope::open(sealed).map_err(|fault| {
        let reason = match fault {
            EnvelopeFault::Format(_) => NackReason::Format,
            _ => NackReason::Corrupt,
        };
        (reason, fault.to_string())
    })?;
    let now = live.load_full();
    let next = match kind {
        Kind::Table => {
            let table = PlacementTable::decode(sealed)
                .map_err(|fault| (NackReason::Invalid, fault.to_string()))?;
            // One of the same version and another content is what control sends to mend this one.
            let mends =
                table.version() == now.table.version() && table.digest() != now.table.digest();
            if table.version() <= now.table.version() && !mends && !now.is_void() {
                let text = format!("{} is in force", now.table.version());
                return Err((NackReason::Older, text));
            }
            Live::compile(table)
        }
        Kind::Delta => {
            let delta =
                Delta::decode(sealed).map_err(|fault| (NackReason::Invalid, fault.to_string()))?;
            let mut table = PlacementTable::clone(&now.table);
            table.apply(&delta).map_err(|refused| {
                let reason = match refused {
                    DeltaRefused::Base { .. } => NackReason::Gap,
                    DeltaRefused::Older { .. } => NackReason::Older,
                    DeltaRefused::Digest { .. } | DeltaRefused::Faults(_) => NackReason::Invalid,
                };
                (reason, refused.to_string())
            })?;
            now.after(table, &delta)
        }
    };
    let told = (next.table.version(), next.table.digest());
    before(&next);
    live.publish(next);
    Ok(told)
}
