//! Dates and times as calendars write them, as seconds of the Unix epoch.

/// A date, with the time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 1 to 9999.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// Seconds since midnight.
    pub second: i64,
    /// Whether no time of the day was given.
    pub day_only: bool,
}

impl Civil {
    /// `19980118`, `19980118T230000` or `19980118T230000Z`; with it whether it is UTC.
    pub(super) fn parse(text: &str) -> Option<(Self, bool)> {
        let (text, utc) = match text.strip_suffix('Z') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let number = |text: &str, from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
        };
        let (year, month) = (number(date, 0, 4)?, number(date, 4, 6)?);
        let (day, whole) = (number(date, 6, 8)?, date.len() == 8);
        let second = match time {
            None => 0,
            Some(time) if time.len() == 6 => {
                let [hour, minute, second] =
                    [number(time, 0, 2)?, number(time, 2, 4)?, number(time, 4, 6)?];
                (hour < 24 && minute < 60 && second <= 60)
                    .then_some(3_600 * hour + 60 * minute + second)?
            }
            Some(_) => return None,
        };
        let valid = whole && year > 0 && (1..=12).contains(&month);
        let (year, month) = (year as i32, month as u8);
        if !valid || !(1..=i64::from(days_in(year, month))).contains(&day) {
            return None;
        }
        let day_only = time.is_none();
        Some((Self { year, month, day: day as u8, second, day_only }, utc))
    }

    /// As UTC.
    #[must_use]
    pub fn unix(self) -> i64 {
        86_400 * days(self.year, self.month, self.day) + self.second
    }
}

/// Days since 1970-01-01 (Howard Hinnant's `days_from_civil`).
pub(super) fn days(year: i32, month: u8, day: u8) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = (i64::from(month) + 9) % 12;
    let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of so many days since 1970-01-01.
pub(super) fn date(days: i64) -> (i32, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    ((year + era * 400 + i64::from(month <= 2)) as i32, month as u8, day as u8)
}

pub(super) fn days_in(year: i32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Seconds of a duration such as `PT1H30M` or `P2D`; none if it is none.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    let rest = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
    let (mut sum, mut number, mut timed) = (0_i64, None::<i64>, false);
    for letter in rest.chars() {
        let unit = match letter {
            'T' if number.is_none() && !timed => {
                timed = true;
                continue;
            }
            '0'..='9' => {
                let digit = i64::from(letter as u8 - b'0');
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            'W' if !timed => 604_800,
            'D' if !timed => 86_400,
            'H' if timed => 3_600,
            'M' if timed => 60,
            'S' if timed => 1,
            _ => return None,
        };
        sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && rest.len() > 1).then_some(sum)
}
