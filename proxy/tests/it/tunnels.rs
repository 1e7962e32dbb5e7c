//! WebSockets pass through whole, and hold their session's place while they live.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    app::{App, nobody},
    client::{PATIENCE, ask, get, raw},
    proxy::Setup,
    whole::{BRISK, Whole, settings_text},
};

const SHAKE: &str = "GET /chat HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\n\
                     upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                        upgrade: websocket\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello ";

/// Accepts any handshake at once, says `hello `, then echoes until `bye`.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut read = vec![0; 64 << 10];
                let n = socket.read(&mut read).await.unwrap();
                let head = String::from_utf8_lossy(&read[..n]).to_ascii_lowercase();
                assert!(head.contains("upgrade: websocket") && head.contains("homing-session: "));
                socket.write_all(ACCEPT).await.unwrap();
                while let Ok(n) = socket.read(&mut read).await {
                    if n == 0 || read[..n].ends_with(b"bye") {
                        break;
                    }
                    socket.write_all(&read[..n]).await.unwrap();
                }
            });
        }
    });
    address
}

pub(crate) async fn open(proxy: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    socket.write_all(SHAKE.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nhello ") {
        let more = tokio::time::timeout(PATIENCE, socket.read_buf(&mut read)).await.unwrap();
        assert_ne!(more.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
    let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo=") && head.contains("set-cookie: homing="));
    assert!(head.contains("connection: upgrade"), "{head}");
    socket
}

/// Says something and hears it back.
pub(crate) async fn say(socket: &mut TcpStream, said: &[u8]) {
    socket.write_all(said).await.unwrap();
    let mut heard = vec![0; said.len()];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, said);
}

#[tokio::test]
async fn no_upgrade_is_lost_and_bytes_pass_both_ways() {
    let proxy = Setup::new(&[("paris", &[echo().await])]).start();
    for round in 0..100 {
        let mut socket = open(proxy.plain()).await;
        say(&mut socket, &vec![round; 40_000]).await;
        let mut heard = vec![0; 100];
        socket.write_all(b"bye").await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, socket.read(&mut heard)).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}

#[tokio::test]
async fn a_tunnel_is_in_flight_for_as_long_as_it_lives() {
    let proxy = Setup::new(&[("paris", &[echo().await])]).start();
    let in_flight = || proxy.gates.counts(homing_wire::ZoneId(0)).in_flight;
    let socket = open(proxy.plain()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(in_flight(), 1);
    drop(socket);
    for _ in 0..100 {
        if in_flight() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the tunnel's place was never given back");
}

#[tokio::test]
async fn a_refused_handshake_is_passed_on_and_a_dead_app_is_told() {
    let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nx-why: no\r\n\r\nnope";
    let app = App::raw(refusal).await;
    let proxy = Setup::new(&[("paris", &[app.address])]).start();
    let closing = SHAKE.replace("connection: Upgrade", "connection: Upgrade, close");
    let answer = raw(proxy.plain(), closing.as_bytes()).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 403 ") && answer.ends_with("nope"), "{answer}");
    assert!(answer.contains("x-why: no"));
    let proxy = Setup::new(&[("paris", &[nobody(), echo().await])]).start();
    for _ in 0..4 {
        open(proxy.plain()).await;
    }
    let proxy = Setup::new(&[("paris", &[nobody()])]).start();
    let told =
        ask(proxy.plain(), get("/", &[("connection", "upgrade"), ("upgrade", "websocket")])).await;
    assert_eq!((told.status.as_u16(), told.problem()), (502, "connect-failed".to_owned()));
}

#[tokio::test]
async fn other_upgrades_are_served_as_plain_requests() {
    let app = App::start("paris").await;
    let proxy = Setup::new(&[("paris", &[app.address])]).start();
    let told = ask(proxy.plain(), get("/", &[("connection", "upgrade"), ("upgrade", "h2c")])).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.received("upgrade"), None);
}

/// Greets with a frame that names its zone and the session, then echoes what comes as it is.
async fn greeter(zone: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut read = vec![0; 4 << 10];
                let n = socket.read(&mut read).await.unwrap();
                let head = String::from_utf8_lossy(&read[..n]).to_ascii_lowercase();
                let (_, session) = head.split_once("homing-session: ").unwrap();
                let greeting = format!("{zone} {}", session.lines().next().unwrap());
                let head = &ACCEPT[..ACCEPT.len() - b"hello ".len()];
                let frame = [&[0x81, greeting.len() as u8][..], greeting.as_bytes()].concat();
                socket.write_all(&[head, &frame].concat()).await.unwrap();
                while let Ok(n @ 1..) = socket.read(&mut read).await {
                    socket.write_all(&read[..n]).await.unwrap();
                }
            });
        }
    });
    address
}

