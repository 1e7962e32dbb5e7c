//! What a gate of a fleet says beyond its ownership's verdict, as the proxy's gates do: the source
//! redirects from the grant on, and the target holds who was told of a grant that is on its way.

use homing_session::gate::{Tenure, Verdict};

use super::{Gate, Request};
use crate::{
    scenario::{Mutant, Shape},
    turn::Turn,
};

impl Gate {
    /// What to do with a request now.
    pub(super) fn verdict(&self, request: &Request, turn: &Turn<'_>) -> Verdict {
        let verdict = self.ownership.admit(self.leased(turn));
        if turn.scenario.shape == Shape::Solo {
            return verdict;
        }
        match (verdict, self.ownership.tenure()) {
            // Not executed and never to be, at this epoch or below.
            (Verdict::Park, Tenure::Granted { to, .. }) => {
                Verdict::Moved { zone: to, epoch: self.ownership.epoch() }
            }
            (Verdict::Moved { .. } | Verdict::NotOwner, Tenure::Staged { epoch, .. })
                if request.told >= epoch =>
            {
                let executes =
                    turn.scenario.mutant == Some(Mutant::StagedExecutes) && self.leased(turn);
                if executes { Verdict::Execute { epoch } } else { Verdict::Park }
            }
            _ => verdict,
        }
    }
}
