//! The process put together: every part is made here and every task is started here, by name.
//! Parts get only what they use; nothing else in the crate knows the whole.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use arc_swap::ArcSwap;
use homing_identity::Identity;
use homing_session::gate::Reaction;
use homing_wire::{GateHello, SessionKey, table::Home};
use tokio::{runtime::Runtime, sync::mpsc};

use crate::{
    access_log,
    admin::{self, AdminParts},
    cession::Cessions,
    clock::Clock,
    config::Settings,
    control_link::{ControlLink, GateLink},
    drain::Leaving,
    endpoints,
    handoff::{
        self, Busy, Dispatcher, Driver, Fleet, Releases, Report, Stores, governor::Governor,
        incoming::Incoming, link::HandoffLink,
    },
    http::{
        edge::{EdgeParts, EdgeRules},
        upstream::Credentials,
        zone_view::ZoneViews,
    },
    listen::Listeners,
    local_authority::{LocalAuthority, Order},
    replicas::{self, Replicas},
    table_keeper::TableKeeper,
    telemetry::{metrics::Exposition, shipper::Shipper},
};

mod assembly;
mod fault;
mod fleet;
mod reload;
mod running;
mod serving;
mod signals;
mod sockets;

use assembly::{Assembly, state_dir};
pub use fault::StartFault;
use fleet::{Part, Sockets};
pub use reload::ReloadFault;
pub use running::Running;
pub use signals::run;
use sockets::{bind_admin, listen_limits, listen_settings, open_access_log, runtime};

/// Orders, reports and batches that may wait for whoever takes them.
const QUEUE: usize = 4_096;
const BATCH_QUEUE: usize = 8;
/// Threads of everything that is not a client's request.
const SIDE_THREADS: usize = 2;

/// The data plane.
pub struct Proxy;

impl Proxy {
    /// Starts everything and returns once all sockets are bound.
    ///
    /// # Errors
    /// What stands in the way; nothing is left running then.
    pub fn start(settings: Settings) -> Result<Running, StartFault> {
        crate::listen::tls::install_provider();
        let listeners = Listeners::bind(&listen_settings(&settings))?;
        let admin_socket = bind_admin(settings.admin.address)?;
        let part = Part::of(&settings)?;
        Assembly::new(&settings, &part)?.start(settings, part, listeners, admin_socket)
    }
}

impl Assembly {
    fn start(
        self,
        settings: Settings,
        part: Part,
        listeners: Listeners,
        admin_socket: (TcpListener, SocketAddr),
    ) -> Result<Running, StartFault> {
        let secrets = settings
            .secrets
            .resolve(&settings.state_dir)
            .map_err(|error| state_dir(&settings.state_dir, error))?;
        let (log, writer) = open_access_log(&settings.access_log)?;
        let rules = Arc::new(ArcSwap::from_pointee(EdgeRules::new(&settings, &secrets)));
        let views = Arc::new(ZoneViews::new(
            Arc::clone(&self.live),
            Arc::clone(&self.gates),
            Arc::clone(&self.facts),
            Arc::clone(&self.pool),
            Arc::clone(&self.recorder),
        ));
        let leaving = Arc::new(Leaving::new(settings.drain));
        let side = runtime("homing-side", SIDE_THREADS)?;
        let edge = runtime("homing-edge", settings.limits.threads)?;

        let Part { seat: _, reach: _, identity, gate, life } = part;
        let (gate_listeners, gate) = match gate {
            Some(Sockets { listeners, link, hello }) => (Some(listeners), Some((link, hello))),
            None => (None, None),
        };
        let side_parts = self.start_side(&side, &settings, identity.as_ref(), gate)?;
        spawn(&side, "endpoint checks", endpoints::checks::keep(Arc::clone(&self.pool)));
        spawn(&side, "zone views", Arc::clone(&views).keep());

        let parts = self.admin_parts(&settings, &rules, &views, &leaving, &side_parts);
        let (admin_socket, admin) = admin_socket;
        let lines_dropped = log.as_ref().map(access_log::AccessLog::dropped_counter);
        let shown = self.exposition(&parts).with_edge(listeners.counts(), lines_dropped);
        spawn(&side, "admin", admin::serve(admin_socket, parts, Arc::new(shown)));
        let SideParts { orders, replicas, cessions, .. } = side_parts;

        let reloading = reload::Reloading {
            settings: ArcSwap::from_pointee(settings),
            secrets,
            rules: Arc::clone(&rules),
            certificates: listeners.certificates(),
            orders,
            metrics: Arc::clone(&self.metrics),
        };
        let addresses = listeners.addresses().to_vec();
        let parts = EdgeParts {
            live: Arc::clone(&self.live),
            gates: Arc::clone(&self.gates),
            facts: self.facts,
            views,
            rules,
            metrics: self.metrics,
            recorder: self.recorder,
            learned: Arc::default(),
            cache: self.cache,
            prewarm: self.prewarm,
            replicas,
            cessions: cessions.clone(),
            credentials: identity.map(|identity| Arc::new(Credentials::new(identity))),
            log,
        };
        let threads = reloading.settings.load().limits.threads;
        let gate_addresses =
            gate_listeners.as_ref().map(|listeners| listeners.addresses().to_vec());
        let edge_done =
            serving::start(&edge, parts, threads, (listeners, gate_listeners), &leaving);
        Ok(Running {
            addresses,
            gate: gate_addresses.and_then(|addresses| addresses.first().copied()),
            _life: life,
            admin,
            live: self.live,
            gates: self.gates,
            outcomes: self.outcomes,
            leaving,
            cessions,
            reloading,
            file: self.file,
            edge_done,
            writer,
            side: Some(side),
            edge: Some(edge),
        })
    }

