//! The giving side: a gate that was in the zone before answers one that has joined.

use std::sync::Arc;

use bytes::Bytes;
use homing_session::{dedup::DedupWindow, roster};
use homing_wire::{
    LinkFrame, SessionKey, UndoneReason, ZoneId, limits,
    link::{Cede, CedeOf, Cession, CessionKind, Given},
};

use super::Cessions;
use crate::{
    handoff::link::frames::{self, Framed},
    live::Live,
    seat::GateSeat,
};

/// Sessions looked at for one page.
const PAGE: usize = 512;

type Refuse = (UndoneReason, String);

impl Cessions {
    /// Serves one stream to its end. `peer` has the names in the asking gate's certificate.
    pub(crate) async fn serve(&self, cede: Cede, peer: &[String], mut send: quinn::SendStream) {
        let frames = match self.may_ask(&cede, peer).await {
            Ok((live, zone)) => match cede.of {
                CedeOf::Session(key) => match self.give(&live, zone, key, &cede.gate) {
                    Some(framed) => vec![framed],
                    None => vec![refusal(not_drawn(&cede.gate))],
                },
                CedeOf::Page(cursor) => self.give_page(&live, zone, cursor, &cede.gate),
            },
            Err(refused) => {
                tracing::info!(gate = cede.gate, detail = refused.1, "a cession is refused");
                vec![refusal(refused)]
            }
        };
        for framed in frames {
            // Whoever is gone asks again, and is given the same.
            if frames::write(&mut send, &framed, &Default::default(), None).await.is_err() {
                return;
            }
        }
        let _ = send.finish();
        let _ = tokio::time::timeout(super::ANSWER, send.stopped()).await;
    }

    /// Whether a gate is what it says, by a table no older than its own.
    async fn may_ask(&self, cede: &Cede, peer: &[String]) -> Result<(Arc<Live>, ZoneId), Refuse> {
        let stale = |detail: String| (UndoneReason::Stale, detail);
        let seat = self.seat().ok_or_else(|| stale("it is no gate".to_owned()))?;
        if !peer.contains(&cede.gate) {
            return Err(stale(format!("the certificate is not that of {}", cede.gate)));
        }
        if !self.table_is_at(cede.table).await {
            return Err(stale(format!("the table {} is not here yet", cede.table)));
        }
        let live = self.live.load_full();
        let zone = seat.zone_in(live.table.facts()).filter(|_| seat.zone == cede.zone);
        let zone = zone.ok_or_else(|| {
            stale(format!("the gate {} guards {}, not {}", seat.name, seat.zone, cede.zone))
        })?;
        if !self.is_listed(&live, &cede.gate, cede) {
            return Err(stale(format!("the zone has no such life of {}", cede.gate)));
        }
        Ok((live, zone))
    }

    fn give(&self, live: &Live, zone: ZoneId, key: SessionKey, to: &str) -> Option<Framed> {
        let coming =
            self.seat().is_some_and(|seat| seat.is_coming(key)) || self.replicas.keeper().has(key);
        let cession = self.gates.cede(zone, key, to, coming)?;
        let (kind, window) = match cession {
            roster::Cession::Given(given) => {
                self.metrics.ceded.inc();
                let (given, window) = told(live, given);
                (CessionKind::Given(given), window)
            }
            roster::Cession::GivenBefore(given) => {
                let (given, window) = told(live, given);
                (CessionKind::GivenBefore(given), window)
            }
            roster::Cession::Here => (CessionKind::Here, Bytes::new()),
            roster::Cession::Absent => (CessionKind::Absent, Bytes::new()),
            roster::Cession::Away(home) => {
                let zone = live.table.facts().zones.get(home.zone.index())?.name.clone();
                (CessionKind::Away { zone, epoch: home.epoch }, Bytes::new())
            }
        };
        let cession = Cession { key, kind, table: live.table.version() };
        let frame = LinkFrame::Cession(Box::new(cession));
        Some(Framed { frame, bytes: Bytes::new(), window })
    }

    /// Gives what can be given of a page of all sessions known here.
    fn give_page(&self, live: &Live, zone: ZoneId, cursor: u64, to: &str) -> Vec<Framed> {
        let (page, next) = self.gates.page_of(zone, cursor, PAGE);
        let mut left = 0;
        let mut frames = Vec::new();
        let own = |key| self.seat().is_some_and(|seat| seat.draws(key, &seat.name));
        for session in page {
            let Some(framed) = self.give(live, zone, session.key, to) else {
                // Not the asker's, but it would be if the third gate that is drawn for it died
                // before it has taken it over.
                let here = !own(session.key) && self.gates.answers_for(zone, session.key);
                left += u64::from(here);
                continue;
            };
            let LinkFrame::Cession(cession) = &framed.frame else { continue };
            match cession.kind {
                CessionKind::Given(_) | CessionKind::GivenBefore(_) => frames.push(framed),
                CessionKind::Here => left += 1,
                CessionKind::Away { .. } | CessionKind::Absent => {}
            }
        }
        if next.is_none() {
            // What may still come here, by a handoff or by a succession.
            left += self.seat().map_or(0, GateSeat::coming_for_others);
            left += self.replicas.keeper().count(|key| !own(key));
        }
        let table = live.table.version();
        frames.push(Framed::bare(LinkFrame::CededPage { next, left, table }));
        frames
    }
}

fn told(live: &Live, given: roster::Given) -> (Given, Bytes) {
    let facts = live.table.facts();
    let service = facts.services.get(given.service.index());
    let place = given.place.and_then(|place| facts.places.get(place.index()));
    let window = given.window.as_ref().map(DedupWindow::export).unwrap_or_default();
    let given = Given {
        epoch: given.epoch,
        tenant: service.map(|service| service.tenant.clone()).unwrap_or_default(),
        service: service.map(|service| service.name.clone()).unwrap_or_default(),
        place: place.map(|place| place.name.clone()).unwrap_or_default(),
        window_bytes: window.len() as u32,
    };
    (given, window.into())
}

fn not_drawn(gate: &str) -> Refuse {
    (UndoneReason::Stale, format!("{gate} is not drawn for the session"))
}

fn refusal((why, detail): Refuse) -> Framed {
    Framed::bare(LinkFrame::Refused { why, detail: limits::detail(detail) })
}
