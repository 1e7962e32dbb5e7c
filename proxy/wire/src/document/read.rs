//! Reads typed values out of a tree and never stops at the first fault: what cannot be read is told
//! and comes back as `None`. Hand-written combinators instead of derives, because a derive stops at
//! its first fault and cannot say what to do about it.

mod map;
mod number;

use std::collections::HashMap;

use super::fault::{Path, Sink};
use super::nearest::nearest;
use super::tree::{At, Entry, Node, Value};
use super::units::{either, list};

pub use map::{MapReader, Named};

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

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, sink: &'a Sink) -> Self {
        Self { node, path: Path::default(), sink, concealed: false }
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
        self.sink.add(self.node.at, &self.path, value, self.concealed, problem, remedy);
    }

    fn not_due(&self, due: &str, remedy: impl Into<String>) {
        self.fault(format!("{due} is due here, not {}", self.node.kind()), remedy);
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

    /// Whether a map stands here.
    #[must_use]
    pub(super) fn is_map(&self) -> bool {
        matches!(&self.node.value, Value::Map(_))
    }

    /// A key's value if this is a map that has it, without asking for it.
    #[must_use]
    pub(super) fn child(&self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &self.node.value else {
            return None;
        };
        entries.iter().find(|entry| entry.key == key).map(|entry| self.entry(entry).value)
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
            self.fault(format!("has too many items: {}", items.len()), format!("keep to {max}"));
            return None;
        }
        let item = |(index, node)| Self { node, path: self.path.index(index), ..self.clone() };
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
            self.fault(format!("has too many keys: {}", entries.len()), format!("keep to {max}"));
            return None;
        }
        Some(entries.iter().map(|entry| self.entry(entry)).collect())
    }

    /// Reads a map. Keys that `read` did not ask for are faults, so ask for every key before
    /// leaving early.
    #[must_use]
    pub fn map<T>(&self, read: impl FnOnce(&mut MapReader<'a>) -> Option<T>) -> Option<T> {
        let entries = self.entries()?;
        let mut map = MapReader::new(self.clone(), entries);
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
                self.not_due("a word or a map with one key", format!("write one of {words}"));
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
        let value = Self { node: &entry.value, path: self.path.key(&entry.key), ..self.clone() };
        Named { key: &entry.key, value, at: entry.at }
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
                    Self { node, path, ..self.clone() }.tell_duplicates();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
