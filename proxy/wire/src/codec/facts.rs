//! Zones, services, places and policy to messages and back.

use super::{InvalidField, bounded, invalid, narrow, number, require, text, variant, zone};
use crate::{
    ids::{Incarnation, ZONES_MAX},
    limits::{
        ADDRESS_BYTES_MAX, ENDPOINTS_PER_ZONE_MAX, GATES_PER_ZONE_MAX, HOSTS_PER_SERVICE_MAX,
        HOT_OBJECTS_MAX, KEY_SOURCES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PLACES_MAX, SERVICES_MAX,
    },
    policy::{Act, CutLimits, HoldLimits, MoveLimits, Policy},
    proto::{self, key_source, state},
    redis::{KeyPattern, REDIS_KEYS_MAX, Redis, RedisUrl},
    service::{
        CacheSpec, CookieSpec, HealthCheck, Hooks, KeySource, LeaseLost, LongLived, Match,
        SameSite, Service, SessionSource, StateSpec, Tier, TrafficLimits,
    },
    table::Facts,
    zone::{Capacity, Endpoint, Gate, Intake, Location, Place, Price, UpstreamProtocol, Zone},
};

const INTAKES: [Intake; 3] = [Intake::Open, Intake::Draining, Intake::Closed];
const PROTOCOLS: [UpstreamProtocol; 3] =
    [UpstreamProtocol::H1, UpstreamProtocol::H2c, UpstreamProtocol::Tls];
const SAME_SITES: [SameSite; 3] = [SameSite::Lax, SameSite::Strict, SameSite::None];
const LONG_LIVED: [LongLived; 3] = [LongLived::Carry, LongLived::Reconnect, LongLived::Drain];
const TIERS: [Tier; 3] = [Tier::T0, Tier::T1, Tier::T2];
const LEASE_LOST: [LeaseLost; 2] = [LeaseLost::Stop, LeaseLost::Serve];
const ACTS: [Act; 2] = [Act::Shadow, Act::On];

pub(crate) fn to_proto(facts: &Facts) -> proto::Facts {
    proto::Facts {
        zones: facts.zones.iter().map(zone_to_proto).collect(),
        services: facts.services.iter().map(service_to_proto).collect(),
        places: facts
            .places
            .iter()
            .map(|place| proto::Place { name: place.name.clone(), rtt_us: place.rtt_us.clone() })
            .collect(),
        policy: Some(policy_to_proto(&facts.policy)),
    }
}

pub(crate) fn from_proto(message: proto::Facts) -> Result<Facts, InvalidField> {
    let zones = bounded("facts.zones", message.zones, ZONES_MAX)?;
    let services = bounded("facts.services", message.services, SERVICES_MAX)?;
    let places = bounded("facts.places", message.places, PLACES_MAX)?;
    Ok(Facts {
        zones: zones.into_iter().map(zone_from).collect::<Result<_, _>>()?,
        services: services.into_iter().map(service_from).collect::<Result<_, _>>()?,
        places: places.into_iter().map(place_from).collect::<Result<_, _>>()?,
        policy: policy_from(require("facts.policy", message.policy)?)?,
    })
}

fn zone_to_proto(zone: &Zone) -> proto::Zone {
    proto::Zone {
        name: zone.name.clone(),
        location: zone.location.map(|location| proto::Location {
            lat_udeg: location.lat_udeg,
            lon_udeg: location.lon_udeg,
        }),
        endpoints: zone.endpoints.iter().map(endpoint_to_proto).collect(),
        capacity: Some(proto::Capacity {
            sessions: zone.capacity.sessions,
            cpu_milli: zone.capacity.cpu_milli,
            memory_bytes: zone.capacity.memory_bytes,
            storage_iops: zone.capacity.storage_iops,
            bandwidth_bps: zone.capacity.bandwidth_bps,
        }),
        price: Some(proto::Price {
            cpu_hour_micros: zone.price.cpu_hour_micros,
            memory_gib_hour_micros: zone.price.memory_gib_hour_micros,
            egress_gib_micros: zone.price.egress_gib_micros,
        }),
        intake: number(&INTAKES, &zone.intake),
        shadow_price_us: zone.shadow_price_us,
        gates: zone.gates.iter().map(gate_to_proto).collect(),
    }
}

