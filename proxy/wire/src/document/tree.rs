//! What an operator wrote, as a tree in which every value and key still knows its line and column.
//! YAML and JSON both become this tree first: a typed deserialiser stops at its first fault and
//! forgets positions, and an operator wants all faults at once, each at its place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

/// Deepest nesting read.
pub const DEPTH_MAX: usize = 32;
/// Most values read from one text.
pub const NODES_MAX: usize = 2_000_000;
/// Most values that aliases (`*name`) may repeat.
const REPEATED_MAX: usize = 100_000;

/// Where something stands in the text it was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Line, from 1; 0 if it was not read from a text.
    pub line: u32,
    /// Column in characters, from 1; 0 if it was not read from a text.
    pub column: u32,
    /// Characters it spans on its line; 0 where that is not known.
    pub width: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it starts.
    pub at: At,
}

/// What stands there.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; beyond `i64` it is read as [`Value::Float`].
    Int(i64),
    /// A number with a fraction or an exponent, or one too large for an `i64`. May be NaN.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A map in the order written; a key given twice is here twice.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub at: At,
    /// What it is given.
    pub value: Node,
}

/// Why a text has no tree: it is not YAML, or it is larger or deeper than is read.
#[derive(Clone, Debug)]
pub(super) struct NotATree {
    pub(super) at: At,
    pub(super) problem: String,
    pub(super) remedy: &'static str,
}

/// Reads one YAML document (JSON is a subset) of at most [`NODES_MAX`] values.
pub(super) fn parse(text: &str) -> Result<Node, NotATree> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPEATED_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Node>(text, options).map_err(|error| {
        let at = error.location().map(At::from).unwrap_or_default();
        let (problem, remedy) = plain(&error);
        NotATree { at, problem, remedy }
    })
}

/// The parser's message without the position that the fault tells by itself, and what to do.
fn plain(error: &serde_saphyr::Error) -> (String, &'static str) {
    let message = error.without_snippet().to_string();
    let first = message.lines().next().unwrap_or_default();
    let end = first.find(" at line ").unwrap_or(first.len());
    match &first[..end] {
        breach if breach.starts_with("budget breached: Documents") => {
            ("holds more than one document".to_owned(), "keep what stands above the second `---`")
        }
        breach if breach.contains("budget breached") || breach.contains("limit exceeded") => (
            format!("is larger, deeper or more repetitive than is read: {breach}"),
            "flatten it, or write repeated parts once",
        ),
        message => {
            (crate::limits::detail(message), "see that indentation, quotes and brackets match")
        }
    }
}

impl From<Location> for At {
    fn from(location: Location) -> Self {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: narrow(location.line()),
            column: narrow(location.column()),
            width: narrow(location.span().len()),
        }
    }
}

impl Node {
    /// A value that was not read from a text.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self { value, at: At::default() }
    }

    /// Text that was not read from a text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Value::Str(text.into()))
    }

    /// A whole number that was not read from a text.
    #[must_use]
    pub fn int(n: u64) -> Self {
        Self::new(i64::try_from(n).map_or(Value::Float(n as f64), Value::Int))
    }

    /// `n` / 10^`digits` as a decimal number that was not read from a text. Exact for
    /// |n| < 2^53, since the quotient is rounded once and printed at its shortest.
    #[must_use]
    pub fn decimal(n: i64, digits: u32) -> Self {
        let unit = 10_i64.pow(digits);
        if n % unit == 0 {
            Self::new(Value::Int(n / unit))
        } else {
            Self::new(Value::Float(n as f64 / unit as f64))
        }
    }

    /// A list that was not read from a text.
    #[must_use]
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::new(Value::Seq(items.into_iter().collect()))
    }

    /// A map that was not read from a text.
    #[must_use]
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entry = |(key, value): (K, Self)| Entry { key: key.into(), at: At::default(), value };
        Self::new(Value::Map(entries.into_iter().map(entry).collect()))
    }

    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// As [`Node::get`], to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.value),
            _ => None,
        }
    }

    /// The item of this list whose `name` is `name`, by its index.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<usize> {
        let Value::Seq(items) = &self.value else {
            return None;
        };
        items.iter().position(
            |item| matches!(item.get("name").map(|n| &n.value), Some(Value::Str(s)) if s == name),
        )
    }

    /// What it is, for a fault: `a list`, `the number 7`...
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Str(_) => "text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// How it reads, for a fault: a scalar as it is, a list or map by its size.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Float(x) => decimal_text(*x),
            Value::Str(s) if s.is_empty() => "\"\"".to_owned(),
            Value::Str(s) => s.clone(),
            Value::Seq(items) => format!("a list of {}", items.len()),
            Value::Map(entries) => format!("a map of {}", entries.len()),
        }
    }
}

/// A float at its shortest, in plain digits unless that would be very long.
pub(super) fn decimal_text(x: f64) -> String {
    if x != 0.0 && x.is_finite() && !(1e-9..1e18).contains(&x.abs()) {
        format!("{x:e}")
    } else {
        x.to_string()
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let mut at = At::from(spanned.referenced);
        if matches!(spanned.value, Value::Seq(_) | Value::Map(_)) {
            at.width = 1;
        }
        Ok(Self { value: spanned.value, at })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or(Value::Float(n as f64), Value::Int))
    }

    fn visit_i128<E>(self, n: i128) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or(Value::Float(n as f64), Value::Int))
    }

    fn visit_u128<E>(self, n: u128) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or(Value::Float(n as f64), Value::Int))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float(x))
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::Str(s.to_owned()))
    }

    fn visit_string<E>(self, s: String) -> Result<Value, E> {
        Ok(Value::Str(s))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Value>>()? {
            let at = At::from(key.referenced);
            // A list or map for a key reads as its size, and no reader asks for such a key.
            let key = match key.value {
                Value::Str(text) => text,
                value => Node { value, at }.shown(),
            };
            entries.push(Entry { key, at, value: map.next_value()? });
        }
        Ok(Value::Map(entries))
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(n) => serializer.serialize_i64(*n),
            Value::Float(x) => serializer.serialize_f64(*x),
            Value::Str(s) => serializer.serialize_str(s),
            Value::Seq(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for entry in entries {
                    map.serialize_entry(&entry.key, &entry.value)?;
                }
                map.end()
            }
        }
    }
}
