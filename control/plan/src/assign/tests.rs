use proptest::prelude::*;

use super::*;

/// An instance that owns its numbers.
#[derive(Clone, Debug)]
struct Owned {
    zones: usize,
    resources: usize,
    costs: Vec<f32>,
    demands: Vec<f32>,
    capacities: Vec<f64>,
    refusals: Vec<f32>,
    from: Option<(Vec<u8>, u64)>,
}

impl Owned {
    fn instance(&self) -> Instance<'_> {
        Instance {
            zones: self.zones,
            resources: self.resources,
            costs: &self.costs,
            demands: &self.demands,
            capacities: &self.capacities,
            refusals: &self.refusals,
            moves: self.from.as_ref().map(|(from, most)| Moves { from, most: *most }),
        }
    }

    fn users(&self) -> usize {
        self.refusals.len()
    }

    /// Loads over capacities, the worst of them.
    fn fullest(&self, zones: &[u8]) -> f64 {
        let mut loads = vec![0.0; self.zones * self.resources];
        for (user, zone) in zones.iter().enumerate().filter(|(_, zone)| **zone != NOWHERE) {
            for resource in 0..self.resources {
                loads[usize::from(*zone) * self.resources + resource] +=
                    f64::from(self.demands[user * self.resources + resource]);
            }
        }
        let full = |(load, capacity): (&f64, &f64)| match *load {
            0.0 => 0.0,
            load => load / capacity,
        };
        loads.iter().zip(&self.capacities).map(full).fold(0.0, f64::max)
    }

    fn cost(&self, zones: &[u8]) -> f64 {
        let of = |(user, zone): (usize, &u8)| match *zone {
            NOWHERE => f64::from(self.refusals[user]),
            zone => f64::from(self.costs[user * self.zones + usize::from(zone)]),
        };
        zones.iter().enumerate().map(of).sum()
    }

    /// The least cost, by trying everything.
    fn least(&self) -> f64 {
        let choices = self.zones + 1;
        let mut least = f64::INFINITY;
        for mut number in 0..choices.pow(self.users() as u32) {
            let zones: Vec<u8> = (0..self.users())
                .map(|_| {
                    let choice = number % choices;
                    number /= choices;
                    if choice == self.zones { NOWHERE } else { choice as u8 }
                })
                .collect();
            let moves = self.from.as_ref().map_or(0, |(from, _)| {
                let moved = |(zone, from): &(&u8, &u8)| {
                    **zone != NOWHERE && **from != NOWHERE && zone != from
                };
                zones.iter().zip(from).filter(moved).count() as u64
            });
            let most = self.from.as_ref().map_or(0, |(_, most)| *most);
            if moves <= most && self.fullest(&zones) <= 1.0 + 1e-9 {
                least = least.min(self.cost(&zones));
            }
        }
        least
    }
}

/// Numbers that look random, from a seed.
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Users around cities that crowd into the best zones, with demands of a heavy tail.
fn crowded(users: usize, zones: usize, resources: usize, fill: f64, seed: u64) -> Owned {
    let mut lots = Lots(seed | 1);
    let places: Vec<f64> = (0..zones).map(|_| lots.next() * 100.0).collect();
    let mut owned = Owned {
        zones,
        resources,
        costs: Vec::new(),
        demands: Vec::new(),
        capacities: Vec::new(),
        refusals: vec![10_000.0; users],
        from: None,
    };
    for _ in 0..users {
        let at = lots.next().powi(2) * 100.0;
        let size = (lots.next() * 2.0).exp();
        owned.costs.extend(places.iter().map(|place| (2.0 + (at - place).abs()) as f32));
        owned.demands.extend((0..resources).map(|_| (size * (0.5 + lots.next())) as f32));
    }
    for _ in 0..zones {
        for resource in 0..resources {
            let all: f32 = owned.demands.iter().skip(resource).step_by(resources).sum();
            owned.capacities.push(f64::from(all) / fill / zones as f64);
        }
    }
    owned
}

#[test]
fn an_assignment_keeps_every_capacity_and_is_near_its_bound() {
    for (resources, fill) in [(1, 0.8), (1, 0.98), (4, 0.8), (4, 0.92)] {
        let owned = crowded(20_000, 12, resources, fill, 7);
        let done = assign(&owned.instance(), None, 1).unwrap();
        assert!(owned.fullest(&done.zones) <= 1.0 + 1e-9);
        assert_eq!((done.refused, done.moves), (0, 0));
        assert!((done.cost - owned.cost(&done.zones)).abs() < 1e-6 * done.cost);
        assert!(done.bound <= done.cost);
        assert!(done.gap() < 0.005, "{resources} resources at {fill}: {}", done.gap());
    }
}

