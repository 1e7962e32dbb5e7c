//! The gate of every zone, in one process: each is a row of shards, each shard a small mutex around
//! a pure roster. A request locks one shard twice, once on its way in and once on its way out;
//! nothing else of it is shared but atomics.

use std::sync::{Arc, OnceLock};

use homing_session::{
    gate::{Event, Ownership, Reaction, Refusal, Tenure, Verdict},
    hold::{HoldRefused, Waiting},
    roster::{
        Activity, Admit, Begin, Life, Roster, RosterCounts, SessionSummary, TransitionRefused, Who,
    },
};
use homing_wire::{
    Directive, Epoch, Incarnation, LeaseLost, ServiceId, SessionKey, ZONES_MAX, ZoneId, table::Home,
};
use parking_lot::Mutex;

use crate::{
    clock::Clock,
    hold::{HoldTicket, Holds},
    live::Live,
    seat::{GateSeat, Seat},
    telemetry::{Metrics, Recorder, StatusClass},
};

mod change;
mod defend;
mod once;
mod sessions;
#[cfg(test)]
mod tests;

pub use once::{Named, RequestName};
pub use sessions::SessionPage;

/// Shards of one zone's gate. A power of two.
const SHARDS: usize = 64;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();

/// The gates of all zones.
#[derive(Debug)]
pub struct Gates {
    zones: Box<[OnceLock<ZoneGate>]>,
    sessions_per_shard: usize,
    /// Of a process that is everything; a gate's is its seat's.
    incarnation: Incarnation,
    seat: Arc<Seat>,
    holds: Holds,
    recorder: Arc<Recorder>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct ZoneGate {
    shards: Box<[Mutex<Roster>]>,
}

/// What a gate says to a request.
#[derive(Debug)]
pub enum Admission {
    /// Send it to an endpoint of the zone.
    Go(Permit),
    /// Wait, then ask again.
    Park(HoldTicket),
    /// Another gate of the zone may still have its session: ask those, then here again.
    Ask,
    /// It was not executed; ask at its home.
    Moved(Home),
    /// It was not executed and will not be.
    Refused(Refused),
}

/// Why a gate refuses a request. All pass: `Retry-After` is right for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The hold is full.
    HoldFull,
    /// It was held as long as it may be, and its session is frozen again.
    HoldOver,
    /// Nobody here knows where the session lives.
    NotOwner,
    /// The gate may not act at present.
    NoLease,
    /// The gate remembers as many sessions as it may, and none can be forgotten.
    RosterFull,
}

/// What is known of a request's session when its gate is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brought {
    /// The epoch at which it was told that its session lives here: if that grant is on its way, the
    /// request waits for it instead of being sent back.
    pub least: Epoch,
    /// The gates that were in the zone before have been asked, and do not have it.
    pub asked: bool,
}

/// What an answered request came to.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// The response's status.
    pub status: u16,
    /// Response bytes sent to the client.
    pub bytes: u64,
    /// Time to the response head, microseconds.
    pub latency_us: u64,
    /// Whether the status is the app's.
    pub by_app: bool,
}

/// A request in execution. It is counted in flight until this is finished or dropped.
#[derive(Debug)]
pub struct Permit {
    gates: Arc<Gates>,
    zone: ZoneId,
    key: SessionKey,
    epoch: Epoch,
    /// Whether its service is served on without a lease.
    serves_on: bool,
    /// The name it goes by in its session's dedup window, if it has one.
    entered: Option<once::Entered>,
    finished: bool,
}

