//! Who inherits a session: whose word is taken, that it outlives control, and what comes of it when
//! a zone has no gate left.

use std::time::Duration;

use homing_wire::{
    FromProxy, GateHello, Heir, Hello, Home, Incarnation, SessionKey, ToProxy, ZoneId,
};
use tokio::time::timeout;

use crate::world::{DOCUMENT, Proxy, get, hello, push, start};

const KEY: SessionKey = SessionKey(0x00c0_ffee);

fn gate(name: &str, zone: &str, life: u64) -> Hello {
    let (http, link) = ("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned());
    let gate = GateHello { zone: zone.to_owned(), http, link, former: Incarnation(0) };
    Hello { gate: Some(gate), ..hello(name, life, None) }
}

/// A gate whose life is in its table.
async fn attach(at: std::net::SocketAddr, name: &str, zone: &str, life: u64) -> Proxy {
    let mut proxy = Proxy::attach(at, gate(name, zone, life)).await.expect("it is let in");
    let there = |gates: &[homing_wire::Gate]| gates.iter().any(|gate| gate.name == name);
    proxy.until(|table| table.facts().zones.iter().any(|zone| there(&zone.gates))).await;
    proxy.say(FromProxy::Renew { seq: 1 }).await;
    assert!(matches!(proxy.order().await, ToProxy::Lease { ms: 10_000, .. }));
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn an_heir_is_named_by_the_owner_and_takes_over_when_its_zone_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut paris = attach(control.link, "gate-paris", "paris", 11).await;
    let mut oregon = attach(control.link, "gate-oregon", "oregon", 22).await;
    oregon.until(|table| table.facts().zones.iter().all(|zone| !zone.gates.is_empty())).await;
    let Home { zone, epoch } = oregon.table.as_ref().unwrap().home(KEY);
    let (owner, heir, heir_life) = match zone {
        ZoneId(0) => (&mut paris, ZoneId(1), 22),
        _ => (&mut oregon, ZoneId(0), 11),
    };
    let heir_incarnation = Incarnation(heir_life);
    let word = Heir { key: KEY, zone, epoch, seq: 5, heir, heir_incarnation };
    // Not the owner's place, not a live life, nobody's epoch, oneself: none is answered.
    for wrong in [
        Heir { zone: heir, ..word },
        Heir { heir_incarnation: Incarnation(99), ..word },
        Heir { epoch: epoch.next(), ..word },
        Heir { heir: zone, ..word },
    ] {
        owner.say(FromProxy::Heir(wrong)).await;
    }
    owner.say(FromProxy::Heir(word)).await;
    let known = ToProxy::HeirKnown { key: KEY, epoch, seq: 5 };
    assert_eq!(owner.order().await, known, "the first word that holds");
    // A late word changes nothing and is not answered; the last one may be repeated.
    owner.say(FromProxy::Heir(Heir { seq: 4, ..word })).await;
    owner.say(FromProxy::Heir(word)).await;
    assert_eq!(owner.order().await, known);
    drop((paris, oregon));
    control.shutdown().await;

    // The next control knows it, and only the heir comes back.
    let control = start(folder.path()).await;
    let (name, place) =
        if heir == ZoneId(0) { ("gate-paris", "paris") } else { ("gate-oregon", "oregon") };
    let mut gate = Proxy::attach(control.link, gate(name, place, heir_life)).await.unwrap();
    let inherited = Home { zone: heir, epoch: epoch.next() };
    let mut orders = Vec::new();
    for seq in 2..60 {
        gate.say(FromProxy::Renew { seq }).await;
        // Takes what comes within half a second, and acknowledges it.
        let ordered = timeout(Duration::from_millis(500), async {
            loop {
                orders.push(gate.take().await);
            }
        });
        let _ = ordered.await;
        if gate.table.as_ref().is_some_and(|table| table.home(KEY) == inherited) {
            break;
        }
    }
    assert_eq!(gate.table.as_ref().unwrap().home(KEY), inherited);
    let own = orders.iter().flatten().find_map(|order| match order {
        ToProxy::Own { key, zone, incarnation, epoch, keep, .. } => {
            Some((*key, *zone, *incarnation, *epoch, *keep))
        }
        _ => None,
    });
    assert_eq!(own, Some((KEY, heir, heir_incarnation, epoch.next(), false)));
    let metrics = get(control.api, "/metrics").await.body;
    assert!(metrics.contains("homing_control_successions_total 1\n"), "{metrics}");
    control.shutdown().await;
}
