//! The loop between a client and one leg: bytes both ways as they come, and where the service has
//! its sockets carried, the cut. The client is read up to the end of a message, the app is asked
//! to close and read out to its answer, and so has taken all that was said to it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use homing_session::carry::{self, CARRIED, CLOSE, OURS, Word};
use homing_wire::{LongLived, table::Home};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session as Downstream;
use tokio::{io::AsyncReadExt as _, time::Instant};

use super::{
    Ended, Tunnel,
    held::{Behind, Seam},
    leg::{Leg, PIECE_BYTES},
};
use crate::{
    hold::Recall,
    http::{
        edge::{Edge, Side},
        exchange::{Exchange, Way},
    },
};

/// A tunnel on which neither side says anything for this long is ended.
const SILENCE_MAX: Duration = Duration::from_secs(3_600);
/// Longest time a tunnel goes on after its session was frozen, where clients reconnect.
const JITTER_MS_MAX: u64 = 1_000;
/// The close code for a stream that is no WebSocket.
const PROTOCOL: u16 = 1_002;
/// The close code for an app that left without a word.
const APP_LEFT: u16 = 1_011;

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Both ways are open.
    Open,
    /// The client's message under way is passed on to its end, until then at the latest. The
    /// number is the pause's: one that was taken back may still be answered.
    Finishing(Option<Instant>, u32),
    /// The client is not read: the leg is being replaced behind the gate.
    Paused,
    /// The app was asked to close, and is read out until then at the latest.
    Parting(Instant),
}

impl Edge {
    /// Passes everything on, both ways, until the leg ends.
    pub(super) async fn relay(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        leg: &mut Leg,
        tunnel: &mut Tunnel,
    ) -> Result<Ended> {
        let mut recall = self.recall(exchange, tunnel);
        let (mut leave_at, mut phase, mut turn) = (None, Phase::Open, 0);
        let rest = leg.reply.rest.split().freeze();
        if !rest.is_empty()
            && let Some(ended) = self.app_said(client, exchange, tunnel, &mut phase, rest).await?
        {
            return Ok(ended);
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            if let Some(ended) = self.advance(client, exchange, leg, tunnel, &mut phase).await? {
                return Ok(ended);
            }
            piece.reserve(PIECE_BYTES);
            let reads =
                tunnel.waiting.is_empty() && matches!(phase, Phase::Open | Phase::Finishing(..));
            // Inside a frame of the app's, a frame of ours would be taken for its payload.
            let may_speak =
                !tunnel.carries() || self.side == Side::Clients || tunnel.seam.between_frames;
            tokio::select! {
                said = client.as_downstream_mut().read_request_body(), if reads => match said? {
                    Some(said) if tunnel.carries() => tunnel.waiting = said,
                    Some(said) => {
                        leg.write(&said).await?;
                        self.spoken(exchange);
                    }
                    None => return Ok(Ended::Closed),
                },
                read = leg.read.read_buf(&mut piece), if !tunnel.held.is_full() => {
                    let length = read.unwrap_or(0);
                    if length == 0 {
                        return self.app_left(client, exchange, tunnel, phase).await;
                    }
                    let said = piece.split().freeze();
                    let ended = self.app_said(client, exchange, tunnel, &mut phase, said).await?;
                    if let Some(ended) = ended {
                        return Ok(ended);
                    }
                },
                () = called(&mut recall),
                    if leave_at.is_none() && phase == Phase::Open && may_speak =>
                {
                    if tunnel.carries() {
                        turn += 1;
                        let until = Instant::now() + exchange.half_freeze();
                        phase = Phase::Finishing(Some(until), turn);
                        if self.side == Side::Edges {
                            let pause = Some(Word::Pause { turn }.frame(""));
                            client.write_response_body(pause, false).await?;
                        }
                    } else {
                        leave_at = Some(Instant::now() + jitter(exchange));
                    }
                }
                kept = tunnel.held.kept() => {
                    if let Some(ended) = self.let_go(client, exchange, tunnel, kept).await? {
                        return Ok(ended);
                    }
                }
                () = come(leave_at), if tunnel.from_app.at_boundary() => {
                    let ended = self.let_all_go(client, exchange, tunnel).await?;
                    return Ok(ended.unwrap_or(Ended::Recalled));
                }
                () = come(deadline(phase)), if may_speak || is_parting(phase) => match phase {
                    // The handoff will not get its freeze either, and comes back.
                    Phase::Finishing(..) => {
                        phase = Phase::Open;
                        if self.side == Side::Edges {
                            let resume = Some(Word::Resume.frame(""));
                            client.write_response_body(resume, false).await?;
                        }
                    }
                    _ => return Ok(Ended::Cut { confirmed: false }),
                },
                () = tokio::time::sleep(SILENCE_MAX) => {
                    return Err(Error::explain(ErrorType::ReadTimedout, "silence"));
                }
            }
        }
    }

