//! A real Redis server of a test's own: on a free port, in a directory of its own, gone at the end.
//! `HOMING_REDIS_SERVER` names another program to start, Valkey's for one.
//! Needs nothing of this crate, so that other test programs may take it in by path.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

/// The program that the tests start.
fn program() -> std::ffi::OsString {
    std::env::var_os("HOMING_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// Whether there is a server to start. In CI there must be one; elsewhere its lack is told.
pub(crate) fn installed() -> bool {
    let found = Command::new(program()).arg("--version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "redis-server is not installed, and this is CI");
    // Past the test harness, which would keep a passing test's words to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: redis-server is not installed");
    false
}

/// A port that nothing listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl RedisServer {
    /// Starts one that keeps nothing on disk; the arguments add to that or override it.
    pub(crate) fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut server = Self { port: free_port(), dir, args, child: None };
        // Another test may have been given the port meanwhile.
        while let Err(said) = server.try_run() {
            assert!(said.contains("listen"), "redis-server does not start: {said}");
            server.port = free_port();
        }
        server
    }

    /// Starts it again, on the same port and directory.
    pub(crate) fn run(&mut self) {
        self.try_run().unwrap();
    }

    fn try_run(&mut self) -> Result<(), String> {
        let mut command = Command::new(program());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--loglevel", "notice", "--dir"]).arg(self.dir.path());
        command.args(&self.args).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        // Said once all ports are bound and all data is read; a server that cannot start says why.
        let mut last = String::new();
        for line in said.lines().map_while(Result::ok) {
            if line.contains("Ready to accept connections") {
                return Ok(());
            }
            last = line;
        }
        self.kill();
        Err(last)
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it stands; connections stay open.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Its address, as a document has it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
