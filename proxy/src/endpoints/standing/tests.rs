use super::*;

#[test]
fn checks_need_their_thresholds_in_a_row() {
    let mut standing = Standing::default();
    for passed in [false, false, true, false, false] {
        standing.checked(passed, 3, 2);
        assert!(standing.is_healthy());
    }
    standing.checked(false, 3, 2);
    assert!(!standing.is_healthy());
    standing.checked(true, 3, 2);
    assert!(!standing.is_healthy());
    standing.checked(true, 3, 2);
    assert!(standing.is_healthy());
}

#[test]
fn failed_calls_eject_for_longer_each_time_until_one_is_answered() {
    let mut standing = Standing::default();
    let mut now_ms = 0;
    for doublings in 0..8_u64 {
        while standing.is_healthy() {
            standing.called(false, now_ms);
        }
        let alone = EJECT_MS << doublings.min(u64::from(DOUBLINGS_MAX));
        standing.tick(now_ms + alone - 1);
        assert!(!standing.is_healthy());
        now_ms += alone;
        standing.tick(now_ms);
        assert!(standing.is_healthy());
    }
    standing.called(true, now_ms);
    standing.called(false, now_ms);
    standing.called(false, now_ms);
    assert!(standing.is_healthy());
}
