//! Answers of replicated sessions: the replica is told of what was executed, and an answer of tier
//! T2 goes out when it has that.

use std::time::Duration;

use homing_session::roster::Who;
use homing_wire::Tier;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session as Downstream;
use tokio::sync::oneshot;

use super::Edge;
use crate::http::{exchange::Exchange, failure::Failure};

impl Edge {
    /// A client has said something on a tunnel that this gate counts: what the app makes of it is
    /// copied behind it in either tier, for no answer tells when the app has taken it.
    pub(in crate::http) fn spoken(&self, exchange: &Exchange) {
        drop(self.replica_word(exchange));
    }

    /// Whether what the app says on a tunnel has to wait for the replica.
    pub(in crate::http) fn waits_for_replica(&self, exchange: &Exchange) -> bool {
        let taken = exchange.taken.as_ref().filter(|_| self.parts.replicas.is_some());
        taken.is_some_and(|taken| {
            let tier = taken.service().map(|service| service.tier);
            taken.permit.is_some() && tier == Some(Tier::T2)
        })
    }

    /// The replica's word on the state as it is now, with how long to wait for it.
    pub(in crate::http) fn replica_word(
        &self,
        exchange: &Exchange,
    ) -> Option<(oneshot::Receiver<()>, Duration)> {
        let (replicas, taken) = (self.parts.replicas.as_ref()?, exchange.taken.as_ref()?);
        let ((key, _), permit) = (taken.session?, taken.permit.as_ref()?);
        let who = Who { key, service: taken.service, place: taken.place };
        let live = self.parts.live.load();
        let word = replicas.written(&live, permit.zone(), who, permit.epoch())?;
        Some((word, Duration::from_millis(live.table.facts().policy.hold.ms_max.into())))
    }

    /// The app has answered. Safe methods (RFC 9110 §9.2.1) change nothing that is worth a copy.
    ///
    /// # Errors
    /// The replica does not have it in time, or the gate lost the session meanwhile: nobody may
    /// take the request for done.
    pub(super) async fn replicated(
        &self,
        client: &Downstream,
        exchange: &mut Exchange,
        status: u16,
    ) -> Result<()> {
        let Some(replicas) = &self.parts.replicas else { return Ok(()) };
        if client.req_header().method.is_safe() {
            return Ok(());
        }
        let Some(taken) = exchange.taken.as_mut() else { return Ok(()) };
        let (Some((key, _)), Some(permit)) = (taken.session, taken.permit.as_mut()) else {
            return Ok(());
        };
        let who = Who { key, service: taken.service, place: taken.place };
        let live = self.parts.live.load_full();
        permit.is_executed(status);
        let (zone, epoch) = (permit.zone(), permit.epoch());
        let Some(kept) = replicas.written(&live, zone, who, epoch) else { return Ok(()) };
        let patience = Duration::from_millis(live.table.facts().policy.hold.ms_max.into());
        let kept = matches!(tokio::time::timeout(patience, kept).await, Ok(Ok(())));
        let owned = taken.permit.as_ref().is_some_and(|permit| permit.may_answer());
        if kept && owned {
            return Ok(());
        }
        self.parts.metrics.replicas.behind.inc();
        let why = if owned { Failure::ReplicaBehind } else { Failure::OwnershipLost };
        let failure = exchange.fail(why);
        Err(Error::new_in(ErrorType::HTTPStatus(failure.status())))
    }
}
