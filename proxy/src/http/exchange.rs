//! What is known of one request while it is served: pingora's per-request context. Not a bag for
//! every phase to reach into: each field has one writer, named below, and is read by later phases.
//!
//! | field | written by |
//! |---|---|
//! | `arrived` | [`Exchange::new`] |
//! | `pace` | `on_connection_reuse` |
//! | `peer`, `trusted`, `tls`, `request_id`, `why` | `early_request_filter` |
//! | `taken` | `request_filter`, once the gate has let the request in |
//! | `spread`, `zones_left` | `request_filter`; `upstream_peer` uses zones up |
//! | `upstream`, `served_by`, `tried` | `upstream_peer`, and what ends the call |
//! | `body` | `request_body_filter` |
//! | `redirect` | `response_filter` on a gate's word; `error_while_proxy` uses it up |
//! | `head_at`, `status` | `response_filter`, or the writer of a failure |
//! | `failure` | [`Exchange::fail`], the first one stays |
//! | `ahead` | `early_request_filter`, for a fetch that nobody has asked for |
//! | `prewarmed` | `cache_hit_filter` |

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use homing_session::steer::SteerReason;
use homing_wire::{
    Epoch, Gate, PlaceId, Service, ServiceId, SessionKey, TrafficLimits, ZoneId, table::Home,
};

use super::{body::BodyCount, failure::Failure, hop::HOPS_MAX, key::KeyOrigin, warm::Ahead};
use crate::{endpoints::Upstream, gates::Permit, http::facts::EdgeFacts, listen::paced::Pace};

/// One request's context.
#[derive(Debug)]
pub struct Exchange {
    pub(super) arrived: Instant,
    /// What the client's connection is held to, if it is one of HTTP/1.
    pub(super) pace: Option<Arc<Pace>>,
    pub(super) peer: IpAddr,
    pub(super) trusted: bool,
    pub(super) tls: bool,
    pub(super) request_id: String,
    pub(super) why: bool,
    pub(super) taken: Option<Taken>,
    pub(super) upstream: Option<Arc<Upstream>>,
    /// The last endpoint asked, for the log.
    pub(super) served_by: Option<Arc<Upstream>>,
    pub(super) tried: Vec<Arc<Upstream>>,
    pub(super) spread: u64,
    pub(super) zones_left: Vec<ZoneId>,
    pub(super) body: BodyCount,
    /// Where the gate just asked says that the session lives.
    pub(super) redirect: Option<Home>,
    pub(super) head_at: Option<Instant>,
    pub(super) status: u16,
    pub(super) failure: Option<Failure>,
    /// The fetch ahead of a session that this is, if it is no one's request.
    pub(super) ahead: Option<Arc<Ahead>>,
    /// Whether the answer is one that was fetched ahead, and this the first user of it.
    pub(super) prewarmed: bool,
}

/// What a request is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An endpoint: its session's zone, if it has one, is guarded here.
    Endpoint,
    /// The gate of its zone.
    Gate,
}

/// A request that was let in, or is to be let in by a gate elsewhere.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) facts: Arc<EdgeFacts>,
    pub(super) service: ServiceId,
    pub(super) session: Option<(SessionKey, KeyOrigin)>,
    pub(super) cookie: Option<String>,
    pub(super) zone: ZoneId,
    pub(super) way: Way,
    /// The gate of `zone` that still has the session, where that is not the one drawn for it.
    pub(super) near: Option<String>,
    pub(super) place: Option<PlaceId>,
    /// The epoch at which the session is known to live, or be about to live, in `zone`.
    pub(super) least: Epoch,
    /// Gates that were asked, here and before.
    pub(super) hops: u8,
    pub(super) reason: SteerReason,
    /// Counts the request in flight at its gate until it is dropped or finished; `None` for a
    /// request without a session, which no gate guards, and for one that a gate elsewhere counts.
    pub(super) permit: Option<Permit>,
    /// Time spent waiting out a freeze.
    pub(super) held: Duration,
}

impl Taken {
    pub(super) fn service(&self) -> Option<&Service> {
        self.facts.facts.services.get(self.service.index())
    }

    /// The gate that a session's requests are sent to, if they are sent to one.
    pub(super) fn gate(&self, key: SessionKey) -> Option<(&Gate, Arc<Upstream>)> {
        let near = self.near.as_deref().and_then(|name| self.facts.gate_named(self.zone, name));
        near.or_else(|| self.facts.gate(self.zone, key))
    }

    pub(super) fn limits(&self) -> TrafficLimits {
        self.service().map_or_else(TrafficLimits::default, |service| service.limits)
    }
}

impl Exchange {
    /// Longest freeze of its session, milliseconds.
    pub(super) fn freeze_ms(&self) -> u64 {
        self.taken.as_ref().map_or(0, |taken| taken.facts.facts.policy.cut.freeze_ms_max).into()
    }

    /// What each of the two halves of a cut may take, the client's and then the app's: together
    /// a little less than the freeze.
    pub(super) fn half_freeze(&self) -> Duration {
        Duration::from_millis(self.freeze_ms() * 2 / 5)
    }

    pub(super) fn new() -> Self {
        Self {
            arrived: Instant::now(),
            pace: None,
            peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            trusted: false,
            tls: false,
            request_id: String::new(),
            why: false,
            taken: None,
            upstream: None,
            served_by: None,
            tried: Vec::new(),
            spread: 0,
            zones_left: Vec::new(),
            body: BodyCount::new(u64::MAX),
            redirect: None,
            head_at: None,
            status: 0,
            failure: None,
            ahead: None,
            prewarmed: false,
        }
    }

    /// Ends the client's connection where it stands, with whatever was not written. False if that
    /// cannot be done without ending others' requests: it is one of HTTP/2.
    pub(super) fn sever(&self) -> bool {
        self.pace.as_ref().map(|pace| pace.sever()).is_some()
    }

    /// Whether the request goes on to a gate.
    pub(super) fn is_for_gate(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.way == Way::Gate)
    }

    /// Follows the session to where a gate says it lives, to be asked there again. False if it has
    /// been sent from gate to gate as often as it may.
    pub(super) fn follow(&mut self, home: Home) -> bool {
        let Some(taken) = &mut self.taken else { return false };
        if taken.hops >= HOPS_MAX {
            return false;
        }
        taken.hops += 1;
        (taken.zone, taken.least) = (home.zone, home.epoch);
        self.tried.clear();
        self.body = self.body.restarted();
        true
    }

    /// Counts the first try of a request, against which retries are measured.
    pub(super) fn first_try(&self) {
        if let (true, Some(taken)) = (self.tried.is_empty(), &self.taken) {
            taken.facts.endpoints.first_try(taken.zone);
        }
    }

    /// Notes why the request fails; what failed first is the cause of what fails later.
    pub(super) fn fail(&mut self, failure: Failure) -> Failure {
        *self.failure.get_or_insert(failure)
    }

    /// Microseconds from the request's arrival to `until`.
    pub(super) fn us_to(&self, until: Instant) -> u64 {
        until.saturating_duration_since(self.arrived).as_micros() as u64
    }
}
