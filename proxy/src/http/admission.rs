//! A request's way in: decided by its head, asked for at the gate, parked where its session is
//! being handed over, followed where it has moved. Its body stays unread until it is let in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use homing_session::{head::HeadView, hold::Waiting, roster::Who};
use homing_wire::{Epoch, Service, SessionKey, ZoneId, table::Home};
use http::uri::PathAndQuery;
use pingora_http::RequestHeader;
use pingora_proxy::Session as Downstream;

use super::{
    answer,
    body::BodyCount,
    decide::{Ask, Decision, decide, place_of},
    edge::{Edge, Side, head_bytes, random},
    exchange::{Exchange, Taken, Way},
    facts::EdgeFacts,
    failure::Failure,
    hop::{self, Told},
    key::{KeyFaults, KeyOrigin},
    outbound,
};
use crate::{
    cession::Whereabouts,
    gates::{Admission, Brought, Named, Permit, Refused, RequestName},
    hold::Resumed,
};

/// How often a request follows its session to another gate before it is given up.
const REDIRECTS_MAX: u32 = 3;
/// How often it waits: a session can be frozen again right after a thaw.
const HOLDS_MAX: u32 = 4;
/// How often a gate that may not act, or is not told who owns the session, is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(25);

/// What names a request (draft-ietf-httpapi-idempotency-key-header), and how long it may be.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 255;

/// What a gate decided on a request.
enum LetIn {
    /// Execute it in this zone.
    Here(Permit, ZoneId),
    /// Its session lives in a zone that is guarded elsewhere.
    There(Home),
    /// Another gate of this zone still has its session.
    Near(String),
}

/// A request that asks to be let in.
struct Asking {
    who: Who,
    zone: ZoneId,
    least: Epoch,
    /// Bytes of its head, which it keeps in memory while it waits.
    bytes: u64,
}

