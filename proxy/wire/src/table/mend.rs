//! Taking a repair in: a draft of what is kept with what the repair brings, sealed and summed like
//! any other table.

use super::{Facts, PlacementTable, TableDraft};
use crate::repair::{Repair, RepairRefused};

#[cfg(test)]
mod tests;

impl PlacementTable {
    /// The table that a repair makes of this one. Every entry is checked and summed anew, so
    /// whatever was wrong here either went with a part that was replaced or is found out.
    ///
    /// # Errors
    /// It leads backwards, to something impossible, or elsewhere than its author says.
    pub fn mended(&self, repair: &Repair) -> Result<Self, RepairRefused> {
        let (holds, offered) = (self.version, repair.version);
        if offered < holds {
            return Err(RepairRefused::Older { holds, offered });
        }
        let mut exceptions = self.exceptions.clone();
        for (key, _) in repair.segments.iter().flat_map(|segment| self.exceptions_of(*segment)) {
            exceptions.remove(&key);
        }
        exceptions.extend(repair.exceptions.iter().copied());
        let directives = match &repair.directives {
            Some(directives) => directives.iter().map(|d| (d.id, d.clone())).collect(),
            None => self.directives.clone(),
        };
        let draft = TableDraft {
            version: repair.version,
            created_ms: repair.created_ms,
            facts: repair.facts.clone().unwrap_or_else(|| Facts::clone(&self.facts)),
            buckets: repair.buckets.clone().unwrap_or_else(|| self.buckets.clone()),
            exceptions,
            directives,
        };
        let table = draft.seal().map_err(RepairRefused::Faults)?;
        if table.digest() != repair.digest {
            let (found, expected) = (table.digest(), repair.digest);
            return Err(RepairRefused::Digest { found, expected });
        }
        Ok(table)
    }
}
