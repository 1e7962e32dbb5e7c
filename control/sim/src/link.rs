//! The network between parties: delay, loss, repetition, reordering (delays differ) and
//! partitions. Within one process nothing is lost and only the order of things is left to chance.

use crate::{
    clock::Dice,
    scenario::{Scenario, Shape},
};

/// Someone with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Party {
    /// The gate of a zone.
    Gate(usize),
    /// An edge.
    Edge(usize),
    /// The authority and the leases.
    Control,
}

/// The state of the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    /// Pairs that cannot reach each other, and until when.
    cuts: Vec<(Party, Party, u64)>,
    /// Whether messages are lost and repeated no more.
    calm: bool,
}

impl Network {
    /// Cuts two parties off from each other.
    pub(crate) fn cut(&mut self, one: Party, other: Party, until_ms: u64) {
        self.cuts.push((one, other, until_ms));
    }

    /// Ends every partition and all loss.
    pub(crate) fn calm(&mut self) {
        self.cuts.clear();
        self.calm = true;
    }

    /// When a message sent now arrives: never, once, or twice.
    pub(crate) fn arrivals(
        &self,
        from: Party,
        to: Party,
        scenario: &Scenario,
        dice: &mut Dice,
        now_ms: u64,
    ) -> [Option<u64>; 2] {
        let (soonest, latest) = scenario.delay_ms;
        let mut arrival = || now_ms + dice.between(soonest, latest);
        let cut = self.cuts.iter().any(|&(one, other, until_ms)| {
            now_ms < until_ms && ((one, other) == (from, to) || (other, one) == (from, to))
        });
        if cut {
            return [None, None];
        }
        let arrivals = [Some(arrival()), Some(arrival())];
        if self.calm || scenario.shape == Shape::Solo {
            return [arrivals[0], None];
        }
        let lost = dice.chance(scenario.loss);
        let twice = dice.chance(scenario.repeat);
        [arrivals[0].filter(|_| !lost), arrivals[1].filter(|_| twice)]
    }
}
