//! The explicit-state check of the handoff: every interleaving of one session, two zones and two
//! clients, with any message lost, repeated, late or overtaken, and a bounded number of faults.
//! It drives the production transition functions; what is modelled here is only the world around
//! them. A simulation samples such runs, this covers them all.
//!
//! The network is the set of letters ever sent; a letter is delivered any number of times, or
//! never. Requests execute in one step. A crashed gate loses its state (no replica). The source
//! machine's timing is left out: it may stage, freeze, thaw and grant whenever the ownership lets
//! it, which contains every timing. Clients know the table or what a redirect told them.

mod intern;
mod letters;
mod search;
mod state;
mod steps;
mod terms;
mod visited;

pub use search::{Report, check};
pub use state::Law;

/// How large a world to check, and which defect to plant in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// Handoffs the authority may start.
    pub handoffs: u8,
    /// Crashes and lease losses, at any point, of either gate.
    pub faults: u8,
    /// Times another control takes over, at any point. The one before goes on with the record it
    /// had, but cannot store another.
    pub successions: u8,
    /// A defect that the check must find, but for the one that says otherwise.
    pub mutant: Option<Mutant>,
}

/// A defect of the world around the machines. Each removes one thing that the protocol rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A gate takes a grant meant for an earlier life of it.
    GrantNotBound,
    /// A gate that promised never to activate does not remember.
    FenceForgotten,
    /// The authority takes a handoff back without the target's promise.
    ReclaimUnfenced,
    /// Executed requests are forgotten when the session changes hands.
    DedupForgotten,
    /// A gate executes without a lease.
    LeaseIgnored,
    /// The authority declares a gate dead that may still execute.
    DeadWithoutProof,
    /// A control that was replaced goes on as if what it decides were stored.
    StoreUnfenced,
    /// Gates obey a control that was replaced. The one that the check need not find: what such a
    /// control may still say is old, and everything old is harmless by its numbers.
    TermsForgotten,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::GrantNotBound,
        Self::FenceForgotten,
        Self::ReclaimUnfenced,
        Self::DedupForgotten,
        Self::LeaseIgnored,
        Self::DeadWithoutProof,
        Self::StoreUnfenced,
        Self::TermsForgotten,
    ];
}
