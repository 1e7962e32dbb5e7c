//! WebSockets: a tunnel of our own instead of pingora's upgrade path, which takes the end of the
//! handshake's empty body for the end of the tunnel and so loses about one upgrade in ten. The
//! tunnel holds its request's permit, so a handoff of the session waits for it; where the service
//! says so the client is told to reconnect, or, better, keeps its socket while the leg behind it
//! is replaced.

use std::time::{Duration, Instant};

use homing_session::{
    carry::{Progress, Relay, Scanner, Word},
    roster::Who,
};
use homing_wire::{LongLived, table::Home};
use http::header;
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session as Downstream;

use super::{
    edge::{Edge, Side},
    exchange::{Exchange, Taken, Way},
    failure::Failure,
    freeze::Freeze,
    outbound,
};
use crate::gates::Finish;

mod client;
mod held;
mod leg;
mod relay;

use client::STUCK;
use held::{Held, Seam};
use leg::{Leg, refuse};
pub(super) use leg::{RESUME, number};

const SUBPROTOCOL: &str = "sec-websocket-protocol";
/// Pause before a home that could not be reached is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Whether the request asks for a WebSocket. Other upgrades are ignored, as HTTP allows: the
/// request is then served as the plain one that it also is.
pub(super) fn is_asked_for(client: &Downstream) -> bool {
    let names_websocket =
        |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    client.is_upgrade_req()
        && client.req_header().headers.get(header::UPGRADE).is_some_and(names_websocket)
}

/// What a tunnel keeps from leg to leg.
struct Tunnel {
    policy: LongLived,
    /// Decides what becomes of a carried tunnel.
    relay: Relay,
    /// Follows the app's stream of one that is not carried.
    frames: Scanner,
    /// Where what was passed on of the app's ends.
    seam: Seam,
    /// What of the app's waits for the replica.
    held: Held,
    /// What is known of freezes of its session.
    freeze: Freeze,
    /// Since when messages of the client have waited for the next leg, if they do.
    cut_at: Option<Instant>,
    /// What client and app agreed to speak at the first handshake.
    subprotocol: Option<http::HeaderValue>,
}

/// How a leg ended.
enum Ended {
    /// The tunnel is over.
    Closed,
    /// The client is to reconnect.
    Recalled,
    /// Another leg is to follow here, wherever the session is let in. Whether the app has taken
    /// all that the client said.
    Cut {
        /// It answered our close, and so read everything before it.
        confirmed: bool,
    },
    /// A gate says where the next leg leads; or it is gone, and `home` is where it was.
    Moved {
        /// The session's home.
        home: Home,
        /// See `Cut`.
        confirmed: bool,
    },
}

impl Edge {
    /// Carries a WebSocket of a request that was let in, from handshake to end.
    pub(super) async fn tunnel(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        let resume = client.req_header().headers.get(RESUME).cloned();
        let resume = resume.filter(|_| self.side == Side::Edges);
        let mut leg = self.leg(client.req_header(), exchange, resume.as_ref()).await?;
        let shown = self.show(client, exchange, &mut leg).await;
        if !matches!(shown, Ok(true)) {
            if let Err(fault) = shown {
                tracing::debug!(%fault, "a client left at the handshake");
            }
            return Ok(());
        }
        let mut tunnel = Tunnel::new(exchange, resume.as_ref(), &leg);
        loop {
            let ended = self.relay(client, exchange, &mut leg, &mut tunnel).await;
            let next = match ended {
                Ok(Ended::Closed) => None,
                Ok(Ended::Recalled) => {
                    drop(leg);
                    self.part(client, exchange, &mut tunnel).await;
                    return Ok(());
                }
                Ok(ended) => {
                    drop(leg);
                    self.next_leg(client, exchange, &mut tunnel, ended).await
                }
                Err(fault) => {
                    if *fault.etype() == STUCK {
                        // Nothing more is said to the app, and the handoff need not wait.
                        drop(leg);
                        self.give_back(client, exchange);
                        return Ok(());
                    }
                    tracing::debug!(%fault, "a tunnel broke off");
                    None
                }
            };
            match next {
                Some(next) => leg = next,
                None => return Ok(()),
            }
        }
    }

