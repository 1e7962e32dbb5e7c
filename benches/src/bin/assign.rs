//! How long it takes to say where a million users should live, how far that is from the best
//! possible, and what first-fit would have cost. Cold, then again from the last prices after one
//! user in a hundred has changed. One thread.
//!
//! `cargo run --release -p homing-bench --bin assign`

use std::time::Instant;

use clap::Parser;
use homing_plan::assign::{Assignment, Instance, assign};

/// Measure the assignment.
#[derive(Parser)]
struct Arguments {
    /// Users.
    #[arg(long, default_value_t = 1_000_000)]
    users: usize,
    /// Zones.
    #[arg(long, default_value_t = 20)]
    zones: usize,
    /// Seed of the instances.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Users that crowd around cities, with demands of a heavy tail, over zones of uneven size.
struct Crowd {
    zones: usize,
    resources: usize,
    costs: Vec<f32>,
    demands: Vec<f32>,
    capacities: Vec<f64>,
    refusals: Vec<f32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { users, zones, seed } = Arguments::parse();
    println!("{users} users, {zones} zones, one thread");
    println!("resources  full   cold s  gap %     warm s  gap %     first-fit gap %  feasible");
    for (resources, fill) in [(1, 0.8), (1, 0.92), (1, 0.98), (4, 0.8), (4, 0.92), (4, 0.98)] {
        let mut crowd = Crowd::new(users, zones, resources, fill, seed);
        let (first, cold_s) = timed(|| assign(&crowd.instance(), None, seed))?;
        let greedy = crowd.first_fit() / first.bound - 1.0;
        crowd.change();
        let (next, warm_s) = timed(|| assign(&crowd.instance(), Some(&first.prices), seed))?;
        let feasible = crowd.keeps(&next);
        println!(
            "{resources:<9}  {fill:.2}  {cold_s:7.2}  {:.4}    {warm_s:7.2}  {:.4}    {:<15.1}  {}",
            first.gap() * 100.0,
            next.gap() * 100.0,
            greedy * 100.0,
            if feasible { "yes" } else { "NO" },
        );
    }
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, f64), E> {
    let begun = Instant::now();
    Ok((work()?, begun.elapsed().as_secs_f64()))
}

impl Crowd {
    fn new(users: usize, zones: usize, resources: usize, fill: f64, seed: u64) -> Self {
        let mut lots = Lots(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let at: Vec<(f64, f64, f64)> = (0..zones)
            .map(|_| (lots.next() * 4_000.0, lots.next() * 2_500.0, 0.5 + lots.next() * 1.5))
            .collect();
        let cities: Vec<(f64, f64)> =
            (0..60).map(|_| (lots.next() * 4_000.0, lots.next() * 2_500.0)).collect();
        let mut crowd = Self {
            zones,
            resources,
            costs: Vec::with_capacity(users * zones),
            demands: Vec::with_capacity(users * resources),
            capacities: Vec::new(),
            refusals: vec![1e6; users],
        };
        for _ in 0..users {
            // The first cities are the largest.
            let city = cities[(lots.next().powi(3) * 60.0) as usize];
            let (x, y) = (city.0 + 60.0 * lots.normal(), city.1 + 60.0 * lots.normal());
            let size = lots.normal().exp();
            let demand: Vec<f64> =
                (0..resources).map(|_| size * (0.3 * lots.normal()).exp()).collect();
            let (home, stay) = ((lots.next() * zones as f64) as usize, lots.next() * 3.0);
            for (zone, (zx, zy, price)) in at.iter().enumerate() {
                let km = ((x - zx).powi(2) + (y - zy).powi(2)).sqrt();
                let moves = if zone == home { 0.0 } else { stay };
                let cost = (2.0 + km * 0.02) * size.powf(0.7) + 1.2 * price * demand[0] + moves;
                crowd.costs.push(cost as f32);
            }
            crowd.demands.extend(demand.iter().map(|demand| *demand as f32));
        }
        let sizes: Vec<f64> = (0..zones).map(|_| 0.4 + lots.next() * 1.2).collect();
        let all: f64 = sizes.iter().sum();
        for size in sizes {
            for resource in 0..resources {
                let of_all = crowd.demands.iter().skip(resource).step_by(resources);
                let sum: f64 = of_all.map(|demand| f64::from(*demand)).sum();
                crowd.capacities.push(sum / fill * size / all);
            }
        }
        crowd
    }

    fn instance(&self) -> Instance<'_> {
        Instance {
            zones: self.zones,
            resources: self.resources,
            costs: &self.costs,
            demands: &self.demands,
            capacities: &self.capacities,
            refusals: &self.refusals,
            moves: None,
        }
    }

    /// One user in a hundred takes half as much again or a third less, and likes another zone.
    fn change(&mut self) {
        for user in (0..self.refusals.len()).step_by(100) {
            let factor = if user % 200 == 0 { 1.5 } else { 0.66 };
            let demands = &mut self.demands[user * self.resources..][..self.resources];
            demands.iter_mut().for_each(|demand| *demand *= factor);
            self.costs[user * self.zones..][..self.zones].rotate_left(1);
        }
    }

    fn keeps(&self, done: &Assignment) -> bool {
        let mut loads = vec![0.0; self.capacities.len()];
        for (user, zone) in done.zones.iter().enumerate() {
            for resource in 0..self.resources {
                loads[usize::from(*zone) * self.resources + resource] +=
                    f64::from(self.demands[user * self.resources + resource]);
            }
        }
        done.refused == 0
            && loads.iter().zip(&self.capacities).all(|(load, most)| *load <= most * (1.0 + 1e-6))
    }

    /// Users in order, each into the cheapest zone that has room. Whoever finds none costs nothing.
    fn first_fit(&self) -> f64 {
        let mut loads = vec![0.0; self.capacities.len()];
        let mut cost = 0.0;
        for user in 0..self.refusals.len() {
            let demands = &self.demands[user * self.resources..][..self.resources];
            let row = |zone: usize| zone * self.resources..(zone + 1) * self.resources;
            let fits = |zone: &usize| {
                let room = self.capacities[row(*zone)].iter().zip(&loads[row(*zone)]);
                room.zip(demands).all(|((most, load), demand)| load + f64::from(*demand) <= *most)
            };
            let costs = &self.costs[user * self.zones..][..self.zones];
            let best = (0..self.zones).filter(fits).min_by(|a, b| costs[*a].total_cmp(&costs[*b]));
            let Some(zone) = best else { continue };
            cost += f64::from(costs[zone]);
            for (load, demand) in loads[row(zone)].iter_mut().zip(demands) {
                *load += f64::from(*demand);
            }
        }
        cost
    }
}

/// Numbers that look random, from a seed (xorshift).
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.next().max(1e-12), self.next());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}