#[test]
fn the_next_assignment_is_near_its_bound_from_the_last_prices() {
    let mut owned = crowded(20_000, 12, 4, 0.92, 7);
    let first = assign(&owned.instance(), None, 1).unwrap();
    for demand in owned.demands.iter_mut().step_by(100) {
        *demand *= 1.5;
    }
    let next = assign(&owned.instance(), Some(&first.prices), 2).unwrap();
    assert!(owned.fullest(&next.zones) <= 1.0 + 1e-9);
    assert!(next.gap() < 0.005, "{}", next.gap());
}

/// Unit demands in one resource: the transportation problem, whose best assignment splits nobody.
#[test]
fn where_nobody_would_be_split_the_best_assignment_is_found_within_a_hundredth() {
    for seed in 1..40 {
        let mut lots = Lots(seed * 7_919);
        let (users, zones) = (60, 4);
        let owned = Owned {
            zones,
            resources: 1,
            costs: (0..users * zones).map(|_| (1.0 + lots.next() * 99.0).round() as f32).collect(),
            demands: vec![1.0; users],
            capacities: vec![16.0; zones],
            refusals: vec![1_000.0; users],
            from: None,
        };
        let done = assign(&owned.instance(), None, seed).unwrap();
        let best = transported(&owned);
        assert!(done.bound <= best + 1e-3 && best <= done.cost + 1e-3, "{seed}");
        assert!(done.cost <= best * 1.01, "{seed}: {} of {best}", done.cost);
    }
}

/// The exact least cost of unit demands: users come one by one, each by the cheapest chain of
/// displacements (successive shortest paths, Bellman-Ford over zones).
fn transported(owned: &Owned) -> f64 {
    let (users, zones) = (owned.users(), owned.zones);
    let cost = |user: usize, zone: usize| f64::from(owned.costs[user * zones + zone]);
    let mut home: Vec<Option<usize>> = vec![None; users];
    for user in 0..users {
        // The cheapest way into each zone, and who is displaced to whom on it.
        let mut way: Vec<(f64, Option<(usize, usize)>)> =
            (0..zones).map(|zone| (cost(user, zone), None)).collect();
        for _ in 0..zones {
            for other in (0..users).filter(|other| home[*other].is_some()) {
                let from = home[other].unwrap();
                for to in 0..zones {
                    let through = way[from].0 + cost(other, to) - cost(other, from);
                    if through + 1e-9 < way[to].0 {
                        way[to] = (through, Some((other, from)));
                    }
                }
            }
        }
        let room = |zone: &usize| {
            let living = home.iter().filter(|home| **home == Some(*zone)).count();
            (living as f64) < owned.capacities[*zone]
        };
        let mut zone =
            (0..zones).filter(room).min_by(|a, b| way[*a].0.total_cmp(&way[*b].0)).unwrap();
        while let Some((other, from)) = way[zone].1 {
            home[other] = Some(zone);
            zone = from;
        }
        home[user] = Some(zone);
    }
    home.iter().enumerate().map(|(user, zone)| cost(user, zone.unwrap())).sum()
}

#[test]
fn who_costs_least_to_refuse_is_refused_where_not_all_fit() {
    let owned = Owned {
        zones: 2,
        resources: 1,
        costs: vec![1.0; 20],
        demands: vec![1.0; 10],
        capacities: vec![3.0, 4.0],
        refusals: (0..10).map(|user| 100.0 + user as f32).collect(),
        from: None,
    };
    let done = assign(&owned.instance(), None, 1).unwrap();
    assert_eq!(done.refused, 3);
    assert_eq!(&done.zones[..3], [NOWHERE; 3]);
}

#[test]
fn nobody_lives_where_it_may_not_or_where_there_is_nothing() {
    let mut owned = crowded(500, 4, 2, 0.5, 3);
    for user in 0..500 {
        owned.costs[user * 4 + user % 4] = f32::INFINITY;
    }
    owned.capacities[2] = 0.0;
    let done = assign(&owned.instance(), None, 1).unwrap();
    assert_eq!(done.refused, 0);
    for (user, zone) in done.zones.iter().enumerate() {
        assert!(usize::from(*zone) != user % 4 && *zone != 1, "{user} in {zone}");
    }
    // With nowhere to go at all, everyone is refused, and that is told.
    owned.capacities = vec![0.0; 8];
    assert_eq!(assign(&owned.instance(), None, 1).unwrap().refused, 500);
}

