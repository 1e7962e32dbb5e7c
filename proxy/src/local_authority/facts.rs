//! A new document over a running table. Ids are indices, and sessions, buckets and directives name
//! them, so whatever keeps its name keeps its id, and nothing that is still named may go.

use homing_wire::{Place, Service, ZoneId, table::Facts};

/// A document that cannot replace the one in force; what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct FactsRefused(pub Vec<String>);

/// The facts of `new` with the ids of `old`.
///
/// `in_use` says whether a zone still owns anything; such a zone may not be left out. Shadow
/// prices and the intake of a zone that is being drained by order are kept.
///
/// # Errors
/// Everything that is named and missing.
pub(super) fn carry_over(
    old: &Facts,
    new: Facts,
    in_use: impl Fn(ZoneId) -> bool,
) -> Result<Facts, FactsRefused> {
    let mut refused = Vec::new();
    let mut zones = Vec::with_capacity(new.zones.len());
    for (index, zone) in old.zones.iter().enumerate() {
        match new.zones.iter().find(|other| other.name == zone.name) {
            Some(other) => zones.push(other.clone()),
            None if in_use(ZoneId(index as u8)) => refused.push(format!(
                "zone {:?} is gone from the file but sessions live there: drain it first",
                zone.name
            )),
            // Its id stays taken, closed and empty, since a table on some disk may name it.
            None => zones.push(homing_wire::Zone {
                intake: homing_wire::Intake::Closed,
                endpoints: Vec::new(),
                ..zone.clone()
            }),
        }
    }
    let fresh = |name: &str| !old.zones.iter().any(|zone| zone.name == name);
    zones.extend(new.zones.iter().filter(|zone| fresh(&zone.name)).cloned());
    for service in &old.services {
        if !new.services.iter().any(|other| other.name == service.name) {
            refused.push(format!(
                "service {:?} is gone from the file but its sessions are remembered: restart to \
                 forget it",
                service.name
            ));
        }
    }
    if !refused.is_empty() {
        return Err(FactsRefused(refused));
    }
    let at = |id: ZoneId| {
        let name = new.zones.get(id.index()).map(|zone| zone.name.as_str());
        zones.iter().position(|zone| Some(zone.name.as_str()) == name)
    };
    let renumbered = |service: &Service| {
        let mut service = service.clone();
        service.endpoints.retain_mut(|(zone, _)| match at(*zone) {
            Some(index) => {
                *zone = ZoneId(index as u8);
                true
            }
            None => false,
        });
        service
    };
    let known = |name: &str| old.services.iter().any(|service| service.name == name);
    let kept = old
        .services
        .iter()
        .filter_map(|service| new.services.iter().find(|other| other.name == service.name));
    let added = new.services.iter().filter(|service| !known(&service.name));
    let services = kept.chain(added).map(renumbered).collect();
    let count = zones.len();
    let places = new.places.iter().map(|place| renumbered_place(place, count, at)).collect();
    Ok(Facts { services, places, zones, policy: new.policy })
}

/// A place with its round trips in the order of the zones' new ids.
fn renumbered_place(place: &Place, zones: usize, at: impl Fn(ZoneId) -> Option<usize>) -> Place {
    let mut rtt_us = vec![u32::MAX; zones];
    for (index, rtt) in place.rtt_us.iter().enumerate() {
        if let Some(index) = at(ZoneId(index as u8)) {
            rtt_us[index] = *rtt;
        }
    }
    Place { name: place.name.clone(), rtt_us }
}
