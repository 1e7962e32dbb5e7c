//! The clients of the session. Each makes numbered writes one after the other and repeats one,
//! through any edge, until it is answered, as a client with an idempotency key does.

use crate::{
    clock::Dice,
    scenario::{Scenario, WRITES_MAX},
};

/// How long a client waits for an answer.
pub(crate) const ANSWER_MS: u64 = 150;
/// How long it waits when told to come again.
pub(crate) const AGAIN_MS: u64 = 20;

/// One client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    /// The write it is at.
    pub(crate) seq: u8,
    /// Counts its tries; an older one's timer means nothing.
    pub(crate) attempt: u32,
    answered: bool,
    /// Its last write, once nothing goes wrong any more.
    last: Option<u8>,
}

impl User {
    /// A client before its first write.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { seq: 0, attempt: 0, answered: false, last: None }
    }

    /// What to send when the timer of `attempt` has come: the present write again, or the next.
    pub(crate) fn next_write(&mut self, attempt: u32) -> Option<u8> {
        if attempt != self.attempt || self.is_done() {
            return None;
        }
        if self.answered {
            // The very last number is kept for the end.
            if self.last.is_none() && self.seq + 2 >= WRITES_MAX {
                return None;
            }
            self.seq += 1;
            self.answered = false;
        }
        self.attempt += 1;
        Some(self.seq)
    }

    /// The write was executed; how long to think before the next, if this was news.
    pub(crate) fn answer(&mut self, seq: u8, scenario: &Scenario, dice: &mut Dice) -> Option<u64> {
        if seq != self.seq || self.answered {
            return None;
        }
        self.answered = true;
        self.attempt += 1;
        Some(dice.between(1, scenario.think_ms))
    }

    /// The write was not executed; whether to send it again.
    pub(crate) fn refuse(&mut self, seq: u8) -> bool {
        let again = seq == self.seq && !self.answered;
        self.attempt += u32::from(again);
        again
    }

    /// One more write after the present, and that is it.
    pub(crate) fn finish(&mut self) {
        self.last = Some(self.seq + 1);
        self.attempt += 1;
    }

    /// Whether the last write has been answered.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.answered && self.last == Some(self.seq)
    }
}

impl Default for User {
    fn default() -> Self {
        Self::new()
    }
}
