//! What of a request happens beside pingora's phases: waiting for a gate, the calls to endpoints
//! counted in and out, the request's own end.

use std::time::{Duration, Instant};

use homing_session::steer::DistanceFrom;
use homing_wire::SessionKey;
use pingora_proxy::Session as Downstream;

use super::Edge;
use crate::{
    endpoints::{Call, Upstream},
    gates::Finish,
    http::{answer, exchange::Exchange, hop},
    telemetry::StatusClass,
};

impl Edge {
    /// Counts the request out and logs it.
    pub(super) fn close(&self, client: &Downstream, exchange: &mut Exchange) {
        let ended = Instant::now();
        let bytes = client.body_bytes_sent() as u64;
        let latency_us = exchange.us_to(exchange.head_at.unwrap_or(ended));
        self.note_drag(exchange, latency_us);
        if let Some(taken) = &mut exchange.taken {
            match taken.permit.take() {
                // Without a status nobody was answered: dropping the permit says so.
                Some(permit) if exchange.status > 0 => {
                    let (status, by_app) = (exchange.status, exchange.failure.is_none());
                    permit.finish(Finish { status, bytes, latency_us, by_app });
                }
                Some(_) => {}
                // Its permit was finished before its end.
                None if taken.session.is_some() => {}
                None => {
                    self.parts.recorder.started(taken.zone);
                    let class = StatusClass::of(exchange.status);
                    self.parts.recorder.finished(taken.zone, class, bytes, latency_us);
                }
            }
        }
        if let Some(log) = &self.parts.log {
            log.write(answer::line(client, exchange, self.clock.now_ms(), bytes, ended));
        }
    }

    /// Tells how long the app of a zone took beyond the way there, where that is known.
    fn note_drag(&self, exchange: &Exchange, latency_us: u64) {
        let by_app = exchange.failure.is_none() && exchange.head_at.is_some();
        let Some(taken) = exchange.taken.as_ref().filter(|_| by_app) else { return };
        let (way_us, from) = self.parts.views.load().distances.rtt_us(taken.place, taken.zone);
        if from != DistanceFrom::Unknown {
            let there_us = u64::from(way_us) + taken.held.as_micros() as u64;
            let us = latency_us.saturating_sub(there_us);
            self.parts.recorder.dragged(taken.service, taken.zone, us);
        }
    }

    /// Waits until the request's zone has a gate, if it has none: one that was restarted is back
    /// in moments, and one that is not leaves its sessions to their heirs, whom the request
    /// follows. Bounded as any hold is.
    pub(in crate::http) async fn await_gate(&self, exchange: &mut Exchange) {
        let Some(taken) = exchange.taken.as_ref() else { return };
        let patience = taken.facts.facts.policy.hold.ms_max;
        let until = exchange.arrived + Duration::from_millis(patience.into());
        // A gate that refused a connection is given a little longer each time.
        let mut pause = hop::PAUSE * exchange.tried.len() as u32;
        loop {
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
            self.look_for_home(exchange);
            let spread = exchange.spread;
            let Some(taken) = exchange.taken.as_mut() else { return };
            taken.held += pause;
            pause = hop::PAUSE;
            let key = taken.session.map_or(SessionKey(spread.into()), |(key, _)| key);
            let has_gate = taken.gate(key).is_some();
            if has_gate || taken.session.is_none() || Instant::now() >= until {
                return;
            }
        }
    }

    /// Tells the endpoint how the call ended, once.
    pub(super) fn end_call(&self, exchange: &mut Exchange, call: Call) {
        if let Some(upstream) = exchange.upstream.take() {
            self.call_ended(exchange, &upstream, call);
        }
    }

    pub(in crate::http) fn call_ended(&self, exchange: &Exchange, upstream: &Upstream, call: Call) {
        if let Some(taken) = &exchange.taken {
            let (endpoints, now_ms) = (&taken.facts.endpoints, self.clock.now_ms());
            endpoints.end(taken.service, taken.zone, upstream, call, now_ms);
        }
    }

    /// Whether the request may be tried again: by its service's limit, and by its zone's budget.
    pub(in crate::http) fn may_retry(&self, exchange: &Exchange) -> bool {
        let Some(taken) = &exchange.taken else { return false };
        if exchange.tried.len() > usize::from(taken.limits().retries) {
            return false;
        }
        let metrics = &self.parts.metrics;
        let left = taken.facts.endpoints.may_retry(taken.zone, self.clock.now_ms());
        if left { &metrics.retries } else { &metrics.retries_refused }.inc();
        left
    }
}
