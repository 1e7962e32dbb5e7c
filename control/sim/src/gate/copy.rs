//! How a gate's shell moves session state for the machines. The state is a log of writes, a copy a
//! stretch of it, so a lost or misapplied delta shows as a missing write.

use homing_session::{
    dedup::DedupWindow,
    gate::Event as GateEvent,
    handoff::{Message, message::Copied, source, target},
};
use homing_wire::{DirectiveId, UndoneReason};

use super::{Gate, Timer};
use crate::{
    faults::Act,
    laws::Writes,
    link::Party,
    scenario::Mutant,
    turn::{Packet, Turn},
};

/// A session's state: the writes in the order they were made. Its version is their number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    log: Vec<(u8, u8)>,
    writes: Writes,
}

impl Store {
    /// The writes that are in.
    #[must_use]
    pub(crate) fn writes(&self) -> Writes {
        self.writes
    }

    /// Makes a write.
    pub(crate) fn write(&mut self, client: usize, seq: u8) {
        self.log.push((client as u8, seq));
        self.writes.add(client, seq);
    }

    /// The writes of the first so many versions.
    pub(super) fn writes_through(&self, version: u64) -> Writes {
        let mut writes = Writes::default();
        for &(client, seq) in self.log.iter().take(version as usize) {
            writes.add(usize::from(client), seq);
        }
        writes
    }

    pub(super) fn version(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn since(&self, version: u64) -> Vec<(u8, u8)> {
        self.log[(version as usize).min(self.log.len())..].to_vec()
    }

    /// Goes back to a version and on from there.
    pub(super) fn apply(&mut self, since: u64, delta: &[(u8, u8)]) {
        self.log.truncate(since as usize);
        let mut all = std::mem::take(&mut self.log);
        all.extend_from_slice(delta);
        *self = Self::default();
        for (client, seq) in all {
            self.write(usize::from(client), seq);
        }
    }
}

/// The bytes that travel with a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cargo {
    pub(super) copy: Copied,
    pub(super) delta: Vec<(u8, u8)>,
    pub(super) window: Vec<u8>,
}

impl Gate {
    pub(super) fn act_as_source(&mut self, action: source::Action, turn: &mut Turn<'_>) {
        let Some(directive) = self.source.as_ref().map(|s| s.directive().clone()) else { return };
        match action {
            source::Action::Export { ticket, since, last } => {
                if turn.strike(Act::Export, self.me()) {
                    return;
                }
                let timer = Timer::Exported { directive: directive.id, ticket, since, last };
                let takes_ms = turn.dice.between(0, 4);
                turn.wait(self.zone, self.life, takes_ms, timer);
            }
            source::Action::SendTarget(message) => {
                let granting = matches!(message, Message::Grant { .. });
                let act = if granting { Act::SendGrant } else { Act::SendStage };
                if turn.strike(act, self.me()) {
                    return;
                }
                let cargo = self.exported.clone();
                let to = Party::Gate(directive.to.index());
                turn.send(self.me(), to, Packet::Handoff { from: self.me(), message, cargo });
            }
            source::Action::SendAuthority(message) => self.tell_authority(message, turn),
            source::Action::AwaitGap { pause_ms } => {
                self.awaits_gap_ms = Some(pause_ms);
                self.wake_at(turn.now_ms + 3, turn);
            }
            source::Action::AwaitDrained => {
                let undrained = turn.scenario.mutant == Some(Mutant::NotDrained);
                self.awaits_drained = !self.running.is_empty() && !undrained;
                if !self.awaits_drained {
                    self.tell_source(source::Event::Drained, turn.now_ms);
                }
            }
            source::Action::Gate(event) => {
                let act = match event {
                    GateEvent::Freeze { .. } => Act::Freeze,
                    GateEvent::Grant { .. } => Act::Grant,
                    _ => Act::Thaw,
                };
                if !turn.strike(act, self.me()) {
                    self.step_for_machine(event, turn);
                }
            }
            source::Action::Report(end) => turn.tally.source_reported(&end),
        }
    }

