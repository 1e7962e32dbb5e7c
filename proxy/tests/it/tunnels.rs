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
};

const SHAKE: &str = "GET /chat HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\n\
                     upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                        upgrade: websocket\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello ";

/// Accepts any handshake at once, says `hello `, then echoes until `bye`.
async fn echo() -> SocketAddr {
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

async fn open(proxy: SocketAddr) -> TcpStream {
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

#[tokio::test]
async fn no_upgrade_is_lost_and_bytes_pass_both_ways() {
    let proxy = Setup::new(&[("paris", &[echo().await])]).start();
    for round in 0..100 {
        let mut socket = open(proxy.plain()).await;
        let said = vec![round; 40_000];
        socket.write_all(&said).await.unwrap();
        let mut heard = vec![0; said.len()];
        tokio::time::timeout(PATIENCE, socket.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, said);
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
