//! One attached proxy: what it holds, what is under way to it, and the loop between its stream,
//! newer tables and orders for it.

use std::{pin::Pin, sync::Arc, time::Duration};

use homing_wire::{FromProxy, Hello, NackReason, Sums, ToProxy, Version, chunk, proto};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};

use super::roll::Attached;
use crate::{clock, lead, publish::Update, shared::Shared, tasks::stopped};

/// How long a proxy may leave a message untaken before its stream is ended.
const SEND_WAIT: Duration = Duration::from_secs(30);
/// How long to wait before sending again what was refused: a table that cannot be read does not
/// get better by the millisecond.
const NACK_PAUSE: Duration = Duration::from_secs(2);
/// How long an update may stay unanswered before the proxy is thought to have lost it.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// How long one proxy may keep its place among those that are brought up to date.
const ADMITTED: Duration = Duration::from_secs(5);

type Outbox = mpsc::Sender<Result<proto::ToProxy, Status>>;

pub(super) struct Session {
    shared: Arc<Shared>,
    lead: lead::Handle,
    hello: Hello,
    since_ms: u64,
    inbound: Streaming<proto::FromProxy>,
    outbox: Outbox,
    orders: mpsc::Receiver<ToProxy>,
    newest: watch::Receiver<Version>,
    /// What the proxy serves by.
    holds: (Version, u64),
    /// What that table sums to, if the proxy has said so since it last answered.
    sums: Option<Arc<Sums>>,
    /// When a repair was last sent.
    repaired: Option<Instant>,
    /// Whether that was what was sent last.
    repairing: bool,
    /// What was sent and not answered, and when.
    sent: Option<(Version, Instant)>,
    /// Nothing is sent before this.
    pause: Option<Instant>,
    /// Its place among those that are brought up to date, and since when.
    admitted: Option<(OwnedSemaphorePermit, Instant)>,
    /// Its place in the line for that.
    waiting: Option<InLine>,
}

type InLine = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send + Sync>>;

/// Why a session ends.
enum End {
    /// The stream is over.
    Gone,
    /// The proxy is told this.
    Told(Status),
}

