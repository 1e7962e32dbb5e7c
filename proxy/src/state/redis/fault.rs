//! What Redis answers instead of doing as asked, in words that name the server and what to do. The
//! servers' own codes are few and stable; their sentences are passed on behind ours.

use redis::{ErrorKind, RedisError};

use crate::state::{Hook, StateFault};

/// Codes a server begins its refusals with, and what each means here.
const MEANINGS: [(&str, &str); 14] = [
    ("READONLY", "is a read-only replica; name its primary"),
    ("OOM", "is full; give it memory or an eviction policy"),
    ("WRONGPASS", "does not take this user and password; see `stores.redis_passwords`"),
    ("NOAUTH", "wants a password; see `stores.redis_passwords`"),
    ("NOPERM", "does not allow its user what a handoff needs; see docs/STATE.md"),
    ("LOADING", "is still reading its data from disk"),
    ("MASTERDOWN", "is a replica whose primary is away; name the primary"),
    ("MISCONF", "does not write because it cannot save; look at its log"),
    ("MOVED", "is a node of a cluster; name a server that keeps all of the service's keys"),
    ("CROSSSLOT", "is a node of a cluster; name a server that keeps all of the service's keys"),
    ("TOOOLD", "is older than 6.0"),
    ("FENCED", "has seen a later epoch of the session"),
    ("UNSTAGED", "has lost what was staged"),
    ("BUSY", "is held up by somebody's script"),
];
/// What RESTORE says to a dump of a later version.
const DUMP_REFUSED: [&str; 2] = ["DUMP payload version", "Bad data format"];

/// An error as the fault it means for the handoff.
pub(super) fn told(hook: Hook, site: &str, error: &RedisError) -> StateFault {
    let said = error.to_string();
    let refused = |meaning: &str| {
        let detail = format!("Redis at {site} {meaning} ({said})");
        StateFault::Refused { hook, detail }
    };
    let no_hello = said.contains("unknown command") && said.contains("HELLO");
    if no_hello || error.kind() == ErrorKind::RESP3NotSupported {
        return refused("is older than 6.0");
    }
    if DUMP_REFUSED.iter().any(|text| said.contains(text)) {
        return refused("is of an older version than the source's and cannot read its values");
    }
    // A script's error may carry the code behind a preamble of the server's.
    let code =
        |code: &str| error.code() == Some(code) || said.split([' ', ':', '-']).any(|w| w == code);
    if let Some((_, meaning)) = MEANINGS.iter().find(|(word, _)| code(word)) {
        return refused(meaning);
    }
    if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() {
        return StateFault::Unreachable { hook, site: format!("Redis at {site}"), detail: said };
    }
    refused("refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_code_is_known_wherever_it_stands() {
        for (code, said, meaning) in [
            ("READONLY", "You can't write against a read only replica.", "read-only replica"),
            ("ERR", "Error running script: @user_script:8: -OOM command not allowed", "is full"),
            ("ERR", "DUMP payload version or checksum are wrong", "older version"),
            ("UNSTAGED", "only a part of the state is staged", "has lost what was staged"),
        ] {
            let error = redis::make_extension_error(code.to_owned(), Some(said.to_owned()));
            let fault = told(Hook::Import, "h:1", &error).to_string();
            assert!(fault.contains(meaning) && fault.contains("h:1"), "{fault}");
        }
    }
}
