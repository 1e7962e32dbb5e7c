//! From settings to a running control, and from there to its end: opens the journal, takes its
//! term, starts the lead, the planner, the link and the API, in the order in which they need each
//! other, and stops them in the opposite one.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool, mpsc as std_mpsc},
    thread,
    time::{Duration, Instant},
};

use homing_identity::{Identity, IdentityFault, IdentityFiles};
use homing_wire::document::Document;
use parking_lot::RwLock;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, watch},
};

use crate::{
    alerts,
    api::{self, Pace, auth::Token},
    audit::Audit,
    clock,
    foresight::{self, Observation},
    history::{History, HistoryFault},
    journal::{Journal, JournalFault, Recovered},
    lead::{self, Command, Lead, LeadSettings, PlanJob, Push},
    link::{Link, Roll},
    metrics::Metrics,
    provider::{Webhook, WebhookSettings},
    publish::Published,
    scaling::{self, ScaleSettings, expected::Expected},
    serve,
    shared::{ADMITTED_MAX, DocumentVersion, Lessons, Shared},
    tasks::{Tasks, stopped},
};

/// How long tasks may take to end.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Everything one control process is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API listens; port 0 takes a free one.
    pub api: SocketAddr,
    /// Where proxies attach; port 0 takes a free one.
    pub link: SocketAddr,
    /// Who may use the API; nobody has to say so if it is empty, which loopback alone allows.
    pub tokens: Vec<Token>,
    /// Where the journal is kept.
    pub data_dir: PathBuf,
    /// A document to start with, if none was ever taken.
    pub document: Option<PathBuf>,
    /// Sessions remembered.
    pub sessions_max: usize,
    /// API requests a second of each token.
    pub requests_per_second: u32,
    /// Milliseconds between two rounds.
    pub round_ms: u64,
    /// Milliseconds of a step of what is observed for forecasts.
    pub step_ms: u64,
    /// Who control is to its proxies, and under which name; `None` serves the link in the clear.
    pub identity: Option<(IdentityFiles, String)>,
    /// Lead in this term at least: after the journal was lost, above what proxies hold.
    pub min_term: u64,
    /// Seeds the plans.
    pub seed: u64,
    /// What is scaled through providers.
    pub scaling: Vec<ScaleSettings>,
    /// Who is told of anomalies.
    pub alerts: Vec<WebhookSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api: (Ipv4Addr::LOCALHOST, 7601).into(),
            link: (Ipv4Addr::LOCALHOST, 7600).into(),
            tokens: Vec::new(),
            data_dir: PathBuf::from("control-data"),
            document: None,
            sessions_max: 1_000_000,
            requests_per_second: 200,
            round_ms: 1_000,
            step_ms: 60_000,
            identity: None,
            min_term: 0,
            seed: 0,
            scaling: Vec::new(),
            alerts: Vec::new(),
        }
    }
}

/// Why control could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The folder of the journal cannot be made, or a file in it not be used.
    #[error("{path}: {source}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The history of what was observed cannot be used.
    #[error(transparent)]
    History(#[from] HistoryFault),
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The first document has faults, or cannot be read.
    #[error("{0}")]
    Document(String),
    /// The process's identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    /// A provider cannot be made ready to be asked.
    #[error("a provider or a webhook cannot be asked: {0}")]
    Provider(String),
    /// A thread cannot be started.
    #[error("no thread could be started: {0}")]
    Thread(io::Error),
}

impl StartFault {
    /// The exit code that tells it: 78 where a file is to be changed, 69 where something else
    /// stands in the way.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Document(_) | Self::Identity(_) => 78,
            Self::Folder { .. }
            | Self::Journal(_)
            | Self::History(_)
            | Self::Listen { .. }
            | Self::Provider(_)
            | Self::Thread(_) => 69,
        }
    }
}

/// A control that is about to run.
#[derive(Clone, Copy, Debug)]
pub struct Control;

/// A running control. Dropping it stops it without waiting; [`Running::shutdown`] waits.
#[derive(Debug)]
pub struct Running {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where proxies attach.
    pub link: SocketAddr,
    tasks: Tasks,
    lead: lead::Handle,
    threads: Vec<thread::JoinHandle<()>>,
    journal: Arc<Journal>,
    failed: watch::Receiver<bool>,
}

