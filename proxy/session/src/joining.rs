//! A gate's way into a zone that has gates already. From the table on that first lists it as
//! more than entering, it is drawn for a share of the zone's sessions, and each of them may
//! still be with one of the gates that the table lists beside it: until such a gate has said
//! that it has only what it is drawn for itself, or its life is over, it is asked for every
//! session that would begin here. Not only this gate's share counts: what a third gate has yet
//! to take over is this one's if that one dies.
//!
//! Gates that come later need not be asked: they have only what they were given. One that is
//! leaving has to be asked by everyone from the table on that says so.

use homing_wire::{Gate, Incarnation, table::Home};

/// How far a gate's life is into its zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// No table draws this life yet: it begins no session.
    #[default]
    Unlisted,
    /// It asks before it begins one.
    Asking,
    /// Whatever it is drawn for and does not know is its own.
    Settled,
}

/// A gate that was there before: its name and the life that was.
pub type Neighbour = (String, Incarnation);

/// One life's way in.
#[derive(Clone, Debug, Default)]
pub struct Joining {
    standing: Standing,
    /// Those that have not said that they have nothing more.
    waiting: Vec<Neighbour>,
    /// Those that are leaving and have been waited for since.
    leaving: Vec<Neighbour>,
}

impl Joining {
    /// Looks at the gates of the zone as the newest table lists them; `own` is this gate's name and
    /// life.
    pub fn look(&mut self, own: (&str, Incarnation), gates: &[Gate]) {
        let is_own = |gate: &Gate| (gate.name.as_str(), gate.incarnation) == own;
        if self.standing == Standing::Unlisted {
            if !gates.iter().any(|gate| is_own(gate) && !gate.entering) {
                return;
            }
            // One that is only entering has nothing, and will ask this one.
            let others = gates.iter().filter(|gate| !is_own(gate) && !gate.entering);
            self.waiting = others.map(|gate| (gate.name.clone(), gate.incarnation)).collect();
        }
        for gate in gates.iter().filter(|gate| gate.leaving && !is_own(gate)) {
            let neighbour = (gate.name.clone(), gate.incarnation);
            if !self.leaving.contains(&neighbour) {
                self.leaving.push(neighbour.clone());
                if !self.waiting.contains(&neighbour) {
                    self.waiting.push(neighbour);
                }
            }
        }
        // A life that is not listed any more is over beyond doubt.
        for known in [&mut self.waiting, &mut self.leaving] {
            known.retain(|(name, life)| {
                gates.iter().any(|gate| (&gate.name, gate.incarnation) == (name, *life))
            });
        }
        self.step();
    }

    /// A neighbour has said that it has nothing more.
    pub fn done(&mut self, neighbour: &Neighbour) {
        self.waiting.retain(|waited| waited != neighbour);
        self.step();
    }

    fn step(&mut self) {
        let settled = self.waiting.is_empty();
        self.standing = if settled { Standing::Settled } else { Standing::Asking };
    }

    /// How far it is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whom to ask.
    #[must_use]
    pub fn waiting(&self) -> &[Neighbour] {
        &self.waiting
    }
}

/// What one neighbour has answered about a session, as far as it decides anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It has given it, at this epoch.
    Given(homing_wire::Epoch),
    /// It gave it before, with this epoch, when the session changed its gate for the `n`th time.
    GivenBefore(homing_wire::Epoch, u32),
    /// It has it and keeps it for now.
    Here,
    /// It lives in another zone.
    Away(Home),
    /// It knows nothing of it.
    Absent,
    /// It has not answered.
    Silent,
}

/// What follows from all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take what the neighbour of this index has given.
    Take(usize),
    /// Send the session's requests to the neighbour of this index.
    At(usize),
    /// It lives there.
    Moved(Home),
    /// Nobody has it: the placement's word holds.
    Own,
    /// Ask again: one that did not answer may have it.
    Later,
}

/// What follows from the neighbours' words. At most one can have a session, so a gift or a refusal
/// decides alone; anything else only once all have answered.
#[must_use]
pub fn verdict(words: &[Word]) -> Verdict {
    let at = |wanted: fn(&Word) -> bool| words.iter().position(wanted);
    if let Some(index) = at(|word| matches!(word, Word::Given(_))) {
        return Verdict::Take(index);
    }
    if let Some(index) = at(|word| *word == Word::Here) {
        return Verdict::At(index);
    }
    if words.contains(&Word::Silent) {
        return Verdict::Later;
    }
    let before = words.iter().enumerate().filter_map(|(index, word)| match word {
        Word::GivenBefore(epoch, changes) => Some((*epoch, *changes, index)),
        _ => None,
    });
    let away = words.iter().filter_map(|word| match word {
        Word::Away(home) => Some(*home),
        _ => None,
    });
    let (before, away) = (before.max(), away.max_by_key(|home| home.epoch));
    match (before, away) {
        (Some((epoch, ..)), Some(home)) if home.epoch > epoch => Verdict::Moved(home),
        (Some((.., index)), _) => Verdict::Take(index),
        (None, Some(home)) => Verdict::Moved(home),
        (None, None) => Verdict::Own,
    }
}

