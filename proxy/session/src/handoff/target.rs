//! The target of one handoff: keeps the copies it is sent, puts the cut in place, takes over, and
//! tells source and authority. It never takes over half a state: what cannot be put in place is
//! fenced for good and said so, unasked.

use std::collections::VecDeque;

use homing_wire::{DirectiveId, Epoch, Incarnation, UndoneReason};

use super::message::{Copied, Message};
use crate::gate::{self, Reaction, Refusal};

/// What the target is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A copy has arrived.
    Stage(Copied),
    /// The import asked for is done.
    Imported,
    /// The import or installation asked for failed.
    ImportFailed(UndoneReason),
    /// The grant has arrived.
    Grant(Copied),
    /// The installation asked for is done.
    Installed,
    /// The session's ownership at this gate took a step: one this machine asked for, or another
    /// that changed tenure or epoch.
    Gate(Reaction),
    /// The ownership refused a step this machine asked for.
    Refused(Refusal),
}

/// What the target wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Apply this to the session's ownership; answer `Gate` or `Refused`.
    Gate(gate::Event),
    /// Add the arrived copy to the staged state; answer `Imported` or `ImportFailed`.
    Import(Copied),
    /// Add the arrived cut, take the dedup window over, and make the state live at this epoch;
    /// answer `Installed` or `ImportFailed`. No request is executed before the ownership says so.
    Install {
        /// The cut.
        copy: Copied,
        /// The epoch.
        epoch: Epoch,
    },
    /// Tell the source something.
    SendSource(Message),
    /// Tell the authority something.
    SendAuthority(Message),
    /// Let go of the staged state: this handoff is never activated here.
    Discard {
        /// Everything below this epoch may go.
        epoch: Epoch,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A copy has arrived; the ownership is being asked to keep it.
    Arriving(Copied),
    /// It is being imported.
    Importing(Copied),
    /// The staged state is as of `kept`.
    Kept,
    /// The cut is being put in place.
    Installing(Copied),
    /// It is in place; the ownership is being asked to take over.
    Activating,
    /// It cannot be; the ownership is being asked to promise so.
    Fencing,
    /// Taken over.
    Owner,
    /// Never to be.
    Over,
}

/// The target machine of one handoff.
#[derive(Clone, Debug)]
pub struct Target {
    directive: DirectiveId,
    /// The life the handoff names.
    incarnation: Incarnation,
    epoch: Epoch,
    phase: Phase,
    /// The version of the staged state.
    kept: u64,
    /// Whether the cut is in place.
    installed: bool,
    actions: VecDeque<Action>,
}

impl Target {
    /// Starts with the first copy that arrives for a handoff to here.
    #[must_use]
    pub fn new(directive: DirectiveId, incarnation: Incarnation, epoch: Epoch) -> Self {
        Self {
            directive,
            incarnation,
            epoch,
            phase: Phase::Kept,
            kept: 0,
            installed: false,
            actions: VecDeque::new(),
        }
    }