fn gate_to_proto(gate: &Gate) -> proto::Gate {
    proto::Gate {
        name: gate.name.clone(),
        incarnation: gate.incarnation.0,
        http: gate.http.clone(),
        link: gate.link.clone(),
        leaving: gate.leaving,
        entering: gate.entering,
    }
}

fn gate_from(message: proto::Gate) -> Result<Gate, InvalidField> {
    Ok(Gate {
        name: text("gate.name", message.name, NAME_BYTES_MAX)?,
        incarnation: Incarnation(message.incarnation),
        http: text("gate.http", message.http, ADDRESS_BYTES_MAX)?,
        link: text("gate.link", message.link, ADDRESS_BYTES_MAX)?,
        leaving: message.leaving,
        entering: message.entering,
    })
}

fn zone_from(message: proto::Zone) -> Result<Zone, InvalidField> {
    let capacity = message.capacity.unwrap_or_default();
    let price = message.price.unwrap_or_default();
    Ok(Zone {
        name: text("zone.name", message.name, NAME_BYTES_MAX)?,
        location: message.location.map(location_from).transpose()?,
        endpoints: endpoints_from("zone.endpoints", message.endpoints)?,
        capacity: Capacity {
            sessions: capacity.sessions,
            cpu_milli: capacity.cpu_milli,
            memory_bytes: capacity.memory_bytes,
            storage_iops: capacity.storage_iops,
            bandwidth_bps: capacity.bandwidth_bps,
        },
        price: Price {
            cpu_hour_micros: price.cpu_hour_micros,
            memory_gib_hour_micros: price.memory_gib_hour_micros,
            egress_gib_micros: price.egress_gib_micros,
        },
        intake: variant("zone.intake", &INTAKES, message.intake)?,
        shadow_price_us: message.shadow_price_us,
        gates: bounded("zone.gates", message.gates, GATES_PER_ZONE_MAX)?
            .into_iter()
            .map(gate_from)
            .collect::<Result<_, _>>()?,
    })
}

fn location_from(message: proto::Location) -> Result<Location, InvalidField> {
    if message.lat_udeg.unsigned_abs() > 90_000_000 || message.lon_udeg.unsigned_abs() > 180_000_000
    {
        return Err(invalid("zone.location", "not a point on the earth"));
    }
    Ok(Location { lat_udeg: message.lat_udeg, lon_udeg: message.lon_udeg })
}

fn endpoint_to_proto(endpoint: &Endpoint) -> proto::Endpoint {
    proto::Endpoint {
        address: endpoint.address.clone(),
        weight: endpoint.weight.into(),
        protocol: number(&PROTOCOLS, &endpoint.protocol),
    }
}

fn endpoints_from(
    field: &'static str,
    messages: Vec<proto::Endpoint>,
) -> Result<Vec<Endpoint>, InvalidField> {
    let endpoint = |message: proto::Endpoint| {
        Ok(Endpoint {
            address: text("endpoint.address", message.address, PATH_BYTES_MAX)?,
            weight: narrow("endpoint.weight", message.weight)?,
            protocol: variant("endpoint.protocol", &PROTOCOLS, message.protocol)?,
        })
    };
    bounded(field, messages, ENDPOINTS_PER_ZONE_MAX)?.into_iter().map(endpoint).collect()
}

fn place_from(message: proto::Place) -> Result<Place, InvalidField> {
    Ok(Place {
        name: text("place.name", message.name, NAME_BYTES_MAX)?,
        rtt_us: bounded("place.rtt_us", message.rtt_us, ZONES_MAX)?,
    })
}

