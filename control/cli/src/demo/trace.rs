//! Reads a web server's access log in the Common or Combined Log Format. Written by hand over
//! bytes: real logs hold quotes inside requests, requests without a protocol, bytes that are no
//! UTF-8 and last lines cut short, and a line that cannot be read is counted, never a reason to
//! stop.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::trouble::Trouble;

/// Longest line looked at; the rest of a longer one is passed over and the line skipped.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Most requests taken from a log; later ones are counted as left out.
pub const VISITS_MAX: usize = 1_000_000;
/// Most clients taken from a log; requests of later ones are counted as left out.
pub const CLIENTS_MAX: usize = 20_000;

/// The log that comes with the binary.
const BUNDLED: &[u8] = include_bytes!("../../../../configs/demo/nasa-aug95-head.log.gz");

/// What a request of the log asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET, and every method that fetches.
    Get,
    /// HEAD.
    Head,
    /// POST, and every method that sends.
    Post,
}

/// One request of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Seconds since 1970.
    pub at_s: i64,
    /// The client, by order of first appearance.
    pub client: u32,
    /// What it asked for.
    pub verb: Verb,
    /// Path and query in a form that a request line may carry.
    pub path: String,
    /// The status it got.
    pub status: u16,
    /// The bytes of the answer's body.
    pub bytes: u64,
}

/// A log, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Its requests.
    pub visits: Vec<Visit>,
    /// How many clients there are.
    pub clients: u32,
    /// What the log calls them.
    pub names: Vec<String>,
    /// Lines that could not be read.
    pub skipped: u64,
    /// Requests beyond what is taken from one log.
    pub left_out: u64,
}

impl Trace {
    /// The log that comes with the binary: NASA Kennedy Space Center, August 1995.
    ///
    /// # Errors
    /// Never for an intact binary.
    pub fn bundled() -> Result<Self, Trouble> {
        Self::read(BUNDLED).map_err(|error| {
            Trouble::failure(format!("the bundled log cannot be unpacked: {error}"))
        })
    }

    /// Opens a log file, plain or gzip by its first bytes.
    ///
    /// # Errors
    /// If it cannot be read, or holds not one readable request.
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        let shown = path.display();
        let file = std::fs::File::open(path)
            .map_err(|error| Trouble::failure(format!("cannot open the log {shown}: {error}")))?;
        let trace = Self::read(file)
            .map_err(|error| Trouble::failure(format!("cannot read the log {shown}: {error}")))?;
        if trace.visits.is_empty() {
            let text = format!("{shown} holds no request ({} lines skipped)", trace.skipped);
            return Err(
                Trouble::failure(text).remedy("give a file in Common or Combined Log Format")
            );
        }
        Ok(trace)
    }

    /// Reads a log, plain or gzip by its first bytes.
    ///
    /// # Errors
    /// If the reader fails. A gzip cut short ends the log there.
    pub fn read(source: impl Read) -> std::io::Result<Self> {
        let mut source = BufReader::with_capacity(64 << 10, source);
        let gzip = source.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        if gzip {
            Self::lines(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(source)))
        } else {
            Self::lines(source)
        }
    }

    fn lines(mut source: impl BufRead) -> std::io::Result<Self> {
        let mut trace = Self::default();
        let mut clients = HashMap::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let whole = match take_line(&mut source, &mut line) {
                Ok(Some(whole)) => whole,
                Ok(None) => break,
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(e),
            };
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match parse_line(&String::from_utf8_lossy(&line)).filter(|_| whole) {
                Some(parsed) => trace.take(parsed, &mut clients),
                None => trace.skipped += 1,
            }
        }
        trace.clients = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        // Servers log an answer when it ends, so neighbours may stand in the wrong order.
        trace.visits.sort_by_key(|visit| visit.at_s);
        Ok(trace)
    }

    fn take(&mut self, (host, mut visit): (String, Visit), clients: &mut HashMap<String, u32>) {
        let next = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let known = clients.contains_key(&host);
        if self.visits.len() >= VISITS_MAX || (!known && clients.len() >= CLIENTS_MAX) {
            self.left_out += 1;
            return;
        }
        if !known {
            self.names.push(host.clone());
        }
        visit.client = *clients.entry(host).or_insert(next);
        self.visits.push(visit);
    }
}

