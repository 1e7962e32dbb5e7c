//! The document as a whole: many faults at once against their expected text, round trips through
//! YAML and JSON, the shipped examples, and texts that are not documents.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tree::{Node, Value};
use super::{Document, FAULTS_MAX, Faults, parse_node, read};
use crate::ids::ZoneId;
use crate::policy::{Act, CutLimits, HoldLimits, MoveLimits, Policy};
use crate::redis::{KeyPattern, Redis, RedisUrl};
use crate::service::{
    CookieSpec, HealthCheck, Hooks, KeySource, LeaseLost, LongLived, Match, SameSite, Service,
    SessionSource, StateSpec, Tier, TrafficLimits,
};
use crate::zone::{Capacity, Endpoint, Intake, Location, Place, Price, UpstreamProtocol, Zone};

const SMALLEST: &str = "zones: [{name: home, endpoints: [127.0.0.1:9101]}]\n";

fn faults(text: &str) -> Faults {
    Document::parse(text).expect_err("a faulty document")
}

/// The first fault's path, problem and remedy of [`SMALLEST`] with more lines.
fn fault(more: &str) -> (String, String, String) {
    let faults = faults(&format!("{SMALLEST}{more}"));
    assert_eq!(faults.list().len(), 1, "{faults}");
    let fault = &faults.list()[0];
    (fault.path.clone(), fault.problem.clone(), fault.remedy.clone())
}

fn service_with(line: &str) -> String {
    format!(
        "services:\n  - name: shop\n    session: {{from: [{{cookie: sid}}]}}\n    \
         state: stateless\n    {line}\n"
    )
}

#[test]
fn tells_many_faults_at_once_as_expected() {
    let text = include_str!("testdata/many_faults.yaml");
    let faults = Document::parse_among(text, &["listen"]).expect_err("faults");
    let rendered = faults.render("many_faults.yaml");
    let expected = include_str!("testdata/many_faults.txt");
    assert!(rendered == expected, "many_faults.txt should read:\n{rendered}");
}

