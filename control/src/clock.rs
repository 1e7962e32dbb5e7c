//! The one place where control reads the time. Everything that decides is given it.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// Milliseconds since this process first asked: never steps, whatever the wall clock does. Leases
/// are counted in it.
#[must_use]
pub fn monotonic_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// A time as RFC 3339 in UTC, with milliseconds.
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// A time of RFC 3339 as milliseconds since the Unix epoch; `None` if it is none, or before that.
#[must_use]
pub fn from_rfc3339(text: &str) -> Option<u64> {
    let at = text.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(at.as_millisecond()).ok()
}