/// Opens a tunnel to a [`greeter`]; returns it with the zone and the session.
async fn greeted(proxy: SocketAddr) -> (TcpStream, String, String) {
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    let shake = SHAKE.replace("upgrade: websocket", "upgrade: websocket\r\nx-user: ann");
    socket.write_all(shake.as_bytes()).await.unwrap();
    let head = tokio::time::timeout(PATIENCE, async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        head
    });
    let head = String::from_utf8(head.await.unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let greeting = String::from_utf8(frame(&mut socket).await.1).unwrap();
    let (zone, session) = greeting.split_once(' ').unwrap();
    (socket, zone.to_owned(), session.to_owned())
}

/// The next short frame: its first byte and its payload.
async fn frame(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let next = tokio::time::timeout(PATIENCE, async {
        let (first, length) = (socket.read_u8().await.unwrap(), socket.read_u8().await.unwrap());
        let mut payload = vec![0; length.into()];
        socket.read_exact(&mut payload).await.unwrap();
        (first, payload)
    });
    next.await.unwrap()
}

async fn reconnecting() -> Whole {
    let zones = [("lisbon", greeter("lisbon").await), ("oslo", greeter("oslo").await)];
    let text = settings_text(&zones, BRISK)
        .replace("    state: { hooks: { timeout: 400ms, max: 64KiB } }\n", "    state: stateless\n")
        .replace("    match: { path: / }\n", "    match: { path: / }\n    long_lived: reconnect\n");
    Whole::start_edited(&["lisbon", "oslo"], BRISK, |_| text.clone()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_has_clients_of_tunnels_reconnect_to_the_new_home() {
    let whole = reconnecting().await;
    let (mut socket, home, session) = greeted(whole.plain()).await;
    socket.write_all(b"\x82\x03one").await.unwrap();
    assert_eq!(frame(&mut socket).await, (0x82, b"one".to_vec()));
    let to = whole.other(&home, &["lisbon", "oslo"]);
    let directive = whole.move_to(&session, to).await;
    let (first, told) = frame(&mut socket).await;
    assert_eq!((first, &told[..2]), (0x88, &1_012_u16.to_be_bytes()[..]), "{told:?}");
    // Back before the old tunnel is even closed, and held until the session is there.
    let (_again, zone, same) = greeted(whole.plain()).await;
    assert_eq!((zone.as_str(), same), (to, session));
    let outcome = whole.outcome(directive).await;
    assert_eq!(outcome["outcome"], "completed", "{outcome}");
    assert!(outcome["pause_us"].as_u64().unwrap() < 300_000, "{outcome}");
    drop(socket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_is_cut_in_two_by_the_word_to_reconnect() {
    let whole = reconnecting().await;
    let (mut socket, home, session) = greeted(whole.plain()).await;
    // The app's answer is half a frame when the freeze comes.
    socket.write_all(b"\x82\x08half").await.unwrap();
    let mut half = [0; 6];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut half)).await.unwrap().unwrap();
    let to = whole.other(&home, &["lisbon", "oslo"]);
    let directive = whole.move_to(&session, to).await;
    let mut rest = [0; 4];
    let early = tokio::time::timeout(Duration::from_millis(400), socket.read(&mut rest)).await;
    assert!(early.is_err(), "{rest:?}");
    socket.write_all(b"done").await.unwrap();
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut rest)).await.unwrap().unwrap();
    assert_eq!(&rest, b"done");
    assert_eq!(frame(&mut socket).await.0, 0x88);
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
}