#[test]
fn the_same_faults_have_pointers_for_programs() {
    let faults = faults(r#"{"zones":[{"name":"a","endpoints":["h:1"],"price":{"a/b~c":-1}}]}"#);
    let json = serde_json::to_value(faults.list()).expect("json");
    assert_eq!(
        json,
        serde_json::json!([{
            "line": 1,
            "column": 52,
            "path": "zones[0].price[\"a/b~c\"]",
            "pointer": "/zones/0/price/a~1b~0c",
            "value": "a/b~c",
            "detail": "unknown field `a/b~c`",
            "remedy": "take it out; known here: `cpu_hour`, `memory_gib_hour` and `egress_gib`",
        }])
    );
}

#[test]
fn a_text_that_is_not_yaml_is_one_fault_with_its_place() {
    let cases: [(&str, u32, u32, &str); 7] = [
        ("", 1, 1, "the document is empty"),
        ("zones: [", 1, 8, "cannot be read: unclosed bracket '['"),
        ("zones: 'b", 1, 8, "cannot be read: unclosed quote"),
        ("- 1", 1, 1, "a map is due here, not a list"),
        ("a: 1\n---\nb: 1\n", 2, 1, "cannot be read: holds more than one document"),
        ("x: *nowhere", 1, 4, "cannot be read: alias references unknown anchor"),
        ("{\"zones\": []", 1, 1, "cannot be read: unclosed bracket '{'"),
    ];
    for (text, line, column, problem) in cases {
        let faults = faults(text);
        let fault = &faults.list()[0];
        assert_eq!(
            (faults.list().len(), fault.line, fault.column, fault.problem.as_str()),
            (1, line, column, problem),
            "{text:?}"
        );
    }
}

#[test]
fn bombs_are_refused_and_not_expanded() {
    let deep = format!("zones: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let last = n - 1;
        let items = vec![format!("*a{last}"); 10].join(", ");
        laughs.push_str(&format!("a{n}: &a{n} [{items}]\n"));
    }
    let long = "x".repeat(crate::limits::DOCUMENT_BYTES_MAX + 1);
    for text in [deep.as_str(), laughs.as_str(), long.as_str()] {
        let faults = faults(text);
        assert_eq!(faults.list().len(), 1, "{faults}");
        assert!(faults.render("bomb.yaml").len() < 2_000);
    }
}

#[test]
fn more_faults_than_are_told_are_counted() {
    let zones: String = (0..200).map(|n| format!("  - {{ name: z{n} }}\n")).collect();
    let faults = faults(&format!("zones:\n{zones}"));
    assert_eq!((faults.list().len(), faults.more()), (FAULTS_MAX, 200 - FAULTS_MAX));
    assert!(faults.render("many.yaml").ends_with("200 faults in many.yaml, 100 not shown\n"));
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    let faults = faults("zones: [{name: \"a\\e[31mb\\u202e\", endpoints: [h:1]}]\nx: \u{202e}y\n");
    let plain = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
    assert!(faults.render("a\u{1b}b").chars().all(plain), "{faults}");
    assert_eq!(faults.list()[0].value.as_deref(), Some("a\u{fffd}[31mb\u{fffd}"));
}

#[test]
fn a_secret_is_not_shown_in_its_fault() {
    let text = "secrets: { session_key: hunter2 }\n";
    let faults = read(text, |top| {
        top.optional("secrets", |r| {
            r.clone()
                .concealed()
                .map(|map| map.optional("session_key", |key| key.map(|_| Some(()))))
        });
        Some(())
    })
    .expect_err("a fault");
    assert_eq!(faults.list()[0].path, "secrets.session_key");
    assert!(!faults.render("f").contains("hunter2"), "{faults}");
    assert!(!serde_json::to_string(faults.list()).expect("json").contains("hunter2"));
}

#[test]
fn the_smallest_document_takes_the_defaults() {
    let document = Document::parse(&format!("{SMALLEST}{}", service_with("policy:"))).err();
    let unknown = document.expect("`policy` is no field of a service");
    assert_eq!(unknown.list()[0].problem, "unknown field `policy`");
    let document = Document::parse(&format!("{SMALLEST}{}", service_with("limits:"))).expect("ok");
    assert_eq!(document.policy, Policy::default());
    let shop = &document.services[0];
    assert_eq!(shop.limits, TrafficLimits::default());
    assert_eq!(shop.tenant, "default");
    assert_eq!(shop.matches, Match { hosts: vec![], path_prefix: "/".to_owned() });
    assert_eq!(shop.session.idle_ms, 24 * 3_600_000);
    assert_eq!((shop.health.as_ref(), shop.long_lived), (None, LongLived::Drain));
}

#[test]
fn session_sources_read_short_and_long() {
    let text = "session: {from: [{cookie: }, {header: X-User}, {jwt: sub}, \
                {jwt: {claim: uid, key: k2}}, {path: 1}, {query: sid}, cookie]}";
    let text = format!("{SMALLEST}services:\n  - name: shop\n    state: hooks\n    {text}\n");
    let faults = faults(&text);
    assert_eq!(faults.list()[0].problem, "is listed twice", "{faults}");
    let document = Document::parse(&text.replace(", cookie]", "]")).expect("a sound document");
    let text_of = |s: &str| s.to_owned();
    let cookie =
        CookieSpec { name: text_of("__Host-homing"), same_site: SameSite::Lax, secure: true };
    assert_eq!(
        document.services[0].session.from,
        [
            KeySource::Cookie(cookie),
            KeySource::Header { name: text_of("x-user") },
            KeySource::JwtClaim { claim: text_of("sub"), key_id: text_of("default") },
            KeySource::JwtClaim { claim: text_of("uid"), key_id: text_of("k2") },
            KeySource::PathSegment { index: 1 },
            KeySource::Query { name: text_of("sid") },
        ]
    );
    assert_eq!(document.services[0].state, StateSpec::Hooks(Hooks::default()));
}

#[test]
fn services_may_bring_their_own_endpoints_to_an_empty_zone() {
    let zones = "zones: [{name: a, endpoints: [h:1]}, {name: b}]\n";
    let own = service_with("endpoints: {b: [h:2], a: [h:3]}");
    let document = Document::parse(&format!("{zones}{own}")).expect("every service is served");
    let ids: Vec<ZoneId> = document.services[0].endpoints.iter().map(|(zone, _)| *zone).collect();
    assert_eq!(ids, [ZoneId(0), ZoneId(1)]);
    let lacking = faults(&format!("{zones}{}", service_with("endpoints: {a: [h:3]}")));
    assert_eq!(lacking.list()[0].problem, "has no endpoints, and neither has `shop` here");
    assert_eq!(lacking.list()[0].path, "zones[1]");
}

#[test]
fn routes_of_every_host_overlap_too() {
    let second = "  - name: cart\n    session: {from: [{cookie: sid}]}\n    state: memory\n";
    let (path, problem, remedy) = fault(&format!("{}{second}", service_with("match: {path: /}")));
    assert_eq!(path, "services[1]");
    assert_eq!(problem, "every host with path / is already the route of service `shop`");
    assert_eq!(remedy, "change one of the two; the other is services[0].match (line 6)");
    let apart = format!("{SMALLEST}{}{second}", service_with("match: {path: /shop}"));
    assert!(Document::parse(&apart).is_ok());
}

#[test]
fn empty_and_absent_sections_are_told_where_they_matter() {
    assert_eq!(faults("services: []").list()[0].problem, "there are no zones");
    assert_eq!(faults("zones: []").list()[0].path, "zones");
    assert!(Document::parse(&format!("{SMALLEST}services:\nplaces:\npolicy:\n")).is_ok());
    let none = read("data_dir: x", |top| {
        top.allow("data_dir");
        Some(Document::read_if_given(top))
    });
    assert_eq!(none.expect("no shared section, no fault"), None);
    let mut many = "zones:\n".to_owned();
    for n in 0..251 {
        many.push_str(&format!("- {{name: z{n}, endpoints: [h:1]}}\n"));
    }
    assert_eq!(faults(&many).list()[0].problem, "has too many items: 251");
}

#[test]
fn other_sections_come_back_as_they_stand() {
    let text = format!("admin: {{address: h:1}}\n{SMALLEST}");
    let (document, others) = Document::parse_among(&text, &["admin", "listen"]).expect("ok");
    assert_eq!(document.zones.len(), 1);
    let [(key, node)] = others.as_slice() else { panic!("one other section") };
    assert_eq!((key.as_str(), node.at.line, node.at.column), ("admin", 1, 8));
    assert!(matches!(&node.get("address").expect("there").value, Value::Str(s) if s == "h:1"));
    assert_eq!(Document::parse(&text).expect_err("not alone").list()[0].path, "admin");
}

#[test]
fn a_part_can_be_replaced_and_the_whole_checked() {
    let document = Document::parse(&format!("{SMALLEST}{}", service_with("health:"))).expect("ok");
    let mut tree = document.to_node();
    let body = "{\"name\": \"home\", \"endpoints\": [\"127.0.0.1:0\"]}";
    let zones = tree.get_mut("zones").expect("zones");
    let index = zones.named("home").expect("the zone");
    let Value::Seq(items) = &mut zones.value else { panic!("a list") };
    items[index] = parse_node(body).expect("JSON");
    let faults = super::read_node(&tree, body, Document::read).expect_err("port 0");
    let fault = &faults.list()[0];
    assert_eq!((fault.pointer.as_str(), fault.column), ("/zones/0/endpoints/0", 32));
    assert!(faults.render("body").contains("     ^^^^^^^^^^^^^\n"), "{faults}");
    assert!(document.check().is_ok());
}

#[test]
fn the_shipped_examples_have_sound_shared_sections() {
    let process = [
        "listen",
        "admin",
        "control",
        "state_dir",
        "trusted_peers",
        "expose_zone",
        "secrets",
        "jwt_keys",
        "access_log",
        "api",
        "link",
        "data_dir",
        "tokens",
        "document",
        "round",
        "sessions_max",
        "requests_per_second",
    ];
    let solo = include_str!("../../../../configs/solo.yaml");
    let zones = include_str!("../../../../configs/zones.yaml");
    let control = include_str!("../../../../configs/control.yaml");
    let (solo, sections) = Document::parse_among(solo, &process).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(solo.zones.len(), 3);
    assert!(sections.iter().any(|(key, _)| key == "listen"));
    let zones = Document::parse(zones).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(zones, solo, "what is pushed is what solo runs");
    let none = read(control, |top| {
        process.into_iter().for_each(|key| top.allow(key));
        Some(Document::read_if_given(top))
    });
    assert_eq!(none.unwrap_or_else(|f| panic!("{f}")), None);
}

#[test]
fn a_large_document_is_within_the_budgets() {
    let mut text = "zones:\n".to_owned();
    for n in 0..20 {
        text.push_str(&format!("  - {{ name: z{n}, endpoints: [10.0.0.{n}:80] }}\n"));
    }
    text.push_str("places:\n");
    for place in 0..2_000 {
        text.push_str(&format!("  - {{ name: p{place}, rtt: {{ "));
        for zone in 0..20 {
            text.push_str(&format!("z{zone}: {zone}ms, "));
        }
        text.push_str("} }\n");
    }
    let document = Document::parse(&text).unwrap_or_else(|f| panic!("{f}"));
    let json = serde_json::to_string(&document.to_node()).expect("json");
    assert_eq!(Document::parse(&json).unwrap_or_else(|f| panic!("{f}")), document);
}

fn redis_with(state: &str) -> String {
    let zones = "zones: [{name: a, endpoints: [h:1]}, {name: b, endpoints: [h:2]}]\n";
    format!(
        "{zones}services:\n  - name: shop\n    session: {{from: [cookie]}}\n    state: {state}\n"
    )
}

#[test]
fn a_service_may_keep_its_state_in_redis() {
    let sound = redis_with(
        "{redis: {b: \"rediss://shop@r2:6380/1\", a: \"redis://r1\"}, \
         keys: [\"sess:{id}\", \"cart:{id}:*\"], timeout: 1s, state_max: 1MiB}",
    );
    let document = Document::parse(&sound).unwrap_or_else(|f| panic!("{f}"));
    let StateSpec::Redis(redis) = &document.services[0].state else { panic!("not Redis") };
    let zones: Vec<_> = redis.servers.iter().map(|(zone, url)| (zone.0, url.address())).collect();
    assert_eq!(zones, [(0, "r1:6379".to_owned()), (1, "r2:6380".to_owned())]);
    assert_eq!((redis.timeout_ms, redis.state_bytes_max), (1_000, 1 << 20));
    let keys: Vec<_> = redis.keys.iter().map(crate::KeyPattern::text).collect();
    assert_eq!(keys, ["sess:{id}", "cart:{id}:*"]);
}

#[test]
fn faults_of_redis_name_what_to_write_and_never_a_password() {
    let both = "redis: {a: \"redis://r1\", b: \"redis://r2\"}";
    for (state, path, problem) in [
        ("redis".to_owned(), "services[0].state", "names no servers and no keys"),
        (format!("{{{both}}}"), "services[0].state", "`keys` is missing"),
        (format!("{{{both}, keys: []}}"), "services[0].state.keys", "names no keys"),
        (
            format!("{{{both}, keys: [sess]}}"),
            "services[0].state.keys[0]",
            "has no `{id}`, so it would name keys of every session",
        ),
        (
            format!("{{{both}, keys: [\"s:{{id}}\", \"s:{{id}}\"]}}"),
            "services[0].state.keys[1]",
            "is listed twice",
        ),
        (
            "{redis: {a: \"redis://r1\"}, keys: [\"s:{id}\"]}".to_owned(),
            "services[0].state.redis",
            "names no server for the zone `b`",
        ),
        (
            "{redis: {a: \"redis://r1\", b: \"redis://r1:6379/0\"}, keys: [\"s:{id}\"]}".to_owned(),
            "services[0].state.redis.b",
            "is the server of another zone too",
        ),
        (
            "{redis: {a: \"redis://r1\", b: \"redis://u:hush@r2\"}, keys: [\"s:{id}\"]}".to_owned(),
            "services[0].state.redis.b",
            "carries a password, and this document is read by many",
        ),
    ] {
        let faults = faults(&redis_with(&state));
        let found = faults.list().iter().any(|f| f.path == path && f.problem == problem);
        assert!(found, "{state}: {faults}");
        assert!(!faults.render("the document").contains("hush"), "{faults}");
    }
}

// --- Round trips of arbitrary documents ---

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        // Not a number too large for a float: serde_yaml leaves `1e309` bare.
        4 => "[a-z0-9-]{1,12}".prop_filter("finite", |s| s.parse().is_ok_and(f64::is_finite)
            || s.parse::<f64>().is_err()),
        // Words that some YAML reader takes for something else.
        1 => prop::sample::select(vec!["null", "true", "on", "no", "1e3", "0x1f", "007", "-", "1"])
            .prop_map(str::to_owned),
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let protocol = prop::sample::select(vec![
        UpstreamProtocol::H1,
        UpstreamProtocol::H2c,
        UpstreamProtocol::Tls,
    ]);
    let host = prop_oneof![
        Just("[::1]".to_owned()),
        Just("10.1.0.3".to_owned()),
        "[a-z]{1,5}(\\.[a-z]{1,5}){0,2}"
    ];
    (host, 1_u16.., 1_u16..=1_000, protocol).prop_map(|(host, port, weight, protocol)| Endpoint {
        address: format!("{host}:{port}"),
        weight,
        protocol,
    })
}

