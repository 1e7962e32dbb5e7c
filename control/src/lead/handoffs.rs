//! Handoffs: the durable record of each is run by the authority machine; here its actions become
//! journal rows, table changes and messages, and what proxies say becomes its events.

use std::collections::BTreeMap;

use homing_session::handoff::{
    Authority, Message, Record,
    authority::{Action, Event, Patience},
    record::{Ended, Lives, Pending},
};
use homing_wire::{
    Activated, Directive, DirectiveId, FromProxy, Home, Incarnation, Outcome, OutcomeEnd, Policy,
    SessionKey, ToProxy, UndoneReason, Version, ZoneId,
};

use super::{ENDED_KEPT, Lead};
use crate::journal::{EndRow, Entry, FiguresRow, HistoryRow, Recovered, Release};

/// How long a session is left in peace after a handoff was undone by something that may pass.
const REST_MS: u64 = 30_000;
/// And by something that someone has to change.
const REST_LONG_MS: u64 = 600_000;
/// A claim told this often, and shown by a table every proxy acknowledged, has reached its gate:
/// one that owns the session already has nothing to answer.
const CLAIMS_ENOUGH: u32 = 3;

/// A session whose handoff is pending, or whose former owner is still to be released.
pub(super) struct Held {
    authority: Authority,
    /// The table that shows the commit.
    pub(super) shown: Option<Version>,
    /// How often its claim was told to an attached proxy.
    claims: u32,
    /// Why the proxy undid it, if it said so.
    undone: Option<(UndoneReason, String)>,
    issued_ms: u64,
}

/// How long a handoff may take under a policy before it is resolved: it waits for an idle gap, and
/// for its turn among others.
pub(super) fn patience(policy: &Policy) -> Patience {
    let wait = u64::from(policy.cut.gap_wait_ms) + u64::from(policy.cut.freeze_ms_max);
    Patience { handoff_ms: (3 * wait).max(Patience::default().handoff_ms), ..Patience::default() }
}

/// Takes up the pending handoffs of an earlier life. They get their whole time again: proxies
/// finish them without control, and asking at once would only undo what goes well.
pub(super) fn take_up(
    recovered: &Recovered,
    patience: Patience,
    now_ms: u64,
) -> BTreeMap<SessionKey, Held> {
    let held = |(key, record): &(SessionKey, Record)| {
        let from_ms = match record.pending {
            Pending::Handoff { .. } => now_ms + patience.handoff_ms,
            _ => now_ms,
        };
        let held = Held {
            authority: Authority::new(*record, patience, from_ms),
            shown: None,
            claims: 0,
            undone: None,
            issued_ms: 0,
        };
        (*key, held)
    };
    recovered.authorities.iter().map(held).collect()
}

impl Lead {
    /// Issues directives, all in one table. `wanted` names session, target, reason and cut; what
    /// cannot be moved now is left out.
    pub(super) fn issue(&mut self, wanted: Vec<Directive>, now_ms: u64) -> Vec<Directive> {
        let Some(table) = &self.table else {
            return Vec::new();
        };
        let patience = patience(&table.facts().policy);
        let mut issued = Vec::new();
        for mut directive in wanted {
            let home = table.home(directive.key);
            let lives = self.lives_from(directive.key, home.zone);
            let heir = self.heir_of(directive.key, now_ms);
            // Where no gate lives that could be told, nothing can be handed over.
            let Some(life) = view(&lives, heir).live(home.zone) else {
                continue;
            };
            let known = self.handoffs.get(&directive.key).map(|held| *held.authority.record());
            let record = match known {
                Some(record) if record.pending != Pending::Settled => continue,
                Some(record) => {
                    Record { last: record.last, ..Record::settled(home.zone, life, home.epoch) }
                }
                None => Record::settled(home.zone, life, home.epoch),
            };
            directive.id = DirectiveId(self.next_directive);
            let mut authority = Authority::new(record, patience, now_ms);
            let Ok(directive) = authority.prepare(directive, view(&lives, heir), now_ms) else {
                continue;
            };
            self.next_directive += 1;
            self.handoffs.insert(directive.key, Held::of(authority, now_ms));
            issued.push(directive);
        }
        if issued.is_empty() {
            return issued;
        }
        let next = Entry::NextDirective(DirectiveId(self.next_directive));
        self.out.entries.push(next);
        let shown = self.change(|_, delta| delta.directives.clone_from(&issued));
        if shown.is_none() {
            for directive in &issued {
                self.handoffs.remove(&directive.key);
            }
            return Vec::new();
        }
        self.shared.metrics.directives_issued.add(issued.len() as u64);
        self.expect(&issued, now_ms);
        for directive in &issued {
            self.act(directive.key, now_ms);
        }
        issued
    }

