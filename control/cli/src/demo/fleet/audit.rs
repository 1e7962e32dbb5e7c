//! The audit: what clients were told against what the stores hold. It asks the stores and not the
//! proxies, because a proxy's word that nothing was lost is no proof.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::socket::{Heard, Talker};
use super::stage::Stage;
use super::writer::{Fate, Writer};
use crate::app::notebook::Entry;
use crate::args::FleetTier;
use crate::trouble::Trouble;

/// What the audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Audit {
    /// Entries sent.
    pub sent: u64,
    /// Entries acknowledged.
    pub acknowledged: u64,
    /// Entries in the notebooks at the sessions' homes.
    pub held: u64,
    /// Acknowledged entries that are not there.
    pub lost: u64,
    /// Entries that are there more than once.
    pub doubled: u64,
    /// Entries that come before one that was sent earlier.
    pub reordered: u64,
    /// Notebooks that could not be read at their home.
    pub unread: u64,
    /// Entries that a store of another zone holds and the home does not.
    pub stray: u64,
    /// What a session of T1 may lose with its zone: no violation.
    pub allowed: Lag,
    /// The first violations in words.
    pub words: Vec<String>,
}

/// What an heir did not have yet when it took sessions up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Lag {
    /// See [`Audit::lost`].
    pub lost: u64,
    /// See [`Audit::stray`].
    pub stray: u64,
}

/// Violations told in words.
const WORDS_MAX: usize = 10;

impl Audit {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations() == 0
    }

    /// How many were broken.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.lost + self.doubled + self.reordered + self.unread + self.stray
    }

    fn word(&mut self, word: impl FnOnce() -> String) {
        if self.words.len() < WORDS_MAX {
            self.words.push(word());
        }
    }

    /// Compares one notebook with what its writer saw.
    /// Where what is only in another zone's store is counted.
    fn stray(&mut self, tier: FleetTier) -> &mut u64 {
        match tier {
            FleetTier::T1 => &mut self.allowed.stray,
            FleetTier::T0 | FleetTier::T2 => &mut self.stray,
        }
    }

    fn compare(&mut self, tier: FleetTier, user: &str, fates: &[Fate], entries: &[Entry]) {
        self.sent += fates.len() as u64;
        self.held += entries.len() as u64;
        let mut count: BTreeMap<u64, u64> = BTreeMap::new();
        let mut highest = 0;
        for entry in entries {
            *count.entry(entry.seq).or_default() += 1;
            if entry.seq < highest {
                self.reordered += 1;
                self.word(|| format!("{user}: {} comes after {highest}", entry.seq));
            }
            highest = highest.max(entry.seq);
        }
        for (seq, times) in count.iter().filter(|(_, times)| **times > 1) {
            self.doubled += times - 1;
            self.word(|| format!("{user}: {seq} is there {times} times"));
        }
        for (seq, fate) in (1..).zip(fates) {
            if *fate != Fate::Acknowledged {
                continue;
            }
            self.acknowledged += 1;
            if tier == FleetTier::T1 {
                self.allowed.lost += u64::from(!count.contains_key(&seq));
            } else if !count.contains_key(&seq) {
                self.lost += 1;
                self.word(|| format!("{user}: {seq} was acknowledged and is not there"));
            }
        }
    }
}

/// Reads every notebook at its home, through the edges and, where there are stores, in them.
///
/// # Errors
/// A store does not answer.
pub async fn audit(
    stage: &Stage,
    tier: FleetTier,
    writers: &[Arc<Writer>],
) -> Result<Audit, Trouble> {
    let mut audit = Audit::default();
    for writer in writers {
        let seen = writer.seen();
        let mut read = writer.read().await;
        for _ in 0..5 {
            if read.is_some() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            read = writer.read().await;
        }
        let Some((zone, told)) = read else {
            audit.sent += seen.fates.len() as u64;
            audit.unread += 1;
            audit.word(|| format!("{}: its notebook cannot be read", writer.user));
            continue;
        };
        let mut entries = told;
        if let Some(session) = &seen.session {
            for store in &stage.stores {
                let lines = store.list(&format!("notebook:{session}")).await?;
                let held: Vec<Entry> =
                    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
                if store.name.ends_with(&zone) {
                    entries = held;
                } else {
                    // A copy that waits to be let go holds nothing that the home does not.
                    let new = held.iter().filter(|entry| !entries.contains(entry)).count();
                    *audit.stray(tier) += new as u64;
                }
            }
        }
        audit.compare(tier, &writer.user, &seen.fates, &entries);
    }
    Ok(audit)
}

/// What the audit of WebSockets found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sockets {
    /// Clients with a socket.
    pub sockets: usize,
    /// Numbers said.
    pub said: u64,
    /// Numbers heard back.
    pub back: u64,
    /// Sockets closed while sessions were handed over and nothing else happened.
    pub closed_alone: u64,
    /// Sockets closed under faults, by close code; 0 for none.
    pub closed: BTreeMap<u16, u64>,
    /// Numbers heard back that no store holds.
    pub lost: u64,
    /// Numbers that are held more than once, or were heard so under another tier than T1.
    pub doubled: u64,
    /// Numbers held or heard before one that was said earlier.
    pub reordered: u64,
    /// Numbers heard more than once under T1: an heir that was behind is given the client's
    /// messages again, and answers them again. No violation.
    pub heard_again: u64,
    /// Under T1, what would be `lost` under another tier. No violation.
    pub lag_lost: u64,
    /// The first violations in words.
    pub words: Vec<String>,
}

