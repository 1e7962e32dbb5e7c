//! One copy of a session's state on its way to the gate that keeps the replica.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use homing_wire::{
    Epoch, Incarnation, LinkFrame, ServiceId, SessionKey, ZoneId,
    link::{Mirror, Payload},
};

use super::Parts;
use crate::{
    handoff::link::frames::{self, Framed},
    state::{CopyKind, StateCopy},
};

/// How often an instant without a named request in execution is tried for.
const REST_LOOK: Duration = Duration::from_millis(2);
/// How long it is tried for; then the owner tries anew.
const REST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait for the keeper's word once everything is written.
const WORD_WAIT: Duration = Duration::from_secs(3);

/// What is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) key: SessionKey,
    pub(super) epoch: Epoch,
    pub(super) service: ServiceId,
    pub(super) from: ZoneId,
    pub(super) to: ZoneId,
    /// What the keeper has, as the owner counts and as the store does; zeros for nothing.
    pub(super) since: (u64, u64),
    /// The owner's count as of now.
    pub(super) version: u64,
    /// Whether requests of the service name themselves, so that state and window must agree.
    pub(super) named: bool,
    /// Whether it may wait for users.
    pub(super) paced: bool,
}

/// What the keeper has said to it.
#[derive(Debug)]
pub(super) struct Sent {
    /// The gate that keeps it.
    pub(super) gate: String,
    /// Its life.
    pub(super) life: Incarnation,
    /// What it has, as the owner counts.
    pub(super) kept: u64,
    /// What was sent: the owner's count and the store's.
    pub(super) version: (u64, u64),
    /// Bytes of the copy.
    pub(super) bytes: u64,
}

/// Copies and sends; the fault in words.
pub(super) async fn send(parts: Arc<Parts>, sending: Sending) -> Result<Sent, String> {
    let (copy, window) = instant(&parts, &sending).await?;
    let (gate, mirror) = whose(&parts, &sending).ok_or("the zone has no gate")?;
    let payload = payload(sending.since.1, copy.as_ref());
    let bytes = copy.as_ref().map_or_else(Bytes::new, |copy| copy.bytes.clone());
    let replica = Framed {
        frame: LinkFrame::Replica {
            payload,
            window_bytes: window.len() as u32,
            since: sending.since.0,
            version: sending.version,
        },
        bytes,
        window: window.into(),
    };
    let mut stream = parts.fleet.link.stream(&gate).await.map_err(|down| down.to_string())?;
    let governor = sending.paced.then_some(&parts.fleet.governor);
    let told = |fault: frames::StreamFault| fault.to_string();
    let mirror = Framed::bare(LinkFrame::Mirror(Box::new(mirror)));
    frames::write(&mut stream.send, &mirror, &Default::default(), None).await.map_err(told)?;
    frames::write(&mut stream.send, &replica, &Default::default(), governor).await.map_err(told)?;
    let word = tokio::time::timeout(WORD_WAIT, frames::read(&mut stream.receive, 0));
    let word = word.await.map_err(|_| "no word within 3 s".to_owned())?.map_err(told)?;
    let _ = stream.send.finish();
    match word.frame {
        LinkFrame::Kept { incarnation, version } => Ok(Sent {
            gate: gate.name,
            life: incarnation,
            kept: version,
            version: (sending.version, payload.version),
            bytes: payload.bytes,
        }),
        LinkFrame::Refused { detail, .. } => Err(format!("{}: {detail}", gate.name)),
        other => Err(format!("{} said {other:?}", gate.name)),
    }
}

/// State and dedup window of one instant at which no named request is in execution: who inherited
/// a write without its name would make it again.
async fn instant(parts: &Parts, sending: &Sending) -> Result<(Option<StateCopy>, Vec<u8>), String> {
    let live = parts.live.load_full();
    let services = &live.table.facts().services;
    let service = services.get(sending.service.index()).ok_or("the service is gone")?;
    let store = parts.stores.of(service).ok_or("the service keeps no state")?;
    let site = parts.stores.site(&live, sending.service, sending.from, sending.key);
    let (zone, key) = (sending.from, sending.key);
    let export = || store.export(&site, key, sending.since.1);
    if !sending.named {
        let copy = export().await.map_err(|fault| fault.to_string())?;
        return Ok((copy, Vec::new()));
    }
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < REST_WAIT {
        if let Some(before) = parts.gates.window_at_rest(zone, key) {
            let copy = export().await.map_err(|fault| fault.to_string())?;
            if parts.gates.window_at_rest(zone, key).as_ref() == Some(&before) {
                return Ok((copy, before));
            }
        }
        tokio::time::sleep(REST_LOOK).await;
    }
    Err("the session is never at rest".to_owned())
}

/// The gate that is to keep it, and what to open the stream with, by the newest table.
fn whose(parts: &Parts, sending: &Sending) -> Option<(homing_wire::Gate, Mirror)> {
    let live = parts.live.load();
    let facts = live.table.facts();
    let to = facts.zones.get(sending.to.index())?;
    let service = facts.services.get(sending.service.index())?;
    let mirror = Mirror {
        key: sending.key,
        epoch: sending.epoch,
        from: facts.zones.get(sending.from.index())?.name.clone(),
        to: to.name.clone(),
        tenant: service.tenant.clone(),
        service: service.name.clone(),
    };
    Some((to.gate_of(sending.key)?.clone(), mirror))
}

fn payload(since: u64, copy: Option<&StateCopy>) -> Payload {
    Payload {
        since,
        version: copy.map_or(0, |copy| copy.version),
        whole: copy.is_none_or(|copy| copy.kind == CopyKind::Full),
        present: copy.is_some(),
        bytes: copy.map_or(0, |copy| copy.bytes.len() as u64),
    }
}
