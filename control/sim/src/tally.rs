//! What happened in a world, or in many: the proof that the simulation simulates something.

use std::collections::BTreeMap;

use homing_session::handoff::record::Ended;
use homing_wire::{OutcomeEnd, UndoneReason};

use crate::faults::Act;

/// Counts of one or more worlds.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Worlds.
    pub worlds: u64,
    /// Events.
    pub events: u64,
    /// Handoffs the authority recorded.
    pub prepared: u64,
    /// Of those, committed.
    pub committed: u64,
    /// And taken back.
    pub taken_back: u64,
    /// Undone handoffs as their sources told it.
    pub undone: BTreeMap<UndoneReason, u64>,
    /// Requests executed.
    pub executed: u64,
    /// Requests answered from a dedup window.
    pub deduplicated: u64,
    /// Requests redirected.
    pub redirects: u64,
    /// Requests held.
    pub parked: u64,
    /// Of the held, those that came to the target before the grant.
    pub parked_early: u64,
    /// Of the redirected, those that the source sent on before the target had confirmed.
    pub redirected_early: u64,
    /// Of those, let go unexecuted because the hold had lasted long enough.
    pub held_out: u64,
    /// Freezes placed in an idle gap.
    pub gaps: u64,
    /// Times the authority declared a life dead.
    pub declared_dead: u64,
    /// Gates that went on as another life because theirs was declared dead.
    pub begun_again: u64,
    /// Requests executed whose gate had lost lease or session by the time they were.
    pub unanswered: u64,
    /// Orders of a control that another had replaced, ignored.
    pub outdated_orders: u64,
    /// Pauses of a gate, and of them those that outlasted its lease.
    pub pauses: u64,
    /// See `pauses`.
    pub long_pauses: u64,
    /// Times another zone was given the replica.
    pub replicas_changed: u64,
    /// Deltas sent to replicas.
    pub deltas: u64,
    /// Most versions that a replica that counts lagged behind.
    pub lag_max: u64,
    /// Acknowledged writes that died, by tier. With T2 only where two zones died, the replica's
    /// and the owner's.
    pub acked_lost: [u64; 3],
    /// Sessions that went to their heir.
    pub inherited: u64,
    /// Times a new life had to wait for the lease of the one before to end.
    pub waited: u64,
    /// Crashes, by the act they came before.
    pub crashes: BTreeMap<Act, u64>,
    /// Writes that died with a gate without a replica.
    pub lost_with_gate: u64,
    /// Executions repeated because a crash had lost or forgotten the first.
    pub doubled_by_crash: u64,
}

impl Tally {
    /// The authority has ended a handoff.
    pub(crate) fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Committed { .. } => self.committed += 1,
            Ended::TakenBack => self.taken_back += 1,
        }
    }

    /// A source has told its outcome.
    pub(crate) fn source_reported(&mut self, end: &OutcomeEnd) {
        if let OutcomeEnd::Undone { why, .. } = end {
            *self.undone.entry(*why).or_default() += 1;
        }
    }

    /// Adds another world's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.events += other.events;
        self.prepared += other.prepared;
        self.committed += other.committed;
        self.taken_back += other.taken_back;
        self.executed += other.executed;
        self.deduplicated += other.deduplicated;
        self.redirects += other.redirects;
        self.parked += other.parked;
        self.parked_early += other.parked_early;
        self.redirected_early += other.redirected_early;
        self.held_out += other.held_out;
        self.gaps += other.gaps;
        self.declared_dead += other.declared_dead;
        self.begun_again += other.begun_again;
        self.unanswered += other.unanswered;
        self.outdated_orders += other.outdated_orders;
        self.pauses += other.pauses;
        self.long_pauses += other.long_pauses;
        self.waited += other.waited;
        self.replicas_changed += other.replicas_changed;
        self.deltas += other.deltas;
        self.lag_max = self.lag_max.max(other.lag_max);
        for (mine, theirs) in self.acked_lost.iter_mut().zip(other.acked_lost) {
            *mine += theirs;
        }
        self.inherited += other.inherited;
        self.lost_with_gate += other.lost_with_gate;
        self.doubled_by_crash += other.doubled_by_crash;
        for (&why, count) in &other.undone {
            *self.undone.entry(why).or_default() += count;
        }
        for (&act, count) in &other.crashes {
            *self.crashes.entry(act).or_default() += count;
        }
    }
}
