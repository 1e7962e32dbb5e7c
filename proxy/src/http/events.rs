//! Event streams that stay open while their session is handed over: cut behind a whole block, and
//! asked for again at the session's next home with the id that the client has. docs/walks/events.md
//! is the contract for apps.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use homing_session::events::Splitter;
use homing_wire::{Epoch, LongLived, table::Home};
use http::{HeaderValue, Method, Version, header};
use http_body_util::BodyExt as _;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session as Downstream;
use tokio::time::timeout;

use super::{
    edge::{Edge, Side},
    exchange::Exchange,
    failure::Failure,
    freeze::Freeze,
    outbound,
    tunnel::{RESUME, number},
};
mod leg;

use leg::Leg;

/// What an edge asks a gate to say the stream's next home by; nobody else knows the word.
const TOKEN: &str = "homing-events";
const LAST_EVENT_ID: &str = "last-event-id";
/// How long the end of a client's connection may take.
const PARTING: Duration = Duration::from_secs(1);
/// Pause before a home that could not be reached is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Whether the request asks for an event stream that is to be carried.
pub(super) fn is_asked_for(client: &mut Downstream, exchange: &Exchange, side: Side) -> bool {
    let carries = exchange.taken.as_ref().is_some_and(|taken| {
        let carried = |service: &homing_wire::Service| service.long_lived == LongLived::Carry;
        taken.session.is_some() && taken.service().is_some_and(carried)
    });
    if !carries || !client.as_downstream_mut().is_body_empty() {
        return false;
    }
    let head = client.req_header();
    // An edge that does not carry it would not know what a gate does.
    let told = side == Side::Clients || head.headers.contains_key(TOKEN);
    let accepts = head.headers.get_all(header::ACCEPT).iter();
    told && head.method == Method::GET && accepts.into_iter().any(names_events)
}

