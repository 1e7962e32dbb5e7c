use super::*;

const KEY: SessionKey = SessionKey(7);
const FIRST: Waiting = Waiting { since_ms: 0, bytes: 40 };

fn limits() -> HoldLimits {
    HoldLimits { requests_per_session: 2, requests_total: 3, bytes_total: 100, ms_max: 50 }
}

#[tokio::test]
async fn requests_wait_until_the_handover_is_over() {
    let holds = Holds::default();
    holds.open(KEY);
    let first = holds.enter(KEY, FIRST, &limits(), 0).unwrap();
    let waiting = tokio::spawn(first.wait());
    tokio::task::yield_now().await;
    assert_eq!(holds.held(), 1);
    assert_eq!(holds.close(KEY), 1);
    assert_eq!(waiting.await.unwrap(), Resumed::Retry);
    assert_eq!(holds.held(), 0);
    let late = holds.enter(KEY, FIRST, &limits(), 0).unwrap();
    assert_eq!(late.wait().await, Resumed::Retry);
    assert!(holds.book.lock().wakers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_request_outlives_its_bound_however_often_it_is_held() {
    let holds = Holds::default();
    holds.open(KEY);
    let begun = Instant::now();
    let ticket = holds.enter(KEY, FIRST, &limits(), 30).unwrap();
    assert_eq!(ticket.wait().await, Resumed::TimedOut);
    assert_eq!(begun.elapsed().as_millis(), 20);
    assert_eq!(holds.enter(KEY, FIRST, &limits(), 50).unwrap_err(), HoldRefused::Time);
    assert_eq!(holds.held(), 0);
}

#[tokio::test]
async fn the_hold_is_bounded_and_dropped_places_are_given_back() {
    let holds = Holds::default();
    for key in 7..10 {
        holds.open(SessionKey(key));
    }
    let enter = |key, waiting| holds.enter(SessionKey(key), waiting, &limits(), 0);
    let first = enter(7, FIRST).unwrap();
    let second = enter(7, FIRST).unwrap();
    assert_eq!(enter(8, FIRST).unwrap_err(), HoldRefused::Bytes);
    let small = Waiting { bytes: 1, ..FIRST };
    assert_eq!(enter(7, small).unwrap_err(), HoldRefused::Session);
    let elsewhere = enter(8, small).unwrap();
    assert_eq!(enter(9, small).unwrap_err(), HoldRefused::Process);
    drop((first, second, elsewhere));
    assert_eq!((holds.held(), holds.book.lock().hold.bytes()), (0, 0));
}

#[tokio::test]
async fn a_freeze_calls_in_those_who_asked_and_leaves_nothing_behind() {
    let holds = Holds::default();
    let (mut first, mut second) = (holds.recall(KEY), holds.recall(KEY));
    let mut other = holds.recall(SessionKey(8));
    let calm = Duration::from_millis(20);
    assert!(tokio::time::timeout(calm, first.called()).await.is_err());
    holds.open(KEY);
    first.called().await;
    second.called().await;
    assert!(tokio::time::timeout(calm, other.called()).await.is_err());
    // One that comes too late for the call is told all the same.
    holds.recall(KEY).called().await;
    drop((first, second, other));
    assert!(holds.recalls.is_empty());
}
