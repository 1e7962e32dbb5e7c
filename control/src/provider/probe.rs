//! Probes: whether an endpoint can be reached, by a connection or an HTTP path. A look is bounded
//! in time and in what it reads: an endpoint that never ends an answer holds nothing up.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{Provided, Standing};

/// How long one look may take.
pub const PROBE_WAIT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read: its status line.
const ANSWER_BYTES_MAX: u64 = 1_024;

/// How an endpoint shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It takes a TCP connection.
    Connect,
    /// It answers GET on this path with a 2xx, over HTTP/1.1 in the clear.
    Get(String),
}

impl Probe {
    /// Looks once.
    ///
    /// # Errors
    /// What keeps the endpoint from being ready, for people.
    pub async fn look(&self, address: &str) -> Result<(), String> {
        let looked = async {
            let stream = TcpStream::connect(address).await.map_err(|fault| fault.to_string())?;
            match self {
                Self::Connect => Ok(()),
                Self::Get(path) => get(stream, address, path).await,
            }
        };
        let ms = PROBE_WAIT.as_millis();
        timeout(PROBE_WAIT, looked).await.unwrap_or_else(|_| Err(format!("silent for {ms} ms")))
    }

    /// Looks at all that are said to be ready, at one time.
    pub async fn look_at_all(&self, mut endpoints: Vec<Provided>) -> Vec<Provided> {
        let mut looks = JoinSet::new();
        for (index, one) in endpoints.iter().enumerate().filter(|(_, one)| one.is_ready()) {
            let (probe, address) = (self.clone(), one.endpoint.address.clone());
            looks.spawn(async move { (index, probe.look(&address).await) });
        }
        while let Some(looked) = looks.join_next().await {
            if let Ok((index, Err(problem))) = looked {
                endpoints[index].standing = Standing::Unreachable(problem);
            }
        }
        endpoints
    }
}

async fn get(mut stream: TcpStream, address: &str, path: &str) -> Result<(), String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: homing\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|fault| fault.to_string())?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(ANSWER_BYTES_MAX);
    while !answer.contains(&b'\n') {
        match bounded.read_buf(&mut answer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(fault) => return Err(fault.to_string()),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1).filter(|_| line.starts_with("HTTP/1."));
    match status.and_then(|status| status.trim().parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(format!("{path} answers {status}")),
        None => Err(format!("{path} does not answer HTTP/1.1")),
    }
}
