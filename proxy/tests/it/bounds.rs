//! Bounds on what a client may send, and on how long it may take.

use std::time::{Duration, Instant};

use homing_wire::Match;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    app::App,
    client::{ask, drain, get, raw, send},
    proxy::{Proxy, Setup},
};

async fn start(change: impl FnOnce(&mut Setup)) -> (Proxy, App) {
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    change(&mut setup);
    (setup.start(), app)
}

#[tokio::test]
async fn a_head_over_its_bound_is_431() {
    let (proxy, app) = start(|_| {}).await;
    let long = "a".repeat(15 << 10);
    let told = ask(proxy.plain(), get("/", &[("x-long", &long)])).await;
    assert_eq!(told.status, 200);
    // Past the bound by a little, the problem comes from the edge; by far, from the connection.
    for over in [17 << 10, 300 << 10] {
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(over));
        let answer = raw(proxy.plain(), head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{over}: {answer}");
        assert!(answer.contains("head-too-large"), "{answer}");
    }
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    assert!(raw(proxy.plain(), head.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(app.hits(), 1);
}

#[tokio::test]
async fn a_body_over_its_bound_is_413_by_length_and_by_count() {
    let (proxy, app) = start(|setup| setup.limits().body_bytes_max = 10_000).await;
    let told = ask(proxy.plain(), send("POST", "/", &[], vec![b'x'; 10_000])).await;
    assert_eq!((told.status.as_u16(), told.json()["body_bytes"].as_u64()), (200, Some(10_000)));
    let announced = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10001\r\n\r\n";
    let answer = raw(proxy.plain(), announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body-too-large"), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 6_000, "y".repeat(6_000));
    let streamed = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    let answer = raw(proxy.plain(), streamed.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(app.hits(), 1 + usize::from(app.hits() > 1), "refused bodies reached the app");
}

#[tokio::test]
async fn a_dripping_head_is_408_in_time() {
    let head_timeout = Duration::from_millis(700);
    let (proxy, _app) = start(|setup| setup.limits.head_timeout = head_timeout).await;
    let mut socket = TcpStream::connect(proxy.plain()).await.unwrap();
    let began = Instant::now();
    let (mut read, mut write) = socket.split();
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter() {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answer = async {
        let mut text = String::new();
        let _ = tokio::io::AsyncReadExt::read_to_string(&mut read, &mut text).await;
        text
    };
    let text = tokio::select! { text = answer => text, () = drip => String::new() };
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("client-timeout"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stalled_body_is_408() {
    let (proxy, _app) = start(|setup| setup.limits().client_timeout_ms = 400).await;
    let mut socket = TcpStream::connect(proxy.plain()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc";
    socket.write_all(head).await.unwrap();
    let answer = drain(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn silent_connections_are_let_go() {
    let (proxy, _app) = start(|setup| {
        setup.limits.head_timeout = Duration::from_millis(300);
        setup.limits.idle_timeout = Duration::from_secs(1);
    })
    .await;
    let began = Instant::now();
    let mut socket = TcpStream::connect(proxy.plain()).await.unwrap();
    drain(&mut socket).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    // After a request, keep-alive's own time counts.
    let mut socket = TcpStream::connect(proxy.plain()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = drain(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn connections_over_the_bound_wait_for_their_turn() {
    let (proxy, _app) = start(|setup| setup.limits.connections_max = 2).await;
    let first = TcpStream::connect(proxy.plain()).await.unwrap();
    let second = TcpStream::connect(proxy.plain()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = ask(proxy.plain(), get("/", &[]));
    tokio::pin!(third);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut third).await;
    assert!(early.is_err(), "the bound let a third connection in");
    drop((first, second));
    assert_eq!(third.await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_what_nobody_serves_is_404() {
    let (proxy, app) = start(|setup| {
        setup.service().matches =
            Match { hosts: vec!["shop.example".to_owned()], path_prefix: "/shop".to_owned() };
    })
    .await;
    let told = ask(proxy.plain(), get("/shop/cart", &[])).await;
    assert_eq!(told.status, 200);
    for (path, host) in [("/other", "shop.example"), ("/shop", "other.example")] {
        let told = ask(proxy.plain(), get(path, &[("host", host)])).await;
        assert_eq!((told.status.as_u16(), told.problem()), (404, "no-route".to_owned()));
        assert!(told.header("proxy-status").unwrap().starts_with("homing; error="));
    }
    for junk in ["\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\u{1} HTTP/1.1\r\na\r\n\r\n"] {
        let answer = raw(proxy.plain(), junk.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{junk:?}: {answer}");
    }
    let smuggled = "POST /shop HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5\r\n\
                    content-length: 6\r\n\r\nhello!";
    let answer = raw(proxy.plain(), smuggled.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{answer}");
    assert_eq!(app.hits(), 1);
}
