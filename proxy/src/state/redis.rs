//! State in Redis or Valkey: any number of keys a session, found by the service's patterns and
//! moved as DUMP gives them. docs/STATE.md says what is promised, and what the app does for it.
//!
//!   source: DUMP rounds, changed keys by tracking ──► target: RESTORE under `homing:staged:`
//!           release: UNLINK                            fence: RENAME, all or nothing

mod fault;
mod frame;
mod link;
mod names;
mod scripts;
mod tracking;

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use homing_wire::{DirectiveId, Epoch, Redis, RedisUrl, SessionKey};
use redis::Value;

use self::{
    frame::{Entry, Held, KEYS_MAX},
    link::{Call, Server, within},
    names::Names,
    scripts::{FENCE, FORSAKE, PART_BYTES, PART_KEYS, READ, RELEASE, RENEW, STAGE, STAGED_MS},
    tracking::{Tracker, fresh_version},
};
use super::{CopyKind, Hook, Site, StateCopy, StateFault, StateStore};
use crate::config::StoreSecrets;

/// Keys that one SCAN looks at.
const SCAN_COUNT: u32 = 1_000;

/// The servers of all services, each with its connections.
pub struct RedisServers {
    servers: DashMap<RedisUrl, Arc<Server>>,
    secrets: StoreSecrets,
}

impl RedisServers {
    /// No connection yet; passwords and the CA are these.
    #[must_use]
    pub fn new(secrets: StoreSecrets) -> Self {
        Self { servers: DashMap::new(), secrets }
    }

    fn server(&self, url: &RedisUrl) -> Arc<Server> {
        if let Some(server) = self.servers.get(url) {
            return Arc::clone(&server);
        }
        let server = || Server::new(url.clone(), &self.secrets);
        Arc::clone(&self.servers.entry(url.clone()).or_insert_with(server))
    }
}

impl fmt::Debug for RedisServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|entry| entry.key().address()).collect();
        f.debug_tuple("RedisServers").field(&servers).finish()
    }
}

/// Where at a server copies lie that are not live.
struct Area {
    /// A hash of their keys, and how far they have come.
    manifest: String,
    /// What the names of their keys begin with.
    prefix: String,
}

/// The state of one service.
#[derive(Clone, Debug)]
pub struct RedisStore {
    servers: Arc<RedisServers>,
    spec: Redis,
    fence_ms: u64,
}

impl RedisStore {
    /// The store of a service. A fence is remembered for `fence_ms` milliseconds: as long as a
    /// session may be idle, for after that there is nobody whose writes could come late.
    #[must_use]
    pub fn new(servers: Arc<RedisServers>, spec: Redis, fence_ms: u64) -> Self {
        Self { servers, spec, fence_ms: fence_ms.max(1_000) }
    }

    fn server(&self, site: &Site, hook: Hook) -> Result<Arc<Server>, StateFault> {
        let named = self.spec.servers.iter().find(|(zone, _)| *zone == site.zone);
        let lacking = || StateFault::Unreachable {
            hook,
            site: format!("zone {}", site.zone),
            detail: "the service names no Redis server for it".to_owned(),
        };
        Ok(self.servers.server(&named.ok_or_else(lacking)?.1))
    }