    /// Gives a session's authority an event.
    pub(super) fn tell(&mut self, key: SessionKey, event: Event, now_ms: u64) {
        let lives = self.lives(key);
        let heir = self.heir_of(key, now_ms);
        if let Some(held) = self.handoffs.get_mut(&key) {
            held.authority.handle(event, view(&lives, heir), now_ms);
            self.act(key, now_ms);
        }
    }

    /// Does what a session's authority asks for.
    fn act(&mut self, key: SessionKey, now_ms: u64) {
        while let Some(action) = self.handoffs.get_mut(&key).and_then(|h| h.authority.poll()) {
            match action {
                Action::Persist(record) => {
                    self.out.entries.push(Entry::Authority(key, Some(record)))
                }
                Action::Send(zone, message) => self.pass_on(key, zone, &message),
                Action::Report(directive, ended) => self.ended(key, directive, ended, now_ms),
            }
        }
        let Some(held) = self.handoffs.get(&key) else {
            return;
        };
        let settled = held.authority.record().pending == Pending::Settled;
        if settled {
            self.out.entries.push(Entry::Authority(key, None));
        }
        if settled && held.authority.deadline().is_none() {
            self.handoffs.remove(&key);
        }
    }

    fn pass_on(&mut self, key: SessionKey, zone: ZoneId, message: &Message) {
        let last = self.handoffs.get(&key).map(|held| held.authority.record().last);
        let Some(last) = last else {
            return;
        };
        match message {
            Message::FenceQuery { directive, to_incarnation } => self.send(
                None,
                ToProxy::FenceQuery {
                    directive: *directive,
                    incarnation: *to_incarnation,
                    key,
                    zone,
                },
            ),
            Message::Own { directive, incarnation, epoch, from } => {
                let attached = self.shared.roll.oldest_acked().is_some();
                if let Some(held) = self.handoffs.get_mut(&key) {
                    held.claims += u32::from(attached);
                }
                self.send(
                    None,
                    ToProxy::Own {
                        key,
                        zone,
                        incarnation: *incarnation,
                        epoch: *epoch,
                        keep: *from == homing_session::gate::StartFrom::Retained,
                        directive: *directive,
                    },
                );
            }
            Message::Release { epoch, .. } => {
                let release = Release { directive: last.0, epoch: epoch.0 };
                self.release(key, release);
            }
            // The directive is in the table; everything else goes between gates.
            _ => {}
        }
    }

    /// A handoff has ended: the table shows it, the history tells it.
    fn ended(&mut self, key: SessionKey, directive: DirectiveId, ended: Ended, now_ms: u64) {
        let Some(held) = self.handoffs.get(&key) else {
            return;
        };
        let record = *held.authority.record();
        let (undone, issued_ms) = (held.undone.clone(), held.issued_ms);
        let order = self.table.as_ref().and_then(|t| t.directives().get(&directive).cloned());
        let home = Home { zone: record.owner, epoch: record.epoch };
        let shown = self.change(|_, delta| {
            delta.set.push((key, home));
            delta.withdrawn.push(directive);
        });
        if let Some(held) = self.handoffs.get_mut(&key) {
            held.shown = shown;
        }
        let completed = matches!(ended, Ended::Committed { .. }).then_some(home.epoch);
        self.watch(key, directive, completed, now_ms);
        self.profiles.settle(key, home.zone, home.epoch, now_ms);
        let end = match ended {
            Ended::Committed { .. } => EndRow::Completed { figures: None },
            Ended::TakenBack => {
                let (why, detail) = undone.unwrap_or((
                    UndoneReason::GateLost,
                    "it did not get on, and its target will not take it any more".to_owned(),
                ));
                self.rest(key, why, now_ms);
                // The next one goes to the gate that is drawn, which asks the others.
                self.gates.forget_holder(key);
                EndRow::Undone { why: why.name().to_owned(), detail }
            }
        };
        self.shared.metrics.outcomes.add(match end {
            EndRow::Completed { .. } => "completed",
            EndRow::Undone { .. } => "undone",
        });
        if let Some(order) = order {
            if completed.is_some() {
                self.heir_passes(&order, now_ms);
            }
            self.remember(&order, issued_ms, end, now_ms);
        }
    }

