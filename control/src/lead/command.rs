//! What the lead is asked or told, where that is left, and how an answer is waited for.

use homing_plan::Plan;
use homing_wire::{DirectiveId, Endpoint, FromProxy, GateHello, Incarnation, Intake, SessionKey};
use tokio::sync::{mpsc, oneshot};

use super::{MoveAsked, MoveFault, Moving, Push, PushFault, Pushed, WhySession};
use crate::scope::Scope;

/// Commands that may wait; a sender then waits for the lead.
const COMMANDS: usize = 8_192;

/// What the lead is asked or told.
#[derive(Debug)]
pub enum Command {
    /// A new document.
    Push(Box<Push>, oneshot::Sender<Result<Pushed, PushFault>>),
    /// The operator's word on a zone's intake; `None` leaves it to the document.
    Intake {
        /// The zone's name.
        zone: String,
        /// What it is to be.
        intake: Intake,
        /// Answered when it is durable; false if there is no such zone.
        reply: oneshot::Sender<bool>,
    },
    /// The operator moves a session.
    Move(MoveAsked, oneshot::Sender<Result<Moving, MoveFault>>),
    /// Why does a session live where it does?
    Why(SessionKey, oneshot::Sender<Option<Box<WhySession>>>),
    /// Which of these sessions belong to services within a scope?
    Seen(Scope, Vec<SessionKey>, oneshot::Sender<Vec<bool>>),
    /// Forget a user, with these places of the history.
    Forget(SessionKey, Vec<(u64, DirectiveId)>, oneshot::Sender<bool>),
    /// A proxy attached.
    Attached {
        /// Its name.
        proxy: String,
        /// Its life.
        incarnation: Incarnation,
        /// What it guards, if it is a gate.
        gate: Option<GateHello>,
    },
    /// A proxy acknowledged a table, or is gone.
    Acked,
    /// A proxy said something.
    Heard {
        /// Its name.
        proxy: String,
        /// Its life.
        incarnation: Incarnation,
        /// What it said.
        message: FromProxy,
    },
    /// What a provider's endpoints are that may serve.
    Provided {
        /// The zone's name.
        zone: String,
        /// The service's name; `None` for every service.
        service: Option<String>,
        /// All of them.
        endpoints: Vec<Endpoint>,
    },
    /// A second has passed.
    Tick,
    /// A plan is made.
    Planned(Box<Plan>),
    /// Write what is not written and end.
    Stop,
}

/// Where commands go.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// The lead has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("control is stopping")]
pub struct Ended;

impl Handle {
    /// Leaves a command; waits if too many do.
    ///
    /// # Errors
    /// The lead has ended.
    pub async fn send(&self, command: Command) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }

    /// Tells the lead to end, without waiting; one that is behind finds out when its senders end.
    pub fn stop(&self) {
        let _ = self.commands.try_send(Command::Stop);
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The lead has ended, perhaps because the journal cannot be written.
    pub async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Ended> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Ended)
    }

    /// As [`Self::send`], from a thread.
    ///
    /// # Errors
    /// The lead has ended.
    pub fn send_blocking(&self, command: Command) -> Result<(), Ended> {
        self.commands.blocking_send(command).map_err(|_| Ended)
    }
}

/// The mailbox: where commands are left, and where the lead finds them.
#[must_use]
pub fn mailbox() -> (Handle, mpsc::Receiver<Command>) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    (Handle { commands }, inbox)
}
