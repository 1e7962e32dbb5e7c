//! Numbers and quantities: whole, decimal, degrees, and those that carry a unit. No float leaves
//! here, so what an operator writes means the same on every machine.

use std::ops::RangeInclusive;

use super::Reader;
use crate::document::tree::{Value, decimal_text};
use crate::document::units::{Quantity, RATE, SHARE, SIZE, Scale, TIME, Wrong, scaled};

impl Reader<'_> {
    /// A whole number in a range.
    #[must_use]
    pub fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let due = format!("write a whole number from {} to {}", range.start(), range.end());
        let number = match self.node.value {
            Value::Int(n) => n,
            Value::Float(_) => {
                self.fault("is not a whole number in range", due);
                return None;
            }
            _ => {
                self.not_due("a whole number", due);
                return None;
            }
        };
        match u64::try_from(number) {
            Ok(n) if range.contains(&n) => Some(n),
            Err(_) => {
                self.fault("may not be negative", due);
                None
            }
            Ok(_) => {
                self.fault("is out of range", due);
                None
            }
        }
    }

    /// A number of at least zero with at most `digits` decimals, times 10^`digits`: money in
    /// millionths, cores in thousandths. `max` bounds the result.
    #[must_use]
    pub fn decimal(&self, digits: u32, max: u64) -> Option<u64> {
        let unit = 10_u64.pow(digits);
        let due = format!("write a number from 0 to {}", max / unit);
        let text = match self.node.value {
            Value::Int(n) => n.to_string(),
            Value::Float(x) if x.is_finite() => x.to_string(),
            Value::Float(_) => {
                self.fault("must be a finite number", due);
                return None;
            }
            _ => {
                self.not_due("a number", due);
                return None;
            }
        };
        match scaled(&text, unit) {
            Ok(n) if n <= max => return Some(n),
            Ok(_) | Err(Scale::TooLarge) => self.fault("is too large", due),
            Err(Scale::Negative) => self.fault("may not be negative", due),
            Err(Scale::TooFine) => self.fault(
                format!("has more than {digits} decimals"),
                format!("round it to {digits} decimals"),
            ),
            Err(Scale::NotANumber) => self.not_due("a number", due),
        }
        None
    }

    /// A number from -`limit` to `limit`, in millionths, rounded: degrees on the earth.
    #[must_use]
    pub fn degrees(&self, limit: i32) -> Option<i32> {
        let due = format!("write decimal degrees from -{limit} to {limit}");
        let x = match self.node.value {
            Value::Int(n) => n as f64,
            Value::Float(x) => x,
            _ => {
                self.not_due("a number", due);
                return None;
            }
        };
        if x.is_finite() && x.abs() <= f64::from(limit) {
            // In range: 180 million fits an i32.
            return Some((x * 1e6).round() as i32);
        }
        self.fault("is not on the earth", due);
        None
    }

    /// A time such as `500ms` in milliseconds; the range is in milliseconds.
    #[must_use]
    pub fn millis(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let micros = |ms: &u64| ms.saturating_mul(1_000);
        let time = self.micros(micros(range.start())..=micros(range.end()))?;
        if time.is_multiple_of(1_000) {
            return Some(time / 1_000);
        }
        self.fault("a time is finer than one ms", "round it to whole milliseconds");
        None
    }

    /// A time such as `12.5ms` in microseconds; the range is in microseconds.
    #[must_use]
    pub fn micros(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.quantity(&TIME, range)
    }

    /// A size such as `64KiB` in bytes.
    #[must_use]
    pub fn bytes(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.quantity(&SIZE, range)
    }

    /// A rate such as `10Gbps` in bits a second.
    #[must_use]
    pub fn bits_per_second(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.quantity(&RATE, range)
    }

    /// A share such as `100%` in percent.
    #[must_use]
    pub fn percent(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.quantity(&SHARE, range)
    }

    fn wrong(&self, wrong: Wrong) {
        self.fault(wrong.problem, wrong.remedy);
    }

    fn quantity(&self, quantity: &Quantity, range: RangeInclusive<u64>) -> Option<u64> {
        let n = match &self.node.value {
            Value::Str(text) => match quantity.parse(text) {
                Ok(n) => n,
                Err(wrong) => {
                    self.wrong(wrong);
                    return None;
                }
            },
            Value::Int(n) => {
                self.wrong(quantity.bare(&n.to_string()));
                return None;
            }
            Value::Float(x) => {
                self.wrong(quantity.bare(&decimal_text(*x)));
                return None;
            }
            _ => {
                self.wrong(Wrong {
                    problem: format!("{} is due here, not {}", quantity.what, self.node.kind()),
                    remedy: quantity.bare("1").remedy,
                });
                return None;
            }
        };
        if range.contains(&n) {
            return Some(n);
        }
        let problem = if n == 0 { "may not be zero" } else { "is out of range" };
        let (least, most) = (quantity.write(*range.start()), quantity.write(*range.end()));
        self.fault(
            format!("{} here {problem}", quantity.what),
            format!("write {} from {least} to {most}", quantity.what),
        );
        None
    }
}
