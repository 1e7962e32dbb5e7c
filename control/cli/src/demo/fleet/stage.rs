//! The fleet's processes: a Redis and an app in each zone, a gate in front of them, edges, control,
//! and the delay lines between. Files are written as an operator would write them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::line::{self, Switches};
use super::store::Store;
use super::warmth;
use crate::args::{CertsArgs, FleetState, FleetTier};
use crate::command::certs;
use crate::demo::children::{Role, free_ports};
use crate::rest::{Ask, Peer, Rest};
use crate::trouble::Trouble;

/// The zones, and how far they are from each other: one way, milliseconds.
pub const ZONES: [&str; 3] = ["paris", "oregon", "tokyo"];
const ONE_WAY_MS: [[u64; 3]; 3] = [[0, 40, 80], [40, 0, 10], [80, 10, 0]];
/// Edges, both in the first zone's city.
pub const EDGES: usize = 2;

/// Everything that runs.
pub struct Stage {
    /// Processes by name.
    pub roles: BTreeMap<String, Role>,
    /// The zones' stores.
    pub stores: Vec<Store>,
    /// Switches of the lines, by the name of what they lead to.
    pub switches: Switches,
    /// Where clients are taken in.
    pub edges: Vec<SocketAddr>,
    /// Control's API.
    pub control: Rest,
    /// Admin sides by process name.
    pub admins: BTreeMap<String, Rest>,
    /// The zones' apps.
    pub apps: Vec<Rest>,
}

/// One way between two zones.
#[must_use]
pub fn one_way(from: usize, to: usize) -> Duration {
    Duration::from_millis(ONE_WAY_MS[from][to])
}

impl Stage {
    /// Starts everything and waits until it serves.
    ///
    /// # Errors
    /// What does not start, with the end of its log.
    pub async fn set(dir: &Path, state: FleetState, tier: FleetTier) -> Result<Self, Trouble> {
        let mut stage = Building::new(dir, state, tier)?;
        stage.zones().await?;
        stage.control().await?;
        stage.proxies().await?;
        stage.ready().await
    }

    /// A process by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn role(&mut self, name: &str) -> Result<&mut Role, Trouble> {
        let role = self.roles.get_mut(name);
        role.ok_or_else(|| Trouble::failure(format!("there is no process {name}")))
    }

    /// Stops a process where it stands, or lets it go on.
    ///
    /// # Errors
    /// It is gone.
    pub fn pause(&mut self, name: &str, paused: bool) -> Result<(), Trouble> {
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        let pid = match self.store_of(name) {
            Some(store) => store.pid(),
            None => self.role(name)?.pid(),
        };
        let pid = pid.and_then(|pid| Pid::from_raw(pid as i32));
        let pid = pid.ok_or_else(|| Trouble::failure(format!("{name} is gone")))?;
        kill_process(pid, signal).map_err(|error| Trouble::failure(format!("{name}: {error}")))
    }

    /// Kills a process and starts it again after a while.
    ///
    /// # Errors
    /// It cannot be killed or started.
    pub async fn kill(&mut self, name: &str, down: Duration) -> Result<(), Trouble> {
        if let Some(store) = self.store_of(name) {
            store.kill().await?;
            tokio::time::sleep(down).await;
            return store.start();
        }
        self.role(name)?.kill().await?;
        tokio::time::sleep(down).await;
        self.role(name)?.restart()
    }

    fn store_of(&mut self, name: &str) -> Option<&mut Store> {
        self.stores.iter_mut().find(|store| store.name == name)
    }

    /// Ends everything.
    pub async fn leave(mut self) {
        for role in self.roles.values_mut() {
            role.leave().await;
        }
        for store in &mut self.stores {
            let _ = store.kill().await;
        }
    }
}

