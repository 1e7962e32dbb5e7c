//! The stream to control: tables come in and are acknowledged or refused, records and outcomes go
//! out. Control may be dead for any time; the proxy serves by the table it has, finishes handoffs,
//! and tells everything that is still of interest when the stream is back.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use homing_identity::Identity;
use homing_session::{gate::Reaction, lease};
use homing_wire::{
    DirectiveId, FromProxy, GateHello, Hello, Incarnation, OutcomeEnd, RecordBatch, SessionKey,
    ToProxy, chunk::Assembly, envelope, limits, message::Activated, record::Outcome, table::Home,
};
use rustls::crypto::aws_lc_rs;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::{
    cession::Cessions,
    clock::Clock,
    gates::Gates,
    handoff::{Ended, Report, orders::Orders},
    live::{Live, LiveTable},
    outcomes::Outcomes,
    replicas::Replicas,
    telemetry::Metrics,
};

mod apply;
mod dial;
mod orders;

use apply::take_table;

/// The generated client.
#[allow(missing_docs, clippy::all, unreachable_pub, dead_code)]
mod rpc {
    tonic::include_proto!("homing.v1");
}

/// Longest pause before control is tried again; the pause is drawn anew each time between none
/// and this, so that a restarted control is not met by all proxies at once.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages that may wait for the socket.
const OUTBOX: usize = 64;
/// Batches of records kept while control is away; older ones are dropped.
const BATCHES_MAX: usize = 60;
/// Ends and residences kept until control has taken them.
const UNTAKEN_MAX: usize = 100_000;
/// How often what control has not taken is told again.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// The link. [`ControlLink::run`] is its task.
pub struct ControlLink {
    /// `https://host:port`, or `http` on a machine of one's own.
    pub url: String,
    /// The name that control's certificate carries; the URL's host if `None`.
    pub control: Option<String>,
    /// This proxy's name.
    pub name: String,
    /// Where tables are put in force.
    pub live: Arc<LiveTable>,
    /// Where `Own` and `Release` are obeyed.
    pub gates: Arc<Gates>,
    /// Where ends are shown to operators too.
    pub outcomes: Arc<Outcomes>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether the stream is up.
    pub attached: Arc<AtomicBool>,
    /// What a gate has beside.
    pub fleet: Option<GateLink>,
    /// Who this process is to control; needed for `https`.
    pub identity: Option<Arc<Identity>>,
}

/// What a gate tells control of itself, and whom it passes control's word to.
#[derive(Debug)]
pub struct GateLink {
    /// How it registers.
    pub hello: GateHello,
    /// Handoffs from here that are under way.
    pub orders: Arc<Orders>,
    /// Handoffs to here: steps that control made their sessions take.
    pub stepped: mpsc::Sender<(SessionKey, Reaction)>,
    /// Replicas of sessions here, and of others' sessions.
    pub replicas: Arc<Replicas>,
    /// Sessions that another gate of this zone may have.
    pub cessions: Arc<Cessions>,
}

/// What control has not taken yet.
#[derive(Default)]
struct Untaken {
    ends: BTreeMap<DirectiveId, Ended>,
    residences: BTreeMap<SessionKey, Home>,
    batches: VecDeque<RecordBatch>,
    /// This gate's words as a target, until the table shows that control has them.
    words: BTreeMap<SessionKey, Activated>,
}

