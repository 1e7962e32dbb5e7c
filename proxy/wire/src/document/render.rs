//! A document back in the operator's form, units and all. What has a value is written out even
//! where it is the default, so that a stored document means the same after defaults change; what is
//! not stated (no limit, no price, no location) is left out.

use super::Document;
use super::policy::ACTS;
use super::services::{LEASE_LOST, LONG_LIVED, TIERS};
use super::sources::SAME_SITES;
use super::tree::Node;
use super::units::{RATE, SHARE, SIZE, TIME};
use super::zones::{INTAKES, PROTOCOLS, WEIGHT_DEFAULT};
use crate::policy::Policy;
use crate::service::{HealthCheck, KeySource, Match, Service, StateSpec, TrafficLimits};
use crate::zone::{Capacity, Endpoint, Place, Price, UpstreamProtocol, Zone};

type Fields = Vec<(&'static str, Node)>;

pub(super) fn document(document: &Document) -> Node {
    let Document { zones, services, places, policy: rules } = document;
    Node::map([
        ("zones", Node::list(zones.iter().map(zone))),
        ("services", Node::list(services.iter().map(|s| service(s, zones)))),
        ("places", Node::list(places.iter().map(|p| place(p, zones)))),
        ("policy", policy(rules)),
    ])
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> Node {
    let word = words.iter().find(|(_, other)| other == value).map(|(word, _)| *word);
    Node::text(word.unwrap_or_default())
}

fn millis(ms: impl Into<u64>) -> Node {
    Node::text(TIME.write(ms.into().saturating_mul(1_000)))
}

fn bytes(n: impl Into<u64>) -> Node {
    Node::text(SIZE.write(n.into()))
}

fn decimal(n: u64, digits: u32) -> Node {
    Node::decimal(i64::try_from(n).unwrap_or(i64::MAX), digits)
}

fn zone(zone: &Zone) -> Node {
    let mut fields: Fields = vec![("name", Node::text(&zone.name))];
    if let Some(location) = zone.location {
        let degrees = [location.lat_udeg, location.lon_udeg];
        fields
            .push(("location", Node::list(degrees.map(|udeg| Node::decimal(i64::from(udeg), 6)))));
    }
    if !zone.endpoints.is_empty() {
        fields.push(("endpoints", endpoints(&zone.endpoints)));
    }
    let limits = capacity(&zone.capacity);
    if !limits.is_empty() {
        fields.push(("capacity", Node::map(limits)));
    }
    let prices = price(&zone.price);
    if !prices.is_empty() {
        fields.push(("price", Node::map(prices)));
    }
    fields.push(("intake", word(&INTAKES, &zone.intake)));
    Node::map(fields)
}

fn endpoints(endpoints: &[Endpoint]) -> Node {
    Node::list(endpoints.iter().map(|endpoint| {
        let Endpoint { address, weight, protocol } = endpoint;
        if *weight == WEIGHT_DEFAULT && *protocol == UpstreamProtocol::default() {
            return Node::text(address);
        }
        Node::map([
            ("address", Node::text(address)),
            ("weight", Node::int(u64::from(*weight))),
            ("protocol", word(&PROTOCOLS, protocol)),
        ])
    }))
}

fn capacity(capacity: &Capacity) -> Fields {
    let stated = |n: u64, key, node: fn(u64) -> Node| (n > 0).then(|| (key, node(n)));
    [
        stated(capacity.sessions, "sessions", Node::int),
        stated(capacity.cpu_milli, "cpu", |n| decimal(n, 3)),
        stated(capacity.memory_bytes, "memory", bytes),
        stated(capacity.storage_iops, "storage_iops", Node::int),
        stated(capacity.bandwidth_bps, "bandwidth", |n| Node::text(RATE.write(n))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn price(price: &Price) -> Fields {
    let money = |n: u64, key| (n > 0).then(|| (key, decimal(n, 6)));
    [
        money(price.cpu_hour_micros, "cpu_hour"),
        money(price.memory_gib_hour_micros, "memory_gib_hour"),
        money(price.egress_gib_micros, "egress_gib"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn place(place: &Place, zones: &[Zone]) -> Node {
    let known = place.rtt_us.iter().zip(zones).filter(|(us, _)| **us != u32::MAX);
    let rtt: Vec<(&str, Node)> = known
        .map(|(us, zone)| (zone.name.as_str(), Node::text(TIME.write(u64::from(*us)))))
        .collect();
    let mut fields: Fields = vec![("name", Node::text(&place.name))];
    if !rtt.is_empty() {
        fields.push(("rtt", Node::map(rtt)));
    }
    Node::map(fields)
}

fn service(service: &Service, zones: &[Zone]) -> Node {
    let session = &service.session;
    let mut fields: Fields = vec![
        ("name", Node::text(&service.name)),
        ("tenant", Node::text(&service.tenant)),
        ("match", matches(&service.matches)),
        (
            "session",
            Node::map([
                ("from", Node::list(session.from.iter().map(key_source))),
                ("idle", millis(session.idle_ms)),
            ]),
        ),
        ("state", state(&service.state, zones)),
        ("long_lived", word(&LONG_LIVED, &service.long_lived)),
    ];
    if let Some(cache) = service.cache {
        let stated = [
            ("object_max", bytes(cache.object_bytes_max)),
            ("stale_while_revalidate", millis(cache.stale_while_revalidate_ms)),
            ("stale_if_error", millis(cache.stale_if_error_ms)),
            ("prewarm", prewarm(cache.prewarm_objects)),
        ];
        fields.push(("cache", Node::map(stated)));
    }
    if service.idempotency {
        fields.push(("idempotency", Node::text("on")));
    }
    fields.push(("tier", word(&TIERS, &service.tier)));
    fields.push(("lease_lost", word(&LEASE_LOST, &service.lease_lost)));
    if !service.endpoints.is_empty() {
        let own = service.endpoints.iter().filter_map(|(zone, own)| {
            Some((zones.get(zone.index())?.name.as_str(), endpoints(own)))
        });
        fields.push(("endpoints", Node::map(own)));
    }
    if let Some(check) = &service.health {
        fields.push(("health", health(check)));
    }
    fields.push(("limits", limits(&service.limits)));
    Node::map(fields)
}

fn prewarm(objects: u16) -> Node {
    match objects {
        0 => Node::text("off"),
        objects => Node::map([("objects", Node::int(u64::from(objects)))]),
    }
}

fn matches(matches: &Match) -> Node {
    let mut fields: Fields = Vec::new();
    if !matches.hosts.is_empty() {
        fields.push(("hosts", Node::list(matches.hosts.iter().map(Node::text))));
    }
    fields.push(("path", Node::text(&matches.path_prefix)));
    Node::map(fields)
}

fn key_source(source: &KeySource) -> Node {
    match source {
        KeySource::Cookie(cookie) => Node::map([(
            "cookie",
            Node::map([
                ("name", Node::text(&cookie.name)),
                ("same_site", word(&SAME_SITES, &cookie.same_site)),
                ("secure", Node::new(super::tree::Value::Bool(cookie.secure))),
            ]),
        )]),
        KeySource::Header { name } => Node::map([("header", Node::text(name))]),
        KeySource::JwtClaim { claim, key_id } => Node::map([(
            "jwt",
            Node::map([("claim", Node::text(claim)), ("key", Node::text(key_id))]),
        )]),
        KeySource::PathSegment { index } => Node::map([("path", Node::int(u64::from(*index)))]),
        KeySource::Query { name } => Node::map([("query", Node::text(name))]),
    }
}

fn state(state: &StateSpec, zones: &[Zone]) -> Node {
    match state {
        StateSpec::Stateless => Node::text("stateless"),
        StateSpec::Memory => Node::text("memory"),
        StateSpec::Hooks(hooks) => Node::map([(
            "hooks",
            Node::map([
                ("path", Node::text(&hooks.path)),
                ("timeout", millis(hooks.timeout_ms)),
                ("max", bytes(hooks.state_bytes_max)),
            ]),
        )]),
        StateSpec::Redis(redis) => Node::map([
            (
                "redis",
                Node::map(redis.servers.iter().filter_map(|(zone, url)| {
                    let zone = zones.get(zone.index())?;
                    Some((zone.name.as_str(), Node::text(url.to_string())))
                })),
            ),
            ("keys", Node::list(redis.keys.iter().map(|key| Node::text(key.text())))),
            ("timeout", millis(redis.timeout_ms)),
            ("state_max", bytes(redis.state_bytes_max)),
        ]),
    }
}

fn health(check: &HealthCheck) -> Node {
    Node::map([
        ("path", Node::text(&check.path)),
        ("interval", millis(check.interval_ms)),
        ("timeout", millis(check.timeout_ms)),
        ("fall", Node::int(u64::from(check.fall))),
        ("rise", Node::int(u64::from(check.rise))),
    ])
}

fn limits(limits: &TrafficLimits) -> Node {
    Node::map([
        ("body", bytes(limits.body_bytes_max)),
        ("replay", bytes(limits.replay_bytes_max)),
        ("connect_timeout", millis(limits.connect_timeout_ms)),
        ("response_timeout", millis(limits.response_timeout_ms)),
        ("client_timeout", millis(limits.client_timeout_ms)),
        ("retries", Node::int(u64::from(limits.retries))),
    ])
}

fn policy(policy: &Policy) -> Node {
    let Policy { hold, cut, moves, .. } = policy;
    let mut fields: Fields = vec![
        ("affinity_threshold", Node::int(u64::from(policy.affinity_threshold))),
        ("act", word(&ACTS, &policy.act)),
    ];
    if let Some(header) = &policy.place_header {
        fields.push(("place_header", Node::text(header)));
    }
    let hold = Node::map([
        ("requests_per_session", Node::int(u64::from(hold.requests_per_session))),
        ("requests_total", Node::int(u64::from(hold.requests_total))),
        ("bytes_total", bytes(hold.bytes_total)),
        ("wait_max", millis(hold.ms_max)),
    ]);
    let cut = Node::map([
        ("freeze_max", millis(cut.freeze_ms_max)),
        ("gap_wait", millis(cut.gap_wait_ms)),
        ("rounds_max", Node::int(u64::from(cut.rounds_max))),
    ]);
    let moves = Node::map([
        ("per_minute", Node::int(u64::from(moves.per_minute))),
        ("concurrent_per_pair", Node::int(u64::from(moves.concurrent_per_pair))),
        ("residence_min", millis(moves.residence_ms_min)),
        ("regret", Node::text(SHARE.write(u64::from(moves.regret_percent)))),
    ]);
    fields.extend([("hold", hold), ("cut", cut), ("moves", moves)]);
    fields.push(("currency_ms", decimal(policy.currency_us, 3)));
    Node::map(fields)
}
