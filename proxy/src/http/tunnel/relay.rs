//! The loop between a client and one leg: bytes both ways as they come. Where the service has its
//! sockets carried, what becomes of them is the deciding machine's matter, and this carries it out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use homing_session::carry::{self, Act, Ends, Word};
use homing_wire::{LongLived, table::Home};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session as Downstream;
use tokio::{io::AsyncReadExt as _, time::Instant};

use super::{
    Ended, Tunnel,
    held::{Behind, Seam},
    leg::{Leg, PIECE_BYTES},
};
use crate::http::{
    edge::{Edge, Side},
    exchange::{Exchange, Way},
    freeze::come,
};

/// A tunnel on which neither side says anything for this long is ended.
const SILENCE_MAX: Duration = Duration::from_secs(3_600);
/// Longest time a tunnel goes on after its session was frozen, where clients reconnect.
const JITTER_MS_MAX: u64 = 1_000;
/// The close code for a stream that is no WebSocket.
const PROTOCOL: u16 = 1_002;
/// The close code for an app that left without a word.
const APP_LEFT: u16 = 1_011;

impl Edge {
    /// Passes everything on, both ways, until the leg ends.
    pub(super) async fn relay(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        leg: &mut Leg,
        tunnel: &mut Tunnel,
    ) -> Result<Ended> {
        let began = Instant::now();
        tunnel.freeze = self.tunnel_freeze(exchange, tunnel);
        let now_ms = || began.elapsed().as_millis() as u64;
        let mut leave_at = None;
        let to_gate = is_to_gate(exchange);
        let ends = Ends { from_edge: self.side == Side::Edges, to_gate };
        tunnel.relay.begin(ends, exchange.half_freeze().as_millis() as u64);
        let rest = leg.reply.rest.split().freeze();
        if !rest.is_empty() {
            self.app_said(client, exchange, tunnel, rest).await?;
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            if let Some(ended) = self.advance(client, exchange, leg, tunnel, now_ms()).await? {
                return Ok(ended);
            }
            tunnel.note_cut();
            piece.reserve(PIECE_BYTES);
            let carries = tunnel.carries();
            let is_open = !carries || tunnel.relay.is_open();
            let deadline = tunnel.relay.deadline().map(|ms| began + Duration::from_millis(ms));
            // Inside a frame of the app's, a frame of ours would be taken for its payload.
            let may_speak = !carries || self.side == Side::Clients || tunnel.seam.between_frames;
            let may_be_late = may_speak || tunnel.relay.is_parting();
            tokio::select! {
                said = client.as_downstream_mut().read_request_body(),
                    if !carries || tunnel.relay.reads_client() => match said? {
                    Some(said) if carries => tunnel.relay.client_said(said),
                    Some(said) => match tunnel.freeze.bound(leg.write(&said)).await {
                        Some(written) => {
                            written?;
                            self.spoken(exchange);
                        }
                        None => return unread(tunnel),
                    },
                    None => return Ok(Ended::Closed),
                },
                read = leg.read.read_buf(&mut piece), if !tunnel.held.is_full() => {
                    if read.unwrap_or(0) == 0 {
                        return self.app_left(client, exchange, tunnel).await;
                    }
                    self.app_said(client, exchange, tunnel, piece.split().freeze()).await?;
                },
                () = tunnel.freeze.called(), if leave_at.is_none() && is_open && may_speak => {
                    let since = tunnel.freeze.heed();
                    if !carries {
                        leave_at = Some(since + jitter(exchange));
                        continue;
                    }
                    let since_ms = since.saturating_duration_since(began).as_millis() as u64;
                    if let Some(word) = tunnel.relay.recall(since_ms) {
                        self.write(client, exchange, tunnel, word).await?;
                    }
                }
                kept = tunnel.held.kept() => {
                    if let Some(ended) = self.let_go(client, exchange, tunnel, kept).await? {
                        return Ok(ended);
                    }
                }
                () = come(leave_at), if tunnel.frames.at_boundary() => {
                    let ended = self.let_all_go(client, exchange, tunnel).await?;
                    return Ok(ended.unwrap_or(Ended::Recalled));
                }
                () = come(deadline), if may_be_late => {
                    let act = tunnel.relay.late();
                    tunnel.freeze.let_pass();
                    match act {
                        Some(Act::ToClient { bytes, .. }) => {
                            self.write(client, exchange, tunnel, bytes).await?;
                        }
                        Some(_) => return Ok(Ended::Cut { confirmed: false }),
                        None => {}
                    }
                }
                () = tokio::time::sleep(SILENCE_MAX) => {
                    return Err(Error::explain(ErrorType::ReadTimedout, "silence"));
                }
            }
        }
    }

