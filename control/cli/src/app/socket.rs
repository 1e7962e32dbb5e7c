//! The notebook's WebSocket, over Redis: every text message is a number, written down and answered
//! with itself. It shows what an app does to have its sockets carried: it answers a close when it
//! has taken everything before it, and on the next leg says how far it was, and again what of its
//! own the client has not got.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, handshake::derive_accept_key, protocol::Role};

use super::redis::RedisApp;
use super::serve::caller;
use super::shelf::Caller;

/// What Homing asks and is told at the start of a leg that is not the first.
const RESUME: &str = "homing-resume";

/// Takes a handshake; the socket is served by a task of its own.
pub(super) async fn open(app: Arc<RedisApp>, mut request: Request<Incoming>) -> Response<Bytes> {
    let refuse = |status| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        response
    };
    let key = request.headers().get("sec-websocket-key").cloned();
    let (Some(key), Some(caller)) = (key, caller(request.headers())) else {
        return refuse(StatusCode::BAD_REQUEST);
    };
    let resumes = request.headers().get(RESUME).cloned();
    let Ok((leg, taken)) = app.begin(caller, resumes.is_none()).await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE);
    };
    // Every number was answered with itself, so what the client lacks are the last ones taken.
    let lacks = resumes.as_ref().and_then(heard).map_or(0, |heard| taken.saturating_sub(heard));
    let Ok(again) = app.last(caller, lacks).await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE);
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let stream = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            serve(&app, caller, leg, again, socket).await;
        }
    });
    let mut response = refuse(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = derive_accept_key(key.as_bytes());
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert("sec-websocket-accept", accept);
    }
    let taken = HeaderValue::from_str(&format!("client={taken}"));
    if let (true, Ok(taken)) = (resumes.is_some(), taken) {
        headers.insert(RESUME, taken);
    }
    response
}

/// Messages of this app's that the client has got, as Homing says.
fn heard(resume: &HeaderValue) -> Option<u64> {
    let mut pairs = resume.to_str().ok()?.split(';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == "app").and_then(|(_, number)| number.trim().parse().ok())
}

async fn serve<S>(
    app: &RedisApp,
    caller: Caller,
    leg: u64,
    again: Vec<String>,
    mut socket: WebSocketStream<S>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    for text in again {
        if socket.send(Message::Text(text.into())).await.is_err() {
            return;
        }
    }
    // A close is answered by the library, behind everything that was said before it.
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(seq) = text.parse::<u64>() else { continue };
        match app.hear(caller, leg, seq).await {
            // Not written: the client must not be told that it is.
            Err(_) | Ok(false) => {
                let _ = socket.close(None).await;
                return;
            }
            Ok(true) => {
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
        }
    }
}
