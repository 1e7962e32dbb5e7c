//! Scheduled events from an iCalendar feed (RFC 5545): what begins when, ends when, and is called
//! what. Only what a forecast needs is read; what is not understood is counted, not guessed.

use std::fmt;

mod civil;
mod repeat;

#[cfg(test)]
mod tests;

pub use civil::{Civil, seconds};
use repeat::Rule;

/// A feed is no longer than this, in bytes.
pub const FEED_MAX: usize = 4 << 20;
/// Events of a feed that are taken, each repetition one of them.
pub const SCHEDULED_MAX: usize = 10_000;

/// Something that is scheduled, in seconds of the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// What it is called: events of a name are of a kind.
    pub name: String,
    /// When it begins.
    pub from: i64,
    /// When it is over.
    pub until: i64,
}

/// What a feed holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// The events, by when they begin.
    pub events: Vec<Scheduled>,
    /// Events whose time or repetition was not understood: left out, or taken once.
    pub unclear: usize,
    /// Whether there were more than are taken.
    pub cut: bool,
}

/// Why a feed cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub wrong: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.wrong)
    }
}

impl std::error::Error for Broken {}

/// An event while it is read.
#[derive(Default)]
struct Draft {
    name: String,
    from: Option<(i64, bool)>,
    until: Option<i64>,
    lasts: Option<i64>,
    rule: Option<Rule>,
    unclear: bool,
    cancelled: bool,
}

/// Reads a feed. `zoned` tells when a local time of a named time zone is; where it does not know,
/// the time is taken as UTC and the event counted as unclear.
///
/// # Errors
/// If it is too long, is no calendar, or ends within an event.
pub fn read(text: &str, zoned: impl Fn(&str, Civil) -> Option<i64>) -> Result<Feed, Broken> {
    let broken = |line: usize, wrong: &str| Broken { line, wrong: wrong.to_owned() };
    if text.len() > FEED_MAX {
        return Err(broken(1, &format!("longer than the {FEED_MAX} bytes that a feed may have")));
    }
    let lines = unfolded(text);
    let is_calendar = lines.first().is_some_and(|(_, line)| line == "BEGIN:VCALENDAR");
    if !is_calendar {
        return Err(broken(1, "not a calendar: it has to begin with BEGIN:VCALENDAR"));
    }
    let mut feed = Feed::default();
    let mut draft: Option<Draft> = None;
    let mut inner = 0;
    let mut ended = false;
    for (number, line) in &lines {
        let Some((name, parameters, value)) = property(line) else {
            return Err(broken(*number, "no property: it has to read NAME:value"));
        };
        match (name.as_str(), value, &mut draft) {
            ("BEGIN", "VEVENT", None) => draft = Some(Draft::default()),
            ("BEGIN", "VEVENT", Some(_)) => {
                return Err(broken(*number, "an event begins within another"));
            }
            // Alarms and the like have properties of their own.
            ("BEGIN", _, Some(_)) => inner += 1,
            ("END", "VEVENT", Some(whole)) if inner == 0 => {
                whole.finish(&mut feed);
                draft = None;
            }
            ("END", _, Some(_)) if inner > 0 => inner -= 1,
            ("END", "VCALENDAR", None) => ended = true,
            (_, _, Some(draft)) if inner == 0 => draft.take(&name, parameters, value, &zoned),
            _ => {}
        }
    }
    if draft.is_some() || !ended {
        let last = lines.last().map_or(1, |(number, _)| *number);
        return Err(broken(last, "cut off: END:VCALENDAR is missing"));
    }
    feed.events.sort_by(|a, b| (a.from, a.until, &a.name).cmp(&(b.from, b.until, &b.name)));
    Ok(feed)
}

impl Draft {
    fn take(
        &mut self,
        name: &str,
        parameters: &str,
        value: &str,
        zoned: &impl Fn(&str, Civil) -> Option<i64>,
    ) {
        match name {
            "SUMMARY" => self.name = value.replace("\\,", ",").replace("\\;", ";"),
            "DTSTART" | "DTEND" => {
                let Some((civil, utc)) = Civil::parse(value) else {
                    self.unclear = true;
                    return;
                };
                let zone = parameters.split(';').find_map(|p| p.strip_prefix("TZID="));
                let local = match zone {
                    Some(zone) if !utc => zoned(zone.trim_matches('"'), civil),
                    _ => Some(civil.unix()),
                };
                self.unclear |= local.is_none();
                let at = local.unwrap_or_else(|| civil.unix());
                match name {
                    "DTSTART" => self.from = Some((at, civil.day_only)),
                    _ => self.until = Some(at),
                }
            }
            "DURATION" => match seconds(value) {
                Some(lasts) => self.lasts = Some(lasts),
                None => self.unclear = true,
            },
            "RRULE" => match Rule::parse(value) {
                Some(rule) => self.rule = Some(rule),
                None => self.unclear = true,
            },
            "RDATE" | "EXDATE" => self.unclear = true,
            "STATUS" => self.cancelled = value == "CANCELLED",
            _ => {}
        }
    }

    fn finish(&self, feed: &mut Feed) {
        feed.unclear += usize::from(self.unclear || self.from.is_none());
        let Some((from, day_only)) = self.from.filter(|_| !self.cancelled) else { return };
        let usual = if day_only { 86_400 } else { 3_600 };
        let end = self.until.or_else(|| Some(from.saturating_add(self.lasts?)));
        // What ends before it begins, or at once, lasts as long as such events do.
        let lasts = end.map_or(usual, |end| end.saturating_sub(from));
        let lasts = if lasts > 0 { lasts } else { usual };
        let room = SCHEDULED_MAX - feed.events.len().min(SCHEDULED_MAX);
        let starts = match &self.rule {
            Some(rule) => rule.starts(from, room + 1),
            None => vec![from],
        };
        feed.cut |= starts.len() > room;
        for from in starts.into_iter().take(room) {
            let (name, until) = (self.name.clone(), from.saturating_add(lasts));
            feed.events.push(Scheduled { name, from, until });
        }
    }
}

/// Lines with their numbers, those that go on put together.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, before))) => before.push_str(rest),
            _ if line.trim().is_empty() => {}
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    lines
}

/// A line's name, parameters and value.
fn property(line: &str) -> Option<(String, &str, &str)> {
    let mut quoted = false;
    let colon = line.char_indices().find(|(_, letter)| {
        quoted ^= *letter == '"';
        *letter == ':' && !quoted
    });
    let (head, value) = line.split_at(colon?.0);
    let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
    Some((name.to_ascii_uppercase(), parameters, value[1..].trim()))
}
