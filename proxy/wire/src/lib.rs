//! What crosses Homing's processes, and nothing else: a type belongs here only if its bytes travel
//! between proxy, gate, control and the operator's command. Pure: no I/O, no clock.

pub mod directive;
pub mod ids;
pub mod limits;
pub mod policy;
pub mod record;
pub mod service;
pub mod session_key;
pub mod zone;

pub use directive::{Cut, Directive, MoveReason};
pub use ids::{
    BUCKETS, Bucket, DirectiveId, Epoch, Incarnation, PlaceId, ServiceId, Version, ZONES_MAX, ZoneId,
};
pub use policy::{Act, CutLimits, HoldLimits, MoveLimits, Policy};
pub use record::{
    HandoffFigures, Outcome, OutcomeEnd, RecordBatch, SessionActivity, UndoneReason, ZoneSample,
};
pub use service::{
    CookieSpec, HealthCheck, Hooks, KeySource, LongLived, Match, SameSite, Service, SessionSource,
    StateSpec, TrafficLimits,
};
pub use session_key::{InvalidSessionKey, KeySecret, SessionKey};
pub use zone::{Capacity, Endpoint, Intake, Location, Place, Price, UpstreamProtocol, Zone};
