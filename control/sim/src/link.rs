//! The network between parties: delay, loss, repetition, reordering (delays differ) and
//! partitions. Within one process nothing is lost and only the order of things is left to chance.

use crate::{
    clock::Dice,
    scenario::{LATE_MS, Scenario, Shape},
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
    /// Who cannot reach whom, and until when.
    cuts: Vec<(Party, Party, u64)>,
    /// Whether messages are lost and repeated no more.
    calm: bool,
}

impl Network {
    /// Lets nothing from one party reach the other.
    pub(crate) fn cut(&mut self, from: Party, to: Party, until_ms: u64) {
        self.cuts.push((from, to, until_ms));
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
        // A request ends with its connection: one that outlived 64 others would also outlive its
        // place in the dedup window, which promises no more than that.
        let of_edge = matches!((from, to), (Party::Edge(_), _) | (_, Party::Edge(_)));
        let may_be_late = !self.calm && !of_edge && scenario.late > 0;
        let mut arrival = || {
            let late = may_be_late && dice.chance(scenario.late);
            now_ms + dice.between(soonest, if late { LATE_MS } else { latest })
        };
        let cut = self
            .cuts
            .iter()
            .any(|&(one, other, until_ms)| now_ms < until_ms && (one, other) == (from, to));
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
