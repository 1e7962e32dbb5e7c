//! The states that were reached, each once, with their numbers. Not a map from states to numbers,
//! because that would hold every state twice, and with two faults there are tens of millions.

use std::hash::BuildHasher;

use super::{intern::Spread, state::State};

/// A slot that holds no number.
const FREE: u32 = u32::MAX;

/// The states in the order they were reached, and a table of their numbers by hash.
pub(super) struct Visited {
    states: Vec<State>,
    /// Open addressing; a power of two of slots, less than half of them taken.
    slots: Vec<u32>,
    hash: Spread,
}

impl Visited {
    /// Only the first state.
    pub(super) fn from(first: State) -> Self {
        let mut visited =
            Self { states: Vec::new(), slots: vec![FREE; 1 << 10], hash: Spread::default() };
        visited.number(first);
        visited
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn state(&self, number: usize) -> &State {
        &self.states[number]
    }

    /// The number of a state, and whether it is new.
    pub(super) fn number(&mut self, state: State) -> (u32, bool) {
        if 2 * self.states.len() >= self.slots.len() {
            self.grow();
        }
        let mut at = self.slot(&state);
        while self.slots[at] != FREE {
            let number = self.slots[at];
            if self.states[number as usize] == state {
                return (number, false);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let number = self.states.len() as u32;
        self.slots[at] = number;
        self.states.push(state);
        (number, true)
    }

    fn slot(&self, state: &State) -> usize {
        let hash = self.hash.hash_one(state);
        // The top bits are the best mixed.
        (hash >> (u64::BITS - self.slots.len().trailing_zeros())) as usize
    }

    fn grow(&mut self) {
        self.slots = vec![FREE; 2 * self.slots.len()];
        let mask = self.slots.len() - 1;
        for number in 0..self.states.len() {
            let mut at = self.slot(&self.states[number]);
            while self.slots[at] != FREE {
                at = (at + 1) & mask;
            }
            self.slots[at] = number as u32;
        }
    }
}
