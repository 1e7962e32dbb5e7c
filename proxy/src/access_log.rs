//! The access log: one JSON line a request, written by one thread behind a bounded queue. A slow
//! disk costs lines, which are counted, and never a request's time.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde::Serialize;

#[cfg(test)]
mod tests;

/// Lines waiting for the writer.
const QUEUE_MAX: usize = 8_192;
/// How long a line may sit in the writer's buffer.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Bytes kept of any text a client chose.
const TEXT_BYTES_MAX: usize = 512;

/// One request, as it is logged. Neither cookies, tokens nor raw keys are part of it; the session
/// is its key's first 8 digits, enough to follow and too little to look up a user by.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    /// When it ended, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The client's address.
    pub client: String,
    /// `GET`.
    pub method: String,
    /// The authority asked for.
    pub host: String,
    /// The path without the query, which may hold secrets.
    pub path: String,
    /// `1.1`, `2`.
    pub protocol: &'static str,
    /// The status sent; 0 if the client was gone first.
    pub status: u16,
    /// Response body bytes sent.
    pub bytes: u64,
    /// Request seen to response complete, microseconds.
    pub duration_us: u64,
    /// Of that, waiting in the hold.
    #[serde(skip_serializing_if = "is_zero")]
    pub held_us: u64,
    /// The service's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The zone's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Why that zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// First digits of the session key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The failure's name, if Homing answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'static str>,
    /// The request's id.
    pub request_id: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A text a client chose, cut to what a log line may spend on it.
#[must_use]
pub fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// The sending side, shared by all requests.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    reopen: Arc<AtomicBool>,
}

/// The writer's thread. Ends, with everything written, once every [`AccessLog`] is gone.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
}

impl Writer {
    /// Waits until everything is written.
    pub fn finish(self) {
        if self.thread.join().is_err() {
            tracing::error!("the access log's thread has panicked");
        }
    }
}

impl AccessLog {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be started.
    pub fn open(destination: Destination) -> io::Result<(Self, Writer)> {
        let mut sink = Sink::open(&destination)?;
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let reopen = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&reopen);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&destination, &mut sink, &lines, &asked))?;
        let log = Self { queue, dropped: Arc::default(), reopen };
        Ok((log, Writer { thread }))
    }

    /// Hands a line to the writer; drops and counts it if the queue is full.
    pub fn write(&self, line: Line) {
        if self.queue.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The counter behind [`AccessLog::dropped`], for metrics: holding it, unlike the log, does
    /// not keep the writer from ending.
    #[must_use]
    pub fn dropped_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Opens the file anew before the next line, after a rotation has moved it away.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }
}

enum Sink {
    Stdout(BufWriter<io::Stdout>),
    File(BufWriter<File>),
}

impl Sink {
    fn open(destination: &Destination) -> io::Result<Self> {
        match destination {
            Destination::Stdout => Ok(Self::Stdout(BufWriter::new(io::stdout()))),
            Destination::File(path) => Ok(Self::File(BufWriter::new(append(path)?))),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(writer) => writer,
            Self::File(writer) => writer,
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_lines(
    destination: &Destination,
    sink: &mut Sink,
    lines: &Receiver<Line>,
    reopen: &AtomicBool,
) {
    // A full disk would otherwise fill the program log too.
    let mut told = false;
    loop {
        let line = lines.recv_timeout(FLUSH_EVERY);
        if reopen.swap(false, Ordering::Relaxed) {
            match Sink::open(destination) {
                Ok(opened) => {
                    tell_once(&mut told, sink.writer().flush());
                    *sink = opened;
                    told = false;
                }
                Err(fault) => tracing::error!(%fault, "the access log cannot be opened anew"),
            }
        }
        let written = match line {
            Ok(line) => write_line(sink.writer(), &line),
            Err(RecvTimeoutError::Timeout) => sink.writer().flush(),
            Err(RecvTimeoutError::Disconnected) => {
                tell_once(&mut told, sink.writer().flush());
                return;
            }
        };
        tell_once(&mut told, written);
    }
}

fn write_line(writer: &mut dyn Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, line)?;
    writer.write_all(b"\n")
}

fn tell_once(told: &mut bool, written: io::Result<()>) {
    if let Err(fault) = written
        && !std::mem::replace(told, true)
    {
        tracing::error!(%fault, "the access log cannot be written");
    }
}
