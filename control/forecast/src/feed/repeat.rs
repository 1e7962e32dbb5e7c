//! Events that come again: every so many days, weeks or years.

use super::civil::{Civil, date, days, days_in};

/// Repetitions of an event that has no last one.
const ENDLESS: usize = 1_000;
/// Days, weeks or years that are looked at for them.
const TURNS_MAX: i64 = 20_000;
const DAY: i64 = 86_400;

/// How an event comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    every: Every,
    interval: i64,
    count: Option<usize>,
    until: Option<i64>,
    /// Days of the week, Monday first, if it names any.
    weekdays: Option<[bool; 7]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Every {
    Day,
    Week,
    Year,
}

impl Rule {
    /// None where it asks for what is not understood: by months, by the n-th weekday, and so on.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mut interval, mut count, mut until, mut weekdays) = (1, None, None, None);
        let mut every = None;
        for part in text.split(';') {
            match part.split_once('=')? {
                ("FREQ", "DAILY") => every = Some(Every::Day),
                ("FREQ", "WEEKLY") => every = Some(Every::Week),
                ("FREQ", "YEARLY") => every = Some(Every::Year),
                ("INTERVAL", number) => {
                    interval = number.parse().ok().filter(|n| (1..=1_000).contains(n))?;
                }
                ("COUNT", number) => count = Some(number.parse().ok()?),
                ("UNTIL", time) => {
                    let (civil, _) = Civil::parse(time)?;
                    // A day includes all of it.
                    until = Some(civil.unix() + if civil.day_only { DAY - 1 } else { 0 });
                }
                ("BYDAY", names) => weekdays = Some(named(names)?),
                ("WKST", _) => {}
                _ => return None,
            }
        }
        let every = every?;
        if weekdays.is_some() && every != Every::Week {
            return None;
        }
        Some(Self { every, interval, count, until, weekdays })
    }

    /// When it begins, the first time and again, at most so often.
    pub(super) fn starts(&self, first: i64, most: usize) -> Vec<i64> {
        let most = self.count.unwrap_or(ENDLESS).min(most);
        let mut starts = Vec::new();
        for turn in 0..TURNS_MAX {
            if starts.len() >= most {
                break;
            }
            match self.start(first, turn) {
                Some(start) if self.until.is_some_and(|until| start > until) => break,
                Some(start) => starts.push(start),
                None => {}
            }
        }
        starts
    }

    /// The candidate of a turn.
    fn start(&self, first: i64, turn: i64) -> Option<i64> {
        let (day, second) = (first.div_euclid(DAY), first.rem_euclid(DAY));
        let on = match (self.every, &self.weekdays) {
            (Every::Day, _) => day + turn * self.interval,
            (Every::Week, None) => day + 7 * turn * self.interval,
            (Every::Week, Some(weekdays)) => {
                // Day by day, in the weeks that count.
                let on = day + turn;
                let monday = |day: i64| (day + 3).div_euclid(7);
                let counts = (monday(on) - monday(day)) % self.interval == 0;
                let weekday = (on + 3).rem_euclid(7) as usize;
                (counts && weekdays[weekday]).then_some(on)?
            }
            (Every::Year, _) => {
                let (year, month, of_month) = date(day);
                let year = year.checked_add((turn * self.interval) as i32)?;
                (of_month <= days_in(year, month)).then(|| days(year, month, of_month))?
            }
        };
        on.checked_mul(DAY)?.checked_add(second)
    }
}

fn named(names: &str) -> Option<[bool; 7]> {
    let mut weekdays = [false; 7];
    for name in names.split(',') {
        let place = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"].iter().position(|n| *n == name)?;
        weekdays[place] = true;
    }
    Some(weekdays)
}
