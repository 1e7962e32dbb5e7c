//! Where all sessions should live by one solution for all of them, where capacity makes one's gain
//! another's loss. What it wants is only wanted: a session still moves by its own regret, within
//! every budget. Where no zone states a capacity each session is best served by itself, and
//! nothing is solved.

use std::collections::BTreeMap;

use homing_wire::{Capacity, Intake, SessionKey, ZoneId};

use super::Draft;
use crate::{
    assign::{Instance, NOWHERE, Prices, assign},
    profile::Profile,
    score::demand,
};

/// Resources that zones state and sessions are known to take: sessions, CPU, bandwidth.
const RESOURCES: usize = 3;
/// A move must have paid for itself after this long.
const HORIZON_S: f64 = 900.0;
/// A session without requests weighs as much as one with this many a second.
const RATE_MIN: f64 = 0.001;
/// The cost of a session without a zone, microseconds of latency a request: beyond any distance.
const REFUSED_US: f64 = 10_000_000.0;
/// What the sessions lose now must be more than this share for a solution to be worth moves.
const WORTH: f64 = 1e-3;

/// One solution.
#[derive(Clone, Debug, PartialEq)]
pub struct Housing {
    /// Sessions that should live elsewhere, and where.
    pub wanted: BTreeMap<SessionKey, ZoneId>,
    /// What a unit of each resource is worth, microseconds of latency a second; by zone, then
    /// sessions, thousandths of a core and bits a second, each over its mean demand.
    pub prices: Prices,
    /// The mean demand of a session for each resource.
    pub mean: [f64; RESOURCES],
    /// How far the solution may be from the best, as a share.
    pub gap: f64,
    /// Sessions that fit nowhere.
    pub refused: u64,
}

impl Housing {
    /// What a session pays for its place in a zone, microseconds of latency a request.
    pub(super) fn capacity_us(&self, session: &Profile, zone: ZoneId, now_ms: u64) -> f64 {
        let units = self.prices.units.get(zone.index() * RESOURCES..).unwrap_or_default();
        let demand = demand(session, now_ms);
        let taken = demand.iter().zip(self.mean).map(|(demand, mean)| demand / mean);
        let paid: f64 = taken.zip(units).map(|(taken, unit)| taken * unit).sum();
        paid / f64::from(session.rate_at(now_ms)).max(RATE_MIN)
    }

    /// What a session of the mean demand pays, microseconds a request at the mean rate.
    pub(super) fn shadow_us(&self, zone: ZoneId, mean_rate: f64) -> f64 {
        let units = self.prices.units.get(zone.index() * RESOURCES..).unwrap_or_default();
        units.iter().take(RESOURCES).sum::<f64>() / mean_rate.max(RATE_MIN)
    }
}

/// Solves for all sessions, from the prices of the last solution. `None` where nothing binds.
pub(super) fn house(draft: &Draft<'_>) -> Option<Housing> {
    let facts = draft.inputs.table.facts();
    let zones = facts.zones.len();
    let bounded = |capacity: &Capacity| {
        capacity.sessions > 0 || capacity.cpu_milli > 0 || capacity.bandwidth_bps > 0
    };
    if draft.inputs.sessions.is_empty() || !facts.zones.iter().any(|z| bounded(&z.capacity)) {
        return None;
    }
    // In an order of their own, so that the same sessions get the same solution.
    let mut sessions: Vec<&Profile> = draft.inputs.sessions.iter().collect();
    sessions.sort_unstable_by_key(|session| session.key);
    let demands: Vec<[f64; RESOURCES]> =
        sessions.iter().map(|session| demand(session, draft.now_ms)).collect();
    let mut mean = [0.0; RESOURCES];
    for (resource, mean) in mean.iter_mut().enumerate() {
        let sum: f64 = demands.iter().map(|demand| demand[resource]).sum();
        *mean = (sum / demands.len() as f64).max(f64::MIN_POSITIVE);
    }
    // Who is on the way is where it will be.
    let home = |session: &&Profile| {
        draft.under_way.get(&session.key).copied().unwrap_or_else(|| draft.home(session))
    };
    let homes: Vec<ZoneId> = sessions.iter().map(home).collect();
    let mut costs = Vec::with_capacity(sessions.len() * zones);
    for (session, home) in sessions.iter().zip(&homes) {
        draft.housing_costs(session, *home, &mut costs);
    }
    let scaled = |demand: [f64; RESOURCES]| {
        demand.into_iter().zip(mean).map(|(demand, mean)| (demand / mean) as f32)
    };
    let demands: Vec<f32> = demands.into_iter().flat_map(scaled).collect();
    let refusals: Vec<f32> = sessions
        .iter()
        .map(|session| (rate(session, draft.now_ms) * REFUSED_US + REFUSED_US) as f32)
        .collect();
    let capacities = capacities(draft, &homes, &mean);
    let instance = Instance {
        zones,
        resources: RESOURCES,
        costs: &costs,
        demands: &demands,
        capacities: &capacities,
        refusals: &refusals,
        moves: None,
    };
    let start = draft.inputs.last.map(|last| &last.prices);
    // All of it was computed here from numbers that the table and the records bound.
    let done = assign(&instance, start, draft.seed).ok()?;
    let stays = |user: usize| costs[user * zones + homes[user].index()];
    let cost = |user: usize| match done.zones[user] {
        NOWHERE => refusals[user],
        zone => costs[user * zones + usize::from(zone)],
    };
    // Whoever must leave tells nothing of what the others gain.
    let may_stay = || (0..homes.len()).filter(|user| stays(*user).is_finite());
    let now: f64 = may_stay().map(|user| f64::from(stays(user))).sum();
    let then: f64 = may_stay().map(|user| f64::from(cost(user))).sum();
    let is_better = now - then > WORTH * now.abs() || !keeps(&homes, &demands, &capacities);
    let moves = |(user, zone): (usize, &u8)| {
        let to = ZoneId(*zone);
        let moves = *zone != NOWHERE && to != homes[user];
        (moves && (is_better || stays(user).is_infinite())).then(|| (sessions[user].key, to))
    };
    let wanted = done.zones.iter().enumerate().filter_map(moves).collect();
    let (gap, refused) = (done.gap(), done.refused);
    Some(Housing { wanted, prices: done.prices, mean, gap, refused })
}