fn service_to_proto(service: &Service) -> proto::Service {
    let endpoints =
        |(zone, endpoints): &(crate::ids::ZoneId, Vec<Endpoint>)| proto::ZoneEndpoints {
            zone: zone.0.into(),
            endpoints: endpoints.iter().map(endpoint_to_proto).collect(),
        };
    let limits = service.limits;
    proto::Service {
        name: service.name.clone(),
        tenant: service.tenant.clone(),
        hosts: service.matches.hosts.clone(),
        path_prefix: service.matches.path_prefix.clone(),
        from: service.session.from.iter().map(source_to_proto).collect(),
        idle_ms: service.session.idle_ms,
        state: Some(proto::State { kind: Some(state_to_proto(&service.state)) }),
        long_lived: number(&LONG_LIVED, &service.long_lived),
        cache: service.cache.map(|cache| proto::Cache {
            object_bytes_max: cache.object_bytes_max,
            stale_while_revalidate_ms: cache.stale_while_revalidate_ms,
            stale_if_error_ms: cache.stale_if_error_ms,
            prewarm_objects: Some(cache.prewarm_objects.into()),
        }),
        idempotency: service.idempotency,
        tier: number(&TIERS, &service.tier),
        lease_lost: number(&LEASE_LOST, &service.lease_lost),
        endpoints: service.endpoints.iter().map(endpoints).collect(),
        health: service.health.as_ref().map(|health| proto::HealthCheck {
            path: health.path.clone(),
            interval_ms: health.interval_ms,
            timeout_ms: health.timeout_ms,
            fall: health.fall.into(),
            rise: health.rise.into(),
        }),
        limits: Some(proto::Limits {
            body_bytes_max: limits.body_bytes_max,
            replay_bytes_max: limits.replay_bytes_max,
            connect_timeout_ms: limits.connect_timeout_ms,
            response_timeout_ms: limits.response_timeout_ms,
            client_timeout_ms: limits.client_timeout_ms,
            retries: limits.retries.into(),
        }),
    }
}

fn service_from(message: proto::Service) -> Result<Service, InvalidField> {
    let hosts = bounded("service.hosts", message.hosts, HOSTS_PER_SERVICE_MAX)?;
    let from = bounded("service.from", message.from, KEY_SOURCES_MAX)?;
    let endpoints = bounded("service.endpoints", message.endpoints, ZONES_MAX)?;
    let own = |own: proto::ZoneEndpoints| {
        let zone = zone("service.endpoints.zone", own.zone)?;
        Ok((zone, endpoints_from("service.endpoints", own.endpoints)?))
    };
    let limits = require("service.limits", message.limits)?;
    Ok(Service {
        name: text("service.name", message.name, NAME_BYTES_MAX)?,
        tenant: text("service.tenant", message.tenant, NAME_BYTES_MAX)?,
        matches: Match {
            hosts,
            path_prefix: text("service.path_prefix", message.path_prefix, PATH_BYTES_MAX)?,
        },
        session: SessionSource {
            from: from.into_iter().map(source_from).collect::<Result<_, _>>()?,
            idle_ms: message.idle_ms,
        },
        state: state_from(message.state)?,
        long_lived: variant("service.long_lived", &LONG_LIVED, message.long_lived)?,
        cache: message.cache.map(cache_from).transpose()?,
        idempotency: message.idempotency,
        tier: variant("service.tier", &TIERS, message.tier)?,
        lease_lost: variant("service.lease_lost", &LEASE_LOST, message.lease_lost)?,
        endpoints: endpoints.into_iter().map(own).collect::<Result<_, _>>()?,
        health: message.health.map(health_from).transpose()?,
        limits: TrafficLimits {
            body_bytes_max: limits.body_bytes_max,
            replay_bytes_max: limits.replay_bytes_max,
            connect_timeout_ms: limits.connect_timeout_ms,
            response_timeout_ms: limits.response_timeout_ms,
            client_timeout_ms: limits.client_timeout_ms,
            retries: narrow("limits.retries", limits.retries)?,
        },
    })
}