impl Control {
    /// Starts control within a running tokio runtime.
    ///
    /// # Errors
    /// Whatever stands in the way; nothing is left running then.
    pub async fn start(settings: Settings) -> Result<Running, StartFault> {
        let identity = match &settings.identity {
            Some((files, name)) => Some(Identity::load(files, name)?),
            None => None,
        };
        let (shared, recovered) = open(&settings)?;
        let unusable = in_folder(&settings.data_dir);
        let audit = Audit::open(&settings.data_dir).map_err(unusable("audit.jsonl"))?;
        let first = first_document(&settings, &shared)?;
        let api_listener = listen(settings.api)?;
        let link_listener = listen(settings.link)?;
        let local = |listener: &TcpListener, address| {
            listener.local_addr().map_err(|source| StartFault::Listen { address, source })
        };
        let (api, link) =
            (local(&api_listener, settings.api)?, local(&link_listener, settings.link)?);
        let tasks = Tasks::default();
        let (handle, inbox) = lead::mailbox();
        let (jobs, planner) = planner(&shared, handle.clone())?;
        let (observed, watcher) = foresight(&shared, &settings, tasks.stopping())?;
        let lead_settings = LeadSettings {
            sessions_max: settings.sessions_max,
            seed: settings.seed,
            step_ms: settings.step_ms,
            scaled: settings.scaling.len(),
        };
        let mut lead = Lead::new(shared.clone(), recovered, lead_settings, jobs, observed);
        lead.open_term()?;
        let (failed_tx, failed) = watch::channel(false);
        let thread = Tasks::thread("homing-lead", move || {
            if let Err(fault) = lead.run(inbox) {
                tracing::error!(%fault, "control cannot go on");
                failed_tx.send_replace(true);
            }
        })
        .map_err(StartFault::Thread)?;
        let running = Running {
            api,
            link,
            tasks: tasks.clone(),
            lead: handle.clone(),
            threads: vec![thread, planner, watcher],
            journal: shared.journal.clone(),
            failed,
        };
        if let Some(push) = first {
            let pushed = handle.ask(|reply| Command::Push(Box::new(push), reply)).await;
            if let Ok(Err(fault)) = pushed {
                running.shutdown().await;
                return Err(StartFault::Document(fault.to_string()));
            }
        }
        let round = Duration::from_millis(settings.round_ms);
        tasks.spawn("rounds", rounds(handle.clone(), round, tasks.stopping()));
        let (scaled, data_dir) = (&settings.scaling, &settings.data_dir);
        let scales = scaling::start(scaled, data_dir, &shared, &handle, round, &tasks);
        let hooks: Result<Vec<Webhook>, String> =
            settings.alerts.iter().cloned().map(Webhook::new).collect();
        let told = hooks.map(|hooks| alerts::start(hooks, &shared, &tasks));
        if let Err(problem) = scales.and(told) {
            running.shutdown().await;
            return Err(StartFault::Provider(problem));
        }
        let server = Link::server(shared.clone(), handle.clone(), tasks.clone());
        let identity = identity.map(Arc::new);
        let served = serve::link(server, link_listener, identity, tasks.clone());
        tasks.spawn("link-listener", served);
        let pace = Pace::new(settings.requests_per_second, settings.tokens.len());
        let router = api::router(shared, handle, settings.tokens, pace, audit, tasks.stopping());
        tasks.spawn("api-listener", serve::api(router, api_listener, tasks.clone()));
        tracing::info!(%api, %link, "control leads");
        Ok(running)
    }
}

impl Running {
    /// Becomes true if control cannot go on: its journal failed.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.clone()
    }

    /// Ends every link and listener, writes what is not written, and returns when all is done.
    pub async fn shutdown(mut self) {
        self.tasks.stop(STOP_WAIT).await;
        let _ = self.lead.send(Command::Stop).await;
        for thread in self.threads.drain(..) {
            // The lead's last write may take as long as the disk does.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.journal.close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.signal();
        self.lead.stop();
    }
}

