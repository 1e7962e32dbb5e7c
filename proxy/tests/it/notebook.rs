//! A small real app that keeps a notebook per session and speaks the state hooks. It misbehaves on
//! demand, and it refuses whatever a fenced zone must not be asked.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;

/// One zone's app.
pub(crate) struct Notebook {
    pub(crate) address: SocketAddr,
    pub(crate) faults: Arc<Faults>,
    books: Arc<Books>,
}

/// What goes wrong.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) refuse_import: AtomicBool,
    pub(crate) truncate_export: AtomicBool,
    pub(crate) hang_export: AtomicBool,
    pub(crate) refuse_export: AtomicBool,
    /// In chunks, without a length and without an end.
    pub(crate) endless_export: AtomicBool,
    pub(crate) hang_import: AtomicBool,
    pub(crate) refuse_fence: AtomicBool,
    /// Requests executed below the zone's fence: must stay 0.
    pub(crate) below_fence: AtomicUsize,
    /// Bytes added to every export.
    pub(crate) ballast: AtomicU64,
    pub(crate) exports: AtomicUsize,
    pub(crate) releases: AtomicUsize,
}

type Books = Mutex<HashMap<String, Book>>;

#[derive(Clone, Default)]
struct Book {
    lines: Vec<String>,
    fence: u64,
    live_epoch: u64,
    staged: Option<Vec<String>>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Notebook {
    pub(crate) async fn start(zone: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, books) = (Arc::<Faults>::default(), Arc::<Books>::default());
        let (f, b) = (Arc::clone(&faults), Arc::clone(&books));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (f, b) = (Arc::clone(&f), Arc::clone(&b));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (f, b) = (Arc::clone(&f), Arc::clone(&b));
                        async move { Ok::<_, Infallible>(answer(zone, request, &f, &b).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, faults, books }
    }

    /// The lines this zone holds for a session, staged ones not counted.
    pub(crate) fn lines(&self, key: &str) -> Vec<String> {
        self.books.lock().get(key).map(|book| book.lines.clone()).unwrap_or_default()
    }
}

async fn answer(
    zone: &'static str,
    request: Request<Incoming>,
    faults: &Faults,
    books: &Books,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return say(400, "no body") };
    let body = body.to_bytes();
    let query: HashMap<String, String> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Some(rest) = head.uri.path().strip_prefix("/homing/state/") {
        let (key, hook) = rest.split_once('/').unwrap();
        return hooked(key, hook, &query, body, faults, books).await;
    }
    let header = |name: &str| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let (Some(key), Some(epoch)) = (header("homing-session"), header("homing-epoch")) else {
        return say(400, "no session");
    };
    let epoch: u64 = epoch.parse().unwrap();
    if let Some(ms) = query.get("wait_ms") {
        tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
    }
    let mut books = books.lock();
    let book = books.entry(key.clone()).or_default();
    if epoch < book.fence {
        faults.below_fence.fetch_add(1, SeqCst);
        return say(409, "fenced");
    }
    if head.method == "POST" {
        book.lines.push(String::from_utf8(body.to_vec()).unwrap());
        book.live_epoch = epoch;
    }
    let told = json!({ "zone": zone, "session": key, "epoch": epoch, "lines": book.lines });
    say(200, &told.to_string())
}

async fn hooked(
    key: &str,
    hook: &str,
    query: &HashMap<String, String>,
    body: Bytes,
    faults: &Faults,
    books: &Books,
) -> Response<Body> {
    let number = |name: &str| query[name].parse::<u64>().unwrap();
    match hook {
        "export" => {
            faults.exports.fetch_add(1, SeqCst);
            if faults.hang_export.load(SeqCst) {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            if faults.refuse_export.load(SeqCst) {
                return say(500, "the shelf is on fire");
            }
            if faults.endless_export.load(SeqCst) {
                return endless();
            }
            export(key, number("since"), faults, books)
        }
        "import" => {
            if faults.hang_import.load(SeqCst) {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            if faults.refuse_import.load(SeqCst) {
                return say(507, "no room on this shelf");
            }
            let lines: Vec<String> = serde_json::from_slice(&body).unwrap();
            let mut books = books.lock();
            let book = books.entry(key.to_owned()).or_default();
            match query["kind"].as_str() {
                "full" => book.staged = Some(lines),
                _ => book.staged.as_mut().unwrap().extend(lines),
            }
            say(204, "")
        }
        "fence" => {
            if faults.refuse_fence.load(SeqCst) {
                return say(500, "the fence is broken");
            }
            let mut books = books.lock();
            let book = books.entry(key.to_owned()).or_default();
            book.fence = book.fence.max(number("epoch"));
            if let Some(staged) = book.staged.take() {
                book.lines = staged;
                book.live_epoch = number("epoch");
            }
            say(204, "")
        }
        _ => {
            faults.releases.fetch_add(1, SeqCst);
            let mut books = books.lock();
            let book = books.entry(key.to_owned()).or_default();
            book.staged = None;
            if book.live_epoch < number("epoch") {
                book.lines.clear();
            }
            say(204, "")
        }
    }
}

fn export(key: &str, since: u64, faults: &Faults, books: &Books) -> Response<Body> {
    let books = books.lock();
    let Some(book) = books.get(key).filter(|book| !book.lines.is_empty()) else {
        return say(404, "no such notebook");
    };
    let version = book.lines.len() as u64;
    let delta = since > 0 && since <= version;
    let lines = if delta { &book.lines[since as usize..] } else { &book.lines[..] };
    let mut bytes = serde_json::to_vec(lines).unwrap();
    bytes.extend(std::iter::repeat_n(b' ', faults.ballast.load(SeqCst) as usize));
    let response = Response::builder()
        .header("homing-state-version", version)
        .header("homing-state-kind", if delta { "delta" } else { "full" })
        .header("content-length", bytes.len());
    if faults.truncate_export.load(SeqCst) {
        let (sender, cut) = tokio::sync::mpsc::channel(2);
        tokio::spawn(async move {
            let _ = sender.send(Ok(Frame::data(Bytes::from(bytes).slice(..1)))).await;
            // The head and the first byte must be on their way before the connection breaks.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = sender.send(Err(std::io::Error::other("cut"))).await;
        });
        let cut = tokio_stream::wrappers::ReceiverStream::new(cut);
        return response.body(BodyExt::boxed(StreamBody::new(cut))).unwrap();
    }
    response.body(whole(bytes)).unwrap()
}

fn endless() -> Response<Body> {
    let chunks = tokio_stream::iter(std::iter::repeat_with(|| {
        Ok(Frame::data(Bytes::from_static(&[b' '; 16 << 10])))
    }));
    let response = Response::builder().header("homing-state-version", 1);
    response.body(BodyExt::boxed(StreamBody::new(chunks))).unwrap()
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn say(status: u16, text: &str) -> Response<Body> {
    Response::builder().status(status).body(whole(text.to_owned())).unwrap()
}
