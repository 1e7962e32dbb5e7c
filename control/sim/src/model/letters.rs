//! The model's network: the set of all letters ever sent, one bit each. Sending one twice changes
//! nothing, which is what makes the number of states finite.

use homing_session::handoff::Message;
use homing_wire::{Epoch, ZoneId};

use super::intern::Interner;

/// Something in the network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Letter {
    /// To a gate; a grant carries the session's state with it.
    ToGate { zone: usize, message: Message, state: u8 },
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
pub(super) struct Net(u128);

impl Net {
    /// Adds a letter; whether it is new.
    pub(super) fn send(&mut self, letters: &mut Interner<Letter>, letter: Letter) -> bool {
        let bit = 1_u128
            .checked_shl(u32::from(letters.number(letter)))
            .expect("a small model has at most 128 letters");
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
    }

    /// The numbers of its letters.
    pub(super) fn iter(self) -> impl Iterator<Item = u16> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            (left != 0).then(|| {
                left &= left - 1;
                lowest as u16
            })
        })
    }
}