    /// Carries out what the machine has made of what was said; how the leg ended, if it did.
    async fn advance(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        leg: &mut Leg,
        tunnel: &mut Tunnel,
        now_ms: u64,
    ) -> Result<Option<Ended>> {
        while let Some(act) = tunnel.relay.poll(now_ms) {
            let ended = match act {
                Act::ToApp { bytes, ends_message } => {
                    match tunnel.freeze.bound(leg.write(&bytes)).await {
                        Some(Ok(())) => {}
                        Some(Err(_)) => {
                            return self.app_left(client, exchange, tunnel).await.map(Some);
                        }
                        None => return unread(tunnel).map(Some),
                    }
                    if ends_message {
                        self.spoken(exchange);
                    }
                    continue;
                }
                Act::ToClient { bytes, messages } => {
                    let seam = Seam {
                        between_frames: tunnel.relay.is_between_frames(),
                        between_messages: tunnel.relay.is_between_messages(),
                    };
                    self.pass(client, exchange, tunnel, bytes, messages, seam).await?;
                    continue;
                }
                Act::Ended(ended) => ended,
            };
            return self.over(client, exchange, tunnel, ended).await.map(Some);
        }
        Ok(None)
    }

    /// What the end of a leg means here.
    async fn over(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        ended: carry::Ended,
    ) -> Result<Ended> {
        if let Some(ended) = self.let_all_go(client, exchange, tunnel).await? {
            return Ok(ended);
        }
        match ended {
            carry::Ended::Closed => Ok(Ended::Closed),
            carry::Ended::Cut { confirmed } => Ok(Ended::Cut { confirmed }),
            carry::Ended::Moved { word: Word::Moved { epoch, .. }, zone, confirmed } => {
                let facts = self.parts.live.load().table.facts().clone();
                let zone = facts.zone_named(&zone).ok_or_else(|| odd(&"no such zone"))?;
                Ok(Ended::Moved { home: Home { zone, epoch }, confirmed })
            }
            carry::Ended::Moved { .. } => Err(odd(&"no such word")),
            carry::Ended::Refused(broken) => {
                self.refuse_stream(client, exchange, tunnel, &broken).await
            }
            carry::Ended::Odd(broken) => Err(odd(&broken)),
            carry::Ended::Left => {
                let taken = exchange.taken.as_ref();
                if let Some(taken) = taken.filter(|taken| taken.way == Way::Gate) {
                    // The gate died. The session's home will take the tunnel up, if its app still
                    // knows how far it was.
                    let home = Home { zone: taken.zone, epoch: taken.least };
                    return Ok(Ended::Moved { home, confirmed: false });
                }
                if self.side == Side::Edges && tunnel.seam.between_frames {
                    let left = carry::close(APP_LEFT, "the app left", false);
                    self.say_last(client, exchange, tunnel, left).await;
                }
                Ok(Ended::Closed)
            }
        }
    }

    /// The app has said something.
    async fn app_said(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        said: Bytes,
    ) -> Result<()> {
        if tunnel.carries() {
            tunnel.relay.app_said(said);
            return Ok(());
        }
        let mut input = said.clone();
        let follows = tunnel.policy != LongLived::Drain;
        while follows && matches!(tunnel.frames.next(&mut input), Ok(Some(_))) {}
        let seam = Seam {
            between_frames: tunnel.frames.is_between_frames(),
            between_messages: tunnel.frames.is_between_messages(),
        };
        self.pass(client, exchange, tunnel, said, 0, seam).await
    }

