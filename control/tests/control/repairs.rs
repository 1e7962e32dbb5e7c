//! What a proxy gets whose table is not what control published under its number.

use std::time::{Duration, Instant};

use homing_control::Running;
use homing_wire::{
    Delta, DeltaRefused, Epoch, FromProxy, Home, NackReason, PlacementTable, Repair, SessionKey,
    TableDraft, Version, ZoneId,
    envelope::{self, Kind},
};

use crate::world::{DOCUMENT, Proxy, get, hello, push, start};

const SESSIONS: usize = 3_000;

/// Session keys that are spread as keyed hashes are, the same on every run.
fn key(n: usize) -> SessionKey {
    let high = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    SessionKey(u128::from(high) << 64 | n as u128)
}

/// Zones with room for all, so that no price moves meanwhile, and that far from a client.
fn roomy(rtt: &str) -> String {
    DOCUMENT.replace("sessions: 100", "sessions: 1000000").replace("145ms", rtt)
}

/// Publishes another table by a delta.
async fn change(control: &Running, rtt: &str) {
    let etag = get(control.api, "/v1/document").await.header("etag");
    assert_eq!(push(control.api, etag.as_deref(), &roomy(rtt)).await.status, 200);
}

/// A proxy that has told of sessions elsewhere than their bucket until the table is full of them.
async fn attached(control: &Running) -> Proxy {
    push(control.api, None, &roomy("145ms")).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.expect("a link");
    proxy.update().await;
    proxy.ack().await;
    for n in 0..SESSIONS {
        let (key, zone, epoch) = (key(n), ZoneId((n % 2) as u8), Epoch(2));
        proxy.say(FromProxy::Residence { key, zone, epoch }).await;
    }
    proxy.until(|table| table.exceptions().len() == SESSIONS).await;
    proxy
}

/// The same number and nearly the same content: two sessions are lost, a third is at a wrong epoch.
fn spoilt(table: &PlacementTable) -> PlacementTable {
    let mut draft = TableDraft {
        version: table.version(),
        created_ms: table.created_ms(),
        facts: table.facts().as_ref().clone(),
        buckets: table.buckets().clone(),
        exceptions: table.exceptions().clone(),
        directives: table.directives().clone(),
    };
    for (key, _) in table.exceptions_of(5).take(2) {
        draft.exceptions.remove(&key);
    }
    let (key, home) = table.exceptions_of(200).next().expect("a session in that segment");
    draft.exceptions.insert(key, Home { epoch: Epoch(9), ..home });
    draft.seal().expect("nothing impossible in it")
}

fn kind(sealed: &[u8]) -> Kind {
    envelope::open(sealed).expect("sealed").0
}

async fn refuse(proxy: &Proxy, version: Version, sums_of: Option<&PlacementTable>) {
    let nack = FromProxy::Nack {
        version,
        reason: NackReason::Invalid,
        detail: "it leads elsewhere".to_owned(),
        sums: sums_of.map(|table| Box::new(table.sums())),
    };
    proxy.say(nack).await;
}

async fn counted(control: &Running, name: &str) -> u64 {
    let page = get(control.api, "/metrics").await.body;
    let prefix = format!("homing_control_{name} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&prefix));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {page}"))
}

