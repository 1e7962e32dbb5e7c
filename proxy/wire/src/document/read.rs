//! Reads typed values out of a tree and never stops at the first fault: what cannot be read is told
//! and comes back as `None`. Hand-written combinators instead of derives, because a derive stops at
//! its first fault and cannot say what to do about it.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::fault::{Path, Sink};
use super::nearest::nearest;
use super::tree::{At, Entry, Node, Value, decimal_text};
use super::units::{Quantity, RATE, SHARE, SIZE, Scale, TIME, Wrong, either, list, scaled};

/// The largest whole number every JSON reader keeps exactly.
pub const WHOLE_MAX: u64 = (1 << 53) - 1;

/// One value of the document, and where faults about it go.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    node: &'a Node,
    path: Path,
    sink: &'a Sink,
    concealed: bool,
}

/// A map being read. Keys nobody asked for are faults when the read ends.
#[derive(Debug)]
pub struct MapReader<'a> {
    reader: Reader<'a>,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

/// One entry of a map whose keys are the operator's own names.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// The key.
    pub key: &'a str,
    /// What it is given.
    pub value: Reader<'a>,
    at: At,
}

impl Named<'_> {
    /// Tells a fault of the key itself.
    pub fn fault(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        let Reader {
            path,
            sink,
            concealed,
            ..
        } = &self.value;
        let value = Some(self.key.to_owned());
        sink.add(
            self.at,
            path,
            value,
            *concealed,
            problem.into(),
            remedy.into(),
        );
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, sink: &'a Sink) -> Self {
        Self {
            node,
            path: Path::default(),
            sink,
            concealed: false,
        }
    }

    /// The value as it stands in the tree.
    #[must_use]
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// The line it starts on, from 1; 0 if it was not read from a text.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.node.at.line
    }

    /// Where it stands, for people: `zones[2].name`.
    #[must_use]
    pub fn place(&self) -> String {
        match self.node.at.line {
            0 => self.path.shown(),
            line => format!("{} (line {line})", self.path.shown()),
        }
    }

    /// This value and all below it hold a secret: faults show neither it nor its line.
    #[must_use]
    pub fn concealed(mut self) -> Self {
        self.concealed = true;
        self
    }

    /// Tells a fault of this value: what is wrong and what to do about it.
    pub fn fault(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        let value = Some(self.node.shown());
        self.tell(value, problem.into(), remedy.into());
    }

    fn tell(&self, value: Option<String>, problem: String, remedy: String) {
        self.sink.add(
            self.node.at,
            &self.path,
            value,
            self.concealed,
            problem,
            remedy,
        );
    }

    fn wrong(&self, wrong: Wrong) {
        self.fault(wrong.problem, wrong.remedy);
    }

    fn not_due(&self, due: &str, remedy: impl Into<String>) {
        self.fault(
            format!("{due} is due here, not {}", self.node.kind()),
            remedy,
        );
    }

    /// Whether nothing stands here (`null`, `~` or a key without a value).
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// Whether this is a list with nothing in it.
    #[must_use]
    pub fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::Seq(items) if items.is_empty())
    }

    /// A key's value if this is a map that has it, without asking for it.
    #[must_use]
    pub(super) fn child(&self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &self.node.value else {
            return None;
        };
        entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| self.entry(entry).value)
    }

    /// Text. A number or `true` is a fault whose remedy is quotes.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Str(text) => return Some(text),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                self.not_due("text", "put it in quotes");
            }
            _ => self.not_due("text", "write one word or a text in quotes"),
        }
        None
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        if let Value::Bool(b) = self.node.value {
            return Some(b);
        }
        self.not_due("`true` or `false`", "write `true` or `false`");
        None
    }

    /// A whole number in a range.
    #[must_use]
    pub fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let due = format!(
            "write a whole number from {} to {}",
            range.start(),
            range.end()
        );
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
        self.fault(
            "a time is finer than one ms",
            "round it to whole milliseconds",
        );
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
        let problem = if n == 0 {
            "may not be zero"
        } else {
            "is out of range"
        };
        let (least, most) = (quantity.write(*range.start()), quantity.write(*range.end()));
        self.fault(
            format!("{} here {problem}", quantity.what),
            format!("write {} from {least} to {most}", quantity.what),
        );
        None
    }

    /// One of a few words.
    #[must_use]
    pub fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let known = || words.iter().map(|(word, _)| *word);
        let Value::Str(text) = &self.node.value else {
            self.not_due("a word", format!("write {}", either(known())));
            return None;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        self.unknown_word(text, known());
        None
    }

    /// Tells that a word is none of the known ones, with the nearest of them.
    pub fn unknown_word(&self, text: &str, known: impl Iterator<Item = &'static str> + Clone) {
        let remedy = match nearest(text, known.clone()) {
            Some(near) => format!("did you mean `{near}`? It is one of {}", list(known)),
            None => format!("write {}", either(known)),
        };
        self.fault("is not a word known here", remedy);
    }

    /// The items of a list of at most `max`.
    #[must_use]
    pub fn items(&self, max: usize) -> Option<Vec<Self>> {
        let Value::Seq(items) = &self.node.value else {
            let remedy = match &self.node.value {
                Value::Map(_) => "begin each item with `- `".to_owned(),
                Value::Null => "write the list, or leave the key out".to_owned(),
                _ => format!("write [{}]", self.node.shown()),
            };
            self.not_due("a list", remedy);
            return None;
        };
        if items.len() > max {
            self.fault(
                format!("has too many items: {}", items.len()),
                format!("keep to {max}"),
            );
            return None;
        }
        let item = |(index, node)| Self {
            node,
            path: self.path.index(index),
            ..self.clone()
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Every item of a list, read; items that cannot be read are told and left out.
    #[must_use]
    pub fn list<T>(&self, max: usize, read: impl FnMut(&Self) -> Option<T>) -> Option<Vec<T>> {
        Some(self.items(max)?.iter().filter_map(read).collect())
    }

    /// The entries of a map whose keys are the operator's own names, at most `max`.
    #[must_use]
    pub fn named(&self, max: usize) -> Option<Vec<Named<'a>>> {
        let entries = self.entries()?;
        if entries.len() > max {
            self.fault(
                format!("has too many keys: {}", entries.len()),
                format!("keep to {max}"),
            );
            return None;
        }
        Some(entries.iter().map(|entry| self.entry(entry)).collect())
    }

    /// Reads a map. Keys that `read` did not ask for are faults, so ask for every key before
    /// leaving early.
    #[must_use]
    pub fn map<T>(&self, read: impl FnOnce(&mut MapReader<'a>) -> Option<T>) -> Option<T> {
        let entries = self.entries()?;
        let mut map = MapReader {
            reader: self.clone(),
            entries,
            asked: Vec::new(),
        };
        let result = read(&mut map);
        map.tell_unasked();
        result
    }

    /// A word that stands for itself, or a map with a single key that says which of several
    /// shapes this is: `memory`, `{hooks: {...}}`.
    #[must_use]
    pub fn choice(&self, words: &[&'static str]) -> Option<(&'static str, Option<Reader<'a>>)> {
        let known = |text: &str| words.iter().find(|word| **word == text).copied();
        match &self.node.value {
            Value::Str(text) => {
                if let Some(word) = known(text) {
                    return Some((word, None));
                }
                self.unknown_word(text, words.iter().copied());
            }
            Value::Map(entries) if entries.len() == 1 => {
                let named = self.entry(&entries[0]);
                if let Some(word) = known(named.key) {
                    return Some((word, Some(named.value).filter(|value| !value.is_null())));
                }
                let remedy = match nearest(named.key, words.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write {}", either(words.iter().copied())),
                };
                named.fault(format!("`{}` is not known here", named.key), remedy);
            }
            Value::Map(_) => {
                let words = either(words.iter().copied());
                self.fault("must have exactly one key", format!("write one of {words}"));
            }
            _ => {
                let words = either(words.iter().copied());
                self.not_due(
                    "a word or a map with one key",
                    format!("write one of {words}"),
                );
            }
        }
        None
    }

    fn entries(&self) -> Option<&'a [Entry]> {
        if let Value::Map(entries) = &self.node.value {
            return Some(entries);
        }
        self.not_due("a map", "write `key: value` lines, or {key: value}");
        None
    }

    fn entry(&self, entry: &'a Entry) -> Named<'a> {
        let value = Self {
            node: &entry.value,
            path: self.path.key(&entry.key),
            ..self.clone()
        };
        Named {
            key: &entry.key,
            value,
            at: entry.at,
        }
    }

    /// Tells every key given twice in this value and below.
    pub(super) fn tell_duplicates(&self) {
        match &self.node.value {
            Value::Map(entries) => {
                let mut seen: HashMap<&str, At> = HashMap::with_capacity(entries.len());
                for entry in entries {
                    let named = self.entry(entry);
                    if let Some(first) = seen.get(named.key) {
                        let problem = format!("`{}` is given twice in one map", named.key);
                        let remedy = format!("keep one; the first is on line {}", first.line);
                        named.fault(problem, remedy);
                    } else {
                        seen.insert(named.key, named.at);
                    }
                    named.value.tell_duplicates();
                }
            }
            Value::Seq(items) => {
                for (index, node) in items.iter().enumerate() {
                    let path = self.path.index(index);
                    Self {
                        node,
                        path,
                        ..self.clone()
                    }
                    .tell_duplicates();
                }
            }
            _ => {}
        }
    }
}

impl<'a> MapReader<'a> {
    /// The map as a value: its place, and where to tell faults of the whole.
    #[must_use]
    pub fn whole(&self) -> &Reader<'a> {
        &self.reader
    }

    /// A key's value, if the key is given and not null.
    pub fn find(&mut self, key: &'static str) -> Option<Reader<'a>> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.reader.entry(entry).value).filter(|value| !value.is_null())
    }

    /// A key's value read by `read`; `None` if it is not given, or told as a fault.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Reader<'a>) -> Option<T>,
    ) -> Option<T> {
        self.find(key).and_then(|value| read(&value))
    }

    /// As [`MapReader::optional`], with what holds if the key is not given.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Reader<'a>) -> Option<T>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// A key that must be given; `remedy` says what to write if it is not.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        read: impl FnOnce(&Reader<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.find(key) {
            Some(value) => read(&value),
            None => {
                self.reader
                    .tell(None, format!("`{key}` is missing"), remedy.to_owned());
                None
            }
        }
    }

    /// Allows a key without reading it.
    pub fn allow(&mut self, key: &'static str) {
        self.asked.push(key);
    }

    fn tell_unasked(self) {
        for entry in self.entries {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let named = self.reader.entry(entry);
            let given = |key: &str| self.entries.iter().any(|entry| entry.key == key);
            let free = self.asked.iter().copied().filter(|key| !given(key));
            let remedy = match nearest(&entry.key, free) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.asked.is_empty() => "take it out".to_owned(),
                None => format!(
                    "take it out; known here: {}",
                    list(self.asked.iter().copied())
                ),
            };
            named.fault(format!("unknown field `{}`", entry.key), remedy);
        }
    }
}

#[cfg(test)]
mod tests;
