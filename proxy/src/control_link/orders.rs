//! Control's word about single sessions: its question whether a handoff ever took place, and its
//! order to own one. Both go through the same machine as everything else.

use std::sync::Arc;

use homing_session::{
    gate::{Event, Reaction, StartFrom},
    roster::Begin,
};
use homing_wire::{
    DirectiveId, FromProxy, Incarnation, OutcomeEnd, SessionKey, ZoneId, message::Activated,
    table::Home,
};

use super::{ControlLink, Untaken};
use crate::cession::{Cessions, Whereabouts};

impl ControlLink {
    /// A gate's answer, once and for ever: activated here, or never to be. `None` if the question
    /// is for another gate or another life.
    fn fence_at_gate(
        &self,
        directive: DirectiveId,
        incarnation: Incarnation,
        key: SessionKey,
    ) -> Option<FromProxy> {
        let seat = self.gates.seat().gate()?;
        let live = self.live.load_full();
        let zone = seat.zone_in(live.table.facts())?;
        let query = Event::FenceQuery { directive, to_incarnation: incarnation };
        match self.gates.step(&live, zone, key, query, self.now_ms()) {
            Ok(Reaction::Activated) => {
                let epoch = self.gates.ownership(zone, key)?.epoch();
                let activated = Activated { directive, key, zone, epoch, incarnation };
                Some(FromProxy::Activated(activated))
            }
            Ok(reaction) => {
                self.told(key, reaction);
                Some(FromProxy::Fenced { directive, incarnation })
            }
            Err(refusal) => {
                tracing::debug!(%directive, %refusal, "control's question has no answer here");
                None
            }
        }
    }

    /// A gate obeys, and says so. What it keeps of a session for another zone is made live first;
    /// control repeats an order that is not answered meanwhile.
    fn own_at_gate(&self, key: SessionKey, own: Event) -> Option<FromProxy> {
        let live = self.live.load_full();
        if let Some(fleet) = self.fleet.as_ref().filter(|fleet| fleet.replicas.keeper().has(key)) {
            let replicas = Arc::clone(&fleet.replicas);
            tokio::spawn(async move {
                if let Err(fault) = replicas.keeper().inherit(&live, key).await {
                    tracing::warn!(%key, %fault, "a replica cannot be made live yet");
                }
            });
            return None;
        }
        let zone = self.gates.seat().gate()?.zone_in(live.table.facts())?;
        if !self.gates.answers_for(zone, key) {
            match (self.gates.seat().begin(key, false), &self.fleet) {
                (Begin::Yes, _) => {}
                (Begin::Ask, Some(fleet)) => {
                    self.own_once_asked(Arc::clone(&fleet.cessions), zone, key, own);
                    return None;
                }
                // Another gate of this zone is drawn for it by now, and has it.
                (Begin::Ask | Begin::No, _) => return None,
            }
        }
        match self.gates.step(&live, zone, key, own, self.now_ms()) {
            Ok(reaction) => {
                self.told(key, reaction);
                self.gates.holds().close(key);
                let epoch = self.gates.ownership(zone, key)?.epoch();
                Some(FromProxy::Owned { key, incarnation: self.gates.incarnation(), epoch })
            }
            Err(refusal) => {
                tracing::debug!(%key, %refusal, "an order to own was refused");
                None
            }
        }
    }

    /// Asks the gates that were in the zone before whether one of them has the session, and obeys
    /// if none does. Control repeats its order, and is answered then; where one has it, control's
    /// table tells that gate the epoch.
    fn own_once_asked(&self, cessions: Arc<Cessions>, zone: ZoneId, key: SessionKey, own: Event) {
        let (live, gates) = (Arc::clone(&self.live), Arc::clone(&self.gates));
        let now_ms = self.now_ms();
        tokio::spawn(async move {
            if cessions.ask(zone, key).await == Whereabouts::Here {
                let owned = gates.step(&live.load_full(), zone, key, own, now_ms);
                tracing::debug!(%key, ?owned, "an order to own was carried out late");
                gates.holds().close(key);
            }
        });
    }

    /// Tells handoffs under way what control's word has changed.
    fn told(&self, key: SessionKey, reaction: Reaction) {
        if let Some(fleet) = &self.fleet {
            fleet.orders.tell(key, reaction);
            let _ = fleet.stepped.try_send((key, reaction));
        }
    }

    /// Answers once and for ever: activated here, or never to be.
    pub(super) fn fence(
        &self,
        directive: DirectiveId,
        incarnation: Incarnation,
        key: SessionKey,
        zone: ZoneId,
        untaken: &Untaken,
    ) -> Option<FromProxy> {
        if !self.gates.seat().is_solo() {
            let live = self.live.load_full();
            let ours = self.gates.seat().reaches(live.table.facts(), zone)
                && incarnation == self.gates.incarnation();
            return ours.then(|| self.fence_at_gate(directive, incarnation, key)).flatten();
        }
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
    ) -> Option<FromProxy> {
        let from = if keep { StartFrom::Retained } else { StartFrom::Store };
        let own = Event::Own { directive, incarnation, epoch: home.epoch, from };
        let live = self.live.load_full();
        if !self.gates.seat().is_solo() {
            let ours = self.gates.seat().reaches(live.table.facts(), home.zone)
                && incarnation == self.gates.incarnation();
            return ours.then(|| self.own_at_gate(key, own)).flatten();
        }
        match self.gates.step(&live, home.zone, key, own, self.now_ms()) {
            Ok(_) => {
                self.gates.holds().close(key);
            }
            // Late or repeated: what this gate knows is newer.
            Err(refusal) => tracing::debug!(%key, %refusal, "an order to own was refused"),
        }
        None
    }
}
