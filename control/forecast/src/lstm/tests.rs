#![allow(clippy::unwrap_used)]

use super::*;

fn window(seed: u64, steps: usize) -> (Vec<[f32; INPUTS]>, Vec<[f32; FEATURES]>, Vec<f32>) {
    let mut state = seed;
    let inputs = (0..9).map(|_| [(); INPUTS].map(|()| even(&mut state))).collect();
    let asked = (0..steps).map(|_| [(); FEATURES].map(|()| even(&mut state))).collect();
    // Far from anything that is said, so that no quantile is at its kink.
    let truths = (0..steps).map(|_| 20.0 * even(&mut state).signum()).collect();
    (inputs, asked, truths)
}

#[test]
fn slopes_are_what_small_changes_of_the_weights_show() {
    let mut network = Network::new(3);
    let mut state = 5;
    network.weights[CELL + INNER..].iter_mut().for_each(|weight| *weight = even(&mut state));
    let (inputs, steps, truths) = window(7, 5);
    let window = Window { inputs: &inputs, steps: &steps, truths: &truths };
    let mut trainer = Trainer::new(network.clone());
    trainer.gather(&window).unwrap();
    let loss = |network: &Network| Trainer::new(network.clone()).gather(&window).unwrap();
    let mut compared = 0;
    for place in (0..WEIGHTS).step_by(7) {
        let shifted = |by: f32| {
            let mut other = network.clone();
            other.weights[place] += by;
            f64::from(loss(&other))
        };
        let seen = (shifted(0.02) - shifted(-0.02)) / 0.04;
        let told = f64::from(trainer.slopes()[place]);
        assert!((seen - told).abs() < 1e-3 + 0.03 * told.abs(), "{place}: {told}, seen {seen}");
        compared += usize::from(told.abs() > 0.01);
    }
    assert!(compared > 50, "{compared} slopes say anything");
}

/// What comes is the sign of what was seen three steps ago, plus noise.
fn task(seed: u64) -> (Vec<[f32; INPUTS]>, f32) {
    let mut state = seed;
    let inputs: Vec<[f32; INPUTS]> = (0..8).map(|_| [even(&mut state), 0.0, 0.0, 0.0]).collect();
    let truth = inputs[5][0].signum() + 0.3 * even(&mut state);
    (inputs, truth)
}

#[test]
fn it_learns_to_remember_and_its_quantiles_are_quantiles() {
    let mut trainer = Trainer::new(Network::new(1));
    let step = [[0.0; FEATURES]];
    for round in 0..12_000 {
        let (inputs, truth) = task(round);
        let window = Window { inputs: &inputs, steps: &step, truths: &[truth] };
        assert!(trainer.learn(&window).unwrap().is_finite());
    }
    let (mut wrong, mut below) = (0.0, [0.0; 3]);
    for round in 0..1_000 {
        let (inputs, truth) = task(1_000_000 + round);
        let said = trainer.network().say(&Window { inputs: &inputs, steps: &step, truths: &[] })[0];
        wrong += (said[1] - truth).abs() / 1_000.0;
        for (below, said) in below.iter_mut().zip(said) {
            *below += f32::from(u8::from(truth < said)) / 1_000.0;
        }
    }
    assert!(wrong < 0.3, "{wrong}: who does not remember is off by 1");
    for (below, level) in below.iter().zip(QUANTILES) {
        assert!((below - level).abs() < 0.12, "{below} of truths are below the {level} quantile");
    }
}

#[test]
fn what_is_saved_is_loaded_and_nothing_else_is() {
    let network = Network::new(11);
    let bytes = network.to_bytes();
    assert_eq!(Network::from_bytes(&bytes), Ok(network));
    assert_eq!(Network::from_bytes(b""), Err(Unreadable::Foreign));
    assert_eq!(Network::from_bytes(b"HLSTM\n"), Err(Unreadable::Length));
    assert_eq!(Network::from_bytes(&bytes[..bytes.len() - 1]), Err(Unreadable::Length));
    let long: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert_eq!(Network::from_bytes(&long), Err(Unreadable::Length));
    let changed = |place: usize| {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x40;
        Network::from_bytes(&bytes)
    };
    assert_eq!(changed(0), Err(Unreadable::Foreign));
    assert_eq!(changed(6), Err(Unreadable::Version));
    assert_eq!(changed(9), Err(Unreadable::Version));
    assert_eq!(changed(100), Err(Unreadable::Changed));
    for weight in [f32::NAN, f32::INFINITY, 1e6] {
        let mut bad = Network::new(11);
        bad.weights[17] = weight;
        assert_eq!(Network::from_bytes(&bad.to_bytes()), Err(Unreadable::Weight));
    }
}

#[test]
fn the_same_seed_and_windows_give_the_same_network() {
    let train = || {
        let mut trainer = Trainer::new(Network::new(2));
        for seed in 0..40 {
            let (inputs, steps, truths) = window(seed, 3);
            trainer.learn(&Window { inputs: &inputs, steps: &steps, truths: &truths });
        }
        trainer.network().clone()
    };
    assert_eq!(train(), train());
    assert_ne!(train(), Network::new(2));
}

#[test]
fn a_window_of_what_is_no_number_teaches_nothing() {
    let mut trainer = Trainer::new(Network::new(2));
    let (mut inputs, steps, truths) = window(1, 3);
    inputs[2][1] = f32::NAN;
    for _ in 0..20 {
        let window = Window { inputs: &inputs, steps: &steps, truths: &truths };
        assert_eq!(trainer.learn(&window), None);
        let short = Window { inputs: &inputs[..1], steps: &steps, truths: &truths[1..] };
        assert_eq!(trainer.learn(&short), None);
    }
    assert_eq!(*trainer.network(), Network::new(2));
    let both = [Network::new(2), Network::new(2)];
    assert_eq!(Network::mean(both.iter()), Some(Network::new(2)));
    assert_eq!(Network::mean([].iter()), None);
}
