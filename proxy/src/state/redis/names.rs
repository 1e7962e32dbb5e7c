//! The names of one session at a Redis server: the app's keys by the service's patterns, and
//! Homing's own. Matched here by hand: the only wildcard is `*`, so a glob crate would allow more.

use homing_wire::{DirectiveId, Redis, SessionKey};

/// The names of one session.
pub(super) struct Names {
    id: String,
    /// With the session in, `*` still any text.
    patterns: Vec<String>,
}

impl Names {
    pub(super) fn new(spec: &Redis, key: SessionKey) -> Self {
        let patterns = spec.keys.iter().map(|pattern| pattern.of(key)).collect();
        Self { id: key.to_string(), patterns }
    }

    /// Keys that a pattern names outright.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(String::as_str).filter(|pattern| !pattern.contains('*'))
    }

    /// What SCAN is to match for the other patterns.
    pub(super) fn globs(&self) -> impl Iterator<Item = String> {
        self.patterns.iter().filter(|pattern| pattern.contains('*')).map(|pattern| glob(pattern))
    }

    /// What all keys begin with; none begins with another, which Redis would refuse.
    pub(super) fn prefixes(&self) -> Vec<&str> {
        let mut heads: Vec<&str> =
            self.patterns.iter().filter_map(|pattern| pattern.split('*').next()).collect();
        heads.sort_unstable();
        // Sorted, a head stands behind the shorter one that it begins with.
        heads.dedup_by(|next, kept| next.starts_with(*kept));
        heads
    }

    /// Whether a key is the session's.
    pub(super) fn own(&self, key: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), key))
    }

    /// What is staged: a hash of keys and their expiries, and how far the staging has come.
    pub(super) fn manifest(&self) -> String {
        format!("homing:staged:{}", self.id)
    }

    /// What the names of staged keys begin with.
    pub(super) fn staged(&self, directive: DirectiveId) -> String {
        format!("homing:staged:{}:{directive}:", self.id)
    }

    /// The replica of a session that lives elsewhere, as [`Self::manifest`].
    pub(super) fn replica(&self) -> String {
        format!("homing:replica:{}", self.id)
    }

    /// What the names of a replica's keys begin with.
    pub(super) fn replica_prefix(&self) -> String {
        format!("homing:replica:{}:", self.id)
    }

    /// The lowest epoch that may write here. Apps read it.
    pub(super) fn fence(&self) -> String {
        format!("homing:epoch:{}", self.id)
    }

    /// The epoch at which the live keys came here.
    pub(super) fn live(&self) -> String {
        format!("homing:live:{}", self.id)
    }
}

/// A pattern as Redis matches it: everything but `*` is itself.
fn glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len() + 8);
    for c in pattern.chars() {
        if matches!(c, '?' | '[' | ']' | '\\') {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}

/// Whether a text is what the pattern says. Linear but for the retries behind a `*`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut parts = pattern.split(|b| *b == b'*');
    let Some(head) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let found =
            (0..=rest.len().saturating_sub(part.len())).find(|at| rest[*at..].starts_with(part));
        match found {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use homing_wire::KeyPattern;

    use super::*;

    fn names(patterns: &[&str]) -> Names {
        let keys = patterns.iter().map(|text| KeyPattern::parse(text).unwrap()).collect();
        let spec = Redis { servers: Vec::new(), keys, timeout_ms: 1, state_bytes_max: 1 };
        Names::new(&spec, SessionKey(0xab))
    }

    #[test]
    fn a_session_owns_what_its_patterns_say_and_nothing_else() {
        let names = names(&["s:{id}", "c:{id}:*", "d[{id}]*:x*y"]);
        let id = SessionKey(0xab).to_string();
        for key in ["s:ID", "c:ID:", "c:ID:a:b", "d[ID]:xy", "d[ID]1:x:x2y"] {
            assert!(names.own(key.replace("ID", &id).as_bytes()), "{key}");
        }
        let other = SessionKey(0xac).to_string();
        for key in ["s:ID1", "s:", "c:ID", "d[ID]xy", "d[ID]:xyz", ""] {
            assert!(!names.own(key.replace("ID", &id).as_bytes()), "{key}");
        }
        assert!(!names.own(format!("s:{other}").as_bytes()));
        let globs: Vec<_> = names.globs().collect();
        assert_eq!(globs, [format!("c:{id}:*"), format!("d\\[{id}\\]*:x*y")]);
    }

    #[test]
    fn prefixes_never_overlap() {
        let id = SessionKey(0xab).to_string();
        let names = names(&["s:{id}:*", "s:{id}", "s:{id}:a", "a{id}"]);
        assert_eq!(names.prefixes(), [format!("a{id}"), format!("s:{id}")]);
    }
}
