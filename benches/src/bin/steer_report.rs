//! The figures that the hot path is held to, in one table and half a minute: nanoseconds a
//! decision, bytes a session, milliseconds a delta. Medians of several turns, for machines where
//! a statistical bench takes longer than they stay quiet.

use std::{fs, hint::black_box, time::Instant};

use homing_bench::sessions::{Size, World};

const TURNS: usize = 7;
const STEERED: usize = 2_000_000;

fn main() {
    println!("{:<44} {:>12}", "what", "median");
    let world = World::new(Size { sessions: 10_000_000, exceptions_percent: 5, zones: 8 });
    let keys = &world.keys[..STEERED.min(world.keys.len())];
    steering(&world, keys);
    bytes(&world);
    deltas(&world);
    drop(world);
    new_sessions();
    gate();
}

fn steering(world: &World, keys: &[homing_wire::SessionKey]) {
    let free = median(|| world.steer_free(black_box(keys)));
    row("steer, 10M sessions, 5 % exceptions, free", per(free.0, keys.len()), "ns");
    let chained = median(|| world.steer_chained(black_box(keys), black_box(0)));
    row("steer, each after the last", per(chained.0, keys.len()), "ns");
    println!("{:<44} {:016x}", "digest", free.1);
    assert_eq!(free.1, chained.1, "both ways decide the same");
}

fn bytes(world: &World) {
    let (buckets, exceptions) = world.placement.bytes();
    let held = world.placement.exceptions();
    row("a default session", buckets as f64 / (world.keys.len() - held) as f64, "B");
    row("an exception", exceptions as f64 / held as f64, "B");
}

fn deltas(world: &World) {
    for count in [1, 100, 10_000] {
        let (after, delta) = world.moves(count);
        let took = median(|| world.placement.with_delta(&after, &delta).exceptions() as u64);
        row(&format!("delta of {count} moves"), took.0 / 1e6, "ms");
    }
    let took =
        median(|| homing_session::placement::Placement::compile(&world.table).exceptions() as u64);
    row("compile, 500,000 exceptions", took.0 / 1e6, "ms");
}

fn new_sessions() {
    for zones in [8, 20] {
        let world = World::new(Size { sessions: 1_000, exceptions_percent: 0, zones });
        let took = median(|| world.steer_new(black_box(1_000_000)));
        row(&format!("steer a new session, {zones} zones"), per(took.0, 1_000_000), "ns");
    }
}

fn gate() {
    let world = World::new(Size { sessions: 3_000_000, exceptions_percent: 5, zones: 3 });
    let keys = world.in_first_zone();
    let before = resident_bytes();
    let mut roster = world.roster(&keys);
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        let each = after.saturating_sub(before) as f64 / roster.len() as f64;
        row(&format!("an idle session of {} in a roster", roster.len()), each, "B");
    }
    let took = median(|| {
        let executed = world.requests(&mut roster, &keys, 1_000);
        roster.drain_activity(usize::MAX, &mut Vec::new());
        executed as u64
    });
    row("gate: admit, finish and record", per(took.0, keys.len()), "ns");
}

/// The median time of several turns in nanoseconds, and the answer.
fn median(mut turn: impl FnMut() -> u64) -> (f64, u64) {
    let mut answer = turn();
    let mut times: Vec<f64> = (0..TURNS)
        .map(|_| {
            let start = Instant::now();
            answer = black_box(turn());
            start.elapsed().as_nanos() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[TURNS / 2], answer)
}

fn per(ns: f64, count: usize) -> f64 {
    ns / count as f64
}

fn row(what: &str, figure: f64, unit: &str) {
    println!("{what:<44} {figure:>9.2} {unit}");
}

/// This process's resident memory, from /proc; `None` where there is none.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