/// Reads to the next newline. `Some(false)`: the line was too long and its rest passed over.
fn take_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<Option<bool>> {
    let limit = LINE_BYTES_MAX as u64;
    if source.by_ref().take(limit).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.len() < LINE_BYTES_MAX || line.ends_with(b"\n") {
        return Ok(Some(true));
    }
    let mut rest = Vec::new();
    while source.by_ref().take(limit).read_until(b'\n', &mut rest)? > 0 {
        if rest.ends_with(b"\n") {
            break;
        }
        rest.clear();
    }
    Ok(Some(false))
}

/// `host ident user [time] "request" status bytes`, then whatever Combined adds.
fn parse_line(line: &str) -> Option<(String, Visit)> {
    let line = line.trim();
    let (host, rest) = line.split_once(' ')?;
    let (_, rest) = rest.split_once('[')?;
    let (time, rest) = rest.split_once(']')?;
    let (request, rest) = quoted(rest.trim_start())?;
    let mut words = rest.split_ascii_whitespace();
    let status = words.next()?.parse::<u16>().ok().filter(|s| (100..600).contains(s))?;
    let bytes = match words.next()? {
        "-" => 0,
        number => number.parse().ok()?,
    };
    let (verb, path) = parse_request(request)?;
    let visit = Visit { at_s: parse_time(time)?, client: 0, verb, path, status, bytes };
    (!host.is_empty()).then(|| (host.to_owned(), visit))
}

/// A quoted field and what follows it. Requests may hold quotes: the closing one is the first that
/// a status follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let closes = |at: usize| {
        let after = text.as_bytes().get(at + 1..at + 5);
        after.is_some_and(|a| a[0] == b' ' && a[1..].iter().all(u8::is_ascii_digit))
    };
    let at = text.match_indices('"').map(|(at, _)| at).find(|at| closes(*at))?;
    Some((&text[..at], &text[at + 1..]))
}

fn parse_request(request: &str) -> Option<(Verb, String)> {
    let (method, rest) = request.trim().split_once(' ').unwrap_or(("", request.trim()));
    let verb = match method {
        "GET" | "OPTIONS" | "TRACE" | "CONNECT" | "PROPFIND" => Verb::Get,
        "HEAD" => Verb::Head,
        "POST" | "PUT" | "PATCH" | "DELETE" => Verb::Post,
        _ => return None,
    };
    let target = match rest.rsplit_once(" HTTP/") {
        Some((target, _)) => target,
        None => rest,
    };
    Some((verb, request_path(target.trim())))
}

/// Path and query as a request line may carry them: an absolute form loses its host, everything a
/// path may not hold is percent-encoded.
fn request_path(target: &str) -> String {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let path = path.split('#').next().unwrap_or_default();
    let mut shown = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        shown.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => shown.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b'?' | b'=' | b'&' | b'%' | b'+' | b',' | b':'
            | b';' | b'@' | b'!' | b'$' | b'*' | b'(' | b')' => shown.push(char::from(byte)),
            other => shown.push_str(&format!("%{other:02X}")),
        }
        if shown.len() > 4_096 {
            break;
        }
    }
    shown
}

/// `01/Aug/1995:00:00:01 -0400` as seconds since 1970.
fn parse_time(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (clock, zone) = text.trim().split_once(' ').unwrap_or((text.trim(), "+0000"));
    let (date, time) = clock.split_once(':')?;
    let mut date = date.split('/');
    let day = number(date.next()?, 1..=31)?;
    let name = date.next()?;
    let month = 1 + MONTHS.iter().position(|month| *month == name)? as i64;
    let year = number(date.next()?, 1900..=9999)?;
    let mut time = time.split(':');
    let (hour, minute) = (number(time.next()?, 0..=23)?, number(time.next()?, 0..=59)?);
    let second = number(time.next()?, 0..=60)?;
    let digits = zone.strip_prefix(['+', '-'])?;
    let (east, west) = (digits.get(..2)?, digits.get(2..4)?);
    let offset = number(east, 0..=14)? * 3_600 + number(west, 0..=59)? * 60;
    let offset = if zone.starts_with('-') { -offset } else { offset };
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

fn number(text: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && range.contains(n))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (years counted from March, so that the
/// leap day is a year's last).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests;
