//! Twenty thousand seeded worlds of the real machines, with a crash possible before every act. A
//! seed that breaks a law prints its whole trace; `HOMING_SEED=n` replays one, `HOMING_SEEDS=n`
//! runs that many.

use homing_sim::{
    faults::Act,
    replay::{story, sweep},
    scenario::Mutant,
    tally::Tally,
};

const SEEDS: u64 = 20_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn keeps_every_law(seeds: std::ops::Range<u64>) -> Tally {
    let began = std::time::Instant::now();
    let (tally, failed) = sweep(seeds, None);
    if let Some(seed) = failed {
        panic!("{}", story(seed, None));
    }
    println!("{tally:#?}\nin {:.1} s", began.elapsed().as_secs_f64());
    tally
}

#[test]
fn every_seed_keeps_every_law_and_the_worlds_are_not_empty() {
    if let Some(seed) = from_environment("HOMING_SEED") {
        println!("{}", story(seed, None));
        assert!(sweep(seed..seed + 1, None).1.is_none(), "seed {seed} breaks a law");
        return;
    }
    let tally = keeps_every_law(0..SEEDS.max(from_environment("HOMING_SEEDS").unwrap_or(0)));
    let counts = [
        ("committed handoffs", tally.committed, 40_000),
        ("handoffs taken back", tally.taken_back, 10_000),
        ("redirects", tally.redirects, 40_000),
        ("held requests", tally.parked, 20_000),
        ("holds that ran out", tally.held_out, 1_500),
        ("freezes in a gap", tally.gaps, 20_000),
        ("requests answered from a window", tally.deduplicated, 20_000),
        ("lives declared dead", tally.declared_dead, 10_000),
        ("requests held at the target before the grant", tally.parked_early, 2_000),
        ("requests redirected from the grant on", tally.redirected_early, 10_000),
        ("changes of a replica's zone", tally.replicas_changed, 2_000),
        ("sessions that went to their heir", tally.inherited, 1_000),
        ("acknowledged writes lost without a replica", tally.acked_lost[0], 10_000),
        ("acknowledged writes lost in a replica's lag", tally.acked_lost[1], 2_000),
        ("deltas to replicas", tally.deltas, 100_000),
        ("lives begun again", tally.begun_again, 4_000),
        ("new lives that waited for the old lease", tally.waited, 2_000),
        ("pauses longer than the lease", tally.long_pauses, 4_000),
        ("answers withheld for want of a lease", tally.unanswered, 2_000),
        ("orders of a replaced control", tally.outdated_orders, 50),
        ("writes lost with a gate", tally.lost_with_gate, 10_000),
    ];
    for (what, count, least) in counts {
        assert!(count >= least, "only {count} {what}");
    }
    for act in Act::ALL {
        let crashes = tally.crashes.get(&act).copied().unwrap_or(0);
        assert!(crashes >= 50, "only {crashes} crashes before {act:?}");
    }
    assert!(tally.undone.len() >= 4, "handoffs were undone only for {:?}", tally.undone);
}

#[test]
fn every_planted_defect_is_found() {
    for mutant in Mutant::ALL {
        let (tally, failed) = sweep(0..SEEDS, Some(mutant));
        let seed = failed.unwrap_or_else(|| panic!("{mutant:?} is not found"));
        let story = story(seed, Some(mutant));
        let broken = story.lines().rev().nth(1).unwrap_or_default();
        println!("{mutant:?}: found in world {}: {broken}", tally.worlds);
    }
}
