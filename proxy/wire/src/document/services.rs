//! The section `services`: read, with each value's own range checked.

use super::checks::{Routes, Scope};
use super::read::{MapReader, Reader};
use super::zones::narrow;
use super::{sources, syntax, zones};
use crate::ids::{ZONES_MAX, ZoneId};
use crate::limits::HOT_OBJECTS_MAX;
use crate::redis::{KeyPattern, REDIS_KEYS_MAX, Redis, RedisUrl};
use crate::service::{
    CacheSpec, HealthCheck, Hooks, LeaseLost, LongLived, Service, StateSpec, Tier, TrafficLimits,
};
use crate::zone::Endpoint;

/// The tenant of a service that states none.
pub(super) const TENANT_DEFAULT: &str = "default";
/// Longest timeout, a day.
const TIMEOUT_MS_MAX: u64 = 24 * 3_600_000;
const BODY_BYTES_MAX: u64 = 1 << 40;
const REPLAY_BYTES_MAX: u64 = 1 << 30;
const STATE_BYTES_MAX: u64 = 1 << 40;

pub(super) const LONG_LIVED: [(&str, LongLived); 3] =
    [("carry", LongLived::Carry), ("reconnect", LongLived::Reconnect), ("drain", LongLived::Drain)];

pub(super) const TIERS: [(&str, Tier); 3] = [("t0", Tier::T0), ("t1", Tier::T1), ("t2", Tier::T2)];
pub(super) const LEASE_LOST: [(&str, LeaseLost); 2] =
    [("stop", LeaseLost::Stop), ("serve", LeaseLost::Serve)];

pub(super) fn service(
    reader: &Reader<'_>,
    scope: &Scope<'_>,
    routes: &mut Routes,
) -> Option<Service> {
    reader.map(|map| {
        let named = map.required("name", "name the service, such as `name: shop`", syntax::name);
        let tenant = map.or("tenant", TENANT_DEFAULT.to_owned(), syntax::name);
        let called = named.clone().unwrap_or_else(|| map.itself().place());
        let matches = match map.find("match") {
            Some(stated) => sources::matches(&stated, &called, routes),
            None => {
                routes.take("", "/", &called, map.itself());
                Some(sources::any())
            }
        };
        let session = map.required(
            "session",
            "say where the session key comes from: `session: {from: [{cookie: __Host-homing}]}`",
            sources::session,
        );
        let state = map.required(
            "state",
            "say where session state lives: `stateless`, `memory`, {hooks: {path: ...}} or \
             {redis: {...}, keys: [...]}",
            |reader| state(reader, scope),
        );
        let long_lived = map.or("long_lived", LongLived::default(), |r| r.word(&LONG_LIVED));
        let cache = map.or("cache", None, cache);
        let idempotency = map.or("idempotency", false, |r| r.word(&[("on", true), ("off", false)]));
        let tier = map.or("tier", Tier::default(), |reader| tier(reader, state.as_ref()));
        let lease_lost = map.or("lease_lost", LeaseLost::default(), |r| lease_lost(r, tier));
        let endpoints = map.or("endpoints", Vec::new(), |r| endpoints(r, scope));
        let health = map.optional("health", health);
        let limits = map.or("limits", TrafficLimits::default(), limits);
        Some(Service {
            name: named?,
            tenant,
            matches: matches?,
            session: session?,
            state: state?,
            long_lived,
            cache,
            idempotency,
            tier,
            lease_lost,
            endpoints,
            health,
            limits,
        })
    })
}

fn state(reader: &Reader<'_>, scope: &Scope<'_>) -> Option<StateSpec> {
    if reader.child("redis").is_some() {
        return redis(reader, scope).map(StateSpec::Redis);
    }
    let (kind, inner) = reader.choice(&["stateless", "memory", "hooks", "redis"])?;
    match (kind, inner) {
        ("hooks", None) => Some(StateSpec::Hooks(Hooks::default())),
        ("hooks", Some(inner)) => hooks(&inner).map(StateSpec::Hooks),
        (_, Some(inner)) => {
            inner.fault(format!("`{kind}` takes no settings"), format!("write `state: {kind}`"));
            None
        }
        ("redis", _) => {
            let remedy = "write {redis: {paris: \"redis://10.1.0.5\"}, keys: [\"sess:{id}\"]}";
            reader.fault("names no servers and no keys", remedy);
            None
        }
        ("memory", None) => Some(StateSpec::Memory),
        (_, None) => Some(StateSpec::Stateless),
    }
}

