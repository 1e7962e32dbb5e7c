//! The hop between edge and gate: what an edge tells a gate of a request it has decided, how the
//! gate reads it, and how an edge follows a session that has moved. The headers mean nothing from
//! anyone else: they are read on the gate's own listener, behind a client certificate, and taken
//! off every request of a client.

use std::{net::IpAddr, time::Duration};

use homing_session::{roster::Who, steer::SteerReason};
use homing_wire::{Epoch, ServiceId, SessionKey, ZoneId, table::Home};
use http::HeaderMap;
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use super::{
    exchange::{Exchange, Taken},
    facts::EdgeFacts,
    failure::Failure,
};

#[cfg(test)]
mod tests;

/// `tenant/service`, by name: edge and gate may hold different tables.
pub(super) const SERVICE: &str = "homing-service";
/// The session key in hexadecimal; absent if the request has no session.
pub(super) const SESSION: &str = "homing-session";
/// The client's address as the edge saw it.
pub(super) const CLIENT: &str = "homing-client";
/// The client's place by name, if known.
pub(super) const PLACE: &str = "homing-place";
/// The epoch at which the edge was told that the session lives here: the grant may be on its way.
pub(super) const LEAST_EPOCH: &str = "homing-least-epoch";
/// Gates the request has passed already.
pub(super) const HOPS: &str = "homing-hops";
/// Why the edge chose the zone.
const REASON: &str = "homing-reason";
/// A gate's answer that it has not executed the request, and who should: `zone;epoch`.
pub(super) const MOVED: &str = "homing-moved";

/// Connections to gates that one request may ask for.
pub(super) const CONNECTS_MAX: usize = 20;
/// How long a request waits before it looks for its gate again.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// A request passed on more often than this goes in circles.
pub(super) const HOPS_MAX: u8 = 3;

/// What an edge has told of a request.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) service: ServiceId,
    pub(super) who: Option<Who>,
    pub(super) least: Epoch,
    pub(super) hops: u8,
    pub(super) reason: SteerReason,
}

impl Told {
    /// Reads what the edge says.
    pub(super) fn read(headers: &HeaderMap, facts: &EdgeFacts) -> Result<Self, Failure> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
        let named = text(SERVICE).and_then(|name| name.split_once('/'));
        let (tenant, name) = named.ok_or(Failure::BadRequest)?;
        // A service the gate's table does not have (yet): the edge's is newer, or older.
        let service = facts.service_named(tenant, name).ok_or(Failure::NoRoute)?;
        let place = text(PLACE).and_then(|name| facts.places.find(name));
        let who = match text(SESSION) {
            None => None,
            Some(key) => {
                let key = key.parse::<SessionKey>().map_err(|_| Failure::BadRequest)?;
                Some(Who { key, service, place })
            }
        };
        let hops = number(HOPS).map_or(0, |hops| hops.min(u8::MAX.into()) as u8);
        if hops > HOPS_MAX {
            return Err(Failure::GateUnavailable);
        }
        let named = text(REASON);
        let reason = SteerReason::ALL.into_iter().find(|reason| Some(reason.name()) == named);
        Ok(Self {
            service,
            who,
            least: Epoch(number(LEAST_EPOCH).unwrap_or(0)),
            hops,
            reason: reason.unwrap_or(SteerReason::Bucket),
        })
    }
}

/// The client's address, as an edge told it.
pub(super) fn client_told(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(CLIENT)?.to_str().ok()?.parse().ok()
}

/// Tells the gate what was decided.
pub(super) fn tell(exchange: &Exchange, taken: &Taken, head: &mut RequestHeader) -> Result<()> {
    let Some(service) = taken.service() else { return Ok(()) };
    head.insert_header(SERVICE, format!("{}/{}", service.tenant, service.name))?;
    head.insert_header(CLIENT, exchange.peer.to_string())?;
    head.insert_header(REASON, taken.reason.name())?;
    if let Some((key, _)) = taken.session {
        head.insert_header(SESSION, key.to_string())?;
    }
    if let Some(place) = taken.place.and_then(|place| taken.facts.facts.places.get(place.index())) {
        head.insert_header(PLACE, place.name.as_str())?;
    }
    if taken.least > Epoch(0) {
        head.insert_header(LEAST_EPOCH, taken.least.to_string())?;
    }
    if taken.hops > 0 {
        head.insert_header(HOPS, taken.hops.to_string())?;
    }
    if exchange.why {
        head.insert_header("homing-why", "1")?;
    }
    Ok(())
}

/// Where a gate says the session lives, if that is its answer.
pub(super) fn moved(head: &ResponseHeader, facts: &EdgeFacts) -> Option<Home> {
    if head.status.as_u16() != 421 {
        return None;
    }
    let told = head.headers.get(MOVED)?.to_str().ok()?;
    let (zone, epoch) = told.split_once(';')?;
    Some(Home { zone: facts.facts.zone_named(zone)?, epoch: Epoch(epoch.parse().ok()?) })
}

/// The value that tells it.
pub(super) fn moved_to(zone: ZoneId, epoch: Epoch, facts: &EdgeFacts) -> Option<String> {
    let zone = facts.facts.zones.get(zone.index())?;
    Some(format!("{};{epoch}", zone.name))
}

/// Whether the edge can send the request again if it is told that the session has moved: all of
/// its body is in the edge's replay buffer.
pub(super) fn is_replayable(head: &RequestHeader, replay_bytes_max: u32) -> bool {
    let length = head.headers.get(http::header::CONTENT_LENGTH);
    match length.map(|length| length.to_str().ok().and_then(|text| text.parse::<u64>().ok())) {
        Some(length) => length.is_some_and(|length| length <= u64::from(replay_bytes_max)),
        None => {
            let framed = head.headers.contains_key(http::header::TRANSFER_ENCODING);
            let may_have_body = head.version == http::Version::HTTP_2
                && !matches!(
                    head.method,
                    http::Method::GET | http::Method::HEAD | http::Method::OPTIONS
                );
            !framed && !may_have_body
        }
    }
}
