//! Thousands of seeded worlds of one carried WebSocket each. A seed that breaks a law prints its
//! trace; `HOMING_SEED=n` replays one.

use homing_sim::tunnel::{Carried, Manners, run};

const SEEDS: u64 = 5_000;

fn story(seed: u64) -> String {
    let told = run(seed, true);
    format!(
        "seed {seed}, {:?}\n{}\n{:?}\nagain: HOMING_SEED={seed} cargo test -p homing-sim --test \
         tunnels",
        Manners::of(seed),
        told.trace.join("\n"),
        told.broken
    )
}

#[test]
fn every_number_is_taken_once_and_comes_back_once() {
    if let Some(seed) = std::env::var("HOMING_SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("{}", story(seed));
        assert!(run(seed, false).broken.is_none());
        return;
    }
    let mut all = Carried::default();
    let mut closed = 0_u64;
    for seed in 0..SEEDS {
        let told = run(seed, false);
        assert!(told.broken.is_none(), "{}", story(seed));
        all.legs += told.legs;
        all.again += told.again;
        all.resumed += told.resumed;
        closed += u64::from(told.closed);
    }
    println!(
        "{} legs, {} given again, {} resumed, {closed} closed",
        all.legs, all.again, all.resumed
    );
    assert!(all.legs > 4 * SEEDS && all.again > SEEDS / 4 && all.resumed > SEEDS / 100, "{all:?}");
    assert!(closed > 0 && closed < SEEDS / 2, "{closed}");
}
