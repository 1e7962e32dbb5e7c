//! The plan: one function from what is known to what should move, with the why of every move.
//! Where capacity binds, one solution for all sessions says who should live where; else each is
//! best served by the zone that is best for it. Either way regret comes before a move.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use homing_session::drag::Drags;
use homing_wire::{
    Act, DirectiveId, Intake, MoveReason, PlaceId, PlacementTable, SessionKey, Version, ZoneId,
};

use crate::{
    feedback::Feedback,
    mobility::Mobility,
    price,
    profile::Profile,
    score::{Scorer, Terms},
};

mod drain;
mod explain;
mod housing;
mod regret;
mod relief;
mod room;
#[cfg(test)]
mod tests;

pub use explain::{Explanation, ZoneTerms, explain};
pub use housing::Housing;
use room::Room;

/// Moves one session may make in an hour by plan.
pub const FLAPS_PER_HOUR: u8 = 3;
/// Moves one plan holds at most; the next round goes on from there.
pub const MOVES_PER_PLAN_MAX: usize = 2_000;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The table in force; the plan's parent.
    pub table: &'a PlacementTable,
    /// Sessions that live, in any order.
    pub sessions: &'a [Profile],
    /// How full each zone is, by zone index.
    pub zones: &'a [ZoneState],
    /// Moves that plans started within the last minute, against the policy's budget.
    pub started_last_minute: u32,
    /// Sessions whose last handoff was undone and that are left in peace for a while.
    pub resting: &'a BTreeSet<SessionKey>,
    /// The last plan's solution: the next one starts from its prices, and a why is told by it.
    pub last: Option<&'a Housing>,
    /// Where clients go.
    pub mobility: &'a Mobility,
    /// What earlier moves brought.
    pub feedback: &'a Feedback,
    /// How slow zones are.
    pub drags: &'a Drags,
}

/// How full a zone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneState {
    /// Sessions that live there.
    pub living: u64,
    /// Sessions that open directives bring there.
    pub inbound: u64,
    /// Of those that live there, sessions that open directives take away.
    pub outbound: u64,
    /// Sessions that plans sent away while the present drag was measured.
    pub left: u64,
}

impl ZoneState {
    /// Sessions the zone must have room for, whatever becomes of the open directives.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.living + self.inbound
    }
}

/// What should move and why. It is never changed; the next round makes another.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The table it was made against.
    pub parent: Version,
    /// When, milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// The seed that makes it again.
    pub seed: u64,
    /// Whether moves other than drains are carried out.
    pub act: Act,
    /// Sessions that were looked at.
    pub considered: u64,
    /// The moves, in the order they were admitted.
    pub moves: Vec<Move>,
    /// The shadow price of each zone, by zone index.
    pub prices: Vec<u32>,
    /// Where all should live, if capacity binds anywhere.
    pub housing: Option<Housing>,
    /// Regret of the sessions that have any, as of `made_ms`.
    pub regrets: Vec<(SessionKey, f32)>,
    /// How many sessions would be better elsewhere and stay, by what holds them.
    pub held_back: BTreeMap<HeldBack, u64>,
    /// How far each draining zone is.
    pub drains: Vec<DrainState>,
}

/// One move of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The session.
    pub key: SessionKey,
    /// Where it lives by the parent table.
    pub from: ZoneId,
    /// Where it should live.
    pub to: ZoneId,
    /// Why, in a word.
    pub reason: MoveReason,
    /// Why, in numbers.
    pub why: Why,
    /// Whether it is carried out; a plan in shadow only explains it.
    pub carried_out: bool,
}

/// The numbers behind a move.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Why {
    /// The terms of the zone it leaves, per request.
    pub from: Terms,
    /// The terms of the zone it goes to, per request.
    pub to: Terms,
    /// Requests a second.
    pub rate: f64,
    /// Regret gathered so far, microseconds summed over requests.
    pub regret_us: f64,
    /// The one-off cost of the move, in the same unit.
    pub move_us: f64,
}

impl Why {
    /// What each request gains by the move.
    #[must_use]
    pub fn gain_us(&self) -> f64 {
        self.from.total_us() - self.to.total_us()
    }
}

