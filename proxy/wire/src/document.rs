//! The operator's document: zones, services, places and policy, read from YAML or JSON with every
//! fault told at once at its place, and written back in the same form. Hand-written over a tree
//! with positions, because a derived reader stops at its first fault.
//!
//! One file may also hold the settings of a process (`listen`, `admin`, `data_dir`...). Their types
//! live with the process; it reads them with the same [`read`](mod@read) combinators, in one pass
//! with the shared sections, so that their faults are told together:
//!
//! ```
//! use homing_wire::document::{self, Document, read::Reader};
//!
//! struct Settings {
//!     listen: Vec<String>,
//!     drain_ms: u64,
//!     document: Option<Document>,
//! }
//!
//! fn listener(reader: &Reader<'_>) -> Option<String> {
//!     reader.map(|map| {
//!         map.required("address", "write `address: 127.0.0.1:8080`", document::address)
//!     })
//! }
//!
//! fn settings(text: &str) -> Result<Settings, document::Faults> {
//!     document::read(text, |top| {
//!         // Ask for every key first and leave with `?` last: a key nobody asked for is a fault.
//!         let listen = top.required("listen", "write `listen: [{address: ...}]`", |r| {
//!             r.list(16, listener)
//!         });
//!         let drain_ms = top.or("drain", 30_000, |r| r.millis(1..=3_600_000));
//!         let document = Document::read_if_given(top);
//!         Some(Settings { listen: listen?, drain_ms, document })
//!     })
//! }
//!
//! let sound = settings("listen: [{address: 127.0.0.1:8080}]\ndrain: 10s").unwrap();
//! assert_eq!(sound.listen, ["127.0.0.1:8080"]);
//! assert_eq!(sound.drain_ms, 10_000);
//! assert!(sound.document.is_none());
//!
//! let faults = settings("listen: [{adress: 127.0.0.1}]\ndrain: 10").err().unwrap();
//! let paths: Vec<&str> = faults.list().iter().map(|fault| fault.path.as_str()).collect();
//! assert_eq!(paths, ["listen[0]", "listen[0].adress", "drain"]);
//! assert_eq!(faults.list()[1].remedy, "did you mean `address`?");
//! ```

mod checks;
mod fault;
mod nearest;
mod policy;
pub mod read;
mod render;
mod services;
mod sources;
pub(crate) mod syntax;
pub mod tree;
pub mod units;
mod zones;

pub use fault::{FAULTS_MAX, Fault, Faults};

use crate::ids::ZONES_MAX;
use crate::limits::{DOCUMENT_BYTES_MAX, PLACES_MAX, SERVICES_MAX};
use crate::policy::Policy;
use crate::service::Service;
use crate::zone::{Place, Zone};
use checks::{Routes, Scope};
use fault::{Path, Sink};
use read::{MapReader, Reader};
use tree::{Node, Value};

/// The shared sections of an operator's document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// `zones`, in the order written: a zone's id is its index.
    pub zones: Vec<Zone>,
    /// `services`, in the order written.
    pub services: Vec<Service>,
    /// `places`, in the order written.
    pub places: Vec<Place>,
    /// `policy`; its defaults if not given.
    pub policy: Policy,
}

impl Document {
    /// The top-level keys of the shared sections.
    pub const KEYS: [&'static str; 4] = ["zones", "services", "places", "policy"];

    /// Reads a text that holds the shared sections and nothing else.
    ///
    /// # Errors
    /// Every fault of the text.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        read(text, Self::read)
    }

