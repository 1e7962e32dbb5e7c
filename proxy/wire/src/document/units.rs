//! Times, sizes, rates and shares as operators write them, `500ms` or `64KiB`, to whole numbers and
//! back. Arithmetic is on digits, not floats, so that what is written is what is meant, exactly.

/// A kind of quantity: its units and how to speak of it.
#[derive(Debug)]
pub struct Quantity {
    /// `a time`, `a size`...
    pub what: &'static str,
    /// Names of units with their factor over the whole number that is read.
    units: &'static [(&'static str, u64)],
    /// Units a remedy suggests, in order.
    usual: &'static [&'static str],
    /// How nothing is written.
    zero: &'static str,
    /// Units used when writing, largest first.
    written: &'static [(&'static str, u64)],
}

/// Times in microseconds.
pub static TIME: Quantity = Quantity {
    what: "a time",
    units: &[
        ("us", 1),
        ("ms", 1_000),
        ("s", 1_000_000),
        ("m", 60_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
    ],
    usual: &["ms", "s", "m", "h"],
    zero: "0s",
    written: &[("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)],
};

/// Sizes in bytes.
pub static SIZE: Quantity = Quantity {
    what: "a size",
    units: &[
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ],
    usual: &["KiB", "MiB", "GiB"],
    zero: "0B",
    written: &[
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
        ("B", 1),
    ],
};

/// Rates in bits a second.
pub static RATE: Quantity = Quantity {
    what: "a rate",
    units: &[
        ("bps", 1),
        ("kbps", 1_000),
        ("Mbps", 1_000_000),
        ("Gbps", 1_000_000_000),
        ("Tbps", 1_000_000_000_000),
    ],
    usual: &["Mbps", "Gbps"],
    zero: "0bps",
    written: &[
        ("Tbps", 1_000_000_000_000),
        ("Gbps", 1_000_000_000),
        ("Mbps", 1_000_000),
        ("kbps", 1_000),
        ("bps", 1),
    ],
};

/// Shares in percent.
pub static SHARE: Quantity = Quantity {
    what: "a share",
    units: &[("%", 1)],
    usual: &["%"],
    zero: "0%",
    written: &[("%", 1)],
};

/// What is wrong with a quantity as written, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl Quantity {
    /// Reads `12.5ms` to 12,500 (for [`TIME`]). A fraction finer than the whole number is a fault.
    ///
    /// # Errors
    /// [`Wrong`] tells what is wrong and what to write.
    pub fn parse(&self, text: &str) -> Result<u64, Wrong> {
        let text = text.trim();
        let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'));
        let (number, unit) = match split {
            Some(at) => (&text[..at], text[at..].trim_start()),
            None => (text, ""),
        };
        if number.is_empty() {
            return Err(self.wrong("does not begin with a number", self.example("1")));
        }
        if unit.is_empty() {
            return Err(self.bare(number));
        }
        let Some(&(_, factor)) = self.units.iter().find(|(name, _)| *name == unit) else {
            let known = self.units.iter().map(|(name, _)| *name);
            let remedy = match super::nearest::nearest(unit, known.clone()) {
                Some(near) => format!("did you mean `{number}{near}`?"),
                None => format!("the units are {}", list(known)),
            };
            return Err(self.wrong(&format!("has the unknown unit `{unit}`"), remedy));
        };
        scaled(number, factor).map_err(|scale| match scale {
            Scale::NotANumber => {
                self.wrong(&format!("has `{number}` for a number"), self.example("1"))
            }
            Scale::Negative => self.wrong("may not be negative", self.example("1")),
            Scale::TooFine => self.wrong(
                &format!("is finer than one {}", self.units[0].0),
                format!("round it to whole {}", self.units[0].0),
            ),
            Scale::TooLarge => self.wrong("is too large", "write a smaller one".to_owned()),
        })
    }

    /// What is wrong with a bare number where this quantity is due.
    #[must_use]
    pub fn bare(&self, number: &str) -> Wrong {
        self.wrong("needs its unit", self.example(number.trim_start_matches(['-', '+'])))
    }

    /// Writes a whole number in the unit that makes it shortest: 120,000,000 as `2m`.
    #[must_use]
    pub fn write(&self, n: u64) -> String {
        if n == 0 {
            return self.zero.to_owned();
        }
        let exact = self.written.iter().filter(|(_, factor)| n.is_multiple_of(*factor));
        exact
            .map(|(unit, factor)| format!("{}{unit}", n / factor))
            .min_by_key(String::len)
            .unwrap_or_else(|| n.to_string())
    }

    /// How to write one, with the number at hand: ``write `24ms`, `24s` or `24m` ``.
    fn example(&self, number: &str) -> String {
        let number = if number.is_empty() { "1" } else { number };
        let forms: Vec<String> = self.usual.iter().map(|unit| format!("{number}{unit}")).collect();
        format!("write {}", either(forms.iter().map(String::as_str)))
    }

    fn wrong(&self, problem: &str, remedy: String) -> Wrong {
        Wrong { problem: format!("{} {problem}", self.what), remedy }
    }
}

/// Why a decimal number has no whole multiple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    NotANumber,
    Negative,
    TooFine,
    TooLarge,
}

/// The decimal number `text` times `factor`, exactly.
pub(super) fn scaled(text: &str, factor: u64) -> Result<u64, Scale> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(Scale::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    let zero = |s: &str| s.bytes().all(|b| b == b'0');
    if negative && !(zero(whole) && zero(fraction)) {
        return Err(Scale::Negative);
    }
    // 20 digits and any factor of a unit fit a u128 together.
    if fraction.len() > 18 {
        return Err(Scale::TooFine);
    }
    let number = |s: &str| match s.trim_start_matches('0') {
        "" => Ok(0_u128),
        s if s.len() > 20 => Err(Scale::TooLarge),
        s => s.parse::<u128>().map_err(|_| Scale::NotANumber),
    };
    let power = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| Scale::TooFine)?);
    let part = number(fraction)? * u128::from(factor);
    if part % power != 0 {
        return Err(Scale::TooFine);
    }
    let total = number(whole)? * u128::from(factor) + part / power;
    u64::try_from(total).map_err(|_| Scale::TooLarge)
}

/// `` `a`, `b` and `c` ``.
pub(super) fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    joined(words, " and ")
}

/// `` `a`, `b` or `c` ``.
pub(super) fn either<'a>(words: impl Iterator<Item = &'a str>) -> String {
    joined(words, " or ")
}

fn joined<'a>(words: impl Iterator<Item = &'a str>, last: &str) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [init @ .., end] => format!("{}{last}{end}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests;
