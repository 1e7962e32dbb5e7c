//! The way up the dual: smoothed, on a sample, with the temperature falling; then a few passes over
//! all users, whose exact loads correct the sample's.

use super::{Prices, problem::Problem, solve};

/// Users of the sample.
const SAMPLE: usize = 20_000;
/// A user that takes this share of a zone's capacity is in the sample for itself.
const HEAVY: f64 = 5e-4;
/// Temperatures, as shares of the mean spread of a user's costs.
const HOT: f64 = 0.2;
const COLD: f64 = 0.003;
const COOLING: f64 = 0.4;
/// Newton steps at one temperature.
const STEPS: usize = 6;
/// Loads within this share of the capacities are close enough at one temperature.
const CLOSE: f64 = 2e-3;
/// Passes over all users; from known prices fewer are needed.
const PASSES: usize = 10;
const PASSES_FROM_KNOWN: usize = 3;
/// A bound that a pass raises by less than this share is as good as it gets.
const RAISED: f64 = 1e-5;
/// What a zone's share of a user must be to count in the curvature.
const SHARE_MIN: f64 = 1e-4;

/// Users that stand for all.
struct Sample {
    /// Each with how many it stands for.
    users: Vec<(u32, f64)>,
}

/// The smoothed dual at some prices.
struct Smooth {
    value: f64,
    slope: Vec<f64>,
    /// The negated Hessian.
    curvature: Vec<f64>,
}

/// The best prices found, and the bound they prove.
pub(super) fn climb(problem: &Problem<'_>, start: Option<&Prices>, seed: u64) -> (Vec<f64>, f64) {
    let sample = Sample::draw(problem, seed);
    let spread = sample.spread(problem);
    let cold = spread * COLD;
    let known = start.and_then(|prices| problem.taken(prices));
    let passes = if known.is_some() { PASSES_FROM_KNOWN } else { PASSES };
    let mut heat = if known.is_some() { cold } else { spread * HOT };
    let mut prices = known.unwrap_or_else(|| vec![0.0; problem.rows()]);
    loop {
        for _ in 0..STEPS {
            if !sample.step(problem, &mut prices, heat) {
                break;
            }
        }
        if heat <= cold {
            break;
        }
        heat = (heat * COOLING).max(cold);
    }
    let curvature = sample.smooth(problem, &prices, cold, true).curvature;
    correct(problem, prices, &curvature, passes)
}

/// Passes over all users along the sample's curvature; keeps the prices of the best bound.
fn correct(
    problem: &Problem<'_>,
    mut prices: Vec<f64>,
    curvature: &[f64],
    passes: usize,
) -> (Vec<f64>, f64) {
    let mut loads = vec![0.0; problem.rows()];
    let mut best = (prices.clone(), f64::NEG_INFINITY);
    let mut towards = vec![0.0; problem.rows()];
    let mut stride = 1.0;
    for _ in 0..passes {
        let value = problem.pass(&prices, &mut loads, |_, _| {});
        let raised = value - best.1;
        if raised > 0.0 {
            let settled = raised < best.1.abs() * RAISED;
            best = (prices.clone(), value);
            if settled {
                break;
            }
            let slope: Vec<f64> = excess(problem, &loads);
            towards = solve::direction(curvature, &slope, &free(problem, &prices, &slope));
            stride = 0.8;
        } else {
            stride *= 0.4;
        }
        prices = stepped(&best.0, &towards, stride);
    }
    best
}

fn stepped(prices: &[f64], towards: &[f64], stride: f64) -> Vec<f64> {
    prices.iter().zip(towards).map(|(price, way)| (price + stride * way).max(0.0)).collect()
}

/// Loads over capacities, by row; rows without a bound have none.
fn excess(problem: &Problem<'_>, loads: &[f64]) -> Vec<f64> {
    let over = |(load, capacity): (&f64, &f64)| match capacity.is_finite() {
        true => load - capacity,
        false => 0.0,
    };
    loads.iter().zip(&problem.capacity).map(over).collect()
}

/// Rows whose price may change: those with a bound, but for a price of nothing that wants to fall.
fn free(problem: &Problem<'_>, prices: &[f64], slope: &[f64]) -> Vec<bool> {
    let free = |row: usize| {
        let capacity = problem.capacity[row];
        capacity.is_finite() && capacity > 0.0 && (prices[row] > 0.0 || slope[row] > 0.0)
    };
    (0..prices.len()).map(free).collect()
}

impl Sample {
    fn draw(problem: &Problem<'_>, seed: u64) -> Self {
        let mut heaviest = vec![0.0; problem.resources];
        for (resource, share) in heaviest.iter_mut().enumerate() {
            let zones =
                (0..problem.zones).map(|zone| problem.capacity[problem.row(zone, resource)]);
            *share = zones.filter(|c| *c > 0.0).fold(f64::INFINITY, f64::min) * HEAVY;
        }
        let is_heavy = |user: usize| {
            let mut demand = problem.demand(user).iter().zip(&heaviest);
            demand.any(|(demand, most)| f64::from(*demand) > *most)
        };
        if problem.users <= SAMPLE {
            return Self { users: (0..problem.users as u32).map(|user| (user, 1.0)).collect() };
        }
        let chance = SAMPLE as f64 / problem.users as f64;
        let below = (chance * u64::MAX as f64) as u64;
        let (mut heavy, mut light, mut lights) = (Vec::new(), Vec::new(), 0_u64);
        for user in 0..problem.users {
            // No more heavy ones than the sample has places: then they are no exception.
            if heavy.len() < SAMPLE && is_heavy(user) {
                heavy.push((user as u32, 1.0));
                continue;
            }
            lights += 1;
            if mixed(seed ^ user as u64) < below {
                light.push(user as u32);
            }
        }
        let stands_for = lights as f64 / light.len().max(1) as f64;
        heavy.extend(light.into_iter().map(|user| (user, stands_for)));
        Self { users: heavy }
    }

