//! The notebook's HTTP server. Every request waits out half its round trip, waits for one of the
//! zone's places, is executed in one step behind one lock, and waits the other half: near and far,
//! idle and crowded zones differ here as they do in the world.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::answer::fill;
use super::distance::Distances;
use super::hooks::{self, HookCall, plain, query_pairs};
use super::items::Items;
use super::notebook::{TEXT_BYTES_MAX, digest};
use super::shelf::{Caller, Glance, Refused, Shelf};

/// Largest request body taken: an import of a full notebook fits.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Requests that may wait for a place at one time; one more gets 503.
const WAITING_MAX: usize = 10_000;
/// Tells how long a request waited for one of the zone's places, microseconds.
pub(crate) const WAITED_HEADER: &str = "x-notebook-waited-us";
/// Tells how long it occupied one, microseconds.
pub(crate) const WORKED_HEADER: &str = "x-notebook-worked-us";
/// Lines of the record given at one time.
const RECORD_PAGE: usize = 50_000;

/// What an app is started with.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// The zone's name, told in every answer.
    pub zone: String,
    /// Round trips by client city.
    pub distances: Distances,
    /// The request header that names the client's city.
    pub place_header: String,
    /// How long one request occupies a place.
    pub work: Duration,
    /// Requests worked on at one time.
    pub places: usize,
    /// How long it takes to make an item.
    pub item_work: Duration,
}

/// A running notebook app.
#[derive(Debug)]
pub struct App {
    settings: AppSettings,
    shelf: Mutex<Shelf>,
    places: Semaphore,
    waiting: AtomicUsize,
    work_us: AtomicU64,
    items: Items,
    started: (Instant, u64),
}

impl App {
    /// An app without sessions.
    #[must_use]
    pub fn new(settings: AppSettings) -> Arc<Self> {
        Arc::new(Self {
            places: Semaphore::new(settings.places.max(1)),
            work_us: AtomicU64::new(micros(settings.work)),
            items: Items::new(settings.item_work),
            settings,
            shelf: Mutex::default(),
            waiting: AtomicUsize::new(0),
            started: started(),
        })
    }

    /// Microseconds since 1970, from one reading of the calendar clock and the steady one since,
    /// so that a clock set back cannot reorder the record.
    fn now_us(&self) -> u64 {
        self.started.1 + micros(self.started.0.elapsed())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        if let Some(rest) = path.strip_prefix(hooks::PATH) {
            let call = HookCall { method: &head.method, rest, query, body: &body };
            return hooks::carry_out(&mut self.shelf.lock(), &call);
        }
        if path == "/healthz" {
            return plain(StatusCode::OK, "serving");
        }
        if let Some(rest) = path.strip_prefix("/homing/app") {
            return self.own(&head.method, rest, query);
        }
        if let Some(item) = self.items.answer(&head).await {
            return item;
        }
        let away = self.settings.distances.from(text(&head.headers, &self.settings.place_header));
        tokio::time::sleep(away / 2).await;
        let response = self.worked(&head, &body).await;
        tokio::time::sleep(away / 2).await;
        response
    }