    /// Reads the shared sections of a text that may hold `others` too. The others come back as
    /// they stand, in the order written, for whoever knows them.
    ///
    /// # Errors
    /// Every fault of the shared sections, and every key that is neither theirs nor in `others`.
    pub fn parse_among(
        text: &str,
        others: &[&'static str],
    ) -> Result<(Self, Vec<(String, Node)>), Faults> {
        read(text, |top| {
            let found = others.iter().filter_map(|key| {
                let value = top.find(key)?;
                Some(((*key).to_owned(), value.node().clone()))
            });
            let found = found.collect();
            Self::read(top).map(|document| (document, found))
        })
    }

    /// Reads the shared sections from a tree, such as one got from [`Document::to_node`] with a
    /// part replaced. Faults then carry no line unless the part was read from a text.
    ///
    /// # Errors
    /// Every fault of the tree.
    pub fn from_node(node: &Node) -> Result<Self, Faults> {
        read_node(node, "", Self::read)
    }

    /// Reads the shared sections within a process's file; `zones` must be given.
    pub fn read(top: &mut MapReader<'_>) -> Option<Self> {
        let zone_items = sections(top, "zones", ZONES_MAX);
        let service_items = sections(top, "services", SERVICES_MAX);
        let place_items = sections(top, "places", PLACES_MAX);
        let rules = top.find("policy");
        if zone_items.as_ref().is_some_and(Vec::is_empty) {
            let remedy = "give at least one: `zones: [{name: home, endpoints: [...]}]`";
            top.find("zones").as_ref().unwrap_or(top.itself()).fault("there are no zones", remedy);
        }
        // A section that could not be read is told; the others are checked without it.
        let zone_items = zone_items.unwrap_or_default();
        let scope = Scope::new(&zone_items);
        let mut routes = Routes::default();
        let zones = zone_items.iter().filter_map(zones::zone).collect();
        if let Some(services) = &service_items {
            checks::unserved_zones(&zone_items, services);
        }
        let service_items = service_items.unwrap_or_default();
        let place_items = place_items.unwrap_or_default();
        let services = service_items
            .iter()
            .filter_map(|item| services::service(item, &scope, &mut routes))
            .collect();
        let places = place_items.iter().filter_map(|item| zones::place(item, &scope)).collect();
        let policy = rules.and_then(|rules| policy::policy(&rules)).unwrap_or_default();
        checks::duplicate_names(&zone_items, "zone");
        checks::duplicate_names(&service_items, "service");
        checks::duplicate_names(&place_items, "place");
        Some(Self { zones, services, places, policy })
    }

    /// As [`Document::read`], or `None` without a fault if none of [`Document::KEYS`] is given: a
    /// proxy under control needs no zones in its own file.
    pub fn read_if_given(top: &mut MapReader<'_>) -> Option<Self> {
        let given = Self::KEYS.into_iter().filter(|key| top.find(key).is_some()).count() > 0;
        if given { Self::read(top) } else { None }
    }

    /// The document in the operator's form, to be written as YAML or JSON by any serde writer.
    /// Reading it gives the same document, except shadow prices, which are control's own.
    #[must_use]
    pub fn to_node(&self) -> Node {
        render::document(self)
    }

    /// Checks a document that was put together by a program as if an operator had written it.
    ///
    /// # Errors
    /// Every fault, without lines.
    pub fn check(&self) -> Result<(), Faults> {
        Self::from_node(&self.to_node()).map(drop)
    }
}

/// The items of a section; absent is empty, `None` is told.
fn sections<'a>(top: &mut MapReader<'a>, key: &'static str, max: usize) -> Option<Vec<Reader<'a>>> {
    top.find(key).map_or(Some(Vec::new()), |list| list.items(max))
}

/// Reads a text, YAML or JSON, whose top is a map. All faults that `read` and everything under it
/// tell come back together; a text that is not YAML is one fault.
///
/// # Errors
/// Every fault of the text. If `read` gives `None` without a fault, one is told for it.
pub fn read<T>(
    text: &str,
    read: impl FnOnce(&mut MapReader<'_>) -> Option<T>,
) -> Result<T, Faults> {
    read_node(&parse_node(text)?, without_mark(text), read)
}

/// Reads a text into a tree without looking at what it holds: to put a part into a larger tree
/// before [`Document::from_node`] or [`read_node`] looks at the whole.
///
/// # Errors
/// One fault, if the text is neither YAML nor JSON, or larger or deeper than is read.
pub fn parse_node(text: &str) -> Result<Node, Faults> {
    if text.len() > DOCUMENT_BYTES_MAX {
        let problem = format!("has {} bytes", text.len());
        let remedy = format!("keep to {DOCUMENT_BYTES_MAX} bytes");
        return Err(single(text, tree::At::default(), problem, remedy));
    }
    tree::parse(without_mark(text)).map_err(|wrong| {
        let problem = format!("cannot be read: {}", wrong.problem);
        single(without_mark(text), wrong.at, problem, wrong.remedy.to_owned())
    })
}

/// The text without the byte order mark that some editors put before it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// As [`read`](fn@read), from a tree; `source` is the text it was read from, for the snippets, or
/// empty.
///
/// # Errors
/// Every fault of the tree.
pub fn read_node<T>(
    node: &Node,
    source: &str,
    read: impl FnOnce(&mut MapReader<'_>) -> Option<T>,
) -> Result<T, Faults> {
    let sink = Sink::default();
    let reader = Reader::new(node, &sink);
    let result = if matches!(node.value, Value::Null) {
        reader.fault("the document is empty", "write its sections, `zones:` first");
        None
    } else {
        reader.tell_duplicates();
        reader.map(read)
    };
    match result {
        Some(value) if sink.is_empty() => Ok(value),
        _ => {
            if sink.is_empty() {
                reader.fault("cannot be used", "compare it with the examples in configs/");
            }
            Err(sink.into_faults(source))
        }
    }
}

fn single(text: &str, at: tree::At, problem: String, remedy: String) -> Faults {
    let sink = Sink::default();
    sink.add(at, &Path::default(), None, false, problem, remedy);
    sink.into_faults(text)
}

/// Reads `host:port`, an IPv6 host in brackets, for the settings of a process.
#[must_use]
pub fn address(reader: &Reader<'_>) -> Option<String> {
    syntax::address(reader)
}

/// Reads a name, 1..=63 of `[a-z0-9-]`, for the settings of a process.
#[must_use]
pub fn name(reader: &Reader<'_>) -> Option<String> {
    syntax::name(reader)
}

/// Reads an absolute URL path, for the settings of a process.
#[must_use]
pub fn path(reader: &Reader<'_>) -> Option<String> {
    syntax::path(reader)
}

#[cfg(test)]
mod tests;
