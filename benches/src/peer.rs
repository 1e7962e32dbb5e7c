//! The proxies that are measured side by side, each configured for the same job: four endpoints in
//! two zones, sessions sticky by cookie, keep-alive on both sides, one worker, no access log.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::process::Measured;

/// A proxy under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Ours.
    Homing,
    /// HAProxy from the system's packages.
    Haproxy,
    /// nginx from the system's packages.
    Nginx,
}

impl Peer {
    /// In the order they take turns.
    pub const ALL: [Self; 3] = [Self::Homing, Self::Haproxy, Self::Nginx];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Homing => "homing",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// Where its program is, if it is installed (ours: built beside this one).
    #[must_use]
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::Homing => {
                let beside = std::env::current_exe().ok()?.with_file_name("homing-proxy");
                beside.exists().then_some(beside)
            }
            Self::Haproxy | Self::Nginx => ["/usr/sbin", "/usr/local/sbin", "/usr/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(self.name()))
                .find(|path| path.exists()),
        }
    }

    /// Its version, as it tells it.
    #[must_use]
    pub fn version(self) -> String {
        let flag = if self == Self::Homing { "--version" } else { "-v" };
        let Some(program) = self.program() else { return "not installed".to_owned() };
        let Ok(output) = Command::new(program).arg(flag).output() else { return String::new() };
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    }

    /// Starts it in front of `origins` and waits until it listens.
    ///
    /// # Errors
    /// It is not installed, does not start, or does not listen within ten seconds.
    pub fn start(
        self,
        folder: &Path,
        origins: &[SocketAddr],
    ) -> io::Result<(Measured, SocketAddr)> {
        let program = self.program().ok_or_else(|| io::Error::other("not installed"))?;
        let port = free_port()?;
        let config = folder.join(format!("{}.conf", self.name()));
        let text = match self {
            Self::Homing => homing(folder, port, free_port()?, origins),
            Self::Haproxy => haproxy(port, origins),
            Self::Nginx => nginx(folder, port, origins),
        };
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        match self {
            Self::Homing => command.arg(&config),
            Self::Haproxy => command.arg("-f").arg(&config),
            Self::Nginx => command.arg("-c").arg(&config).arg("-e").arg(folder.join("nginx.err")),
        };
        let mut measured = Measured::start(&mut command)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until_listening(&mut measured, address)?;
        Ok((measured, address))
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn wait_until_listening(measured: &mut Measured, address: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if measured.has_ended()? {
            return Err(io::Error::other("it ended at once; start it by hand to see why"));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Err(io::Error::other("it does not listen after ten seconds"))
}

fn homing(folder: &Path, port: u16, admin: u16, origins: &[SocketAddr]) -> String {
    let half = origins.len().div_ceil(2);
    let list = |origins: &[SocketAddr]| {
        origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    format!(
        "listen:\n  - {{ address: 127.0.0.1:{port} }}\nadmin: {{ address: 127.0.0.1:{admin} }}\n\
         state_dir: {}\nlimits: {{ threads: 1 }}\n\
         zones:\n  - {{ name: east, endpoints: [{}] }}\n  - {{ name: west, endpoints: [{}] }}\n\
         services:\n  - name: bench\n    match: {{ path: / }}\n    session:\n      from:\n\
         \x20       - cookie: {{ name: homing, secure: false }}\n      idle: 1h\n    state: stateless\n",
        folder.join("homing-state").display(),
        list(&origins[..half]),
        list(&origins[half..]),
    )
}

fn haproxy(port: u16, origins: &[SocketAddr]) -> String {
    let servers: String = origins
        .iter()
        .enumerate()
        .map(|(index, origin)| format!("    server s{index} {origin} cookie s{index}\n"))
        .collect();
    format!(
        "global\n    nbthread 1\n    maxconn 4000\ndefaults\n    mode http\n    timeout connect 1s\n\
         \x20   timeout client 30s\n    timeout server 30s\n    http-reuse always\n\
         frontend in\n    bind 127.0.0.1:{port}\n    default_backend origins\n\
         backend origins\n    balance roundrobin\n    cookie SRV insert indirect nocache\n{servers}"
    )
}

fn nginx(folder: &Path, port: u16, origins: &[SocketAddr]) -> String {
    let servers: String = origins.iter().map(|origin| format!("server {origin};\n")).collect();
    let folder = folder.display();
    // Debian's nginx has no `sticky`; a consistent hash of a cookie it sets itself is its nearest.
    format!(
        "worker_processes 1;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.err;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\n\
         client_body_temp_path {folder}/nginx-body;\nproxy_temp_path {folder}/nginx-proxy;\n\
         fastcgi_temp_path {folder}/nginx-f;\nuwsgi_temp_path {folder}/nginx-u;\n\
         scgi_temp_path {folder}/nginx-s;\n\
         map $cookie_sid $sid {{ default $cookie_sid; '' $request_id; }}\n\
         map $cookie_sid $fresh {{ default ''; '' 'sid=$request_id; Path=/; HttpOnly'; }}\n\
         upstream origins {{ hash $sid consistent; {servers} keepalive 256; \
         keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://origins;\n\
         proxy_http_version 1.1; proxy_set_header Connection ''; add_header Set-Cookie $fresh; }} }}\n}}\n"
    )
}