fn endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    prop::collection::vec(endpoint(), 1..4).prop_map(|list| {
        let by_address: BTreeMap<String, Endpoint> =
            list.into_iter().map(|e| (e.address.clone(), e)).collect();
        by_address.into_values().collect()
    })
}

fn zone() -> impl Strategy<Value = Zone> {
    let location = (-90_000_000..=90_000_000, -180_000_000..=180_000_000)
        .prop_map(|(lat_udeg, lon_udeg)| Location { lat_udeg, lon_udeg });
    let whole = || prop_oneof![Just(0), 0..10_000_u64, 0..=super::read::WHOLE_MAX];
    let capacity = (whole(), 0..=1_000_000_000_000_u64, 0..1_u64 << 60, whole(), whole()).prop_map(
        |(sessions, cpu_milli, memory_bytes, storage_iops, bandwidth_bps)| Capacity {
            sessions,
            cpu_milli,
            memory_bytes,
            storage_iops,
            bandwidth_bps,
        },
    );
    let money = || prop_oneof![Just(0), 0..1_000_000_u64, 0..=1_000_000_000_000_000_u64];
    let price = (money(), money(), money()).prop_map(|(cpu, memory, egress)| Price {
        cpu_hour_micros: cpu,
        memory_gib_hour_micros: memory,
        egress_gib_micros: egress,
    });
    let intake = prop::sample::select(vec![Intake::Open, Intake::Draining, Intake::Closed]);
    (name(), prop::option::of(location), endpoints(), capacity, price, intake).prop_map(
        |(name, location, endpoints, capacity, price, intake)| Zone {
            name,
            location,
            endpoints,
            capacity,
            price,
            intake,
            shadow_price_us: 0,
            gates: Vec::new(),
        },
    )
}