    /// Passes on what of the client's bytes may be, and takes the steps that follow from where
    /// they end.
    async fn advance(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        leg: &mut Leg,
        tunnel: &mut Tunnel,
        phase: &mut Phase,
    ) -> Result<Option<Ended>> {
        if !tunnel.carries() {
            return Ok(None);
        }
        let mut paused = false;
        loop {
            let is_cut = *phase != Phase::Open && self.side == Side::Clients;
            if paused || (is_cut && tunnel.from_client.at_boundary()) {
                break;
            }
            if matches!(phase, Phase::Paused | Phase::Parting(_)) {
                break;
            }
            let part = match tunnel.from_client.next(&mut tunnel.waiting) {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(broken) => {
                    return self.refuse_stream(client, tunnel, &broken).await.map(Some);
                }
            };
            match (part.opcode, self.side) {
                // The answer to a pause that was taken back is no cut: more follows it.
                (OURS, Side::Edges) => paused = answers(&part.payload, *phase),
                (OURS, Side::Clients) => {
                    let broken = carry::Broken::Reserved;
                    return self.refuse_stream(client, tunnel, &broken).await.map(Some);
                }
                _ => {
                    // Counted first: what a dead leg did not take, the next one is given again.
                    tunnel.recent.pass(&part);
                    if leg.write(&part.bytes).await.is_err() {
                        return self.app_left(client, exchange, tunnel, *phase).await.map(Some);
                    }
                    if part.ends_message {
                        self.spoken(exchange);
                    }
                }
            }
        }
        let boundary = tunnel.from_client.at_boundary();
        // Too late for this freeze: the pause is about to be taken back.
        let in_time = |until: Option<Instant>| until.is_none_or(|until| Instant::now() < until);
        if let Phase::Finishing(until, turn) = *phase
            && boundary
            && in_time(until)
            && (paused || self.side == Side::Clients)
        {
            let is_gate_leg = exchange.taken.as_ref().is_some_and(|taken| taken.way == Way::Gate);
            let word = if is_gate_leg {
                *phase = Phase::Paused;
                Word::Paused { turn }.frame("")
            } else {
                let until = until.unwrap_or_else(Instant::now) + exchange.half_freeze();
                *phase = Phase::Parting(until);
                carry::close(CARRIED, "homing-carry", true)
            };
            if leg.write(&word).await.is_err() {
                return self.app_left(client, exchange, tunnel, *phase).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Passes the app's bytes on to the client; how the leg ended, if it did.
    async fn app_said(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        phase: &mut Phase,
        said: Bytes,
    ) -> Result<Option<Ended>> {
        if !tunnel.carries() {
            let mut input = said.clone();
            let follows = tunnel.policy != LongLived::Drain;
            while follows && matches!(tunnel.from_app.next(&mut input), Ok(Some(_))) {}
            self.pass(client, exchange, tunnel, said, 0).await?;
            return Ok(None);
        }
        let from_gate = exchange.taken.as_ref().is_some_and(|taken| taken.way == Way::Gate);
        let mut input = said;
        loop {
            let part = match tunnel.from_app.next(&mut input) {
                Ok(Some(part)) => part,
                Ok(None) => return Ok(None),
                Err(broken) => return Err(odd(&broken)),
            };
            match part.opcode {
                OURS if from_gate => match Word::read(&part.payload) {
                    Some((Word::Pause { turn }, _)) => *phase = Phase::Finishing(None, turn),
                    Some((Word::Resume, _)) => *phase = Phase::Open,
                    Some((Word::Moved { epoch, client: confirmed }, zone)) => {
                        let facts = self.parts.live.load().table.facts().clone();
                        let zone = facts.zone_named(zone).ok_or_else(|| odd(&"no such zone"))?;
                        let home = Home { zone, epoch };
                        // A gate that has another count than ours has not confirmed ours.
                        let confirmed = confirmed == Some(tunnel.messages());
                        return Ok(Some(Ended::Moved { home, confirmed }));
                    }
                    _ => {}
                },
                OURS => return Err(odd(&carry::Broken::Reserved)),
                // Any other code is the app's own, said before it saw ours: its close stands.
                CLOSE if is_parting(*phase) && part.payload.starts_with(&CARRIED.to_be_bytes()) => {
                    let ended = self.let_all_go(client, exchange, tunnel).await?;
                    return Ok(Some(ended.unwrap_or(Ended::Cut { confirmed: true })));
                }
                CLOSE => {
                    self.pass(client, exchange, tunnel, part.bytes, 0).await?;
                    let ended = self.let_all_go(client, exchange, tunnel).await?;
                    return Ok(Some(ended.unwrap_or(Ended::Closed)));
                }
                _ => {
                    let messages = u64::from(part.ends_message);
                    self.pass(client, exchange, tunnel, part.bytes, messages).await?;
                }
            }
        }
    }

    /// The leg's other side is gone without a close.
    async fn app_left(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        phase: Phase,
    ) -> Result<Ended> {
        if let Some(ended) = self.let_all_go(client, exchange, tunnel).await? {
            return Ok(ended);
        }
        if !tunnel.carries() {
            return Ok(Ended::Closed);
        }
        if is_parting(phase) {
            return Ok(Ended::Cut { confirmed: false });
        }
        let taken = exchange.taken.as_ref();
        if let Some(taken) = taken.filter(|taken| taken.way == Way::Gate) {
            // The gate died. The session's home will take the tunnel up, if its app still knows
            // how far it was.
            let home = Home { zone: taken.zone, epoch: taken.least };
            return Ok(Ended::Moved { home, confirmed: false });
        }
        if self.side == Side::Edges && tunnel.seam.between_frames {
            let left = carry::close(APP_LEFT, "the app left", false);
            client.write_response_body(Some(left), false).await?;
        }
        Ok(Ended::Closed)
    }

    async fn refuse_stream(
        &self,
        client: &mut Downstream,
        tunnel: &Tunnel,
        broken: &carry::Broken,
    ) -> Result<Ended> {
        tracing::debug!(%broken, "a client's stream is refused");
        if tunnel.seam.between_frames {
            let close = carry::close(PROTOCOL, "protocol error", false);
            client.write_response_body(Some(close), false).await?;
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
    ) -> Result<()> {
        let seam = Seam {
            between_frames: tunnel.from_app.is_between_frames(),
            between_messages: tunnel.from_app.is_between_messages(),
        };
        if self.waits_for_replica(exchange) {
            tunnel.held.gather(&said, messages, seam);
            self.ask_replica(exchange, tunnel);
            return Ok(());
        }
        client.write_response_body(Some(said), false).await?;
        tunnel.app_messages += messages;
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
        client.write_response_body(Some(said), false).await?;
        tunnel.app_messages += messages;
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

    /// Listens for a freeze of the tunnel's session, if its service has something done about it
    /// and it is this process that counts the tunnel in flight.
    fn recall(&self, exchange: &Exchange, tunnel: &Tunnel) -> Option<Recall> {
        let taken = exchange.taken.as_ref()?;
        taken.permit.as_ref()?;
        let (key, _) = taken.session?;
        let told = tunnel.policy != LongLived::Drain;
        told.then(|| self.parts.gates.holds().recall(key))
    }
}

fn odd(fault: &dyn std::fmt::Display) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, fault.to_string()).into_up()
}

async fn called(recall: &mut Option<Recall>) {
    match recall {
        Some(recall) => recall.called().await,
        None => std::future::pending().await,
    }
}

async fn come(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn is_parting(phase: Phase) -> bool {
    matches!(phase, Phase::Parting(_))
}

/// Whether this word of the edge's answers the pause under way.
fn answers(payload: &[u8], phase: Phase) -> bool {
    match (Word::read(payload), phase) {
        (Some((Word::Paused { turn }, _)), Phase::Finishing(_, asked)) => turn == asked,
        _ => false,
    }
}

fn deadline(phase: Phase) -> Option<Instant> {
    match phase {
        Phase::Finishing(until, _) => until,
        Phase::Parting(until) => Some(until),
        Phase::Open | Phase::Paused => None,
    }
}

/// How long a recalled tunnel goes on: different for each, so that clients do not all come back at
/// once, and at most half the freeze, so that they come back into the hold and go on from there.
fn jitter(exchange: &Exchange) -> Duration {
    let ms_max = (exchange.freeze_ms() / 2).min(JITTER_MS_MAX);
    Duration::from_millis(exchange.spread % (ms_max + 1))
}