    fn admin_parts(
        &self,
        settings: &Settings,
        rules: &Arc<ArcSwap<EdgeRules>>,
        views: &Arc<ZoneViews>,
        leaving: &Arc<Leaving>,
        side: &SideParts,
    ) -> AdminParts {
        AdminParts {
            name: settings.name.clone(),
            live: Arc::clone(&self.live),
            gates: Arc::clone(&self.gates),
            rules: Arc::clone(rules),
            views: Arc::clone(views),
            stores: Arc::clone(&side.stores),
            cache: Arc::clone(&self.cache),
            prewarm: Arc::clone(&self.prewarm),
            outcomes: Arc::clone(&self.outcomes),
            orders: side.orders.clone(),
            leaving: Arc::clone(leaving),
            attached: side.attached.clone(),
            under_way: Arc::clone(&side.under_way),
            token: settings.admin.token.clone(),
        }
    }

    fn exposition(&self, parts: &AdminParts) -> Exposition {
        Exposition::new(
            &self.metrics,
            Arc::clone(&self.recorder),
            Arc::clone(&self.live),
            Arc::new(parts.clone()),
        )
    }

    /// Handoffs, the authority or the link to it, records, the table on disk.
    fn start_side(
        &self,
        side: &Runtime,
        settings: &Settings,
        identity: Option<&Arc<Identity>>,
        gate: Option<(UdpSocket, GateHello)>,
    ) -> Result<SideParts, StartFault> {
        let stores = Arc::new(Stores::new(Arc::clone(&self.facts), settings.stores.clone()));
        let busy = Arc::<Busy>::default();
        let (gates, live) = (Arc::clone(&self.gates), Arc::clone(&self.live));
        let releases =
            Arc::new(Releases::new(Arc::clone(&gates), Arc::clone(&stores), Arc::clone(&busy)));
        let mut driver = Driver::new(
            Arc::clone(&live),
            Arc::clone(&gates),
            Arc::clone(&stores),
            Arc::clone(&self.log),
            Arc::clone(&releases),
            Arc::clone(&self.metrics),
            Arc::clone(&self.prewarm),
        );
        let (reports, reported) = mpsc::channel(QUEUE);
        let mut gate_link = None;
        let (mut listening, mut replicas, mut cessions) = (None, None, None);
        if let (Some((socket, hello)), Some(identity)) = (gate, identity) {
            let fleet = self.open_link(side, socket, identity)?;
            let (stepped, steps) = mpsc::channel(QUEUE);
            let kept = Arc::new(Replicas::new(replicas::Parts {
                live: Arc::clone(&live),
                gates: Arc::clone(&gates),
                stores: Arc::clone(&stores),
                fleet: Arc::clone(&fleet),
                reports: reports.clone(),
                counts: Arc::clone(&self.metrics.replicas),
                side: side.handle().clone(),
                clock: Clock::process(),
            }));
            let orders = Arc::clone(&fleet.orders);
            let changing = Arc::new(Cessions::new(
                (Arc::clone(&live), Arc::clone(&gates)),
                Arc::clone(&fleet),
                Arc::clone(&kept),
                Arc::clone(&self.metrics),
                (side.handle().clone(), reports.clone()),
            ));
            spawn(side, "cessions", Arc::clone(&changing).keep());
            gate_link = Some(GateLink {
                hello,
                orders,
                stepped,
                replicas: Arc::clone(&kept),
                cessions: Arc::clone(&changing),
            });
            driver = driver.in_fleet(Arc::clone(&fleet), Arc::clone(&kept), Arc::clone(&changing));
            replicas = Some(kept);
            cessions = Some(changing);
            listening = Some((fleet, steps));
        }
        let driver = Arc::new(driver);
        if let Some((fleet, steps)) = listening {
            self.listen_to_gates(side, &driver, fleet, steps, &reports);
        }
        let under_way = Arc::<AtomicU64>::default();
        let (live_, busy, counted) = (Arc::clone(&live), busy, Arc::clone(&under_way));
        let dispatcher = Dispatcher::new(live_, driver, reports.clone(), busy, counted);
        spawn(side, "handoffs", dispatcher.run());
        let (file, log) = (self.file.clone(), Arc::clone(&self.log));
        let keeper = TableKeeper { live: Arc::clone(&live), file, log, releases };
        spawn(side, "table keeper", keeper.run());

        let mut shipper = Shipper {
            live: Arc::clone(&live),
            gates: Arc::clone(&gates),
            recorder: Arc::clone(&self.recorder),
            batches: None,
            incarnation: gates.incarnation(),
        };
        let (orders, attached) = match &settings.control {
            None => {
                let authority = LocalAuthority::new(
                    live,
                    gates,
                    Arc::clone(&self.outcomes),
                    Arc::clone(&self.metrics),
                    self.known_since_ms,
                );
                let (orders, asked) = mpsc::channel(QUEUE);
                spawn(side, "local authority", authority.run(asked, reported));
                (Some(orders), None)
            }
            Some(control) => {
                let attached = Arc::<AtomicBool>::default();
                let link = ControlLink {
                    url: control.url.clone(),
                    control: control.name.clone(),
                    name: settings.name.clone(),
                    fleet: gate_link,
                    identity: identity.cloned(),
                    live,
                    gates,
                    outcomes: Arc::clone(&self.outcomes),
                    metrics: Arc::clone(&self.metrics),
                    attached: Arc::clone(&attached),
                };
                let (batches, shipped) = mpsc::channel(BATCH_QUEUE);
                shipper.batches = Some(batches);
                spawn(side, "control link", link.run(reported, shipped));
                spawn(side, "recovered homes", report_homes(self.homes.clone(), reports));
                (None, Some(attached))
            }
        };
        spawn(side, "shipper", shipper.run());
        Ok(SideParts { orders, stores, replicas, cessions, under_way, attached })
    }

