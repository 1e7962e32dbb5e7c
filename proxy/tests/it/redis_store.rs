//! Session state between two real Redis servers, through the store itself: rounds, deltas, staging,
//! the fence and the release, and what the keys hold before and after.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use homing_proxy::{
    config::StoreSecrets,
    state::{
        CopyKind, Site, StateCopy, StateStore,
        redis::{RedisServers, RedisStore},
    },
};
use homing_wire::{DirectiveId, Epoch, KeyPattern, Redis, RedisUrl, SessionKey, ZoneId};
use redis::aio::MultiplexedConnection;

use crate::redis_server::{RedisServer, installed};

pub(crate) const SOURCE: Site = Site { zone: ZoneId(0), endpoint: None };
pub(crate) const TARGET: Site = Site { zone: ZoneId(1), endpoint: None };
pub(crate) const KEY: SessionKey = SessionKey(0xfeed);
pub(crate) const PATTERNS: [&str; 2] = ["sess:{id}", "cart:{id}:*"];

/// Two zones' servers and the store over them.
pub(crate) struct Pair {
    pub(crate) store: RedisStore,
    pub(crate) source: MultiplexedConnection,
    pub(crate) target: MultiplexedConnection,
    pub(crate) servers: [RedisServer; 2],
}

pub(crate) fn spec(urls: &[String], patterns: &[&str]) -> Redis {
    let urls = urls.iter().map(|url| RedisUrl::parse(url).unwrap());
    Redis {
        servers: (0..).map(ZoneId).zip(urls).collect(),
        keys: patterns.iter().map(|text| KeyPattern::parse(text).unwrap()).collect(),
        timeout_ms: 5_000,
        state_bytes_max: 64 << 20,
    }
}

pub(crate) fn store(spec: Redis, secrets: StoreSecrets) -> RedisStore {
    RedisStore::new(Arc::new(RedisServers::new(secrets)), spec, 3_600_000)
}

pub(crate) async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

impl Pair {
    pub(crate) async fn start(patterns: &[&str]) -> Self {
        Self::over([RedisServer::start(&[]), RedisServer::start(&[])], patterns).await
    }

    pub(crate) async fn over(servers: [RedisServer; 2], patterns: &[&str]) -> Self {
        let spec = spec(&servers.each_ref().map(RedisServer::url), patterns);
        let store = store(spec, StoreSecrets::default());
        let (source, target) = (connect(&servers[0]).await, connect(&servers[1]).await);
        Self { store, source, target, servers }
    }

    /// A command at the source, `ID` for the session.
    pub(crate) async fn write(&self, line: &str) {
        run(&self.source, line).await;
    }

    pub(crate) async fn export(&self, since: u64) -> StateCopy {
        self.store.export(&SOURCE, KEY, since).await.unwrap().expect("there is state")
    }

    pub(crate) async fn import(&self, copy: &StateCopy) {
        self.store.import(&TARGET, KEY, DirectiveId(1), copy).await.unwrap();
    }
}

pub(crate) async fn run(connection: &MultiplexedConnection, line: &str) -> redis::Value {
    let line = line.replace("ID", &KEY.to_string());
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut connection.clone()).await.unwrap()
}