fn cookie() -> impl Strategy<Value = KeySource> {
    let same_site = prop::sample::select(vec![SameSite::Lax, SameSite::Strict, SameSite::None]);
    ("(__Host-)?[A-Za-z0-9_.-]{1,20}", same_site, any::<bool>()).prop_map(
        |(name, same_site, secure)| {
            let lower = name.to_ascii_lowercase();
            let forced = lower.starts_with("__host-")
                || lower.starts_with("__secure-")
                || same_site == SameSite::None;
            KeySource::Cookie(CookieSpec { name, same_site, secure: secure || forced })
        },
    )
}

fn key_sources() -> impl Strategy<Value = Vec<KeySource>> {
    let others = prop_oneof![
        "x-[a-z]{1,10}".prop_map(|name| KeySource::Header { name }),
        ("[a-z]{1,5}", name()).prop_map(|(claim, key_id)| KeySource::JwtClaim { claim, key_id }),
        (0_u8..=63).prop_map(|index| KeySource::PathSegment { index }),
        "[a-z\\[\\]#!]{1,5}".prop_map(|name| KeySource::Query { name }),
    ];
    (prop::collection::vec(others, 0..4), prop::option::of(cookie()), endpoint()).prop_map(
        |(mut sources, cookie, _)| {
            sources.sort_by_key(|source| format!("{source:?}"));
            sources.dedup();
            sources.extend(cookie);
            if sources.is_empty() {
                sources.push(KeySource::PathSegment { index: 0 });
            }
            sources
        },
    )
}