    /// How far a user's costs lie above its least, in the mean: the scale of the prices.
    fn spread(&self, problem: &Problem<'_>) -> f64 {
        let (mut sum, mut count, mut size) = (0.0, 0.0, 0.0);
        for (user, weight) in &self.users {
            let user = *user as usize;
            let finite = || problem.costs(user).iter().copied().filter(|cost| cost.is_finite());
            let least = f64::from(finite().fold(problem.refusals[user], f32::min));
            size += weight * least.abs();
            for cost in finite() {
                sum += weight * (f64::from(cost) - least);
                count += weight;
            }
        }
        match (sum > 0.0, size > 0.0) {
            (true, _) => sum / count,
            (false, true) => size / count.max(1.0),
            (false, false) => 1.0,
        }
    }

    /// One Newton step up; whether there is more to climb.
    fn step(&self, problem: &Problem<'_>, prices: &mut Vec<f64>, heat: f64) -> bool {
        let here = self.smooth(problem, prices, heat, true);
        let free = free(problem, prices, &here.slope);
        let off = |row: usize| match free[row] {
            true => (here.slope[row] / problem.capacity[row]).abs(),
            false => 0.0,
        };
        if (0..prices.len()).map(off).fold(0.0, f64::max) < CLOSE {
            return false;
        }
        let towards = solve::direction(&here.curvature, &here.slope, &free);
        let mut stride = 1.0;
        for _ in 0..12 {
            let next = stepped(prices, &towards, stride);
            let there = self.smooth(problem, &next, heat, false);
            if there.value > here.value + here.value.abs() * 1e-12 {
                *prices = next;
                return true;
            }
            stride *= 0.4;
        }
        false
    }

    /// The smoothed dual: in place of its cheapest zone each user takes all, by soft minimum.
    fn smooth(&self, problem: &Problem<'_>, prices: &[f64], heat: f64, curved: bool) -> Smooth {
        let (zones, rows) = (problem.zones, problem.rows());
        let narrow: Vec<f32> = prices.iter().map(|price| *price as f32).collect();
        let mut reduced = vec![0.0_f32; zones];
        let mut shares: Vec<(usize, f64)> = Vec::with_capacity(zones);
        let mut loads = vec![0.0; rows];
        let mut curvature = vec![0.0; if curved { rows * rows } else { 0 }];
        let mut value = 0.0;
        for (user, weight) in &self.users {
            let user = *user as usize;
            problem.reduced(user, &narrow, &mut reduced);
            let refusal = problem.refusals[user];
            let least = reduced.iter().copied().fold(refusal, f32::min);
            let part = |cost: f32| (f64::from(least - cost) / heat).exp();
            let mut sum = part(refusal);
            shares.clear();
            for (zone, cost) in reduced.iter().enumerate() {
                let part = part(*cost);
                sum += part;
                if part > SHARE_MIN {
                    shares.push((zone, part));
                }
            }
            value += weight * (f64::from(least) - heat * sum.ln());
            shares.iter_mut().for_each(|(_, share)| *share /= sum);
            add_loads(problem, user, &shares, *weight, &mut loads);
            if curved {
                add_curvature(problem, user, &shares, weight / heat, &mut curvature);
            }
        }
        for row in 0..if curved { rows } else { 0 } {
            for other in 0..row {
                curvature[row * rows + other] = curvature[other * rows + row];
            }
        }
        let value = value - problem.priced_capacity(&narrow);
        Smooth { value, slope: excess(problem, &loads), curvature }
    }
}

fn add_loads(
    problem: &Problem<'_>,
    user: usize,
    shares: &[(usize, f64)],
    weight: f64,
    loads: &mut [f64],
) {
    let from = problem.from(user);
    for (zone, share) in shares {
        let share = share * weight;
        for (resource, demand) in problem.demand(user).iter().enumerate() {
            loads[problem.row(*zone, resource)] += share * f64::from(*demand);
        }
        if from.is_some_and(|from| from != *zone) {
            loads[problem.zones * problem.resources] += share;
        }
    }
}

/// Adds `scale * (diag(P) - P P') (x) d d'` of one user, the upper triangle.
fn add_curvature(
    problem: &Problem<'_>,
    user: usize,
    shares: &[(usize, f64)],
    scale: f64,
    curvature: &mut [f64],
) {
    let (rows, demand) = (problem.rows(), problem.demand(user));
    let moving = problem.zones * problem.resources;
    let from = problem.from(user);
    for (a, share_a) in shares {
        for (b, share_b) in shares {
            let same = if a == b { *share_a } else { 0.0 };
            let scale = scale * (same - share_a * share_b);
            let a_moves = from.is_some_and(|from| from != *a);
            let b_moves = from.is_some_and(|from| from != *b);
            for (resource, demand_a) in demand.iter().enumerate() {
                let row = problem.row(*a, resource);
                let scaled = scale * f64::from(*demand_a);
                for (other, demand_b) in demand.iter().enumerate() {
                    let column = problem.row(*b, other);
                    if column >= row {
                        curvature[row * rows + column] += scaled * f64::from(*demand_b);
                    }
                }
                if b_moves {
                    curvature[row * rows + moving] += scaled;
                }
            }
            if a_moves && b_moves {
                curvature[moving * rows + moving] += scale;
            }
        }
    }
}

/// A number that looks random and depends on nothing but its argument (splitmix64).
fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
