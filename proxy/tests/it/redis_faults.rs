//! Redis servers that do not do as asked: each has a stated fault that names the server, and
//! nothing is half done. Also what the documentation says of rights and fences.

use std::{io::Write as _, path::Path};

use homing_proxy::{
    config::StoreSecrets,
    state::{StateFault, StateStore},
};
use homing_wire::{DirectiveId, Epoch, UndoneReason};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{
    redis_server::{RedisServer, free_port, installed},
    redis_store::{KEY, PATTERNS, Pair, SOURCE, TARGET, connect, held, noise, run, spec, store},
};

fn passwords(given: &[(&str, &str)]) -> StoreSecrets {
    let owned = |(name, word): &(&str, &str)| ((*name).to_owned(), (*word).to_owned());
    StoreSecrets { redis_passwords: given.iter().map(owned).collect(), redis_ca: None }
}

/// The fault says what, where and what becomes of the handoff.
fn check(fault: &StateFault, server: &RedisServer, words: &str, undone: UndoneReason) {
    let said = fault.to_string();
    assert!(said.contains(words), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{}", server.port)), "{said}");
    assert!(!said.contains("hush"), "{said}");
    assert_eq!(fault.undone(), undone, "{said}");
}

#[tokio::test]
async fn a_read_only_target_and_a_full_one_refuse_and_keep_what_they_have() {
    if !installed() {
        return;
    }
    let nowhere = free_port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &nowhere]);
    let pair = Pair::over([RedisServer::start(&[]), replica], &PATTERNS).await;
    pair.write("SET sess:ID 1").await;
    let copy = pair.export(0).await;
    let fault = pair.store.import(&TARGET, KEY, DirectiveId(1), &copy).await.unwrap_err();
    check(&fault, &pair.servers[1], "read-only replica", UndoneReason::ImportRefused);

    let full = RedisServer::start(&["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]);
    let pair = Pair::over([RedisServer::start(&[]), full], &PATTERNS).await;
    pair.write("SET sess:ID 1").await;
    run(&pair.target, "CONFIG SET maxmemory 0").await;
    pair.import(&pair.export(0).await).await;
    run(&pair.target, "CONFIG SET maxmemory 1").await;
    let fault = pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap_err();
    check(&fault, &pair.servers[1], "is full", UndoneReason::ImportRefused);
    assert_eq!(held(&pair.target).await.len(), 0);
    let fault = pair.store.import(&TARGET, KEY, DirectiveId(1), &pair.export(0).await).await;
    check(&fault.unwrap_err(), &pair.servers[1], "is full", UndoneReason::ImportRefused);
    // What is staged can still be let go.
    pair.store.release(&TARGET, KEY, Epoch(3)).await.unwrap();
    assert_eq!(run(&pair.target, "DBSIZE").await, redis::Value::Int(0));
}

#[tokio::test]
async fn passwords_and_users_are_the_proxys_and_told_when_they_do_not_fit() {
    if !installed() {
        return;
    }
    let users = "--requirepass hush-hush --user shop on >hush ~* &* +@all \
                 --user poor on >hush ~* &* -@all +hello +ping +client|tracking";
    let open = RedisServer::start(&users.split_whitespace().collect::<Vec<_>>());
    let other = RedisServer::start(&[]);
    let at = |user: &str| format!("redis://{user}127.0.0.1:{}", open.port);
    let trial = async |user: &str, secrets: StoreSecrets| {
        let spec = spec(&[at(user), other.url()], &PATTERNS);
        store(spec, secrets).export(&SOURCE, KEY, 0).await
    };
    let address = format!("127.0.0.1:{}", open.port);
    for (user, given, words) in [
        ("", passwords(&[]), "wants a password"),
        ("", passwords(&[("127.0.0.1", "wrong-hush")]), "does not take this user and password"),
        ("shop@", passwords(&[]), "does not take this user and password"),
        ("poor@", passwords(&[(&address, "hush")]), "does not allow its user"),
    ] {
        let fault = trial(user, given).await.unwrap_err();
        check(&fault, &open, words, UndoneReason::ExportFailed);
    }
    assert_eq!(trial("", passwords(&[(&address, "hush-hush")])).await, Ok(None));
    // The most exact name wins.
    let exact = format!("shop@{address}");
    assert_eq!(trial("shop@", passwords(&[(&address, "no"), (&exact, "hush")])).await, Ok(None));
}

/// The rights that docs/STATE.md asks for are enough, and are in it word for word.
#[tokio::test]
async fn the_documented_rights_are_enough_for_a_whole_handoff() {
    if !installed() {
        return;
    }
    let text = include_str!("../../../docs/STATE.md");
    let line = text.lines().find(|line| line.starts_with("user homing ")).expect("the rights");
    let rights = format!("--{}", line.replace("<password>", "hush"));
    let words: Vec<_> = rights.split_whitespace().collect();
    let servers = [RedisServer::start(&words), RedisServer::start(&words)];
    let (source, target) = (connect(&servers[0]).await, connect(&servers[1]).await);
    let urls = servers.each_ref().map(|server| format!("redis://homing@127.0.0.1:{}", server.port));
    let store = store(spec(&urls, &PATTERNS), passwords(&[("127.0.0.1", "hush")]));
    for line in ["SET sess:ID 1 PX 60000", "SET cart:ID:a 1"] {
        run(&source, line).await;
    }
    let whole = store.export(&SOURCE, KEY, 0).await.unwrap().unwrap();
    store.import(&TARGET, KEY, DirectiveId(1), &whole).await.unwrap();
    run(&source, "DEL cart:ID:a").await;
    let delta = store.export(&SOURCE, KEY, whole.version).await.unwrap().unwrap();
    store.import(&TARGET, KEY, DirectiveId(1), &delta).await.unwrap();
    store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    store.fence(&SOURCE, KEY, Epoch(2)).await.unwrap();
    store.release(&SOURCE, KEY, Epoch(2)).await.unwrap();
    assert_eq!((held(&source).await.len(), held(&target).await.len()), (0, 1));
}

/// The script that docs/STATE.md gives to apps refuses what comes late.
#[tokio::test]
async fn an_app_can_refuse_its_own_late_writes_as_documented() {
    if !installed() {
        return;
    }
    let text = include_str!("../../../docs/STATE.md");
    let lua = text.split("```lua").nth(1).and_then(|rest| rest.split("```").next());
    let script = redis::Script::new(lua.expect("the script"));
    let pair = Pair::start(&PATTERNS).await;
    let id = KEY.to_string();
    let write = async |epoch: u64| {
        let mut invocation = script.prepare_invoke();
        invocation.key(format!("homing:epoch:{id}")).key(format!("sess:{id}"));
        invocation.arg(epoch).arg(format!("by {epoch}"));
        invocation.invoke_async::<String>(&mut pair.source.clone()).await
    };
    assert_eq!(write(1).await.as_deref(), Ok("OK"));
    pair.store.fence(&SOURCE, KEY, Epoch(2)).await.unwrap();
    let late = write(1).await.unwrap_err();
    assert_eq!(late.code(), Some("FENCED"), "{late}");
    assert_eq!(write(2).await.as_deref(), Ok("OK"));
}

#[tokio::test]
async fn a_dead_server_a_hung_one_and_one_that_comes_back() {
    if !installed() {
        return;
    }
    let keeping = ["--appendonly", "yes", "--appendfsync", "always"];
    let servers = [RedisServer::start(&keeping), RedisServer::start(&[])];
    let mut pair = Pair::over(servers, &PATTERNS).await;
    let mut hasty = spec(&pair.servers.each_ref().map(RedisServer::url), &PATTERNS);
    hasty.timeout_ms = 300;
    pair.store = store(hasty, StoreSecrets::default());
    pair.write("SET sess:ID 1").await;
    let first = pair.export(0).await;

    pair.servers[0].pause();
    let fault = pair.store.export(&SOURCE, KEY, first.version).await.unwrap_err();
    check(&fault, &pair.servers[0], "within 300 ms", UndoneReason::ExportFailed);
    pair.servers[0].resume();
    // What went unanswered is not trusted: the next copy is whole.
    pair.write("SET sess:ID 2").await;
    let second = pair.export(first.version).await;
    assert_eq!(second.kind, homing_proxy::state::CopyKind::Full);

    pair.servers[0].kill();
    let fault = pair.store.export(&SOURCE, KEY, second.version).await.unwrap_err();
    check(&fault, &pair.servers[0], "no answer from Redis", UndoneReason::ExportFailed);
    pair.servers[0].run();
    pair.source = connect(&pair.servers[0]).await;
    let third = pair.export(second.version).await;
    pair.import(&third).await;

    // Connections that were kept are dead after a restart, and made anew.
    pair.servers[1].kill();
    pair.servers[1].run();
    pair.target = connect(&pair.servers[1]).await;
    let fault = pair.store.fence(&TARGET, KEY, Epoch(1)).await;
    assert_eq!(fault, Ok(()), "there is nothing staged to be lost");
    pair.import(&third).await;
    pair.servers[1].pause();
    let fault = pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap_err();
    check(&fault, &pair.servers[1], "within 300 ms", UndoneReason::TargetTimeout);
    pair.servers[1].resume();
    pair.store.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&pair.target).await, held(&pair.source).await);
    pair.servers[1].kill();
    let fault = pair.store.fence(&TARGET, KEY, Epoch(3)).await.unwrap_err();
    check(&fault, &pair.servers[1], "no answer from Redis", UndoneReason::TargetUnavailable);
}