    /// What the keys hold now, in the order of the keys; missing ones are told as gone.
    async fn read(&self, call: &mut Call<'_>, keys: Vec<Bytes>) -> Result<Vec<Entry>, StateFault> {
        let max = self.spec.state_bytes_max;
        let (mut entries, mut bytes) = (Vec::with_capacity(keys.len()), 0_u64);
        while entries.len() < keys.len() {
            let rest = &keys[entries.len()..];
            let mut script = READ.prepare_invoke();
            for key in rest.iter().take(PART_KEYS) {
                script.key(&key[..]);
            }
            script.arg(PART_BYTES).arg(max - bytes);
            let mut told: std::vec::IntoIter<Value> =
                call.script::<Vec<Value>>(&script).await?.into_iter();
            let Some(Value::Int(sum)) = told.next() else { return Err(odd(Hook::Export)) };
            bytes += sum.unsigned_abs();
            if bytes > max {
                return Err(StateFault::TooLarge { bytes, max });
            }
            let before = entries.len();
            while let (Some(Value::BulkString(dump)), Some(Value::Int(ttl))) =
                (told.next(), told.next())
            {
                let key = keys.get(entries.len()).cloned().ok_or(odd(Hook::Export))?;
                entries.push(Entry { key, held: held(dump, ttl) });
            }
            if entries.len() == before {
                return Err(odd(Hook::Export));
            }
        }
        Ok(entries)
    }

