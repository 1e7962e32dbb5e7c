//! Maps: with fields that are known, and with keys that are the operator's own names.

use super::Reader;
use crate::document::nearest::nearest;
use crate::document::tree::{At, Entry};
use crate::document::units::list;

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
    pub(super) at: At,
}

impl Named<'_> {
    /// Tells a fault of the key itself.
    pub fn fault(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        let Reader { path, sink, concealed, .. } = &self.value;
        let value = Some(self.key.to_owned());
        sink.add(self.at, path, value, *concealed, problem.into(), remedy.into());
    }
}

impl<'a> MapReader<'a> {
    pub(super) fn new(reader: Reader<'a>, entries: &'a [Entry]) -> Self {
        Self { reader, entries, asked: Vec::new() }
    }

    /// The map as a value: its place, and where to tell faults of the whole.
    #[must_use]
    pub fn itself(&self) -> &Reader<'a> {
        &self.reader
    }

    /// A key's value, if the key is given and not null.
    pub fn find(&mut self, key: &'static str) -> Option<Reader<'a>> {
        self.given(key).filter(|value| !value.is_null())
    }

    /// A key's value, null too: for a key that restricts, where null must not mean "without".
    pub fn given(&mut self, key: &'static str) -> Option<Reader<'a>> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.reader.entry(entry).value)
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
                self.reader.tell(None, format!("`{key}` is missing"), remedy.to_owned());
                None
            }
        }
    }

    /// Allows a key without reading it.
    pub fn allow(&mut self, key: &'static str) {
        self.asked.push(key);
    }

    pub(super) fn tell_unasked(self) {
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
                None => format!("take it out; known here: {}", list(self.asked.iter().copied())),
            };
            named.fault(format!("unknown field `{}`", entry.key), remedy);
        }
    }
}
