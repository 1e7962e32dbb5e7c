//! A service's state in Redis: one server a zone, and the names of a session's keys. Addresses and
//! patterns are parsed once, here, so that a password or a pattern that would mix sessions cannot
//! even be held; what talks to Redis lives in the proxy.

use std::fmt;

use crate::{SessionKey, document::syntax::is_host, ids::ZoneId};

/// Key patterns one service may list.
pub const REDIS_KEYS_MAX: usize = 64;
/// Bytes of one key pattern.
pub const REDIS_KEY_BYTES_MAX: usize = 256;
/// What stands for the session in a pattern.
pub const ID: &str = "{id}";
/// Names that begin so are Homing's own at every server.
pub const OWN: &str = "homing:";

/// State in Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// The server of each zone; every zone has one.
    pub servers: Vec<(ZoneId, RedisUrl)>,
    /// Which keys are a session's; at least one.
    pub keys: Vec<KeyPattern>,
    /// Longest wait for one call of the store.
    pub timeout_ms: u32,
    /// Largest state that is moved; a larger one stays at home and the outcome says so.
    pub state_bytes_max: u64,
}

/// Where a server is: `redis://[user@]host[:port][/db]`, `rediss://` for TLS. Never a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The ACL user; `None` is the server's default user.
    pub user: Option<String>,
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port, 6379 unless stated.
    pub port: u16,
    /// The database, 0 unless stated.
    pub db: u16,
}

/// What is wrong with an address or a pattern, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct RedisFault {
    /// What is wrong.
    pub problem: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

fn fault<T>(problem: &'static str, remedy: &'static str) -> Result<T, RedisFault> {
    Err(RedisFault { problem, remedy })
}

impl RedisUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none, or it carries a password.
    pub fn parse(text: &str) -> Result<Self, RedisFault> {
        const WRITE: &str = "write redis://[user@]host[:port][/db], with TLS rediss://";
        let (tls, rest) = match text.split_once("://") {
            Some(("redis" | "valkey", rest)) => (false, rest),
            Some(("rediss" | "valkeys", rest)) => (true, rest),
            _ => return fault("is no address of a Redis server", WRITE),
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(':')) {
            let remedy = "take it out and give it to the proxy: `stores: {redis_passwords: ...}`";
            return fault("carries a password, and this document is read by many", remedy);
        }
        let visible = |b: u8| b.is_ascii_graphic() && !b"/?#%@".contains(&b);
        if user.is_some_and(|user| user.is_empty() || !user.bytes().all(visible)) {
            return fault("has a user no ACL can name", "write 1 or more visible characters");
        }
        let (at, db) = match rest.split_once('/') {
            Some((at, "")) => (at, Some(0)),
            Some((at, db)) => (at, number(db)),
            None => (rest, Some(0)),
        };
        let Some(db) = db else {
            return fault("names no database", "end it with /0, or with none");
        };
        let (host, port) = match at.rsplit_once(':') {
            Some((host, port)) if !at.ends_with(']') => (host, number(port)),
            _ => (at, Some(6_379)),
        };
        match port {
            Some(port) if port > 0 && is_host(host) => {
                let (user, host) = (user.map(str::to_owned), host.to_ascii_lowercase());
                Ok(Self { tls, user, host, port, db })
            }
            _ => fault("is no address of a Redis server", WRITE),
        }
    }

    /// `host:port`, as faults and the proxy's settings name the server.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Digits only: `+1` is no port.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        write!(f, "{scheme}://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}:{}/{}", self.host, self.port, self.db)
    }
}

/// The names of some of a session's keys: `cart:{id}:*`. `{id}` is the session key in hex, as the
/// app is told it in `homing-session`; `*` is any text, every other character itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPattern(String);

impl KeyPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It could name keys of other sessions, or Homing's own.
    pub fn parse(text: &str) -> Result<Self, RedisFault> {
        if text.len() > REDIS_KEY_BYTES_MAX {
            return fault("is too long for a key pattern", "keep to 256 bytes");
        }
        let Some((before, _)) = text.split_once(ID) else {
            let remedy = "put `{id}` where the app puts the value of the header homing-session";
            return fault("has no `{id}`, so it would name keys of every session", remedy);
        };
        if before.contains('*') {
            let remedy = "begin the names with something fixed, such as `cart:{id}:*`";
            return fault("has `*` before `{id}`, so every key would have to be watched", remedy);
        }
        if before.starts_with(OWN) {
            return fault("begins with `homing:`, which is Homing's own", "name the app's keys");
        }
        if text.chars().any(char::is_control) {
            return fault("has a control character", "write visible characters");
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it names one key only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// The pattern of one session; `*` still stands for any text.
    #[must_use]
    pub fn of(&self, key: SessionKey) -> String {
        self.0.replace(ID, &key.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_short_and_long_and_written_whole() {
        for (text, whole) in [
            ("redis://10.1.0.5", "redis://10.1.0.5:6379/0"),
            ("rediss://shop@Cache.Example:6380/3", "rediss://shop@cache.example:6380/3"),
            ("valkey://[::1]:7000/", "redis://[::1]:7000/0"),
            ("redis://[::1]", "redis://[::1]:6379/0"),
        ] {
            let url = RedisUrl::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            assert_eq!(url.to_string(), whole);
            assert_eq!(RedisUrl::parse(whole), Ok(url));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (text, problem) in [
            ("10.1.0.5:6379", "is no address"),
            ("http://10.1.0.5", "is no address"),
            ("redis://", "is no address"),
            ("redis://h:0", "is no address"),
            ("redis://h:+1", "is no address"),
            ("redis://h?protocol=2", "is no address"),
            ("redis://h#insecure", "is no address"),
            ("redis://h/x", "names no database"),
            ("redis://@h", "has a user no ACL"),
            ("redis://:secret@h", "carries a password"),
            ("redis://shop:secret@h", "carries a password"),
        ] {
            let fault = RedisUrl::parse(text).expect_err(text);
            assert!(fault.problem.starts_with(problem), "{text}: {fault}");
        }
    }

    #[test]
    fn a_pattern_names_keys_of_one_session_only() {
        for text in ["sess", "cart:*", "*:{id}", "homing:{id}", "a\n{id}", &"x".repeat(300)] {
            assert!(KeyPattern::parse(text).is_err(), "{text}");
        }
        let pattern = KeyPattern::parse("cart:{{id}}:{id}:*").expect("sound");
        assert!(!pattern.is_literal());
        let hex = SessionKey(0xab).to_string();
        assert_eq!(pattern.of(SessionKey(0xab)), format!("cart:{{{hex}}}:{hex}:*"));
    }
}
