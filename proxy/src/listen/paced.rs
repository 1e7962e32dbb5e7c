//! A client's connection, held to a pace: a request head may take so long and be so large, and
//! what is written leaves in few packets. pingora bounds each read alone, which lets a client
//! send one byte a minute, and up to 1 MiB of them.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::http::failure::Failure;

#[cfg(test)]
mod tests;

/// Bytes gathered before they are written: a response head and a small body leave together.
const GATHER_BYTES: usize = 8 << 10;
/// Bytes a refused client may still be sending that are read and dropped, so that closing the
/// socket does not reset it under the answer.
const LINGER_BYTES_MAX: usize = 256 << 10;
/// How long that may take.
const LINGER: Duration = Duration::from_millis(500);

/// What a request head is held to. Shared by the stream, which enforces it, and the edge, which
/// knows when a head is complete.
#[derive(Debug)]
pub struct Pace {
    /// Counts phases: odd while a head is awaited, even while a request is served.
    phase: AtomicU32,
    severed: AtomicBool,
    head_bytes_max: usize,
    head_timeout: Duration,
}

impl Pace {
    /// A pace whose first head is awaited.
    #[must_use]
    pub fn new(head_bytes_max: usize, head_timeout: Duration) -> Arc<Self> {
        Self::starting(1, head_bytes_max, head_timeout)
    }

    /// A pace that lets everything pass, for protocols that bound their heads themselves.
    #[must_use]
    pub fn free() -> Arc<Self> {
        Self::starting(0, usize::MAX, Duration::MAX)
    }

    fn starting(phase: u32, head_bytes_max: usize, head_timeout: Duration) -> Arc<Self> {
        let (phase, severed) = (AtomicU32::new(phase), AtomicBool::new(false));
        Arc::new(Self { phase, severed, head_bytes_max, head_timeout })
    }

    /// Nothing is read or written any more: a client that does not read would keep whoever sees
    /// its last bytes off.
    pub fn sever(&self) {
        self.severed.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        match self.severed.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    /// The next head is awaited from here on.
    pub fn await_head(&self) {
        self.phase.fetch_or(1, Ordering::Relaxed);
    }

    /// The head is complete; what follows is body.
    pub fn head_is_read(&self) {
        if self.phase.load(Ordering::Relaxed) & 1 == 1 {
            self.phase.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A stream under a [`Pace`].
pub(crate) struct Paced<S> {
    inner: S,
    pace: Arc<Pace>,
    phase: u32,
    head_bytes: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    gathered: BytesMut,
    refusal: Option<Refusal>,
}

/// A client that is being told why, and then left.
struct Refusal {
    answer: BytesMut,
    lingered: usize,
    until: Pin<Box<Sleep>>,
}

impl<S: IO> Paced<S> {
    pub(crate) fn new(inner: S, pace: Arc<Pace>) -> Self {
        Self {
            inner,
            pace,
            phase: 0,
            head_bytes: 0,
            deadline: None,
            gathered: BytesMut::new(),
            refusal: None,
        }
    }

    /// Polls the wait for the rest of a head; ready when it has taken too long.
    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Between requests an idle client may wait for as long as keep-alive allows; only the
        // first head of a connection and a begun one are timed.
        if self.head_bytes == 0 && self.phase > 1 {
            return Poll::Pending;
        }
        let timeout = self.pace.head_timeout;
        let sleep = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        sleep.as_mut().poll(cx)
    }

    fn refuse(&mut self, failure: Failure) {
        self.refusal = Some(Refusal {
            answer: raw_answer(failure),
            lingered: 0,
            until: Box::pin(tokio::time::sleep(LINGER)),
        });
    }

    /// Tells a refused client why, then drops what it still sends for a moment. Always ends in an
    /// error, so that whoever reads gives the connection up.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gone = || Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
        let Some(refusal) = &mut self.refusal else { return gone() };
        if refusal.until.as_mut().poll(cx).is_ready() {
            return gone();
        }
        while !refusal.answer.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &refusal.answer))?;
            if written == 0 {
                return gone();
            }
            refusal.answer.advance(written);
        }
        if refusal.lingered == 0 {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        let mut scratch = [0; 4_096];
        while refusal.lingered < LINGER_BYTES_MAX {
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            refusal.lingered += read.filled().len();
        }
        gone()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        // An idle connection keeps no buffer.
        if self.gathered.capacity() > 0 {
            self.gathered = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: IO> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.pace.check()?;
        if this.refusal.is_some() {
            return this.poll_refuse(cx);
        }
        let phase = this.pace.phase.load(Ordering::Relaxed);
        if phase != this.phase {
            this.phase = phase;
            this.head_bytes = 0;
            this.deadline = None;
        }
        let in_head = phase & 1 == 1;
        // Only a read past the bound is refused: the head may have ended exactly there.
        if in_head && this.head_bytes >= this.pace.head_bytes_max {
            this.refuse(Failure::HeadTooLarge);
            return this.poll_refuse(cx);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        if !in_head {
            return read;
        }
        this.head_bytes += buf.filled().len() - before;
        if read.is_pending() && this.poll_head_deadline(cx).is_ready() {
            this.refuse(Failure::ClientTimeout);
            return this.poll_refuse(cx);
        }
        read
    }
}

impl<S: IO> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.pace.check()?;
        if this.gathered.len() + buf.len() > GATHER_BYTES {
            ready!(this.poll_drain(cx))?;
        }
        if buf.len() >= GATHER_BYTES {
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        }
        this.gathered.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pace.check()?;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pace.check()?;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The answer to a head that never became a request, so that no response writer exists for it.
fn raw_answer(failure: Failure) -> BytesMut {
    let reason = match failure {
        Failure::HeadTooLarge => "Request Header Fields Too Large",
        _ => "Request Timeout",
    };
    let body = failure.problem("");
    let text = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nproxy-status: {}\r\nconnection: close\r\n\r\n{body}",
        failure.status(),
        body.len(),
        failure.proxy_status(),
    );
    BytesMut::from(text.as_bytes())
}

impl<S> fmt::Debug for Paced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced").field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: IO> Shutdown for Paced<S> {
    async fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody left to tell.
        if tokio::io::AsyncWriteExt::flush(self).await.is_ok() {
            self.inner.shutdown().await;
        }
    }
}

impl<S: IO> UniqueID for Paced<S> {
    fn id(&self) -> pingora_core::protocols::UniqueIDType {
        self.inner.id()
    }
}

impl<S: IO> Ssl for Paced<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for Paced<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl<S: IO> GetProxyDigest for Paced<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl<S: IO> GetSocketDigest for Paced<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[async_trait]
impl<S: IO> Peek for Paced<S> {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}
