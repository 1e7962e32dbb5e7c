//! An instance that was checked, and the two things everything else asks of it: a user's reduced
//! costs under prices, and the loads of an assignment.

use super::{Instance, InvalidInstance, Moves, NOWHERE, Prices};

/// Zones of an instance.
const ZONES_MAX: usize = 254;
/// Resources of an instance.
const RESOURCES_MAX: usize = 8;
/// Loads are sums of many numbers: this much over a capacity is rounding.
pub(super) const SLACK: f64 = 1e-9;

/// A checked instance. Prices lie by resource, then zone, the price of moving last: a user's
/// reduced costs are then a few sums over whole rows, which compile to vector instructions.
pub(super) struct Problem<'a> {
    pub(super) zones: usize,
    pub(super) resources: usize,
    pub(super) users: usize,
    costs: &'a [f32],
    demands: &'a [f32],
    pub(super) refusals: &'a [f32],
    moves: Option<Moves<'a>>,
    /// By resource, then zone; the bound on moves last.
    pub(super) capacity: Vec<f64>,
    /// Rows of nothing: whoever needs any of it cannot live there, whatever the price.
    closed: Vec<usize>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(instance: &Instance<'a>) -> Result<Self, InvalidInstance> {
        let Instance { zones, resources, costs, demands, capacities, refusals, moves } = *instance;
        if !(1..=ZONES_MAX).contains(&zones) || !(1..=RESOURCES_MAX).contains(&resources) {
            return Err(InvalidInstance::Size { zones, resources });
        }
        let users = refusals.len();
        let from = moves.map_or(&[][..], |moves| moves.from);
        for (what, have, want) in [
            ("costs", costs.len(), users * zones),
            ("demands", demands.len(), users * resources),
            ("capacities", capacities.len(), zones * resources),
            ("moves.from", from.len(), if moves.is_some() { users } else { 0 }),
        ] {
            if have != want {
                return Err(InvalidInstance::Length { what, have, want });
            }
        }
        check("costs", costs, |cost| cost > f32::NEG_INFINITY)?;
        check("demands", demands, |demand| demand >= 0.0 && demand.is_finite())?;
        check("refusals", refusals, f32::is_finite)?;
        if let Some(at) =
            capacities.iter().position(|capacity| capacity.is_nan() || *capacity < 0.0)
        {
            return Err(InvalidInstance::Value { what: "capacities", at, value: capacities[at] });
        }
        let known = |zone: &u8| *zone == NOWHERE || usize::from(*zone) < zones;
        if let Some(at) = from.iter().position(|zone| !known(zone)) {
            let value = f64::from(from[at]);
            return Err(InvalidInstance::Value { what: "moves.from", at, value });
        }
        let mut capacity = vec![0.0; zones * resources];
        for (at, value) in capacities.iter().enumerate() {
            capacity[at % resources * zones + at / resources] = *value;
        }
        let closed = (0..capacity.len()).filter(|row| capacity[*row] == 0.0).collect();
        capacity.extend(moves.map(|moves| moves.most as f64));
        Ok(Self { zones, resources, users, costs, demands, refusals, moves, capacity, closed })
    }

    /// Prices: one a row.
    pub(super) fn rows(&self) -> usize {
        self.capacity.len()
    }

    pub(super) fn demand(&self, user: usize) -> &'a [f32] {
        &self.demands[user * self.resources..][..self.resources]
    }

    /// The costs of a user, by zone.
    pub(super) fn costs(&self, user: usize) -> &'a [f32] {
        &self.costs[user * self.zones..][..self.zones]
    }

    /// Where a user lives, if moving from there is priced.
    pub(super) fn from(&self, user: usize) -> Option<usize> {
        let zone = self.moves.map(|moves| moves.from[user])?;
        (zone != NOWHERE).then_some(usize::from(zone))
    }

    pub(super) fn is_move(&self, user: usize, zone: u8) -> bool {
        zone != NOWHERE && self.from(user).is_some_and(|from| from != usize::from(zone))
    }

    /// How many users may move.
    pub(super) fn moves_most(&self) -> Option<u64> {
        self.moves.map(|moves| moves.most)
    }

    /// The row of a resource in a zone.
    pub(super) fn row(&self, zone: usize, resource: usize) -> usize {
        resource * self.zones + zone
    }

    /// A user's cost in each zone with what its demand costs there.
    pub(super) fn reduced(&self, user: usize, prices: &[f32], into: &mut [f32]) {
        into.copy_from_slice(self.costs(user));
        let demand = self.demand(user);
        for (demand, prices) in demand.iter().zip(prices.chunks_exact(self.zones)) {
            for (sum, price) in into.iter_mut().zip(prices) {
                *sum += price * demand;
            }
        }
        if let Some(from) = self.from(user) {
            let stays = into[from];
            let moving = prices[self.zones * self.resources];
            into.iter_mut().for_each(|sum| *sum += moving);
            into[from] = stays;
        }
        for row in &self.closed {
            if demand[row / self.zones] > 0.0 {
                into[row % self.zones] = f32::INFINITY;
            }
        }
    }

    /// Each user's cheapest zone under prices, refused where that is cheaper still.
    pub(super) fn cheapest(&self, prices: &[f64]) -> Vec<u8> {
        let mut zones = vec![NOWHERE; self.users];
        self.pass(prices, &mut vec![0.0; self.rows()], |user, zone| zones[user] = zone);
        zones
    }

    /// The dual value of prices, and by the way each user's cheapest zone and the loads of that.
    pub(super) fn pass(
        &self,
        prices: &[f64],
        loads: &mut [f64],
        mut told: impl FnMut(usize, u8),
    ) -> f64 {
        let prices: Vec<f32> = prices.iter().map(|price| *price as f32).collect();
        let mut reduced = vec![0.0; self.zones];
        let mut value = 0.0;
        loads.fill(0.0);
        for user in 0..self.users {
            self.reduced(user, &prices, &mut reduced);
            let (mut zone, mut least) = (NOWHERE, self.refusals[user]);
            for (index, sum) in reduced.iter().enumerate() {
                if *sum < least {
                    (zone, least) = (index as u8, *sum);
                }
            }
            value += f64::from(least);
            self.load(user, zone, 1.0, loads);
            told(user, zone);
        }
        value - self.priced_capacity(&prices)
    }

    /// Adds a user's demand to the loads of its zone, or takes it away again.
    pub(super) fn load(&self, user: usize, zone: u8, sign: f64, loads: &mut [f64]) {
        if zone == NOWHERE {
            return;
        }
        for (resource, demand) in self.demand(user).iter().enumerate() {
            loads[self.row(usize::from(zone), resource)] += sign * f64::from(*demand);
        }
        if self.is_move(user, zone) {
            loads[self.zones * self.resources] += sign;
        }
    }

    /// What all capacity costs; rows without a bound have no price.
    pub(super) fn priced_capacity(&self, prices: &[f32]) -> f64 {
        let rows = prices.iter().zip(&self.capacity).filter(|(price, _)| **price > 0.0);
        rows.map(|(price, capacity)| f64::from(*price) * capacity).sum()
    }

    /// Whether a user fits in a zone beside these loads.
    pub(super) fn fits(&self, user: usize, zone: usize, loads: &[f64]) -> bool {
        self.demand(user).iter().enumerate().all(|(resource, demand)| {
            let row = self.row(zone, resource);
            loads[row] + f64::from(*demand) <= self.capacity[row] * (1.0 + SLACK)
        })
    }

    pub(super) fn cost(&self, zones: &[u8]) -> f64 {
        let of = |(user, zone): (usize, &u8)| match *zone {
            NOWHERE => f64::from(self.refusals[user]),
            zone => f64::from(self.costs(user)[usize::from(zone)]),
        };
        zones.iter().enumerate().map(of).sum()
    }

    /// Prices as callers have them.
    pub(super) fn told(&self, prices: &[f64]) -> Prices {
        let places = (0..self.zones).flat_map(|zone| (0..self.resources).map(move |q| (zone, q)));
        Prices {
            units: places.map(|(zone, resource)| prices[self.row(zone, resource)]).collect(),
            moving: self.moves.map_or(0.0, |_| prices[self.zones * self.resources]),
        }
    }

    /// Prices of an earlier assignment, if they are of as many zones and resources.
    pub(super) fn taken(&self, prices: &Prices) -> Option<Vec<f64>> {
        let Prices { units, moving } = prices;
        let sound = units.iter().chain([moving]).all(|price| price.is_finite() && *price >= 0.0);
        if units.len() != self.zones * self.resources || !sound {
            return None;
        }
        let mut taken = vec![0.0; self.rows()];
        for (at, price) in units.iter().enumerate() {
            let row = self.row(at / self.resources, at % self.resources);
            taken[row] = if self.capacity[row].is_finite() { *price } else { 0.0 };
        }
        if self.moves.is_some() {
            taken[self.zones * self.resources] = *moving;
        }
        Some(taken)
    }
}

fn check(
    what: &'static str,
    values: &[f32],
    holds: impl Fn(f32) -> bool,
) -> Result<(), InvalidInstance> {
    match values.iter().position(|value| !holds(*value)) {
        Some(at) => Err(InvalidInstance::Value { what, at, value: values[at].into() }),
        None => Ok(()),
    }
}
