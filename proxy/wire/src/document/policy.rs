//! The section `policy`: read, with each value's own range and their relations checked.

use super::read::Reader;
use super::services::timeout;
use super::syntax;
use super::zones::narrow;
use crate::policy::{Act, CutLimits, HoldLimits, MoveLimits, Policy};

/// Longest wait for an idle gap, an hour.
const GAP_WAIT_MS_MAX: u64 = 3_600_000;
/// Longest residence, a year.
const RESIDENCE_MS_MAX: u64 = 365 * 24 * 3_600_000;
const HELD_BYTES_MAX: u64 = 1 << 40;
/// What one unit of currency may be worth: a million seconds, in microseconds.
const CURRENCY_US_MAX: u64 = 1_000_000_000_000;

pub(super) const ACTS: [(&str, Act); 2] = [("shadow", Act::Shadow), ("on", Act::On)];

pub(super) fn policy(reader: &Reader<'_>) -> Option<Policy> {
    let usual = Policy::default();
    reader.map(|map| {
        let affinity_threshold =
            map.or("affinity_threshold", usual.affinity_threshold, |r| narrow(r.whole(0..=1_000)?));
        let act = map.or("act", usual.act, |r| r.word(&ACTS));
        let place_header = map.optional("place_header", syntax::header);
        let held = map.find("hold");
        let hold = held.as_ref().and_then(hold).unwrap_or(usual.hold);
        let cut = map.or("cut", usual.cut, cut);
        let moves = map.or("moves", usual.moves, moves);
        let currency_us =
            map.or("currency_ms", usual.currency_us, |r| r.decimal(3, CURRENCY_US_MAX));
        if hold.ms_max < cut.freeze_ms_max {
            held.as_ref().unwrap_or(map.itself()).fault(
                format!(
                    "a request would wait {} ms at most, less than the longest freeze of {} ms",
                    hold.ms_max, cut.freeze_ms_max
                ),
                "raise `hold.wait_max` or lower `cut.freeze_max`",
            );
        }
        Some(Policy { affinity_threshold, act, place_header, hold, cut, moves, currency_us })
    })
}

fn hold(reader: &Reader<'_>) -> Option<HoldLimits> {
    let usual = HoldLimits::default();
    reader.map(|map| {
        Some(HoldLimits {
            requests_per_session: map.or("requests_per_session", usual.requests_per_session, |r| {
                narrow(r.whole(0..=u64::from(u16::MAX))?)
            }),
            requests_total: map.or("requests_total", usual.requests_total, |r| {
                narrow(r.whole(0..=u64::from(u32::MAX))?)
            }),
            bytes_total: map.or("bytes_total", usual.bytes_total, |r| r.bytes(0..=HELD_BYTES_MAX)),
            ms_max: map.or("wait_max", usual.ms_max, timeout),
        })
    })
}

fn cut(reader: &Reader<'_>) -> Option<CutLimits> {
    let usual = CutLimits::default();
    reader.map(|map| {
        Some(CutLimits {
            freeze_ms_max: map.or("freeze_max", usual.freeze_ms_max, timeout),
            gap_wait_ms: map
                .or("gap_wait", usual.gap_wait_ms, |r| narrow(r.millis(0..=GAP_WAIT_MS_MAX)?)),
            rounds_max: map.or("rounds_max", usual.rounds_max, |r| narrow(r.whole(0..=64)?)),
        })
    })
}

fn moves(reader: &Reader<'_>) -> Option<MoveLimits> {
    let usual = MoveLimits::default();
    reader.map(|map| {
        Some(MoveLimits {
            per_minute: map
                .or("per_minute", usual.per_minute, |r| narrow(r.whole(0..=u64::from(u32::MAX))?)),
            concurrent_per_pair: map.or("concurrent_per_pair", usual.concurrent_per_pair, |r| {
                narrow(r.whole(1..=u64::from(u16::MAX))?)
            }),
            residence_ms_min: map
                .or("residence_min", usual.residence_ms_min, |r| r.millis(0..=RESIDENCE_MS_MAX)),
            regret_percent: map
                .or("regret", usual.regret_percent, |r| narrow(r.percent(0..=10_000)?)),
        })
    })
}