fn state() -> impl Strategy<Value = StateSpec> {
    let hooks = ("/[a-z%]{0,10}", 1_u32..=86_400_000, 1..=1_u64 << 40).prop_map(
        |(path, timeout_ms, state_bytes_max)| Hooks { path, timeout_ms, state_bytes_max },
    );
    let url = (any::<bool>(), prop::option::of("[a-z]{1,5}"), "[a-z]{1,5}", 1_u16.., any::<u16>());
    let url = url.prop_map(|(tls, user, host, port, db)| RedisUrl { tls, user, host, port, db });
    let key = "[a-z\\[\\]?'\"#]{0,4}\\{id\\}[*:a-z]{0,4}";
    let bounds = (1_u32..=86_400_000, 1..=1_u64 << 40);
    // A server for every zone there may be; `document` keeps those of zones that are there.
    let redis = (prop::collection::vec(url, 5), prop::collection::hash_set(key, 1..4), bounds)
        .prop_filter("apart", |(urls, ..)| (0..5).all(|n| !urls[..n].contains(&urls[n])))
        .prop_map(|(urls, keys, (timeout_ms, state_bytes_max))| Redis {
            servers: (0..).map(ZoneId).zip(urls).collect(),
            keys: keys.iter().map(|key| KeyPattern::parse(key).expect("sound")).collect(),
            timeout_ms,
            state_bytes_max,
        });
    prop_oneof![
        Just(StateSpec::Stateless),
        Just(StateSpec::Memory),
        hooks.prop_map(StateSpec::Hooks),
        redis.prop_map(StateSpec::Redis)
    ]
}

