//! From each user's cheapest zone to an assignment that keeps every capacity: users whose leaving
//! costs least for the relief it brings go first, into room that exists; then whoever would rather
//! live where room is left moves there.

use super::{
    NOWHERE,
    problem::{Problem, SLACK},
};

/// Rounds of relief. Each ends with the rooms it found taken, so a few are needed.
const ROUNDS: usize = 64;
/// Passes that move users into room that is left.
const REFILLS: usize = 2;

/// A user that may leave a zone over its capacity.
struct Leaver {
    /// What its leaving costs, for each share of the capacity that it frees.
    cost: f32,
    user: u32,
    to: u8,
}

struct Repair<'a> {
    problem: &'a Problem<'a>,
    prices: Vec<f32>,
    loads: Vec<f64>,
    reduced: Vec<f32>,
}

/// Makes an assignment keep all capacities, and cheaper where room is left.
pub(super) fn repair(problem: &Problem<'_>, prices: &[f64], zones: &mut [u8]) {
    let mut loads = vec![0.0; problem.rows()];
    for (user, zone) in zones.iter().enumerate() {
        problem.load(user, *zone, 1.0, &mut loads);
    }
    let prices = prices.iter().map(|price| *price as f32).collect();
    let mut repair = Repair { problem, prices, loads, reduced: vec![0.0; problem.zones] };
    for _ in 0..ROUNDS {
        let leavers = repair.leavers(zones);
        if leavers.is_empty() {
            break;
        }
        repair.relieve(zones, leavers);
    }
    repair.stay(zones);
    for _ in 0..REFILLS {
        repair.refill(zones);
    }
}

impl Repair<'_> {
    fn is_over(&self, zone: usize) -> bool {
        (0..self.problem.resources).any(|resource| self.over(zone, resource) > 0.0)
    }

    /// How far a zone is over its capacity in a resource, as a share of it.
    fn over(&self, zone: usize, resource: usize) -> f64 {
        let row = self.problem.row(zone, resource);
        let capacity = self.problem.capacity[row];
        match self.loads[row] > capacity * (1.0 + SLACK) {
            true => (self.loads[row] - capacity) / capacity.max(f64::MIN_POSITIVE),
            false => 0.0,
        }
    }

    /// Users of zones over their capacity, each with the best room it has, cheapest first.
    fn leavers(&mut self, zones: &[u8]) -> Vec<Leaver> {
        let problem = self.problem;
        let over: Vec<bool> = (0..problem.zones).map(|zone| self.is_over(zone)).collect();
        let mut leavers = Vec::new();
        if !over.contains(&true) {
            return leavers;
        }
        for (user, zone) in zones.iter().enumerate() {
            let here = usize::from(*zone);
            if *zone == NOWHERE || !over[here] {
                continue;
            }
            let relief = self.relief(user, here);
            if relief <= 0.0 {
                continue;
            }
            problem.reduced(user, &self.prices, &mut self.reduced);
            let (mut to, mut least) = (NOWHERE, problem.refusals[user]);
            for (other, cost) in self.reduced.iter().enumerate() {
                if *cost < least && !over[other] && problem.fits(user, other, &self.loads) {
                    (to, least) = (other as u8, *cost);
                }
            }
            let cost = (least - self.reduced[here]) / relief as f32;
            leavers.push(Leaver { cost, user: user as u32, to });
        }
        leavers.sort_unstable_by(|a, b| a.cost.total_cmp(&b.cost).then(a.user.cmp(&b.user)));
        leavers
    }

    /// The share of what a zone has too much of that a user takes with it.
    fn relief(&self, user: usize, zone: usize) -> f64 {
        let problem = self.problem;
        let relief = |(resource, demand): (usize, &f32)| match self.over(zone, resource) > 0.0 {
            true => f64::from(*demand) / problem.capacity[problem.row(zone, resource)].max(1e-300),
            false => 0.0,
        };
        problem.demand(user).iter().enumerate().map(relief).sum()
    }

    /// Moves leavers into room; refuses some only where a round finds no more room at all, for
    /// one round's moves may make the next one's.
    fn relieve(&mut self, zones: &mut [u8], leavers: Vec<Leaver>) {
        let (housed, homeless): (Vec<_>, Vec<_>) =
            leavers.into_iter().partition(|leaver| leaver.to != NOWHERE);
        let mut relieved = false;
        for leaver in housed.iter().chain(&homeless) {
            let (user, to) = (leaver.user as usize, leaver.to);
            if to == NOWHERE && relieved {
                return;
            }
            let fits = to == NOWHERE || self.problem.fits(user, usize::from(to), &self.loads);
            if fits && self.is_over(usize::from(zones[user])) {
                self.put(zones, user, to);
                relieved |= to != NOWHERE;
            }
        }
    }

    fn put(&mut self, zones: &mut [u8], user: usize, to: u8) {
        self.problem.load(user, zones[user], -1.0, &mut self.loads);
        self.problem.load(user, to, 1.0, &mut self.loads);
        zones[user] = to;
    }

    /// Sends users back to where they live, those that gain least by moving first, until no more
    /// move than may.
    fn stay(&mut self, zones: &mut [u8]) {
        let problem = self.problem;
        let Some(most) = problem.moves_most() else { return };
        let mut movers: Vec<(f32, usize, usize)> = Vec::new();
        for (user, zone) in zones.iter().enumerate() {
            if let (true, Some(from)) = (problem.is_move(user, *zone), problem.from(user)) {
                let costs = problem.costs(user);
                movers.push((costs[from] - costs[usize::from(*zone)], user, from));
            }
        }
        let mut excess = (movers.len() as u64).saturating_sub(most);
        movers.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (gain, user, from) in movers {
            if excess == 0 {
                return;
            }
            if gain.is_finite() && problem.fits(user, from, &self.loads) {
                self.put(zones, user, from as u8);
                excess -= 1;
            }
        }
    }

    /// Moves each user to the cheapest zone that has room, if that is cheaper than where it is.
    /// Where moves are bounded, those that gain most get what is left of them.
    fn refill(&mut self, zones: &mut [u8]) {
        let problem = self.problem;
        let mut movers = Vec::new();
        for user in 0..zones.len() {
            let (to, gain) = self.better(zones, user);
            if gain > 0.0 && self.starts_move(zones, user, to) {
                movers.push((gain, user));
            } else if gain > 0.0 {
                self.put(zones, user, to);
            }
        }
        let Some(most) = problem.moves_most() else { return };
        let moving = zones.iter().enumerate().filter(|(user, zone)| problem.is_move(*user, **zone));
        let mut left = most.saturating_sub(moving.count() as u64);
        movers.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (_, user) in movers {
            let (to, gain) = self.better(zones, user);
            if left > 0 && gain > 0.0 {
                left -= u64::from(self.starts_move(zones, user, to));
                self.put(zones, user, to);
            }
        }
    }

    /// Whether a user that stays would move.
    fn starts_move(&self, zones: &[u8], user: usize, to: u8) -> bool {
        self.problem.is_move(user, to) && !self.problem.is_move(user, zones[user])
    }

    /// The cheapest zone with room for a user, and what it gains there.
    fn better(&self, zones: &[u8], user: usize) -> (u8, f32) {
        let here = zones[user];
        let costs = self.problem.costs(user);
        let now = match here {
            NOWHERE => self.problem.refusals[user],
            here => costs[usize::from(here)],
        };
        let (mut to, mut least) = (here, now);
        for (other, cost) in costs.iter().enumerate() {
            if *cost < least && self.problem.fits(user, other, &self.loads) {
                (to, least) = (other as u8, *cost);
            }
        }
        (to, now - least)
    }
}
