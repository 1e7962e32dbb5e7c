//! The section `services`: read, with each value's own range checked.

use super::checks::{Routes, Scope};
use super::read::Reader;
use super::zones::narrow;
use super::{sources, syntax, zones};
use crate::ids::{ZONES_MAX, ZoneId};
use crate::service::{HealthCheck, Hooks, LongLived, Service, StateSpec, TrafficLimits};
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
            "say where session state lives: `stateless`, `memory` or {hooks: {path: ...}}",
            state,
        );
        let long_lived = map.or("long_lived", LongLived::default(), |r| r.word(&LONG_LIVED));
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
            endpoints,
            health,
            limits,
        })
    })
}

fn state(reader: &Reader<'_>) -> Option<StateSpec> {
    let (kind, inner) = reader.choice(&["stateless", "memory", "hooks"])?;
    match (kind, inner) {
        ("hooks", None) => Some(StateSpec::Hooks(Hooks::default())),
        ("hooks", Some(inner)) => hooks(&inner).map(StateSpec::Hooks),
        (_, Some(inner)) => {
            inner.fault(format!("`{kind}` takes no settings"), format!("write `state: {kind}`"));
            None
        }
        ("memory", None) => Some(StateSpec::Memory),
        (_, None) => Some(StateSpec::Stateless),
    }
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
