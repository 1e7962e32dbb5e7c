//! What concerns several parts of a document at once: names given twice, zones named but not there,
//! routes two services claim, zones where nothing answers. Told beside all other faults, on the
//! tree, so that a fault in one field hides none in another.

use std::collections::HashMap;

use super::nearest::nearest;
use super::read::{Named, Reader};
use super::tree::Value;
use super::units::list;
use crate::ids::ZoneId;

/// The zones of the document by name; also those that have faults of their own.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    ids: HashMap<&'a str, ZoneId>,
    names: Vec<&'a str>,
    zones: usize,
}

impl<'a> Scope<'a> {
    pub(super) fn new(zones: &[Reader<'a>]) -> Self {
        let mut scope = Self { zones: zones.len(), ..Self::default() };
        for (zone, id) in zones.iter().zip(0_u8..) {
            if let Some((_, name)) = name_of(zone) {
                if scope.ids.contains_key(name) {
                    continue;
                }
                scope.ids.insert(name, ZoneId(id));
                scope.names.push(name);
            }
        }
        scope
    }

    /// How many zones there are.
    pub(super) fn zones(&self) -> usize {
        self.zones
    }

    /// The names of the zones, in order.
    pub(super) fn zone_names(&self) -> impl Iterator<Item = &'a str> {
        self.names.iter().copied()
    }

    /// The zone that a key names. Without any zones there is one fault already, not one per key.
    pub(super) fn zone(&self, entry: &Named<'_>) -> Option<ZoneId> {
        let found = self.ids.get(entry.key).copied();
        if found.is_none() && !self.names.is_empty() {
            let remedy = match nearest(entry.key, self.names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.names.len() > 8 => "name one of `zones`".to_owned(),
                None => format!("the zones are {}", list(self.names.iter().copied())),
            };
            entry.fault(format!("there is no zone `{}`", entry.key), remedy);
        }
        found
    }
}

/// Which service claims which host and path prefix.
#[derive(Debug, Default)]
pub(super) struct Routes {
    taken: HashMap<(String, String), Claim>,
}

#[derive(Debug)]
struct Claim {
    service: String,
    place: String,
}

impl Routes {
    /// Notes a route, or tells who has it already; an empty host is every host. `at` is the host
    /// in the document, or what states no host.
    pub(super) fn take(&mut self, host: &str, path: &str, service: &str, at: &Reader<'_>) -> bool {
        let key = (host.to_owned(), path.to_owned());
        if let Some(claim) = self.taken.get(&key) {
            let host = if host.is_empty() { "every host" } else { host };
            let (problem, remedy) = if claim.service == service {
                (format!("{host} is listed twice"), "keep one".to_owned())
            } else {
                let other = &claim.service;
                (
                    format!("{host} with path {path} is already the route of service `{other}`"),
                    format!("change one of the two; the other is {}", claim.place),
                )
            };
            at.fault(problem, remedy);
            return false;
        }
        let claim = Claim { service: service.to_owned(), place: at.place() };
        self.taken.insert(key, claim);
        true
    }
}

/// Tells every item whose name an earlier one has. Place names are compared without ASCII case.
pub(super) fn duplicate_names(items: &[Reader<'_>], what: &str) {
    let mut seen: HashMap<String, String> = HashMap::with_capacity(items.len());
    for item in items {
        let Some((reader, name)) = name_of(item) else {
            continue;
        };
        match seen.get(&name.to_ascii_lowercase()) {
            Some(first) => reader.fault(
                format!("another {what} has this name"),
                format!("rename one; the first is {first}"),
            ),
            None => {
                seen.insert(name.to_ascii_lowercase(), reader.place());
            }
        }
    }
}

/// Tells every zone without endpoints where some service has none of its own either.
pub(super) fn unserved_zones(zones: &[Reader<'_>], services: &[Reader<'_>]) {
    for zone in zones {
        if !zone.child("endpoints").is_none_or(|list| list.is_null() || list.is_empty_list()) {
            continue;
        }
        let name = name_of(zone).map_or("", |(_, name)| name);
        let lacking = services.iter().find(|service| {
            let own = service.child("endpoints").and_then(|own| own.child(name));
            own.is_none_or(|own| own.is_null() || own.is_empty_list())
        });
        let remedy = "list them: `endpoints: [10.0.0.1:8080]`";
        match lacking {
            Some(service) => {
                let service = name_of(service).map_or("a service", |(_, name)| name);
                let problem = format!("has no endpoints, and neither has `{service}` here");
                zone.fault(problem, remedy);
            }
            None if services.is_empty() => zone.fault("has no endpoints", remedy),
            None => {}
        }
    }
}

fn name_of<'a>(item: &Reader<'a>) -> Option<(Reader<'a>, &'a str)> {
    let reader = item.child("name")?;
    match &reader.node().value {
        Value::Str(name) => Some((reader.clone(), name)),
        _ => None,
    }
}