#[cfg(test)]
mod tests {
    use homing_wire::{Epoch, ZoneId};

    use super::*;

    fn gate(name: &str, life: u64) -> Gate {
        let (http, link) = (String::new(), String::new());
        let (name, incarnation) = (name.to_owned(), Incarnation(life));
        Gate { name, incarnation, http, link, leaving: false, entering: false }
    }

    #[test]
    fn a_gate_asks_those_that_its_first_table_lists_beside_it() {
        let mut joining = Joining::default();
        let own = ("b", Incarnation(2));
        joining.look(own, &[gate("a", 1), gate("b", 1)]);
        let entering = |of: Gate| Gate { entering: true, ..of };
        joining.look(own, &[gate("a", 1), entering(gate("b", 2))]);
        assert_eq!(joining.standing(), Standing::Unlisted);
        joining.look(own, &[gate("a", 1), gate("b", 2), gate("c", 1), entering(gate("e", 1))]);
        assert_eq!((joining.standing(), joining.waiting().len()), (Standing::Asking, 2));
        // One that comes later is not asked, one that is over no more, and one by its word.
        joining.look(own, &[gate("a", 1), gate("b", 2), gate("c", 9), gate("d", 1)]);
        assert_eq!(joining.waiting(), [("a".to_owned(), Incarnation(1))]);
        joining.done(&("a".to_owned(), Incarnation(7)));
        assert_eq!(joining.standing(), Standing::Asking);
        joining.done(&("a".to_owned(), Incarnation(1)));
        assert_eq!(joining.standing(), Standing::Settled);
        joining.look(own, &[gate("a", 1), gate("b", 2), gate("e", 1)]);
        assert_eq!(joining.standing(), Standing::Settled);
    }

    #[test]
    fn one_that_is_leaving_is_asked_again_by_everyone() {
        let mut joining = Joining::default();
        let own = ("b", Incarnation(2));
        joining.look(own, &[gate("b", 2)]);
        joining.look(own, &[gate("a", 1), gate("b", 2)]);
        assert_eq!(joining.standing(), Standing::Settled);
        let leaving = [Gate { leaving: true, ..gate("a", 1) }, gate("b", 2)];
        joining.look(own, &leaving);
        assert_eq!(joining.waiting(), [("a".to_owned(), Incarnation(1))]);
        joining.done(&("a".to_owned(), Incarnation(1)));
        joining.look(own, &leaving);
        assert_eq!(joining.standing(), Standing::Settled);
        // Itself it does not ask.
        joining.look(own, &[Gate { leaving: true, ..gate("b", 2) }]);
        assert_eq!(joining.standing(), Standing::Settled);
    }

    #[test]
    fn alone_in_its_zone_it_asks_nobody() {
        let mut joining = Joining::default();
        joining.look(("b", Incarnation(2)), &[gate("b", 2)]);
        assert_eq!(joining.standing(), Standing::Settled);
    }

    #[test]
    fn nothing_begins_while_one_that_may_have_it_is_silent() {
        let home = |epoch| Home { zone: ZoneId(3), epoch: Epoch(epoch) };
        for (words, expected) in [
            (vec![], Verdict::Own),
            (vec![Word::Absent, Word::Absent], Verdict::Own),
            (vec![Word::Absent, Word::Silent], Verdict::Later),
            (vec![Word::GivenBefore(Epoch(9), 1), Word::Silent], Verdict::Later),
            (vec![Word::Silent, Word::Given(Epoch(1))], Verdict::Take(1)),
            (vec![Word::Silent, Word::Here], Verdict::At(1)),
            (vec![Word::Away(home(4)), Word::Away(home(6))], Verdict::Moved(home(6))),
            (vec![Word::Away(home(4)), Word::GivenBefore(Epoch(4), 1)], Verdict::Take(1)),
            (vec![Word::GivenBefore(Epoch(3), 1), Word::Away(home(4))], Verdict::Moved(home(4))),
            (
                vec![Word::GivenBefore(Epoch(3), 1), Word::GivenBefore(Epoch(5), 1)],
                Verdict::Take(1),
            ),
            (vec![Word::GivenBefore(Epoch(3), 1), Word::Given(Epoch(2))], Verdict::Take(1)),
            (
                vec![Word::GivenBefore(Epoch(3), 4), Word::GivenBefore(Epoch(3), 3)],
                Verdict::Take(0),
            ),
        ] {
            assert_eq!(verdict(&words), expected, "{words:?}");
        }
    }
}
