//! The edge in process, on free loopback ports, over a table a test draws up. It assembles the
//! same parts as the process's start does, without control, admin and handoffs.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;
use homing_proxy::{
    access_log::AccessLog,
    config::PrewarmSettings,
    endpoints::{EndpointPool, checks},
    gates::Gates,
    http::{
        application::application,
        cache::GateCache,
        cookie::{CookieKey, CookieKeys},
        edge::{Edge, EdgeParts, EdgeRules},
        facts::FactsCell,
        forwarded::TrustedPeers,
        key::KeyReader,
        zone_view::ZoneViews,
    },
    listen::{ConnectionLimits, ListenSettings, Listeners, tls, tls::CertFiles},
    live::{Live, LiveTable},
    prewarm::Prewarm,
    telemetry::{Metrics, Recorder},
};
use homing_wire::{
    Capacity, CookieSpec, Endpoint, Incarnation, Intake, KeySecret, KeySource, LongLived, Match,
    Place, Policy, Price, SameSite, Service, SessionSource, StateSpec, TrafficLimits,
    UpstreamProtocol, Version, Zone,
    table::{Buckets, Facts, TableDraft},
};
use pingora_core::services::Service as _;
use tokio::{sync::watch, task::JoinHandle};

/// A running edge. Dropping it shuts it down.
pub(crate) struct Proxy {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) rules: Arc<ArcSwap<EdgeRules>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) cache: Arc<GateCache>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    keepers: Vec<JoinHandle<()>>,
}

/// How a test wants its edge.
pub(crate) struct Setup {
    pub(crate) facts: Facts,
    pub(crate) rules: EdgeRules,
    pub(crate) limits: ConnectionLimits,
    pub(crate) certificates: Vec<CertFiles>,
    pub(crate) log: Option<AccessLog>,
    pub(crate) endpoints_ca: Option<Vec<u8>>,
}

impl Setup {
    /// One service `shop` on any host, with sessions by cookie, over these zones.
    pub(crate) fn new(zones: &[(&str, &[SocketAddr])]) -> Self {
        let rtts = |near: usize| {
            let rtt = |zone: usize| if zone == near { 5_000 } else { 90_000 };
            (0..zones.len()).map(rtt).collect()
        };
        let place = |(index, (name, _)): (usize, &(&str, &[SocketAddr]))| Place {
            name: format!("near-{name}"),
            rtt_us: rtts(index),
        };
        let facts = Facts {
            zones: zones.iter().map(|(name, addresses)| zone(name, addresses)).collect(),
            services: vec![service("shop", vec![cookie()])],
            places: zones.iter().enumerate().map(place).collect(),
            policy: Policy { place_header: Some("x-place".to_owned()), ..Policy::default() },
        };
        let rules = EdgeRules {
            keys: KeyReader {
                secret: KeySecret::from_material(b"session"),
                cookies: CookieKeys::new(CookieKey::from_material(b"first"), Vec::new()),
                tokens: HashMap::new(),
            },
            trusted: TrustedPeers::default(),
            expose_zone: false,
            admin_token: None,
            head_bytes_max: 16 << 10,
        };
        let limits = ConnectionLimits { head_bytes_max: 16 << 10, ..ConnectionLimits::default() };
        Self { facts, rules, limits, certificates: Vec::new(), log: None, endpoints_ca: None }
    }

    pub(crate) fn service(&mut self) -> &mut Service {
        &mut self.facts.services[0]
    }

    pub(crate) fn limits(&mut self) -> &mut TrafficLimits {
        &mut self.service().limits
    }