fn limits() -> impl Strategy<Value = TrafficLimits> {
    let ms = || prop_oneof![1_u32..10_000, 1_u32..=86_400_000];
    (0..=1_u64 << 40, 0_u32..=1 << 30, ms(), ms(), ms(), 0_u8..=10).prop_map(
        |(body_bytes_max, replay_bytes_max, connect, response, client, retries)| TrafficLimits {
            body_bytes_max,
            replay_bytes_max,
            connect_timeout_ms: connect,
            response_timeout_ms: response,
            client_timeout_ms: client,
            retries,
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    let hosts = prop::collection::btree_set("(\\*\\.)?[a-z]{1,8}\\.example", 0..3);
    let path = prop_oneof![Just("/".to_owned()), "/[a-z]{1,4}(/[a-z]{1,4}){0,2}"];
    let health = ("/[a-z]{0,4}", 1_u32..=86_400_000, 1_u32..=86_400_000, 1_u8..=100, 1_u8..=100)
        .prop_map(|(path, interval_ms, timeout_ms, fall, rise)| HealthCheck {
            path,
            interval_ms,
            timeout_ms,
            fall,
            rise,
        });
    let long_lived =
        prop::sample::select(vec![LongLived::Carry, LongLived::Reconnect, LongLived::Drain]);
    let session = (key_sources(), 1..=31_536_000_000_u64)
        .prop_map(|(from, idle_ms)| SessionSource { from, idle_ms });
    let own = prop::collection::btree_map(0_u8..5, endpoints(), 0..3);
    let cache = (1..=1_u64 << 30, 0_u32..=86_400_000, 0_u32..=86_400_000, 0_u16..=256).prop_map(
        |(object_bytes_max, stale_while_revalidate_ms, stale_if_error_ms, prewarm_objects)| {
            crate::CacheSpec {
                object_bytes_max,
                stale_while_revalidate_ms,
                stale_if_error_ms,
                prewarm_objects,
            }
        },
    );
    let lease =
        prop::sample::select(vec![(Tier::T0, LeaseLost::Stop), (Tier::T0, LeaseLost::Serve)]);
    let once = (any::<bool>(), lease);
    let head = (name(), name(), hosts, path, session, prop::option::of(cache), once);
    (head, state(), long_lived, own, prop::option::of(health), limits()).prop_map(
        |(head, state, long_lived, own, health, limits)| {
            let (name, tenant, hosts, path_prefix, session, cache, once) = head;
            let (idempotency, (tier, lease_lost)) = once;
            // Zone indices are brought into range once the number of zones is known.
            let own = own.into_iter().map(|(zone, list)| (ZoneId(zone), list));
            Service {
                name,
                tenant,
                matches: Match { hosts: hosts.into_iter().collect(), path_prefix },
                session,
                state,
                long_lived,
                cache,
                idempotency,
                tier,
                lease_lost,
                endpoints: own.collect(),
                health,
                limits,
            }
        },
    )
}

#[test]
fn a_tier_asks_for_state_and_for_a_policy_that_keeps_its_promise() {
    let stated = |lines: &str| {
        let text = format!(
            "zones: [{{ name: paris, endpoints: [\"127.0.0.1:1\"] }}]\nservices:\n  - name: shop\n    \
             session: {{ from: [{{ header: x-user }}] }}\n{lines}"
        );
        Document::parse(&text).map_err(|faults| format!("{faults:?}"))
    };
    let shop = stated("    state: hooks\n    tier: t1\n    lease_lost: serve\n").unwrap();
    assert_eq!((shop.services[0].tier, shop.services[0].lease_lost), (Tier::T1, LeaseLost::Serve));
    let nothing = stated("    state: stateless\n    tier: t1\n").unwrap_err();
    assert!(nothing.contains("there is no state to replicate"), "{nothing}");
    let twice = stated("    state: hooks\n    tier: t2\n    lease_lost: serve\n").unwrap_err();
    assert!(twice.contains("which `tier: t2` rules out"), "{twice}");
}

fn policy() -> impl Strategy<Value = Policy> {
    let hold = (any::<u16>(), any::<u32>(), 0..=1_u64 << 40, 1_u32..=86_400_000);
    let cut = (0_u32..=86_400_000, 0_u32..=3_600_000, 0_u8..=64);
    let moves = (any::<u32>(), 1_u16.., 0..=31_536_000_000_u64, 0_u16..=10_000);
    let header = prop::option::of("x-[a-z]{1,9}");
    (0_u16..=1_000, any::<bool>(), header, hold, cut, moves, 0..=1_000_000_000_000_u64).prop_map(
        |(affinity_threshold, on, place_header, hold, cut, moves, currency_us)| Policy {
            affinity_threshold,
            act: if on { Act::On } else { Act::Shadow },
            place_header,
            hold: HoldLimits {
                requests_per_session: hold.0,
                requests_total: hold.1,
                bytes_total: hold.2,
                ms_max: hold.3,
            },
            cut: CutLimits {
                freeze_ms_max: cut.0.clamp(1, hold.3),
                gap_wait_ms: cut.1,
                rounds_max: cut.2,
            },
            moves: MoveLimits {
                per_minute: moves.0,
                concurrent_per_pair: moves.1,
                residence_ms_min: moves.2,
                regret_percent: moves.3,
            },
            currency_us,
        },
    )
}

fn document() -> impl Strategy<Value = Document> {
    let zones = prop::collection::vec(zone(), 1..5);
    let services = prop::collection::vec(service(), 0..4);
    let rtt = prop_oneof![Just(u32::MAX), 0..=3_600_000_000_u32];
    let place = ("[A-Za-z~:#'é ]{0,6}[A-Za-z0-9]", prop::collection::vec(rtt, 5));
    let places = prop::collection::vec(place, 0..5);
    (zones, services, places, policy()).prop_map(|(zones, services, places, policy)| {
        let zones = unique(zones, |zone| &mut zone.name);
        let mut services = unique(services, |service| &mut service.name);
        let count = u8::try_from(zones.len()).expect("few zones");
        for (n, service) in services.iter_mut().enumerate() {
            // Routes of different services never overlap.
            service.matches.path_prefix = format!("/{n}{}", service.matches.path_prefix);
            let trimmed = service.matches.path_prefix.trim_end_matches('/').to_owned();
            service.matches.path_prefix = trimmed;
            let own: BTreeMap<ZoneId, Vec<Endpoint>> = std::mem::take(&mut service.endpoints)
                .into_iter()
                .map(|(zone, list)| (ZoneId(zone.0 % count), list))
                .collect();
            service.endpoints = own.into_iter().collect();
            if let StateSpec::Redis(redis) = &mut service.state {
                redis.servers.truncate(zones.len());
            }
        }
        let places = places.into_iter().map(|(name, rtt)| Place {
            name: name.trim().to_owned(),
            rtt_us: rtt[..zones.len()].to_vec(),
        });
        let places = unique(places.collect(), |place| &mut place.name);
        Document { zones, services, places, policy }
    })
}

fn unique<T>(items: Vec<T>, name: fn(&mut T) -> &mut String) -> Vec<T> {
    let mut seen = std::collections::HashSet::new();
    let mut items = items;
    items.retain_mut(|item| seen.insert(name(item).to_ascii_lowercase()));
    items
}

proptest! {
    #[test]
    fn a_document_survives_yaml_and_json(document in document()) {
        let node = document.to_node();
        let yaml = serde_yaml::to_string(&node).expect("yaml");
        let read = Document::parse(&yaml).map_err(|f| TestCaseError::fail(format!("{f}\n{yaml}")))?;
        prop_assert_eq!(&read, &document, "{}", yaml);
        let json = serde_json::to_string(&node).expect("json");
        let read = Document::parse(&json).map_err(|f| TestCaseError::fail(f.to_string()))?;
        prop_assert_eq!(&read, &document);
        let pretty = serde_json::to_string_pretty(&node).expect("json");
        prop_assert_eq!(Document::parse(&pretty).ok(), Some(document.clone()));
        prop_assert_eq!(Document::from_node(&node).ok(), Some(document.clone()));
        prop_assert!(document.check().is_ok());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        if let Err(faults) = Document::parse(&text) {
            prop_assert!(!faults.list().is_empty());
            prop_assert!(!faults.render("any").is_empty());
        }
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(
        text in "([a-z]{0,3}[:,\\-\\[\\]{}&*!|>'\"#%@`?~<\t \r\n.0-9\u{feff}\u{2028}]{0,3}){0,60}"
    ) {
        if let Err(faults) = Document::parse(&text) {
            prop_assert!(!faults.render("any").is_empty());
        }
    }

    /// A sound document with a few characters changed is read, or refused with a rendered fault.
    #[test]
    fn a_damaged_document_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..20,
        with in "[\\PC\n]{0,8}",
    ) {
        let text = include_str!("../../../../configs/solo.yaml");
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let mut damaged: String = chars[..at].iter().collect();
        damaged.push_str(&with);
        damaged.extend(&chars[(at + cut).min(chars.len())..]);
        if let Err(faults) = Document::parse(&damaged) {
            prop_assert!(faults.list().iter().all(|fault| !fault.problem.is_empty()));
            prop_assert!(!faults.render("damaged").is_empty());
        }
    }

    /// Any tree at all in place of any section is told or taken, never a panic.
    #[test]
    fn any_tree_is_read_or_refused(zones in tree(), services in tree(), places in tree()) {
        let top = Node::map([("zones", zones), ("services", services), ("places", places)]);
        if let Err(faults) = Document::from_node(&top) {
            prop_assert!(!faults.list().is_empty());
        }
    }
}

/// Trees of the words a document uses, in places where they do not belong.
fn tree() -> impl Strategy<Value = Node> {
    let words = vec![
        "name",
        "zones",
        "endpoints",
        "price",
        "cpu_hour",
        "location",
        "rtt",
        "match",
        "hosts",
        "session",
        "from",
        "cookie",
        "idle",
        "state",
        "hooks",
        "h:1",
        "24h",
        "64KiB",
        "-",
        "",
    ];
    let word = prop::sample::select(words).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Node::new(Value::Null)),
        any::<bool>().prop_map(|b| Node::new(Value::Bool(b))),
        any::<i64>().prop_map(|n| Node::new(Value::Int(n))),
        any::<f64>().prop_map(|x| Node::new(Value::Float(x))),
        word.clone().prop_map(Node::text),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Node::list),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(Node::map::<String>),
        ]
    })
}