/// What a server holds, names and values, in a form that does not depend on encodings; Homing's own
/// keys apart.
pub(crate) async fn held(connection: &MultiplexedConnection) -> BTreeMap<String, String> {
    let mut connection = connection.clone();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut all = BTreeMap::new();
    for key in keys.into_iter().filter(|key| !key.starts_with("homing:")) {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
        let read = match kind.as_str() {
            "string" => vec!["GET", &key],
            "hash" => vec!["HGETALL", &key],
            "list" => vec!["LRANGE", &key, "0", "-1"],
            "set" => vec!["SMEMBERS", &key],
            "zset" => vec!["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            // Gone since it was listed.
            _ => continue,
        };
        let mut command = redis::cmd(read[0]);
        command.arg(&read[1..]);
        let value = if kind == "hash" {
            let map: BTreeMap<String, String> = command.query_async(&mut connection).await.unwrap();
            format!("{map:?}")
        } else if kind == "set" {
            let set: std::collections::BTreeSet<String> =
                command.query_async(&mut connection).await.unwrap();
            format!("{set:?}")
        } else {
            let value: redis::Value = command.query_async(&mut connection).await.unwrap();
            format!("{value:?}")
        };
        all.insert(key, format!("{kind} {value}"));
    }
    all
}

pub(crate) async fn ttl(connection: &MultiplexedConnection, key: &str) -> i64 {
    match run(connection, &format!("PTTL {key}")).await {
        redis::Value::Int(ms) => ms,
        other => panic!("{other:?}"),
    }
}

async fn own_keys(connection: &MultiplexedConnection) -> Vec<String> {
    let mut connection = connection.clone();
    let mut keys: Vec<String> =
        redis::cmd("KEYS").arg("homing:*").query_async(&mut connection).await.unwrap();
    keys.sort();
    keys
}

#[tokio::test]
async fn rounds_carry_what_changed_and_the_fence_makes_it_live_at_once() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    for line in [
        "SET sess:ID hello PX 60000",
        "HSET cart:ID:a apples 3",
        "RPUSH cart:ID:b one two",
        "SET other:ID mine",
        "SET sess:00000000000000000000000000000001 theirs",
    ] {
        pair.write(line).await;
    }
    run(&pair.target, "SET cart:ID:stale from-an-earlier-stay").await;
    run(&pair.target, "SET other:ID untouched").await;

    let whole = pair.export(0).await;
    assert_eq!(whole.kind, CopyKind::Full);
    pair.import(&whole).await;
    assert_eq!(held(&pair.target).await.len(), 2, "nothing staged is live");

    let idle = pair.export(whole.version).await;
    assert_eq!((idle.kind, idle.bytes.len()), (CopyKind::Delta, 0));
    assert_eq!(idle.version, whole.version);

    for line in ["HSET cart:ID:a pears 1", "DEL cart:ID:b", "ZADD cart:ID:c 1 new"] {
        pair.write(line).await;
    }
    let delta = pair.export(whole.version).await;
    assert!(delta.kind == CopyKind::Delta && delta.version > whole.version);
    assert!(delta.bytes.len() < 400, "only what changed: {}", delta.bytes.len());
    pair.import(&delta).await;
    // An answer that was lost is asked for again.
    pair.import(&delta).await;

    pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    let (mut source, mut target) = (held(&pair.source).await, held(&pair.target).await);
    source.retain(|key, _| !key.starts_with("other") && !key.ends_with('1'));
    target.retain(|key, _| !key.starts_with("other"));
    assert_eq!(source, target);
    let (there, here) = (ttl(&pair.source, "sess:ID").await, ttl(&pair.target, "sess:ID").await);
    assert!((there - here).abs() < 500 && here > 50_000, "{there} {here}");
    assert_eq!(ttl(&pair.target, "cart:ID:a").await, -1, "no expiry of the staging is left");
    let id = KEY.to_string();
    let own = own_keys(&pair.target).await;
    assert_eq!(own, [format!("homing:epoch:{id}"), format!("homing:live:{id}")]);

    pair.store.fence(&SOURCE, KEY, Epoch(2)).await.unwrap();
    pair.store.release(&SOURCE, KEY, Epoch(2)).await.unwrap();
    pair.store.release(&SOURCE, KEY, Epoch(2)).await.unwrap();
    let left: Vec<_> = held(&pair.source).await.into_keys().collect();
    assert_eq!(left, [format!("other:{id}"), format!("sess:{:032x}", 1)]);
    assert_eq!(own_keys(&pair.source).await, [format!("homing:epoch:{id}")]);
    // A release that comes late drops nothing of the new home.
    pair.store.release(&TARGET, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&pair.target).await.len(), 4);
}

#[tokio::test]
async fn a_session_that_goes_away_and_comes_back_leaves_nothing_behind() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    pair.write("SET cart:ID:a 1").await;
    pair.import(&pair.export(0).await).await;
    pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    run(&pair.target, "RENAME cart:ID:a cart:ID:b").await;
    // Back, before the first home has let go of its copy.
    let back = pair.store.export(&TARGET, KEY, 0).await.unwrap().unwrap();
    pair.store.import(&SOURCE, KEY, DirectiveId(2), &back).await.unwrap();
    pair.store.fence(&SOURCE, KEY, Epoch(3)).await.unwrap();
    let keys: Vec<_> = held(&pair.source).await.into_keys().collect();
    assert_eq!(keys, [format!("cart:{KEY}:b")]);
    // The release of the first stay comes late.
    pair.store.release(&SOURCE, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&pair.source).await.len(), 1);
    let late = pair.store.fence(&SOURCE, KEY, Epoch(2)).await.unwrap_err();
    assert!(late.to_string().contains("later epoch"), "{late}");
}

