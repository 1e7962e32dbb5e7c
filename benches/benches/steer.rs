//! The decisions of one request, timed: steering known and new sessions over ten million of them,
//! a gate's admission, and taking a delta in. Prints the digest of what was decided, so that two
//! runs can be seen to have done the same work.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use homing_bench::sessions::{Size, World};

const STEERED: usize = 1_000_000;

fn known(criterion: &mut Criterion) {
    let world = World::new(Size { sessions: 10_000_000, exceptions_percent: 5, zones: 8 });
    let keys = &world.keys[..STEERED];
    println!("digest {:016x}", world.steer_free(keys));
    let mut group = criterion.benchmark_group("steer 10M sessions, 5 % exceptions");
    group.throughput(Throughput::Elements(STEERED as u64)).sample_size(20);
    group.bench_function("free", |b| b.iter(|| world.steer_free(black_box(keys))));
    group.bench_function("chained", |b| {
        b.iter(|| world.steer_chained(black_box(keys), black_box(0)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("delta on 500,000 exceptions");
    group.sample_size(20);
    for count in [1, 10_000] {
        let (after, delta) = world.moves(count);
        group.bench_function(format!("{count} moves"), |b| {
            b.iter(|| world.placement.with_delta(&after, &delta));
        });
    }
    group.finish();
}

fn new(criterion: &mut Criterion) {
    for zones in [8, 20] {
        let world = World::new(Size { sessions: 1_000, exceptions_percent: 0, zones });
        let mut group = criterion.benchmark_group("steer new session");
        group.throughput(Throughput::Elements(1_000));
        let name = format!("{zones} zones");
        group.bench_function(name, |b| b.iter(|| world.steer_new(black_box(1_000))));
        group.finish();
    }
}

fn gate(criterion: &mut Criterion) {
    let world = World::new(Size { sessions: 1_000_000, exceptions_percent: 5, zones: 3 });
    let keys = world.in_first_zone();
    let mut roster = world.roster(&keys);
    let mut group = criterion.benchmark_group("gate");
    group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(20);
    group.bench_function("admit and finish", |b| {
        b.iter(|| {
            let executed = world.requests(&mut roster, &keys, 1_000);
            roster.drain_activity(usize::MAX, &mut Vec::new());
            executed
        });
    });
    group.finish();
}

criterion_group!(benches, known, new, gate);
criterion_main!(benches);
