//! The demo's processes: this same binary run as zone apps, proxy and control. They die with the
//! demo, however it ends: each holds the reading end of a pipe and leaves when it closes.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::rest::{Ask, Rest};
use crate::trouble::Trouble;

/// Longest wait for a process to be ready.
const READY: Duration = Duration::from_secs(30);
/// Longest wait for a process to leave when asked to.
const LEAVE: Duration = Duration::from_secs(5);
/// Bytes of a dead process's log that are shown.
const LOG_TAIL: usize = 2_000;

/// One process of the demo.
#[derive(Debug)]
pub struct Role {
    name: String,
    args: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Role {
    /// Starts this binary with a role's arguments; its output goes to `<dir>/<name>.log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(dir: &Path, name: &str, args: &[String]) -> Result<Self, Trouble> {
        let log = dir.join(format!("{name}.log"));
        let child = command(&log, args)?.stdout(log_file(&log)?).spawn()?;
        Ok(Self { name: name.to_owned(), args: args.to_vec(), log, child })
    }

    /// Starts a zone's app and learns the address it listens on from its first line.
    ///
    /// # Errors
    /// If it cannot be started or says nothing.
    pub async fn start_app(
        dir: &Path,
        name: &str,
        args: &[String],
    ) -> Result<(Self, SocketAddr), Trouble> {
        let log = dir.join(format!("{name}.log"));
        let mut child = command(&log, args)?.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = BufReader::new(stdout);
            let _ = tokio::time::timeout(READY, stdout.read_line(&mut line)).await;
        }
        let role = Self { name: name.to_owned(), args: args.to_vec(), log, child };
        let address = line.split_whitespace().last().and_then(|word| word.parse().ok());
        let address = address.ok_or_else(|| role.trouble("did not say where it listens"))?;
        Ok((role, address))
    }

    /// Waits until a path of the role answers 200.
    ///
    /// # Errors
    /// If the process ends or does not get ready.
    pub async fn ready(&mut self, rest: &Rest, path: &str) -> Result<(), Trouble> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.trouble(&format!("ended at once ({status})")));
            }
            if rest.raw(Ask::get(path)).await.is_ok_and(|reply| reply.status.is_success()) {
                return Ok(());
            }
            if began.elapsed() > READY {
                return Err(self.trouble(&format!("did not get ready in {} s", READY.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Its process, unless it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills the process at once, without a chance to tidy up.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> Result<(), Trouble> {
        Ok(self.child.kill().await?)
    }

    /// Starts the process again as it was started first.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self) -> Result<(), Trouble> {
        self.child = command(&self.log, &self.args)?.stdout(log_file(&self.log)?).spawn()?;
        Ok(())
    }

    /// Asks the process to leave by closing its pipe, and kills it if it does not.
    pub async fn leave(&mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(LEAVE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What went wrong with this process, with the end of its log.
    #[must_use]
    pub fn trouble(&self, what: &str) -> Trouble {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned();
        Trouble::unavailable(
            format!("{} {what}; the end of its log:\n{}", self.name, tail.trim_end()),
            "run the demo with --keep to look at its files",
        )
    }
}

fn command(log: &Path, args: &[String]) -> Result<Command, Trouble> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(args)
        .arg("--exit-with-parent")
        .stdin(Stdio::piped())
        .stderr(log_file(log)?)
        .kill_on_drop(true);
    Ok(command)
}

fn log_file(path: &Path) -> std::io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Free ports of the loopback. All are held until the last is found, so that they differ.
///
/// # Errors
/// If the system has none.
pub fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
