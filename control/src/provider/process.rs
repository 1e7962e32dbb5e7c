//! Processes as endpoints: servers that control starts on its own machine from a command with a
//! port in it, and ends when they are not wanted. Each leads a process group of its own, so that
//! what it has started ends with it; all end with control.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use homing_wire::UpstreamProtocol;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
};

pub mod orphans;

use orphans::Mark;

use super::{Answer, Probe, Provided, Provider, ProviderFault, Standing, Wish};

/// What stands for the port in a command.
pub const PORT: &str = "{port}";
/// Variables of its own environment that control hands on unasked.
const HANDED_ON: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "RUST_LOG"];
/// News that wait to be told; the oldest make way.
const NEWS_MAX: usize = 64;
/// Between two looks whether a process that was asked to end has.
const REAP_EVERY: Duration = Duration::from_millis(20);

/// How processes are started and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The program and its arguments, with [`PORT`] in one of them; no shell reads it.
    pub command: Vec<String>,
    /// Ports that they may listen on.
    pub ports: RangeInclusive<u16>,
    /// Variables of control's environment that they get besides the usual ones. No others, as its
    /// environment may hold secrets of its own.
    pub environment: Vec<String>,
    /// How they are spoken to.
    pub protocol: UpstreamProtocol,
    /// How they show that they are ready.
    pub ready: Probe,
    /// How long one may take to be ready, milliseconds; then it is ended.
    pub give_up_ms: u64,
    /// Between asking one to end and killing it, milliseconds.
    pub grace_ms: u64,
}

/// The processes of one zone.
#[derive(Debug)]
pub struct Processes {
    settings: ProcessSettings,
    /// Where it is kept which run, for the control after one that is killed.
    record: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By port.
    running: BTreeMap<u16, Served>,
    ending: JoinSet<u16>,
    /// Processes that are ending, by port.
    taken: BTreeMap<u16, Option<Mark>>,
    news: Vec<String>,
}

impl State {
    fn tell(&mut self, words: String) {
        tracing::warn!("{words}");
        if self.news.len() == NEWS_MAX {
            self.news.remove(0);
        }
        self.news.push(words);
    }
}

/// A process that runs, or did when it was last looked at.
#[derive(Debug)]
struct Served {
    child: Child,
    group: Option<Pid>,
    since: Instant,
    was_ready: bool,
}

impl Served {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The process itself is killed by its handle; this reaches what it has started.
        self.signal(Signal::KILL);
    }
}

impl Processes {
    /// None run yet. Which do is kept in the file of `record`, if there is one.
    #[must_use]
    pub fn new(settings: ProcessSettings, record: Option<PathBuf>) -> Self {
        Self { settings, record, state: Mutex::default() }
    }

    /// Keeps which run, those that are ending included until they are gone for good.
    fn keep(&self, state: &State) {
        if let Some(record) = &self.record {
            let running = state.running.values().filter_map(|served| Mark::of(served.group?));
            orphans::keep(record, running.chain(state.taken.values().flatten().cloned()));
        }
    }

    fn address(port: u16) -> SocketAddr {
        (IpAddr::from(Ipv4Addr::LOCALHOST), port).into()
    }

