//! A service: which requests are its, where its session key comes from, where its session state
//! lives, and the bounds its traffic is held to. Times are milliseconds, sizes bytes.

use crate::{ids::ZoneId, redis::Redis, zone::Endpoint};

/// One application behind the ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The operator's name; unique in a table.
    pub name: String,
    /// Whose it is; keys of different tenants never collide. `default` if not stated.
    pub tenant: String,
    /// Which requests are its.
    pub matches: Match,
    /// Where the session key comes from and how long a session lasts.
    pub session: SessionSource,
    /// Where its session state lives.
    pub state: StateSpec,
    /// What becomes of WebSockets and event streams when their session is handed over.
    pub long_lived: LongLived,
    /// What of its answers the gates keep; `None` keeps nothing.
    pub cache: Option<CacheSpec>,
    /// Whether its gates execute a request that carries an `Idempotency-Key` once only.
    pub idempotency: bool,
    /// What of a session the death of its zone may cost.
    pub tier: Tier,
    /// What its gates do once their lease has ended.
    pub lease_lost: LeaseLost,
    /// Endpoints of its own, by zone; a zone not named here uses the zone's endpoints.
    pub endpoints: Vec<(ZoneId, Vec<Endpoint>)>,
    /// Active health checks; `None` leaves passive ejection only.
    pub health: Option<HealthCheck>,
    /// Bounds on its traffic.
    pub limits: TrafficLimits,
}

/// Which requests belong to a service. The most exact host wins, then the longest path prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Match {
    /// `shop.example`, `*.shop.example`, or empty for any host. Lower case, no port.
    pub hosts: Vec<String>,
    /// Path prefix; `/api` matches `/api` and `/api/x`, not `/apix`.
    pub path_prefix: String,
}

/// Where a service's session key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSource {
    /// Tried in order; the first that yields a key wins. If none does and a cookie source is
    /// listed, a key is minted; else the request has no session and goes to the nearest zone.
    pub from: Vec<KeySource>,
    /// A session unseen for this long is over: its state may be dropped, its exception removed.
    pub idle_ms: u64,
}

/// One way to find a session key in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A cookie that Homing signs and sets.
    Cookie(CookieSpec),
    /// A request header's whole value.
    Header {
        /// Lower-case name.
        name: String,
    },
    /// A claim of a verified bearer token.
    JwtClaim {
        /// The claim, `sub` usually. Must be a string or an integer.
        claim: String,
        /// Names one of the proxy's verification keys.
        key_id: String,
    },
    /// The n-th path segment, counted from 0.
    PathSegment {
        /// Which one.
        index: u8,
    },
    /// A query parameter.
    Query {
        /// Its name, exact.
        name: String,
    },
}

/// The session cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSpec {
    /// Name; a `__Host-` prefix forces `Secure`, `Path=/` and no `Domain`, as browsers require.
    pub name: String,
    /// SameSite attribute.
    pub same_site: SameSite,
    /// Whether `Secure` is set. Always true with a `__Host-` or `__Secure-` prefix.
    pub secure: bool,
}

/// A cookie's SameSite attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Sent on top-level navigation.
    #[default]
    Lax,
    /// Never sent cross-site.
    Strict,
    /// Always sent; browsers then demand `Secure`.
    None,
}

/// Where session state lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateSpec {
    /// The service keeps no session state: a handoff only redirects.
    Stateless,
    /// Kept by the proxy process itself, for demos and tests: survives nothing.
    Memory,
    /// The app's own `export`, `import`, `release` and `fence` over HTTP.
    Hooks(Hooks),
    /// A Redis or Valkey server in each zone.
    Redis(Redis),
}