    fn open_link(
        &self,
        side: &Runtime,
        socket: UdpSocket,
        identity: &Identity,
    ) -> Result<Arc<Fleet>, StartFault> {
        let _within = side.enter();
        let link = HandoffLink::open(socket, identity)
            .map_err(|error| StartFault::System { what: "opening the handoff link", error })?;
        let (governor, orders) = (Arc::<Governor>::default(), Arc::default());
        let seat = Arc::clone(self.gates.seat());
        let (live, recorder) = (Arc::clone(&self.live), Arc::clone(&self.recorder));
        let keep = Arc::clone(&governor).keep(live, Arc::clone(&seat), recorder);
        spawn(side, "copy governor", keep);
        Ok(Arc::new(Fleet { link, governor, orders, seat }))
    }

    fn listen_to_gates(
        &self,
        side: &Runtime,
        driver: &Arc<Driver>,
        fleet: Arc<Fleet>,
        mut steps: mpsc::Receiver<(SessionKey, Reaction)>,
        reports: &mpsc::Sender<Report>,
    ) {
        let incoming = Arc::<Incoming>::default();
        let serve = handoff::listener::serve(
            Arc::clone(driver),
            fleet,
            Arc::clone(&incoming),
            reports.clone(),
        );
        spawn(side, "handoff link", serve);
        let (driver, reports) = (Arc::clone(driver), reports.clone());
        spawn(side, "control's word to handoffs", async move {
            while let Some((key, reaction)) = steps.recv().await {
                incoming.stepped(&driver, &reports, key, reaction).await;
            }
        });
    }
}

/// What the admin listener needs of the tasks at the side.
struct SideParts {
    orders: Option<mpsc::Sender<Order>>,
    stores: Arc<Stores>,
    replicas: Option<Arc<Replicas>>,
    cessions: Option<Arc<Cessions>>,
    under_way: Arc<AtomicU64>,
    attached: Option<Arc<AtomicBool>>,
}

async fn report_homes(homes: Vec<(SessionKey, Home)>, reports: mpsc::Sender<Report>) {
    for (key, home) in homes {
        if reports.send(Report::Residence { key, home }).await.is_err() {
            return;
        }
    }
}

/// Starts a task that is meant to run as long as the process, and tells if it does not.
fn spawn(runtime: &Runtime, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    runtime.spawn(async move {
        task.await;
        tracing::debug!(name, "a task has ended");
    });
}
