//! Homes that gates have told an edge and its table does not show yet. Bounded: forgetting one
//! costs a redirect and nothing else.

use dashmap::DashMap;
use homing_wire::{SessionKey, table::Home};

use crate::live::Live;

/// Homes remembered. A full memory is emptied: the table has caught up with most by then.
const HOMES_MAX: usize = 100_000;

/// What gates have told.
#[derive(Debug, Default)]
pub struct Learned(DashMap<SessionKey, Home>);

impl Learned {
    /// A gate says where the session lives.
    pub fn learn(&self, key: SessionKey, home: Home) {
        if self.0.len() >= HOMES_MAX {
            self.0.clear();
        }
        let mut known = self.0.entry(key).or_insert(home);
        if known.epoch < home.epoch {
            *known = home;
        }
    }

    /// Where a gate said it lives, if that is newer than the table.
    #[must_use]
    pub fn hint(&self, live: &Live, key: SessionKey) -> Option<Home> {
        if self.0.is_empty() {
            return None;
        }
        let home = *self.0.get(&key)?;
        if home.epoch > live.home(key).epoch {
            return Some(home);
        }
        self.0.remove(&key);
        None
    }
}

#[cfg(test)]
mod tests {
    use homing_wire::{Epoch, ZoneId};

    use super::*;

    #[test]
    fn the_newest_word_counts_until_the_table_has_it() {
        let (learned, live, key) = (Learned::default(), Live::void(), SessionKey(7));
        let shown = live.home(key).epoch;
        let home = |zone, epoch| Home { zone: ZoneId(zone), epoch };
        assert_eq!(learned.hint(&live, key), None);
        learned.learn(key, home(2, Epoch(shown.0 + 2)));
        learned.learn(key, home(1, Epoch(shown.0 + 1)));
        assert_eq!(learned.hint(&live, key), Some(home(2, Epoch(shown.0 + 2))));
        let old = SessionKey(8);
        learned.learn(old, home(1, shown));
        assert_eq!(learned.hint(&live, old), None);
        assert!(learned.0.get(&old).is_none(), "what the table shows need not be kept");
    }
}