#[tokio::test]
async fn half_a_staging_and_a_lost_one_are_refused_whole() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    pair.write("SET sess:ID new").await;
    pair.write("SET cart:ID:a new").await;
    run(&pair.target, "SET sess:ID old").await;
    pair.import(&pair.export(0).await).await;
    run(&pair.target, "DEL homing:staged:ID:1:cart:ID:a").await;
    let fault = pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap_err();
    assert!(fault.to_string().contains("evicted"), "{fault}");
    assert_eq!(fault.undone(), homing_wire::UndoneReason::ImportRefused);
    assert_eq!(held(&pair.target).await.len(), 1);
    assert_eq!(run(&pair.target, "EXISTS homing:epoch:ID").await, redis::Value::Int(0));
    run(&pair.target, "HDEL homing:staged:ID version").await;
    let fault = pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap_err();
    assert!(fault.to_string().contains("only a part"), "{fault}");
    // Another handoff's delta does not fit either, and a whole copy begins anew.
    pair.write("SET cart:ID:b newer").await;
    let whole = pair.export(0).await;
    let delta = StateCopy { kind: CopyKind::Delta, ..whole.clone() };
    let other = pair.store.import(&TARGET, KEY, DirectiveId(2), &delta).await.unwrap_err();
    assert!(other.to_string().contains("lost what was staged"), "{other}");
    pair.store.import(&TARGET, KEY, DirectiveId(2), &whole).await.unwrap();
    pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&pair.target).await, held(&pair.source).await);
    assert_eq!(own_keys(&pair.target).await.len(), 2, "the first staging is gone too");
}

#[tokio::test]
async fn time_spent_staged_counts() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    pair.write("SET sess:ID short PX 300").await;
    pair.write("SET cart:ID:a long PX 900000").await;
    pair.import(&pair.export(0).await).await;
    assert!(ttl(&pair.target, "homing:staged:ID:1:cart:ID:a").await > 0, "staging leaks nothing");
    tokio::time::sleep(Duration::from_millis(400)).await;
    pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&pair.target).await, held(&pair.source).await);
    let (there, here) =
        (ttl(&pair.source, "cart:ID:a").await, ttl(&pair.target, "cart:ID:a").await);
    assert!((there - here).abs() < 300, "{there} {here}");
}

#[tokio::test]
async fn a_lost_tracking_connection_or_a_flush_makes_the_next_copy_whole() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    pair.write("SET sess:ID 1").await;
    let first = pair.export(0).await;
    pair.write("CLIENT KILL TYPE normal SKIPME yes").await;
    pair.write("SET cart:ID:a 2").await;
    let second = pair.export(first.version).await;
    assert_eq!(second.kind, CopyKind::Full);
    assert!(second.version > first.version);
    pair.write("FLUSHALL").await;
    pair.write("SET cart:ID:b 3").await;
    let third = pair.export(second.version).await;
    assert_eq!(third.kind, CopyKind::Full);
    // A version of an earlier life of the process is unknown.
    assert_eq!(pair.export(first.version).await.kind, CopyKind::Full);
    pair.import(&third).await;
    pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&pair.target).await, held(&pair.source).await);
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn line(&mut self) -> String {
        let key = match self.roll(6) {
            0 => "sess:ID".to_owned(),
            n => format!("cart:ID:{n}"),
        };
        let n = self.roll(1_000);
        match self.roll(9) {
            0 => format!("SET {key} {n}"),
            1 => format!("SET {key} {n} PX 600000"),
            2 => format!("DEL {key}"),
            3 => format!("EXPIRE {key} {}", 100 + n),
            4 => format!("PERSIST {key}"),
            5 => format!("HSET h:{key} {n} {n}"),
            6 => format!("RPUSH l:{key} {n}"),
            7 => format!("ZADD z:{key} {n} {n}"),
            _ => format!("RENAME {key} {key}"),
        }
    }
}

