//! The link's gRPC side: each attached proxy is one stream with a small session of its own that
//! sends what is newer, one unacknowledged update at a time, and passes on what the proxy says.

use std::{sync::Arc, time::Duration};

use homing_wire::{FromProxy, Hello, Version, envelope, limits, proto};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{lead, serve::Node, shared::Shared, tasks::Tasks};

mod roll;
mod session;

pub use roll::{Attached, Roll};
use session::Session;

/// The generated server's side of the service.
#[allow(missing_docs, clippy::all, unreachable_pub, dead_code)]
pub mod rpc {
    tonic::include_proto!("homing.v1");
}

/// How long a stream may stay silent before it says who it is.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// Messages that may wait for a slow proxy before control waits for it.
const OUTBOX: usize = 16;

/// The service.
#[derive(Clone, Debug)]
pub struct Link {
    shared: Arc<Shared>,
    lead: lead::Handle,
    tasks: Tasks,
}

impl Link {
    /// The service as the listener takes it, its message sizes bounded.
    #[must_use]
    pub fn server(shared: Arc<Shared>, lead: lead::Handle, tasks: Tasks) -> LinkServer {
        let link = Self { shared, lead, tasks };
        rpc::link_server::LinkServer::new(link)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::MESSAGE_BYTES_MAX)
    }

    fn check(&self, hello: &Hello) -> Result<(), Status> {
        let name = hello.proxy.as_str();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 255 || !name.bytes().all(plain) {
            return Err(Status::invalid_argument(
                "a proxy's name is 1 to 255 letters, digits, '-', '_' and '.'",
            ));
        }
        if hello.format < envelope::FORMAT {
            return Err(Status::failed_precondition(format!(
                "this control writes format {}, the proxy reads up to {}: upgrade the proxy first",
                envelope::FORMAT,
                hello.format
            )));
        }
        let newest = *self.shared.published.watch().borrow();
        let ours = newest.max(Version { term: self.shared.term, n: 0 });
        // Term 0 is a proxy's own table, drawn up without control.
        if hello.holds > ours {
            return Err(Status::failed_precondition(format!(
                "the proxy holds table {} and this control leads term {}: a later control exists, \
                 or this one lost its journal; start it with `min_term: {}` if it is to lead",
                hello.holds,
                self.shared.term,
                hello.holds.term + 1
            )));
        }
        Ok(())
    }
}

/// The service as the listener takes it.
pub type LinkServer = rpc::link_server::LinkServer<Link>;

#[tonic::async_trait]
impl rpc::link_server::Link for Link {
    type AttachStream = ReceiverStream<Result<proto::ToProxy, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<proto::FromProxy>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        // Where the link is secured, a proxy is who its certificate says.
        let node = request.extensions().get::<Node>().cloned();
        let mut inbound = request.into_inner();
        let hello = first(&mut inbound).await.and_then(|hello| {
            self.check(&hello)?;
            check_name(&hello, node.as_ref())?;
            Ok(hello)
        });
        let hello = hello.inspect_err(|status| {
            self.shared.metrics.links_refused.add(1);
            tracing::warn!(reason = status.message(), "refused a proxy's link");
        })?;
        let (outbox, outbound) = mpsc::channel(OUTBOX);
        let session = Session::new(self.shared.clone(), self.lead.clone(), hello, inbound, outbox);
        let stop = self.tasks.stopping();
        self.tasks.spawn("link", session.run(stop));
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

fn check_name(hello: &Hello, node: Option<&Node>) -> Result<(), Status> {
    match node {
        Some(Node(names)) if !names.contains(&hello.proxy) => Err(Status::permission_denied(
            format!("the certificate names {names:?}, and the proxy says it is {}", hello.proxy),
        )),
        _ => Ok(()),
    }
}

async fn first(inbound: &mut Streaming<proto::FromProxy>) -> Result<Hello, Status> {
    let message = tokio::time::timeout(HELLO_WAIT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello within 10 s"))??
        .ok_or_else(|| Status::invalid_argument("the stream ended before a hello"))?;
    match FromProxy::from_proto(message) {
        Ok(FromProxy::Hello(hello)) => Ok(hello),
        Ok(_) => Err(Status::invalid_argument("the first message must be a hello")),
        Err(fault) => Err(Status::invalid_argument(fault.to_string())),
    }
}
