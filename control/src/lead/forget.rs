//! Forgetting a user: what control has learnt of it and what it has written down of its moves. What
//! its open session rests on stays until the session is over: where it lives, and who inherits it.

use homing_wire::{DirectiveId, SessionKey};

use super::Lead;
use crate::journal::Entry;

impl Lead {
    /// Forgets it, with these places of the history; whether anything was known.
    pub(super) fn forget(&mut self, key: SessionKey, history: &[(u64, DirectiveId)]) -> bool {
        let known = self.profiles.get(key).is_some();
        self.profiles.forget(key);
        self.rests.remove(&key);
        self.lessons.forget(key);
        for (seq, directive) in history {
            self.ended.remove(directive);
            self.out.entries.push(Entry::HistoryGone(*seq, *directive));
        }
        // At once, and in the same transaction: whoever is told that it is gone may look.
        self.out.entries.extend(self.profiles.unwritten());
        known || !history.is_empty()
    }
}
