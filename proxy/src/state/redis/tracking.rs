//! Which keys of a session have changed since an earlier copy. Redis tells: each session that is
//! being copied has a connection of its own on which the server pushes the name of every key
//! written under the session's prefixes (`CLIENT TRACKING ON BCAST`). One connection a session,
//! because prefixes cannot be taken back one by one, and because its end is then simply its loss.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use homing_wire::SessionKey;
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection,
};

use super::{frame::KEYS_MAX, link::Server, names::Names};
use crate::clock::Clock;

/// Sessions followed at one server. Beyond, copies are whole ones.
const TRACKERS_MAX: usize = 256;
/// A session whose copies nobody asked for so long is followed no more.
const IDLE: Duration = Duration::from_secs(60);

/// The sessions followed at one server.
#[derive(Default)]
pub(super) struct Trackers(Mutex<HashMap<SessionKey, (Arc<Tracker>, Instant)>>);

impl Trackers {
    /// The one of a session, if it is sound.
    pub(super) fn find(&self, key: SessionKey) -> Option<Arc<Tracker>> {
        let mut all = self.0.lock();
        let (tracker, used) = all.get_mut(&key)?;
        *used = Instant::now();
        Some(Arc::clone(tracker)).filter(|tracker| !tracker.seen.lock().lost)
    }

    fn put(&self, key: SessionKey, tracker: &Arc<Tracker>) -> bool {
        let mut all = self.0.lock();
        all.retain(|_, (tracker, used)| used.elapsed() < IDLE && !tracker.seen.lock().lost);
        if all.len() >= TRACKERS_MAX && !all.contains_key(&key) {
            return false;
        }
        all.insert(key, (Arc::clone(tracker), Instant::now()));
        true
    }

    /// The session is followed no more.
    pub(super) fn remove(&self, key: SessionKey) {
        self.0.lock().remove(&key);
    }
}

/// A number above all that were given out before, by an earlier life of this process too.
pub(super) fn fresh_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now_us = Clock::process().now_us();
    let next = |last: u64| now_us.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
    last.map_or(now_us, next)
}

/// One followed session.
pub(super) struct Tracker {
    /// Kept only so that it stays open.
    connection: MultiplexedConnection,
    seen: Arc<Mutex<Seen>>,
    /// A barrier was begun and not ended: what is on the connection is not known.
    unsure: AtomicBool,
}

struct Seen {
    /// Every change raises it.
    version: u64,
    /// Changes up to here may have been forgotten.
    floor: u64,
    changed: HashMap<Bytes, u64>,
    /// A change may have gone unseen.
    lost: bool,
}

impl Seen {
    fn take(&mut self, push: &PushInfo) {
        match (&push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => {
                for key in keys {
                    let Value::BulkString(key) = key else { continue };
                    self.version += 1;
                    self.changed.insert(Bytes::copy_from_slice(key), self.version);
                }
                // More names than a session may have: nobody will ask for them one by one.
                self.lost |= self.changed.len() > KEYS_MAX;
            }
            // A flush names no keys; a lost connection tells of none any more.
            (PushKind::Invalidate | PushKind::Disconnection, _) => self.lost = true,
            _ => {}
        }
        if self.lost {
            self.changed = HashMap::new();
        }
    }
}

impl Tracker {
    /// Follows a session from now on. `None` if there are too many already.
    pub(super) async fn start(
        server: &Server,
        key: SessionKey,
        names: &Names,
    ) -> RedisResult<Option<Arc<Self>>> {
        server.trackers.remove(key);
        let version = fresh_version();
        let seen = Seen { version, floor: version, changed: HashMap::new(), lost: false };
        let seen = Arc::new(Mutex::new(seen));
        let taking = Arc::clone(&seen);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            taking.lock().take(&push);
            Ok::<(), ()>(())
        });
        let mut connection = server.connect(config).await?;
        let mut follow = redis::cmd("CLIENT");
        follow.arg("TRACKING").arg("ON").arg("BCAST").arg("NOLOOP");
        for prefix in names.prefixes() {
            follow.arg("PREFIX").arg(prefix);
        }
        follow.query_async::<()>(&mut connection).await?;
        let tracker = Arc::new(Self { connection, seen, unsure: AtomicBool::new(false) });
        Ok(server.trackers.put(key, &tracker).then_some(tracker))
    }

    /// The version as of now.
    pub(super) fn version(&self) -> u64 {
        self.seen.lock().version
    }

    /// The keys changed after `since` and the version that this makes; `None` if one may have gone
    /// unseen, and the whole state has to be copied.
    ///
    /// Complete for every write that Redis has executed before this is called. Redis collects the
    /// names written in one turn of its loop and appends them to our connection at the end of the
    /// turn, before any answer of that turn leaves. So a write whose writer has its answer is on
    /// our connection already, ahead of the answer to a PING sent now; in the cut that is every
    /// write of a request that has ended. A write whose answer is still due may share its turn with
    /// the first PING; the second one is in a later turn, for it is sent on the answer to the
    /// first, which left after the names of its turn. Pushes are taken in the order they arrive,
    /// and before the answer behind them is handed to us.
    pub(super) async fn changed_since(&self, since: u64) -> RedisResult<Option<(Vec<Bytes>, u64)>> {
        if self.unsure.swap(true, Ordering::Relaxed) {
            self.seen.lock().lost = true;
            return Ok(None);
        }
        for _ in 0..2 {
            let mut connection = self.connection.clone();
            let pong = redis::cmd("PING").query_async::<Value>(&mut connection).await;
            if let Err(error) = pong {
                self.seen.lock().lost = true;
                return if error.is_io_error() || error.is_connection_dropped() {
                    Ok(None)
                } else {
                    Err(error)
                };
            }
        }
        self.unsure.store(false, Ordering::Relaxed);
        let mut seen = self.seen.lock();
        if seen.lost || since < seen.floor || since > seen.version {
            return Ok(None);
        }
        // Who asks for what came after `since` has what came before.
        seen.floor = since;
        seen.changed.retain(|_, version| *version > since);
        Ok(Some((seen.changed.keys().cloned().collect(), seen.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen { version: 10, floor: 10, changed: HashMap::new(), lost: false }
    }

    fn push(kind: PushKind, data: Vec<Value>) -> PushInfo {
        PushInfo { kind, data }
    }

    fn key(name: &str) -> Value {
        Value::BulkString(name.as_bytes().to_vec())
    }

    #[test]
    fn every_named_key_raises_the_version() {
        let mut seen = seen();
        seen.take(&push(PushKind::Invalidate, vec![Value::Array(vec![key("a"), key("b")])]));
        seen.take(&push(PushKind::Invalidate, vec![Value::Array(vec![key("a")])]));
        assert_eq!((seen.version, seen.changed.len(), seen.lost), (13, 2, false));
        assert_eq!(seen.changed[&Bytes::from_static(b"a")], 13);
    }

    #[test]
    fn a_flush_a_lost_connection_and_too_many_names_are_losses() {
        for lost in [
            push(PushKind::Invalidate, vec![Value::Nil]),
            push(PushKind::Disconnection, Vec::new()),
            push(
                PushKind::Invalidate,
                vec![Value::Array((0..=KEYS_MAX).map(|n| key(&n.to_string())).collect())],
            ),
        ] {
            let mut seen = seen();
            seen.take(&lost);
            assert!(seen.lost && seen.changed.is_empty(), "{:?}", lost.kind);
        }
    }

    #[test]
    fn versions_only_rise() {
        let versions: Vec<u64> = (0..100).map(|_| fresh_version()).collect();
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
    }
}
