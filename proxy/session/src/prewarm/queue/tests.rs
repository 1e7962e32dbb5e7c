use proptest::prelude::*;

use super::*;

fn pace() -> Pace {
    Pace { bytes_per_second: 1_000_000, at_once: 2 }
}

fn things(ids: &[u64]) -> Vec<(u64, usize, u64)> {
    ids.iter().map(|id| (*id, 100, *id)).collect()
}

fn fetch(queue: &mut WarmQueue<u64>, now_ms: u64) -> Option<u64> {
    match queue.turn(now_ms, false) {
        Turn::Fetch(id, thing) => {
            assert_eq!(id, thing);
            Some(id)
        }
        Turn::Until(_) | Turn::Idle => None,
    }
}

#[test]
fn every_session_gets_its_most_wanted_before_any_its_next() {
    let mut queue = WarmQueue::new(Pace { at_once: 8, ..pace() });
    queue.offer(things(&[1, 2, 3]), 0, 0);
    queue.offer(things(&[11, 12]), 0, 0);
    let order: Vec<_> = std::iter::from_fn(|| fetch(&mut queue, 50)).collect();
    assert_eq!(order, [1, 11, 2, 12, 3]);
}

#[test]
fn an_order_is_jittered_and_fetches_are_bounded_in_number() {
    let mut queue = WarmQueue::new(pace());
    queue.offer(things(&[1, 2, 3]), 100, 13);
    assert_eq!(queue.turn(100, false), Turn::Until(113));
    assert_eq!(fetch(&mut queue, 113), Some(1));
    assert_eq!(fetch(&mut queue, 113), Some(2));
    assert_eq!(queue.turn(113, false), Turn::Idle, "two at once");
    queue.done(1, 0, 120);
    assert_eq!(fetch(&mut queue, 120), Some(3));
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_thing_is_fetched_once_for_all_who_want_it_and_again_once_it_is_done() {
    let mut queue = WarmQueue::new(pace());
    let first = queue.offer(things(&[1, 2, 1]), 0, 0);
    assert_eq!(first, Taken { waiting: 2, collapsed: 1, refused: 0 });
    assert_eq!(fetch(&mut queue, 0), Some(1));
    assert_eq!(queue.offer(things(&[1, 2]), 0, 0).collapsed, 2, "under way, and waiting");
    queue.done(1, 10, 0);
    queue.done(1, 10, 0);
    assert_eq!(queue.offer(things(&[1]), 0, 0).waiting, 1);
}

#[test]
fn users_go_first_and_the_late_are_given_up() {
    let mut queue = WarmQueue::new(pace());
    queue.offer(things(&[1, 2]), 0, 0);
    assert_eq!(queue.turn(0, true), Turn::Until(PAUSE_MS));
    assert_eq!(fetch(&mut queue, 5), Some(1));
    assert_eq!(queue.turn(LATE_MS + 1, true), Turn::Idle);
    assert_eq!((queue.take_late(), queue.take_late(), queue.waiting()), (1, 0, 0));
}

#[test]
fn what_was_fetched_is_paid_for_before_the_next() {
    let mut queue = WarmQueue::new(pace());
    queue.offer(things(&[1, 2]), 1_000, 0);
    assert_eq!(fetch(&mut queue, 1_000), Some(1));
    queue.done(1, 500_000, 1_000);
    // Half a second's worth, less the burst.
    assert_eq!(queue.turn(1_000, false), Turn::Until(1_400));
    assert_eq!(fetch(&mut queue, 1_400), Some(2));
}

#[test]
fn too_much_is_refused_and_without_a_rate_everything_is() {
    let mut queue = WarmQueue::new(pace());
    let big = [(1, BYTES_MAX, 1), (2, 1, 2)];
    assert_eq!(queue.offer(big, 0, 0), Taken { waiting: 1, collapsed: 0, refused: 1 });
    let mut off = WarmQueue::new(Pace { bytes_per_second: 0, ..pace() });
    assert_eq!(off.offer(things(&[1]), 0, 0).refused, 1);
}

proptest! {
    /// Whatever comes and however large it is: over any span the rate is kept, but for the burst
    /// and what was under way.
    #[test]
    fn the_share_of_the_link_is_kept(
        steps in prop::collection::vec((0_u64..80, 0_u64..60, 0_u64..40_000, any::<u64>()), 1..300),
    ) {
        let pace = pace();
        let mut queue = WarmQueue::new(pace);
        let (mut now_ms, mut under_way, mut done) = (10_000, Vec::new(), Vec::new());
        for (id, passed, bytes, seed) in steps {
            now_ms += passed;
            queue.offer(things(&[id, id + 1]), now_ms, seed);
            if let Some(id) = fetch(&mut queue, now_ms) {
                under_way.push((id, bytes));
            }
            prop_assert!(under_way.len() <= pace.at_once);
            if seed % 3 == 0 && let Some((id, bytes)) = under_way.pop() {
                queue.done(id, bytes, now_ms);
                done.push((now_ms, bytes));
            }
        }
        let slack = pace.bytes_per_second * BURST_MS / 1_000 + 40_000 * (pace.at_once as u64 + 1);
        for from in 0..done.len() {
            let mut sum = 0;
            for (at, bytes) in &done[from..] {
                sum += bytes;
                let span_ms = at - done[from].0;
                prop_assert!(sum <= pace.bytes_per_second * span_ms / 1_000 + slack);
            }
        }
    }
}
