//! Clients of WebSockets that read nothing, or slowly: the first do not keep their session where it
//! is, and the second lose nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    client::{PATIENCE, ask, get},
    frames::{SHAKE, frame, head, plain},
    whole::{Whole, settings_text},
};

const ZONES: [&str; 2] = ["lisbon", "oslo"];
/// Bytes of a message: a few of them fill a small buffer.
const MESSAGE: usize = 8 << 10;
/// Bytes of the buffers that can be had small.
const SMALL: u32 = 4 << 10;

/// What the apps of both zones know.
#[derive(Default)]
struct Known {
    /// Messages that were written, on all legs.
    written: AtomicU64,
    /// The last one there is.
    last: u64,
}

/// An app that says numbers as fast as they are taken, behind those that the client has, and names
/// its zone to who asks without a WebSocket.
async fn flood(zone: &'static str, known: Arc<Known>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(leg(zone, socket, Arc::clone(&known)));
        }
    });
    address
}

async fn leg(zone: &str, socket: TcpStream, known: Arc<Known>) -> Option<()> {
    SockRef::from(&socket).set_send_buffer_size(SMALL as usize).unwrap();
    let (mut read, mut write) = socket.into_split();
    let head = head(&mut read).await?.to_ascii_lowercase();
    if !head.contains("upgrade: websocket") {
        let length = zone.len();
        let page = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{zone}");
        return write.write_all(page.as_bytes()).await.ok();
    }
    let has = head.split_once("; app=").map_or("0", |(_, rest)| rest.split(';').next().unwrap());
    let has: u64 = has.parse().unwrap();
    let accept = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                  upgrade: websocket\r\nhoming-resume: client=0\r\n\
                  sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    write.write_all(accept.as_bytes()).await.ok()?;
    let closed = Arc::new(AtomicBool::new(false));
    let saying = tokio::spawn(say(write, has, Arc::clone(&known), Arc::clone(&closed)));
    while let Some((first, _)) = frame(&mut read).await {
        closed.fetch_or(first == 0x88, SeqCst);
    }
    saying.await.unwrap()
}

/// Says the numbers behind `has`; and the close, once that is asked for.
async fn say(
    mut write: OwnedWriteHalf,
    has: u64,
    known: Arc<Known>,
    closed: Arc<AtomicBool>,
) -> Option<()> {
    for n in has + 1..=known.last {
        if closed.load(SeqCst) {
            break;
        }
        write.write_all(&plain(0x82, &message(n))).await.ok()?;
        known.written.fetch_add(1, SeqCst);
    }
    while !closed.load(SeqCst) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    write.write_all(&plain(0x88, b"\x12\x5choming-carry")).await.ok()
}

fn message(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(MESSAGE / 8)
}

async fn flooded(last: u64, manner: &str, freeze: &str) -> (Whole, Arc<Known>) {
    let known = Arc::new(Known { last, ..Known::default() });
    let zones = [
        (ZONES[0], flood(ZONES[0], Arc::clone(&known)).await),
        (ZONES[1], flood(ZONES[1], Arc::clone(&known)).await),
    ];
    let cut = format!(
        "policy:\n  cut: {{ freeze_max: {freeze}, gap_wait: 50ms }}\n  hold: {{ wait_max: 40s }}\n"
    );
    let text = settings_text(&zones, &cut)
        .replace("    state: { hooks: { timeout: 400ms, max: 64KiB } }\n", "    state: stateless\n")
        .replace(
            "    match: { path: / }\n",
            &format!("    match: {{ path: / }}\n    long_lived: {manner}\n"),
        );
    (Whole::start_edited(&ZONES, &cut, |_| text.clone()).await, known)
}

/// A client's socket after the handshake, with a small buffer.
async fn open(whole: &Whole) -> (OwnedReadHalf, OwnedWriteHalf) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SMALL).unwrap();
    let mut socket = socket.connect(whole.plain()).await.unwrap();
    socket.write_all(SHAKE.as_bytes()).await.unwrap();
    let (mut read, write) = socket.into_split();
    let head = tokio::time::timeout(PATIENCE, head(&mut read)).await.unwrap().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (read, write)
}

/// Waits until the app can write no more: every buffer on the way is full.
async fn until_full(known: &Known) {
    let (mut before, mut same) = (0, 0);
    while same < 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = known.written.load(SeqCst);
        same = if now == before && now > 0 { same + 1 } else { 0 };
        before = now;
    }
    assert!(before < known.last, "the app has said everything: nothing was ever full");
}