impl Sockets {
    /// How many promises were broken.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.closed_alone + self.lost + self.doubled + self.reordered
    }

    fn word(&mut self, word: impl FnOnce() -> String) {
        if self.words.len() < WORDS_MAX {
            self.words.push(word());
        }
    }

    fn compare(&mut self, tier: FleetTier, user: &str, heard: &Heard, held: &[u64]) {
        self.said += heard.said;
        self.back += heard.back.len() as u64;
        let heard_again = tier == FleetTier::T1;
        for (how, numbers, may_repeat) in
            [("held", held, false), ("heard", &heard.back, heard_again)]
        {
            let mut seen = std::collections::BTreeSet::new();
            let mut highest = 0;
            for number in numbers {
                let again = !seen.insert(*number);
                if again && may_repeat {
                    self.heard_again += 1;
                    continue;
                }
                self.doubled += u64::from(again);
                self.reordered += u64::from(*number < highest);
                if again || *number < highest {
                    self.word(|| format!("{user}: {number} is {how} after {highest}"));
                }
                highest = highest.max(*number);
            }
        }
        for number in heard.back.iter().filter(|number| !held.contains(number)) {
            if tier == FleetTier::T1 {
                self.lag_lost += 1;
                continue;
            }
            self.lost += 1;
            self.word(|| format!("{user}: {number} was heard and is not held"));
        }
        for close in &heard.closes {
            *self.closed.entry(close.unwrap_or(0)).or_default() += 1;
        }
    }
}

/// Compares what talkers heard with what the stores hold.
///
/// # Errors
/// A store does not answer.
pub async fn sockets(
    stage: &Stage,
    tier: FleetTier,
    talkers: &[Arc<Talker>],
    closed_alone: u64,
) -> Result<Sockets, Trouble> {
    let mut found = Sockets { sockets: talkers.len(), closed_alone, ..Sockets::default() };
    for talker in talkers {
        let heard = talker.heard();
        let Some(session) = &heard.session else { continue };
        // The home is where most is: a copy that waits to be let go is what the home began with.
        // But the zone that a session of T1 was taken from may hold more than its heir has.
        let writer = Writer::new(talker.user.clone(), stage.edges.clone(), false);
        let home = match tier {
            FleetTier::T1 => writer.read().await.map(|(zone, _)| zone),
            FleetTier::T0 | FleetTier::T2 => None,
        };
        let mut held = Vec::new();
        for store in &stage.stores {
            let lines = store.list(&format!("socket:{session}")).await?;
            if home.as_ref().is_some_and(|home| store.name.ends_with(home)) {
                held = lines;
                break;
            }
            if lines.len() > held.len() {
                held = lines;
            }
        }
        let held: Vec<u64> = held.iter().filter_map(|line| line.parse().ok()).collect();
        found.compare(tier, &talker.user, &heard, &held);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(numbers: &[u64]) -> Vec<Entry> {
        numbers.iter().map(|seq| Entry { seq: *seq, text: "x".to_owned() }).collect()
    }

    #[test]
    fn every_kind_of_violation_is_found() {
        use Fate::{Acknowledged as A, Unknown as U};
        let found = |fates: &[Fate], numbers: &[u64]| {
            let mut audit = Audit::default();
            audit.compare(FleetTier::T0, "w", fates, &entries(numbers));
            (audit.lost, audit.doubled, audit.reordered)
        };
        assert_eq!(found(&[A, U, A], &[1, 3]), (0, 0, 0));
        assert_eq!(found(&[A, U, A], &[1, 2, 3]), (0, 0, 0), "it may have been written");
        assert_eq!(found(&[A, U, A], &[1, 2]), (1, 0, 0));
        assert_eq!(found(&[A, A, A], &[1, 2, 2, 3]), (0, 1, 0));
        assert_eq!(found(&[A, A, A], &[2, 1, 3]), (0, 0, 1));
    }

    #[test]
    fn what_t1_allows_is_counted_apart() {
        use Fate::{Acknowledged as A, Unknown as U};
        let mut audit = Audit::default();
        audit.compare(FleetTier::T1, "w", &[A, U, A], &entries(&[1]));
        assert_eq!((audit.allowed, audit.is_clean()), (Lag { lost: 1, stray: 0 }, true));
        audit.compare(FleetTier::T1, "w", &[A, A], &entries(&[1, 2, 2]));
        assert_eq!((audit.doubled, audit.violations()), (1, 1));
        let found = |tier, back: &[u64], held: &[u64]| {
            let mut sockets = Sockets::default();
            let heard = Heard { back: back.to_vec(), ..Heard::default() };
            sockets.compare(tier, "t", &heard, held);
            (sockets.violations(), sockets.heard_again, sockets.lag_lost)
        };
        assert_eq!(found(FleetTier::T1, &[1, 2, 3, 2, 3, 4, 5], &[1, 2, 3, 4]), (0, 2, 1));
        assert_eq!(found(FleetTier::T2, &[1, 2, 3, 2, 3, 4, 5], &[1, 2, 3, 4]), (4, 0, 0));
        // Held twice, or heard late for the first time, it is wrong under any.
        assert_eq!(found(FleetTier::T1, &[1, 2], &[1, 2, 2]), (1, 0, 0));
        assert_eq!(found(FleetTier::T1, &[1, 3, 2], &[1, 2, 3]), (1, 0, 0));
    }
}