    /// Passes the handshake's answer on; whether it was a 101.
    async fn show(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        leg: &mut Leg,
    ) -> Result<bool> {
        let mut head: ResponseHeader = leg.reply.head.clone();
        exchange.status = head.status.as_u16();
        exchange.head_at = Some(Instant::now());
        let resumes = head.headers.get(RESUME).cloned();
        let expose_zone = self.parts.rules.load().expose_zone;
        outbound::towards_client(exchange, expose_zone, &mut head, self.side)?;
        if let Some(resumes) = resumes.filter(|_| self.side == Side::Edges) {
            head.insert_header(RESUME, resumes)?;
        }
        if head.status.as_u16() != 101 {
            refuse(client, leg, head).await?;
            return Ok(false);
        }
        client.write_response_header(Box::new(head), false).await?;
        client.set_keepalive(None);
        client.set_read_timeout(None);
        Ok(true)
    }

    /// The next leg of a tunnel whose client keeps its socket; `None` if the tunnel is over.
    async fn next_leg(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        tunnel: &mut Tunnel,
        ended: Ended,
    ) -> Option<Leg> {
        let cut_at = tunnel.cut_at.take().unwrap_or_else(Instant::now);
        if let Ended::Cut { .. } = ended {
            self.give_back(client, exchange);
            tunnel.freeze = Freeze::default();
        }
        if !tunnel.seam.between_messages {
            // The rest of the app's message is lost, and no other leg could go on with it.
            self.give_up(client, exchange, tunnel).await;
            return None;
        }
        let confirmed = match ended {
            Ended::Cut { confirmed } => {
                if let Err(failure) = self.let_in_again(client, exchange).await {
                    tracing::debug!(failure = failure.name(), "a tunnel finds no home");
                    self.give_up(client, exchange, tunnel).await;
                    return None;
                }
                confirmed
            }
            Ended::Moved { home, confirmed } => {
                let taken = exchange.taken.as_mut()?;
                (taken.zone, taken.least) = (home.zone, home.epoch.max(taken.least));
                if let Some((key, _)) = taken.session {
                    self.parts.learned.learn(key, home);
                }
                confirmed
            }
            Ended::Closed | Ended::Recalled => return None,
        };
        if exchange.is_for_gate() && self.side == Side::Edges {
            self.tell_moved(client, exchange, tunnel, confirmed).await;
            return None;
        }
        match self.dial_again(client, exchange, tunnel, confirmed).await {
            Some(leg) => {
                let gap = cut_at.elapsed();
                self.parts.metrics.carried(gap);
                tracing::debug!(gap_us = gap.as_micros() as u64, "a tunnel is carried");
                Some(leg)
            }
            None => {
                self.give_up(client, exchange, tunnel).await;
                None
            }
        }
    }

    /// Gives the session's place back: nothing is executed here any more.
    pub(super) fn give_back(&self, client: &Downstream, exchange: &mut Exchange) {
        let latency_us = exchange.us_to(exchange.head_at.unwrap_or_else(Instant::now));
        if let Some(permit) = exchange.taken.as_mut().and_then(|taken| taken.permit.take()) {
            let (status, bytes) = (exchange.status, client.body_bytes_sent() as u64);
            let by_app = exchange.failure.is_none();
            permit.finish(Finish { status, bytes, latency_us, by_app });
        }
    }

    pub(super) async fn let_in_again(
        &self,
        client: &Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        let mut taken = exchange.taken.take().ok_or(Failure::Internal)?;
        taken.facts = self.parts.facts.of(self.parts.live.load().table.facts());
        taken.way = Way::Endpoint;
        let done = match taken.session {
            // A gate that leaves has its sockets go on at the one that is drawn now, which is given
            // the session once none of it is left here.
            Some((key, _)) if self.gives_away(&taken, key) => {
                (taken.way, taken.near) = (Way::Gate, None);
                Ok(())
            }
            Some((key, _)) => {
                let who = Who { key, service: taken.service, place: taken.place };
                self.let_in(client, &mut taken, who).await
            }
            None => Ok(()),
        };
        exchange.taken = Some(taken);
        exchange.tried.clear();
        done
    }

