//! Routes against a plain reading of the rules, and on the cases operators get wrong.

use homing_wire::{
    CookieSpec, KeySource, LongLived, Match, Policy, SameSite, Service, ServiceId, SessionSource,
    StateSpec, TrafficLimits, table::Facts,
};
use proptest::prelude::*;

use super::{Routes, bare_host};

fn service(name: &str, hosts: &[&str], path_prefix: &str) -> Service {
    Service {
        name: name.to_owned(),
        tenant: "default".to_owned(),
        matches: Match {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            path_prefix: path_prefix.to_owned(),
        },
        session: SessionSource {
            from: vec![KeySource::Cookie(CookieSpec {
                name: "homing".to_owned(),
                same_site: SameSite::Lax,
                secure: false,
            })],
            idle_ms: 1,
        },
        state: StateSpec::Stateless,
        long_lived: LongLived::Drain,
        cache: None,
        idempotency: false,
        lease_lost: homing_wire::LeaseLost::Stop,
        tier: homing_wire::Tier::T0,
        endpoints: Vec::new(),
        health: None,
        limits: TrafficLimits::default(),
    }
}

fn facts(matches: &[(&[&str], &str)]) -> Facts {
    let services = matches
        .iter()
        .enumerate()
        .map(|(index, (hosts, path))| service(&format!("s{index}"), hosts, path))
        .collect();
    Facts { zones: Vec::new(), services, places: Vec::new(), policy: Policy::default() }
}

fn find(matches: &[(&[&str], &str)], host: &str, path: &str) -> Option<u16> {
    Routes::compile(&facts(matches)).find(host, path).map(|service| service.0)
}

#[test]
fn the_most_exact_host_wins_then_the_longest_prefix() {
    let matches: &[(&[&str], &str)] = &[
        (&[], "/"),
        (&["*.example"], "/"),
        (&["*.shop.example"], "/"),
        (&["eu.shop.example"], "/api"),
        (&["eu.shop.example"], "/api/v2/"),
        (&["shop.example"], "/"),
    ];
    for (host, path, expected) in [
        ("shop.example", "/x", Some(5)),
        ("SHOP.Example:8080", "/x", Some(5)),
        ("shop.example.", "/x", Some(5)),
        ("eu.shop.example", "/api", Some(3)),
        ("eu.shop.example", "/api/x", Some(3)),
        ("eu.shop.example", "/api/v2", Some(4)),
        ("eu.shop.example", "/api/v2/y", Some(4)),
        ("eu.shop.example", "/api/v20", Some(3)),
        // Its own services do not cover the path, so the wildcard's do.
        ("eu.shop.example", "/apix", Some(2)),
        ("a.b.shop.example", "/", Some(2)),
        ("news.example", "/", Some(1)),
        ("example", "/", Some(0)),
        ("", "/", Some(0)),
        ("[::1]:80", "/", Some(0)),
        ("eu.shop.example", "*", Some(2)),
    ] {
        assert_eq!(find(matches, host, path), expected, "{host} {path}");
    }
}

#[test]
fn nothing_matches_without_a_service_for_it() {
    assert_eq!(find(&[(&["a.example"], "/")], "b.example", "/"), None);
    assert_eq!(find(&[(&["a.example"], "/x")], "a.example", "/"), None);
    assert_eq!(find(&[], "a.example", "/"), None);
    assert_eq!(find(&[(&["*.a"], "/")], ".a", "/"), Some(0));
    assert_eq!(find(&[(&["*.a"], "/")], &"x.".repeat(1_000), "/"), None);
}

#[test]
fn the_first_of_two_equal_claims_gets_it() {
    assert_eq!(find(&[(&["a"], "/x"), (&["a"], "/x/")], "a", "/x"), Some(0));
}

#[test]
fn a_host_loses_its_port_only() {
    for (host, bare) in [
        ("a.example:80", "a.example"),
        ("a.example", "a.example"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
        ("[::1]", "[::1]"),
        ("[::1", "["),
        ("", ""),
        (":", ""),
    ] {
        assert_eq!(bare_host(host), bare, "{host}");
    }
}

/// The rules as the documentation words them, by exhaustive search.
fn by_the_book(matches: &[(Vec<String>, String)], host: &str, path: &str) -> Option<ServiceId> {
    let host = bare_host(host).to_ascii_lowercase();
    let rank = |pattern: &str| match pattern.strip_prefix("*.") {
        None => (pattern == host).then_some(usize::MAX),
        Some(suffix) => host.ends_with(&format!(".{suffix}")).then_some(suffix.len()),
    };
    let mut best = None;
    for (index, (hosts, prefix)) in matches.iter().enumerate() {
        let prefix = prefix.trim_end_matches('/');
        let covered = path == prefix || path.starts_with(&format!("{prefix}/"));
        let rank = match hosts.is_empty() {
            true => Some(0),
            false => hosts.iter().filter_map(|host| rank(host)).max(),
        };
        let Some(rank) = rank.filter(|_| covered) else {
            continue;
        };
        if best.is_none_or(|(known, _)| (rank, prefix.len()) > known) {
            best = Some(((rank, prefix.len()), ServiceId(index as u16)));
        }
    }
    best.map(|(_, service)| service)
}

proptest! {
    #[test]
    fn find_agrees_with_the_rules(
        matches in prop::collection::vec(
            (
                prop::collection::vec("(\\*\\.)?[ab]{1,2}(\\.[ab]){0,2}", 0..3),
                "(/[ab]{1,2}){0,2}/?",
            ),
            0..8,
        ),
        host in "[abA]{1,2}(\\.[abB]){0,3}(:80)?",
        path in "(/[ab]{1,2}){1,3}",
    ) {
        let borrowed: Vec<(Vec<&str>, &str)> = matches
            .iter()
            .map(|(hosts, path)| (hosts.iter().map(String::as_str).collect(), path.as_str()))
            .collect();
        let list: Vec<(&[&str], &str)> =
            borrowed.iter().map(|(hosts, path)| (hosts.as_slice(), *path)).collect();
        let found = Routes::compile(&facts(&list)).find(&host, &path);
        prop_assert_eq!(found, by_the_book(&matches, &host, &path));
    }

    #[test]
    fn no_host_or_path_panics(host in ".*", path in ".*") {
        let _ = find(&[(&["a.example"], "/x"), (&["*.b"], "/"), (&[], "/y")], &host, &path);
    }
}
