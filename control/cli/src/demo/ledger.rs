//! The promises and how they are checked from outside: what clients were told was written against
//! what their notebooks hold, and what the zones executed against one home at a time. Pure, so that
//! its tests can plant every fault it must find.

use std::collections::HashMap;

use crate::app::notebook::Entry;
use crate::app::{Execution, Kind};

use super::plan::entry_text;

/// What became of a write as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Acknowledged: it must be in the notebook, once, in its place.
    Acknowledged,
    /// No answer or a bad one: it may be in the notebook once, or not at all.
    Unknown,
}

/// The writes of one client, by number from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    writes: Vec<Heard>,
}

impl Ledger {
    /// The number for the next write, noted as unknown until heard of.
    pub fn begin(&mut self) -> u64 {
        self.writes.push(Heard::Unknown);
        self.writes.len() as u64
    }

    /// The write was acknowledged.
    pub fn acknowledge(&mut self, seq: u64) {
        let index = usize::try_from(seq).ok().and_then(|seq| seq.checked_sub(1));
        if let Some(heard) = index.and_then(|index| self.writes.get_mut(index)) {
            *heard = Heard::Acknowledged;
        }
    }

    /// Writes begun.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.writes.len()
    }

    /// Writes acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.writes.iter().filter(|heard| **heard == Heard::Acknowledged).count()
    }

    /// What the notebook must hold now, if every write's fate is known.
    #[must_use]
    pub fn expected(&self, client: usize) -> Option<Vec<Entry>> {
        let known = self.writes.iter().all(|heard| *heard == Heard::Acknowledged);
        let entry = |seq| Entry { seq, text: entry_text(client, seq) };
        known.then(|| (1..=self.writes.len() as u64).map(entry).collect())
    }

    /// Lays the ledger beside a notebook.
    #[must_use]
    pub fn compare(&self, client: usize, notebook: &[Entry]) -> Verdict {
        let mut verdict = Verdict::default();
        let mut seen = vec![0_u32; self.writes.len()];
        let mut last = 0;
        for entry in notebook {
            let index = usize::try_from(entry.seq).ok().and_then(|seq| seq.checked_sub(1));
            let known = index.filter(|i| *i < seen.len());
            let Some(index) = known.filter(|_| entry.text == entry_text(client, entry.seq)) else {
                verdict.foreign += 1;
                continue;
            };
            seen[index] += 1;
            if seen[index] > 1 {
                verdict.doubled += 1;
            } else if entry.seq < last {
                verdict.reordered += 1;
            }
            last = last.max(entry.seq);
        }
        let lost = |(heard, seen): (&Heard, &u32)| *heard == Heard::Acknowledged && *seen == 0;
        verdict.lost = self.writes.iter().zip(&seen).filter(|pair| lost(*pair)).count() as u64;
        verdict
    }
}

/// What is wrong with a notebook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged writes that are not there.
    pub lost: u64,
    /// Writes that are there once more.
    pub doubled: u64,
    /// Writes that stand before an earlier one.
    pub reordered: u64,
    /// Entries that this client never wrote.
    pub foreign: u64,
}

impl Verdict {
    /// Both verdicts together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
            foreign: self.foreign + other.foreign,
        }
    }
}

/// What the executions of all zones show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    /// Executions seen.
    pub executions: u64,
    /// Executions in a zone that was not the session's home: at a lower epoch than one before, or
    /// at an epoch at which another zone executed.
    pub wrong_zone: u64,
    /// Writes executed again.
    pub doubled_writes: u64,
    /// Times a session was executed in another zone than before.
    pub changes: u64,
}

/// Lays the records of all zones (by zone) side by side. `slack_us` is how far the zones' clocks
/// may differ: executions closer than that are not ordered by time, only by epoch.
#[must_use]
pub fn homes(zones: &[Vec<Execution>], slack_us: u64) -> Homes {
    let mut sessions: HashMap<u128, Vec<(usize, &Execution)>> = HashMap::new();
    for (zone, record) in zones.iter().enumerate() {
        for execution in record {
            sessions.entry(execution.session).or_default().push((zone, execution));
        }
    }
    let mut homes = Homes::default();
    for executions in sessions.values_mut() {
        // Stable: within a zone the record's own order holds.
        executions.sort_by_key(|(_, x)| x.at_us);
        judge(executions, slack_us, &mut homes);
    }
    homes
}

fn judge(executions: &[(usize, &Execution)], slack_us: u64, homes: &mut Homes) {
    let mut owner: HashMap<u64, usize> = HashMap::new();
    let mut writes: HashMap<u64, u32> = HashMap::new();
    let mut highest: Option<(u64, usize, u64)> = None;
    for (zone, x) in executions {
        homes.executions += 1;
        let first_owner = *owner.entry(x.epoch).or_insert(*zone);
        let fell = highest.is_some_and(|(epoch, at_zone, at_us)| {
            x.epoch < epoch && (at_zone == *zone || x.at_us.saturating_sub(at_us) > slack_us)
        });
        if fell || first_owner != *zone {
            homes.wrong_zone += 1;
        }
        if highest.is_none_or(|(epoch, ..)| x.epoch > epoch) {
            if highest.is_some_and(|(_, before, _)| before != *zone) {
                homes.changes += 1;
            }
            highest = Some((x.epoch, *zone, x.at_us));
        }
        if x.kind == Kind::Write {
            let count = writes.entry(x.seq).or_default();
            *count += 1;
            homes.doubled_writes += u64::from(*count > 1);
        }
    }
}

#[cfg(test)]
mod tests;