    /// The leg's other side is gone without a close.
    async fn app_left(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
    ) -> Result<Ended> {
        let ended = if tunnel.carries() { tunnel.relay.app_left() } else { carry::Ended::Closed };
        self.over(client, exchange, tunnel, ended).await
    }

    async fn refuse_stream(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        broken: &carry::Broken,
    ) -> Result<Ended> {
        tracing::debug!(%broken, "a client's stream is refused");
        if tunnel.seam.between_frames {
            let close = carry::close(PROTOCOL, "protocol error", false);
            self.say_last(client, exchange, tunnel, close).await;
        } else {
            // Inside a frame nothing can be said: the end of the socket has to say it.
            self.parts.metrics.tunnels_broken.inc();
        }
        Ok(Ended::Closed)
    }

    /// Passes some of the app's bytes on, or keeps them for the replica's word on them.
    async fn pass(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        said: Bytes,
        messages: u64,
        seam: Seam,
    ) -> Result<()> {
        if self.waits_for_replica(exchange) {
            tunnel.held.gather(&said, messages, seam);
            self.ask_replica(exchange, tunnel);
            return Ok(());
        }
        self.write(client, exchange, tunnel, said).await?;
        tunnel.relay.got(messages);
        tunnel.seam = seam;
        Ok(())
    }

    /// Asks for the replica's word on what has gathered, unless another is awaited.
    fn ask_replica(&self, exchange: &Exchange, tunnel: &mut Tunnel) {
        if tunnel.held.is_to_ask() {
            // Where nobody is left to ask, the word is one that will not come.
            let nobody = || (tokio::sync::oneshot::channel().1, Duration::ZERO);
            let (word, patience) = self.replica_word(exchange).unwrap_or_else(nobody);
            tunnel.held.ask(word, patience);
        }
    }

    /// Passes on what the replica has by now; how the tunnel ended, if the replica does not.
    async fn let_go(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        kept: Result<(Bytes, u64, Seam), Behind>,
    ) -> Result<Option<Ended>> {
        let owned = exchange.taken.as_ref().and_then(|taken| taken.permit.as_ref());
        let owned = owned.is_some_and(|permit| permit.may_answer());
        let Some((said, messages, seam)) = kept.ok().filter(|_| owned) else {
            self.parts.metrics.replicas.behind.inc();
            return Ok(Some(match self.side {
                // Its edge asks the session's home how far its app is.
                Side::Edges => Ended::Closed,
                Side::Clients if tunnel.carries() => Ended::Cut { confirmed: false },
                Side::Clients => Ended::Closed,
            }));
        };
        self.write(client, exchange, tunnel, said).await?;
        tunnel.relay.got(messages);
        tunnel.seam = seam;
        self.ask_replica(exchange, tunnel);
        Ok(None)
    }

    /// Waits until the replica has all that the app said; see `let_go`.
    async fn let_all_go(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
    ) -> Result<Option<Ended>> {
        while !tunnel.held.is_empty() {
            self.ask_replica(exchange, tunnel);
            let kept = tunnel.held.kept().await;
            if let Some(ended) = self.let_go(client, exchange, tunnel, kept).await? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }
}

fn odd(fault: &dyn std::fmt::Display) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, fault.to_string()).into_up()
}

/// The app does not read while its session is to move: what it took is as if it had left, and no
/// other app can go on with the client's message.
fn unread(tunnel: &Tunnel) -> Result<Ended> {
    if tunnel.carries() {
        return Ok(Ended::Cut { confirmed: false });
    }
    match tunnel.seam.between_frames {
        true => Ok(Ended::Recalled),
        false => Error::e_explain(ErrorType::WriteError, "an app does not read"),
    }
}

fn is_to_gate(exchange: &Exchange) -> bool {
    exchange.taken.as_ref().is_some_and(|taken| taken.way == Way::Gate)
}

/// How long a recalled tunnel goes on: different for each, so that clients do not all come back at
/// once, and at most half the freeze, so that they come back into the hold and go on from there.
fn jitter(exchange: &Exchange) -> Duration {
    let ms_max = (exchange.freeze_ms() / 2).min(JITTER_MS_MAX);
    Duration::from_millis(exchange.spread % (ms_max + 1))
}