#[tokio::test]
async fn values_of_a_later_version_and_a_server_that_is_too_old() {
    if !installed() {
        return;
    }
    let old = RedisServer::start(&["--rename-command", "HELLO", ""]);
    let sound = [RedisServer::start(&[]), RedisServer::start(&[])];
    let pair = Pair::over(sound, &PATTERNS).await;
    pair.write("SET sess:ID 1").await;
    let mut copy = pair.export(0).await;
    // The dump ends with its version and checksum: what a server of the future would write.
    let mut bytes = copy.bytes.to_vec();
    let at = bytes.len() - 10;
    bytes[at..at + 2].copy_from_slice(&[0xff, 0xff]);
    copy.bytes = bytes.into();
    let fault = pair.store.import(&TARGET, KEY, DirectiveId(1), &copy).await.unwrap_err();
    check(&fault, &pair.servers[1], "older version", UndoneReason::ImportRefused);
    assert_eq!(held(&pair.target).await.len(), 0);

    let spec = spec(&[old.url(), pair.servers[1].url()], &PATTERNS);
    let fault = store(spec, StoreSecrets::default()).export(&SOURCE, KEY, 0).await.unwrap_err();
    check(&fault, &old, "older than 6.0", UndoneReason::ExportFailed);
}

/// An authority and a certificate of 127.0.0.1 by it, as files of a server; the authority in PEM.
pub(crate) fn certificates(dir: &Path) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = cert.signed_by(&key, &issuer).unwrap().pem();
    for (name, text) in [("ca.pem", &ca), ("cert.pem", &cert), ("key.pem", &key.serialize_pem())] {
        let mut file = std::fs::File::create(dir.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    ca.into_bytes()
}

#[tokio::test]
async fn tls_is_spoken_to_servers_that_the_authority_vouches_for() {
    if !installed() {
        return;
    }
    homing_proxy::listen::tls::install_provider();
    let dir = tempfile::tempdir().unwrap();
    let ca = certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let port = free_port();
    let tls = RedisServer::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &file("cert.pem"),
        "--tls-key-file",
        &file("key.pem"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let source = RedisServer::start(&[]);
    let plain = connect(&tls).await;
    let urls = [source.url(), format!("rediss://127.0.0.1:{port}")];
    let trusting = StoreSecrets { redis_ca: Some(ca), ..StoreSecrets::default() };
    let store_of = |secrets| store(spec(&urls, &PATTERNS), secrets);
    let secure = store_of(trusting);
    run(&connect(&source).await, "SET sess:ID 1").await;
    let copy = secure.export(&SOURCE, KEY, 0).await.unwrap().unwrap();
    secure.import(&TARGET, KEY, DirectiveId(1), &copy).await.unwrap();
    secure.fence(&TARGET, KEY, Epoch(2)).await.unwrap();
    assert_eq!(held(&plain).await.len(), 1);
    // Followed over TLS too.
    let here = secure.export(&TARGET, KEY, 0).await.unwrap().unwrap();
    run(&plain, "SET cart:ID:a 2").await;
    let delta = secure.export(&TARGET, KEY, here.version).await.unwrap().unwrap();
    assert_eq!(delta.kind, homing_proxy::state::CopyKind::Delta);
    assert!(!delta.bytes.is_empty());

    let stranger = store_of(StoreSecrets::default());
    let fault = stranger.fence(&TARGET, KEY, Epoch(3)).await.unwrap_err();
    assert!(fault.to_string().contains(&format!("127.0.0.1:{port}")), "{fault}");
    assert_eq!(fault.undone(), UndoneReason::TargetUnavailable, "{fault}");
}

/// Prints what each call takes, in microseconds: the mean of ten handoffs of one size.
#[tokio::test]
#[ignore = "prints figures and checks nothing"]
async fn figures() {
    if !installed() {
        return;
    }
    println!(
        "{:>13} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "bytes x keys", "export", "import", "delta", "import", "fence"
    );
    for (bytes, keys) in
        [(1 << 10, 1), (4 << 10, 16), (16 << 10, 64), (64 << 10, 256), (16 << 20, 1)]
    {
        let pair = Pair::start(&PATTERNS).await;
        let value = noise(bytes);
        let mut sums = [0_u128; 5];
        const TURNS: u64 = 10;
        for turn in 0..TURNS {
            for n in 0..keys {
                let mut set = redis::cmd("SET");
                set.arg(format!("cart:{KEY}:{n}")).arg(&value[..]);
                set.query_async::<()>(&mut pair.source.clone()).await.unwrap();
            }
            let mut lap = |n: usize, begun: std::time::Instant| {
                sums[n] += begun.elapsed().as_micros();
            };
            let now = std::time::Instant::now;
            let begun = now();
            let whole = pair.export(0).await;
            lap(0, begun);
            let begun = now();
            pair.import(&whole).await;
            lap(1, begun);
            pair.write("SET sess:ID changed").await;
            let begun = now();
            let delta = pair.export(whole.version).await;
            lap(2, begun);
            let begun = now();
            pair.import(&delta).await;
            lap(3, begun);
            let begun = now();
            pair.store.fence(&TARGET, KEY, Epoch(2 + turn)).await.unwrap();
            lap(4, begun);
        }
        let mean = sums.map(|sum| sum / u128::from(TURNS));
        let [export, import, delta, last, fence] = mean;
        println!("{bytes:>9}x{keys:<3} {export:>7} {import:>7} {delta:>7} {last:>7} {fence:>7}");
    }
}
