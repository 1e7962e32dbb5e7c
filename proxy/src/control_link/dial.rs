//! How control is dialled over mutual TLS: the installation's own CA on both sides, so neither
//! the machine's trust store nor a name that resolves differently can come between.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use homing_identity::Identity;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Dials control.
#[derive(Clone)]
pub(super) struct Dial {
    connector: TlsConnector,
    name: Option<String>,
}

impl Dial {
    /// As this identity, and only a control whose certificate carries `name` (the URL's host if
    /// `None`).
    pub(super) fn new(identity: &Identity, name: Option<String>) -> Self {
        let config = Arc::new(identity.client_config(&[b"h2"]));
        Self { connector: TlsConnector::from(config), name }
    }

    async fn dial(self, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let odd = |fault: &str| io::Error::new(io::ErrorKind::InvalidInput, fault.to_owned());
        let host = uri.host().ok_or_else(|| odd("the URL names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self.name.unwrap_or_else(|| host.to_owned());
        let name = ServerName::try_from(name).map_err(|_| odd("no name of a node"))?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(self.connector.connect(name, stream).await?))
    }
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}