#[test]
fn moves_stay_within_their_bound_and_go_to_those_who_gain_most() {
    let mut owned = crowded(2_000, 6, 1, 0.7, 5);
    let settled = assign(&owned.instance(), None, 1).unwrap();
    // Everyone one zone further: every one of them would rather move back.
    let from: Vec<u8> = settled.zones.iter().map(|zone| (zone + 1) % 6).collect();
    owned.capacities.iter_mut().for_each(|capacity| *capacity = f64::INFINITY);
    owned.from = Some((from.clone(), 100));
    let done = assign(&owned.instance(), None, 1).unwrap();
    assert!(done.moves <= 100, "{}", done.moves);
    assert!(done.prices.moving > 0.0);
    let gain = |user: usize, zone: u8| owned.costs[user * 6 + usize::from(zone)];
    let gained: f64 = (0..2_000)
        .map(|user| f64::from(gain(user, from[user]) - gain(user, done.zones[user])))
        .sum();
    let mut gains: Vec<f64> = (0..2_000)
        .map(|user| {
            let best = (0..6).map(|zone| gain(user, zone)).fold(f32::INFINITY, f32::min);
            f64::from(gain(user, from[user]) - best)
        })
        .collect();
    gains.sort_by(|a, b| b.total_cmp(a));
    let most: f64 = gains[..100].iter().sum();
    assert!(gained > 0.97 * most, "{gained} of {most}");
}

#[test]
fn prices_make_users_choose_what_they_were_assigned() {
    let owned = crowded(5_000, 8, 1, 0.9, 11);
    let done = assign(&owned.instance(), None, 1).unwrap();
    let chosen = |user: usize| {
        let reduced = |zone: usize| {
            f64::from(owned.costs[user * 8 + zone])
                + done.prices.units[zone] * f64::from(owned.demands[user])
        };
        (0..8).min_by(|a, b| reduced(*a).total_cmp(&reduced(*b))).unwrap() as u8
    };
    let same = (0..5_000).filter(|user| chosen(*user) == done.zones[*user]).count();
    assert!(same > 4_900, "{same}");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let owned = crowded(3, 2, 1, 0.5, 1);
    let told = |spoil: &dyn Fn(&mut Owned)| {
        let mut owned = owned.clone();
        spoil(&mut owned);
        assign(&owned.instance(), None, 1).unwrap_err().to_string()
    };
    assert_eq!(told(&|o| o.costs[3] = f32::NAN), "costs[3] is NaN");
    assert_eq!(told(&|o| o.demands[1] = -1.0), "demands[1] is -1");
    assert_eq!(told(&|o| o.capacities[0] = f64::NAN), "capacities[0] is NaN");
    assert_eq!(told(&|o| o.refusals[2] = f32::INFINITY), "refusals[2] is inf");
    assert_eq!(told(&|o| o.from = Some((vec![0, 1, 9], 1))), "moves.from[2] is 9");
    assert!(told(&|o| o.demands.truncate(2)).contains("2 values, 3 are needed"));
    assert!(told(&|o| o.zones = 0).contains("0 zones"));
}

#[test]
fn nobody_to_assign_is_an_assignment() {
    let empty = crowded(0, 3, 2, 0.5, 1);
    let done = assign(&empty.instance(), None, 1).unwrap();
    assert_eq!((done.zones.len(), done.cost, done.gap()), (0, 0.0, 0.0));
}

fn small() -> impl Strategy<Value = Owned> {
    (1_usize..=3, 1_usize..=2, 1_usize..=6, any::<u64>(), any::<bool>()).prop_map(
        |(zones, resources, users, seed, bounded)| {
            let mut lots = Lots(seed | 1);
            let mut owned = crowded(users, zones, resources, 0.3 + lots.next(), seed);
            owned.refusals.iter_mut().for_each(|cost| *cost = (50.0 + lots.next() * 200.0) as f32);
            if bounded {
                let from = (0..users).map(|user| (user % zones) as u8).collect();
                owned.from = Some((from, (lots.next() * 3.0) as u64));
            }
            owned
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_bound_is_below_and_the_cost_above_what_trying_everything_finds(owned in small()) {
        let done = assign(&owned.instance(), None, 1).unwrap();
        prop_assert!(owned.fullest(&done.zones) <= 1.0 + 1e-6);
        let least = owned.least();
        prop_assert!(done.bound <= least + 1e-3 * least.abs(), "{} over {least}", done.bound);
        let keeps = owned.from.as_ref().is_none_or(|(_, most)| done.moves <= *most);
        prop_assert!(!keeps || done.cost >= least - 1e-3 * least.abs());
        prop_assert_eq!(&done, &assign(&owned.instance(), None, 1).unwrap());
    }
}
