//! Control's word about single sessions: its question whether a handoff ever took place, and its
//! order to own one. Both go through the same machine as everything else.

use homing_session::gate::{Event, Reaction, StartFrom};
use homing_wire::{
    DirectiveId, FromProxy, Incarnation, OutcomeEnd, SessionKey, message::Activated, table::Home,
};

use super::{ControlLink, Untaken};

impl ControlLink {
    /// Answers once and for ever: activated here, or never to be.
    pub(super) fn fence(
        &self,
        directive: DirectiveId,
        incarnation: Incarnation,
        untaken: &Untaken,
    ) -> Option<FromProxy> {
        if let Some(ended) = untaken.ends.get(&directive) {
            let named = &ended.directive;
            return Some(match &ended.end {
                OutcomeEnd::Completed(figures) => FromProxy::Activated(Activated {
                    directive,
                    key: named.key,
                    zone: named.to,
                    epoch: figures.epoch,
                    incarnation,
                }),
                OutcomeEnd::Undone { .. } => FromProxy::Fenced { directive, incarnation },
            });
        }
        let live = self.live.load_full();
        let named = live.table.directives().get(&directive)?;
        let query = Event::FenceQuery { directive, to_incarnation: incarnation };
        match self.gates.step(&live, named.to, named.key, query, self.now_ms()) {
            Ok(Reaction::Activated) => Some(FromProxy::Activated(Activated {
                directive,
                key: named.key,
                zone: named.to,
                epoch: named.epoch,
                incarnation,
            })),
            Ok(_) => Some(FromProxy::Fenced { directive, incarnation }),
            Err(refusal) => {
                tracing::warn!(%directive, %refusal, "control's question has no answer here");
                None
            }
        }
    }

    pub(super) fn own(
        &self,
        key: SessionKey,
        home: Home,
        incarnation: Incarnation,
        keep: bool,
        directive: DirectiveId,
    ) {
        let from = if keep { StartFrom::Retained } else { StartFrom::Store };
        let own = Event::Own { directive, incarnation, epoch: home.epoch, from };
        let live = self.live.load_full();
        match self.gates.step(&live, home.zone, key, own, self.now_ms()) {
            Ok(_) => {
                self.gates.holds().close(key);
            }
            // Late or repeated: what this gate knows is newer.
            Err(refusal) => tracing::debug!(%key, %refusal, "an order to own was refused"),
        }
    }
}
