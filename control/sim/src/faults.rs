//! What goes wrong on purpose: crashes between any two acts of any party, and failed copies. Tied
//! to acts and not to times, because the errors of a protocol are in what lies between two of its
//! steps, which may be no time at all.

use std::collections::BTreeMap;

use crate::{clock::Dice, link::Party};

/// An act of the protocol before which a party may crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// The source exports.
    Export,
    /// The source sends a copy.
    SendStage,
    /// The target puts a copy aside.
    Import,
    /// The target acknowledges a copy.
    AckStage,
    /// The source freezes.
    Freeze,
    /// The source thaws.
    Thaw,
    /// The source's ownership grants.
    Grant,
    /// The grant is sent.
    SendGrant,
    /// The target puts the cut in place.
    Install,
    /// The target's ownership takes over.
    Activate,
    /// The target confirms to the source.
    AckGrant,
    /// A gate tells the authority something.
    TellAuthority,
    /// A gate gives its word on a fence query.
    GiveWord,
    /// A gate is made owner.
    Own,
    /// A gate lets go of what it held.
    Release,
    /// The authority stores its record.
    Persist,
    /// The authority sends something.
    Order,
    /// A request is executed.
    Execute,
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 18] = [
        Self::Export,
        Self::SendStage,
        Self::Import,
        Self::AckStage,
        Self::Freeze,
        Self::Thaw,
        Self::Grant,
        Self::SendGrant,
        Self::Install,
        Self::Activate,
        Self::AckGrant,
        Self::TellAuthority,
        Self::GiveWord,
        Self::Own,
        Self::Release,
        Self::Persist,
        Self::Order,
        Self::Execute,
    ];
}

/// The faults still to come in one world.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    crashes_left: u32,
    /// Failed copies in a thousand.
    copy_failures: u64,
    parties: Vec<Party>,
    /// Who is to crash when the present act is over.
    pub(crate) struck: Vec<Party>,
    /// Crashes by the act they came before.
    pub(crate) at: BTreeMap<Act, u64>,
}

impl Faults {
    /// Faults for a world of these parties, each its own process; none if they share one.
    #[must_use]
    pub(crate) fn new(crashes: u32, copy_failures: u64, parties: Vec<Party>) -> Self {
        Self {
            crashes_left: crashes,
            copy_failures,
            parties,
            struck: Vec::new(),
            at: BTreeMap::new(),
        }
    }

    /// Asks fate before an act. True if the actor itself is struck and must do no more.
    pub(crate) fn strike(&mut self, act: Act, actor: Party, dice: &mut Dice) -> bool {
        let rarity = if act == Act::Execute { 2 } else { 15 };
        if self.crashes_left == 0 || !dice.chance(rarity) {
            return false;
        }
        self.crashes_left -= 1;
        let anyone = !self.parties.is_empty() && dice.chance(400);
        let victim = if anyone { self.parties[dice.index(self.parties.len())] } else { actor };
        *self.at.entry(act).or_default() += 1;
        self.struck.push(victim);
        victim == actor
    }

    /// Whether a copy fails.
    pub(crate) fn copy_fails(&self, dice: &mut Dice) -> bool {
        self.copy_failures > 0 && dice.chance(self.copy_failures)
    }

    /// No more faults.
    pub(crate) fn calm(&mut self) {
        self.crashes_left = 0;
        self.copy_failures = 0;
    }
}