fn tier(reader: &Reader<'_>, state: Option<&StateSpec>) -> Option<Tier> {
    let tier = reader.word(&TIERS)?;
    if tier != Tier::T0 && matches!(state, Some(StateSpec::Stateless)) {
        reader
            .fault("there is no state to replicate", "write `tier: t0`, or say where state lives");
        return None;
    }
    Some(tier)
}

fn lease_lost(reader: &Reader<'_>, tier: Tier) -> Option<LeaseLost> {
    let lease_lost = reader.word(&LEASE_LOST)?;
    if lease_lost == LeaseLost::Serve && tier == Tier::T2 {
        let problem = "`serve` may execute a session in two places, which `tier: t2` rules out";
        reader.fault(problem, "write `lease_lost: stop`, or a lower tier");
        return None;
    }
    Some(lease_lost)
}

fn hooks(reader: &Reader<'_>) -> Option<Hooks> {
    let Hooks { path, timeout_ms, state_bytes_max } = Hooks::default();
    reader.map(|map| {
        Some(Hooks {
            path: map.or("path", path, syntax::path),
            timeout_ms: map.or("timeout", timeout_ms, timeout),
            state_bytes_max: map.or("max", state_bytes_max, |r| r.bytes(1..=STATE_BYTES_MAX)),
        })
    })
}

/// `on`, `off`, or the bounds.
fn cache(reader: &Reader<'_>) -> Option<Option<CacheSpec>> {
    let default = CacheSpec::default();
    if !reader.is_map() {
        return reader.word(&[("on", Some(default)), ("off", None)]);
    }
    reader.map(|map| {
        let millis = |map: &mut MapReader<'_>, key, default: u32| {
            map.or(key, default, |r| r.millis(0..=86_400_000).map(|ms| ms as u32))
        };
        Some(Some(CacheSpec {
            object_bytes_max: map
                .or("object_max", default.object_bytes_max, |r| r.bytes(1..=1 << 30)),
            stale_while_revalidate_ms: millis(
                map,
                "stale_while_revalidate",
                default.stale_while_revalidate_ms,
            ),
            stale_if_error_ms: millis(map, "stale_if_error", default.stale_if_error_ms),
            prewarm_objects: map.or("prewarm", default.prewarm_objects, prewarm),
        }))
    })
}

/// `on`, `off`, or how many objects.
fn prewarm(reader: &Reader<'_>) -> Option<u16> {
    if !reader.is_map() {
        return reader.word(&[("on", CacheSpec::PREWARM_OBJECTS), ("off", 0)]);
    }
    reader.map(|map| {
        let remedy = "write `objects: 64`, or `prewarm: off`";
        map.required("objects", remedy, |r| narrow(r.whole(1..=HOT_OBJECTS_MAX as u64)?))
    })
}

fn redis(reader: &Reader<'_>, scope: &Scope<'_>) -> Option<Redis> {
    let usual = Hooks::default();
    reader.map(|map| {
        let servers = map.required("redis", "name a server for each zone", |reader| {
            redis_servers(reader, scope)
        });
        let remedy = "say which keys are a session's: `keys: [\"sess:{id}\"]`";
        let keys = map.required("keys", remedy, redis_keys);
        let timeout_ms = map.or("timeout", usual.timeout_ms, timeout);
        let bytes = |r: &Reader<'_>| r.bytes(1..=STATE_BYTES_MAX);
        let state_bytes_max = map.or("state_max", usual.state_bytes_max, bytes);
        Some(Redis { servers: servers?, keys: keys?, timeout_ms, state_bytes_max })
    })
}

