//! Replicas of sessions in other zones (tiers T1 and T2): what a gate sends of the sessions it
//! owns, and what it keeps of others'. When a session is to count as replicated is decided by the
//! pure machine (`homing_session::replica`); here are copies, link and waiting answers.

use std::sync::Arc;

use dashmap::DashMap;
use homing_session::roster::Who;
use homing_wire::{Epoch, SessionKey, Tier, ZoneId};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

mod copy;
mod keeper;
mod owner;

pub use keeper::Keeper;
use owner::{Owner, Told};

use crate::{
    clock::Clock,
    gates::Gates,
    handoff::{Fleet, Report, Stores},
    live::{Live, LiveTable},
    telemetry::ReplicaCounts,
};

/// Sessions whose replicas one gate looks after; beyond, sessions are not replicated, which their
/// tier may not allow: answers of T2 are refused then.
const OWNED_MAX: usize = 100_000;
/// What may wait for one session's task.
const TOLD_MAX: usize = 256;

/// What replicas rest on.
pub(crate) struct Parts {
    pub(crate) live: Arc<LiveTable>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) fleet: Arc<Fleet>,
    /// Where word to control goes.
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) counts: Arc<ReplicaCounts>,
    /// Where sessions' tasks run: never among the threads that serve clients.
    pub(crate) side: Handle,
    pub(crate) clock: Clock,
}

/// A gate's replicas.
pub struct Replicas {
    parts: Arc<Parts>,
    owned: DashMap<SessionKey, mpsc::Sender<Told>>,
    keeper: Keeper,
}

impl Replicas {
    pub(crate) fn new(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        Self { keeper: Keeper::new(Arc::clone(&parts)), parts, owned: DashMap::new() }
    }

    /// What this gate keeps of sessions that live elsewhere.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// A session has come to this gate: its replica begins, before its first write.
    pub fn begin(&self, live: &Live, zone: ZoneId, who: Who, epoch: Epoch) {
        self.keeper.forget(who.key);
        if tier(live, who) != Tier::T0 {
            self.tell(live, zone, who, epoch, Told::Look);
        }
    }

    /// The app has answered a request that may have changed the session's state. What to wait for
    /// before the answer goes out: the word that the replica has it, if the tier asks for that.
    #[must_use]
    pub fn written(
        &self,
        live: &Live,
        zone: ZoneId,
        who: Who,
        epoch: Epoch,
    ) -> Option<oneshot::Receiver<()>> {
        let (kept, wait) = match tier(live, who) {
            Tier::T0 => return None,
            Tier::T1 => (None, None),
            Tier::T2 => {
                let (kept, wait) = oneshot::channel();
                (Some(kept), Some(wait))
            }
        };
        self.tell(live, zone, who, epoch, Told::Written(kept));
        wait
    }

    /// Control has stored an owner's word.
    pub fn known(&self, key: SessionKey, epoch: Epoch, seq: u64) {
        if let Some(task) = self.owned.get(&key) {
            // One that finds no room is asked for again.
            let _ = task.try_send(Told::Known { epoch, seq });
        }
    }

    /// Sessions that are replicated from here.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.owned.len()
    }

    /// Forgets everything: the life that knew it was declared dead.
    pub fn forget_all(&self) {
        self.owned.clear();
        self.keeper.forget_all();
    }

    fn tell(&self, live: &Live, zone: ZoneId, who: Who, epoch: Epoch, told: Told) {
        use mpsc::error::TrySendError::{Closed, Full};

        let known = self.owned.get(&who.key).map(|task| task.clone());
        let told = match known {
            None => told,
            Some(task) => match task.try_send(told) {
                // A full one looks at the newest state in any case; an answer that was to wait for
                // it is refused with its sender.
                Ok(()) | Err(Full(_)) => return,
                Err(Closed(told)) => told,
            },
        };
        if self.owned.len() >= OWNED_MAX {
            self.owned.retain(|_, task| !task.is_closed());
            if self.owned.len() >= OWNED_MAX {
                self.parts.counts.refused.inc();
                return;
            }
        }
        let (task, inbox) = mpsc::channel(TOLD_MAX);
        let _ = task.try_send(told);
        let Some(owner) = Owner::new(&self.parts, live, zone, who, epoch) else { return };
        self.owned.insert(who.key, task);
        self.parts.side.spawn(owner.run(inbox));
    }
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicas").field("owned", &self.owned.len()).finish_non_exhaustive()
    }
}

fn tier(live: &Live, who: Who) -> Tier {
    let service = live.table.facts().services.get(who.service.index());
    service.map_or(Tier::T0, |service| service.tier)
}