/// What keeps a session that would be better elsewhere where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeldBack {
    /// The gain is not worth speaking of.
    NoGain,
    /// A directive already moves it.
    UnderWay,
    /// Its last handoff was undone.
    Resting,
    /// It would be cheaper elsewhere and belongs where it is: its affinity to its home is over the
    /// policy's threshold.
    Affinity,
    /// Regret has not paid for the move yet.
    Regret,
    /// It came only lately.
    Residence,
    /// It has moved often enough this hour.
    Flaps,
    /// No better zone has room.
    NoRoom,
    /// Enough moves this minute.
    MinuteBudget,
    /// Enough handoffs under way between these two zones.
    PairBudget,
    /// Enough sessions have left its zone for its drag: what that does to it is seen first.
    Pace,
}

impl HeldBack {
    /// The word for people and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoGain => "no_gain",
            Self::UnderWay => "under_way",
            Self::Resting => "resting",
            Self::Affinity => "affinity",
            Self::Regret => "regret",
            Self::Residence => "residence",
            Self::Flaps => "flaps",
            Self::NoRoom => "no_room",
            Self::MinuteBudget => "minute_budget",
            Self::PairBudget => "pair_budget",
            Self::Pace => "pace",
        }
    }
}

/// How far a draining zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainState {
    /// Which.
    pub zone: ZoneId,
    /// Known sessions that still live there.
    pub living: u64,
    /// Of those, under a directive already.
    pub under_way: u64,
    /// Of those, moved by this plan.
    pub planned: u64,
}

/// Makes a plan. The same inputs, seed and time make the same plan.
#[must_use]
pub fn plan(inputs: &Inputs<'_>, seed: u64, now_ms: u64) -> Plan {
    let facts = inputs.table.facts();
    let mut draft = Draft::new(inputs, seed, now_ms);
    draft.housing = housing::house(&draft).map(Cow::Owned);
    draft.plan.prices =
        price::shadow_prices(&facts.zones, inputs.zones, &draft.prices(), &draft.surcharges());
    drain::drains(&mut draft);
    relief::relief(&mut draft);
    regret::regrets(&mut draft);
    Plan { housing: draft.housing.map(Cow::into_owned), ..draft.plan }
}

/// A plan in the making.
struct Draft<'a> {
    inputs: &'a Inputs<'a>,
    scorer: Scorer<'a>,
    room: Room,
    /// Sessions that directives move, and where to.
    under_way: BTreeMap<SessionKey, ZoneId>,
    housing: Option<Cow<'a, Housing>>,
    taken: BTreeSet<SessionKey>,
    seed: u64,
    now_ms: u64,
    plan: Plan,
}

impl<'a> Draft<'a> {
    fn new(inputs: &'a Inputs<'a>, seed: u64, now_ms: u64) -> Self {
        let table = inputs.table;
        let plan = Plan {
            parent: table.version(),
            made_ms: now_ms,
            seed,
            act: table.facts().policy.act,
            considered: inputs.sessions.len() as u64,
            moves: Vec::new(),
            prices: Vec::new(),
            housing: None,
            regrets: Vec::new(),
            held_back: BTreeMap::new(),
            drains: Vec::new(),
        };
        Self {
            inputs,
            scorer: Scorer::new(
                table.facts(),
                inputs.mobility,
                inputs.feedback.corrections(now_ms),
                (inputs.drags, now_ms),
            ),
            room: Room::new(inputs),
            under_way: table.directives().values().map(|d| (d.key, d.to)).collect(),
            housing: inputs.last.map(Cow::Borrowed),
            taken: BTreeSet::new(),
            seed,
            now_ms,
            plan,
        }
    }

    /// Where a session lives by the table, if its zone takes part in plans at all.
    fn home(&self, session: &Profile) -> ZoneId {
        self.inputs.table.home(session.key).zone
    }

    fn intake(&self, zone: ZoneId) -> Intake {
        let zones = &self.inputs.table.facts().zones;
        zones.get(zone.index()).map_or(Intake::Closed, |zone| zone.intake)
    }

    /// The terms of a zone for a session, `coming` to it or there already.
    fn terms(&self, session: &Profile, zone: ZoneId, coming: bool) -> Terms {
        let capacity_us = match (&self.housing, coming) {
            (Some(housing), _) => housing.capacity_us(session, zone, self.now_ms),
            (None, true) => self.room.price_with_one_more(zone),
            (None, false) => self.room.price_as_is(zone),
        };
        self.scorer.terms(session, zone, capacity_us)
    }

    /// What the solution asks of a session that comes to each zone, by zone index; microseconds of
    /// latency a request.
    fn prices(&self) -> Vec<f64> {
        let sessions = self.inputs.sessions;
        let rates: f64 = sessions.iter().map(|s| f64::from(s.rate_at(self.now_ms))).sum();
        let mean_rate = rates / sessions.len().max(1) as f64;
        let zones = self.inputs.table.facts().zones.len();
        let price = |index: usize| {
            let housing = self.housing.as_ref();
            housing.map_or(0.0, |housing| housing.shadow_us(ZoneId(index as u8), mean_rate))
        };
        (0..zones).map(price).collect()
    }

