use std::collections::{BTreeMap, HashMap};

use homing_session::head::HeaderLookup;
use homing_wire::{
    Capacity, CookieSpec, Endpoint, Intake, KeySecret, KeySource, LongLived, Match, Place, Policy,
    Price, SameSite, SessionSource, StateSpec, TrafficLimits, UpstreamProtocol, Version, Zone,
    table::{Buckets, TableDraft},
};

use super::*;
use crate::http::cookie::{CookieKey, CookieKeys};

struct Headers<'a>(&'a [(&'a str, &'a [u8])]);

impl HeaderLookup for Headers<'_> {
    fn nth(&self, name: &str, n: usize) -> Option<&[u8]> {
        self.0.nth(name, n)
    }
}

fn zone(name: &str) -> Zone {
    let address = "127.0.0.1:1".to_owned();
    Zone {
        name: name.to_owned(),
        location: None,
        endpoints: vec![Endpoint { address, weight: 1, protocol: UpstreamProtocol::H1 }],
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    }
}

fn service(name: &str, path: &str, from: Vec<KeySource>) -> Service {
    Service {
        name: name.to_owned(),
        tenant: "default".to_owned(),
        matches: Match { hosts: Vec::new(), path_prefix: path.to_owned() },
        session: SessionSource { from, idle_ms: 86_400_000 },
        state: StateSpec::Stateless,
        long_lived: LongLived::Drain,
        cache: None,
        idempotency: false,
        lease_lost: homing_wire::LeaseLost::Stop,
        tier: homing_wire::Tier::T0,
        endpoints: Vec::new(),
        health: None,
        limits: TrafficLimits { body_bytes_max: 1_000, ..TrafficLimits::default() },
    }
}

fn live() -> Live {
    let cookie = KeySource::Cookie(CookieSpec {
        name: "homing".to_owned(),
        same_site: SameSite::Lax,
        secure: false,
    });
    let header = KeySource::Header { name: "x-user".to_owned() };
    let far = |rtt_us: [u32; 3]| rtt_us.to_vec();
    let facts = Facts {
        zones: vec![zone("paris"), zone("oregon"), zone("tokyo")],
        services: vec![
            service("shop", "/shop", vec![header, cookie]),
            service("files", "/files", Vec::new()),
        ],
        places: vec![
            Place { name: "Lyon".to_owned(), rtt_us: far([8_000, 140_000, 220_000]) },
            Place { name: "osaka".to_owned(), rtt_us: far([230_000, 110_000, 9_000]) },
        ],
        policy: Policy { place_header: Some("x-place".to_owned()), ..Policy::default() },
    };
    let draft = TableDraft {
        version: Version { term: 0, n: 1 },
        created_ms: 0,
        facts,
        buckets: Buckets::by_weight(&[1, 1, 1]),
        exceptions: BTreeMap::new(),
        directives: BTreeMap::new(),
    };
    Live::compile(draft.seal().unwrap())
}

fn keys() -> KeyReader {
    KeyReader {
        secret: KeySecret::from_material(b"session"),
        cookies: CookieKeys::new(CookieKey::from_material(b"cookie"), Vec::new()),
        tokens: HashMap::new(),
    }
}

fn ask(
    live: &Live,
    path: &str,
    headers: &[(&str, &[u8])],
    place: Option<PlaceId>,
    seed: u128,
) -> Result<Decision, Failure> {
    let headers = Headers(headers);
    let head = HeadView { method: "GET", host: "a.example", path, query: None, headers: &headers };
    let view = ZoneView::compile(live.table.facts(), &[]);
    let keys = keys();
    let learned = Learned::default();
    let now_ms = 1_000;
    decide(&Ask { live, view: &view, keys: &keys, head, place, learned: &learned, seed, now_ms }).0
}

#[test]
fn a_new_session_begins_in_the_zone_nearest_its_place_without_an_exception() {
    let live = live();
    for (place, zone) in [(0, 0), (1, 2)] {
        for seed in 0..50 {
            let decision = ask(&live, "/shop", &[], Some(PlaceId(place)), seed << 40).unwrap();
            assert_eq!(decision.zone, ZoneId(zone));
            let (key, origin) = decision.session.unwrap();
            assert_eq!(origin, KeyOrigin::Minted);
            assert_eq!(live.home(key).zone, ZoneId(zone));
            assert!(decision.cookie.is_some());
        }
    }
}

#[test]
fn the_cookie_it_sets_brings_the_session_home_from_anywhere() {
    let live = live();
    let first = ask(&live, "/shop", &[], Some(PlaceId(0)), 7).unwrap();
    let set = first.cookie.unwrap();
    let cookie = set.split(';').next().unwrap().as_bytes();
    let again = ask(&live, "/shop", &[("cookie", cookie)], Some(PlaceId(1)), 9).unwrap();
    assert_eq!(again.zone, first.zone);
    assert_eq!(again.session.unwrap().0, first.session.unwrap().0);
    assert_eq!((again.cookie, again.reason), (None, SteerReason::Bucket));
}

#[test]
fn a_user_goes_to_its_buckets_zone_wherever_it_is() {
    let live = live();
    let zones: std::collections::BTreeSet<_> = (0..100)
        .map(|user| {
            let user = user.to_string();
            let headers: &[(&str, &[u8])] = &[("x-user", user.as_bytes())];
            let decision = ask(&live, "/shop", headers, Some(PlaceId(0)), 1).unwrap();
            let elsewhere = ask(&live, "/shop", headers, Some(PlaceId(1)), 2).unwrap();
            assert_eq!(decision.zone, elsewhere.zone);
            assert_eq!(decision.zone, live.home(decision.session.unwrap().0).zone);
            decision.zone
        })
        .collect();
    assert_eq!(zones.len(), 3);
}

#[test]
fn a_service_without_sessions_goes_to_the_nearest_zone_and_may_fall_back() {
    let live = live();
    let decision = ask(&live, "/files/a", &[], Some(PlaceId(1)), 3).unwrap();
    assert_eq!((decision.session, decision.cookie), (None, None));
    assert_eq!(decision.zone, ZoneId(2));
    assert_eq!(decision.fallbacks.as_slice().len(), 2);
}

#[test]
fn what_nobody_serves_or_may_not_come_in_fails() {
    let live = live();
    assert_eq!(ask(&live, "/other", &[], None, 1), Err(Failure::NoRoute));
    let long: &[(&str, &[u8])] = &[("content-length", b"1001")];
    assert_eq!(ask(&live, "/shop", long, None, 1), Err(Failure::BodyTooLarge));
}

#[test]
fn places_are_found_by_name_in_any_case_and_only_if_known() {
    let live = live();
    let facts = live.table.facts();
    let places = Places::compile(facts);
    let place = |value: &[u8]| {
        let headers: &[(&str, &[u8])] = &[("x-place", value)];
        let headers = Headers(headers);
        let head = HeadView { method: "GET", host: "", path: "/", query: None, headers: &headers };
        place_of(facts, &places, &head)
    };
    assert_eq!(place(b"lyon"), Some(PlaceId(0)));
    assert_eq!(place(b" OSAKA "), Some(PlaceId(1)));
    assert_eq!(place(b"atlantis"), None);
    assert_eq!(place(&[b'a'; 5_000]), None);
    assert_eq!(place(b"\xff"), None);
}
