//! The HTTP cache of a gate: what of RFC 9111 is Homing's to decide (whose answers, under which
//! key, what is never kept) around pingora's machinery. It belongs to the gate and not to the edge:
//! a hit is counted at the session's home like every request, and an answer of one zone is never
//! given out as another's.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use homing_wire::{CacheSpec, Service};
use http::{HeaderMap, Method, StatusCode, header};
use pingora_cache::{
    CacheKey, CacheMeta, CacheMetaDefaults, CachePhase, HitHandler, NoCacheReason, RespCacheable,
    VarianceBuilder, cache_control::CacheControl, filters::resp_cacheable, key::HashBinary,
    lock::CacheLock,
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session as Downstream;

use super::{exchange::Exchange, outbound, warm::Ahead};
use crate::http::exchange::Way;

mod mark;
mod store;

pub use mark::Marks;
pub use store::Store;

/// Longest wait of a request for another that is fetching the same; then it fetches by itself.
const LOCK: Duration = Duration::from_secs(5);
/// Header names that one answer may vary by.
const VARY_MAX: usize = 16;

/// The cache of one process. pingora wants it to live for ever, so it does: one a process.
pub struct GateCache {
    /// What is kept.
    pub store: &'static Store,
    lock: &'static CacheLock,
}

impl GateCache {
    /// An empty cache of so many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let store = Box::leak(Box::new(Store::new(bytes_max)));
        Self { store, lock: Box::leak(CacheLock::new_boxed(LOCK)) }
    }

    /// Turns the cache on for a request that it may answer.
    pub(super) fn enable(&self, client: &mut Downstream, exchange: &Exchange) {
        let Some((_, spec)) = caching(exchange) else { return };
        if exchange.ahead.as_ref().is_some_and(|ahead| !ahead.keeps) {
            return;
        }
        let head = client.req_header();
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return;
        }
        if asks(&head.headers, "no-store") {
            return;
        }
        client.cache.enable(self.store, None, None, Some(self.lock), None);
        client.cache.set_max_file_size_bytes(spec.object_bytes_max as usize);
    }

    /// Forgets what is kept of a URI, since it was just changed.
    pub(super) fn changed(&self, client: &Downstream, exchange: &Exchange) {
        let Some((service, _)) = caching(exchange) else { return };
        let head = client.req_header();
        let safe = head.method.is_safe() || head.method == Method::CONNECT;
        if safe || !(200..400).contains(&exchange.status) {
            return;
        }
        if let Some(taken) = &exchange.taken {
            let zone = taken.facts.facts.zones.get(taken.zone.index());
            let zone = zone.map_or("", |zone| zone.name.as_str());
            let host = outbound::host(head);
            self.store.forget(&primary(service, zone, scheme(exchange), host, &path(head)));
        }
    }

    /// Forgets a path of a service, in every zone that is cached here and under both schemes.
    pub fn purge<'a>(
        &self,
        service: &Service,
        zones: impl Iterator<Item = &'a str>,
        host: &str,
        path: &str,
    ) -> usize {
        let mut forgotten = 0;
        for zone in zones {
            for scheme in ["http", "https"] {
                let key = primary(service, zone, scheme, host, path);
                forgotten += usize::from(self.store.forget(&key));
            }
        }
        forgotten
    }
}

impl std::fmt::Debug for GateCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GateCache").field("store", self.store).finish_non_exhaustive()
    }
}

/// The service and its bounds, if its answers are kept and this process executes the request.
pub(super) fn caching(exchange: &Exchange) -> Option<(&Service, CacheSpec)> {
    let taken = exchange.taken.as_ref().filter(|taken| taken.way == Way::Endpoint)?;
    let service = taken.service()?;
    Some((service, service.cache?))
}

/// The key of a request: everything that decides whose answer it is, each part framed by its
/// length, so that no two can be written the same.
pub(super) fn key(client: &Downstream, exchange: &Exchange) -> CacheKey {
    let head = client.req_header();
    let Some(taken) = &exchange.taken else { return CacheKey::new(Vec::new(), "") };
    let zone = taken.facts.facts.zones.get(taken.zone.index());
    let zone = zone.map_or("", |zone| zone.name.as_str());
    match taken.service() {
        Some(service) => {
            let host = outbound::host(head);
            let primary = primary(service, zone, scheme(exchange), host, &path(head));
            let mut key = CacheKey::new(primary, service.tenant.clone());
            if let Some(ahead) = &exchange.ahead {
                key.extensions.insert(Arc::clone(&ahead.marks));
            }
            key
        }
        None => CacheKey::new(Vec::new(), ""),
    }
}

fn primary(service: &Service, zone: &str, scheme: &str, host: &str, path: &str) -> Vec<u8> {
    let mut framed = Vec::with_capacity(64 + path.len());
    let host = host.to_ascii_lowercase();
    for part in [service.tenant.as_str(), service.name.as_str(), zone, scheme, &host, path] {
        framed.extend_from_slice(&(part.len() as u32).to_be_bytes());
        framed.extend_from_slice(part.as_bytes());
    }
    framed
}

fn scheme(exchange: &Exchange) -> &'static str {
    if exchange.tls { "https" } else { "http" }
}

