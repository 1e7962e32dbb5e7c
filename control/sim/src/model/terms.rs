//! Controls that succeed each other. The one before does not know: it goes on by the record it had,
//! repeats what it said, and stops where it would have to store something, because the store has
//! a newer term. Its letters are those of its term, and gates that heard a later one ignore them.

use homing_session::handoff::{Message, record};

use super::{
    Mutant,
    letters::Letter,
    state::State,
    steps::{Stepper, word},
};

impl Stepper<'_> {
    /// What the control that was replaced may still do, and that one is.
    pub(super) fn deposed(&mut self, state: &State) {
        if state.term < self.scope.successions {
            let mut to = *state;
            to.term += 1;
            to.deposed = Some(state.record);
            self.fault(to, "another control takes over", usize::from(to.term));
        }
        if state.deposed.is_none() {
            return;
        }
        self.by_deposed(state, record::Event::Review);
        for letter in state.net.iter() {
            if let Letter::ToAuthority(message) = self.values.letters.value(letter)
                && let Some(event) = word(message)
            {
                self.by_deposed(state, event);
            }
        }
    }

    fn by_deposed(&mut self, state: &State, event: record::Event) {
        let Some(number) = state.deposed else { return };
        let before = *self.values.records.value(number);
        let Ok(decision) = state.with_lives(|lives| before.next(event, lives)) else { return };
        if decision.record != before && !self.has(Mutant::StoreUnfenced) {
            return;
        }
        let mut to = *state;
        to.deposed = Some(self.values.records.number(decision.record));
        self.send_decided(&mut to, before, decision, state.term - 1);
        self.push(state, to, "replaced control goes on", usize::from(state.term - 1));
    }

    /// A control's letter at a gate.
    pub(super) fn ordered(&mut self, state: &State, zone: usize, term: u8, message: &Message) {
        let gate = state.gates[zone];
        if !gate.up || (term < gate.term && !self.has(Mutant::TermsForgotten)) {
            return;
        }
        let mut heard = *state;
        heard.gates[zone].term = term.max(gate.term);
        self.push(state, heard, "gate hears of a control's term", zone);
        self.at_gate(&heard, zone, message, 0);
    }
}
