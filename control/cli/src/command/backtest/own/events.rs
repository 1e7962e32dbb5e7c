//! Scheduled events from a file, as places on the grid: an iCalendar feed or a JSON list.

use std::collections::BTreeMap;
use std::path::Path;

use homing_forecast::demand::Event;
use homing_forecast::feed::{self, Civil, FEED_MAX, Feed, SCHEDULED_MAX, Scheduled};
use serde::Deserialize;

use super::{grid::Grid, table};
use crate::trouble::Trouble;

/// Kinds of events are told apart up to so many.
const KINDS_MAX: usize = 1_000;

/// The events that a forecast may meet.
#[derive(Default)]
pub(super) struct Known {
    /// By when they begin.
    pub(super) events: Vec<Event>,
    pub(super) notes: Vec<String>,
}

/// An event as JSON tells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    name: String,
    #[serde(alias = "start")]
    from: serde_json::Value,
    #[serde(alias = "end")]
    until: serde_json::Value,
}

/// Reads the events of a file.
///
/// # Errors
/// If it cannot be read, or is neither a calendar nor a list of events; names the place.
pub(super) fn read(file: &Path, grid: &Grid, horizon: usize) -> Result<Known, Trouble> {
    let text = table::text(file, FEED_MAX as u64)?;
    let first = text.trim_start_matches('\u{feff}').trim_start();
    let feed = match first.starts_with(['[', '{']) {
        true => json(first),
        false => feed::read(&text, zoned).map_err(|broken| broken.to_string()),
    };
    let feed = feed.map_err(|wrong| {
        Trouble::failure(format!("{}: {wrong}", file.display()))
            .remedy("give an iCalendar file, or JSON [{\"name\": …, \"from\": …, \"until\": …}]")
    })?;
    Ok(placed(&feed, grid, horizon))
}

/// When a local time of a named time zone is.
fn zoned(zone: &str, civil: Civil) -> Option<i64> {
    let zone = jiff::tz::TimeZone::get(zone).ok()?;
    let utc = jiff::Timestamp::from_second(civil.unix()).ok()?;
    let local = utc.to_zoned(jiff::tz::TimeZone::UTC).datetime().to_zoned(zone).ok()?;
    Some(local.timestamp().as_second())
}

fn json(text: &str) -> Result<Feed, String> {
    let told: Vec<Told> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut feed = Feed { cut: told.len() > SCHEDULED_MAX, ..Feed::default() };
    for (index, event) in told.into_iter().take(SCHEDULED_MAX).enumerate() {
        let moment = |name: &str, value: &serde_json::Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let millis = table::moment(&text);
            millis
                .map(|millis| millis.div_euclid(1_000))
                .ok_or_else(|| format!("event {}: {name}: `{text}` is not a time", index + 1))
        };
        let (from, until) = (moment("from", &event.from)?, moment("until", &event.until)?);
        if until <= from {
            return Err(format!("event {}: it ends before it begins", index + 1));
        }
        feed.events.push(Scheduled { name: event.name, from, until });
    }
    feed.events.sort_by_key(|event| event.from);
    Ok(feed)
}

/// The events on the grid, those of a name as a kind.
fn placed(feed: &Feed, grid: &Grid, horizon: usize) -> Known {
    let mut kinds: BTreeMap<&str, u16> = BTreeMap::new();
    let mut known = Known::default();
    let end = (grid.length + horizon) as i64;
    for event in &feed.events {
        let from = grid.place(event.from.saturating_mul(1_000));
        let until = grid.place(event.until.saturating_mul(1_000).saturating_sub(1)) + 1;
        if until <= 0 || from >= end {
            continue;
        }
        let next = kinds.len().min(KINDS_MAX) as u16;
        let kind = *kinds.entry(&event.name).or_insert(next);
        let (from, until) = (from.max(0) as usize, until.min(end) as usize);
        known.events.push(Event { kind, from, until });
    }
    let (count, met) = (feed.events.len(), known.events.len());
    known.notes.push(format!("{met} of {count} scheduled event(s) fall into the series"));
    if feed.unclear > 0 {
        let text = "event(s) with a time or repetition that is not understood";
        known.notes.push(format!("{} {text}: left out, or taken once", feed.unclear));
    }
    if feed.cut {
        known.notes.push(format!("more events than are taken: the first {SCHEDULED_MAX} count"));
    }
    known
}