fn cache_from(cache: proto::Cache) -> Result<CacheSpec, InvalidField> {
    // Written by a control that knew nothing of it.
    let objects = cache.prewarm_objects.unwrap_or(CacheSpec::PREWARM_OBJECTS.into());
    if objects as usize > HOT_OBJECTS_MAX {
        let problem = format!("{objects}, at most {HOT_OBJECTS_MAX}");
        return Err(invalid("cache.prewarm_objects", problem));
    }
    Ok(CacheSpec {
        object_bytes_max: cache.object_bytes_max,
        stale_while_revalidate_ms: cache.stale_while_revalidate_ms,
        stale_if_error_ms: cache.stale_if_error_ms,
        prewarm_objects: narrow("cache.prewarm_objects", objects)?,
    })
}

fn health_from(message: proto::HealthCheck) -> Result<HealthCheck, InvalidField> {
    Ok(HealthCheck {
        path: text("health.path", message.path, PATH_BYTES_MAX)?,
        interval_ms: message.interval_ms,
        timeout_ms: message.timeout_ms,
        fall: narrow("health.fall", message.fall)?,
        rise: narrow("health.rise", message.rise)?,
    })
}

fn source_to_proto(source: &KeySource) -> proto::KeySource {
    let source = match source {
        KeySource::Cookie(cookie) => key_source::Source::Cookie(proto::Cookie {
            name: cookie.name.clone(),
            same_site: number(&SAME_SITES, &cookie.same_site),
            secure: cookie.secure,
        }),
        KeySource::Header { name } => key_source::Source::Header(name.clone()),
        KeySource::JwtClaim { claim, key_id } => key_source::Source::Jwt(proto::JwtClaim {
            claim: claim.clone(),
            key_id: key_id.clone(),
        }),
        KeySource::PathSegment { index } => key_source::Source::PathSegment((*index).into()),
        KeySource::Query { name } => key_source::Source::Query(name.clone()),
    };
    proto::KeySource { source: Some(source) }
}

fn source_from(message: proto::KeySource) -> Result<KeySource, InvalidField> {
    let name = |field, name| text(field, name, NAME_BYTES_MAX);
    Ok(match require("key_source.source", message.source)? {
        key_source::Source::Cookie(cookie) => KeySource::Cookie(CookieSpec {
            name: name("cookie.name", cookie.name)?,
            same_site: variant("cookie.same_site", &SAME_SITES, cookie.same_site)?,
            secure: cookie.secure,
        }),
        key_source::Source::Header(header) => {
            KeySource::Header { name: name("key_source.header", header)? }
        }
        key_source::Source::Jwt(jwt) => KeySource::JwtClaim {
            claim: name("jwt.claim", jwt.claim)?,
            key_id: name("jwt.key_id", jwt.key_id)?,
        },
        key_source::Source::PathSegment(index) => {
            KeySource::PathSegment { index: narrow("key_source.path_segment", index)? }
        }
        key_source::Source::Query(query) => {
            KeySource::Query { name: name("key_source.query", query)? }
        }
    })
}

fn state_to_proto(spec: &StateSpec) -> state::Kind {
    match spec {
        StateSpec::Stateless => state::Kind::Stateless(true),
        StateSpec::Memory => state::Kind::Memory(true),
        StateSpec::Hooks(hooks) => state::Kind::Hooks(proto::Hooks {
            path: hooks.path.clone(),
            timeout_ms: hooks.timeout_ms,
            state_bytes_max: hooks.state_bytes_max,
        }),
        StateSpec::Redis(redis) => state::Kind::Redis(proto::Redis {
            servers: redis
                .servers
                .iter()
                .map(|(zone, url)| proto::redis::Server {
                    zone: zone.0.into(),
                    url: url.to_string(),
                })
                .collect(),
            keys: redis.keys.iter().map(|key| key.text().to_owned()).collect(),
            timeout_ms: redis.timeout_ms,
            state_bytes_max: redis.state_bytes_max,
        }),
    }
}