/// Takes a delta that a spoilt table does not follow; the version it would have led to.
async fn delta_that_fails(control: &Running, proxy: &mut Proxy, held: &PlacementTable) -> Version {
    change(control, "155ms").await;
    let (version, sealed) = proxy.untried().await;
    let delta = Delta::decode(&sealed).expect("a delta");
    let refused = held.clone().apply(&delta);
    assert!(matches!(refused, Err(DeltaRefused::Digest { .. })), "{refused:?}");
    version
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_table_is_mended_by_the_parts_that_differ() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let mut proxy = attached(&control).await;
    let held = spoilt(proxy.table.as_ref().unwrap());
    let version = delta_that_fails(&control, &mut proxy, &held).await;
    let before = counted(&control, "snapshots_sent_total").await;
    refuse(&proxy, version, Some(&held)).await;

    let (_, sealed) = proxy.untried().await;
    let repair = Repair::decode(&sealed).expect("a repair");
    assert_eq!(repair.segments, [5, 200]);
    let whole = held.exceptions_of(5).count() + 2 + held.exceptions_of(200).count();
    assert_eq!(repair.exceptions.len(), whole);
    assert!(repair.facts.is_some(), "a round trip has changed meanwhile");
    assert!(repair.buckets.is_none() && repair.directives.is_none());
    let mended = held.mended(&repair).expect("it mends");
    let snapshot = mended.encode().len();
    assert!(sealed.len() * 100 < snapshot, "{} of {snapshot} bytes", sealed.len());
    let digest = format!("{:016x}", mended.digest());
    assert_eq!(get(control.api, "/v1/table").await.json()["digest"], digest);
    proxy.table = Some(mended);
    proxy.ack().await;

    // From there it goes on by deltas.
    change(&control, "165ms").await;
    proxy.update().await;
    assert!(proxy.by_delta);
    assert_eq!(counted(&control, "repairs_sent_total").await, 1);
    assert_eq!(counted(&control, "snapshots_sent_total").await, before);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_does_not_help_is_followed_by_the_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let mut proxy = attached(&control).await;
    let held = spoilt(proxy.table.as_ref().unwrap());
    let version = delta_that_fails(&control, &mut proxy, &held).await;
    refuse(&proxy, version, Some(&held)).await;
    let (version, sealed) = proxy.untried().await;
    assert_eq!(kind(&sealed), Kind::Repair);
    // Even if it says again what it holds.
    refuse(&proxy, version, Some(&held)).await;
    let (_, sealed) = proxy.untried().await;
    assert_eq!(kind(&sealed), Kind::Table);
    proxy.table = Some(PlacementTable::decode(&sealed).unwrap());
    proxy.ack().await;

    // One that goes wrong again at once is not mended at once.
    let held = spoilt(proxy.table.as_ref().unwrap());
    change(&control, "165ms").await;
    let (version, _) = proxy.untried().await;
    let since = Instant::now();
    refuse(&proxy, version, Some(&held)).await;
    let (_, sealed) = proxy.untried().await;
    assert_eq!(kind(&sealed), Kind::Repair);
    assert!(since.elapsed() > Duration::from_millis(500), "{:?}", since.elapsed());
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_sums_gets_the_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let mut proxy = attached(&control).await;
    let held = spoilt(proxy.table.as_ref().unwrap());
    let version = delta_that_fails(&control, &mut proxy, &held).await;
    refuse(&proxy, version, None).await;
    assert_eq!(kind(&proxy.untried().await.1), Kind::Table);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_back_with_a_table_no_delta_leads_from_gets_the_parts_that_differ() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let first = attached(&control).await;
    let held = spoilt(first.table.as_ref().unwrap());
    let mut back = hello("edge-2", 8, Some(&held));
    back.sums = Some(Box::new(held.sums()));
    let mut proxy = Proxy::attach_holding(control.link, back, Some(held)).await.unwrap();
    let (_, sealed) = proxy.untried().await;
    let repair = Repair::decode(&sealed).expect("a repair");
    assert_eq!(repair.segments, [5, 200]);
    let mended = proxy.table.as_ref().unwrap().mended(&repair).expect("it mends");
    assert_eq!(Some(&mended), first.table.as_ref());
    proxy.table = Some(mended);
    proxy.ack().await;
    assert!(proxy.is_quiet().await);

    // Where most of it differs, the whole is sent: it is sealed once for all who need it.
    let mut stranger = hello("edge-3", 9, None);
    let facts = first.table.as_ref().unwrap().facts().as_ref().clone();
    let own = TableDraft::first(Version { term: 0, n: 3 }, facts, 1).seal().unwrap();
    (stranger.holds, stranger.digest) = (own.version(), own.digest());
    let mut sums = own.sums();
    sums.buckets ^= 1;
    stranger.sums = Some(Box::new(sums));
    let mut proxy = Proxy::attach(control.link, stranger).await.unwrap();
    assert_eq!(kind(&proxy.untried().await.1), Kind::Table);
    control.shutdown().await;
}
