//! Runs the binary, keeps its processes, and sends plain requests with a cookie.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_homing");

/// A run of a command to its end.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn homing(args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = Command::new(BIN)
        .args(args)
        .env_remove("HOMING_ADMIN")
        .env_remove("HOMING_CONTROL")
        .env_remove("HOMING_TOKEN")
        .output()
        .unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// A role in the background; it leaves when this is dropped.
pub(crate) struct Role(Child);

impl Role {
    pub(crate) fn start(args: &[&str], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(BIN)
            .args(args)
            .arg("--exit-with-parent")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Whether it leaves by itself when its pipe closes.
    pub(crate) fn leaves_with_its_parent(&mut self) -> bool {
        drop(self.0.stdin.take());
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ports that nothing listens on and no other test of this run is given, also not as the near end
/// of a connection: they are below what systems take for those.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    const FROM: u32 = 10_240;
    const RANGE: u32 = 20_000;
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    // Another run on this machine begins elsewhere.
    let own = std::process::id().wrapping_mul(619);
    let candidates = std::iter::repeat_with(|| {
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (FROM + own.wrapping_add(next) % RANGE) as u16
    });
    let free = candidates.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.take(count).collect()
}

/// One request, with the cookie of earlier answers.
#[derive(Default)]
pub(crate) struct Jar {
    pub(crate) cookie: Option<String>,
    /// Names its requests, as their `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

impl Jar {
    pub(crate) fn ask(&mut self, port: u16, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_ask(port, method, path, body).unwrap()
    }

    /// The same where the connection may break off.
    pub(crate) fn try_ask(
        &mut self,
        port: u16,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let cookie = self.cookie.as_ref().map(|c| format!("Cookie: {c}\r\n")).unwrap_or_default();
        let key = self.key.iter().map(|key| format!("Idempotency-Key: {key}\r\n"));
        let key = key.collect::<String>();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}{key}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut = || std::io::Error::other(format!("no whole head: {answer:?}"));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        for line in head.lines() {
            let (name, value) = line.split_once(": ").unwrap_or_default();
            if name.eq_ignore_ascii_case("set-cookie") {
                self.cookie = value.split(';').next().map(str::to_owned);
            }
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(cut)?, body.to_owned()))
    }
}

/// Waits until a port answers a path with 200.
pub(crate) fn wait_ready(port: u16, path: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let open = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok();
        if open && Jar::default().ask(port, "GET", path, "").0 == 200 {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("port {port} did not get ready");
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    // A body in chunks has its lengths around it.
    let from = text.find('{').unwrap();
    let to = text.rfind('}').unwrap();
    serde_json::from_str(&text[from..=to]).unwrap()
}
