//! The sections `zones` and `places`: read, with each value's own range checked. What concerns
//! several of them at once is in `checks`.

use super::checks::Scope;
use super::read::{MapReader, Reader, WHOLE_MAX};
use super::syntax;
use crate::limits::ENDPOINTS_PER_ZONE_MAX;
use crate::zone::{Capacity, Endpoint, Intake, Location, Place, Price, UpstreamProtocol, Zone};

/// The share of an endpoint that states none: in the middle, so that others may have less or more.
pub(super) const WEIGHT_DEFAULT: u16 = 100;
/// Money is read up to this many units of currency, in millionths.
const PRICE_MICROS_MAX: u64 = 1_000_000_000 * 1_000_000;
/// Cores are read up to this many, in thousandths.
const CPU_MILLI_MAX: u64 = 1_000_000_000 * 1_000;
const MEMORY_BYTES_MAX: u64 = 1 << 60;
const BANDWIDTH_BPS_MAX: u64 = 1_000_000_000_000_000_000;
/// Longest round trip, one hour.
const RTT_US_MAX: u64 = 3_600_000_000;

pub(super) const INTAKES: [(&str, Intake); 3] =
    [("open", Intake::Open), ("draining", Intake::Draining), ("closed", Intake::Closed)];
pub(super) const PROTOCOLS: [(&str, UpstreamProtocol); 3] =
    [("h1", UpstreamProtocol::H1), ("h2c", UpstreamProtocol::H2c), ("tls", UpstreamProtocol::Tls)];

pub(super) fn zone(reader: &Reader<'_>) -> Option<Zone> {
    reader.map(|map| {
        let name = map.required("name", "name the zone, such as `name: paris`", syntax::name);
        let location = map.optional("location", location);
        let endpoints = map.or("endpoints", Vec::new(), endpoints);
        let capacity = map.or("capacity", Capacity::default(), capacity);
        let price = map.or("price", Price::default(), price);
        let intake = map.or("intake", Intake::default(), |r| r.word(&INTAKES));
        let name = name?;
        let (shadow_price_us, gates) = (0, Vec::new());
        Some(Zone { name, location, endpoints, capacity, price, intake, shadow_price_us, gates })
    })
}

fn location(reader: &Reader<'_>) -> Option<Location> {
    let items = reader.items(usize::MAX)?;
    let [lat, lon] = items.as_slice() else {
        reader.fault("is not a latitude and a longitude", "write [48.86, 2.35]");
        return None;
    };
    let (lat_udeg, lon_udeg) = (lat.degrees(90), lon.degrees(180));
    Some(Location { lat_udeg: lat_udeg?, lon_udeg: lon_udeg? })
}

/// A list of endpoints without an address twice.
pub(super) fn endpoints(reader: &Reader<'_>) -> Option<Vec<Endpoint>> {
    let mut seen = std::collections::HashSet::new();
    reader.list(ENDPOINTS_PER_ZONE_MAX, |item| {
        let endpoint = endpoint(item)?;
        if seen.insert(endpoint.address.to_ascii_lowercase()) {
            return Some(endpoint);
        }
        item.fault(
            format!("lists the address `{}` twice", endpoint.address),
            "keep one; to give it a larger share write {address, weight}",
        );
        None
    })
}

fn endpoint(reader: &Reader<'_>) -> Option<Endpoint> {
    if matches!(reader.node().value, super::tree::Value::Str(_)) {
        let address = syntax::address(reader)?;
        let protocol = UpstreamProtocol::default();
        return Some(Endpoint { address, weight: WEIGHT_DEFAULT, protocol });
    }
    reader.map(|map| {
        let address = map.required("address", "write `address: 10.0.0.1:8080`", syntax::address);
        let weight = map.or("weight", WEIGHT_DEFAULT, |r| narrow(r.whole(1..=1_000)?));
        let protocol = map.or("protocol", UpstreamProtocol::default(), |r| r.word(&PROTOCOLS));
        Some(Endpoint { address: address?, weight, protocol })
    })
}

fn capacity(reader: &Reader<'_>) -> Option<Capacity> {
    reader.map(|map| {
        Some(Capacity {
            sessions: map.or("sessions", 0, |r| r.whole(0..=WHOLE_MAX)),
            cpu_milli: map.or("cpu", 0, |r| r.decimal(3, CPU_MILLI_MAX)),
            memory_bytes: map.or("memory", 0, |r| r.bytes(0..=MEMORY_BYTES_MAX)),
            storage_iops: map.or("storage_iops", 0, |r| r.whole(0..=WHOLE_MAX)),
            bandwidth_bps: map.or("bandwidth", 0, |r| r.bits_per_second(0..=BANDWIDTH_BPS_MAX)),
        })
    })
}

fn price(reader: &Reader<'_>) -> Option<Price> {
    let money = |map: &mut MapReader<'_>, key| map.or(key, 0, |r| r.decimal(6, PRICE_MICROS_MAX));
    reader.map(|map| {
        Some(Price {
            cpu_hour_micros: money(map, "cpu_hour"),
            memory_gib_hour_micros: money(map, "memory_gib_hour"),
            egress_gib_micros: money(map, "egress_gib"),
        })
    })
}

pub(super) fn place(reader: &Reader<'_>, scope: &Scope<'_>) -> Option<Place> {
    reader.map(|map| {
        let remedy = "name the place as the place header does, such as `name: lyon`";
        let name = map.required("name", remedy, syntax::place_name);
        let mut rtt_us = vec![u32::MAX; scope.zones()];
        let _ = map.optional("rtt", |rtt| {
            for entry in rtt.named(crate::ids::ZONES_MAX)? {
                let rtt = entry.value.micros(0..=RTT_US_MAX).and_then(narrow::<u32>);
                if let (Some(zone), Some(rtt)) = (scope.zone(&entry), rtt) {
                    rtt_us[zone.index()] = rtt;
                }
            }
            Some(())
        });
        Some(Place { name: name?, rtt_us })
    })
}

/// A number whose range is checked already, in the type that holds it.
pub(super) fn narrow<T: TryFrom<u64>>(n: u64) -> Option<T> {
    T::try_from(n).ok()
}
