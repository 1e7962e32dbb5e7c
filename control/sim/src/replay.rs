//! Running seeds, and telling of one that failed: its whole trace and how to see it again.

use std::fmt::Write;

use crate::{
    scenario::{Mutant, Scenario},
    tally::Tally,
    world::{self, Outcome},
};

/// Runs one seed and keeps its trace.
#[must_use]
pub fn replay(seed: u64, mutant: Option<Mutant>) -> Outcome {
    world::run(Scenario { mutant, ..Scenario::of(seed) }, true)
}

/// Runs seeds one after the other; the tally of all, and the first that broke a law.
#[must_use]
pub fn sweep(seeds: std::ops::Range<u64>, mutant: Option<Mutant>) -> (Tally, Option<u64>) {
    let mut tally = Tally::default();
    for seed in seeds {
        let outcome = world::run(Scenario { mutant, ..Scenario::of(seed) }, false);
        tally.add(&outcome.tally);
        if outcome.broken.is_some() {
            return (tally, Some(seed));
        }
    }
    (tally, None)
}

/// The story of one seed, for a person.
#[must_use]
pub fn story(seed: u64, mutant: Option<Mutant>) -> String {
    let outcome = replay(seed, mutant);
    let mut story = format!("{:?}\n", Scenario { mutant, ..Scenario::of(seed) });
    for line in &outcome.trace {
        let _ = writeln!(story, "{line}");
    }
    let _ = match outcome.broken {
        Some((law, at_ms)) => writeln!(story, "seed {seed} breaks {law:?} at {at_ms} ms"),
        None => writeln!(story, "seed {seed} keeps every law"),
    };
    let _ = writeln!(
        story,
        "again: HOMING_SEED={seed} cargo test -p homing-sim --test simulation -- --nocapture"
    );
    story
}