    /// Takes out those that have ended, and ends those that do not get ready.
    fn reap(&self, state: &mut State) {
        while let Some(ended) = state.ending.try_join_next() {
            state.taken.retain(|port, _| ended.as_ref().is_ok_and(|ended| ended != port));
        }
        let mut gone = Vec::new();
        for (port, served) in &mut state.running {
            match served.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => gone.push((*port, format!("ended by itself: {status}"))),
                Err(fault) => gone.push((*port, format!("cannot be looked at: {fault}"))),
            }
        }
        for (port, how) in gone {
            state.running.remove(&port);
            state.tell(format!("the process on port {port} {how}"));
        }
        let give_up = Duration::from_millis(self.settings.give_up_ms);
        let late = |served: &Served| !served.was_ready && served.since.elapsed() > give_up;
        let late: Vec<u16> =
            state.running.iter().filter(|(_, one)| late(one)).map(|(port, _)| *port).collect();
        for port in late {
            let ms = self.settings.give_up_ms;
            state.tell(format!("the process on port {port} was not ready within {ms} ms"));
            self.retire(state, port);
        }
    }

    /// Starts one on a free port.
    fn start(&self, state: &mut State) -> Result<(), String> {
        let free = |port: &u16| {
            let is_ours = state.running.contains_key(port) || state.taken.contains_key(port);
            !is_ours && TcpListener::bind(Self::address(*port)).is_ok()
        };
        let port = self.settings.ports.clone().find(free);
        let (first, last) = (self.settings.ports.start(), self.settings.ports.end());
        let port = port.ok_or_else(|| format!("no port from {first} to {last} is free"))?;
        let words: Vec<String> = self
            .settings
            .command
            .iter()
            .map(|word| word.replace(PORT, &port.to_string()))
            .collect();
        let (program, arguments) = words.split_first().ok_or("the command is empty")?;
        let named = self.settings.environment.iter().map(String::as_str);
        let environment = named
            .chain(HANDED_ON)
            .filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            // One that reads its input learns by its end that control is gone, however it went.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| format!("{program} cannot be started: {fault}"))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let group = pid.and_then(Pid::from_raw);
        tracing::info!(port, pid, program, "started a process as an endpoint");
        let served = Served { child, group, since: Instant::now(), was_ready: false };
        state.running.insert(port, served);
        Ok(())
    }

    /// Asks one to end, and sees to it that it does.
    fn retire(&self, state: &mut State, port: u16) {
        let Some(served) = state.running.remove(&port) else { return };
        tracing::info!(port, "ends a process");
        state.taken.insert(port, served.group.and_then(Mark::of));
        let grace = Duration::from_millis(self.settings.grace_ms);
        state.ending.spawn(async move {
            end(served, grace).await;
            port
        });
    }

    /// Those to end: those control names, and of the others that are too many the newest that are
    /// not ready, then the newest.
    fn surplus(&self, state: &State, wish: &Wish) -> Vec<u16> {
        let is_named = |port: u16| wish.release.contains(&Self::address(port).to_string());
        let named = state.running.keys().filter(|port| is_named(**port)).count();
        let most = named.max(state.running.len().saturating_sub(wish.wanted as usize));
        let mut order: Vec<_> = state
            .running
            .iter()
            .map(|(port, one)| (!is_named(*port), one.was_ready, one.since.elapsed(), *port))
            .collect();
        order.sort_unstable();
        order.into_iter().take(most).map(|(.., port)| port).collect()
    }
}

/// Ends a process: it is asked first, and killed after a grace.
async fn end(mut served: Served, grace: Duration) {
    served.signal(Signal::TERM);
    // Its input ends as well: a shell's child may have left the group.
    drop(served.child.stdin.take());
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        match served.child.try_wait() {
            Ok(None) => tokio::time::sleep(REAP_EVERY).await,
            _ => return,
        }
    }
    served.signal(Signal::KILL);
    let _ = served.child.wait().await;
}

#[async_trait]
impl Provider for Processes {
    async fn scale(&self, wish: &Wish) -> Result<Answer, ProviderFault> {
        let mut state = self.state.lock();
        self.reap(&mut state);
        for port in self.surplus(&state, wish) {
            self.retire(&mut state, port);
        }
        let mut answer = Answer::Offer;
        // The same wish again finds it fulfilled: a key needs no memory here.
        while state.running.len() < wish.wanted as usize {
            if let Err(reason) = self.start(&mut state) {
                answer = match state.running.len() as u32 {
                    0 => Answer::Refusal { reason },
                    count => Answer::Counter { count, reason },
                };
                break;
            }
        }
        self.keep(&state);
        Ok(answer)
    }

    async fn list(&self, _: &str, _: Option<&str>) -> Result<Vec<Provided>, ProviderFault> {
        let ports: Vec<u16> = {
            let mut state = self.state.lock();
            self.reap(&mut state);
            state.running.keys().copied().collect()
        };
        let protocol = self.settings.protocol;
        let claimed =
            |port: &u16| Provided::at(Self::address(*port).to_string(), protocol, Standing::Ready);
        let mut seen = self.settings.ready.look_at_all(ports.iter().map(claimed).collect()).await;
        let mut state = self.state.lock();
        for (port, one) in ports.iter().zip(&mut seen) {
            let Some(served) = state.running.get_mut(port) else { continue };
            served.was_ready |= one.is_ready();
            if !served.was_ready {
                one.standing = Standing::Starting;
            }
        }
        Ok(seen)
    }

    fn lists_at_once(&self) -> bool {
        true
    }

    fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().news)
    }

    async fn end(&self) {
        let mut ending = {
            let mut state = self.state.lock();
            let ports: Vec<u16> = state.running.keys().copied().collect();
            for port in ports {
                self.retire(&mut state, port);
            }
            std::mem::take(&mut state.ending)
        };
        while ending.join_next().await.is_some() {}
        let mut state = self.state.lock();
        state.taken.clear();
        self.keep(&state);
    }
}
