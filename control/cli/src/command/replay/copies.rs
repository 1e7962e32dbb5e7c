//! Copies of sessions' state held in zones where they do not live: until when, how long in all, at
//! how many bytes.

/// The copies of all users under one policy.
pub(super) struct Copies {
    zones: usize,
    /// Until when each user's copy in each zone is held; of no copy, long ago.
    until: Vec<i64>,
    /// Seconds that copies were held, summed over copies.
    held: i64,
    /// Copies made anew.
    pub(super) made: u64,
}

const NEVER: i64 = i64::MIN;

impl Copies {
    pub(super) fn new(users: usize, zones: usize) -> Self {
        Self { zones, until: vec![NEVER; users * zones], held: 0, made: 0 }
    }

    pub(super) fn is_held(&self, user: usize, zone: usize, now: i64) -> bool {
        self.until[user * self.zones + zone] >= now
    }

    /// Whether there is a copy for some time to come.
    pub(super) fn count(&self, user: usize, now: i64) -> usize {
        let row = &self.until[user * self.zones..][..self.zones];
        row.iter().filter(|until| **until > now).count()
    }

    /// Holds a copy until then, at least; makes it if there is none.
    pub(super) fn hold(&mut self, user: usize, zone: usize, now: i64, until: i64) {
        if !self.is_held(user, zone, now) {
            self.made += 1;
        }
        self.keep(user, zone, now, until);
    }

    /// The same where the state is already.
    pub(super) fn keep(&mut self, user: usize, zone: usize, now: i64, until: i64) {
        let held = &mut self.until[user * self.zones + zone];
        if until > *held {
            self.held += until - (*held).max(now);
            *held = until;
        }
    }

    /// A copy is one no more: the session lives there now, or nobody will come.
    pub(super) fn drop(&mut self, user: usize, zone: usize, now: i64) {
        let held = &mut self.until[user * self.zones + zone];
        self.held -= (*held).saturating_sub(now).max(0);
        *held = NEVER;
    }

    /// Seconds that copies were held up to the end of all, summed over copies.
    pub(super) fn held_until(&self, end: i64) -> i64 {
        let beyond = self.until.iter().map(|until| until.saturating_sub(end).max(0));
        self.held - beyond.sum::<i64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_once_however_often_a_copy_is_renewed() {
        let mut copies = Copies::new(2, 3);
        copies.hold(1, 2, 0, 300);
        copies.hold(1, 2, 300, 600);
        copies.hold(1, 2, 400, 600);
        assert_eq!((copies.made, copies.held_until(9_000)), (1, 600));
        assert!(copies.is_held(1, 2, 600) && !copies.is_held(1, 2, 601));
        assert!(!copies.is_held(0, 2, 0));
        copies.hold(1, 2, 900, 1_200);
        assert_eq!((copies.made, copies.held_until(1_000)), (2, 700), "a gap is not held");
        copies.drop(1, 2, 1_000);
        assert_eq!((copies.held_until(9_000), copies.count(1, 1_000)), (700, 0));
        copies.drop(1, 2, 1_100);
        assert_eq!(copies.held_until(9_000), 700);
        copies.keep(1, 0, 2_000, 2_100);
        assert_eq!((copies.made, copies.count(1, 2_000)), (2, 1));
    }
}