    pub(super) fn act_as_target(
        &mut self,
        action: target::Action,
        cargo: Option<&Cargo>,
        turn: &mut Turn<'_>,
    ) {
        let Some(directive) = self.target.as_ref().map(|t| t.directive()) else { return };
        let takes_ms = turn.dice.between(0, 4);
        match action {
            target::Action::Gate(event) => {
                let activates = matches!(event, GateEvent::Activate { .. });
                let act = if activates { Act::Activate } else { Act::GiveWord };
                if !turn.strike(act, self.me()) {
                    self.step_for_machine(event, turn);
                }
            }
            target::Action::Import(copy) => {
                if !turn.strike(Act::Import, self.me()) {
                    let cargo = cargo.cloned().unwrap_or_default();
                    let timer = Timer::Imported { directive, copy, cargo };
                    turn.wait(self.zone, self.life, takes_ms, timer);
                }
            }
            target::Action::Install { copy, .. } => {
                if !turn.strike(Act::Install, self.me()) {
                    let cargo = cargo.cloned().unwrap_or_default();
                    let timer = Timer::Installed { directive, copy, cargo };
                    turn.wait(self.zone, self.life, takes_ms, timer);
                }
            }
            target::Action::SendSource(message) => {
                let confirms = matches!(message, Message::GrantAck { .. });
                let act = if confirms { Act::AckGrant } else { Act::AckStage };
                if !turn.strike(act, self.me()) {
                    turn.say(self.me(), self.staged_from, message);
                }
            }
            target::Action::SendAuthority(message) => self.tell_authority(message, turn),
            target::Action::Discard { .. } => self.staged = Store::default(),
        }
    }

    fn tell_authority(&mut self, message: Message, turn: &mut Turn<'_>) {
        if !turn.strike(Act::TellAuthority, self.me()) {
            turn.say(self.me(), Party::Control, message);
        }
    }

    /// Gives the target machine a copy that has arrived, and the bytes to what it does with it.
    pub(super) fn tell_target(
        &mut self,
        directive: DirectiveId,
        event: target::Event,
        cargo: Option<Cargo>,
        turn: &mut Turn<'_>,
    ) {
        let Some(target) = self.target.as_mut().filter(|t| t.directive() == directive) else {
            return;
        };
        target.handle(event);
        while let Some(action) = self.target.as_mut().and_then(|target| target.poll()) {
            self.act_as_target(action, cargo.as_ref(), turn);
            if turn.is_struck(self.me()) {
                return;
            }
        }
    }

    pub(super) fn export(
        &mut self,
        directive: DirectiveId,
        ticket: u32,
        since: u64,
        last: bool,
        turn: &mut Turn<'_>,
    ) {
        if self.source.as_ref().is_none_or(|source| source.directive().id != directive) {
            return;
        }
        if turn.faults.copy_fails(turn.dice) {
            let why = UndoneReason::ExportFailed;
            return self.tell_source(source::Event::ExportFailed { ticket, why }, turn.now_ms);
        }
        let mut delta = self.store.since(since);
        let copy = Copied { since, version: self.store.version(), bytes: 100 * delta.len() as u64 };
        if last && turn.scenario.mutant == Some(Mutant::DeltaLeftBehind) {
            delta.clear();
        }
        let window = if turn.scenario.mutant == Some(Mutant::WindowLeftBehind) {
            DedupWindow::default().export()
        } else {
            self.window.export()
        };
        self.exported = Some(Cargo { copy, delta, window });
        self.tell_source(source::Event::Exported { ticket, copy }, turn.now_ms);
    }

    pub(super) fn import(
        &mut self,
        directive: DirectiveId,
        copy: Copied,
        cargo: Cargo,
        turn: &mut Turn<'_>,
    ) {
        if self.target.as_ref().is_none_or(|target| target.directive() != directive) {
            return;
        }
        if turn.faults.copy_fails(turn.dice) || cargo.copy != copy {
            let why = UndoneReason::ImportRefused;
            return self.answer_target(target::Event::ImportFailed(why));
        }
        self.staged.apply(copy.since, &cargo.delta);
        self.answer_target(target::Event::Imported);
    }

    pub(super) fn install(
        &mut self,
        directive: DirectiveId,
        copy: Copied,
        cargo: &Cargo,
        turn: &mut Turn<'_>,
    ) {
        // A gate that owns the session by another's word has no use for a copy of it.
        let wanted = self.target.as_ref().is_some_and(|target| target.directive() == directive);
        if !wanted || self.ownership.retains() {
            return;
        }
        let window = DedupWindow::import(&cargo.window);
        match window {
            Ok(window) if !turn.faults.copy_fails(turn.dice) && cargo.copy == copy => {
                self.staged.apply(copy.since, &cargo.delta);
                self.store = self.staged.clone();
                self.window = window;
                self.answer_target(target::Event::Installed);
            }
            _ => self.answer_target(target::Event::ImportFailed(UndoneReason::ImportRefused)),
        }
    }
}