    /// Writes how a directive ended into the history, over what was written before.
    fn remember(&mut self, order: &Directive, issued_ms: u64, end: EndRow, now_ms: u64) {
        let seq = match self.ended.get(&order.id) {
            Some((seq, _)) => *seq,
            None => {
                self.next_history += 1;
                self.next_history - 1
            }
        };
        let row = HistoryRow {
            directive: order.id.0,
            session: order.key.to_string(),
            from: self.zone_name(order.from),
            to: self.zone_name(order.to),
            reason: order.reason.name().to_owned(),
            epoch: order.epoch.0,
            issued_ms,
            ended_ms: now_ms,
            end,
        };
        self.out.entries.push(Entry::History(seq, row.clone()));
        self.ended.insert(order.id, (seq, row));
        while self.ended.len() > ENDED_KEPT {
            self.ended.pop_first();
        }
    }

    /// A proxy said something about sessions, handoffs or traffic.
    pub(super) fn heard(
        &mut self,
        proxy: &str,
        incarnation: Incarnation,
        message: FromProxy,
        now_ms: u64,
    ) {
        match message {
            FromProxy::Records(batch) => self.records(proxy, incarnation, batch, now_ms),
            FromProxy::Activated(activated) => self.activated(activated, now_ms),
            FromProxy::Fenced { directive, incarnation } => {
                let Some(key) = self.key_of(directive) else {
                    return;
                };
                let message = Message::Fenced { directive, incarnation };
                self.tell(key, Event::Heard(message), now_ms);
            }
            FromProxy::Outcome(outcome) => self.outcome(proxy, outcome, now_ms),
            FromProxy::Residence { key, zone, epoch } => {
                self.served_by(key, zone, incarnation);
                self.residence(key, Home { zone, epoch }, now_ms);
            }
            FromProxy::Leave { done } => self.gate_leaves(proxy, incarnation, done, now_ms),
            FromProxy::Renew { seq } => self.renew(proxy, incarnation, seq, now_ms),
            FromProxy::Stalled { directive, key, why, detail } => {
                if self.key_of(directive) == Some(key) {
                    let end = OutcomeEnd::Undone { why, detail };
                    self.outcome_of_open(directive, key, &end, now_ms);
                }
            }
            FromProxy::Heir(heir) => self.heir_named(proxy, incarnation, heir, now_ms),
            FromProxy::Owned { key, incarnation, epoch } => {
                let owned = Message::Owned { incarnation, epoch };
                self.tell(key, Event::Heard(owned), now_ms);
            }
            // The link keeps these to itself.
            FromProxy::Hello(_) | FromProxy::Ack { .. } | FromProxy::Nack { .. } => {}
        }
    }

    fn activated(&mut self, activated: Activated, now_ms: u64) {
        let Activated { directive, key, zone, epoch, incarnation } = activated;
        if self.key_of(directive) != Some(key) {
            // Not one of ours, or one that ended: the gate's word on its home counts.
            self.residence(key, Home { zone, epoch }, now_ms);
            return;
        }
        let message = Message::Activated { directive, incarnation };
        self.tell(key, Event::Heard(message), now_ms);
    }

    fn outcome(&mut self, proxy: &str, outcome: Outcome, now_ms: u64) {
        let Outcome { directive, key, end, .. } = outcome;
        if self.key_of(directive) == Some(key) {
            self.outcome_of_open(directive, key, &end, now_ms);
        }
        self.add_word(directive, key, &end, now_ms);
        self.send(Some(proxy), ToProxy::OutcomeTaken { directive });
    }

    /// An outcome that comes before its handoff is settled here: a completed one is as good as the
    /// target's word; an undone one is resolved at once.
    fn outcome_of_open(
        &mut self,
        directive: DirectiveId,
        key: SessionKey,
        end: &OutcomeEnd,
        now_ms: u64,
    ) {
        let message = match end {
            OutcomeEnd::Completed(_) => {
                let order = self.table.as_ref().and_then(|t| t.directives().get(&directive));
                let incarnation = order.map_or(Incarnation(0), |order| order.to_incarnation);
                Message::Activated { directive, incarnation }
            }
            OutcomeEnd::Undone { why, detail } => {
                let order = self.table.as_ref().and_then(|t| t.directives().get(&directive));
                if let (Some(order), Some(held)) = (order.cloned(), self.handoffs.get_mut(&key)) {
                    held.undone = Some((*why, detail.clone()));
                    let issued_ms = held.issued_ms;
                    let end = EndRow::Undone { why: why.name().to_owned(), detail: detail.clone() };
                    self.remember(&order, issued_ms, end, now_ms);
                }
                Message::Stalled { directive, why: *why }
            }
        };
        self.tell(key, Event::Heard(message), now_ms);
    }

