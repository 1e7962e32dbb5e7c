//! A client that keeps one WebSocket open, says numbers and hears them back. What it was told is
//! written must be in the store, once and in order; and nobody may close its socket because its
//! session is handed over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

/// Pause between two numbers.
const SAY_EVERY: Duration = Duration::from_millis(400);
/// Longest silence after a number.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause before a closed socket is opened again.
const AGAIN: Duration = Duration::from_millis(200);

/// One client.
#[derive(Debug)]
pub struct Talker {
    /// Who it is; makes its session.
    pub user: String,
    edge: SocketAddr,
    heard: Mutex<Heard>,
}

/// What a talker has seen.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Its session, once an answer named it.
    pub session: Option<String>,
    /// The last number said.
    pub said: u64,
    /// Numbers heard back, in order.
    pub back: Vec<u64>,
    /// Numbers said on sockets that were closed before they came back: written or not.
    pub unknown: Vec<u64>,
    /// Why sockets were closed: the code, or nothing at all.
    pub closes: Vec<Option<u16>>,
}

impl Talker {
    /// A client of an edge.
    #[must_use]
    pub fn new(user: String, edge: SocketAddr) -> Arc<Self> {
        Arc::new(Self { user, edge, heard: Mutex::default() })
    }

    /// What it has seen so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.lock().clone()
    }

    /// Talks until told to stop, on as many sockets as that takes.
    pub async fn talk(&self, mut stop: tokio::sync::watch::Receiver<bool>) {
        while !*stop.borrow() {
            let Some(socket) = self.open().await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let Some(code) = self.converse(socket, &mut stop).await else { return };
            let mut heard = self.heard.lock();
            heard.closes.push(code);
            let from = heard
                .back
                .last()
                .copied()
                .unwrap_or(0)
                .max(heard.unknown.last().copied().unwrap_or(0));
            let unknown = from + 1..=heard.said;
            heard.unknown.extend(unknown);
        }
    }

    async fn open(&self) -> Option<WebSocketStream<TcpStream>> {
        let mut request = format!("ws://{}/socket", self.edge).into_client_request().ok()?;
        request.headers_mut().insert("x-user", self.user.parse().ok()?);
        let open = async {
            let stream = TcpStream::connect(self.edge).await.ok()?;
            let _ = stream.set_nodelay(true);
            tokio_tungstenite::client_async(request, stream).await.ok()
        };
        let (socket, response) = tokio::time::timeout(PATIENCE, open).await.ok()??;
        let session = response.headers().get("x-notebook-session");
        if let Some(session) = session.and_then(|session| session.to_str().ok()) {
            self.heard.lock().session = Some(session.to_owned());
        }
        Some(socket)
    }

    /// `None` once told to stop and everything came back; else how the socket was closed.
    async fn converse(
        &self,
        mut socket: WebSocketStream<TcpStream>,
        stop: &mut tokio::sync::watch::Receiver<bool>,
    ) -> Option<Option<u16>> {
        let mut say = tokio::time::interval(SAY_EVERY);
        let mut under_way = 0_u32;
        loop {
            let stopping = *stop.borrow();
            if stopping && under_way == 0 {
                return None;
            }
            tokio::select! {
                _ = say.tick(), if !stopping => {
                    let number = {
                        let mut heard = self.heard.lock();
                        heard.said += 1;
                        heard.said
                    };
                    under_way += 1;
                    if socket.send(Message::Text(number.to_string().into())).await.is_err() {
                        return Some(None);
                    }
                }
                next = tokio::time::timeout(PATIENCE, socket.next()) => match next {
                    Ok(Some(Ok(Message::Text(text)))) => {
                        under_way = under_way.saturating_sub(1);
                        if let Ok(number) = text.parse() {
                            self.heard.lock().back.push(number);
                        }
                    }
                    Ok(Some(Ok(Message::Close(why)))) => {
                        return Some(why.map(|why| why.code.into()));
                    }
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(_)) | None) | Err(_) => return Some(None),
                },
                _ = stop.changed(), if !stopping => {}
            }
        }
    }
}