async fn zone_of(whole: &Whole) -> String {
    let told = ask(whole.plain(), get("/", &[("x-user", "ann")])).await;
    assert_eq!(told.status, 200, "{told:?}");
    String::from_utf8(told.body.to_vec()).unwrap()
}

async fn counted(whole: &Whole, name: &str) -> u64 {
    let told = ask(whole.admin(), get("/metrics", &[])).await;
    let text = String::from_utf8(told.body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("homing_{name}_total ")));
    line.expect(name).parse().expect(name)
}

/// The numbers from one on for as long as whole messages come, and how the socket ended.
async fn numbers(read: &mut OwnedReadHalf, up_to: u64, pause: Duration) -> (u64, Option<u8>) {
    let mut n = 0;
    while n < up_to {
        tokio::time::sleep(pause).await;
        let next = tokio::time::timeout(PATIENCE, frame(read)).await.expect("an end");
        match next {
            Some((0x82, payload)) => {
                n += 1;
                assert!(payload == message(n), "no whole message after {}", n - 1);
            }
            Some((other, _)) => return (n, Some(other)),
            None => return (n, None),
        }
    }
    (n, None)
}

async fn leaves_who_does_not_read(manner: &str) {
    let (whole, known) = flooded(u64::MAX, manner, "600ms").await;
    let (mut read, _write) = open(&whole).await;
    until_full(&known).await;
    let (session, home) = whole.only_session().await;
    assert_eq!(zone_of(&whole).await, home);
    let to = whole.other(&home, &ZONES);
    let outcome = whole.outcome(whole.move_to(&session, to).await).await;
    assert_eq!(outcome["outcome"], "completed", "{outcome}");
    assert_eq!(zone_of(&whole).await, to);
    assert_eq!(counted(&whole, "tunnels_stuck").await, 1);
    // What it did not read ends in the middle of a frame, and nothing is said behind that.
    let (heard, end) = numbers(&mut read, u64::MAX, Duration::ZERO).await;
    assert!(heard > 0 && end.is_none(), "{heard} {end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carried_client_that_reads_nothing_does_not_keep_its_session() {
    leaves_who_does_not_read("carry").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_that_is_to_reconnect() {
    leaves_who_does_not_read("reconnect").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_reads_slowly_is_carried_and_misses_nothing() {
    let last = 2_500;
    let (whole, known) = flooded(last, "carry", "20s").await;
    let (mut read, _write) = open(&whole).await;
    until_full(&known).await;
    let reading = tokio::spawn(async move {
        let heard = numbers(&mut read, last, Duration::from_millis(2)).await;
        (heard, read)
    });
    for _ in 0..2 {
        let (session, home) = whole.only_session().await;
        let directive = whole.move_to(&session, whole.other(&home, &ZONES)).await;
        let outcome = whole.outcome(directive).await;
        assert_eq!(outcome["outcome"], "completed", "{outcome}");
        assert!(!reading.is_finished(), "it was not carried in the middle of it");
    }
    let (heard, _read) = reading.await.unwrap();
    assert_eq!(heard, (last, None));
    assert_eq!(counted(&whole, "tunnels_stuck").await, 0);
    assert_eq!(counted(&whole, "tunnels_broken").await, 0);
    let carried = counted(&whole, "tunnels_carried").await;
    assert!(carried >= 2);
    let page = ask(whole.admin(), get("/metrics", &[])).await.body;
    let page = String::from_utf8(page.to_vec()).unwrap();
    let gap = |what: &str| -> f64 {
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("homing_tunnel_gap_seconds_{what} ")));
        line.unwrap_or_else(|| panic!("{what}: {page}")).parse().unwrap()
    };
    assert_eq!(gap("count"), carried as f64, "{page}");
    assert!(gap("sum") > 0.0, "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_handoff_it_is_left_alone() {
    for manner in ["carry", "reconnect", "drain"] {
        let last = 3_000;
        let (whole, known) = flooded(last, manner, "100ms").await;
        let (mut read, _write) = open(&whole).await;
        // This alone takes many times what a cut would.
        until_full(&known).await;
        assert_eq!(numbers(&mut read, last, Duration::ZERO).await, (last, None), "{manner}");
    }
}