fn redis_from(message: proto::Redis) -> Result<Redis, InvalidField> {
    let server = |server: proto::redis::Server| {
        let url = RedisUrl::parse(&text("redis.url", server.url, PATH_BYTES_MAX)?);
        let url = url.map_err(|fault| invalid("redis.url", fault.problem))?;
        Ok((zone("redis.zone", server.zone)?, url))
    };
    let servers = bounded("redis.servers", message.servers, ZONES_MAX)?;
    let keys = bounded("redis.keys", message.keys, REDIS_KEYS_MAX)?;
    let key =
        |key: String| KeyPattern::parse(&key).map_err(|fault| invalid("redis.keys", fault.problem));
    Ok(Redis {
        servers: servers.into_iter().map(server).collect::<Result<_, _>>()?,
        keys: keys.into_iter().map(key).collect::<Result<_, _>>()?,
        timeout_ms: message.timeout_ms,
        state_bytes_max: message.state_bytes_max,
    })
}

fn state_from(message: Option<proto::State>) -> Result<StateSpec, InvalidField> {
    Ok(match require("service.state", message.and_then(|state| state.kind))? {
        state::Kind::Stateless(_) => StateSpec::Stateless,
        state::Kind::Memory(_) => StateSpec::Memory,
        state::Kind::Hooks(hooks) => StateSpec::Hooks(Hooks {
            path: text("hooks.path", hooks.path, PATH_BYTES_MAX)?,
            timeout_ms: hooks.timeout_ms,
            state_bytes_max: hooks.state_bytes_max,
        }),
        state::Kind::Redis(redis) => StateSpec::Redis(redis_from(redis)?),
    })
}

fn policy_to_proto(policy: &Policy) -> proto::Policy {
    proto::Policy {
        affinity_threshold: policy.affinity_threshold.into(),
        act: number(&ACTS, &policy.act),
        place_header: policy.place_header.clone(),
        hold_requests_per_session: policy.hold.requests_per_session.into(),
        hold_requests_total: policy.hold.requests_total,
        hold_bytes_total: policy.hold.bytes_total,
        hold_ms_max: policy.hold.ms_max,
        freeze_ms_max: policy.cut.freeze_ms_max,
        gap_wait_ms: policy.cut.gap_wait_ms,
        rounds_max: policy.cut.rounds_max.into(),
        moves_per_minute: policy.moves.per_minute,
        moves_concurrent_per_pair: policy.moves.concurrent_per_pair.into(),
        residence_ms_min: policy.moves.residence_ms_min,
        regret_percent: policy.moves.regret_percent.into(),
        currency_us: policy.currency_us,
    }
}

fn policy_from(message: proto::Policy) -> Result<Policy, InvalidField> {
    let place_header = message.place_header;
    Ok(Policy {
        affinity_threshold: narrow("policy.affinity_threshold", message.affinity_threshold)?,
        act: variant("policy.act", &ACTS, message.act)?,
        place_header: place_header
            .map(|name| text("policy.place_header", name, NAME_BYTES_MAX))
            .transpose()?,
        hold: HoldLimits {
            requests_per_session: narrow(
                "policy.hold_requests_per_session",
                message.hold_requests_per_session,
            )?,
            requests_total: message.hold_requests_total,
            bytes_total: message.hold_bytes_total,
            ms_max: message.hold_ms_max,
        },
        cut: CutLimits {
            freeze_ms_max: message.freeze_ms_max,
            gap_wait_ms: message.gap_wait_ms,
            rounds_max: narrow("policy.rounds_max", message.rounds_max)?,
        },
        moves: MoveLimits {
            per_minute: message.moves_per_minute,
            concurrent_per_pair: narrow(
                "policy.moves_concurrent_per_pair",
                message.moves_concurrent_per_pair,
            )?,
            residence_ms_min: message.residence_ms_min,
            regret_percent: narrow("policy.regret_percent", message.regret_percent)?,
        },
        currency_us: message.currency_us,
    })
}
