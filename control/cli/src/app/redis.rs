//! The notebook over a Redis server, as apps that keep nothing of their own are written: every
//! write is one script that looks at the session's fence and appends, so that a process that was
//! left behind cannot write beside the session's new home.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde_json::json;
use tokio::net::TcpListener;

use super::hooks::{plain, query_pairs};
use super::notebook::{Entry, digest};
use super::serve::{caller, written};
use super::shelf::Caller;

/// Largest request body taken.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Largest blob that a session may keep beside its notebook, for measuring larger states.
const BLOB_BYTES_MAX: u64 = 64 << 20;

/// Appends if the session is not fenced at a higher epoch; -1 if it is.
const APPEND: &str = "local fence = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) < fence then return -1 end
return redis.call('RPUSH', KEYS[2], ARGV[2])";

/// Begins a leg: the leg before may not write any more, or what it has yet to read of a gate that
/// died would be written twice. Returns the leg's number and the numbers taken so far.
const BEGIN: &str = "local leg = redis.call('INCR', KEYS[1])
if ARGV[1] == '1' then redis.call('DEL', KEYS[2]) end
return { leg, tonumber(redis.call('GET', KEYS[2]) or '0') }";

/// Writes a number down and counts it, if the session is not fenced at a higher epoch and this is
/// still its socket's leg.
const HEAR: &str = "local fence = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) < fence then return -1 end
if redis.call('GET', KEYS[4]) ~= ARGV[3] then return -1 end
redis.call('RPUSH', KEYS[2], ARGV[2])
return redis.call('INCR', KEYS[3])";

/// The key patterns that the service states for this app.
pub const KEYS: [&str; 5] = ["notebook:{id}", "blob:{id}", "socket:{id}", "taken:{id}", "leg:{id}"];

/// A running app.
pub struct RedisApp {
    zone: String,
    store: ConnectionManager,
    append: redis::Script,
    begin: redis::Script,
    hear: redis::Script,
}

