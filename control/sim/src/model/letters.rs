//! The model's network: the set of all letters ever sent, one bit each. Sending one twice changes
//! nothing, which is what makes the number of states finite.

use homing_session::handoff::Message;
use homing_wire::{Epoch, ZoneId};

use super::intern::Interner;

/// Something in the network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Letter {
    /// From a gate to a gate; a grant carries the session's state with it.
    ToGate { zone: usize, message: Message, state: u8 },
    /// From a control of that term to a gate.
    Order { zone: usize, term: u8, message: Message },
    /// To the authority.
    ToAuthority(Message),
    /// A client's only write, to a gate.
    Request { client: usize, zone: usize },
    /// It was executed.
    Ack { client: usize },
    /// It was not; try there.
    Moved { client: usize, zone: ZoneId, epoch: Epoch },
}

/// A set of letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Net([u128; 2]);

impl Net {
    /// Adds a letter.
    pub(super) fn send(&mut self, letters: &mut Interner<Letter>, letter: Letter) {
        let number = usize::from(letters.number(letter));
        let word = self.0.get_mut(number / 128).expect("a small model has at most 256 letters");
        *word |= 1 << (number % 128);
    }

    /// The numbers of its letters.
    pub(super) fn iter(self) -> impl Iterator<Item = u16> {
        (0_u16..).step_by(128).zip(self.0).flat_map(|(first, mut left)| {
            std::iter::from_fn(move || {
                let lowest = left.trailing_zeros() as u16;
                (left != 0).then(|| {
                    left &= left - 1;
                    first + lowest
                })
            })
        })
    }
}
