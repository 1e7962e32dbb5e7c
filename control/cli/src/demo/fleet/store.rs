//! A Redis server of the demo's own in each zone, on a loopback port of its own, writing every
//! change to disk before it answers: killing it must lose nothing that was acknowledged.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::demo::children::free_ports;
use crate::trouble::Trouble;

/// The environment variable that names another program to start, Valkey's for one.
const PROGRAM: &str = "HOMING_REDIS_SERVER";
/// Longest wait for a server to answer.
const READY: Duration = Duration::from_secs(10);

/// One zone's server.
#[derive(Debug)]
pub struct Store {
    /// `redis-ZONE`.
    pub name: String,
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Store {
    /// Starts a zone's server and waits until it answers.
    ///
    /// # Errors
    /// There is none to start, or it does not come up.
    pub async fn launch(dir: &Path, zone: &str) -> Result<Self, Trouble> {
        let [port] = free_ports()?;
        let name = format!("redis-{zone}");
        let dir = dir.join(&name);
        std::fs::create_dir_all(&dir)?;
        let mut store = Self { name, dir, port, child: None };
        store.start()?;
        let began = std::time::Instant::now();
        while tokio::net::TcpStream::connect(store.address()).await.is_err() {
            if began.elapsed() > READY {
                return Err(Trouble::unavailable(
                    format!("{} does not come up", store.name),
                    format!("look at {}", store.dir.join("log").display()),
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(store)
    }

    /// Starts the server, with what it had written before.
    ///
    /// # Errors
    /// There is none to start.
    pub fn start(&mut self) -> Result<(), Trouble> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
        let program = std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into());
        let child = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Trouble::unavailable(
                    format!("{} cannot be started: {error}", program.display()),
                    format!(
                        "install the package redis-server, name another server (Valkey's, say) in \
                         {PROGRAM}, or use --state hooks"
                    ),
                )
            })?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> Result<(), Trouble> {
        if let Some(child) = &mut self.child {
            child.kill().await?;
        }
        Ok(())
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// As clients name it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The list under a key.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn list(&self, key: &str) -> Result<Vec<String>, Trouble> {
        let odd = |error: redis::RedisError| Trouble::failure(format!("{}: {error}", self.name));
        let client = redis::Client::open(self.url()).map_err(odd)?;
        let mut connection = client.get_multiplexed_async_connection().await.map_err(odd)?;
        let mut range = redis::cmd("LRANGE");
        range.arg(key).arg(0).arg(-1);
        range.query_async(&mut connection).await.map_err(odd)
    }
}
