//! A call to an upstream for as long as a leg needs it, counted out however its leg ends.

use std::sync::Arc;

use homing_wire::{ServiceId, ZoneId};

use crate::{
    clock::Clock,
    endpoints::{Call, Upstream},
    http::{exchange::Exchange, facts::EdgeFacts},
};

/// A call that was begun. A leg has many ways out, and is itself dropped when the proxy stops: an
/// upstream that one of them forgot to count out would look busy for ever.
pub(super) struct Underway {
    upstream: Arc<Upstream>,
    /// As they were when it began: the tunnel may be elsewhere by its end.
    place: Option<(Arc<EdgeFacts>, ServiceId, ZoneId)>,
    clock: Clock,
    end: Call,
}

impl Underway {
    /// Begins a call of this request.
    pub(super) fn begin(exchange: &Exchange, upstream: Arc<Upstream>, clock: Clock) -> Self {
        let taken = exchange.taken.as_ref();
        let place = taken.map(|taken| (Arc::clone(&taken.facts), taken.service, taken.zone));
        if place.is_some() {
            upstream.begin();
        }
        Self { upstream, place, clock, end: Call::Dropped }
    }

    /// The upstream has answered: it is well, however long the leg goes on.
    pub(super) fn answered(&mut self) {
        self.end = Call::Answered;
    }

    /// The upstream did not answer as it should.
    pub(super) fn failed(mut self) {
        self.end = Call::Failed;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some((facts, service, zone)) = &self.place {
            let now_ms = self.clock.now_ms();
            facts.endpoints.end(*service, *zone, &self.upstream, self.end, now_ms);
        }
    }
}
