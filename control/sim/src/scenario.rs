//! What a seed means: the shape of the world, how bad its network is, how much goes wrong in it.
//! All times are scaled down about twenty-fold against production, so that a run of a few virtual
//! seconds sees many handoffs, leases and recoveries.

use homing_session::{
    handoff::{authority::Patience, source::SourceLimits},
    lease::RENEW_MS as RENEW_MS_OF_MACHINES,
    replica::Tier,
};
use homing_wire::CutLimits;

use crate::clock::Dice;

/// How the parties are spread over processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every gate, every edge and control is a process of its own; a gate's state dies with it.
    Fleet,
    /// One process is edge, authority and the gate of every zone; the state is in the zones' apps
    /// and outlives it.
    Solo,
}

/// A defect of the shell around the machines, which the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Gates execute whatever their lease says.
    LeaseIgnored,
    /// The dedup window does not travel with the cut.
    WindowLeftBehind,
    /// The cut carries no last delta.
    DeltaLeftBehind,
    /// The authority sends before its record is durable.
    SentBeforeStored,
    /// A gate forgets its promises.
    PromiseForgotten,
    /// The source grants without waiting for requests in execution.
    NotDrained,
    /// Nobody lets held requests go in time.
    HoldUnbounded,
    /// A gate counts its lease from when the answer came.
    LeaseFromAnswer,
    /// A control that starts takes every lease to be over.
    NothingInherited,
    /// A life that was struck off goes on when control is back.
    StruckForgotten,
    /// The target executes what it should hold until the grant is there.
    StagedExecutes,
    /// An owner takes its replica for good before control knows of it.
    HeirUnknown,
    /// A repeated request is answered before the replica has its first execution.
    WindowUnreplicated,
    /// Control takes a late word on the heir for the last.
    HeirOutdated,
    /// Control forgets in a crash who the heir is.
    HeirForgotten,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::LeaseIgnored,
        Self::WindowLeftBehind,
        Self::DeltaLeftBehind,
        Self::SentBeforeStored,
        Self::PromiseForgotten,
        Self::NotDrained,
        Self::HoldUnbounded,
        Self::LeaseFromAnswer,
        Self::NothingInherited,
        Self::StruckForgotten,
        Self::StagedExecutes,
        Self::HeirUnknown,
        Self::WindowUnreplicated,
        Self::HeirOutdated,
        Self::HeirForgotten,
    ];
}

/// One world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seeds the dice.
    pub seed: u64,
    /// How the parties are spread.
    pub shape: Shape,
    /// Zones, each with one gate.
    pub zones: usize,
    /// Edges.
    pub edges: usize,
    /// Clients of the one session.
    pub clients: usize,
    /// When faults, new handoffs and new writes stop; what is pending must then settle.
    pub calm_ms: u64,
    /// Shortest and longest delay of a message.
    pub delay_ms: (u64, u64),
    /// Messages lost, and messages delivered twice, in a thousand.
    pub loss: u64,
    /// See `loss`.
    pub repeat: u64,
    /// Crashes that may happen.
    pub crashes: u32,
    /// Partitions that happen.
    pub partitions: u32,
    /// Controls that another takes over from, with words of theirs still on their way.
    pub successions: u32,
    /// Gates that stand still for a while, their clocks running.
    pub pauses: u32,
    /// Exports and imports that fail, in a thousand.
    pub copy_failures: u64,
    /// What the death of a zone may cost.
    pub tier: Tier,
    /// Longest freeze.
    pub freeze_ms: u64,
    /// Longest time a request waits out a freeze.
    pub hold_ms: u64,
    /// Longest time between a client's writes.
    pub think_ms: u64,
    /// The planted defect.
    pub mutant: Option<Mutant>,
}

/// One of the world's milliseconds stands for this many of a machine's.
pub(crate) const SCALE: u64 = 20;
/// How long a lease lasts, in the machines' milliseconds.
pub(crate) const LEASE_MS: u32 = 8_000;
/// How often it is renewed.
pub(crate) const RENEW_MS: u64 = RENEW_MS_OF_MACHINES / SCALE;
/// Longest execution of one request: within what control waits beyond a lease.
pub(crate) const EXECUTION_MS: u64 = 15;
/// Writes one client can make: its numbers are bits of one word.
pub(crate) const WRITES_MAX: u8 = 64;
/// Most zones.
pub(crate) const ZONES_MAX: usize = 3;
/// Most clients.
pub(crate) const CLIENTS_MAX: usize = 4;

impl Scenario {
    /// The world that `seed` stands for.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x0005_CE4A_710E);
        let shape = if dice.chance(250) { Shape::Solo } else { Shape::Fleet };
        let quiet_network = shape == Shape::Solo || dice.chance(300);
        let slowest = if shape == Shape::Solo { 1 } else { dice.between(2, 40) };
        Self {
            seed,
            shape,
            zones: dice.between(2, 3) as usize,
            edges: dice.between(1, 3) as usize,
            clients: dice.between(1, CLIENTS_MAX as u64 - 1) as usize,
            calm_ms: dice.between(800, 2_500),
            delay_ms: (0, slowest),
            loss: if quiet_network { 0 } else { dice.between(0, 150) },
            repeat: if quiet_network { 0 } else { dice.between(0, 150) },
            crashes: dice.between(0, 3) as u32,
            partitions: if shape == Shape::Solo { 0 } else { dice.between(0, 2) as u32 },
            pauses: if shape == Shape::Solo { 0 } else { dice.between(0, 2) as u32 },
            successions: if shape == Shape::Solo { 0 } else { dice.between(0, 2) as u32 },
            copy_failures: if dice.chance(300) { dice.between(10, 200) } else { 0 },
            tier: match dice.between(0, 2) {
                _ if shape == Shape::Solo => Tier::T0,
                0 => Tier::T0,
                1 => Tier::T1,
                _ => Tier::T2,
            },
            freeze_ms: dice.between(8, 30),
            hold_ms: dice.between(30, 150),
            think_ms: dice.between(5, 60),
            mutant: None,
        }
    }

    /// The source's limits in this world.
    #[must_use]
    pub(crate) fn source_limits(&self) -> SourceLimits {
        SourceLimits {
            cut: CutLimits { freeze_ms_max: self.freeze_ms as u32, gap_wait_ms: 60, rounds_max: 4 },
            attempts_max: 3,
            answer_ms: 90,
            state_bytes_max: 1 << 20,
            link_rtt_ms: self.delay_ms.1 as u32,
        }
    }

    /// The authority's patience in this world.
    #[must_use]
    pub(crate) fn patience(&self) -> Patience {
        Patience { handoff_ms: 500, answer_ms: 100, release_ms: 300 }
    }
}
