//! What must hold after every step of every world, and the ledger it is checked against. The
//! ledger sees what no party can: every execution anywhere.

use homing_wire::Epoch;

use crate::scenario::{CLIENTS_MAX, ZONES_MAX};

/// A set of writes: one word of bits per client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writes([u64; CLIENTS_MAX]);

impl Writes {
    /// Adds a write; whether it is new.
    pub(crate) fn add(&mut self, client: usize, seq: u8) -> bool {
        let new = !self.has(client, seq);
        self.0[client] |= 1 << seq;
        new
    }

    /// Whether the write is in.
    #[must_use]
    pub(crate) fn has(&self, client: usize, seq: u8) -> bool {
        self.0[client] & 1 << seq != 0
    }

    /// Adds all of `other`.
    pub(crate) fn join(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Those that are not in `other`.
    #[must_use]
    pub(crate) fn without(mut self, other: Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine &= !theirs;
        }
        self
    }

    /// How many.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// A law, as it was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// Two gates can execute the session at once.
    OneExecutor,
    /// A request was executed at a lower epoch than one before, or a gate is over one epoch ahead
    /// of the record.
    EpochsRise,
    /// A request was executed twice, and no crash had lost the first.
    OnceOnly,
    /// An acknowledged write is missing, and no crash had lost it.
    NothingLost,
    /// A gate executed at or below an epoch it had granted.
    GrantKept,
    /// A request was held for too long.
    HoldBounded,
    /// An edge knows an epoch that nobody issued.
    NoInventedEpoch,
    /// A write is missing that a replica had, and the replica's zone had not died.
    ReplicaKept,
    /// A life may act that was struck off.
    StruckActs,
    /// Nothing went wrong any more, and still the session is not served.
    ServedInTheEnd,
}

/// Everything that was executed anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    executed: Writes,
    acked: Writes,
    /// Writes that died with a gate that had no replica, which the tier allows.
    lost: Writes,
    /// Writes whose record in a dedup window died with a process, which the tier allows too.
    forgotten: Writes,
    top: Epoch,
    /// Whether a gate that may have held the session has died since it was last given to one.
    bereaved: bool,
    /// The last life of each zone's gate that was struck off.
    struck: [u64; ZONES_MAX],
    /// The last life of each zone's gate that died, or was held for dead.
    dead: [u64; ZONES_MAX],
    /// The zone and life that control turns to if the owner's zone dies.
    heir: Option<(usize, u64)>,
    /// Writes that it has.
    replicated: Writes,
    /// Acknowledged writes that died.
    pub(crate) acked_lost: u64,
    /// Executions that repeated one that was lost or forgotten.
    pub(crate) doubled_by_crash: u64,
    /// The first law broken.
    pub(crate) broken: Option<Law>,
}

impl Ledger {
    fn demand(&mut self, holds: bool, law: Law) {
        if !holds && self.broken.is_none() {
            self.broken = Some(law);
        }
    }

    /// A gate begins to execute at `epoch`, having granted at most `granted` away.
    pub(crate) fn begins(&mut self, epoch: Epoch, granted: Epoch) {
        self.demand(epoch >= self.top, Law::EpochsRise);
        self.demand(epoch > granted, Law::GrantKept);
        self.top = self.top.max(epoch);
    }

    /// A write has been executed.
    pub(crate) fn executes(&mut self, client: usize, seq: u8) {
        if !self.executed.add(client, seq) {
            let excused = self.lost.has(client, seq) || self.forgotten.has(client, seq);
            self.demand(excused, Law::OnceOnly);
            self.doubled_by_crash += 1;
        }
    }

    /// A client has its answer.
    pub(crate) fn acknowledges(&mut self, client: usize, seq: u8) {
        self.acked.add(client, seq);
    }

    /// A gate that may have held the session is dead, or held for dead.
    pub(crate) fn mourns(&mut self) {
        self.bereaved = true;
    }

    /// A life died, or is held for dead; a replica that it kept protects nothing any more.
    pub(crate) fn dies(&mut self, zone: usize, life: u64) {
        self.dead[zone] = self.dead[zone].max(life);
        if self.heir.is_some_and(|(heir, life)| life <= self.dead[heir]) {
            self.replicated = Writes::default();
        }
    }

