//! Events that an operator expects, of which the past cannot tell: kept until they are over, in a
//! small file that outlives control, with the answers already given under idempotency keys.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use homing_plan::schedule::Surge;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Events that are kept at one time.
pub const EVENTS_MAX: usize = 64;
/// Answers that are kept, the latest.
const ANSWERS_KEPT: usize = 64;

/// An event that is expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectedEvent {
    /// Counts them from 1.
    pub id: u64,
    /// Where.
    pub zone: String,
    /// Of which service; `None` for every one.
    pub service: Option<String>,
    /// What.
    pub name: String,
    /// When it begins, milliseconds since the Unix epoch.
    pub starts_ms: u64,
    /// When it ends, and is forgotten.
    pub ends_ms: u64,
    /// What demand is multiplied by.
    pub multiplier: f64,
    /// Who said so.
    pub by: String,
}

/// An answer that was given under an idempotency key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The caller and its key.
    pub key: String,
    /// What was asked.
    pub asked: String,
    /// What was answered, in JSON.
    pub answer: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    last: u64,
    events: Vec<ExpectedEvent>,
    answers: Vec<Answered>,
}

/// Why an event is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ExpectFault {
    /// There are too many.
    #[error("{EVENTS_MAX} events are expected already: delete one, or wait until one is over")]
    Full,
    /// They cannot be written.
    #[error("expected events cannot be written: {0}")]
    Disk(#[from] io::Error),
}

/// The events.
#[derive(Debug)]
pub struct Expected {
    path: PathBuf,
    kept: Mutex<Kept>,
}

impl Expected {
    /// Takes up those of a folder.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("expected.json");
        let kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(fault) => return Err(fault),
        };
        Ok(Self { path, kept: Mutex::new(kept) })
    }

    /// Those of a zone that are not over.
    #[must_use]
    pub fn of(&self, zone: &str, now_ms: u64) -> Vec<ExpectedEvent> {
        let kept = self.kept.lock();
        let is = |event: &&ExpectedEvent| event.zone == zone && event.ends_ms > now_ms;
        kept.events.iter().filter(is).cloned().collect()
    }

    /// What demand for a service, or for all of a zone, is multiplied by.
    #[must_use]
    pub fn surges(&self, zone: &str, service: Option<&str>, now_ms: u64) -> Vec<Surge> {
        let touches =
            |event: &ExpectedEvent| event.service.is_none() || event.service.as_deref() == service;
        self.of(zone, now_ms).iter().filter(|event| touches(event)).map(surge).collect()
    }

    /// What was answered under a key.
    #[must_use]
    pub fn answered(&self, key: &str) -> Option<Answered> {
        self.kept.lock().answers.iter().find(|answered| answered.key == key).cloned()
    }

    /// Takes one in, with the answer that `answer` makes of it once it has its number.
    ///
    /// # Errors
    /// There are too many, or they cannot be written; nothing is changed then.
    pub fn expect(
        &self,
        mut event: ExpectedEvent,
        now_ms: u64,
        answer: impl FnOnce(&ExpectedEvent) -> Answered,
    ) -> Result<ExpectedEvent, ExpectFault> {
        let mut kept = self.kept.lock();
        let mut next = kept.clone();
        next.events.retain(|event| event.ends_ms > now_ms);
        if next.events.len() >= EVENTS_MAX {
            return Err(ExpectFault::Full);
        }
        next.last += 1;
        event.id = next.last;
        if next.answers.len() >= ANSWERS_KEPT {
            next.answers.remove(0);
        }
        next.answers.push(answer(&event));
        next.events.push(event.clone());
        self.write(&next)?;
        *kept = next;
        Ok(event)
    }

    /// Forgets one of a zone; whether there was one.
    ///
    /// # Errors
    /// They cannot be written; nothing is changed then.
    pub fn forget(&self, zone: &str, id: u64) -> io::Result<bool> {
        let mut kept = self.kept.lock();
        let mut next = kept.clone();
        next.events.retain(|event| event.id != id || event.zone != zone);
        if next.events.len() == kept.events.len() {
            return Ok(false);
        }
        self.write(&next)?;
        *kept = next;
        Ok(true)
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(kept)?)?;
        fs::rename(fresh, &self.path)
    }
}

/// An event as the rule takes it.
#[must_use]
pub fn surge(event: &ExpectedEvent) -> Surge {
    Surge { from_ms: event.starts_ms, until_ms: event.ends_ms, multiplier: event.multiplier }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(service: Option<&str>, ends_ms: u64) -> ExpectedEvent {
        ExpectedEvent {
            id: 0,
            zone: "paris".to_owned(),
            service: service.map(str::to_owned),
            name: "sale".to_owned(),
            starts_ms: 10,
            ends_ms,
            multiplier: 3.0,
            by: "ops".to_owned(),
        }
    }

    fn answer(event: &ExpectedEvent) -> Answered {
        let text = event.id.to_string();
        Answered { key: format!("ops/{text}"), asked: "x".to_owned(), answer: text }
    }

    #[test]
    fn events_outlive_control_count_where_they_are_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let expected = Expected::open(folder.path()).unwrap();
        assert_eq!(expected.expect(event(Some("shop"), 50), 0, answer).unwrap().id, 1);
        assert_eq!(expected.expect(event(None, 60), 0, answer).unwrap().id, 2);
        let expected = Expected::open(folder.path()).unwrap();
        assert_eq!(expected.answered("ops/2").unwrap().answer, "2");
        assert_eq!(expected.surges("paris", Some("shop"), 49).len(), 2);
        assert_eq!(expected.surges("paris", Some("shop"), 50).len(), 1);
        assert_eq!(expected.surges("paris", Some("forum"), 0).len(), 1);
        assert_eq!(expected.surges("paris", None, 0).len(), 1);
        assert!(expected.surges("oregon", None, 0).is_empty());
        assert!(!expected.forget("oregon", 2).unwrap());
        assert!(expected.forget("paris", 2).unwrap() && !expected.forget("paris", 2).unwrap());
        assert_eq!(Expected::open(folder.path()).unwrap().of("paris", 0).len(), 1);
    }

    #[test]
    fn no_more_are_kept_than_there_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let expected = Expected::open(folder.path()).unwrap();
        for _ in 0..EVENTS_MAX {
            expected.expect(event(None, 50), 0, answer).unwrap();
        }
        assert!(matches!(expected.expect(event(None, 50), 0, answer), Err(ExpectFault::Full)));
        // Those that are over make room.
        assert!(expected.expect(event(None, 90), 50, answer).is_ok());
        assert_eq!(expected.of("paris", 50).len(), 1);
        assert!(expected.answered("ops/1").is_none() && expected.answered("ops/65").is_some());
    }
}