fn path(head: &RequestHeader) -> String {
    String::from_utf8_lossy(head.raw_path()).into_owned()
}

/// Whether a request's `Cache-Control` has a directive.
fn asks(headers: &HeaderMap, directive: &str) -> bool {
    let fields = headers.get_all(header::CACHE_CONTROL).iter();
    let mut words = fields.filter_map(|field| field.to_str().ok()).flat_map(|f| f.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case(directive))
}

/// Whether a request wants an answer that was checked with the app (RFC 9111 §5.2.1.4).
pub(super) fn wants_checked(head: &RequestHeader) -> bool {
    let pragma = || {
        let pragma = head.headers.get(header::PRAGMA).and_then(|value| value.to_str().ok());
        !head.headers.contains_key(header::CACHE_CONTROL)
            && pragma.is_some_and(|value| value.eq_ignore_ascii_case("no-cache"))
    };
    asks(&head.headers, "no-cache") || asks(&head.headers, "max-age=0") || pragma()
}

/// Whether an answer may be kept, and for how long.
pub(super) fn keepable(
    client: &Downstream,
    answer: &ResponseHeader,
    spec: CacheSpec,
    ahead: Option<&Ahead>,
) -> RespCacheable {
    use RespCacheable::Uncacheable;

    let refuse = |why| Uncacheable(NoCacheReason::Custom(why));
    if let Some(why) = ahead.and_then(|ahead| ahead.refuses(answer)) {
        return Uncacheable(why);
    }
    if answer.headers.contains_key(header::SET_COOKIE) {
        // One client's cookie must not become another's, whatever the answer says of itself.
        return refuse("set-cookie");
    }
    let length = answer.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > spec.object_bytes_max) {
        return Uncacheable(NoCacheReason::ResponseTooLarge);
    }
    if varies(answer).is_none() {
        return refuse("vary");
    }
    // Partial content would have to be kept piece by piece.
    if answer.status == StatusCode::PARTIAL_CONTENT {
        return refuse("partial");
    }
    let seconds = |ms: u32| ms.div_ceil(1_000);
    let defaults = CacheMetaDefaults::new(
        |_| None,
        seconds(spec.stale_while_revalidate_ms),
        seconds(spec.stale_if_error_ms),
    );
    let control = CacheControl::from_resp_headers(answer);
    let authorized = client.req_header().headers.contains_key(header::AUTHORIZATION);
    resp_cacheable(control.as_ref(), answer.clone(), authorized, &defaults)
}

/// The names an answer varies by, in order; `None` if it varies by everything, or by too much.
fn varies(answer: &ResponseHeader) -> Option<Vec<String>> {
    let fields = answer.headers.get_all(header::VARY).iter();
    let mut names = Vec::new();
    for field in fields {
        for name in field.to_str().ok()?.split(',') {
            match name.trim() {
                "" => {}
                "*" => return None,
                name => names.push(name.to_ascii_lowercase()),
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    (names.len() <= VARY_MAX).then_some(names)
}

/// What tells a request's variant of an answer from others.
pub(super) fn variance(meta: &CacheMeta, asked: &RequestHeader) -> Option<HashBinary> {
    let names = varies(meta.response_header())?;
    let mut variance = VarianceBuilder::new();
    for name in names {
        let mut value = Vec::new();
        for field in asked.headers.get_all(name.as_str()) {
            value.extend_from_slice(&(field.len() as u32).to_be_bytes());
            value.extend_from_slice(field.as_bytes());
        }
        variance.add_owned_name_value(name, value);
    }
    variance.finalize()
}

/// What came of the cache, as `Cache-Status` tells it (RFC 9211); `None` where it had no part.
pub(super) fn status(phase: CachePhase, prewarmed: bool) -> Option<&'static str> {
    Some(match phase {
        CachePhase::Hit if prewarmed => "homing; hit; detail=prewarmed",
        CachePhase::Hit => "homing; hit",
        CachePhase::Miss => "homing; fwd=miss; stored",
        CachePhase::Stale => "homing; hit; detail=stale",
        CachePhase::StaleUpdating => "homing; hit; detail=stale-while-revalidate",
        CachePhase::Expired => "homing; fwd=stale; stored",
        CachePhase::Revalidated => "homing; hit; fwd=stale; fwd-status=304",
        CachePhase::RevalidatedNoCache(_) => "homing; fwd=stale; fwd-status=304",
        CachePhase::Bypass => "homing; fwd=bypass",
        CachePhase::Disabled(NoCacheReason::NeverEnabled) => return None,
        CachePhase::Disabled(_) => "homing; fwd=miss",
        CachePhase::Uninit | CachePhase::CacheKey => return None,
    })
}

/// Whether an answer was fetched ahead of a session and this is the first user to get it.
pub(super) fn is_prewarmed(hit: &HitHandler) -> bool {
    store::mark_of(hit).is_some_and(mark::Mark::take_off)
}

/// Whether an answer kept since `created` is older than the last purge of its URI.
pub(super) fn is_purged(created: SystemTime, purged: Option<SystemTime>) -> bool {
    purged.is_some_and(|purged| created <= purged)
}
