//! What the operator allows: when affinity holds a session, how long a request may wait out a
//! freeze, how often sessions may be moved, and whether control acts at all.

/// The policy that travels in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From this affinity on (0..=1000) a session stays in its zone under pressure (held, bounded)
    /// instead of spilling to the next choice.
    pub affinity_threshold: u16,
    /// Whether control's own plans are carried out.
    pub act: Act,
    /// Header in which a trusted front (a CDN, a GeoIP step) names the client's place.
    pub place_header: Option<String>,
    /// Bounds of the hold.
    pub hold: HoldLimits,
    /// How handoffs are cut.
    pub cut: CutLimits,
    /// How often sessions may move.
    pub moves: MoveLimits,
    /// Microseconds of latency that one unit of currency per 1,000 requests is worth.
    pub currency_us: u64,
}

/// Whether control's own plans are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Act {
    /// Plan and explain only. An operator's own `move` and `drain` are carried out all the same.
    #[default]
    Shadow,
    /// Carry plans out.
    On,
}

/// Bounds on requests that wait out a freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Requests held per session; one more gets 503 with Retry-After.
    pub requests_per_session: u16,
    /// Requests held in the whole process.
    pub requests_total: u32,
    /// Request bytes held in the whole process.
    pub bytes_total: u64,
    /// Longest hold.
    pub ms_max: u32,
}

/// How the cut of a handoff is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutLimits {
    /// Longest freeze; then the gate thaws and the directive waits for another turn.
    pub freeze_ms_max: u32,
    /// How long to wait for an idle gap before cutting anyway.
    pub gap_wait_ms: u32,
    /// Most pre-copy rounds.
    pub rounds_max: u8,
}

/// How often sessions may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveLimits {
    /// Handoffs started a minute, over all zones, by plans (not by operators).
    pub per_minute: u32,
    /// Handoffs under way at once from one zone to another.
    pub concurrent_per_pair: u16,
    /// A session stays at least this long before control moves it again.
    pub residence_ms_min: u64,
    /// Regret must exceed this share of the cost of moving, in percent, before a plan moves it.
    pub regret_percent: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            affinity_threshold: 600,
            act: Act::Shadow,
            place_header: None,
            hold: HoldLimits::default(),
            cut: CutLimits::default(),
            moves: MoveLimits::default(),
            currency_us: 1_000_000,
        }
    }
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self {
            requests_per_session: 32,
            requests_total: 10_000,
            bytes_total: 64 << 20,
            ms_max: 2_000,
        }
    }
}

impl Default for CutLimits {
    fn default() -> Self {
        Self { freeze_ms_max: 500, gap_wait_ms: 10_000, rounds_max: 5 }
    }
}

impl Default for MoveLimits {
    fn default() -> Self {
        Self {
            per_minute: 600,
            concurrent_per_pair: 16,
            residence_ms_min: 120_000,
            regret_percent: 100,
        }
    }
}
