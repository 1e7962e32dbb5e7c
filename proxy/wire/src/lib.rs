//! What crosses Homing's processes, and nothing else: a type belongs here only if its bytes travel
//! between proxy, gate, control and the operator's command. Pure: no I/O, no clock.

pub mod chunk;
mod codec;
pub mod delta;
pub mod directive;
pub mod document;
pub mod envelope;
pub mod ids;
pub mod limits;
pub mod link;
pub mod message;
pub mod policy;
pub mod prewarm;
pub mod record;
pub mod redis;
pub mod repair;
pub mod service;
pub mod session_key;
pub mod table;
pub mod zone;

/// The generated messages. Only the codec of this crate and the gRPC shells look at them.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/homing.v1.rs"));
}

pub use codec::{DecodeFault, InvalidField};
pub use delta::{BucketRun, Delta};

pub use directive::{Cut, Directive, MoveReason};
pub use ids::{
    BUCKETS, Bucket, DirectiveId, Epoch, Incarnation, PlaceId, ServiceId, Version, ZONES_MAX,
    ZoneId,
};
pub use link::LinkFrame;
pub use message::{Activated, Chunk, FromProxy, GateHello, Heir, Hello, NackReason, ToProxy};
pub use policy::{Act, CutLimits, HoldLimits, MoveLimits, Policy};
pub use prewarm::{HotListFault, HotObject};
pub use record::{
    HandoffFigures, Outcome, OutcomeEnd, RecordBatch, SessionActivity, UndoneReason, ZoneSample,
};
pub use redis::{KeyPattern, Redis, RedisFault, RedisUrl};
pub use repair::{Repair, RepairRefused};
pub use service::{
    CacheSpec, CookieSpec, HealthCheck, Hooks, KeySource, LeaseLost, LongLived, Match, SameSite,
    Service, SessionSource, StateSpec, Tier, TrafficLimits,
};
pub use session_key::{InvalidSessionKey, KeySecret, SessionKey};
pub use table::{Buckets, DeltaRefused, Facts, Home, PlacementTable, Sums, TableDraft, TableFault};
pub use zone::{Capacity, Endpoint, Gate, Intake, Location, Place, Price, UpstreamProtocol, Zone};