/// Runs control until TERM or INT and returns the process's exit code.
#[must_use]
pub fn run(settings: Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(fault) => {
            tracing::error!(%fault, "no runtime");
            return ExitCode::from(69);
        }
    };
    runtime.block_on(async {
        let running = match Control::start(settings).await {
            Ok(running) => running,
            Err(fault) => {
                tracing::error!(%fault, "control did not start");
                return ExitCode::from(fault.exit_code());
            }
        };
        let mut failed = running.failed();
        let failed = tokio::select! {
            () = asked_to_stop() => false,
            () = stopped(&mut failed) => true,
        };
        running.shutdown().await;
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (term, int) {
        (Ok(mut term), Ok(mut int)) => {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        }
        // Without signals only a kill ends it, which is safe at any moment.
        _ => std::future::pending().await,
    }
}

/// Tells which file of a folder stood in the way.
fn in_folder(folder: &Path) -> impl Fn(&'static str) -> Box<dyn FnOnce(io::Error) -> StartFault> {
    let folder = folder.to_owned();
    move |name| {
        let path = folder.join(name).display().to_string();
        Box::new(move |source| StartFault::Folder { path, source })
    }
}

fn open(settings: &Settings) -> Result<(Arc<Shared>, Recovered), StartFault> {
    fs::create_dir_all(&settings.data_dir).map_err(|source| StartFault::Folder {
        path: settings.data_dir.display().to_string(),
        source,
    })?;
    let unusable = in_folder(&settings.data_dir);
    let journal = Journal::open(&settings.data_dir)?;
    let mut recovered = journal.recover()?;
    let document = match recovered.document.take() {
        None => None,
        Some(row) => {
            // It was read before it was stored; a build that reads it differently must not guess.
            let document = Document::parse(&row.yaml).map_err(|faults| {
                StartFault::Document(faults.render("the document in the journal"))
            })?;
            Some(Arc::new(DocumentVersion::new(row, document)))
        }
    };
    let shared = Shared {
        published: Published::new(recovered.table.clone(), recovered.deltas.clone()),
        roll: Roll::default(),
        journal: Arc::new(journal),
        metrics: Metrics::default(),
        document: RwLock::new(document),
        plan: RwLock::default(),
        zones: RwLock::default(),
        lessons: RwLock::new(Arc::new(Lessons::of(recovered.feedback.clone()))),
        foresight: RwLock::default(),
        scaling: RwLock::default(),
        scaled: settings.scaling.clone(),
        expected: Expected::open(&settings.data_dir).map_err(unusable("expected.json"))?,
        acks_told: AtomicBool::default(),
        admission: Arc::new(Semaphore::new(ADMITTED_MAX)),
        term: (recovered.term + 1).max(settings.min_term),
        started_ms: clock::now_ms(),
    };
    Ok((Arc::new(shared), recovered))
}

/// The document of the settings, unless one was taken before.
fn first_document(settings: &Settings, shared: &Shared) -> Result<Option<Push>, StartFault> {
    let Some(path) = &settings.document else {
        return Ok(None);
    };
    if shared.document.read().is_some() {
        return Ok(None);
    }
    let shown = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|fault| StartFault::Document(format!("{shown}: {fault}")))?;
    let document =
        Document::parse(&text).map_err(|faults| StartFault::Document(faults.render(&shown)))?;
    let yaml = serde_yaml::to_string(&document.to_node())
        .map_err(|fault| StartFault::Document(format!("{shown}: {fault}")))?;
    Ok(Some(Push { document, yaml, if_match: None, dry_run: false, by: "settings".to_owned() }))
}

/// Connections that may wait to be taken. A whole fleet comes back at once after a restart; what
/// the system drops here comes again a second later, or not at all.
const BACKLOG: u32 = 4_096;

fn listen(address: SocketAddr) -> Result<TcpListener, StartFault> {
    let bound = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| StartFault::Listen { address, source })
}

/// The planner's thread: one plan at a time, from a copy, while everything else goes on.
fn planner(
    shared: &Arc<Shared>,
    lead: lead::Handle,
) -> Result<(std_mpsc::SyncSender<PlanJob>, thread::JoinHandle<()>), StartFault> {
    let (jobs, todo) = std_mpsc::sync_channel::<PlanJob>(1);
    let shared = shared.clone();
    let work = move || {
        while let Ok(job) = todo.recv() {
            let begun = Instant::now();
            let plan = Box::new(job.plan());
            // The table in the job would be copied by the next change while it is held.
            drop(job);
            shared.metrics.plan_us.set(begun.elapsed().as_micros() as u64);
            if lead.send_blocking(Command::Planned(plan)).is_err() {
                return;
            }
        }
    };
    let thread = Tasks::thread("homing-planner", work).map_err(StartFault::Thread)?;
    Ok((jobs, thread))
}

/// Steps that may wait for foresight.
const OBSERVED: usize = 8;

/// The thread that foresees: from what the lead observes, and never in its way.
fn foresight(
    shared: &Arc<Shared>,
    settings: &Settings,
    stop: watch::Receiver<bool>,
) -> Result<(std_mpsc::SyncSender<Observation>, thread::JoinHandle<()>), StartFault> {
    let history = History::open(&settings.data_dir, settings.step_ms)?;
    let (observed, told) = std_mpsc::sync_channel(OBSERVED);
    let (shared, step_ms) = (shared.clone(), settings.step_ms);
    let work = move || {
        foresight::watch(&shared, history, step_ms, clock::now_ms(), (&told, &stop));
    };
    let thread = Tasks::thread("homing-foresight", work).map_err(StartFault::Thread)?;
    Ok((observed, thread))
}

async fn rounds(lead: lead::Handle, every: Duration, mut stop: watch::Receiver<bool>) {
    let mut clock = tokio::time::interval(every);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = clock.tick() => {
                if lead.send(Command::Tick).await.is_err() {
                    return;
                }
            }
            () = stopped(&mut stop) => return,
        }
    }
}
