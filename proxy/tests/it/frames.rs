//! WebSocket frames byte by byte, as a client library would hide them.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    client::PATIENCE,
    whole::{BRISK, Whole, settings_text},
};

pub(crate) const SHAKE: &str = "GET /chat HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\n\
                     upgrade: websocket\r\nx-user: ann\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-protocol: chat.v1, chat.v2\r\n\
                     sec-websocket-extensions: permessage-deflate\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A whole proxy whose one service has its sockets carried, over these apps.
pub(crate) async fn carried(zones: &[(&'static str, SocketAddr)]) -> Whole {
    let text = settings_text(zones, BRISK)
        .replace("    state: { hooks: { timeout: 400ms, max: 64KiB } }\n", "    state: stateless\n")
        .replace("    match: { path: / }\n", "    match: { path: / }\n    long_lived: carry\n");
    Whole::start_edited(&["lisbon", "oslo"], BRISK, |_| text.clone()).await
}

/// A client's socket after the handshake.
pub(crate) async fn open(whole: &Whole) -> (OwnedReadHalf, OwnedWriteHalf) {
    let mut socket = TcpStream::connect(whole.plain()).await.unwrap();
    socket.write_all(SHAKE.as_bytes()).await.unwrap();
    let (mut read, write) = socket.into_split();
    let head = tokio::time::timeout(PATIENCE, head(&mut read)).await.unwrap().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (read, write)
}

/// A request's or answer's head.
pub(crate) async fn head(read: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// The next frame: its first byte and its payload, unmasked. `None` if the stream ends before it
/// does.
pub(crate) async fn frame(read: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (read.read_u8().await.ok()?, read.read_u8().await.ok()?);
    let length = match second & 0x7f {
        126 => read.read_u16().await.ok()?.into(),
        127 => read.read_u64().await.ok()?,
        short => short.into(),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        read.read_exact(&mut mask).await.ok()?;
    }
    let mut payload = vec![0; usize::try_from(length).ok()?];
    read.read_exact(&mut payload).await.ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((first, payload))
}

/// A frame as a server sends it.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(first, 0, payload.len())[..], payload].concat()
}

/// A frame as a client sends it.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 1, 9, 3];
    let mut frame = header(first, 0x80, payload.len());
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn header(first: u8, second: u8, length: usize) -> Vec<u8> {
    match length {
        0..=125 => vec![first, second | length as u8],
        126..=0xffff => [&[first, second | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, second | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}
