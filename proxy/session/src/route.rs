//! Which service a request is for. Hosts are sorted lists searched without regard to case, so a
//! find allocates nothing and copies nothing, whatever a client sends as its host.

use std::cmp::Ordering;

use homing_wire::{ServiceId, table::Facts};

#[cfg(test)]
mod tests;

/// Longest host name that is searched by host; a longer one can only be any host's.
const HOST_BYTES_MAX: usize = 255;

/// The services' matches, compiled.
///
/// The most exact host whose services match the path wins: the host itself, then the longest
/// `*.suffix`, then services for any host. Within a host the longest path prefix wins.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// By name.
    exact: Vec<HostRoutes>,
    /// By suffix, without `*.`; `*.a.b` matches any number of labels before `.a.b`.
    wildcard: Vec<HostRoutes>,
    any: Vec<Route>,
}

#[derive(Clone, Debug)]
struct HostRoutes {
    host: Box<str>,
    routes: Vec<Route>,
}

/// A path prefix without a trailing slash, longest first within a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    prefix: Box<str>,
    service: ServiceId,
}

impl Routes {
    /// Compiles the matches of all services. Where two services claim one host and prefix, which
    /// a checked document does not have, the one listed first gets it.
    #[must_use]
    pub fn compile(facts: &Facts) -> Self {
        let mut routes = Self::default();
        for (index, service) in facts.services.iter().enumerate() {
            let route = Route {
                prefix: service.matches.path_prefix.trim_end_matches('/').into(),
                service: ServiceId(index as u16),
            };
            if service.matches.hosts.is_empty() {
                insert(&mut routes.any, route.clone());
            }
            for host in &service.matches.hosts {
                let (hosts, name) = match host.strip_prefix("*.") {
                    Some(suffix) => (&mut routes.wildcard, suffix),
                    None => (&mut routes.exact, host.as_str()),
                };
                insert_host(hosts, name, route.clone());
            }
        }
        routes
    }

    /// The service a request is for.
    ///
    /// `host` is the Host header or `:authority`, with or without a port; `path` is without the
    /// query. `None` if no service matches.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<ServiceId> {
        let host = bare_host(host);
        if host.len() <= HOST_BYTES_MAX {
            if let Some(service) = find_host(&self.exact, host, path) {
                return Some(service);
            }
            let mut rest = host;
            while let Some((_, suffix)) = rest.split_once('.') {
                if let Some(service) = find_host(&self.wildcard, suffix, path) {
                    return Some(service);
                }
                rest = suffix;
            }
        }
        find_path(&self.any, path)
    }
}

/// A host without its port and without the dot that ends a fully qualified name. An IPv6 address
/// keeps its brackets.
#[must_use]
pub fn bare_host(host: &str) -> &str {
    let bare = match host.rfind(']') {
        Some(end) if host.starts_with('[') => &host[..=end],
        _ => host.split(':').next().unwrap_or(host),
    };
    bare.strip_suffix('.').unwrap_or(bare)
}

fn find_host(hosts: &[HostRoutes], host: &str, path: &str) -> Option<ServiceId> {
    let index = hosts.binary_search_by(|entry| compare(&entry.host, host)).ok()?;
    find_path(&hosts[index].routes, path)
}

fn find_path(routes: &[Route], path: &str) -> Option<ServiceId> {
    routes.iter().find(|route| covers(&route.prefix, path)).map(|route| route.service)
}

/// Whether a prefix covers a path: whole segments only.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// Orders host names as their lower-case forms.
fn compare(a: &str, b: &str) -> Ordering {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    a.bytes().map(lower).cmp(b.bytes().map(lower))
}

fn insert_host(hosts: &mut Vec<HostRoutes>, name: &str, route: Route) {
    let name = bare_host(name);
    match hosts.binary_search_by(|entry| compare(&entry.host, name)) {
        Ok(index) => insert(&mut hosts[index].routes, route),
        Err(index) => {
            hosts.insert(index, HostRoutes { host: name.into(), routes: vec![route] });
        }
    }
}

fn insert(routes: &mut Vec<Route>, route: Route) {
    if routes.iter().any(|known| known.prefix == route.prefix) {
        return;
    }
    let at = routes.partition_point(|known| known.prefix.len() >= route.prefix.len());
    routes.insert(at, route);
}