struct Building {
    dir: PathBuf,
    state: FleetState,
    tier: FleetTier,
    roles: BTreeMap<String, Role>,
    stores: Vec<Store>,
    switches: Switches,
    apps: Vec<SocketAddr>,
    /// What is read through caches: apart from what the other figures are of.
    shops: Vec<SocketAddr>,
    edges: Vec<SocketAddr>,
    admins: BTreeMap<String, SocketAddr>,
    api: SocketAddr,
    link: SocketAddr,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Each zone's gate sends from an address of its own, by which the lines know it.
fn gate_ip(zone: usize) -> IpAddr {
    IpAddr::from([127, 0, 1, 1 + zone as u8])
}

impl Building {
    fn new(dir: &Path, state: FleetState, tier: FleetTier) -> Result<Self, Trouble> {
        let names = (1..=EDGES).map(|n| format!("edge-{n}"));
        let gates = ZONES.iter().map(|zone| format!("gate-{zone}"));
        certs::run(&CertsArgs {
            dir: dir.join("certs"),
            names: names.chain(gates).chain(["control".to_owned()]).collect(),
            san: Vec::new(),
            force: false,
            quiet: true,
        })?;
        // One user is one session, whichever edge is asked.
        for name in ["session.key", "cookie.key"] {
            std::fs::write(dir.join(name), hex::encode(blake3::hash(name.as_bytes()).as_bytes()))?;
        }
        let [api, link] = free_ports()?;
        Ok(Self {
            dir: dir.to_owned(),
            state,
            tier,
            roles: BTreeMap::new(),
            stores: Vec::new(),
            switches: Switches::default(),
            apps: Vec::new(),
            shops: Vec::new(),
            edges: Vec::new(),
            admins: BTreeMap::new(),
            api: local(api),
            link: local(link),
        })
    }

    async fn zones(&mut self) -> Result<(), Trouble> {
        for zone in ZONES {
            let mut args: Vec<String> = ["app", "--zone", zone].map(str::to_owned).to_vec();
            if self.state == FleetState::Redis {
                let store = Store::launch(&self.dir, zone).await?;
                args.extend(["--redis".to_owned(), store.url()]);
                self.stores.push(store);
            }
            let name = format!("app-{zone}");
            let (role, address) = Role::start_app(&self.dir, &name, &args).await?;
            self.roles.insert(name, role);
            self.apps.push(address);
            let args = ["app", "--zone", zone, "--item-work", warmth::ITEM_WORK];
            let name = format!("shop-{zone}");
            let args = args.map(str::to_owned);
            let (role, address) = Role::start_app(&self.dir, &name, &args).await?;
            self.roles.insert(name, role);
            self.shops.push(address);
        }
        Ok(())
    }

    async fn control(&mut self) -> Result<(), Trouble> {
        let text = format!(
            "api: {{ address: \"{}\" }}\nlink: {{ address: \"{}\" }}\ndata_dir: \
             control-data\nround: 200ms\nidentity: {{ ca: certs/ca.pem, cert: \
             certs/control.pem, key: certs/control.key }}\n",
            self.api, self.link
        );
        self.start("control", &["control"], &text)?;
        let control = Rest::new(Peer::Control, &format!("http://{}", self.api), None)?;
        if let Some(role) = self.roles.get_mut("control") {
            role.ready(&control, "/livez").await?;
        }
        let document = self.document();
        std::fs::write(self.dir.join("zones.yaml"), &document)?;
        let put = Ask::send(http::Method::PUT, "/v1/document");
        control.ask(put.body("application/yaml", document)).await.map(drop)
    }

    fn document(&self) -> String {
        let mut text = String::from("zones:\n");
        for (zone, app) in ZONES.iter().zip(&self.apps) {
            text += &format!("  - {{ name: {zone}, endpoints: [\"{app}\"] }}\n");
        }
        let state = match self.state {
            FleetState::Hooks => "{ hooks: { path: /homing/state, timeout: 5s } }".to_owned(),
            FleetState::Redis => {
                let urls = ZONES.iter().zip(&self.stores);
                let urls: Vec<_> = urls.map(|(z, s)| format!("{z}: \"{}\"", s.url())).collect();
                let keys: Vec<_> =
                    crate::app::redis::KEYS.iter().map(|key| format!("\"{key}\"")).collect();
                format!(
                    "{{ redis: {{ {} }}, keys: [{}], timeout: 5s, state_max: 64MiB }}",
                    urls.join(", "),
                    keys.join(", ")
                )
            }
        };
        let tier = match self.tier {
            FleetTier::T0 => "t0",
            FleetTier::T1 => "t1",
            FleetTier::T2 => "t2",
        };
        text += &format!(
            "services:\n  - name: notebook\n    match: {{ path: / }}\n    session: {{ from: [{{ \
             header: x-user }}], idle: 1h }}\n    state: {state}\n    tier: {tier}\n    \
             long_lived: carry\n    health: {{ path: /healthz, interval: 1s, timeout: 2s }}\n\
             {}policy:\n  hold: {{ wait_max: 5s }}\n  cut: {{ freeze_max: 2s, gap_wait: 2s }}\n  \
             moves: {{ concurrent_per_pair: 16 }}\n",
            warmth::services(&self.shops)
        );
        text
    }

