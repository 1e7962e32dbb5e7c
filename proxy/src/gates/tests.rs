use std::collections::BTreeMap;

use homing_wire::{
    Capacity, DirectiveId, Intake, Policy, Price, ServiceId, Version, Zone,
    table::{Buckets, Facts, TableDraft},
};

use super::*;

const NEW: Waiting = Waiting { since_ms: 1, bytes: 0 };

fn live() -> Live {
    let zone = |name: &str| Zone {
        name: name.to_owned(),
        location: None,
        endpoints: Vec::new(),
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    };
    let facts = Facts {
        zones: vec![zone("a"), zone("b")],
        services: Vec::new(),
        places: Vec::new(),
        policy: Policy::default(),
    };
    let draft = TableDraft {
        version: Version { term: 0, n: 1 },
        created_ms: 0,
        facts,
        buckets: Buckets::by_weight(&[1, 1]),
        exceptions: BTreeMap::new(),
        directives: BTreeMap::new(),
    };
    Live::compile(draft.seal().unwrap())
}

fn gates() -> Arc<Gates> {
    Arc::new(Gates::new(1_000, Incarnation(9), Arc::default(), Arc::default()))
}

fn who(key: SessionKey) -> Who {
    Who { key, service: ServiceId(0), place: None }
}

#[test]
fn a_permit_counts_a_request_in_and_out_however_it_ends() {
    let (gates, live, key) = (gates(), live(), SessionKey(1 << 100));
    let home = live.home(key);
    let Admission::Go(first) = gates.admit(&live, home.zone, who(key), NEW, 1) else { panic!() };
    let Admission::Go(second) = gates.admit(&live, home.zone, who(key), NEW, 2) else { panic!() };
    assert_eq!((first.epoch(), gates.in_flight(home.zone, key)), (home.epoch, 2));
    first.finish(Finish { status: 200, bytes: 10, latency_us: 500, by_app: true });
    drop(second);
    assert_eq!(gates.in_flight(home.zone, key), 0);
    assert_eq!(gates.counts(home.zone).homes, 1);
    let reading = gates.recorder.read(home.zone).unwrap();
    assert_eq!((reading.total(), reading.errors(), reading.in_flight), (2, 1, 0));
}

#[tokio::test]
async fn a_frozen_session_parks_and_a_moved_one_points_to_its_home() {
    let (gates, live, key) = (gates(), live(), SessionKey(1 << 100));
    let home = live.home(key);
    let to = ZoneId(1 - home.zone.0);
    let (directive, epoch) = (DirectiveId(5), home.epoch.next());
    let to_incarnation = Incarnation(0);
    let step = |zone, event| gates.step(&live, zone, key, event, 1).unwrap();
    step(to, Event::Stage { directive, to_incarnation, epoch });
    gates.holds().open(key);
    step(home.zone, Event::Freeze { directive });
    let Admission::Park(ticket) = gates.admit(&live, home.zone, who(key), NEW, 1) else { panic!() };
    step(home.zone, Event::Grant { directive, to, epoch });
    step(to, Event::Activate { directive, to_incarnation, epoch });
    step(home.zone, Event::GrantAck { directive });
    assert_eq!(gates.holds().close(key), 1);
    assert_eq!(ticket.wait().await, crate::hold::Resumed::Retry);
    let Admission::Moved(moved) = gates.admit(&live, home.zone, who(key), NEW, 1) else { panic!() };
    assert_eq!(moved, Home { zone: to, epoch });
    assert_eq!(gates.home(&live, key), moved);
    assert!(matches!(gates.admit(&live, to, who(key), NEW, 1), Admission::Go(_)));
    // A directive for another life of this gate is not obeyed.
    let other = Event::FenceQuery { directive: DirectiveId(6), to_incarnation: Incarnation(8) };
    assert_eq!(gates.step(&live, to, key, other, 1), Err(Refusal::OtherLife));
}

#[test]
fn pages_show_every_session_once() {
    let (gates, live) = (gates(), live());
    for n in 0..500_u128 {
        let key =
            SessionKey(n << 96 | n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & u128::from(u64::MAX));
        let admission = gates.admit(&live, live.home(key).zone, who(key), NEW, 1);
        assert!(matches!(admission, Admission::Go(_)));
    }
    let (mut seen, mut cursor) = (std::collections::BTreeSet::new(), Some(0));
    while let Some(at) = cursor {
        let page = gates.page(at, 37);
        assert!(page.sessions.iter().all(|(_, session)| seen.insert(session.key)));
        cursor = page.next;
    }
    assert_eq!(seen.len(), 500);
    assert_eq!(gates.homes(ZoneId(0)).len() + gates.homes(ZoneId(1)).len(), 500);
}

#[test]
fn a_grant_that_is_repeated_does_not_undo_what_the_window_has_learnt() {
    let (gates, live, key) = (gates(), live(), SessionKey(1 << 100));
    let home = live.home(key);
    let to = ZoneId(1 - home.zone.0);
    let (directive, epoch) = (DirectiveId(5), home.epoch.next());
    let to_incarnation = Incarnation(0);
    let step = |zone, event| gates.step(&live, zone, key, event, 1).unwrap();
    let execute = |zone, name: &[u8]| {
        let Admission::Go(mut permit) = gates.admit(&live, zone, who(key), NEW, 1) else {
            panic!()
        };
        let known = permit.enter(RequestName::new(name, "POST", "/"));
        permit.is_sent();
        if known == Named::New {
            permit.finish(Finish { status: 201, bytes: 0, latency_us: 1, by_app: true });
        }
        known
    };
    assert_eq!(execute(home.zone, b"before"), Named::New);
    let window = gates.window(home.zone, key);
    step(to, Event::Stage { directive, to_incarnation, epoch });
    gates.put_window(to, key, epoch, &window).unwrap();
    step(to, Event::Activate { directive, to_incarnation, epoch });
    assert_eq!(execute(to, b"before"), Named::Executed(201));
    assert_eq!(execute(to, b"after"), Named::New);
    gates.put_window(to, key, epoch, &window).unwrap();
    assert_eq!(execute(to, b"after"), Named::Executed(201));
    assert!(gates.put_window(to, key, epoch.next(), b"no window").is_err());
}
