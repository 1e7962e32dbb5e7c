//! A request's way in: decided by its head, asked for at the gate, parked where its session is
//! being handed over, followed where it has moved. Its body stays unread until it is let in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use homing_session::{head::HeadView, hold::Waiting, roster::Who};
use homing_wire::ZoneId;
use pingora_proxy::Session as Downstream;

use super::{
    body::BodyCount,
    decide::{Ask, Decision, decide, place_of},
    edge::{Edge, head_bytes, random},
    exchange::{Exchange, Taken},
    facts::EdgeFacts,
    failure::Failure,
    key::KeyFaults,
    outbound,
};
use crate::{
    gates::{Admission, Permit, Refused},
    hold::Resumed,
};

/// How often a request follows its session to another gate before it is given up.
const REDIRECTS_MAX: u32 = 3;
/// How often it waits: a session can be frozen again right after a thaw.
const HOLDS_MAX: u32 = 4;

impl Edge {
    /// Takes a request in.
    pub(super) async fn take_in(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        let seed = u128::from_ne_bytes(random::<16>().map_err(|_| Failure::Internal)?);
        exchange.spread = seed as u64;
        let (facts, place, decision) = self.decide_for(client, exchange, seed);
        let decision = decision?;
        let service = &facts.facts.services[decision.service.index()];
        exchange.body = BodyCount::new(service.limits.body_bytes_max);
        let pause = Duration::from_millis(service.limits.client_timeout_ms.into());
        client.set_read_timeout(Some(pause));
        let mut taken = Taken {
            facts,
            service: decision.service,
            session: decision.session,
            cookie: decision.cookie,
            zone: decision.zone,
            reason: decision.reason,
            permit: None,
            held: Duration::ZERO,
        };
        match taken.session {
            Some((key, _)) => {
                let who = Who { key, service: taken.service, place };
                let head = head_bytes(client.req_header()) as u64;
                let (permit, zone) = self.admit(who, taken.zone, head, &mut taken.held).await?;
                taken.permit = Some(permit);
                taken.zone = zone;
            }
            None => exchange.zones_left = decision.fallbacks.as_slice().to_vec(),
        }
        exchange.taken = Some(taken);
        Ok(())
    }

    fn decide_for(
        &self,
        client: &Downstream,
        exchange: &Exchange,
        seed: u128,
    ) -> (Arc<EdgeFacts>, Option<homing_wire::PlaceId>, Result<Decision, Failure>) {
        let parts = &self.parts;
        let live = parts.live.load();
        let rules = parts.rules.load();
        let facts = parts.facts.of(live.table.facts());
        let request = client.req_header();
        let lookup = outbound::Lookup(&request.headers);
        let head = HeadView {
            method: request.method.as_str(),
            host: outbound::host(request),
            path: request.uri.path(),
            query: request.uri.query(),
            headers: &lookup,
        };
        let place = match exchange.trusted {
            true => place_of(&facts.facts, &facts.places, &head),
            false => None,
        };
        let (decision, faults) = decide(&Ask {
            live: &live,
            view: &parts.views.load(),
            keys: &rules.keys,
            head,
            place,
            seed,
            now_ms: self.clock.now_ms(),
        });
        self.count_faults(faults);
        if matches!(&decision, Ok(decision)
            if matches!(decision.session, Some((_, super::key::KeyOrigin::Minted))))
        {
            parts.metrics.sessions_minted.inc();
        }
        (facts, place, decision)
    }

    fn count_faults(&self, faults: KeyFaults) {
        let metrics = &self.parts.metrics;
        for (found, counter) in [
            (faults.cookie_tampered, &metrics.cookies_tampered),
            (faults.cookie_expired, &metrics.cookies_expired),
            (faults.token_refused, &metrics.tokens_refused),
        ] {
            if found {
                counter.inc();
            }
        }
    }

    /// Asks the gate until the request is let in or refused. Returns where it was let in. While
    /// it waits it keeps its head in memory, and nothing of its body.
    async fn admit(
        &self,
        who: Who,
        mut zone: ZoneId,
        bytes: u64,
        held: &mut Duration,
    ) -> Result<(Permit, ZoneId), Failure> {
        let parts = &self.parts;
        let (mut redirects, mut holds) = (0, 0);
        let mut since_ms = None;
        loop {
            let now_ms = self.clock.now_ms();
            let waiting = Waiting { since_ms: since_ms.unwrap_or(now_ms), bytes };
            let admission = parts.gates.admit(&parts.live.load(), zone, who, waiting, now_ms);
            match admission {
                Admission::Go(permit) => return Ok((permit, zone)),
                Admission::Moved(home) => {
                    redirects += 1;
                    if redirects > REDIRECTS_MAX {
                        return Err(Failure::GateUnavailable);
                    }
                    zone = home.zone;
                }
                Admission::Park(ticket) => {
                    holds += 1;
                    if holds > HOLDS_MAX {
                        return Err(Failure::HoldTimeout);
                    }
                    since_ms.get_or_insert(now_ms);
                    let parked = Instant::now();
                    let resumed = ticket.wait().await;
                    *held += parked.elapsed();
                    if resumed == Resumed::TimedOut {
                        parts.metrics.hold_timeouts.inc();
                        return Err(Failure::HoldTimeout);
                    }
                }
                Admission::Refused(refusal) => return Err(refused(refusal)),
            }
        }
    }
}

fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::HoldFull => Failure::HoldFull,
        Refused::HoldOver => Failure::HoldTimeout,
        Refused::NotOwner | Refused::NoLease | Refused::RosterFull => Failure::GateUnavailable,
    }
}