    async fn proxies(&mut self) -> Result<(), Trouble> {
        for (index, zone) in ZONES.iter().enumerate() {
            self.gate(index, zone).await?;
        }
        for n in 1..=EDGES {
            let name = format!("edge-{n}");
            let [listen, admin] = free_ports()?;
            let text = format!(
                "role: edge\nlisten: [{{ address: \"{}\" }}]\nlimits: {{ threads: 2 }}\nsecrets: {{ session_key: \
                 {{ file: session.key }}, cookies: [{{ file: cookie.key }}] }}\n{}",
                local(listen),
                self.proxy(&name, local(admin))
            );
            self.start(&name, &["proxy"], &text)?;
            self.edges.push(local(listen));
            self.admins.insert(name, local(admin));
        }
        Ok(())
    }

    async fn gate(&mut self, index: usize, zone: &str) -> Result<(), Trouble> {
        let name = format!("gate-{zone}");
        let [http, link, admin] = free_ports()?;
        let link = SocketAddr::new(gate_ip(index), link);
        // Edges stand in the first zone's city.
        let far = one_way(0, index);
        let http_line = line::tcp(local(http), self.switches.of(&name), far).await?;
        let delay = move |from: IpAddr| {
            let from = (0..ZONES.len()).find(|zone| gate_ip(*zone) == from);
            from.map_or(Duration::ZERO, |from| one_way(from, index))
        };
        let link_line = line::udp(link, self.switches.of(&format!("{name}-link")), delay).await?;
        let text = format!(
            "role: gate\ngate: {{ zone: {zone}, http: \"{}\", link: \"{link}\", advertise: {{ \
             http: \"{http_line}\", link: \"{link_line}\" }} }}\nlimits: {{ threads: 2 }}\n{}",
            local(http),
            self.proxy(&name, local(admin))
        );
        self.start(&name, &["proxy"], &text)?;
        self.admins.insert(name, local(admin));
        Ok(())
    }

    /// What all proxies' settings say.
    fn proxy(&self, name: &str, admin: SocketAddr) -> String {
        format!(
            "name: {name}\nadmin: {{ address: \"{admin}\" }}\nstate_dir: {name}-state\ncontrol: {{ \
             url: \"https://{}\", name: control }}\nidentity: {{ ca: certs/ca.pem, cert: certs/{name}.pem, key: \
             certs/{name}.key }}\ndrain: {{ delay: 0s, patience: 1s }}\n",
            self.link
        )
    }

    fn start(&mut self, name: &str, verb: &[&str], text: &str) -> Result<(), Trouble> {
        let file = self.dir.join(format!("{name}.yaml"));
        std::fs::write(&file, text)?;
        let mut args: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        args.push(file.display().to_string());
        self.roles.insert(name.to_owned(), Role::start(&self.dir, name, &args)?);
        Ok(())
    }

    async fn ready(mut self) -> Result<Stage, Trouble> {
        let mut admins = BTreeMap::new();
        for (name, address) in &self.admins {
            let rest = Rest::new(Peer::Proxy, &format!("http://{address}"), None)?;
            if let Some(role) = self.roles.get_mut(name) {
                role.ready(&rest, "/readyz").await?;
            }
            admins.insert(name.clone(), rest);
        }
        let rest = |address: &SocketAddr| Rest::new(Peer::App, &format!("http://{address}"), None);
        Ok(Stage {
            stores: self.stores,
            switches: self.switches,
            edges: self.edges,
            control: Rest::new(Peer::Control, &format!("http://{}", self.api), None)?,
            admins,
            apps: self.apps.iter().map(rest).collect::<Result<_, _>>()?,
            roles: self.roles,
        })
    }
}