impl ControlLink {
    /// Runs until whoever reports is gone.
    pub async fn run(
        self,
        mut reports: mpsc::Receiver<Report>,
        mut batches: mpsc::Receiver<RecordBatch>,
    ) {
        let mut untaken = Untaken::default();
        loop {
            let ended = self.attach(&mut untaken, &mut reports, &mut batches).await;
            self.attached.store(false, Relaxed);
            match ended {
                Ok(()) => return,
                Err(status) => {
                    tracing::warn!(url = self.url, reason = status.message(), "control is away")
                }
            }
            let pause = tokio::time::sleep(PAUSE_MAX.mul_f64(random_share()));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    report = reports.recv() => match report {
                        Some(report) => self.note(report, &mut untaken),
                        None => return,
                    },
                    Some(batch) = batches.recv() => untaken.keep(batch),
                }
            }
        }
    }

    /// One stream from its hello to its end. `Ok` means that the process is leaving.
    async fn attach(
        &self,
        untaken: &mut Untaken,
        reports: &mut mpsc::Receiver<Report>,
        batches: &mut mpsc::Receiver<RecordBatch>,
    ) -> Result<(), tonic::Status> {
        let mut client = rpc::link_client::LinkClient::new(self.connect().await?)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let said = |message: FromProxy| outbox.send(message.to_proto());
        let gone = |_| tonic::Status::unavailable("the stream has ended");
        said(FromProxy::Hello(self.hello())).await.map_err(gone)?;
        let stream = client.attach(ReceiverStream::new(outgoing)).await?;
        let mut incoming = stream.into_inner();
        self.attached.store(true, Relaxed);
        tracing::info!(url = self.url, "attached to control");
        let mut assembly = Assembly::default();
        let life = self.gates.incarnation();
        let mut again = tokio::time::interval(TELL_AGAIN);
        let mut renew = tokio::time::interval(Duration::from_millis(lease::ASK_MS));
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let Some(message) = message? else { return Err(gone_away()) };
                    let message = ToProxy::from_proto(message)
                        .map_err(|fault| tonic::Status::invalid_argument(fault.to_string()))?;
                    for answer in self.hear(message, &mut assembly, untaken) {
                        said(answer).await.map_err(gone)?;
                    }
                    if self.gates.incarnation() != life {
                        return Err(tonic::Status::aborted("another life begins"));
                    }
                }
                report = reports.recv() => match report {
                    Some(report) => {
                        for message in self.tell(&report) {
                            said(message).await.map_err(gone)?;
                        }
                        self.note(report, untaken);
                    }
                    None => return Ok(()),
                },
                Some(batch) = batches.recv() => {
                    said(FromProxy::Records(batch.clone())).await.map_err(gone)?;
                    untaken.keep(batch);
                }
                _ = renew.tick() => if let Some(seat) = self.gates.seat().gate() {
                    let (seq, next_ms) = seat.renewal(self.now_ms());
                    renew.reset_after(Duration::from_millis(next_ms));
                    said(FromProxy::Renew { seq }).await.map_err(gone)?;
                },
                _ = again.tick() => {
                    for message in self.all_untaken(untaken) {
                        said(message).await.map_err(gone)?;
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<Channel, tonic::Status> {
        let unavailable = |error: tonic::transport::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tonic::Status::unavailable(cause.unwrap_or_else(|| error.to_string()))
        };
        let endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(unavailable)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        match &self.identity {
            Some(identity) if self.url.starts_with("https:") => {
                let dial = dial::Dial::new(identity, self.control.clone());
                endpoint.connect_with_connector(dial).await.map_err(unavailable)
            }
            _ => endpoint.connect().await.map_err(unavailable),
        }
    }

    fn hello(&self) -> Hello {
        let live = self.live.load();
        let sums = live.sums();
        Hello {
            proxy: self.name.clone(),
            incarnation: self.gates.incarnation(),
            holds: live.table.version(),
            // Of what the table really holds, which need not be what its digest says.
            digest: sums.as_ref().map_or(0, |sums| sums.digest()),
            format: envelope::FORMAT,
            gate: self.fleet.as_ref().map(|fleet| fleet.hello.clone()),
            sums,
        }
    }

    /// Takes a message in; what is to be answered.
    fn hear(
        &self,
        message: ToProxy,
        assembly: &mut Assembly,
        untaken: &mut Untaken,
    ) -> Vec<FromProxy> {
        match message {
            ToProxy::Chunk(chunk) => {
                let (mut kept, before) = (Vec::new(), self.live.load_full());
                let answer =
                    take_table(&self.live, &self.metrics, assembly, chunk, &mut |next: &Live| {
                        self.gates.seat().look_at(next);
                        kept = self.gates.defend(&before, next, self.now_ms());
                    });
                let after = self.live.load_full();
                kept.extend(self.gates.defend(&before, &after, self.now_ms()));
                self.forget_published(untaken);
                let kept = Self::residences(&kept);
                let told = kept.iter().flat_map(|report| self.tell(report)).collect::<Vec<_>>();
                for report in kept {
                    self.note(report, untaken);
                }
                answer.into_iter().chain(told).collect()
            }
            ToProxy::RecordsTaken { seq } => {
                untaken.batches.retain(|batch| batch.seq > seq);
                Vec::new()
            }
            ToProxy::OutcomeTaken { directive } => {
                untaken.ends.remove(&directive);
                Vec::new()
            }
            ToProxy::FenceQuery { directive, incarnation, key, zone } => {
                self.fence(directive, incarnation, key, zone, untaken).into_iter().collect()
            }
            ToProxy::Own { key, zone, incarnation, epoch, keep, directive } => {
                let home = Home { zone, epoch };
                self.own(key, home, incarnation, keep, directive).into_iter().collect()
            }
            ToProxy::Lease { seq, term, ms } => {
                self.leased(seq, term, ms);
                Vec::new()
            }
            ToProxy::HeirKnown { key, epoch, seq } => {
                if let Some(fleet) = &self.fleet {
                    fleet.replicas.known(key, epoch, seq);
                }
                Vec::new()
            }
            // Copies are released once the table that says so is on disk; it is on its way.
            ToProxy::Release { .. } => Vec::new(),
        }
    }

    /// Control has answered a renewal. Without a lease to grant, this life is over: what it knew
    /// may have been given to others, so another begins that knows nothing.
    fn leased(&self, seq: u64, term: u64, ms: u32) {
        let Some(seat) = self.gates.seat().gate() else { return };
        if ms > 0 {
            return seat.granted(seq, term, ms);
        }
        let next = Incarnation(self.now_ms().max(seat.incarnation().0 + 1));
        tracing::warn!(former = %seat.incarnation(), %next, "this life was declared over");
        seat.begin_again(next);
        self.gates.forget_all();
        if let Some(fleet) = &self.fleet {
            fleet.replicas.forget_all();
        }
    }

    /// Residences that the table shows need not be told any more.
    fn forget_published(&self, untaken: &mut Untaken) {
        let live = self.live.load();
        untaken.residences.retain(|key, home| live.home(*key).epoch < home.epoch);
        untaken.words.retain(|key, word| live.home(*key).epoch < word.epoch);
    }

    fn note(&self, report: Report, untaken: &mut Untaken) {
        match report {
            Report::Ended(ended) => {
                if let (OutcomeEnd::Undone { .. }, Some(home)) = (&ended.end, ended.home) {
                    untaken.residences.insert(ended.directive.key, home);
                }
                if untaken.ends.len() < UNTAKEN_MAX {
                    untaken.ends.insert(ended.directive.id, ended.clone());
                }
                self.outcomes.add(ended);
            }
            Report::Residence { key, home } => {
                if untaken.residences.len() < UNTAKEN_MAX {
                    untaken.residences.insert(key, home);
                }
            }
            Report::Activated(word) => {
                if untaken.words.len() < UNTAKEN_MAX {
                    untaken.words.insert(word.key, word);
                }
            }
            // Control asks again for whatever it misses of these; an owner repeats its heir.
            Report::Fenced { .. } | Report::Stalled { .. } | Report::Heir(_) => {}
        }
    }

    fn tell(&self, report: &Report) -> Vec<FromProxy> {
        match report {
            Report::Residence { key, home } => {
                vec![FromProxy::Residence { key: *key, zone: home.zone, epoch: home.epoch }]
            }
            Report::Ended(ended) => self.tell_end(ended),
            Report::Activated(word) => vec![FromProxy::Activated(*word)],
            Report::Heir(heir) => vec![FromProxy::Heir(*heir)],
            Report::Fenced { directive, incarnation } => {
                vec![FromProxy::Fenced { directive: *directive, incarnation: *incarnation }]
            }
            Report::Stalled { directive, key, why, detail } => vec![FromProxy::Stalled {
                directive: *directive,
                key: *key,
                why: *why,
                detail: detail.clone(),
            }],
        }
    }

    fn tell_end(&self, ended: &Ended) -> Vec<FromProxy> {
        let directive = &ended.directive;
        let (key, id) = (directive.key, directive.id);
        let first = match (&ended.end, ended.home) {
            (OutcomeEnd::Completed(figures), _) => Some(FromProxy::Activated(Activated {
                directive: id,
                key,
                zone: directive.to,
                epoch: figures.epoch,
                incarnation: directive.to_incarnation,
            })),
            // The target's word, and where the session went on by it.
            (OutcomeEnd::Undone { .. }, Some(_)) => {
                Some(FromProxy::Fenced { directive: id, incarnation: directive.to_incarnation })
            }
            (OutcomeEnd::Undone { .. }, None) => None,
        };
        let residence = match (&ended.end, ended.home) {
            (OutcomeEnd::Undone { .. }, Some(Home { zone, epoch })) => {
                Some(FromProxy::Residence { key, zone, epoch })
            }
            _ => None,
        };
        let outcome = Outcome { directive: id, key, end: ended.end.clone(), at_ms: ended.at_ms };
        first.into_iter().chain(residence).chain([FromProxy::Outcome(outcome)]).collect()
    }

    fn all_untaken(&self, untaken: &Untaken) -> Vec<FromProxy> {
        let ends = untaken.ends.values().flat_map(|ended| self.tell_end(ended));
        let residences = untaken.residences.iter().map(|(key, home)| FromProxy::Residence {
            key: *key,
            zone: home.zone,
            epoch: home.epoch,
        });
        let words = untaken.words.values().copied().map(FromProxy::Activated);
        let batches = untaken.batches.iter().cloned().map(FromProxy::Records);
        words.chain(ends).chain(residences).chain(batches).collect()
    }

    /// Sessions that this life homed from its log, unknown to control's table.
    #[must_use]
    pub fn residences(homes: &[(SessionKey, Home)]) -> Vec<Report> {
        homes.iter().map(|(key, home)| Report::Residence { key: *key, home: *home }).collect()
    }

    fn now_ms(&self) -> u64 {
        Clock::process().now_ms()
    }
}

impl Untaken {
    fn keep(&mut self, batch: RecordBatch) {
        if self.batches.len() >= BATCHES_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }
}

fn gone_away() -> tonic::Status {
    tonic::Status::unavailable("control has ended the stream")
}

/// Between 0 and 1. Without random bytes it is the middle, which is only less spread.
fn random_share() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::default_provider().secure_random.fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