    /// Dials the session's home until it answers, and gives it what it may have missed.
    async fn dial_again(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        tunnel: &mut Tunnel,
        confirmed: bool,
    ) -> Option<Leg> {
        let patience_ms = exchange.taken.as_ref()?.facts.facts.policy.hold.ms_max;
        let until = Instant::now() + Duration::from_millis(patience_ms.into());
        loop {
            let value = tunnel.resume(exchange, confirmed);
            exchange.tried.clear();
            let dialled = self.leg(client.req_header(), exchange, Some(&value)).await;
            match dialled {
                Ok(mut leg) if tunnel.may_go_on(&leg.reply.head) => {
                    // An app that neither answered our close nor says how far it is may or may
                    // not have taken the last messages: to give them again might do them twice,
                    // and not to might lose them. The client, told to come back, can ask it.
                    let missed = tunnel.relay.progress().lacks(leg.taken(), confirmed)?;
                    self.parts.metrics.messages_replayed.inc_by(missed.len() as u64);
                    tunnel.freeze = self.tunnel_freeze(exchange, tunnel);
                    for message in missed {
                        tunnel.freeze.bound(leg.write(&message)).await?.ok()?;
                    }
                    // What was kept of the old leg's, its app knows it has to say again.
                    tunnel.held = Held::default();
                    if self.side == Side::Edges {
                        let resume = Word::Resume.frame("");
                        self.write(client, exchange, tunnel, resume).await.ok()?;
                    }
                    return Some(leg);
                }
                Ok(leg) => {
                    let status = leg.reply.head.status.as_u16();
                    tracing::debug!(status, "a leg was refused, or speaks something else");
                }
                Err(failure) => tracing::debug!(failure = failure.name(), "a leg failed"),
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(TRY_AGAIN).await;
            self.look_for_home(exchange);
        }
    }

    /// Where a request that is for a gate goes by now: the table or another gate may know better.
    pub(super) fn look_for_home(&self, exchange: &mut Exchange) {
        let Some(taken) = exchange.taken.as_mut().filter(|taken| taken.way == Way::Gate) else {
            return;
        };
        taken.facts = self.parts.facts.of(self.parts.live.load().table.facts());
        let Some((key, _)) = taken.session else { return };
        let live = self.parts.live.load();
        let home = self.parts.learned.hint(&live, key).unwrap_or(live.home(key));
        if home.epoch >= taken.least {
            (taken.zone, taken.least) = (home.zone, home.epoch);
        }
    }
}

impl Tunnel {
    fn new(exchange: &Exchange, resume: Option<&http::HeaderValue>, leg: &Leg) -> Self {
        let service = exchange.taken.as_ref().and_then(Taken::service);
        // What the app lacks of the messages said so far, the edge says again.
        let told = resume.and_then(|value| leg.taken().or_else(|| number(value, "client")));
        let app = resume.and_then(|value| number(value, "app")).unwrap_or(0);
        Self {
            policy: service.map_or(LongLived::Drain, |service| service.long_lived),
            relay: Relay::new(Progress::from(told.unwrap_or(0), app)),
            frames: Scanner::default(),
            seam: Seam::default(),
            held: Held::default(),
            freeze: Freeze::default(),
            cut_at: None,
            subprotocol: leg.reply.head.headers.get(SUBPROTOCOL).cloned(),
        }
    }

    /// Keeps the time of a cut. One that is taken back may be followed by another.
    fn note_cut(&mut self) {
        match self.carries() && self.relay.is_cut() {
            true => _ = self.cut_at.get_or_insert_with(Instant::now),
            false => self.cut_at = None,
        }
    }

    fn carries(&self) -> bool {
        self.policy == LongLived::Carry
    }

    /// Whether a leg with this answer can follow: the client was told what is spoken, and an app
    /// that speaks something else would not be understood.
    fn may_go_on(&self, answer: &ResponseHeader) -> bool {
        answer.status.as_u16() == 101
            && answer.headers.get(SUBPROTOCOL) == self.subprotocol.as_ref()
    }

    /// What the next leg's app is told.
    fn resume(&self, exchange: &Exchange, confirmed: bool) -> http::HeaderValue {
        let epoch = exchange.taken.as_ref().map_or(0, |taken| {
            taken.permit.as_ref().map_or(taken.least.0, |permit| permit.epoch().0)
        });
        let (client, app) = (self.relay.progress().client(), self.relay.progress().app());
        let text =
            format!("client={client}; app={app}; epoch={epoch}; confirmed={}", u8::from(confirmed));
        // Digits and signs: always a header's value.
        http::HeaderValue::from_str(&text).unwrap_or(http::HeaderValue::from_static(""))
    }
}