    /// Adds what the proxy tells of an end to its place in the history: what a completed handoff
    /// measured, why one was undone that was taken back before the proxy said why.
    fn add_word(&mut self, directive: DirectiveId, key: SessionKey, end: &OutcomeEnd, now_ms: u64) {
        let found = match self.ended.get(&directive) {
            Some(found) => Some(found.clone()),
            None => self.shared.journal.history_of(directive).ok().flatten(),
        };
        let Some((seq, mut row)) = found.filter(|(_, row)| row.session == key.to_string()) else {
            return;
        };
        row.end = match (end, &row.end) {
            (OutcomeEnd::Completed(figures), EndRow::Completed { .. }) => EndRow::Completed {
                figures: Some(FiguresRow {
                    pause_us: figures.pause_us,
                    held: figures.held,
                    state_bytes: figures.state_bytes,
                    cut_bytes: figures.cut_bytes,
                    rounds: figures.rounds,
                    total_us: figures.total_us,
                }),
            },
            (OutcomeEnd::Undone { why, detail }, EndRow::Undone { .. }) => {
                self.rest(key, *why, now_ms);
                EndRow::Undone { why: why.name().to_owned(), detail: detail.clone() }
            }
            // The authority's record decides how it ended, not the report of it.
            _ => return,
        };
        self.out.entries.push(Entry::History(seq, row.clone()));
        self.ended.insert(directive, (seq, row));
    }

    /// Leaves a session in peace after an undone handoff.
    fn rest(&mut self, key: SessionKey, why: UndoneReason, now_ms: u64) {
        let rest_ms = if why.is_transient() { REST_MS } else { REST_LONG_MS };
        self.rests.insert(key, now_ms + rest_ms);
    }

    /// A gate says it owns a session: the answer to a claim, or a home given by the proxy's own
    /// authority, which becomes an exception. Only a higher epoch, or a first word, counts.
    pub(super) fn residence(&mut self, key: SessionKey, home: Home, now_ms: u64) {
        let record = self.handoffs.get(&key).map(|held| *held.authority.record());
        match record.map(|record| (record.pending, record)) {
            Some((Pending::Claim { .. }, record)) if home.epoch >= record.epoch => {
                self.tell(key, owned(&record), now_ms);
            }
            None | Some((Pending::Settled, _)) => {}
            Some(_) => return,
        }
        let Some(table) = &self.table else {
            return;
        };
        let shown = table.home(key);
        let is_first = !table.exceptions().contains_key(&key) && home.zone != shown.zone;
        let is_news = home.epoch > shown.epoch || (home.epoch == shown.epoch && is_first);
        if !is_news || home.zone.index() >= table.facts().zones.len() {
            return;
        }
        self.change(|_, delta| delta.set.push((key, home)));
        self.profiles.settle(key, home.zone, home.epoch, now_ms);
    }

    /// The session of an open directive.
    fn key_of(&self, directive: DirectiveId) -> Option<SessionKey> {
        let table = self.table.as_ref()?;
        table.directives().get(&directive).map(|directive| directive.key)
    }

    /// Lets authorities look again whose time has come.
    pub(super) fn wake_handoffs(&mut self, now_ms: u64) {
        let due: Vec<SessionKey> = self
            .handoffs
            .iter()
            .filter(|(_, held)| held.authority.deadline().is_some_and(|at| at <= now_ms))
            .map(|(key, _)| *key)
            .collect();
        let oldest = self.shared.roll.oldest_acked();
        for key in due {
            let claimed = self.handoffs.get(&key).and_then(|held| held.claimed(oldest));
            match claimed {
                Some(record) => self.tell(key, owned(&record), now_ms),
                None => self.tell(key, Event::Wake, now_ms),
            }
        }
    }
}

/// The owner's word that it owns the session.
fn owned(record: &Record) -> Event {
    Event::Heard(Message::Owned { incarnation: record.incarnation, epoch: record.epoch })
}

impl Held {
    /// A session that its authority begins to look after.
    pub(super) fn of(authority: Authority, issued_ms: u64) -> Self {
        Self { authority, shown: None, claims: 0, undone: None, issued_ms }
    }

    pub(super) fn record(&self) -> &Record {
        self.authority.record()
    }

    /// The epoch of a claim that needs no more answer: see [`CLAIMS_ENOUGH`].
    fn claimed(&self, oldest: Option<Version>) -> Option<Record> {
        let record = self.authority.record();
        let pending = matches!(record.pending, Pending::Claim { .. });
        let shown = self.shown.is_some_and(|shown| oldest.is_some_and(|oldest| shown <= oldest));
        (pending && shown && self.claims >= CLAIMS_ENOUGH).then_some(*record)
    }
}

/// State lives in the zone's store and outlives a gate, so the zone's next life comes first.
fn view(lives: &[Option<Incarnation>], heir: Option<ZoneId>) -> Lives<'_> {
    Lives { by_zone: lives, heir, ephemeral: false }
}