impl Edge {
    /// Takes a request in. `Ok(false)` if it was answered: its session lives elsewhere.
    pub(super) async fn take_in(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<bool, Failure> {
        let seed = u128::from_ne_bytes(random::<16>().map_err(|_| Failure::Internal)?);
        exchange.spread = seed as u64;
        match self.side {
            Side::Clients => self.take_in_client(client, exchange, seed).await.map(|()| true),
            Side::Edges => self.take_in_told(client, exchange).await,
        }
    }

    async fn take_in_client(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        seed: u128,
    ) -> Result<(), Failure> {
        let (facts, place, decision) = self.decide_for(client, exchange, seed);
        let decision = decision?;
        let service = &facts.facts.services[decision.service.index()];
        bound(client, exchange, service);
        let hint = decision.session.and_then(|(key, _)| {
            let live = self.parts.live.load();
            self.parts.learned.hint(&live, key)
        });
        let mut taken = Taken {
            facts,
            service: decision.service,
            session: decision.session,
            cookie: decision.cookie,
            zone: decision.zone,
            way: Way::Endpoint,
            near: None,
            place,
            least: hint.map_or(Epoch(0), |home| home.epoch),
            hops: 0,
            reason: decision.reason,
            permit: None,
            held: Duration::ZERO,
        };
        match taken.session {
            Some((key, _)) => {
                let who = Who { key, service: taken.service, place };
                self.let_in(client, &mut taken, who).await?;
            }
            None => {
                let own = self.parts.gates.seat().reaches(&taken.facts.facts, taken.zone);
                taken.way = if own { Way::Endpoint } else { Way::Gate };
                // Zones of both ways in one list would be tried the wrong way.
                exchange.zones_left = match taken.way {
                    Way::Endpoint if !self.parts.gates.seat().is_solo() => Vec::new(),
                    _ => decision.fallbacks.as_slice().to_vec(),
                };
            }
        }
        exchange.taken = Some(taken);
        Ok(())
    }

    /// Finds out whether a session's request is executed here, and lets it in if it is.
    pub(super) async fn let_in(
        &self,
        client: &Downstream,
        taken: &mut Taken,
        who: Who,
    ) -> Result<(), Failure> {
        taken.near = None;
        let drawn = self.parts.gates.seat().guards(&taken.facts.facts, taken.zone, who.key);
        if !drawn && !self.still_has(taken, who.key) {
            taken.way = Way::Gate;
            return Ok(());
        }
        if let Some(replicas) = &self.parts.replicas
            && replicas.keeper().has(who.key)
        {
            let live = self.parts.live.load_full();
            let inherited = replicas.keeper().inherit(&live, who.key).await;
            inherited.map_err(|_| Failure::GateUnavailable)?;
        }
        let bytes = head_bytes(client.req_header()) as u64;
        let asking = Asking { who, zone: taken.zone, least: taken.least, bytes };
        match self.admit(asking, &mut taken.held).await? {
            LetIn::Here(mut permit, zone) => {
                once(client.req_header(), taken, &mut permit)?;
                taken.permit = Some(permit);
                taken.zone = zone;
            }
            LetIn::There(home) => {
                taken.way = Way::Gate;
                (taken.zone, taken.least) = (home.zone, home.epoch);
            }
            LetIn::Near(gate) => {
                taken.way = Way::Gate;
                taken.near = Some(gate);
            }
        }
        Ok(())
    }

    /// Whether a session is this gate's although another of its zone is drawn for it: that one has
    /// joined the zone and has not been given it yet.
    fn still_has(&self, taken: &Taken, key: SessionKey) -> bool {
        let gates = &self.parts.gates;
        let own = gates.seat().gate().and_then(|seat| seat.zone_in(&taken.facts.facts));
        let kept = || self.parts.replicas.as_ref().is_some_and(|kept| kept.keeper().has(key));
        own == Some(taken.zone) && (gates.answers_for(taken.zone, key) || kept())
    }

    /// Whether this gate leaves, and another is drawn for the session.
    pub(super) fn gives_away(&self, taken: &Taken, key: SessionKey) -> bool {
        let seat = self.parts.gates.seat();
        let leaves = seat.gate().is_some_and(crate::seat::GateSeat::is_leaving);
        leaves && !seat.guards(&taken.facts.facts, taken.zone, key)
    }

    /// Takes in what an edge has decided already.
    async fn take_in_told(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<bool, Failure> {
        let head = client.req_header();
        let (facts, told) = self.told(&head.headers).await?;
        let own = self.parts.gates.seat().gate().and_then(|seat| seat.zone_in(&facts.facts));
        let own = own.ok_or(Failure::GateUnavailable)?;
        let service = &facts.facts.services[told.service.index()];
        let replayable = hop::is_replayable(head, service.limits.replay_bytes_max);
        bound(client, exchange, service);
        let mut taken = Taken {
            facts,
            service: told.service,
            session: told.who.map(|who| (who.key, KeyOrigin::Told)),
            cookie: None,
            zone: own,
            way: Way::Endpoint,
            near: None,
            place: told.who.and_then(|who| who.place),
            least: told.least,
            hops: told.hops,
            reason: told.reason,
            permit: None,
            held: Duration::ZERO,
        };
        if let Some(who) = told.who {
            self.let_in(client, &mut taken, who).await?;
        }
        let elsewhere = taken.way == Way::Gate && taken.zone != own;
        if elsewhere && replayable {
            let home = hop::moved_to(taken.zone, taken.least, &taken.facts);
            exchange.taken = Some(taken);
            answer::moved(client, exchange, &home.ok_or(Failure::GateUnavailable)?)
                .await
                .map_err(|_| Failure::Internal)?;
            return Ok(false);
        }
        // What its edge cannot send again, this gate sends on; so too what another gate of this
        // zone guards, since the edge's table does not show that gate yet.
        taken.hops += u8::from(taken.way == Way::Gate);
        exchange.taken = Some(taken);
        Ok(true)
    }

    /// What the edge has told, by the gate's own table. A gate that has just begun is there before
    /// its table is, and an edge may have a newer one: both last moments.
    async fn told(&self, headers: &http::HeaderMap) -> Result<(Arc<EdgeFacts>, Told), Failure> {
        let arrived = Instant::now();
        loop {
            let facts = self.parts.facts.of(self.parts.live.load().table.facts());
            let patience = Duration::from_millis(facts.facts.policy.hold.ms_max.into());
            match Told::read(headers, &facts) {
                Err(Failure::NoRoute) if arrived.elapsed() < patience => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                told => return told.map(|told| (facts, told)),
            }
        }
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
            learned: &parts.learned,
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

    /// Asks the gate until the request is let in or refused. While it waits it keeps its head in
    /// memory, and nothing of its body.
    async fn admit(&self, asking: Asking, held: &mut Duration) -> Result<LetIn, Failure> {
        let Asking { who, mut zone, least, bytes } = asking;
        let parts = &self.parts;
        let seat = parts.gates.seat();
        let (mut redirects, mut holds) = (0, 0);
        let mut since_ms = None;
        let mut asked = false;
        loop {
            let now_ms = self.clock.now_ms();
            let waiting = Waiting { since_ms: since_ms.unwrap_or(now_ms), bytes };
            let live = parts.live.load_full();
            let brought = Brought { least, asked: std::mem::take(&mut asked) };
            match parts.gates.admit_told(&live, zone, who, brought, waiting, now_ms) {
                Admission::Go(permit) => return Ok(LetIn::Here(permit, zone)),
                Admission::Ask => {
                    let since_ms = *since_ms.get_or_insert(now_ms);
                    match self.ask_neighbours(zone, who.key).await {
                        Whereabouts::Here => asked = true,
                        Whereabouts::At(gate) => return Ok(LetIn::Near(gate)),
                        Whereabouts::Moved(home) => return Ok(LetIn::There(home)),
                        Whereabouts::Later => {
                            let patience_ms = live.table.facts().policy.hold.ms_max;
                            if self.clock.now_ms() >= since_ms + u64::from(patience_ms) {
                                return Err(Failure::GateUnavailable);
                            }
                            tokio::time::sleep(ASK_AGAIN).await;
                        }
                    }
                    *held += Duration::from_millis(self.clock.now_ms().saturating_sub(now_ms));
                }
                Admission::Moved(home) if !seat.guards(live.table.facts(), home.zone, who.key) => {
                    return Ok(LetIn::There(home));
                }
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
                // A lease that lapsed is renewed, and what a former life left is settled, within
                // moments: most requests can wait that long.
                Admission::Refused(refusal @ (Refused::NoLease | Refused::NotOwner))
                    if !seat.is_solo() =>
                {
                    let since_ms = *since_ms.get_or_insert(now_ms);
                    let patience_ms = live.table.facts().policy.hold.ms_max;
                    if now_ms >= since_ms + u64::from(patience_ms) {
                        return Err(refused(refusal));
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                    *held += ASK_AGAIN;
                }
                Admission::Refused(refusal) => return Err(refused(refusal)),
            }
        }
    }
}

impl Edge {
    async fn ask_neighbours(&self, zone: ZoneId, key: SessionKey) -> Whereabouts {
        match &self.parts.cessions {
            Some(cessions) => cessions.ask(zone, key).await,
            None => Whereabouts::Later,
        }
    }
}

/// Holds the request's body to its service's bounds.
fn bound(client: &mut Downstream, exchange: &mut Exchange, service: &Service) {
    exchange.body = BodyCount::new(service.limits.body_bytes_max);
    let pause = Duration::from_millis(service.limits.client_timeout_ms.into());
    client.set_read_timeout(Some(pause));
}

/// Lets a request that names itself pass once, where its service wants that.
fn once(head: &RequestHeader, taken: &Taken, permit: &mut Permit) -> Result<(), Failure> {
    let wanted = taken.service().is_some_and(|service| service.idempotency);
    let key = head.headers.get(IDEMPOTENCY_KEY).filter(|_| wanted && !head.method.is_safe());
    let Some(key) = key else { return Ok(()) };
    if key.len() > KEY_BYTES_MAX {
        return Err(Failure::KeyTooLong);
    }
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match permit.enter(RequestName::new(key.as_bytes(), head.method.as_str(), target)) {
        Named::New => Ok(()),
        Named::UnderWay => Err(Failure::KeyUnderWay),
        Named::Executed(status) => Err(Failure::KeyExecuted(status)),
        Named::Unknown => Err(Failure::KeyUnknown),
        Named::Reused => Err(Failure::KeyReused),
    }
}

fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::HoldFull => Failure::HoldFull,
        Refused::HoldOver => Failure::HoldTimeout,
        Refused::NotOwner | Refused::NoLease | Refused::RosterFull => Failure::GateUnavailable,
    }
}