    /// Waits for a place, occupies it for the service time, then executes.
    async fn worked(&self, head: &http::request::Parts, body: &Bytes) -> Response<Bytes> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the zone is full");
        }
        let came = Instant::now();
        let place = self.places.acquire().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let waited = came.elapsed();
        tokio::time::sleep(Duration::from_micros(self.work_us.load(Ordering::Relaxed))).await;
        let mut response = self.execute(head, body);
        drop(place);
        let headers = response.headers_mut();
        headers.insert(WAITED_HEADER, micros(waited).into());
        headers.insert(WORKED_HEADER, micros(came.elapsed() - waited).into());
        response
    }

    fn execute(&self, head: &http::request::Parts, body: &Bytes) -> Response<Bytes> {
        let path = head.uri.path();
        let caller = caller(&head.headers);
        let mut response = match (path, &head.method, caller) {
            ("/notebook" | "/notebook/entries", _, None) => plain(
                StatusCode::BAD_REQUEST,
                "a notebook belongs to a session: come through the proxy, which names it",
            ),
            ("/notebook", &Method::POST, Some(caller)) => self.write(caller, head, body),
            ("/notebook" | "/notebook/entries", &Method::GET | &Method::HEAD, Some(caller)) => {
                let glance = self.shelf.lock().read(caller, self.now_us());
                self.told(caller, glance, path.ends_with("entries"))
            }
            ("/notebook" | "/notebook/entries", ..) => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "a notebook takes GET and POST")
            }
            (_, _, caller) => self.page(head, caller),
        };
        let headers = response.headers_mut();
        if let Ok(zone) = HeaderValue::from_str(&self.settings.zone) {
            headers.insert("x-notebook-zone", zone);
        }
        if let Some(Caller { session, epoch }) = caller {
            headers.insert("x-notebook-epoch", epoch.into());
            if let Ok(session) = HeaderValue::from_str(&format!("{session:032x}")) {
                headers.insert("x-notebook-session", session);
            }
        }
        response
    }

    fn write(&self, caller: Caller, head: &http::request::Parts, body: &Bytes) -> Response<Bytes> {
        let (seq, text) = match written(head, body) {
            Ok(written) => written,
            Err(wrong) => return plain(StatusCode::BAD_REQUEST, wrong),
        };
        let glance = self.shelf.lock().write(caller, seq, text, self.now_us());
        self.told(caller, glance, false)
    }

    /// A notebook in short, or with every entry.
    fn told(
        &self,
        caller: Caller,
        glance: Result<Glance, Refused>,
        whole: bool,
    ) -> Response<Bytes> {
        let entries = match glance {
            Ok(glance) => glance.entries,
            Err(refused) => return refusal(refused),
        };
        let mut told = json!({
            "zone": self.settings.zone,
            "session": format!("{:032x}", caller.session),
            "epoch": caller.epoch,
            "count": entries.len(),
            "digest": digest(&entries),
            "last": entries.last(),
        });
        if whole {
            told["entries"] = json!(entries);
        }
        answered(&told)
    }

    /// A page whose body follows from its path and the size asked for.
    fn page(&self, head: &http::request::Parts, caller: Option<Caller>) -> Response<Bytes> {
        if let Some(caller) = caller
            && let Err(refused) = self.shelf.lock().page(caller, self.now_us())
        {
            return refusal(refused);
        }
        let number = |name: &str| text(&head.headers, name)?.parse::<u16>().ok();
        let asked = number("x-notebook-status").and_then(|code| StatusCode::from_u16(code).ok());
        let status = asked.filter(|s| s.as_u16() >= 200 && s.as_u16() < 500);
        let status = status.unwrap_or(StatusCode::OK);
        let bodiless = matches!(status.as_u16(), 204 | 205 | 304);
        let bytes = text(&head.headers, "x-notebook-bytes").and_then(|n| n.parse().ok());
        let body = match bytes {
            _ if bodiless => Bytes::new(),
            None => Bytes::from(format!("{} in {}\n", head.uri.path(), self.settings.zone)),
            Some(len) => fill(head.uri.path(), len),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
    }

    /// The app's own pages, for the demo and for people; never reached through the proxy's clients
    /// in the demo, since it asks the zones directly.
    fn own(&self, method: &Method, rest: &str, query: &str) -> Response<Bytes> {
        let query = query_pairs(query);
        let number = |name: &str| query.get(name)?.parse::<u64>().ok();
        match (method, rest) {
            (&Method::GET, "/executions") => {
                let skip = number("skip").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                let shelf = self.shelf.lock();
                let mut response =
                    Response::new(Bytes::from(shelf.record().page(skip, RECORD_PAGE)));
                let dropped = HeaderValue::from(shelf.record().dropped());
                response.headers_mut().insert("x-record-dropped", dropped);
                response
            }
            (&Method::GET, "/figures") => {
                let shelf = self.shelf.lock();
                answered(&json!({
                    "zone": self.settings.zone,
                    "notebooks": shelf.sessions(),
                    "refused": shelf.refused(),
                    "items": self.items.made(),
                    "waiting": self.waiting.load(Ordering::Relaxed),
                }))
            }
            (&Method::POST, "/work") => match number("us").filter(|us| *us <= 60_000_000) {
                Some(us) => {
                    self.work_us.store(us, Ordering::Relaxed);
                    plain(StatusCode::OK, "noted")
                }
                None => plain(StatusCode::BAD_REQUEST, "`us` is missing or too large"),
            },
            _ => plain(StatusCode::NOT_FOUND, "no such page of the app"),
        }
    }
}

/// What a write carries: JSON `{"seq": 1, "text": "..."}`, or the body as the text.
pub(super) fn written(
    head: &http::request::Parts,
    body: &Bytes,
) -> Result<(Option<u64>, String), &'static str> {
    #[derive(Deserialize)]
    struct Written {
        seq: Option<u64>,
        text: String,
    }
    let json =
        text(&head.headers, "content-type").is_some_and(|t| t.starts_with("application/json"));
    let (seq, text) = if json {
        let Written { seq, text } =
            serde_json::from_slice(body).map_err(|_| "the body is not {\"seq\":..,\"text\":..}")?;
        (seq, text)
    } else {
        (None, String::from_utf8_lossy(body).into_owned())
    };
    match text.len() {
        0 => Err("nothing is written"),
        len if len > TEXT_BYTES_MAX => Err("an entry has at most 4096 bytes"),
        _ => Ok((seq, text)),
    }
}

pub(super) fn caller(headers: &HeaderMap) -> Option<Caller> {
    let session = text(headers, "homing-session")?;
    let session = u128::from_str_radix(session, 16).ok()?;
    let epoch = text(headers, "homing-epoch").and_then(|e| e.parse().ok()).unwrap_or(0);
    Some(Caller { session, epoch })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn answered(value: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{value}\n")));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn refusal(refused: Refused) -> Response<Bytes> {
    match refused {
        Refused::Fenced { fence } => {
            let text = format!("fenced: this session executes here from epoch {fence} on only");
            plain(StatusCode::CONFLICT, &text)
        }
        Refused::Staged => plain(StatusCode::CONFLICT, "staged: not live here yet"),
        Refused::Gap => plain(StatusCode::CONFLICT, "the delta does not fit"),
        Refused::Full => plain(StatusCode::INSUFFICIENT_STORAGE, "no room"),
    }
}

/// The steady clock and microseconds since 1970 at one moment. Read a few times and the quickest
/// reading kept, so that a process that is interrupted between the two does not order its record
/// wrongly beside another zone's.
fn started() -> (Instant, u64) {
    let reading = |_| {
        let before = Instant::now();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (before.elapsed(), before, micros(since_1970))
    };
    let quickest = (0..16).map(reading).min_by_key(|(took, ..)| *took);
    quickest.map_or((Instant::now(), 0), |(_, at, since_1970)| (at, since_1970))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Serves until the listener fails. HTTP/1.1 and HTTP/2 without TLS.
pub async fn serve(app: Arc<App>, listener: TcpListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors or a client that left already: the next may do.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let app = app.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(app.answer(request).await.map(Full::new)) }
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(75));
            builder.http2().timer(TokioTimer::new());
            // A connection that ends badly is its peer's business.
            let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// The address a listener got.
///
/// # Errors
/// As the system says.
pub(crate) async fn listen(address: &str) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests;
