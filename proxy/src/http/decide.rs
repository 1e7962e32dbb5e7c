//! What a request's head decides: its service, its session, its zone. One plain function over
//! plain values, called by every protocol's own way in; admission at the gate comes after it.

use homing_session::{
    head::HeadView,
    mint::mint,
    steer::{Choice, Standing, SteerReason, Subject, Unavailable, ZoneView, steer},
};
use homing_wire::{PlaceId, Service, ServiceId, SessionKey, ZoneId, table::Facts};

use super::{
    body::BodyCount,
    failure::Failure,
    key::{KeyFaults, KeyOrigin, KeyReader, SessionRead},
    learned::Learned,
};
use crate::live::Live;

#[cfg(test)]
mod tests;

/// Everything a decision rests on.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The table in force.
    pub live: &'a Live,
    /// Health and load of the zones.
    pub view: &'a ZoneView,
    /// How session keys are read.
    pub keys: &'a KeyReader,
    /// The request.
    pub head: HeadView<'a>,
    /// Where its client is, if a trusted front said so.
    pub place: Option<PlaceId>,
    /// What gates have told of sessions, newer than the table.
    pub learned: &'a Learned,
    /// Fresh from the operating system's random source.
    pub seed: u128,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The service.
    pub service: ServiceId,
    /// The session, unless the request has none.
    pub session: Option<(SessionKey, KeyOrigin)>,
    /// A `Set-Cookie` value to send with the response.
    pub cookie: Option<String>,
    /// Where to ask for admission.
    pub zone: ZoneId,
    /// Where else a request without a session may go.
    pub fallbacks: homing_session::steer::Fallbacks,
    /// Why that zone.
    pub reason: SteerReason,
}

/// Decides. What was found wrong with the request's keys is told beside the outcome, since it is
/// counted either way.
///
/// # Errors
/// The failure to answer with.
pub fn decide(ask: &Ask<'_>) -> (Result<Decision, Failure>, KeyFaults) {
    let facts = ask.live.table.facts();
    let Some(id) = ask.live.routes.find(ask.head.host, ask.head.path) else {
        return (Err(Failure::NoRoute), KeyFaults::default());
    };
    let Some(service) = facts.services.get(id.index()) else {
        return (Err(Failure::NoRoute), KeyFaults::default());
    };
    let length = ask.head.headers.nth("content-length", 0);
    if BodyCount::new(service.limits.body_bytes_max).announced(length).is_err() {
        return (Err(Failure::BodyTooLarge), KeyFaults::default());
    }
    let (read, faults) = ask.keys.read(service, &ask.head, ask.now_ms);
    (place_session(ask, id, service, &read).map_err(unavailable), faults)
}

fn place_session(
    ask: &Ask<'_>,
    id: ServiceId,
    service: &Service,
    read: &SessionRead<'_>,
) -> Result<Decision, Unavailable> {
    let steered = |standing| {
        // A session that is known may have state at home; how much it belongs there is control's
        // concern. Only sessions certain to have none are weighed, and those have no key yet.
        let subject = Subject { standing, service: id, place: ask.place, affinity: 1_000 };
        let hint = match standing {
            Standing::Settled(key) => ask.learned.hint(ask.live, key),
            Standing::New | Standing::Fresh(_) => None,
        };
        steer(&ask.live.placement, ask.view, hint, &subject, ask.seed as u64)
    };
    let decision = |choice: Choice, session, cookie| Decision {
        service: id,
        session,
        cookie,
        zone: choice.zone,
        fallbacks: choice.fallbacks,
        reason: choice.reason,
    };
    match read {
        SessionRead::Known { key, origin, renew } => {
            let choice = steered(Standing::Settled(*key))?;
            let cookie = renew.map(|(spec, raw)| ask.keys.cookie(service, spec, raw, ask.now_ms));
            Ok(decision(choice, Some((*key, *origin)), cookie))
        }
        SessionRead::Mint(spec) => {
            let mut choice = steered(Standing::New)?;
            let minted = mint(
                &ask.keys.secret,
                &service.tenant,
                &service.name,
                &ask.live.placement,
                choice.zone,
                ask.seed,
            );
            if !minted.in_zone {
                choice = steered(Standing::Settled(minted.key))?;
            }
            let cookie = ask.keys.cookie(service, spec, minted.raw, ask.now_ms);
            Ok(decision(choice, Some((minted.key, KeyOrigin::Minted)), Some(cookie)))
        }
        SessionRead::None => Ok(decision(steered(Standing::New)?, None, None)),
    }
}

fn unavailable(why: Unavailable) -> Failure {
    match why {
        Unavailable::HomeDown(_) => Failure::NoEndpoint,
        Unavailable::HomeClosed(_) | Unavailable::NoZone => Failure::NoZone,
    }
}

/// The place a trusted front's header names; unknown names are no place. Names are compared
/// without regard to ASCII case.
#[must_use]
pub fn place_of(facts: &Facts, places: &Places, head: &HeadView<'_>) -> Option<PlaceId> {
    let header = facts.policy.place_header.as_deref()?;
    let value = std::str::from_utf8(head.single_header(header)?).ok()?;
    places.find(value.trim())
}

/// The table's places by name.
#[derive(Clone, Debug, Default)]
pub struct Places {
    by_name: std::collections::HashMap<String, PlaceId>,
}

impl Places {
    /// Compiles the table's list.
    #[must_use]
    pub fn compile(facts: &Facts) -> Self {
        let named = facts
            .places
            .iter()
            .zip(0..)
            .map(|(place, index)| (place.name.to_ascii_lowercase(), PlaceId(index)));
        Self { by_name: named.collect() }
    }

    /// The place of that name, without regard to ASCII case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PlaceId> {
        // No place's name is longer; a client's may be.
        if name.len() > homing_wire::limits::NAME_BYTES_MAX {
            return None;
        }
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }
}