    /// The handoff.
    #[must_use]
    pub fn directive(&self) -> DirectiveId {
        self.directive
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes in what happened. What does not fit the phase is late or repeated: the source sends
    /// again what was not answered, so it is dropped here.
    pub fn handle(&mut self, event: Event) {
        match (self.phase, event) {
            (Phase::Kept, Event::Stage(copy)) => self.stage(copy),
            (Phase::Kept, Event::Grant(copy)) => self.granted(copy),
            (Phase::Owner, Event::Grant(_)) => self.activate(),
            (Phase::Arriving(copy), Event::Gate(Reaction::Staged)) => {
                self.phase = Phase::Importing(copy);
                self.actions.push_back(Action::Import(copy));
            }
            (Phase::Arriving(_), Event::Refused(_)) => self.refuse(UndoneReason::Stale),
            (Phase::Importing(copy), Event::Imported) => {
                self.phase = Phase::Kept;
                self.kept = copy.version;
                self.acknowledge();
            }
            (Phase::Installing(copy), Event::Installed) => {
                self.kept = copy.version;
                self.installed = true;
                self.activate();
            }
            (Phase::Importing(_) | Phase::Installing(_), Event::ImportFailed(why)) => {
                self.fence(why);
            }
            (Phase::Activating | Phase::Owner, Event::Gate(Reaction::Activated)) => {
                self.activated()
            }
            // The lease may come back before the grant is repeated.
            (Phase::Activating, Event::Refused(Refusal::NoLease)) => self.phase = Phase::Kept,
            (Phase::Activating, Event::Refused(_)) => self.discard(),
            (Phase::Fencing, Event::Gate(Reaction::Fenced)) => {
                let Self { directive, incarnation, .. } = *self;
                let fenced = Message::Fenced { directive, incarnation };
                self.actions.push_back(Action::SendAuthority(fenced));
                self.discard();
            }
            (Phase::Fencing, Event::Refused(_)) => self.discard(),
            (Phase::Over | Phase::Owner, _) => {}
            (_, Event::Gate(Reaction::Fenced | Reaction::Dropped | Reaction::Owns)) => {
                self.discard();
            }
            _ => {}
        }
    }

    fn stage(&mut self, copy: Copied) {
        if copy.version <= self.kept && self.kept != 0 || copy.since > self.kept {
            // Repeated, or an earlier copy is missing: say what is kept.
            return self.acknowledge();
        }
        self.phase = Phase::Arriving(copy);
        self.actions.push_back(Action::Gate(gate::Event::Stage {
            directive: self.directive,
            to_incarnation: self.incarnation,
            epoch: self.epoch,
        }));
    }

    fn granted(&mut self, copy: Copied) {
        if self.installed {
            self.activate();
        } else if copy.since <= self.kept {
            self.phase = Phase::Installing(copy);
            self.actions.push_back(Action::Install { copy, epoch: self.epoch });
        }
    }

    fn activate(&mut self) {
        if self.phase != Phase::Owner {
            self.phase = Phase::Activating;
        }
        self.actions.push_back(Action::Gate(gate::Event::Activate {
            directive: self.directive,
            to_incarnation: self.incarnation,
            epoch: self.epoch,
        }));
    }

    fn activated(&mut self) {
        self.phase = Phase::Owner;
        let Self { directive, incarnation, .. } = *self;
        // The authority first: in one process it has stored the change before anyone is told.
        let activated = Message::Activated { directive, incarnation };
        self.actions.push_back(Action::SendAuthority(activated));
        self.actions.push_back(Action::SendSource(Message::GrantAck { directive }));
    }

    fn acknowledge(&mut self) {
        let ack = Message::StageAck { directive: self.directive, version: self.kept };
        self.actions.push_back(Action::SendSource(ack));
    }

    fn refuse(&mut self, why: UndoneReason) {
        self.phase = Phase::Over;
        let refused = Message::StageRefused { directive: self.directive, why };
        self.actions.push_back(Action::SendSource(refused));
    }

    /// Cannot take the session over, so promises never to: the authority can then take it back
    /// at once instead of after a timeout.
    fn fence(&mut self, why: UndoneReason) {
        self.refuse(why);
        self.phase = Phase::Fencing;
        self.actions.push_back(Action::Gate(gate::Event::FenceQuery {
            directive: self.directive,
            to_incarnation: self.incarnation,
        }));
    }

    fn discard(&mut self) {
        self.phase = Phase::Over;
        self.actions.push_back(Action::Discard { epoch: self.epoch.next() });
    }
}

/// What a gate answers the authority when its ownership has given its word on a directive.
#[must_use]
pub fn word(
    reaction: Reaction,
    directive: DirectiveId,
    incarnation: Incarnation,
) -> Option<Message> {
    match reaction {
        Reaction::Activated => Some(Message::Activated { directive, incarnation }),
        Reaction::Fenced => Some(Message::Fenced { directive, incarnation }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