/// Waits for a place; for ever if there is no line to stand in.
async fn in_line(waiting: &mut Option<InLine>) -> Option<OwnedSemaphorePermit> {
    match waiting {
        Some(turn) => turn.await,
        None => std::future::pending().await,
    }
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        lead: lead::Handle,
        mut hello: Hello,
        inbound: Streaming<proto::FromProxy>,
        outbox: Outbox,
    ) -> Self {
        let now_ms = clock::now_ms();
        let orders = shared.roll.enter(Attached {
            name: hello.proxy.clone(),
            incarnation: hello.incarnation,
            since_ms: now_ms,
            acked: hello.holds,
            acked_ms: now_ms,
            sent: None,
            last_nack: None,
        });
        Self {
            newest: shared.published.watch(),
            holds: (hello.holds, hello.digest),
            sums: hello.sums.take().map(Arc::from),
            repaired: None,
            repairing: false,
            since_ms: now_ms,
            shared,
            lead,
            hello,
            inbound,
            outbox,
            orders,
            sent: None,
            pause: None,
            admitted: None,
            waiting: None,
        }
    }

    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (proxy, incarnation) = (self.hello.proxy.clone(), self.hello.incarnation);
        tracing::info!(proxy, holds = %self.hello.holds, "a proxy attached");
        let gate = self.hello.gate.clone();
        let attached = lead::Command::Attached { proxy: proxy.clone(), incarnation, gate };
        let _ = self.lead.send(attached).await;
        let end = tokio::select! {
            end = self.serve() => end,
            () = stopped(&mut stop) => End::Told(Status::unavailable("control is stopping")),
        };
        self.shared.roll.leave(&proxy, self.since_ms, incarnation);
        if let End::Told(status) = end {
            tracing::info!(proxy, reason = status.message(), "ended a proxy's link");
            let _ = self.outbox.try_send(Err(status));
        } else {
            tracing::info!(proxy, "a proxy detached");
        }
        self.tell_of_ack().await;
    }

    async fn tell_of_ack(&self) {
        if self.shared.tells_of_ack() {
            let _ = self.lead.send(lead::Command::Acked).await;
        }
    }

    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.send_newer().await {
                return end;
            }
            let wake = self.wake();
            let turn = tokio::select! {
                message = self.inbound.message() => match message {
                    Ok(Some(message)) => self.heard(message).await,
                    Ok(None) | Err(_) => Err(End::Gone),
                },
                order = self.orders.recv() => match order {
                    Some(order) => self.send(order).await,
                    None => Err(End::Told(Status::aborted(
                        "another proxy of the same name has attached",
                    ))),
                },
                changed = self.newest.changed(), if self.sent.is_none() => match changed {
                    Ok(()) => Ok(()),
                    Err(_) => Err(End::Gone),
                },
                place = in_line(&mut self.waiting) => {
                    self.waiting = None;
                    self.admitted = place.map(|place| (place, Instant::now()));
                    Ok(())
                }
                () = sleep_until(wake) => {
                    self.tire();
                    Ok(())
                }
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// When to look again though nothing happened.
    fn wake(&self) -> Instant {
        let unanswered = self.sent.map(|(_, at)| at + ACK_WAIT);
        let leaves = self.admitted.as_ref().map(|(_, at)| *at + ADMITTED);
        let idle = Instant::now() + ACK_WAIT;
        [unanswered, self.pause, leaves].into_iter().flatten().min().unwrap_or(idle)
    }

    fn tire(&mut self) {
        let now = Instant::now();
        if self.pause.is_some_and(|until| until <= now) {
            self.pause = None;
        }
        if self.admitted.as_ref().is_some_and(|(_, at)| *at + ADMITTED <= now) {
            self.admitted = None;
        }
        if self.sent.is_some_and(|(_, at)| at + ACK_WAIT <= now) {
            tracing::warn!(proxy = self.hello.proxy, "an update was never answered; sent whole");
            self.sent = None;
            self.holds = Default::default();
            self.sums = None;
        }
    }

    /// Sends what is newer than what the proxy holds, unless something is under way already. While
    /// it is, changes gather, and go as one delta when the answer comes.
    async fn send_newer(&mut self) -> Result<(), End> {
        if self.sent.is_some() || self.pause.is_some() || self.waiting.is_some() {
            return Ok(());
        }
        self.newest.mark_unchanged();
        let (shared, (version, digest)) = (self.shared.clone(), self.holds);
        let update = match shared.published.ready(version, digest) {
            Some(update) => update,
            None if !self.admit() => return Ok(()),
            // Sealing a large table takes long enough to keep a worker from its other streams.
            None => {
                let sums = self.sums.clone();
                let seal = move || shared.published.toward(version, digest, sums.as_deref());
                tokio::task::spawn_blocking(seal).await.map_err(|_| End::Gone)?
            }
        };
        self.repairing = matches!(update, Update::Repair(..));
        let metrics = &self.shared.metrics;
        let (version, sealed, counter) = match update {
            Update::Delta(version, sealed) => (version, sealed, &metrics.deltas_sent),
            Update::Repair(version, sealed) => (version, sealed, &metrics.repairs_sent),
            Update::Snapshot(version, sealed) => (version, sealed, &metrics.snapshots_sent),
            Update::None => {
                self.admitted = None;
                return Ok(());
            }
        };
        counter.add(1);
        metrics.table_bytes_sent.add(sealed.len() as u64);
        if self.repairing {
            let (proxy, bytes) = (self.hello.proxy.as_str(), sealed.len());
            tracing::info!(proxy, %version, bytes, "sent the parts that differ in a proxy's table");
            self.repaired = Some(Instant::now());
        }
        self.sent = Some((version, Instant::now()));
        self.note(|attached| attached.sent = Some(version));
        for piece in chunk::cut(version, &sealed) {
            self.send(ToProxy::Chunk(piece)).await?;
        }
        Ok(())
    }

    /// Takes a place among those that are brought up to date; false if it is one in the line.
    fn admit(&mut self) -> bool {
        if self.admitted.is_none() {
            let admission = Arc::clone(&self.shared.admission);
            match Arc::clone(&admission).try_acquire_owned() {
                Ok(place) => self.admitted = Some((place, Instant::now())),
                Err(_) => {
                    self.shared.metrics.links_waited.add(1);
                    self.waiting =
                        Some(Box::pin(async move { admission.acquire_owned().await.ok() }));
                }
            }
        }
        self.admitted.is_some()
    }

    async fn send(&mut self, message: ToProxy) -> Result<(), End> {
        let message = Ok(message.to_proto());
        match timeout(SEND_WAIT, self.outbox.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                Err(End::Told(Status::deadline_exceeded("messages were left untaken for 30 s")))
            }
        }
    }

    async fn heard(&mut self, message: proto::FromProxy) -> Result<(), End> {
        let message = FromProxy::from_proto(message)
            .map_err(|fault| End::Told(Status::invalid_argument(fault.to_string())))?;
        match message {
            FromProxy::Hello(_) => Err(End::Told(Status::invalid_argument("a second hello"))),
            FromProxy::Ack { version, digest } => {
                self.acked(version, digest).await;
                Ok(())
            }
            FromProxy::Nack { version, reason, detail, sums } => {
                self.nacked(version, reason, &detail, sums)
            }
            other => {
                let heard = lead::Command::Heard {
                    proxy: self.hello.proxy.clone(),
                    incarnation: self.hello.incarnation,
                    message: other,
                };
                let sent = self.lead.send(heard).await;
                sent.map_err(|_| End::Told(Status::unavailable("control is stopping")))
            }
        }
    }

    async fn acked(&mut self, version: Version, digest: u64) {
        // An answer to something older than what was last sent changes what it holds, and leaves
        // the newer one under way.
        self.holds = (version, digest);
        self.sums = None;
        self.admitted = None;
        if self.sent.is_some_and(|(sent, _)| sent <= version) {
            self.sent = None;
        }
        self.note(|attached| {
            attached.acked = version;
            attached.acked_ms = clock::now_ms();
            attached.sent = attached.sent.filter(|sent| *sent > version);
        });
        self.tell_of_ack().await;
    }

    fn nacked(
        &mut self,
        version: Version,
        reason: NackReason,
        detail: &str,
        sums: Option<Box<Sums>>,
    ) -> Result<(), End> {
        self.shared.metrics.nacks.add(reason.name());
        let proxy = self.hello.proxy.as_str();
        tracing::warn!(proxy, %version, reason = reason.name(), detail, "a table was refused");
        let words = format!("{version}: {}: {detail}", reason.name());
        self.note(|attached| {
            attached.last_nack = Some(words);
            attached.sent = None;
        });
        self.admitted = None;
        let repairing = std::mem::take(&mut self.repairing);
        let was_whole = self.holds == <(Version, u64)>::default() && !repairing;
        self.sent = None;
        // After a repair that did not help, the whole goes out, whatever the proxy says.
        self.sums = sums.filter(|_| !repairing).map(Arc::from);
        match reason {
            NackReason::Format => Err(End::Told(Status::failed_precondition(
                "the proxy does not read this control's format: upgrade the proxy first",
            ))),
            NackReason::Older => {
                // It holds something newer than it said; a fresh hello tells what.
                Err(End::Told(Status::failed_precondition(
                    "the proxy holds a newer table than it said",
                )))
            }
            NackReason::Gap | NackReason::Corrupt | NackReason::Invalid => {
                self.holds = Default::default();
                self.pause = if self.sums.is_some() {
                    // At once, unless it goes wrong again and again.
                    self.repaired.map(|at| at + NACK_PAUSE)
                } else if was_whole || (reason == NackReason::Invalid && !repairing) {
                    Some(Instant::now() + NACK_PAUSE)
                } else {
                    None
                };
                Ok(())
            }
        }
    }

    fn note(&self, note: impl FnOnce(&mut Attached)) {
        self.shared.roll.note(&self.hello.proxy, note);
    }
}
