//! Rendezvous: shares follow weights, few sessions move, load stays bounded.

use proptest::prelude::*;

use super::{Candidate, draw, minus_log2, pick};

fn endpoint(n: u64, weight: u16) -> Candidate {
    let id = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Candidate { id, weight, up: true, in_flight: 0 }
}

fn of(hash: u64, endpoints: &[Candidate]) -> Option<usize> {
    pick(hash, endpoints.len(), |index| endpoints[index], |_| false).map(|picked| picked.index)
}

fn hashes(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| draw(n, 0x1234_5678_9abc_def1))
}

#[test]
fn the_logarithm_is_close_and_falls() {
    let mut last = u64::MAX;
    for shift in 0..64 {
        for part in [0_u64, 1, 77, 128, 200, 255] {
            let draw = (1_u64 << shift) | ((u128::from(part) << shift) >> 8) as u64;
            let exact = 64.0 - (draw as f64).log2();
            let found = minus_log2(draw) as f64 / 2_f64.powi(32);
            assert!((found - exact).abs() < 1e-5, "{draw}: {found} for {exact}");
            assert!(minus_log2(draw) <= last);
            last = minus_log2(draw);
        }
    }
    assert!(minus_log2(u64::MAX) >= 1);
    assert_eq!(minus_log2(0), 64 << 32);
}

#[test]
fn shares_follow_weights() {
    let endpoints = [endpoint(0, 1), endpoint(1, 2), endpoint(2, 5), endpoint(3, 0)];
    let mut counts = [0_u32; 4];
    for hash in hashes(80_000) {
        counts[of(hash, &endpoints).expect("up")] += 1;
    }
    for (count, weight) in counts.into_iter().zip([1, 2, 5, 0]) {
        assert!(count.abs_diff(weight * 10_000) < 400, "{counts:?}");
    }
}

#[test]
fn only_the_sessions_of_a_lost_endpoint_move() {
    let mut endpoints: Vec<_> = (0..6).map(|n| endpoint(n, 10 + n as u16)).collect();
    let before: Vec<_> = hashes(2_000).map(|hash| of(hash, &endpoints)).collect();
    endpoints[2].up = false;
    for (hash, before) in hashes(2_000).zip(&before) {
        let after = of(hash, &endpoints);
        assert!(after != Some(2) && (*before == Some(2) || after == *before));
    }
    endpoints[2].up = true;
    endpoints.push(endpoint(6, 10));
    for (hash, before) in hashes(2_000).zip(&before) {
        let after = of(hash, &endpoints);
        assert!(after == Some(6) || after == *before);
    }
}

#[test]
fn when_none_is_up_all_are_tried() {
    let mut endpoints = [endpoint(0, 1), endpoint(1, 1)];
    let healthy = of(9, &endpoints);
    endpoints.iter_mut().for_each(|endpoint| endpoint.up = false);
    let picked = pick(9, 2, |index| endpoints[index], |_| false).expect("panic");
    assert!(picked.panic && Some(picked.index) == healthy);
    let next = pick(9, 2, |index| endpoints[index], |index| index == picked.index).expect("other");
    assert_ne!(next.index, picked.index);
    assert_eq!(pick(9, 2, |index| endpoints[index], |_| true), None);
    assert_eq!(pick(9, 0, |index| endpoints[index], |_| false), None);
}

#[test]
fn an_overloaded_endpoint_passes_sessions_on() {
    let mut endpoints = [endpoint(0, 1), endpoint(1, 1), endpoint(2, 1)];
    let own = of(9, &endpoints).expect("up");
    endpoints[own].in_flight = 7;
    assert_eq!(of(9, &endpoints), Some(own), "a quiet zone");
    endpoints[own].in_flight = 30;
    let picked = pick(9, 3, |index| endpoints[index], |_| false).expect("up");
    assert!(picked.displaced && picked.index != own);
}

proptest! {
    #[test]
    fn load_stays_within_its_bound(
        weights in prop::collection::vec(1..20_u16, 1..8),
        requests in 1..2_000_u64,
    ) {
        let mut endpoints: Vec<_> =
            weights.iter().enumerate().map(|(n, weight)| endpoint(n as u64, *weight)).collect();
        // All of one session: nothing but the bound spreads it.
        for _ in 0..requests {
            let index = of(1, &endpoints).expect("up");
            endpoints[index].in_flight += 1;
        }
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for endpoint in &endpoints {
            let share = (requests + 1) * 5 * u64::from(endpoint.weight);
            prop_assert!(u64::from(endpoint.in_flight) <= share.div_ceil(4 * total).max(8));
        }
    }

    #[test]
    fn the_order_of_endpoints_does_not_matter(hash in any::<u64>(), count in 1..9_u64) {
        let forward: Vec<_> = (0..count).map(|n| endpoint(n, 1 + n as u16)).collect();
        let backward: Vec<_> = forward.iter().rev().copied().collect();
        let (a, b) = (of(hash, &forward), of(hash, &backward));
        prop_assert_eq!(a.map(|index| forward[index].id), b.map(|index| backward[index].id));
    }

    #[test]
    fn no_input_panics(
        hash in any::<u64>(),
        endpoints in prop::collection::vec(
            (any::<u64>(), any::<u16>(), any::<bool>(), any::<u32>()),
            0..6,
        ),
        tried in any::<u8>(),
    ) {
        let candidate = |index: usize| {
            let (id, weight, up, in_flight) = endpoints[index];
            Candidate { id, weight, up, in_flight }
        };
        let picked = pick(hash, endpoints.len(), candidate, |index| tried >> index & 1 == 1);
        let usable = |index: &usize| endpoints[*index].1 > 0 && tried >> index & 1 == 0;
        prop_assert_eq!(picked.is_some(), (0..endpoints.len()).any(|index| usable(&index)));
        prop_assert!(picked.is_none_or(|picked| usable(&picked.index)));
    }
}
