//! A pushed document numbers its zones, services and places in its own order; the table in force
//! has numbers that records, exceptions and directives already use. This keeps the numbers.

use homing_wire::{Facts, Intake, Place, PlaceId, Service, ServiceId, ZONES_MAX, Zone, ZoneId};

/// New facts with ids that go on meaning what they meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The facts.
    pub facts: Facts,
    /// Where the old services and places went.
    pub remap: Remap,
    /// Zones that the document no longer names and that something still does.
    pub leaving: Vec<ZoneId>,
}

/// Where old service and place ids went; `None` for what is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remap {
    /// By old service id.
    pub services: Vec<Option<ServiceId>>,
    /// By old place id.
    pub places: Vec<Option<PlaceId>>,
}

impl Remap {
    /// Whether every id stays what it is.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        let services = self.services.iter().enumerate();
        let places = self.places.iter().enumerate();
        services.clone().all(|(old, new)| *new == Some(ServiceId(old as u16)))
            && places.clone().all(|(old, new)| *new == Some(PlaceId(old as u16)))
    }
}

/// The document's zones and the ones that cannot go yet are together more than ids can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} zones, with those that sessions still live in; a table holds {ZONES_MAX}")]
pub struct TooManyZones(pub usize);

/// Rewrites `wanted` in the ids of `old`.
///
/// A zone keeps its id while it keeps its name. A removed zone that is `named` by a session, an
/// exception, a bucket or a directive stays, draining, until nothing names it; then its id is free
/// for another. Shadow prices are carried over: they are control's, not the document's.
///
/// # Errors
/// There are not enough ids.
pub fn rename(
    old: &Facts,
    wanted: &Facts,
    named: impl Fn(ZoneId) -> bool,
) -> Result<Renamed, TooManyZones> {
    let (slots, leaving) = zone_slots(old, wanted, named)?;
    // From the document's zone index to the id it gets.
    let mut ids = vec![ZoneId(0); wanted.zones.len()];
    for (slot, holds) in slots.iter().enumerate() {
        if let Slot::Wanted(index) = holds {
            ids[*index] = ZoneId(slot as u8);
        }
    }
    let zones: Vec<Zone> =
        slots.iter().enumerate().map(|(slot, holds)| zone_of(old, wanted, slot, *holds)).collect();
    let services = keep_order(&old.services, &wanted.services, |service| &service.name);
    let places = keep_order(&old.places, &wanted.places, |place| &place.name);
    let remap = Remap {
        services: remap(&old.services, &services, |s| &s.name, ServiceId),
        places: remap(&old.places, &places, |p| &p.name, PlaceId),
    };
    let rtt = |old_place: Option<&Place>, new: &Place| {
        let known = |slot: usize| match slots[slot] {
            Slot::Wanted(index) => new.rtt_us.get(index).copied(),
            Slot::Leaving => old_place.and_then(|place| place.rtt_us.get(slot).copied()),
            Slot::Free => None,
        };
        (0..slots.len()).map(|slot| known(slot).unwrap_or(u32::MAX)).collect()
    };
    let places = places
        .into_iter()
        .map(|place| Place {
            rtt_us: rtt(old.places.iter().find(|p| p.name == place.name), &place),
            name: place.name,
        })
        .collect();
    let services = services.into_iter().map(|service| readdress(service, &ids)).collect();
    Ok(Renamed {
        facts: Facts { zones, services, places, policy: wanted.policy.clone() },
        remap,
        leaving,
    })
}

/// What one zone id holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// The document's zone of that index.
    Wanted(usize),
    /// A removed zone that something still names.
    Leaving,
    /// Nothing: a closed zone without endpoints keeps the ids behind it in place.
    Free,
}

fn zone_slots(
    old: &Facts,
    wanted: &Facts,
    named: impl Fn(ZoneId) -> bool,
) -> Result<(Vec<Slot>, Vec<ZoneId>), TooManyZones> {
    let mut leaving = Vec::new();
    let slot = |(id, zone): (usize, &Zone)| match wanted.zone_named(&zone.name) {
        Some(index) => Slot::Wanted(index.index()),
        None if named(ZoneId(id as u8)) => {
            leaving.push(ZoneId(id as u8));
            Slot::Leaving
        }
        None => Slot::Free,
    };
    let mut slots: Vec<Slot> = old.zones.iter().enumerate().map(slot).collect();
    for (index, zone) in wanted.zones.iter().enumerate() {
        if old.zone_named(&zone.name).is_some() {
            continue;
        }
        match slots.iter_mut().find(|slot| **slot == Slot::Free) {
            Some(free) => *free = Slot::Wanted(index),
            None => slots.push(Slot::Wanted(index)),
        }
    }
    while slots.last() == Some(&Slot::Free) {
        slots.pop();
    }
    match slots.len() > ZONES_MAX {
        true => Err(TooManyZones(slots.len())),
        false => Ok((slots, leaving)),
    }
}

fn zone_of(old: &Facts, wanted: &Facts, slot: usize, holds: Slot) -> Zone {
    let Slot::Wanted(index) = holds else {
        // Slots that hold nothing wanted are always old zones.
        let mut zone = old.zones[slot].clone();
        if holds == Slot::Free {
            zone.endpoints.clear();
            zone.gates.clear();
            zone.shadow_price_us = 0;
            zone.intake = Intake::Closed;
        } else if zone.intake == Intake::Open {
            zone.intake = Intake::Draining;
        }
        return zone;
    };
    let mut zone = wanted.zones[index].clone();
    // What no operator states, the zone keeps.
    if let Some(before) = old.zones.get(slot).filter(|before| before.name == zone.name) {
        zone.shadow_price_us = before.shadow_price_us;
        zone.gates.clone_from(&before.gates);
    }
    zone
}

/// The new items, those that were there before in their old order, the others behind them.
fn keep_order<T: Clone>(old: &[T], new: &[T], name: impl Fn(&T) -> &String) -> Vec<T> {
    let before: std::collections::BTreeMap<&String, usize> =
        old.iter().enumerate().map(|(index, item)| (name(item), index)).collect();
    let mut order: Vec<usize> = (0..new.len()).collect();
    order.sort_by_key(|index| before.get(name(&new[*index])).copied().unwrap_or(usize::MAX));
    order.into_iter().map(|index| new[index].clone()).collect()
}

fn remap<T, I>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    id: impl Fn(u16) -> I,
) -> Vec<Option<I>> {
    let now: std::collections::BTreeMap<&String, usize> =
        new.iter().enumerate().map(|(index, item)| (name(item), index)).collect();
    old.iter().map(|item| now.get(name(item)).map(|index| id(*index as u16))).collect()
}

fn readdress(mut service: Service, ids: &[ZoneId]) -> Service {
    for (zone, _) in &mut service.endpoints {
        if let Some(id) = ids.get(zone.index()) {
            *zone = *id;
        }
    }
    service.endpoints.sort_by_key(|(zone, _)| *zone);
    service
}
