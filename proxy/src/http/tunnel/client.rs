//! The client's side of a tunnel: what is written to it, and the last words before it ends. None of
//! it may wait for a client that does not read while its session is to move.

use std::time::Duration;

use bytes::Bytes;
use homing_session::carry::{self, Word};
use homing_wire::LongLived;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session as Downstream;
use tokio::time::timeout;

use super::Tunnel;
use crate::http::{edge::Edge, exchange::Exchange, freeze::Freeze};

/// The close code for clients that have to come back themselves (RFC 6455, service restart).
const RESTART: u16 = 1_012;
/// How long a client that was told of an end may take to close.
const PARTING: Duration = Duration::from_secs(1);
/// How long it may take to be told.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How writing fails to one that does not read.
pub(super) const STUCK: ErrorType = ErrorType::WriteTimedout;

impl Edge {
    /// What a tunnel hears of freezes: nothing, where its service waits for it to end.
    pub(super) fn tunnel_freeze(&self, exchange: &Exchange, tunnel: &Tunnel) -> Freeze {
        match tunnel.policy {
            LongLived::Drain => Freeze::default(),
            LongLived::Reconnect | LongLived::Carry => self.freeze(exchange),
        }
    }

    /// Writes to the client. If that fails, some of it may be out, and nothing can follow it.
    ///
    /// # Errors
    /// `STUCK` if the client does not read while its session is to move.
    pub(super) async fn write(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        bytes: Bytes,
    ) -> Result<()> {
        let writing = client.write_response_body(Some(bytes), false);
        let written = tunnel.freeze.bound(writing).await;
        let written = written.unwrap_or_else(|| Error::e_explain(STUCK, "a client does not read"));
        written.inspect_err(|fault| self.cut_off(exchange, tunnel, *fault.etype() == STUCK))
    }

    /// Says the last that the client is told; whether it was taken.
    pub(super) async fn say_last(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        word: Bytes,
    ) -> bool {
        let said = timeout(LAST_WORD, self.write(client, exchange, tunnel, word)).await;
        if said.is_err() {
            self.cut_off(exchange, tunnel, true);
        }
        matches!(said, Ok(Ok(())))
    }

    fn cut_off(&self, exchange: &Exchange, tunnel: &mut Tunnel, is_stuck: bool) {
        tunnel.seam.between_frames = false;
        exchange.sever();
        if is_stuck {
            self.parts.metrics.tunnels_stuck.inc();
        }
    }

    /// Tells the edge where its tunnel goes on.
    pub(super) async fn tell_moved(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
        confirmed: bool,
    ) {
        let Some(taken) = &exchange.taken else { return };
        let Some(zone) = taken.facts.facts.zones.get(taken.zone.index()) else { return };
        let messages = confirmed.then(|| tunnel.relay.progress().client());
        let word = Word::Moved { epoch: taken.least, client: messages };
        // An edge that is gone has no client to carry.
        if self.say_last(client, exchange, tunnel, word.frame(&zone.name)).await {
            read_out(client).await;
        }
    }

    /// Gives the session's place back, the app's side being closed already, and tells the client
    /// to reconnect.
    pub(super) async fn part(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        tunnel: &mut Tunnel,
    ) {
        self.give_back(client, exchange);
        tunnel.freeze = Freeze::default();
        self.send_away(client, exchange, tunnel).await;
    }

    /// The client has to come back itself, or is cut off where even that cannot be said.
    pub(super) async fn give_up(
        &self,
        client: &mut Downstream,
        exchange: &Exchange,
        tunnel: &mut Tunnel,
    ) {
        self.parts.metrics.tunnels_broken.inc();
        if tunnel.seam.between_frames {
            self.send_away(client, exchange, tunnel).await;
        }
    }

    async fn send_away(&self, client: &mut Downstream, exchange: &Exchange, tunnel: &mut Tunnel) {
        let close = carry::close(RESTART, "session moved", false);
        if self.say_last(client, exchange, tunnel, close).await {
            read_out(client).await;
        }
    }
}

/// Closing a socket with unread bytes resets it, and the client might never read why.
async fn read_out(client: &mut Downstream) {
    let all =
        async { while let Ok(Some(_)) = client.as_downstream_mut().read_request_body().await {} };
    let _ = timeout(PARTING, all).await;
}