fn rate(session: &Profile, now_ms: u64) -> f64 {
    f64::from(session.rate_at(now_ms)).max(RATE_MIN)
}

/// Whether everyone's home has room for all who live there.
fn keeps(homes: &[ZoneId], demands: &[f32], capacities: &[f64]) -> bool {
    let mut loads = vec![0.0; capacities.len()];
    for (home, demands) in homes.iter().zip(demands.chunks_exact(RESOURCES)) {
        let rows = loads.get_mut(home.index() * RESOURCES..).unwrap_or_default();
        for (load, demand) in rows.iter_mut().zip(demands) {
            *load += f64::from(*demand);
        }
    }
    loads.iter().zip(capacities).all(|(load, capacity)| *load <= capacity * (1.0 + 1e-6))
}

/// What each zone has for the sessions that are known, over the mean demand. Sessions that proxies
/// count and control does not know take their places too.
fn capacities(draft: &Draft<'_>, homes: &[ZoneId], mean: &[f64; RESOURCES]) -> Vec<f64> {
    let facts = draft.inputs.table.facts();
    let mut known = vec![0_u64; facts.zones.len()];
    for home in homes {
        if let Some(count) = known.get_mut(home.index()) {
            *count += 1;
        }
    }
    let mut capacities = Vec::with_capacity(facts.zones.len() * RESOURCES);
    for (index, zone) in facts.zones.iter().enumerate() {
        let living = draft.inputs.zones.get(index).map_or(0, |state| state.living);
        let unknown = living.saturating_sub(known[index]) as f64;
        let Capacity { sessions, cpu_milli, bandwidth_bps, .. } = zone.capacity;
        for (stated, mean) in [sessions, cpu_milli, bandwidth_bps].into_iter().zip(mean) {
            capacities.push(match stated {
                0 => f64::INFINITY,
                stated => (stated as f64 / mean - unknown).max(0.0),
            });
        }
    }
    capacities
}

impl Draft<'_> {
    /// A session's cost in each zone, microseconds of latency a second; infinite where it may not
    /// go. Who is being moved has no choice.
    fn housing_costs(&self, session: &Profile, home: ZoneId, costs: &mut Vec<f32>) {
        let rate = rate(session, self.now_ms);
        let move_us = self.scorer.move_us(session, home, self.now_ms) / HORIZON_S;
        let under_way = self.under_way.get(&session.key);
        for zone in (0..self.inputs.table.facts().zones.len()).map(|index| ZoneId(index as u8)) {
            let may = match (under_way, self.intake(zone)) {
                (Some(to), _) => *to == zone,
                (None, Intake::Open) => true,
                (None, Intake::Draining) => false,
                (None, Intake::Closed) => zone == home,
            };
            let terms = self.scorer.terms(session, zone, 0.0).total_us();
            let moving = if zone == home { 0.0 } else { move_us };
            costs.push(if may { (terms * rate + moving) as f32 } else { f32::INFINITY });
        }
    }
}