#[tokio::test]
async fn whatever_is_written_between_rounds_the_target_ends_as_the_source() {
    if !installed() {
        return;
    }
    let patterns = ["sess:{id}", "cart:{id}:*", "h:sess:{id}", "l:cart:{id}:*", "z:cart:{id}:*"];
    let pair = Pair::start(&patterns).await;
    for seed in 1..=40_u64 {
        for connection in [&pair.source, &pair.target] {
            run(connection, "FLUSHALL").await;
        }
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        pair.write("SET sess:ID begun").await;
        let mut version = 0;
        for round in 0..=dice.roll(5) {
            for _ in 0..dice.roll(30) {
                let line = dice.line().replace("ID", &KEY.to_string());
                let mut command = redis::Cmd::new();
                line.split(' ').for_each(|word| {
                    command.arg(word);
                });
                // Renaming what is not there is refused, which is no change.
                let _ = command.query_async::<redis::Value>(&mut pair.source.clone()).await;
            }
            if let Some(copy) = pair.store.export(&SOURCE, KEY, version).await.unwrap() {
                assert!(round == 0 || copy.kind == CopyKind::Delta, "seed {seed}");
                version = copy.version;
                pair.import(&copy).await;
            }
        }
        pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
        let (mut source, target) = (held(&pair.source).await, held(&pair.target).await);
        // Written beside the patterns: not the session's.
        source.retain(|key, _| {
            ["sess:", "cart:", "h:sess:", "l:cart:", "z:cart:"].iter().any(|p| key.starts_with(p))
        });
        assert_eq!(source, target, "seed {seed}");
        for key in target.keys() {
            let (there, here) = (ttl(&pair.source, key).await, ttl(&pair.target, key).await);
            assert_eq!(there == -1, here == -1, "seed {seed}: {key}: {there} {here}");
            assert!((there - here).abs() < 2_000, "seed {seed}: {key}: {there} {here}");
        }
    }
}

/// Writers that do not wait for rounds: what they were told is written must arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_during_the_rounds_are_all_in_the_last_delta() {
    if !installed() {
        return;
    }
    let pair = Arc::new(Pair::start(&PATTERNS).await);
    for turn in 0..20 {
        pair.write("DEL cart:ID:log").await;
        pair.write("SET sess:ID begun").await;
        let writer = {
            let pair = Arc::clone(&pair);
            tokio::spawn(async move {
                for n in 0..200 {
                    pair.write(&format!("RPUSH cart:ID:log {n}")).await;
                    pair.write(&format!("SET cart:ID:{} {n}", n % 7)).await;
                }
            })
        };
        let mut version = 0;
        while !writer.is_finished() {
            let copy = pair.export(version).await;
            version = copy.version;
            pair.import(&copy).await;
        }
        // Frozen: every request has ended.
        writer.await.unwrap();
        let last = pair.export(version).await;
        assert_eq!(last.kind, CopyKind::Delta);
        pair.import(&last).await;
        pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
        assert_eq!(held(&pair.target).await, held(&pair.source).await, "turn {turn}");
    }
}

/// Bytes that Redis cannot compress.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    (0..bytes).map(|_| (dice.roll(1 << 40) >> 20) as u8).collect()
}

#[tokio::test]
async fn a_state_over_the_bound_is_told_and_not_read() {
    if !installed() {
        return;
    }
    let pair = Pair::start(&PATTERNS).await;
    let mut small = spec(&pair.servers.each_ref().map(RedisServer::url), &PATTERNS);
    small.state_bytes_max = 10_000;
    let small = store(small, StoreSecrets::default());
    let mut source = pair.source.clone();
    let key = format!("sess:{KEY}");
    let noise = noise(20_000);
    redis::cmd("SET").arg(key).arg(noise).query_async::<()>(&mut source).await.unwrap();
    let fault = small.export(&SOURCE, KEY, 0).await.unwrap_err();
    assert_eq!(fault.undone(), homing_wire::UndoneReason::StateTooLarge, "{fault}");
    assert_eq!(small.export(&TARGET, KEY, 0).await, Ok(None));
}
