//! The client of a request that nobody has made: says one head and is silent, takes whatever it is
//! given and keeps none of it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Such a client.
#[derive(Debug)]
pub(super) struct Nobody {
    head: Vec<u8>,
    said: usize,
}

impl Nobody {
    /// One that asks this.
    pub(super) fn asking(head: &str) -> Self {
        Self { head: head.as_bytes().to_vec(), said: 0 }
    }
}

impl AsyncRead for Nobody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.head[self.said..];
        if rest.is_empty() {
            // Silent and not gone: who hangs up is not answered.
            return Poll::Pending;
        }
        let some = rest.len().min(into.remaining());
        into.put_slice(&rest[..some]);
        self.said += some;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Nobody {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Nobody {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Nobody {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Nobody {}

#[async_trait]
impl Peek for Nobody {}

impl GetTimingDigest for Nobody {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Nobody {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Nobody {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
