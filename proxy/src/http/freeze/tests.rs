use homing_wire::SessionKey;
use tokio::time::sleep;

use super::*;
use crate::hold::Holds;

const KEY: SessionKey = SessionKey(7);
const HALF: Duration = Duration::from_secs(2);

fn freeze(holds: &Holds) -> Freeze {
    Freeze::new(Some(holds.recall(KEY)), HALF)
}

#[tokio::test(start_paused = true)]
async fn work_is_given_up_half_a_freeze_after_the_call_and_not_without_one() {
    let holds = Holds::default();
    let mut freeze = freeze(&holds);
    assert!(freeze.bound(sleep(100 * HALF)).await.is_some());
    let began = Instant::now();
    let calls = async {
        sleep(HALF).await;
        holds.open(KEY);
    };
    let (bound, ()) = tokio::join!(freeze.bound(std::future::pending::<()>()), calls);
    assert!(bound.is_none());
    assert_eq!(began.elapsed(), 2 * HALF);
    // One that holds no place is never called.
    assert!(Freeze::default().bound(sleep(100 * HALF)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_heard_while_something_is_written_is_told_of_afterwards() {
    let holds = Holds::default();
    let mut freeze = freeze(&holds);
    holds.open(KEY);
    let called_at = Instant::now();
    assert!(freeze.bound(sleep(HALF / 2)).await.is_some());
    freeze.called().await;
    assert_eq!(freeze.heed(), called_at);
    // Begun in the first half, it has half a freeze of its own; later, what is left of the second.
    assert!(freeze.bound(sleep(HALF - Duration::from_millis(1))).await.is_some());
    assert!(freeze.bound(std::future::pending::<()>()).await.is_none());
    assert_eq!(called_at.elapsed(), 2 * HALF);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_is_over_bounds_nothing_and_the_next_one_calls_again() {
    let holds = Holds::default();
    let mut freeze = freeze(&holds);
    for _ in 0..2 {
        holds.open(KEY);
        freeze.called().await;
        freeze.heed();
        holds.close(KEY);
        assert!(freeze.bound(sleep(100 * HALF)).await.is_some());
    }
    // One that was let pass bounds nothing either, and is told of once.
    holds.open(KEY);
    freeze.called().await;
    freeze.heed();
    freeze.let_pass();
    assert!(freeze.bound(sleep(100 * HALF)).await.is_some());
    assert!(tokio::time::timeout(HALF, freeze.called()).await.is_err());
}