    /// Starts it.
    pub(crate) fn start(self) -> Proxy {
        tls::install_provider();
        let weights = vec![1; self.facts.zones.len()];
        let draft = TableDraft {
            version: Version { term: 0, n: 1 },
            created_ms: 0,
            facts: self.facts,
            buckets: Buckets::by_weight(&weights),
            exceptions: BTreeMap::new(),
            directives: BTreeMap::new(),
        };
        let live = Arc::new(LiveTable::new(Live::compile(draft.seal().unwrap())));
        let (metrics, recorder) = (Arc::<Metrics>::default(), Arc::<Recorder>::default());
        let gates = Arc::new(Gates::new(
            10_000,
            Incarnation(1),
            Arc::clone(&recorder),
            Arc::clone(&metrics),
        ));
        let pool = Arc::new(EndpointPool::trusting(self.endpoints_ca.as_deref()));
        let facts = Arc::new(FactsCell::new(Arc::clone(&pool)));
        let views = Arc::new(ZoneViews::new(
            Arc::clone(&live),
            Arc::clone(&gates),
            Arc::clone(&facts),
            Arc::clone(&pool),
            Arc::clone(&recorder),
        ));
        let rules = Arc::new(ArcSwap::from_pointee(self.rules));
        let cache = Arc::new(GateCache::new(1 << 20));
        let prewarm = Arc::new(Prewarm::new(
            PrewarmSettings::default(),
            2,
            0,
            (Arc::clone(&live), Arc::clone(&facts)),
            Arc::clone(&recorder),
            &metrics,
        ));
        let keepers = vec![
            tokio::spawn(checks::keep(Arc::clone(&pool))),
            tokio::spawn(Arc::clone(&views).keep()),
        ];
        let edge = Edge::new(EdgeParts {
            cessions: None,
            replicas: None,
            learned: Arc::default(),
            credentials: None,
            cache: Arc::clone(&cache),
            prewarm,
            live: Arc::clone(&live),
            gates: Arc::clone(&gates),
            facts,
            views,
            rules: Arc::clone(&rules),
            metrics: Arc::clone(&metrics),
            recorder,
            log: self.log,
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let plain =
            ListenSettings { address, certificates: Vec::new(), mutual: None, limits: self.limits };
        let mut listen = vec![plain.clone()];
        if !self.certificates.is_empty() {
            listen.push(ListenSettings { certificates: self.certificates, ..plain });
        }
        let listeners = Listeners::bind(&listen).unwrap();
        let addresses = listeners.addresses().to_vec();
        let mut service = listeners.serve(Arc::new(application(edge, 2)));
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(async move { service.start_service(None, stopped, 1).await });
        Proxy { addresses, rules, metrics, gates, live, cache, stop, server, keepers }
    }
}

impl Proxy {
    /// Its plain listener.
    pub(crate) fn plain(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Its TLS listener.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.addresses[1]
    }
}

impl Proxy {
    /// Shuts it down gently and waits until every connection has ended.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.send(true);
        let ended = tokio::time::timeout(crate::client::PATIENCE, &mut self.server).await;
        ended.expect("connections outlived the shutdown").unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        self.keepers.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn endpoint(address: SocketAddr, protocol: UpstreamProtocol) -> Endpoint {
    Endpoint { address: address.to_string(), weight: 1, protocol }
}

fn zone(name: &str, addresses: &[SocketAddr]) -> Zone {
    let plain = |address: &SocketAddr| endpoint(*address, UpstreamProtocol::H1);
    Zone {
        name: name.to_owned(),
        location: None,
        endpoints: addresses.iter().map(plain).collect(),
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    }
}

pub(crate) fn service(name: &str, from: Vec<KeySource>) -> Service {
    Service {
        name: name.to_owned(),
        tenant: "default".to_owned(),
        matches: Match { hosts: Vec::new(), path_prefix: "/".to_owned() },
        session: SessionSource { from, idle_ms: 86_400_000 },
        state: StateSpec::Stateless,
        long_lived: LongLived::Drain,
        cache: None,
        idempotency: false,
        lease_lost: homing_wire::LeaseLost::Stop,
        tier: homing_wire::Tier::T0,
        endpoints: Vec::new(),
        health: None,
        limits: TrafficLimits { connect_timeout_ms: 500, ..TrafficLimits::default() },
    }
}

fn cookie() -> KeySource {
    KeySource::Cookie(CookieSpec {
        name: "homing".to_owned(),
        same_site: SameSite::Lax,
        secure: false,
    })
}