#[test]
fn prewarming_is_part_of_a_cache_and_bounded() {
    let cache = |stated: &str| {
        let text = format!("{SMALLEST}{}", service_with(&format!("cache: {stated}")));
        Document::parse(&text).map(|document| document.services[0].cache)
    };
    let objects = |stated| cache(stated).expect("ok").map(|cache| cache.prewarm_objects);
    assert_eq!(objects("off"), None);
    assert_eq!(objects("on"), Some(crate::CacheSpec::PREWARM_OBJECTS));
    assert_eq!(objects("{prewarm: on}"), Some(crate::CacheSpec::PREWARM_OBJECTS));
    assert_eq!(objects("{prewarm: off, object_max: 1MiB}"), Some(0));
    assert_eq!(objects("{prewarm: {objects: 256}}"), Some(256));
    for (wrong, place) in [
        ("{prewarm: {objects: 257}}", "services[0].cache.prewarm.objects"),
        ("{prewarm: {objects: 0}}", "services[0].cache.prewarm.objects"),
        ("{prewarm: maybe}", "services[0].cache.prewarm"),
        ("{prewarm: {}}", "services[0].cache.prewarm"),
    ] {
        let faults = cache(wrong).expect_err(wrong);
        assert_eq!(faults.list().len(), 1, "{faults}");
        assert_eq!(faults.list()[0].path, place, "{faults}");
    }
}
