//! Items: pages that are the same for everyone and may be kept, as a shop's are. Making one takes
//! its time, which is what a cache spares; how many were made tells how well it does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};

use super::answer::fill;

/// The path segment that makes a page an item.
const SEGMENT: &str = "items";
/// Sizes of items: what is one kilobyte times one of these.
const KILOBYTES: u64 = 32;

/// One zone's items.
#[derive(Debug)]
pub struct Items {
    work: Duration,
    made: AtomicU64,
}

impl Items {
    /// Items that take so long to make.
    #[must_use]
    pub fn new(work: Duration) -> Self {
        Self { work, made: AtomicU64::new(0) }
    }

    /// How many were made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// Makes the item that a request is for, if it is for one.
    pub async fn answer(&self, head: &http::request::Parts) -> Option<Response<Bytes>> {
        let path = head.uri.path();
        if head.method != Method::GET || !path.split('/').any(|segment| segment == SEGMENT) {
            return None;
        }
        tokio::time::sleep(self.work).await;
        self.made.fetch_add(1, Relaxed);
        let hash = blake3::hash(path.as_bytes());
        let length = 1_024 * (1 + u64::from(hash.as_bytes()[0]) % KILOBYTES);
        let mut response = Response::new(fill(path, length as usize));
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", &hash.to_hex()[..16])) {
            headers.insert(header::ETAG, tag);
        }
        Some(response)
    }
}