    /// Control turns to this zone and life from now on.
    pub(crate) fn names_heir(&mut self, zone: usize, life: u64) {
        self.heir = Some((zone, life));
        self.dies(zone, 0);
    }

    /// The owner knows the heir to have these writes.
    pub(crate) fn replicates(&mut self, keeper: (usize, u64), writes: Writes) {
        if self.heir == Some(keeper) && keeper.1 > self.dead[keeper.0] {
            self.replicated.join(writes);
        }
    }

    /// The zone and life that control turns to, while it is not known to be dead.
    pub(crate) fn heir(&self) -> Option<(usize, u64)> {
        self.heir.filter(|(zone, life)| *life > self.dead[*zone])
    }

    /// The heir has these writes, and must have all that is replicated.
    pub(crate) fn heir_has(&mut self, writes: Writes) {
        let missing = self.replicated.without(writes);
        self.demand(missing.count() == 0, Law::ReplicaKept);
    }

    /// An answer goes out that must have a replica behind it, if the replica has not died unknown
    /// to the owner.
    pub(crate) fn answers(&mut self, client: usize, seq: u8) {
        let heir_died = self.heir.is_some_and(|(zone, life)| life <= self.dead[zone]);
        self.demand(heir_died || self.replicated.has(client, seq), Law::ReplicaKept);
    }

    /// A process died with its dedup windows.
    pub(crate) fn forgets(&mut self) {
        self.forgotten = self.executed;
    }

    /// A handoff brought the session to a gate with this state: nothing may be missing.
    pub(crate) fn handed_over(&mut self, state: Writes) {
        let missing = self.executed.without(state).without(self.lost);
        self.demand(missing.count() == 0, Law::NothingLost);
    }

    /// A gate with this state can execute, or passes the session on, for the first time since the
    /// authority gave it the session: what is missing must have died. Not earlier: without a
    /// lease the gate may itself be dead, and the session be given to another.
    pub(crate) fn given(&mut self, state: Writes) {
        let missing = self.executed.without(state).without(self.lost);
        if missing.count() > 0 {
            self.demand(self.bereaved, Law::NothingLost);
            let kept = missing.count() - missing.without(self.replicated).count();
            self.demand(kept == 0, Law::ReplicaKept);
            self.acked_lost += missing.count() - missing.without(self.acked).count();
            self.lost.join(missing);
            self.bereaved = false;
        }
    }

    /// After every step: the gates that can execute, with their states.
    pub(crate) fn after_step(&mut self, executors: impl Iterator<Item = Writes>) {
        let mut count = 0;
        for state in executors {
            count += 1;
            let missing = self.acked.without(state).without(self.lost);
            self.demand(missing.count() == 0, Law::NothingLost);
        }
        self.demand(count <= 1, Law::OneExecutor);
    }

    /// Control has declared a life over.
    pub(crate) fn strikes(&mut self, zone: usize, life: u64) {
        self.struck[zone] = self.struck[zone].max(life);
    }

    /// A life may act, or may not.
    pub(crate) fn may_act(&mut self, zone: usize, life: u64, leased: bool) {
        self.demand(!leased || life > self.struck[zone], Law::StruckActs);
    }

    /// A gate's epoch against the record's.
    pub(crate) fn not_ahead(&mut self, gate: Epoch, record: Epoch) {
        self.demand(gate.0 <= record.0 + 1, Law::EpochsRise);
    }

    /// An edge's epoch against the record's.
    pub(crate) fn issued(&mut self, edge: Epoch, record: Epoch) {
        self.demand(edge.0 <= record.0 + 1, Law::NoInventedEpoch);
    }

    /// A request was let go after so long a hold.
    pub(crate) fn held(&mut self, for_ms: u64, bound_ms: u64) {
        self.demand(for_ms <= bound_ms, Law::HoldBounded);
    }

    /// The end of the world.
    pub(crate) fn ends(&mut self, served: bool) {
        self.demand(served, Law::ServedInTheEnd);
    }

    /// Distinct writes executed, and of them lost with a gate.
    #[must_use]
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.executed.count(), self.lost.count())
    }
}