fn redis_servers(reader: &Reader<'_>, scope: &Scope<'_>) -> Option<Vec<(ZoneId, RedisUrl)>> {
    let mut servers: Vec<(ZoneId, RedisUrl)> = Vec::new();
    for entry in reader.named(ZONES_MAX)? {
        let zone = scope.zone(&entry);
        let text = entry.value.text();
        // An address with a password in it must not be shown again by the fault that refuses it.
        let secret = text.is_some_and(|text| text.contains('@'));
        let value = if secret { entry.value.concealed() } else { entry.value };
        let url = text.map(RedisUrl::parse);
        if let Some(Err(fault)) = &url {
            value.fault(fault.problem, fault.remedy);
        }
        if let (Some(zone), Some(Ok(url))) = (zone, url) {
            if servers.iter().any(|(_, other)| *other == url) {
                let remedy = "give every zone a server, or a database, of its own";
                value.fault("is the server of another zone too", remedy);
            }
            servers.push((zone, url));
        }
    }
    let lacking = scope.zone_names().find(|name| reader.child(name).is_none());
    if let Some(name) = lacking {
        let problem = format!("names no server for the zone `{name}`");
        reader.fault(problem, format!("add `{name}: \"redis://10.1.0.5:6379\"`"));
    }
    servers.sort_by_key(|(zone, _)| *zone);
    Some(servers)
}

fn redis_keys(reader: &Reader<'_>) -> Option<Vec<KeyPattern>> {
    let mut seen = Vec::new();
    let keys = reader.list(REDIS_KEYS_MAX, |item| {
        let pattern = KeyPattern::parse(item.text()?);
        match &pattern {
            Err(fault) => item.fault(fault.problem, fault.remedy),
            Ok(pattern) if seen.contains(pattern) => item.fault("is listed twice", "keep one"),
            Ok(pattern) => seen.push(pattern.clone()),
        }
        pattern.ok()
    });
    if reader.is_empty_list() {
        reader.fault("names no keys", "list one, such as `sess:{id}`");
    }
    keys
}

fn endpoints(reader: &Reader<'_>, scope: &Scope<'_>) -> Option<Vec<(ZoneId, Vec<Endpoint>)>> {
    let mut own = Vec::new();
    for entry in reader.named(ZONES_MAX)? {
        let zone = scope.zone(&entry);
        let listed = zones::endpoints(&entry.value);
        if listed.as_ref().is_some_and(Vec::is_empty) && entry.value.is_empty_list() {
            entry.fault("lists no endpoints", "list one, or take the zone out to use the zone's");
        }
        if let (Some(zone), Some(listed)) = (zone, listed) {
            own.push((zone, listed));
        }
    }
    own.sort_by_key(|(zone, _)| *zone);
    Some(own)
}

fn health(reader: &Reader<'_>) -> Option<HealthCheck> {
    let streak = |r: &Reader<'_>| narrow(r.whole(1..=100)?);
    reader.map(|map| {
        let path = map.required("path", "write `path: /healthz`", syntax::path);
        let interval_ms = map.or("interval", 5_000, timeout);
        let timeout_ms = map.or("timeout", 1_000, timeout);
        let fall = map.or("fall", 3, streak);
        let rise = map.or("rise", 2, streak);
        Some(HealthCheck { path: path?, interval_ms, timeout_ms, fall, rise })
    })
}

fn limits(reader: &Reader<'_>) -> Option<TrafficLimits> {
    let usual = TrafficLimits::default();
    reader.map(|map| {
        Some(TrafficLimits {
            body_bytes_max: map.or("body", usual.body_bytes_max, |r| r.bytes(0..=BODY_BYTES_MAX)),
            replay_bytes_max: map
                .or("replay", usual.replay_bytes_max, |r| narrow(r.bytes(0..=REPLAY_BYTES_MAX)?)),
            connect_timeout_ms: map.or("connect_timeout", usual.connect_timeout_ms, timeout),
            response_timeout_ms: map.or("response_timeout", usual.response_timeout_ms, timeout),
            client_timeout_ms: map.or("client_timeout", usual.client_timeout_ms, timeout),
            retries: map.or("retries", usual.retries, |r| narrow(r.whole(0..=10)?)),
        })
    })
}

/// A time that may not be zero, in milliseconds.
pub(super) fn timeout(reader: &Reader<'_>) -> Option<u32> {
    narrow(reader.millis(1..=TIMEOUT_MS_MAX)?)
}
