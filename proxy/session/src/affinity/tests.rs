//! Affinity: its terms against their formulas, and what missing knowledge does.

use proptest::prelude::*;

use super::{Evidence, Pin, affinity, decay_permille, margin};

#[test]
fn nearness_falls_as_the_formula_says() {
    for extra_us in (0..400_000).step_by(37) {
        let exact = 1_000.0 * (-f64::from(extra_us) / 20_000.0).exp();
        let found = f64::from(decay_permille(extra_us as u64));
        assert!((found - exact).abs() <= 1.5, "{extra_us}: {found} for {exact}");
    }
    assert_eq!(decay_permille(u64::from(u32::MAX)), 0);
    assert_eq!(decay_permille(u64::MAX), 0);
}

#[test]
fn unknown_terms_leave_their_weight_to_the_others() {
    assert_eq!(affinity(&Evidence::default()).score, 0);
    let near = Evidence { rtt_us: Some((10_000, 10_000)), ..Evidence::default() };
    assert_eq!(affinity(&near).score, 1_000);
    let foreign = Evidence { served: Some((0, 40)), ..near };
    assert_eq!(affinity(&foreign).score, 667);
    let empty = Evidence { data_bytes: Some((0, 0)), ..foreign };
    assert_eq!(affinity(&empty).score, 667);
    let whole = Evidence {
        rtt_us: Some((30_000, 10_000)),
        data_bytes: Some((3, 4)),
        served: Some((9, 10)),
        predicted: Some(500),
        peers: Some(2_000),
        pin: Pin::Free,
    };
    let found = affinity(&whole);
    assert_eq!((found.latency, found.data, found.history), (Some(368), Some(750), Some(900)));
    // (300 * 368 + 250 * 500 + 200 * 750 + 150 * 900 + 100 * 1000) / 1000
    assert_eq!(found.score, 620);
}

#[test]
fn policy_has_the_last_word() {
    let near = Evidence { rtt_us: Some((1, 1)), ..Evidence::default() };
    assert_eq!(affinity(&Evidence { pin: Pin::Barred, ..near }).score, 0);
    assert_eq!(affinity(&Evidence { pin: Pin::Bound, ..Evidence::default() }).score, 1_000);
}

#[test]
fn the_margin_is_the_lead_of_the_best() {
    assert_eq!(margin([]), 0);
    assert_eq!(margin([700]), 700);
    assert_eq!(margin([200, 700, 500]), 200);
    assert_eq!(margin([700, 700]), 0);
}

proptest! {
    #[test]
    fn every_score_is_in_range_and_between_its_terms(
        rtt_us in prop::option::of(any::<(u32, u32)>()),
        data_bytes in prop::option::of(any::<(u64, u64)>()),
        served in prop::option::of(any::<(u64, u64)>()),
        predicted in prop::option::of(any::<u16>()),
        peers in prop::option::of(any::<u16>()),
    ) {
        let evidence = Evidence { rtt_us, data_bytes, served, predicted, peers, pin: Pin::Free };
        let found = affinity(&evidence);
        let known: Vec<u16> = found.terms().iter().filter_map(|(_, _, term)| *term).collect();
        let least = known.iter().copied().min().unwrap_or(0);
        let most = known.iter().copied().max().unwrap_or(0);
        prop_assert!(most <= 1_000 && least <= found.score && found.score <= most);
    }
}