    /// How much longer each zone takes than the table states, by what moves brought, for the
    /// clients that are known: proxies place new sessions by stated round trips. Nothing in shadow.
    fn surcharges(&self) -> Vec<f64> {
        let zones = self.inputs.table.facts().zones.len();
        if self.plan.act != Act::On {
            return vec![0.0; zones];
        }
        let mut places: BTreeMap<PlaceId, f64> = BTreeMap::new();
        for place in self.inputs.sessions.iter().filter_map(|session| session.place) {
            *places.entry(place).or_default() += 1.0;
        }
        (0..zones).map(|index| self.scorer.excess_us(ZoneId(index as u8), &places)).collect()
    }

    /// The best open zone with room for a session, other than the one it lives in: by score, then
    /// by who was given least in this plan, then by the seed.
    fn best_elsewhere(&self, session: &Profile, home: ZoneId) -> Option<(ZoneId, Terms)> {
        if let Some(housing) = &self.housing {
            let may = |to: &ZoneId| {
                *to != home && self.intake(*to) == Intake::Open && self.room.fits_one_more(*to)
            };
            if let Some(to) = housing.wanted.get(&session.key).copied().filter(may) {
                return Some((to, self.terms(session, to, true)));
            }
            // Room may be made where it is wanted; whoever must leave does not wait for that.
            if self.intake(home) != Intake::Draining {
                return None;
            }
        }
        let mut best: Option<(ZoneId, Terms)> = None;
        for zone in self.scorer.open().filter(|zone| *zone != home) {
            if !self.room.fits_one_more(zone) {
                continue;
            }
            let terms = self.terms(session, zone, true);
            let better = best.as_ref().is_none_or(|(best_zone, best_terms)| {
                let by_score = terms.total_us().total_cmp(&best_terms.total_us());
                by_score
                    .then(self.room.given(zone).cmp(&self.room.given(*best_zone)))
                    .then(self.lot(session.key, zone).cmp(&self.lot(session.key, *best_zone)))
                    .is_lt()
            });
            if better {
                best = Some((zone, terms));
            }
        }
        best
    }

    /// A number that breaks ties differently for each session, the same for the same seed.
    fn lot(&self, key: SessionKey, zone: ZoneId) -> u64 {
        let mut x =
            key.low64() ^ self.seed ^ (u64::from(zone.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// The why of moving a session, with its regret as of now.
    fn why(&self, session: &Profile, home: ZoneId, to: Terms) -> Why {
        Why {
            from: self.terms(session, home, false),
            to,
            rate: f64::from(session.rate_at(self.now_ms)),
            regret_us: f64::from(session.regret_at(self.now_ms)),
            move_us: self.scorer.move_us(session, home, self.now_ms),
        }
    }

    fn hold_back(&mut self, why: HeldBack) {
        *self.plan.held_back.entry(why).or_default() += 1;
    }

    /// Books the move if budgets and room allow.
    fn admit(
        &mut self,
        session: &Profile,
        (from, to): (ZoneId, ZoneId),
        reason: MoveReason,
        why: Why,
    ) -> bool {
        let by_operator = reason == MoveReason::Drain;
        if self.plan.moves.len() >= MOVES_PER_PLAN_MAX {
            self.hold_back(HeldBack::MinuteBudget);
            return false;
        }
        if let Err(held) = self.room.book(from, to, by_operator) {
            self.hold_back(held);
            return false;
        }
        self.taken.insert(session.key);
        self.plan.moves.push(Move {
            key: session.key,
            from,
            to,
            reason,
            why,
            carried_out: by_operator || self.plan.act == Act::On,
        });
        true
    }

    /// Why a session may not be moved by any plan now, whatever it would gain.
    fn barred(&self, session: &Profile) -> Option<HeldBack> {
        if self.under_way.contains_key(&session.key) || self.taken.contains(&session.key) {
            return Some(HeldBack::UnderWay);
        }
        self.inputs.resting.contains(&session.key).then_some(HeldBack::Resting)
    }
}

/// The directive that moves a session, if one does.
fn directive_of(table: &PlacementTable, key: SessionKey) -> Option<DirectiveId> {
    let mut directives = table.directives().values();
    directives.find(|d| d.key == key).map(|d| d.id)
}