impl Gates {
    /// Gates that remember nothing yet, for at most `sessions_per_zone` sessions each.
    #[must_use]
    pub fn new(
        sessions_per_zone: u32,
        incarnation: Incarnation,
        recorder: Arc<Recorder>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            zones: (0..ZONES_MAX).map(|_| OnceLock::new()).collect(),
            sessions_per_shard: (sessions_per_zone as usize).div_ceil(SHARDS),
            incarnation,
            seat: Arc::default(),
            holds: Holds::default(),
            recorder,
            metrics,
        }
    }

    /// The same, of a process that is not everything.
    #[must_use]
    pub fn seated(self, seat: Arc<Seat>) -> Self {
        Self { seat, ..self }
    }

    /// What this process is.
    #[must_use]
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// This life of the process.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.seat.gate().map_or(self.incarnation, GateSeat::incarnation)
    }

    /// Forgets every session: the life that knew them was declared dead.
    pub fn forget_all(&self) {
        for (zone, gate) in (0..).zip(&self.zones) {
            for shard in gate.get().iter().flat_map(|gate| &gate.shards) {
                *shard.lock() = Roster::new(ZoneId(zone), self.sessions_per_shard);
            }
        }
    }

    /// The queues of requests that wait.
    #[must_use]
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Asks a zone's gate to let a request in. `waiting` says what holding it means.
    pub fn admit(
        self: &Arc<Self>,
        live: &Live,
        zone: ZoneId,
        who: Who,
        waiting: Waiting,
        now_ms: u64,
    ) -> Admission {
        self.admit_told(live, zone, who, Brought::default(), waiting, now_ms)
    }

    /// As [`Self::admit`], for a request of which more is known.
    pub fn admit_told(
        self: &Arc<Self>,
        live: &Live,
        zone: ZoneId,
        who: Who,
        Brought { least, asked }: Brought,
        waiting: Waiting,
        now_ms: u64,
    ) -> Admission {
        let Some(shard) = self.shard(zone, who.key) else {
            return Admission::Refused(Refused::NotOwner);
        };
        if self.seat.inherits(who.key) {
            return Admission::Refused(Refused::NotOwner);
        }
        let serves_on = serves_on(live, who.service);
        let may_act = self.may_act(serves_on, now_ms);
        let (admit, tenure) = {
            let mut shard = shard.lock();
            // Asked under the lock: whoever gives a session away looks at the zone's gates there.
            let begin = || self.seat.begin(who.key, asked);
            let admit = shard.admit_if(who, &live.placement, may_act, begin, now_ms);
            let is_plain = matches!(admit, Admit::Execute { .. }) || self.seat.is_solo();
            (admit, if is_plain { None } else { shard.ownership(who.key) })
        };
        let tenure = tenure.map(|ownership| (ownership.tenure(), ownership.epoch()));
        match (admit, tenure) {
            // Not executed and never to be, at this epoch or below: the target may be asked while
            // the grant is on its way, and holds the request until it has it.
            (Admit::Park, Some((Tenure::Granted { to, .. }, epoch))) => {
                self.metrics.redirects.inc();
                return Admission::Moved(Home { zone: to, epoch });
            }
            (Admit::Moved(_) | Admit::NotOwner, Some((Tenure::Staged { epoch, .. }, _)))
                if least >= epoch =>
            {
                let limits = &live.table.facts().policy.hold;
                return self.parked(self.holds.enter(who.key, waiting, limits, now_ms));
            }
            // Its table is newer than this one, or a gate that was here before has taken it over.
            (Admit::Moved(home), _)
                if home.epoch < least && self.seat.begin(who.key, asked) == Begin::Ask =>
            {
                return Admission::Ask;
            }
            _ => {}
        }
        match admit {
            Admit::Execute { epoch } => {
                self.recorder.started(zone);
                let gates = Arc::clone(self);
                Admission::Go(Permit {
                    gates,
                    zone,
                    key: who.key,
                    epoch,
                    serves_on,
                    entered: None,
                    finished: false,
                })
            }
            Admit::Park => {
                let limits = &live.table.facts().policy.hold;
                self.parked(self.holds.enter(who.key, waiting, limits, now_ms))
            }
            Admit::Moved(home) => {
                self.metrics.redirects.inc();
                Admission::Moved(home)
            }
            Admit::Unasked => Admission::Ask,
            Admit::NotOwner => Admission::Refused(Refused::NotOwner),
            Admit::NoLease => Admission::Refused(Refused::NoLease),
            Admit::Full => Admission::Refused(Refused::RosterFull),
        }
    }

    /// Whether a gate may execute: it holds a lease, or goes on without one for a service that
    /// would rather be served twice than not at all.
    fn may_act(&self, serves_on: bool, now_ms: u64) -> bool {
        self.seat.lease_valid(now_ms) || (serves_on && self.seat.held_lease())
    }

    fn parked(&self, entered: Result<HoldTicket, HoldRefused>) -> Admission {
        match entered {
            Ok(ticket) => {
                self.metrics.holds.inc();
                Admission::Park(ticket)
            }
            Err(HoldRefused::Time) => {
                self.metrics.hold_timeouts.inc();
                Admission::Refused(Refused::HoldOver)
            }
            Err(HoldRefused::Session | HoldRefused::Process | HoldRefused::Bytes) => {
                self.metrics.hold_refusals.inc();
                Admission::Refused(Refused::HoldFull)
            }
        }
    }

    /// Applies an ownership event at a zone's gate.
    ///
    /// # Errors
    /// The machine's refusal; a full roster counts as out of place.
    pub fn step(
        &self,
        live: &Live,
        zone: ZoneId,
        key: SessionKey,
        event: Event,
        now_ms: u64,
    ) -> Result<Reaction, Refusal> {
        let shard = self.shard(zone, key).ok_or(Refusal::OutOfPlace)?;
        let lease_valid = self.seat.lease_valid(now_ms);
        let life = Life { incarnation: self.meant(event), lease_valid };
        shard.lock().transition(key, event, &live.placement, life, now_ms).map_err(|refused| {
            match refused {
                TransitionRefused::Illegal(illegal) => illegal.why,
                TransitionRefused::Full => Refusal::OutOfPlace,
            }
        })
    }

    /// The life by which an event is judged: solo directives name none (zero), since source and
    /// target live and die together.
    fn meant(&self, event: Event) -> Incarnation {
        let named = match event {
            Event::Stage { to_incarnation, .. }
            | Event::Activate { to_incarnation, .. }
            | Event::FenceQuery { to_incarnation, .. } => to_incarnation,
            Event::Own { incarnation, .. } => incarnation,
            _ => self.incarnation(),
        };
        if named == Incarnation(0) && self.seat.is_solo() { named } else { self.incarnation() }
    }

    /// Where a session lives: what its gate knows, else what the table says.
    #[must_use]
    pub fn home(&self, live: &Live, key: SessionKey) -> Home {
        let mut home = live.home(key);
        // Each hop rises in epoch; more than a few would be a session moved while we look.
        for _ in 0..4 {
            let Some(known) = self.ownership(home.zone, key) else { return home };
            if known.is_home() {
                return Home { zone: home.zone, epoch: known.epoch().max(home.epoch) };
            }
            match known.admit(true) {
                Verdict::Moved { zone, epoch } if epoch > home.epoch => home = Home { zone, epoch },
                _ => return home,
            }
        }
        home
    }

    /// Makes a session that was just handed over known to its new gate as what it is, since the
    /// handoff itself names no service.
    pub fn introduce(&self, live: &Live, zone: ZoneId, who: Who, now_ms: u64) {
        let Some(shard) = self.shard(zone, who.key) else { return };
        let mut shard = shard.lock();
        let lease_valid = self.seat.lease_valid(now_ms);
        if let Admit::Execute { .. } = shard.admit(who, &live.placement, lease_valid, now_ms) {
            shard.finish(who.key, None, now_ms);
        }
    }

    /// What a zone's gate knows of a session's ownership.
    #[must_use]
    pub fn ownership(&self, zone: ZoneId, key: SessionKey) -> Option<Ownership> {
        self.known(zone, key)?.lock().ownership(key)
    }

    /// What a zone's gate remembers of a session.
    #[must_use]
    pub fn session(&self, zone: ZoneId, key: SessionKey) -> Option<SessionSummary> {
        self.known(zone, key)?.lock().session(key)
    }

    /// Requests in execution at the source of a directive.
    #[must_use]
    pub fn in_flight_of(&self, directive: &Directive) -> u32 {
        self.in_flight(directive.from, directive.key)
    }

    /// Requests of a session in execution in a zone.
    #[must_use]
    pub fn in_flight(&self, zone: ZoneId, key: SessionKey) -> u32 {
        self.known(zone, key).map_or(0, |shard| shard.lock().in_flight(key))
    }

    /// Whether a handoff may cut a session now.
    #[must_use]
    pub fn may_cut(&self, zone: ZoneId, key: SessionKey, pause_ms: u64, now_ms: u64) -> bool {
        self.known(zone, key).is_none_or(|shard| shard.lock().may_cut(key, pause_ms, now_ms))
    }

    /// What a zone's gate has counted, over all shards.
    #[must_use]
    pub fn counts(&self, zone: ZoneId) -> RosterCounts {
        let mut sum = RosterCounts::default();
        for shard in self.shards(zone) {
            let counts = shard.lock().counts();
            sum.homes += counts.homes;
            sum.in_flight += counts.in_flight;
            sum.ended += counts.ended;
            sum.evicted += counts.evicted;
            sum.turned_away += counts.turned_away;
        }
        sum
    }

    fn shards(&self, zone: ZoneId) -> &[Mutex<Roster>] {
        let gate = self.zones.get(zone.index()).and_then(OnceLock::get);
        gate.map(|gate| &*gate.shards).unwrap_or_default()
    }

    /// The shard of a session, if the zone's gate was ever asked for one.
    fn known(&self, zone: ZoneId, key: SessionKey) -> Option<&Mutex<Roster>> {
        self.shards(zone).get(shard_of(key))
    }

    fn shard(&self, zone: ZoneId, key: SessionKey) -> Option<&Mutex<Roster>> {
        let gate = self.zones.get(zone.index())?.get_or_init(|| {
            let roster = || Mutex::new(Roster::new(zone, self.sessions_per_shard));
            ZoneGate { shards: (0..SHARDS).map(|_| roster()).collect() }
        });
        gate.shards.get(shard_of(key))
    }
}