impl RedisApp {
    /// Connects to the zone's store.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn connect(zone: String, url: &str) -> redis::RedisResult<Arc<Self>> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(std::time::Duration::from_secs(1)))
            .set_response_timeout(Some(std::time::Duration::from_secs(2)));
        let store = redis::Client::open(url)?.get_connection_manager_with_config(config).await?;
        let [append, begin, hear] = [APPEND, BEGIN, HEAR].map(redis::Script::new);
        Ok(Arc::new(Self { zone, store, append, begin, hear }))
    }

    /// Begins a leg of the session's socket: its number, and the numbers taken on those before;
    /// none if the socket is new.
    pub(super) async fn begin(&self, caller: Caller, anew: bool) -> redis::RedisResult<(u64, u64)> {
        self.begin
            .key(format!("leg:{:032x}", caller.session))
            .key(format!("taken:{:032x}", caller.session))
            .arg(u8::from(anew))
            .invoke_async(&mut self.store.clone())
            .await
    }

    /// The last numbers written down, the oldest first.
    pub(super) async fn last(&self, caller: Caller, count: u64) -> redis::RedisResult<Vec<String>> {
        let Some(from) = i64::try_from(count).ok().filter(|count| *count > 0) else {
            return Ok(Vec::new());
        };
        let mut ask = redis::cmd("LRANGE");
        ask.arg(format!("socket:{:032x}", caller.session)).arg(-from).arg(-1);
        ask.query_async(&mut self.store.clone()).await
    }

    /// Writes a number down; false if the session has moved, or its socket has another leg.
    pub(super) async fn hear(
        &self,
        caller: Caller,
        leg: u64,
        seq: u64,
    ) -> redis::RedisResult<bool> {
        let id = format!("{:032x}", caller.session);
        let taken: i64 = self
            .hear
            .key(format!("homing:epoch:{id}"))
            .key(format!("socket:{id}"))
            .key(format!("taken:{id}"))
            .key(format!("leg:{id}"))
            .arg(caller.epoch)
            .arg(seq)
            .arg(leg)
            .invoke_async(&mut self.store.clone())
            .await?;
        Ok(taken >= 0)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Bytes> {
        if request.uri().path() == "/socket" {
            let session = caller(request.headers()).map(|caller| caller.session);
            let mut response = super::socket::open(self, request).await;
            if let Some(Ok(session)) =
                session.map(|id| HeaderValue::from_str(&format!("{id:032x}")))
            {
                response.headers_mut().insert("x-notebook-session", session);
            }
            return response;
        }
        let (head, body) = request.into_parts();
        if head.uri.path() == "/healthz" {
            return plain(StatusCode::OK, "serving");
        }
        let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let Some(caller) = caller(&head.headers) else {
            return plain(StatusCode::BAD_REQUEST, "come through the proxy, which names sessions");
        };
        let done = match (head.uri.path(), &head.method) {
            ("/notebook", &Method::POST) => match written(&head, &body) {
                Ok((seq, text)) => self.write(caller, seq.unwrap_or_default(), text).await,
                Err(wrong) => return plain(StatusCode::BAD_REQUEST, wrong),
            },
            ("/notebook" | "/notebook/entries", &Method::GET) => {
                self.read(caller, head.uri.path().ends_with("entries")).await
            }
            ("/blob", &Method::POST) => self.blob(caller, head.uri.query().unwrap_or("")).await,
            _ => return plain(StatusCode::NOT_FOUND, "no such page"),
        };
        let mut response = done.unwrap_or_else(|error| {
            plain(StatusCode::SERVICE_UNAVAILABLE, &format!("the store: {error}"))
        });
        if let Ok(session) = HeaderValue::from_str(&format!("{:032x}", caller.session)) {
            response.headers_mut().insert("x-notebook-session", session);
        }
        response
    }

    async fn write(
        &self,
        caller: Caller,
        seq: u64,
        text: String,
    ) -> redis::RedisResult<Response<Bytes>> {
        let line = serde_json::to_string(&Entry { seq, text }).unwrap_or_default();
        let id = format!("{:032x}", caller.session);
        let count: i64 = self
            .append
            .key(format!("homing:epoch:{id}"))
            .key(format!("notebook:{id}"))
            .arg(caller.epoch)
            .arg(line)
            .invoke_async(&mut self.store.clone())
            .await?;
        if count < 0 {
            return Ok(plain(StatusCode::CONFLICT, "fenced: the session has moved"));
        }
        Ok(answered(&json!({ "zone": self.zone, "session": id, "count": count })))
    }

    async fn read(&self, caller: Caller, whole: bool) -> redis::RedisResult<Response<Bytes>> {
        let id = format!("{:032x}", caller.session);
        let lines: Vec<String> = redis::cmd("LRANGE")
            .arg(format!("notebook:{id}"))
            .arg(0)
            .arg(-1)
            .query_async(&mut self.store.clone())
            .await?;
        let entries: Vec<Entry> =
            lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut told = json!({
            "zone": self.zone,
            "session": id,
            "epoch": caller.epoch,
            "count": entries.len(),
            "digest": digest(&entries),
            "last": entries.last(),
        });
        if whole {
            told["entries"] = json!(entries);
        }
        Ok(answered(&told))
    }

    /// Gives the session a state of some size.
    async fn blob(&self, caller: Caller, query: &str) -> redis::RedisResult<Response<Bytes>> {
        let bytes = query_pairs(query).get("bytes").and_then(|n| n.parse::<u64>().ok());
        let Some(bytes) = bytes.filter(|bytes| *bytes <= BLOB_BYTES_MAX) else {
            return Ok(plain(StatusCode::BAD_REQUEST, "`bytes` is missing or too large"));
        };
        let id = format!("{:032x}", caller.session);
        // In pieces of their own bytes: what a store could compress away would prove nothing.
        let mut blob = Vec::with_capacity(bytes as usize);
        let mut hasher = blake3::Hasher::new();
        hasher.update(id.as_bytes());
        let mut piece = [0; 64 << 10];
        let mut reader = hasher.finalize_xof();
        while (blob.len() as u64) < bytes {
            reader.fill(&mut piece);
            let left = (bytes as usize - blob.len()).min(piece.len());
            blob.extend_from_slice(&piece[..left]);
        }
        redis::cmd("SET")
            .arg(format!("blob:{id}"))
            .arg(blob)
            .query_async::<()>(&mut self.store.clone())
            .await?;
        Ok(answered(&json!({ "zone": self.zone, "session": id, "bytes": bytes })))
    }
}

impl std::fmt::Debug for RedisApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisApp").field("zone", &self.zone).finish_non_exhaustive()
    }
}

fn answered(value: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{value}\n")));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Serves until the listener fails.
pub async fn serve(app: Arc<RedisApp>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let app = app.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(app.answer(request).await.map(Full::new)) }
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new());
            builder.http2().timer(TokioTimer::new());
            // A connection that ends badly is its peer's business.
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer).await;
        });
    }
}
