//! Cuts of carried WebSockets in the middle of things: large and fragmented messages go along, and
//! what cannot go along ends with a close or the end of the socket, never with a corrupt frame.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    client::{PATIENCE, ask, get},
    frames::{carried, frame, head, masked, open, plain},
    whole::Whole,
};

/// What the app says when it is asked to close.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// The same close.
    Answer,
    /// The beginning of a frame that never ends.
    HalfFrame,
    /// The first fragment of a message that never ends, and then the same close.
    HalfMessage,
    /// A close of its own.
    OwnClose,
}

/// An app that says every message back, in three fragments with a ping between them, and speaks
/// this subprotocol.
async fn echo(last: Last, subprotocol: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(leg(socket, last, subprotocol));
        }
    });
    address
}

async fn leg(socket: TcpStream, last: Last, subprotocol: &str) -> Option<()> {
    let (mut read, mut write) = socket.into_split();
    head(&mut read).await?;
    let accept = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-protocol: {subprotocol}\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    write.write_all(accept.as_bytes()).await.ok()?;
    let mut open = Vec::new();
    loop {
        let (first, payload) = frame(&mut read).await?;
        match first {
            0x88 => match last {
                Last::Answer => return write.write_all(&plain(0x88, &payload)).await.ok(),
                Last::OwnClose => {
                    return write.write_all(&plain(0x88, b"\x03\xe8bye")).await.ok();
                }
                Last::HalfFrame => write.write_all(&plain(0x82, &[9; 500])[..200]).await.ok()?,
                Last::HalfMessage => {
                    let said = [plain(0x02, &[9; 500]), plain(0x88, &payload)].concat();
                    return write.write_all(&said).await.ok();
                }
            },
            0x89 => {}
            _ => {
                open.extend(payload);
                if first & 0x80 != 0 {
                    let said = std::mem::take(&mut open);
                    write.write_all(&fragmented(&said, plain)).await.ok()?;
                }
            }
        }
    }
}

/// A binary message in three fragments with a ping between them.
fn fragmented(payload: &[u8], framed: fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let (a, b) = (payload.len() / 3, payload.len() / 2);
    let parts = [(0x02, &payload[..a]), (0x00, &payload[a..b]), (0x80, &payload[b..])];
    let [first, second, third] = parts.map(|(first, part)| framed(first, part));
    [first, framed(0x89, b"ping"), second, third].concat()
}

/// The next message, without the pings in it.
async fn message(read: &mut OwnedReadHalf) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, frame(read)).await.expect("a frame");
        let (first, payload) = next.expect("the socket stays open");
        match first {
            0x89 => assert_eq!(payload, b"ping"),
            0x02 | 0x00 => whole.extend(payload),
            0x80 => return [whole, payload].concat(),
            odd => panic!("{odd:#x} inside a message: {payload:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_in_fragments_go_along_whole() {
    let zones = [
        ("lisbon", echo(Last::Answer, "chat.v1").await),
        ("oslo", echo(Last::Answer, "chat.v1").await),
    ];
    let whole = carried(&zones).await;
    let (mut read, mut write) = open(&whole).await;
    let bytes = |n: usize| (0..n * 3_000).map(|i| (i * n) as u8).collect::<Vec<_>>();
    let saying = tokio::spawn(async move {
        for n in 1..=60 {
            for piece in fragmented(&bytes(n), masked).chunks(7_001) {
                write.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        write
    });
    let hearing = tokio::spawn(async move {
        for n in 1..=60 {
            assert!(message(&mut read).await == bytes(n), "message {n} has changed");
        }
        read
    });
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (key, home) = whole.only_session().await;
        let directive = whole.move_to(&key, whole.other(&home, &["lisbon", "oslo"])).await;
        whole.outcome(directive).await;
    }
    let _write = saying.await.unwrap();
    hearing.await.unwrap();
    assert!(!counted(&whole, "tunnels_carried").await.starts_with('0'));
    assert_eq!(counted(&whole, "tunnels_broken").await, "0");
}

async fn counted(whole: &Whole, name: &str) -> String {
    let told = ask(whole.admin(), get("/metrics", &[])).await;
    let text = String::from_utf8(told.body.to_vec()).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("homing_{name}")));
    line.and_then(|line| line.rsplit_once(' ')).expect(name).1.to_owned()
}

/// All that a client is told from the moment its session is moved, between apps like this.
async fn told_at_a_cut(last: Last, subprotocols: [&'static str; 2]) -> (Whole, Vec<u8>) {
    let zones = [
        ("lisbon", echo(last, subprotocols[0]).await),
        ("oslo", echo(last, subprotocols[1]).await),
    ];
    let whole = carried(&zones).await;
    let (mut read, mut write) = open(&whole).await;
    write.write_all(&masked(0x82, b"hello")).await.unwrap();
    assert_eq!(message(&mut read).await, b"hello");
    let (key, home) = whole.only_session().await;
    whole.move_to(&key, whole.other(&home, &["lisbon", "oslo"])).await;
    let rest = rest(&mut read, &mut write).await;
    (whole, rest)
}

/// Everything up to the end of the socket; a close is answered, as clients do.
async fn rest(read: &mut OwnedReadHalf, write: &mut OwnedWriteHalf) -> Vec<u8> {
    let mut rest = Vec::new();
    let all = async {
        while let Ok(1..) = read.read_buf(&mut rest).await {
            let _ = write.write_all(&masked(0x88, &[])).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the socket ends");
    rest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_a_frame_of_the_app_the_socket_ends_without_a_word() {
    let (whole, rest) = told_at_a_cut(Last::HalfFrame, ["chat.v1"; 2]).await;
    assert!(rest == plain(0x82, &[9; 500])[..200], "{rest:?}");
    assert_eq!(counted(&whole, "tunnels_broken").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_the_frames_of_a_message_the_client_is_told_to_come_back() {
    let (whole, rest) = told_at_a_cut(Last::HalfMessage, ["chat.v1"; 2]).await;
    let close = plain(0x88, b"\x03\xf4session moved");
    assert!(rest == [plain(0x02, &[9; 500]), close].concat(), "{rest:?}");
    assert_eq!(counted(&whole, "tunnels_broken").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_of_the_apps_own_reaches_the_client() {
    let (_, rest) = told_at_a_cut(Last::OwnClose, ["chat.v1"; 2]).await;
    assert_eq!(rest, plain(0x88, b"\x03\xe8bye"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leg_that_speaks_another_subprotocol_does_not_follow() {
    let (whole, rest) = told_at_a_cut(Last::Answer, ["chat.v1", "chat.v2"]).await;
    assert_eq!(rest, plain(0x88, b"\x03\xf4session moved"));
    assert_eq!(counted(&whole, "tunnels_broken").await, "1");
}