    /// The session's keys at a server: those named outright, there or not, and those found.
    async fn keys(
        &self,
        call: &mut Call<'_>,
        names: &Names,
        hook: Hook,
    ) -> Result<Vec<Bytes>, StateFault> {
        let mut keys: BTreeSet<Bytes> =
            names.literals().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        for glob in names.globs() {
            let mut cursor = 0_u64;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&glob).arg("COUNT").arg(SCAN_COUNT);
                let answer = call.ask(&scan).await?;
                let (next, found): (u64, Vec<Vec<u8>>) =
                    redis::from_redis_value(answer).map_err(|_| odd(hook))?;
                keys.extend(found.into_iter().map(Bytes::from));
                if keys.len() > KEYS_MAX {
                    let detail = format!("the session has more than {KEYS_MAX} keys");
                    return Err(StateFault::Refused { hook, detail });
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(keys.into_iter().collect())
    }

    async fn delta(
        &self,
        server: &Server,
        key: SessionKey,
        names: &Names,
        since: u64,
    ) -> Result<Option<StateCopy>, StateFault> {
        let Some(tracker) = server.trackers.find(key) else { return Ok(None) };
        let told = server.told(Hook::Export);
        let Some((mut keys, version)) = tracker.changed_since(since).await.map_err(told)? else {
            return Ok(None);
        };
        // A prefix is a little wider than its pattern.
        keys.retain(|key| names.own(key));
        let bytes = if keys.is_empty() {
            Bytes::new()
        } else {
            let mut call = server.call(Hook::Export).await?;
            let entries = self.read(&mut call, keys).await?;
            call.done();
            frame::encode(since, &entries)
        };
        Ok(Some(StateCopy { version, kind: CopyKind::Delta, bytes }))
    }

    async fn whole(
        &self,
        server: &Server,
        key: SessionKey,
        names: &Names,
    ) -> Result<Option<StateCopy>, StateFault> {
        // Followed before the first key is read: what changes meanwhile is in the next copy too.
        let tracker = match server.trackers.find(key) {
            Some(tracker) => Some(tracker),
            None => {
                let told = server.told(Hook::Export);
                Tracker::start(server, key, names).await.map_err(told)?
            }
        };
        let version = tracker.map_or_else(fresh_version, |tracker| tracker.version());
        let mut call = server.call(Hook::Export).await?;
        let keys = self.keys(&mut call, names, Hook::Export).await?;
        let mut entries = self.read(&mut call, keys).await?;
        call.done();
        entries.retain(|entry| entry.held != Held::Gone);
        if entries.is_empty() {
            server.trackers.remove(key);
            return Ok(None);
        }
        let bytes = frame::encode(0, &entries);
        Ok(Some(StateCopy { version, kind: CopyKind::Full, bytes }))
    }

    /// Fences the session and makes what a manifest names live; whether there is a manifest.
    async fn fence_area(
        &self,
        site: &Site,
        names: &Names,
        manifest: String,
        epoch: Epoch,
    ) -> Result<bool, StateFault> {
        let server = self.server(site, Hook::Fence)?;
        within(self.spec.timeout_ms, Hook::Fence, &server, async {
            let mut call = server.call(Hook::Fence).await?;
            let mut script = FENCE.prepare_invoke();
            script.key(manifest).key(names.fence()).key(names.live());
            script.arg(epoch.0).arg(self.fence_ms);
            let renamed = call.script::<i64>(&script).await? == 1;
            call.done();
            Ok(renamed)
        })
        .await
    }

    /// Says of a replica that its session lives on.
    async fn renew(&self, server: &Server, names: &Names) -> Result<(), StateFault> {
        let mut call = server.call(Hook::Import).await?;
        let mut script = RENEW.prepare_invoke();
        script.key(names.replica()).arg(self.fence_ms);
        call.script::<i64>(&script).await?;
        call.done();
        Ok(())
    }

    async fn stage(
        &self,
        server: &Server,
        names: &Names,
        (area, life_ms): (Area, u64),
        copy: &StateCopy,
    ) -> Result<(), StateFault> {
        let malformed = |detail| StateFault::Malformed { hook: Hook::Import, detail };
        let (since, entries) = frame::decode(copy.bytes.clone())
            .ok_or(malformed("the copy is not one that Homing makes of Redis"))?;
        if !entries.iter().all(|entry| names.own(&entry.key)) {
            return Err(malformed("the copy has a key that is not the session's"));
        }
        let mut call = server.call(Hook::Import).await?;
        // What lies here from an earlier stay goes at the fence unless it is staged too. Nobody
        // writes the session here before that, so the names found now will do then.
        let old = match copy.kind {
            CopyKind::Full => self.keys(&mut call, names, Hook::Import).await?,
            CopyKind::Delta => Vec::new(),
        };
        let mut parts = parts(&old, &entries).into_iter().peekable();
        let mut kind = copy.kind.name();
        while let Some(part) = parts.next() {
            let mut script = STAGE.prepare_invoke();
            script.key(&area.manifest).arg(kind).arg(&area.prefix).arg(life_ms);
            script.arg(since);
            match parts.peek() {
                Some(_) => script.arg(""),
                None => script.arg(copy.version),
            };
            for (key, what, dump) in part {
                script.arg(key).arg(what).arg(dump);
            }
            call.script::<()>(&script).await?;
            kind = "more";
        }
        call.done();
        Ok(())
    }

    async fn let_go(&self, server: &Server, names: &Names, epoch: Epoch) -> Result<(), StateFault> {
        let mut call = server.call(Hook::Release).await?;
        let keys = self.keys(&mut call, names, Hook::Release).await?;
        for part in keys.chunks(PART_KEYS) {
            let mut script = RELEASE.prepare_invoke();
            script.key(names.manifest()).key(names.fence()).key(names.live());
            script.arg(epoch.0).arg(self.fence_ms);
            for key in part {
                script.arg(&key[..]);
            }
            if call.script::<i64>(&script).await? == 0 {
                break;
            }
        }
        call.done();
        Ok(())
    }
}

/// DUMP and PTTL of a key; Redis says -1 for no end, -2 for no key, and 0 for the last moment,
/// which to RESTORE would be no end.
fn held(dump: Vec<u8>, ttl: i64) -> Held {
    if dump.is_empty() {
        return Held::Gone;
    }
    let ttl_ms = u64::try_from(ttl).ok().map(|ttl| ttl.max(1));
    Held::Value { dump: dump.into(), ttl_ms }
}

fn odd(hook: Hook) -> StateFault {
    StateFault::Malformed { hook, detail: "Redis answered in a form that no version of it has" }
}

/// A key, what of it, and its dump, as STAGE takes them.
type Staged<'a> = (&'a [u8], String, &'a [u8]);

/// What is to be staged, in portions a script may be handed; at least one, for a copy without keys
/// has its version to tell.
fn parts<'a>(old: &'a [Bytes], entries: &'a [Entry]) -> Vec<Vec<Staged<'a>>> {
    let old = old.iter().map(|key| (&key[..], "old".to_owned(), &b""[..]));
    let entries = entries.iter().map(|entry| match &entry.held {
        Held::Gone => (&entry.key[..], "gone".to_owned(), &b""[..]),
        Held::Value { dump, ttl_ms } => {
            (&entry.key[..], ttl_ms.unwrap_or(0).to_string(), &dump[..])
        }
    });
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for staged in old.chain(entries) {
        let adds = staged.0.len() + staged.2.len();
        let full = parts.last().is_some_and(|part| {
            part.len() == PART_KEYS || (!part.is_empty() && bytes + adds > PART_BYTES)
        });
        if full {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += adds;
        if let Some(part) = parts.last_mut() {
            part.push(staged);
        }
    }
    parts
}

#[async_trait]
impl StateStore for RedisStore {
    async fn export(
        &self,
        site: &Site,
        key: SessionKey,
        since: u64,
    ) -> Result<Option<StateCopy>, StateFault> {
        let server = self.server(site, Hook::Export)?;
        let names = Names::new(&self.spec, key);
        within(self.spec.timeout_ms, Hook::Export, &server, async {
            if since != 0
                && let Some(copy) = self.delta(&server, key, &names, since).await?
            {
                return Ok(Some(copy));
            }
            self.whole(&server, key, &names).await
        })
        .await
    }

    async fn import(
        &self,
        site: &Site,
        key: SessionKey,
        directive: DirectiveId,
        copy: &StateCopy,
    ) -> Result<(), StateFault> {
        // An empty delta says "nothing changed since what is staged".
        if copy.kind == CopyKind::Delta && copy.bytes.is_empty() {
            return Ok(());
        }
        let server = self.server(site, Hook::Import)?;
        let names = Names::new(&self.spec, key);
        let area = Area { prefix: names.staged(directive), manifest: names.manifest() };
        let stage = self.stage(&server, &names, (area, STAGED_MS), copy);
        within(self.spec.timeout_ms, Hook::Import, &server, stage).await
    }

    async fn fence(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault> {
        let names = Names::new(&self.spec, key);
        self.fence_area(site, &names, names.manifest(), epoch).await.map(drop)
    }

    async fn keep(&self, site: &Site, key: SessionKey, copy: &StateCopy) -> Result<(), StateFault> {
        let server = self.server(site, Hook::Import)?;
        let names = Names::new(&self.spec, key);
        if copy.kind == CopyKind::Delta && copy.bytes.is_empty() {
            let renew = self.renew(&server, &names);
            return within(self.spec.timeout_ms, Hook::Import, &server, renew).await;
        }
        // It lives as long as the session may be idle: an owner that is quiet sends nothing.
        let area = Area { prefix: names.replica_prefix(), manifest: names.replica() };
        let stage = self.stage(&server, &names, (area, self.fence_ms), copy);
        within(self.spec.timeout_ms, Hook::Import, &server, stage).await
    }

    async fn adopt(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<bool, StateFault> {
        let names = Names::new(&self.spec, key);
        self.fence_area(site, &names, names.replica(), epoch).await
    }

    async fn forsake(&self, site: &Site, key: SessionKey) -> Result<(), StateFault> {
        let server = self.server(site, Hook::Release)?;
        let names = Names::new(&self.spec, key);
        within(self.spec.timeout_ms, Hook::Release, &server, async {
            let mut call = server.call(Hook::Release).await?;
            let mut script = FORSAKE.prepare_invoke();
            script.key(names.replica());
            call.script::<i64>(&script).await?;
            call.done();
            Ok(())
        })
        .await
    }

    async fn release(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault> {
        let server = self.server(site, Hook::Release)?;
        server.trackers.remove(key);
        let names = Names::new(&self.spec, key);
        let release = self.let_go(&server, &names, epoch);
        within(self.spec.timeout_ms, Hook::Release, &server, release).await
    }
}
