//! One arm of the demo: its own processes from start to end, the replay against them, the story
//! that happens meanwhile, and what is found when it is over.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::children::{Role, free_ports};
use super::client::{Client, Replay};
use super::ledger::{Homes, Verdict, homes};
use super::operate::{Handoffs, Operator};
use super::plan::Plan;
use super::scene::{self, Addresses, Stage};
use super::screen::Screen;
use super::story::{self, Cast, Told};
use super::tally::{Sample, Tally};
use super::world::World;
use crate::trouble::Trouble;

/// How far apart the zones' clocks may stand: one machine, so the time between two readings.
const CLOCK_SLACK_US: u64 = 100;
/// Longest wait for handoffs under way when the replay is over.
const SETTLE: Duration = Duration::from_secs(15);
/// Notebooks read at one time at the end.
const READERS: usize = 16;
/// How long one request occupies one of a zone's places.
pub(super) const WORK_MS: u64 = 8;
/// A zone's places.
pub(super) const PLACES: usize = 4;

/// What an arm is played with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Whether sessions may be handed over.
    pub handoffs: bool,
    /// Cities and zones.
    pub world: Arc<World>,
    /// What the clients do.
    pub plan: Arc<Plan>,
    /// Where the files go.
    pub dir: PathBuf,
}

impl Setting {
    /// The arm's name in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.handoffs { "on" } else { "off" }
    }
}

/// What came of an arm.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Requests sent.
    pub requests: u64,
    /// Requests that were not answered as they should be.
    pub failures: u64,
    /// Why, the first of them.
    pub failure_texts: Vec<String>,
    /// Answered requests.
    pub samples: Vec<Sample>,
    /// Writes acknowledged.
    pub writes: u64,
    /// The notebooks against the ledgers.
    pub verdict: Verdict,
    /// The zones' records side by side.
    pub homes: Homes,
    /// Executions that no record holds.
    pub unrecorded: u64,
    /// Handoffs.
    pub handoffs: Handoffs,
    /// What happened when.
    pub told: Told,
}

/// Plays an arm.
///
/// # Errors
/// If a process does not start or answer.
pub async fn play(setting: &Setting, screen: &Screen) -> Result<Played, Trouble> {
    std::fs::create_dir_all(&setting.dir)?;
    let (mut cast, at) = raise(setting).await?;
    let replay = Arc::new(Replay {
        proxy: at.proxy,
        world: setting.world.clone(),
        tally: Arc::new(Tally::default()),
        start: Instant::now() + Duration::from_millis(100),
    });
    let clients: Vec<Arc<Client>> = (0..)
        .zip(&setting.plan.clients)
        .map(|(index, plan)| Client::new(replay.clone(), index, plan.clone()))
        .collect();
    screen.begin(setting.plan.length);
    let told = perform(setting, &replay, &clients, &mut cast, screen).await;
    screen.end();
    let mut played = Played { told: told?, ..Played::default() };
    cast.operator.settle(SETTLE).await?;
    read_notebooks(&clients, &replay.tally, &mut played).await;
    let (records, unrecorded) = cast.operator.executions().await?;
    played.homes = homes(&records, CLOCK_SLACK_US);
    played.unrecorded = unrecorded;
    played.handoffs = cast.operator.handoffs().await?;
    (played.requests, _, played.failures) = replay.tally.counts();
    played.samples = replay.tally.samples();
    played.failure_texts = replay.tally.failures();
    cast.leave().await;
    Ok(played)
}

/// Starts the zones' apps, control and the proxy, and pushes the document.
async fn raise(setting: &Setting) -> Result<(Cast, Addresses), Trouble> {
    let dir = &setting.dir;
    let mut apps = Vec::new();
    let mut addresses = Vec::new();
    for zone in &setting.world.zones {
        let args = ["app", "--zone", &zone.name, "--delays", "bundled"].map(str::to_owned);
        let work = [
            "--work".to_owned(),
            format!("{WORK_MS}ms"),
            "--places".to_owned(),
            PLACES.to_string(),
        ];
        let args: Vec<String> = args.into_iter().chain(work).collect();
        let (app, address) = Role::start_app(dir, &format!("app-{}", zone.name), &args).await?;
        apps.push(app);
        addresses.push(address);
    }
    let [proxy, admin, api, link] =
        free_ports()?.map(|p: u16| SocketAddr::from(([127, 0, 0, 1], p)));
    let at = Addresses { proxy, admin, api, link, apps: addresses };
    let operator = Operator::new(&at)?;
    let mut control = start(dir, "control", &scene::control(&at, dir))?;
    control.ready(&operator.control, "/livez").await?;
    operator.push(&scene::document(&setting.world, &at.apps, stage(setting, false))).await?;
    let mut proxy = start(dir, "proxy", &scene::proxy(&at, dir))?;
    proxy.ready(&operator.admin, "/readyz").await?;
    Ok((Cast { operator, apps, control, proxy }, at))
}

/// How much room the first zone has: enough at first, much too little when it is crowded.
pub(super) fn stage(setting: &Setting, crowded: bool) -> Stage {
    let sessions = setting.plan.clients.len();
    let room = if crowded { sessions / 3 } else { sessions };
    Stage { act: setting.handoffs, room: room.max(1), sessions }
}

fn start(dir: &Path, role: &str, settings: &str) -> Result<Role, Trouble> {
    let file = dir.join(format!("{role}.yaml"));
    std::fs::write(&file, settings)?;
    Role::start(dir, role, &[role.to_owned(), file.display().to_string()])
}

/// The replay and the story beside it.
async fn perform(
    setting: &Setting,
    replay: &Arc<Replay>,
    clients: &[Arc<Client>],
    cast: &mut Cast,
    screen: &Screen,
) -> Result<Told, Trouble> {
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(client.clone().run());
    }
    let all_sent = async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                next = running.join_next() => if next.is_none() { break },
                _ = tick.tick() => {
                    let (sent, answered, failed) = replay.tally.counts();
                    let waiting = sent.saturating_sub(answered + failed);
                    let text =
                        format!("{sent} requests, {waiting} under way, {failed} failed");
                    screen.progress(replay.start.elapsed(), &text);
                }
            }
        }
    };
    let (told, ()) = tokio::join!(story::tell(setting, replay, cast, screen), all_sent);
    told
}

/// Every notebook at the end, against what was acknowledged.
async fn read_notebooks(clients: &[Arc<Client>], tally: &Tally, played: &mut Played) {
    let mut waiting = clients.iter().cloned();
    let mut reading = JoinSet::new();
    loop {
        while reading.len() < READERS
            && let Some(client) = waiting.next()
        {
            reading.spawn(async move { (client.index(), client.settle().await) });
        }
        let Some(read) = reading.join_next().await else { break };
        match read {
            Ok((index, Ok((entries, ledger)))) => {
                played.writes += ledger.acknowledged() as u64;
                played.verdict = played.verdict.plus(ledger.compare(index, &entries));
            }
            Ok((index, Err(why))) => {
                tally.failed(format!("at the end, client {index}: {why}"));
            }
            Err(_) => tally.failed("at the end: a reader died".to_owned()),
        }
    }
}
