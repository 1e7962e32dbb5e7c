//! A zone and what an operator states about it: where it is, what serves there, what it holds and
//! what it costs. Rates and sizes are integers in the unit their name ends with, so a table has
//! one canonical form and no NaN can travel.

use crate::{ids::Incarnation, session_key::SessionKey};

/// A place with endpoints, capacity, prices and a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The operator's name; unique in a table, 1..=63 of `[a-z0-9-]`.
    pub name: String,
    /// Where it is, if stated; used for distance until round trips are measured.
    pub location: Option<Location>,
    /// Upstream addresses that serve every service without endpoints of its own here.
    pub endpoints: Vec<Endpoint>,
    /// What the zone can hold.
    pub capacity: Capacity,
    /// What it costs.
    pub price: Price,
    /// Whether it takes sessions.
    pub intake: Intake,
    /// The solver's shadow price of one more session here, in microseconds of user latency.
    /// Control pushes it so that proxies place new sessions without asking.
    pub shadow_price_us: u32,
    /// The gates that guard it, by name; none in solo, where the one proxy is the gate of every
    /// zone. Control keeps the list: operators do not state it.
    pub gates: Vec<Gate>,
}

/// One life of a gate that guards a zone, as it registered with control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The process's name, unique in the installation; its certificate carries it.
    pub name: String,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Where edges reach it: `host:port`, HTTP over mutual TLS.
    pub http: String,
    /// Where other gates reach it for handoffs: `host:port`, QUIC.
    pub link: String,
}

impl Zone {
    /// The gate that a session of this zone belongs to: rendezvous hashing over the gates' names,
    /// so that one that comes or goes moves only its own share.
    #[must_use]
    pub fn gate_of(&self, key: SessionKey) -> Option<&Gate> {
        gate_among(&self.gates, key)
    }

    /// The gate that lives this life.
    #[must_use]
    pub fn gate_living(&self, life: Incarnation) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.incarnation == life)
    }
}

/// The gate that a session is drawn to among those of its zone; see [`Zone::gate_of`].
#[must_use]
pub fn gate_among(gates: &[Gate], key: SessionKey) -> Option<&Gate> {
    let draw =
        |gate: &Gate| xxhash_rust::xxh3::xxh3_64_with_seed(gate.name.as_bytes(), key.low64());
    match gates {
        [] => None,
        [only] => Some(only),
        gates => gates.iter().max_by_key(|gate| (draw(gate), &gate.name)),
    }
}

/// A point on the earth, in millionths of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Latitude, -90_000_000..=90_000_000.
    pub lat_udeg: i32,
    /// Longitude, -180_000_000..=180_000_000.
    pub lon_udeg: i32,
}

impl Location {
    /// Great-circle distance in kilometres (haversine, mean earth radius 6,371 km).
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let (lat_a, lat_b) =
            (degrees(self.lat_udeg).to_radians(), degrees(other.lat_udeg).to_radians());
        let d_lat = lat_b - lat_a;
        let d_lon = (degrees(other.lon_udeg) - degrees(self.lon_udeg)).to_radians();
        let h =
            (d_lat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (d_lon / 2.0).sin().powi(2);
        2.0 * 6_371.0 * h.sqrt().min(1.0).asin()
    }
}

fn degrees(udeg: i32) -> f64 {
    f64::from(udeg) / 1e6
}

/// One upstream address in a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// `host:port`; an IPv6 host in brackets.
    pub address: String,
    /// Share of the zone's sessions relative to its neighbours, 1..=1000.
    pub weight: u16,
    /// How to speak to it.
    pub protocol: UpstreamProtocol,
}

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 in the clear.
    #[default]
    H1,
    /// HTTP/2 with prior knowledge in the clear.
    H2c,
    /// TLS; HTTP/2 or HTTP/1.1 as ALPN decides.
    Tls,
}

/// What a zone can hold. Zero means "not stated": no limit is enforced for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions at one time.
    pub sessions: u64,
    /// Thousandths of a CPU core.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Storage operations a second.
    pub storage_iops: u64,
    /// Network, bits a second.
    pub bandwidth_bps: u64,
}

/// What a zone costs, in millionths of the installation's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// One CPU core for an hour.
    pub cpu_hour_micros: u64,
    /// One GiB of memory for an hour.
    pub memory_gib_hour_micros: u64,
    /// One GiB sent out of the zone.
    pub egress_gib_micros: u64,
}

/// Whether a zone takes sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Intake {
    /// Takes new sessions and handoffs.
    #[default]
    Open,
    /// Serves the sessions that live there, takes no others; control hands them over elsewhere.
    Draining,
    /// Serves nothing.
    Closed,
}

/// A client place (a city, a network) and its measured round trips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the place header spells it; matched without regard to ASCII case.
    pub name: String,
    /// Round trip to each zone in microseconds, by zone index; `u32::MAX` where unknown.
    pub rtt_us: Vec<u32>,
}
