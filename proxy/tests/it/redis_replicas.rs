//! Replicas in a real Redis: kept apart from live keys and from what handoffs stage, made live when
//! their session's own zone is lost.

use std::time::Duration;

use homing_proxy::{
    config::StoreSecrets,
    state::{StateStore, redis::RedisStore},
};
use homing_wire::{DirectiveId, Epoch};

use crate::{
    redis_server::installed,
    redis_store::{KEY, PATTERNS, Pair, SOURCE, TARGET, held, run, spec, ttl},
};

#[tokio::test]
async fn a_replica_follows_its_session_and_a_handoff_beside_it_does_not_touch_it() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    pair.write("SET sess:ID one PX 600000").await;
    pair.write("HSET cart:ID:1 pears 2").await;
    let first = pair.export(0).await;
    pair.store.keep(&TARGET, KEY, &first).await.unwrap();
    // Kept again, as after a lost answer.
    pair.store.keep(&TARGET, KEY, &first).await.unwrap();
    pair.write("SET sess:ID two PX 600000").await;
    pair.write("DEL cart:ID:1").await;
    let delta = pair.export(first.version).await;
    pair.store.keep(&TARGET, KEY, &delta).await.unwrap();
    assert!(held(&pair.target).await.is_empty(), "nothing of it is live");
    // A handoff that comes to nothing, and the release of an earlier stay.
    pair.import(&first).await;
    pair.store.release(&TARGET, KEY, Epoch(3)).await.unwrap();
    let still = pair.export(delta.version).await;
    assert!(still.bytes.is_empty());
    pair.store.keep(&TARGET, KEY, &still).await.unwrap();
    let wanted = held(&pair.source).await;
    assert_eq!(pair.store.adopt(&TARGET, KEY, Epoch(4)).await, Ok(true));
    assert_eq!(held(&pair.target).await, wanted);
    let left = ttl(&pair.target, &format!("sess:{KEY}")).await;
    assert!((1..=600_000).contains(&left), "{left}");
    // Told twice: it is there already, and stays.
    assert_eq!(pair.store.adopt(&TARGET, KEY, Epoch(4)).await, Ok(false));
    assert_eq!(held(&pair.target).await, wanted);
}

#[tokio::test]
async fn a_dropped_or_half_replica_is_not_made_live() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    pair.write("SET sess:ID one").await;
    let first = pair.export(0).await;
    pair.store.keep(&TARGET, KEY, &first).await.unwrap();
    pair.store.forsake(&TARGET, KEY).await.unwrap();
    pair.store.forsake(&TARGET, KEY).await.unwrap();
    assert_eq!(run(&pair.target, "DBSIZE").await, redis::Value::Int(0), "nothing is left");
    assert_eq!(pair.store.adopt(&TARGET, KEY, Epoch(2)).await, Ok(false));
    // A delta on top of nothing, and word that it lives on, are refused.
    pair.write("SET sess:ID two").await;
    let delta = pair.export(first.version).await;
    assert!(pair.store.keep(&TARGET, KEY, &delta).await.is_err());
    let still = pair.export(delta.version).await;
    assert!(pair.store.keep(&TARGET, KEY, &still).await.is_err());
    // What lies at the keeper from an earlier stay goes when the replica becomes live.
    run(&pair.target, "SET cart:ID:old stale").await;
    let whole = pair.export(0).await;
    pair.store.keep(&TARGET, KEY, &whole).await.unwrap();
    assert_eq!(pair.store.adopt(&TARGET, KEY, Epoch(3)).await, Ok(true));
    assert_eq!(held(&pair.target).await, held(&pair.source).await);
}

#[tokio::test]
async fn a_replica_lives_as_long_as_its_session_is_told_to_live() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    let urls = pair.servers.each_ref().map(|server| server.url());
    let servers = homing_proxy::state::redis::RedisServers::new(StoreSecrets::default());
    let short = RedisStore::new(servers.into(), spec(&urls, &PATTERNS), 2_000);

    pair.write("SET sess:ID one").await;
    let first = short.export(&SOURCE, KEY, 0).await.unwrap().unwrap();
    short.keep(&TARGET, KEY, &first).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let still = short.export(&SOURCE, KEY, first.version).await.unwrap().unwrap();
        short.keep(&TARGET, KEY, &still).await.unwrap();
    }
    short.import(&TARGET, KEY, DirectiveId(7), &first).await.unwrap();
    assert_eq!(short.adopt(&TARGET, KEY, Epoch(2)).await, Ok(true));
    short.release(&TARGET, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&pair.target).await, held(&pair.source).await);
}