fn serves_on(live: &Live, service: ServiceId) -> bool {
    let service = live.table.facts().services.get(service.index());
    service.is_some_and(|service| service.lease_lost == LeaseLost::Serve)
}

/// The low half of a key is uniform; its top bits pick the shard, the roster's own hash uses all.
fn shard_of(key: SessionKey) -> usize {
    (key.low64() >> (u64::BITS - SHARD_BITS)) as usize
}

impl Permit {
    /// The zone that executes.
    #[must_use]
    pub fn zone(&self) -> ZoneId {
        self.zone
    }

    /// The epoch to name to the app.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether what was executed may be told as done. A gate that lost its lease meanwhile, or
    /// its session, may have executed beside another: then nobody must take it for done.
    #[must_use]
    pub fn may_answer(&self) -> bool {
        let gates = &self.gates;
        if gates.seat.is_solo() {
            return true;
        }
        let owned = gates.ownership(self.zone, self.key);
        let still = owned.is_some_and(|owned| owned.is_home() && owned.epoch() == self.epoch);
        still && gates.may_act(self.serves_on, Clock::process().now_ms())
    }

    /// The request was answered.
    pub fn finish(mut self, finish: Finish) {
        let latency_us = finish.latency_us.min(u32::MAX.into()) as u32;
        let status = finish.by_app.then_some(finish.status);
        self.count_out(Some(Activity { bytes: finish.bytes, latency_us }), status);
        let class = StatusClass::of(finish.status);
        self.gates.recorder.finished(self.zone, class, finish.bytes, finish.latency_us);
    }

    fn count_out(&mut self, activity: Option<Activity>, status: Option<u16>) {
        self.finished = true;
        let Some(shard) = self.gates.known(self.zone, self.key) else { return };
        let now_ms = Clock::process().now_ms();
        let finished = {
            let mut shard = shard.lock();
            // With the count, under one lock: what a cut finds drained, it finds settled.
            if let (Some(_), Some(window)) = (&self.entered, shard.dedup_mut(self.key)) {
                self.settle(window, status);
            }
            shard.finish(self.key, activity, now_ms)
        };
        if finished.drained {
            self.gates.holds.drained(self.key);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.finished {
            self.count_out(None, None);
            self.gates.recorder.finished(self.zone, StatusClass::ServerError, 0, 0);
        }
    }
}