impl StateSpec {
    /// Longest wait for one call of the store, in milliseconds, and bytes of the largest state
    /// that is moved; `None` where nothing is called.
    #[must_use]
    pub fn bounds(&self) -> Option<(u32, u64)> {
        match self {
            Self::Stateless | Self::Memory => None,
            Self::Hooks(hooks) => Some((hooks.timeout_ms, hooks.state_bytes_max)),
            Self::Redis(redis) => Some((redis.timeout_ms, redis.state_bytes_max)),
        }
    }
}

/// The app's state hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Path on the zone's endpoint under which the hooks answer, `/homing/state` by default.
    pub path: String,
    /// Longest wait for one hook call.
    pub timeout_ms: u32,
    /// Largest state that is moved; a larger one stays at home and the outcome says so.
    pub state_bytes_max: u64,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { path: "/homing/state".to_owned(), timeout_ms: 2_000, state_bytes_max: 16 << 20 }
    }
}

/// What becomes of long-lived connections at a handoff.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongLived {
    /// The client's WebSocket or event stream stays open, and the leg behind it is dialled anew at
    /// the session's new home. Other long responses drain.
    Carry,
    /// The client of a WebSocket is told to reconnect (close code 1012) once its session is
    /// frozen, and comes back to the new home. Other long responses drain.
    Reconnect,
    /// The handoff waits until the connection ends.
    #[default]
    Drain,
}

/// What the death of the zone that owns a session may cost of its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    /// All of it: there is no replica.
    #[default]
    T0,
    /// What the replica lagged behind.
    T1,
    /// Nothing that was answered: answers wait for the replica.
    T2,
}

/// What a gate does with a session's requests once its lease has ended: control has been out of
/// reach for as long as the lease lasts, and may have declared the gate dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseLost {
    /// It executes nothing: a session is never executed in two places.
    #[default]
    Stop,
    /// It goes on with the sessions it has, for as long as its life has not been declared over to
    /// its face. Should control have given one away meanwhile, two places execute it.
    Serve,
}

/// What gates keep of a service's answers, as far as the answers themselves allow (RFC 9111).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// Largest answer that is kept.
    pub object_bytes_max: u64,
    /// How long after its time an answer may be used while it is fetched anew, where the answer
    /// says nothing of it (RFC 5861).
    pub stale_while_revalidate_ms: u32,
    /// How long after its time it may be used because the app fails, likewise.
    pub stale_if_error_ms: u32,
    /// Objects of a session that are fetched where it is handed over to, before it is there; 0 for
    /// none.
    pub prewarm_objects: u16,
}

impl CacheSpec {
    /// Objects of a session that are fetched ahead of it, unless the operator says otherwise.
    pub const PREWARM_OBJECTS: u16 = 64;
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self {
            object_bytes_max: 8 << 20,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
            prewarm_objects: Self::PREWARM_OBJECTS,
        }
    }
}

/// An active health check, sent to every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path to GET; 2xx is healthy.
    pub path: String,
    /// Pause between checks of one endpoint.
    pub interval_ms: u32,
    /// Longest wait for the answer.
    pub timeout_ms: u32,
    /// Consecutive failures that make it unhealthy.
    pub fall: u8,
    /// Consecutive successes that make it healthy again.
    pub rise: u8,
}

/// Bounds on a service's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficLimits {
    /// Largest request body; 413 beyond.
    pub body_bytes_max: u64,
    /// Bodies up to this size are kept so that a redirected request can be replayed.
    pub replay_bytes_max: u32,
    /// Longest wait for a connection to an endpoint.
    pub connect_timeout_ms: u32,
    /// Longest wait for the response head.
    pub response_timeout_ms: u32,
    /// Longest pause between two reads of a client's request.
    pub client_timeout_ms: u32,
    /// Tries on other endpoints of the zone when none of the request was sent.
    pub retries: u8,
}

impl Default for TrafficLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            replay_bytes_max: 64 << 10,
            connect_timeout_ms: 1_000,
            response_timeout_ms: 60_000,
            client_timeout_ms: 15_000,
            retries: 1,
        }
    }
}
