use homing_wire::{
    Capacity, Intake, KeySource, LongLived, Match, Policy, Price, Service, ServiceId, SessionKey,
    SessionSource, StateSpec, TrafficLimits, Zone, ZoneId, table::Facts,
};

use super::*;

fn endpoint(port: u16, weight: u16) -> Endpoint {
    Endpoint { address: format!("127.0.0.1:{port}"), weight, protocol: UpstreamProtocol::H1 }
}

fn facts(endpoints: Vec<Endpoint>) -> Facts {
    let zone = Zone {
        name: "paris".to_owned(),
        location: None,
        endpoints,
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    };
    let service = Service {
        name: "shop".to_owned(),
        tenant: "default".to_owned(),
        matches: Match { hosts: Vec::new(), path_prefix: "/".to_owned() },
        session: SessionSource {
            from: vec![KeySource::Header { name: "x".to_owned() }],
            idle_ms: 1,
        },
        state: StateSpec::Stateless,
        long_lived: LongLived::Drain,
        cache: None,
        idempotency: false,
        lease_lost: homing_wire::LeaseLost::Stop,
        tier: homing_wire::Tier::T0,
        endpoints: Vec::new(),
        health: None,
        limits: TrafficLimits::default(),
    };
    let policy = Policy::default();
    Facts { zones: vec![zone], services: vec![service], places: Vec::new(), policy }
}

fn pick(sets: &EndpointSets, key: u128, tried: &[Arc<Upstream>]) -> Option<Arc<Upstream>> {
    // Session keys are hashes; a test's counter is spread to look like one.
    let key = SessionKey(key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    sets.pick(ServiceId(0), ZoneId(0), key, tried)
}

/// Lets `times` calls to an upstream fail, at 0 ms.
fn fail(sets: &EndpointSets, upstream: &Upstream, times: u32) {
    for _ in 0..times {
        upstream.begin();
        sets.end(ServiceId(0), ZoneId(0), upstream, Call::Failed, 0);
    }
}

#[test]
fn sessions_stick_and_spread_by_weight() {
    let pool = EndpointPool::default();
    let sets = EndpointSets::compile(&facts(vec![endpoint(1, 1), endpoint(2, 3)]), &pool);
    let mut heavy = 0;
    for key in 0..10_000 {
        let first = pick(&sets, key, &[]).unwrap();
        assert!(Arc::ptr_eq(&first, &pick(&sets, key, &[]).unwrap()));
        heavy += u32::from(first.endpoint.address.ends_with(":2"));
    }
    assert!((7_200..7_800).contains(&heavy), "{heavy}");
}

#[test]
fn one_that_leaves_moves_its_own_sessions_only() {
    let pool = EndpointPool::default();
    let three = vec![endpoint(1, 1), endpoint(2, 1), endpoint(3, 1)];
    let sets = EndpointSets::compile(&facts(three), &pool);
    let before: Vec<_> = (0..1_000).map(|key| pick(&sets, key, &[]).unwrap()).collect();
    let gone = Arc::clone(&before[0]);
    fail(&sets, &gone, 3);
    assert_eq!(gone.fitness(), Fitness::Ejected);
    for (key, home) in before.iter().enumerate() {
        let now = pick(&sets, key as u128, &[]).unwrap();
        assert!(!Arc::ptr_eq(&now, &gone));
        assert!(Arc::ptr_eq(&now, home) || Arc::ptr_eq(home, &gone));
    }
    assert_eq!(gone.in_flight(), 0);
}

#[test]
fn tried_ones_are_passed_over_until_none_is_left() {
    let pool = EndpointPool::default();
    let sets = EndpointSets::compile(&facts(vec![endpoint(1, 1), endpoint(2, 1)]), &pool);
    let first = pick(&sets, 1, &[]).unwrap();
    let second = pick(&sets, 1, &[Arc::clone(&first)]).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(pick(&sets, 1, &[first, second]).is_none());
    assert!(sets.pick(ServiceId(9), ZoneId(0), SessionKey(1), &[]).is_none());
    assert!(sets.pick(ServiceId(0), ZoneId(9), SessionKey(1), &[]).is_none());
}

#[test]
fn health_outlives_a_table_and_unused_upstreams_are_forgotten() {
    let pool = EndpointPool::default();
    let old = EndpointSets::compile(&facts(vec![endpoint(1, 1), endpoint(2, 1)]), &pool);
    let sick = pool.upstream(&endpoint(1, 1));
    fail(&old, &sick, 3);
    drop(sick);
    let new = EndpointSets::compile(&facts(vec![endpoint(1, 9)]), &pool);
    assert_eq!(new.fitness(ServiceId(0), ZoneId(0)), Fitness::Ejected);
    drop(old);
    pool.retain_used();
    assert_eq!(pool.all().len(), 1);
}

#[test]
fn a_name_takes_no_requests_before_it_is_resolved() {
    let pool = EndpointPool::default();
    let named = Endpoint { address: "app.example:80".to_owned(), ..endpoint(1, 1) };
    let sets = EndpointSets::compile(&facts(vec![named]), &pool);
    assert_eq!(sets.fitness(ServiceId(0), ZoneId(0)), Fitness::Down);
    assert!(pick(&sets, 1, &[]).is_none());
    assert_eq!(pool.all()[0].host(), "app.example");
}

#[test]
fn the_last_endpoints_stay_in_use_and_are_suspect() {
    let pool = EndpointPool::default();
    let sets = EndpointSets::compile(&facts(vec![endpoint(1, 1), endpoint(2, 1)]), &pool);
    let [first, second] = [1, 2].map(|port| pool.upstream(&endpoint(port, 1)));
    fail(&sets, &first, 3);
    fail(&sets, &second, 9);
    assert_eq!([first.fitness(), second.fitness()], [Fitness::Ejected, Fitness::Suspect]);
    assert_eq!(sets.fitness(ServiceId(0), ZoneId(0)), Fitness::Suspect);
    assert!((0..100).all(|key| Arc::ptr_eq(&pick(&sets, key, &[]).unwrap(), &second)));
    second.begin();
    sets.end(ServiceId(0), ZoneId(0), &second, Call::Answered, 10);
    first.tick(2_000);
    assert_eq!([first.fitness(), second.fitness()], [Fitness::Up; 2]);
}

#[test]
fn retries_are_bounded_across_tables() {
    let pool = EndpointPool::default();
    let mut last = EndpointSets::compile(&facts(vec![endpoint(1, 1)]), &pool);
    let now_ms = Clock::process().now_ms();
    let mut taken = 0;
    for round in 0..4 {
        let sets = EndpointSets::compile(&facts(vec![endpoint(1, 1 + round)]), &pool);
        taken += (0..1_000).filter(|_| sets.may_retry(ZoneId(0), now_ms)).count();
        last = sets;
    }
    // A clock tick may have passed since the budget was drawn up.
    assert!((2_000..2_010).contains(&taken), "{taken}");
    for _ in 0..100 {
        last.first_try(ZoneId(0));
    }
    let taken = (0..100).filter(|_| last.may_retry(ZoneId(0), now_ms)).count();
    assert_eq!(taken, 50);
    assert!(!last.may_retry(ZoneId(9), now_ms));
}