fn names_events(value: &HeaderValue) -> bool {
    let kinds = value.as_bytes().split(|byte| *byte == b',');
    kinds.into_iter().any(|kind| {
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// What a stream keeps from leg to leg.
struct Stream {
    token: String,
    splitter: Splitter,
    /// Events of the client's stream that went before what this process has seen.
    base: u64,
    /// The session's next home, as a gate has told it.
    told: Option<(String, Epoch)>,
}

/// How a leg ended.
enum Ended {
    /// The app ended the stream, or there is nobody to read it any more.
    Closed,
    /// It broke off.
    Broken,
    /// The session is frozen, and the client does not take what is written.
    Stuck,
    /// The session is frozen: another leg is to follow wherever it is let in.
    Cut,
    /// A gate says where the next leg leads.
    Moved(Home),
}

impl Edge {
    /// Serves an event stream of a request that was let in, from its first answer to its end.
    pub(super) async fn events(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        let mut stream = Stream::new(client, self.side)?;
        let resume = client.req_header().headers.get(RESUME).cloned();
        let resume = resume.filter(|_| self.side == Side::Edges);
        let asked = client.req_header().clone();
        let mut leg = self.event_leg(&asked, exchange, resume.as_ref(), &stream.token).await?;
        let permit = exchange.taken.as_ref().and_then(|taken| taken.permit.as_ref());
        if permit.is_some_and(|permit| !permit.may_answer()) {
            return Err(Failure::OwnershipLost);
        }
        if let Err(fault) = self.serve_events(client, exchange, &mut leg, &mut stream).await {
            tracing::debug!(%fault, "the client of an event stream left");
        }
        Ok(())
    }

    async fn serve_events(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        leg: &mut Leg,
        stream: &mut Stream,
    ) -> Result<()> {
        let is_stream = leg.is_event_stream();
        self.show_head(client, exchange, leg).await?;
        loop {
            let ended = match is_stream {
                true => self.pass_events(client, exchange, leg, stream).await?,
                false => pass_body(client, leg).await?,
            };
            let next = match ended {
                Ended::Closed => None,
                Ended::Broken => {
                    // The client must see that the answer is cut short: never a clean end.
                    client.as_downstream_mut().shutdown().await;
                    exchange.fail(Failure::UpstreamClosed);
                    return Ok(());
                }
                Ended::Stuck => {
                    leg.close();
                    self.give_back(client, exchange);
                    self.parts.metrics.streams_ended.inc();
                    // Some of a block may be out, and nothing can follow it.
                    client.set_keepalive(None);
                    if !exchange.sever() {
                        let _ = timeout(PARTING, client.as_downstream_mut().shutdown()).await;
                    }
                    return Ok(());
                }
                Ended::Cut | Ended::Moved(_) => {
                    leg.close();
                    self.next_events(client, exchange, stream, ended).await?
                }
            };
            match next {
                Some(next) => *leg = next,
                None => return client.write_response_body(None, true).await.map(drop),
            }
        }
    }

    async fn show_head(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        leg: &Leg,
    ) -> Result<()> {
        let mut head: ResponseHeader = leg.head.clone();
        exchange.status = head.status.as_u16();
        exchange.head_at = Some(Instant::now());
        for hop in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
            head.remove_header(hop);
        }
        if leg.is_event_stream() {
            // Its length is not the stream's: others may follow it.
            head.remove_header(&header::CONTENT_LENGTH);
        }
        let expose_zone = self.parts.rules.load().expose_zone;
        outbound::towards_client(exchange, expose_zone, &mut head, self.side)?;
        let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
        if client.req_header().version == Version::HTTP_11 && !has_length {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        client.write_response_header(Box::new(head), false).await
    }

    /// Passes whole blocks on until the leg ends, or the session is frozen.
    async fn pass_events(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        leg: &mut Leg,
        stream: &mut Stream,
    ) -> Result<Ended> {
        let mut freeze = self.freeze(exchange);
        let from_gate = exchange.is_for_gate();
        loop {
            tokio::select! {
                frame = leg.body.frame() => match frame {
                    Some(Ok(frame)) => {
                        let Some(data) = frame.data_ref() else { continue };
                        stream.splitter.push(data);
                        let blocks = stream.blocks(from_gate);
                        if !blocks.is_empty() {
                            match pass(client, &mut freeze, blocks).await {
                                Some(passed) => passed?,
                                None => return Ok(Ended::Stuck),
                            }
                        }
                    }
                    Some(Err(_)) => return Ok(Ended::Broken),
                    None => {
                        if let Some(home) = self.home_told(stream) {
                            return Ok(Ended::Moved(home));
                        }
                        let rest = stream.splitter.rest();
                        if !rest.is_empty() {
                            match pass(client, &mut freeze, rest).await {
                                Some(passed) => passed?,
                                None => return Ok(Ended::Stuck),
                            }
                        }
                        return Ok(Ended::Closed);
                    }
                },
                () = freeze.called(), if stream.splitter.may_be_cut() => return Ok(Ended::Cut),
                left = leaves(client) => return Err(left),
            }
        }
    }

    /// The next leg of a stream whose client keeps it; `None` if it is to end cleanly, and the
    /// client to come back by itself.
    async fn next_events(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        stream: &mut Stream,
        ended: Ended,
    ) -> Result<Option<Leg>> {
        match ended {
            Ended::Cut => {
                self.give_back(client, exchange);
                if let Err(failure) = self.let_in_again(client, exchange).await {
                    tracing::debug!(failure = failure.name(), "an event stream finds no home");
                    return Ok(None);
                }
            }
            Ended::Moved(home) => {
                let Some(taken) = exchange.taken.as_mut() else { return Ok(None) };
                (taken.zone, taken.least) = (home.zone, home.epoch.max(taken.least));
                if let Some((key, _)) = taken.session {
                    self.parts.learned.learn(key, home);
                }
            }
            Ended::Closed | Ended::Broken | Ended::Stuck => return Ok(None),
        }
        if exchange.is_for_gate() && self.side == Side::Edges {
            let Some(taken) = &exchange.taken else { return Ok(None) };
            let Some(zone) = taken.facts.facts.zones.get(taken.zone.index()) else {
                return Ok(None);
            };
            let word = format!(":{} {};{}\n\n", stream.token, zone.name, taken.least);
            client.write_response_body(Some(word.into()), false).await?;
            return Ok(None);
        }
        let asked = client.req_header().clone();
        let next = tokio::select! {
            next = self.ask_again(asked, exchange, stream) => next,
            left = leaves(client) => return Err(left),
        };
        let counts = &self.parts.metrics;
        match &next {
            Some(_) => counts.streams_carried.inc(),
            None => counts.streams_ended.inc(),
        };
        Ok(next)
    }

    /// Asks the session's home until it answers.
    async fn ask_again(
        &self,
        mut asked: RequestHeader,
        exchange: &mut Exchange,
        stream: &mut Stream,
    ) -> Option<Leg> {
        let patience_ms = exchange.taken.as_ref()?.facts.facts.policy.hold.ms_max;
        let until = Instant::now() + Duration::from_millis(patience_ms.into());
        asked.remove_header(LAST_EVENT_ID);
        if let Ok(id) = HeaderValue::from_bytes(stream.splitter.last_id())
            && !id.is_empty()
        {
            asked.insert_header(LAST_EVENT_ID, id).ok()?;
        }
        stream.splitter.begin_again();
        loop {
            let resume = stream.resume(exchange);
            exchange.tried.clear();
            match self.event_leg(&asked, exchange, Some(&resume), &stream.token).await {
                Ok(leg) if leg.is_event_stream() => return Some(leg),
                // The app has nothing more to say, or says something else: the client is to ask.
                Ok(leg) if !leg.head.status.is_server_error() => return None,
                Ok(leg) => {
                    tracing::debug!(status = leg.head.status.as_u16(), "no event stream yet");
                }
                Err(failure) => tracing::debug!(failure = failure.name(), "no event stream yet"),
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(TRY_AGAIN).await;
            self.look_for_home(exchange);
        }
    }

    fn home_told(&self, stream: &mut Stream) -> Option<Home> {
        let (zone, epoch) = stream.told.take()?;
        let zone = self.parts.live.load().table.facts().zone_named(&zone)?;
        Some(Home { zone, epoch })
    }
}

impl Stream {
    fn new(client: &Downstream, side: Side) -> Result<Self, Failure> {
        let headers = &client.req_header().headers;
        let told = headers.get(TOKEN).and_then(|token| token.to_str().ok());
        let token = match told.filter(|_| side == Side::Edges) {
            Some(token) => token.to_owned(),
            None => {
                let random = super::edge::random::<16>().map_err(|_| Failure::Internal)?;
                hex::encode(random)
            }
        };
        let last_id = headers.get(LAST_EVENT_ID).map_or(&b""[..], HeaderValue::as_bytes);
        let base = headers.get(RESUME).filter(|_| side == Side::Edges);
        let base = base.and_then(|resume| number(resume, "events")).unwrap_or(0);
        Ok(Self { token, splitter: Splitter::after(last_id), base, told: None })
    }

    /// The whole blocks there are; a gate's word is taken out of them.
    fn blocks(&mut self, from_gate: bool) -> Bytes {
        let mut blocks = BytesMut::new();
        while let Some(block) = self.splitter.next_block() {
            match self.word(&block).filter(|_| from_gate) {
                Some(told) => self.told = Some(told),
                None => blocks.extend_from_slice(&block),
            }
        }
        blocks.freeze()
    }

    fn word(&self, block: &[u8]) -> Option<(String, Epoch)> {
        let text = std::str::from_utf8(block.strip_prefix(b":")?).ok()?;
        let told = text.strip_prefix(self.token.as_str())?.trim();
        let (zone, epoch) = told.split_once(';')?;
        Some((zone.to_owned(), Epoch(epoch.parse().ok()?)))
    }

    /// What the next leg's app is told.
    fn resume(&self, exchange: &Exchange) -> HeaderValue {
        let epoch = exchange.taken.as_ref().map_or(0, |taken| {
            taken.permit.as_ref().map_or(taken.least.0, |permit| permit.epoch().0)
        });
        let events = self.base + self.splitter.events();
        // Digits and signs: always a header's value.
        HeaderValue::from_str(&format!("events={events}; epoch={epoch}"))
            .unwrap_or(HeaderValue::from_static(""))
    }
}

/// Passes blocks on. `None` if the client does not take them while its session is to move: it would
/// keep the session here for as long as it likes, and comes back with the last id that it has read.
async fn pass(client: &mut Downstream, freeze: &mut Freeze, blocks: Bytes) -> Option<Result<()>> {
    freeze.bound(client.write_response_body(Some(blocks), false)).await
}

/// Passes on what is no event stream.
async fn pass_body(client: &mut Downstream, leg: &mut Leg) -> Result<Ended> {
    loop {
        let frame = tokio::select! {
            frame = leg.body.frame() => frame,
            left = leaves(client) => return Err(left),
        };
        let Some(frame) = frame else { return Ok(Ended::Closed) };
        let Ok(frame) = frame else { return Ok(Ended::Broken) };
        if let Ok(data) = frame.into_data() {
            client.write_response_body(Some(data), false).await?;
        }
    }
}

/// Waits until the client leaves. One that says anything here says that it does.
async fn leaves(client: &mut Downstream) -> Box<Error> {
    match client.as_downstream_mut().read_body_or_idle(true).await {
        Ok(_) => Error::explain(ErrorType::ConnectionClosed, "the client left"),
        Err(fault) => fault,
    }
}
