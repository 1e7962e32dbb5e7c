//! Connections to one Redis server: made when first needed, kept when sound, thrown away at the
//! first doubt. A call has its connection to itself, because on a shared one the small fence of one
//! session would wait behind the large dump of another; that is why this is no `ConnectionManager`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use homing_wire::RedisUrl;
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _,
    ProtocolVersion, RedisError, RedisResult, ScriptInvocation, TlsCertificates, Value,
    aio::MultiplexedConnection,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{fault::told, tracking::Trackers};
use crate::{
    config::StoreSecrets,
    state::{Hook, StateFault},
};

/// Calls at one time to one server; more wait, within their own time.
const CALLS_MAX: usize = 32;
/// Idle connections that are kept.
const IDLE_MAX: usize = 8;
/// Tracking, RESP3 and ACLs came with it.
const MAJOR_MIN: u32 = 6;

/// One server of one or more services.
pub(super) struct Server {
    pub(super) url: RedisUrl,
    client: RedisResult<Client>,
    idle: Mutex<Vec<MultiplexedConnection>>,
    calls: Semaphore,
    pub(super) trackers: Trackers,
}

impl Server {
    pub(super) fn new(url: RedisUrl, secrets: &StoreSecrets) -> Arc<Self> {
        Arc::new(Self {
            client: client(&url, secrets),
            url,
            idle: Mutex::default(),
            calls: Semaphore::new(CALLS_MAX),
            trackers: Trackers::default(),
        })
    }

    /// A connection of one call's own, within the call's time.
    pub(super) async fn call(&self, hook: Hook) -> Result<Call<'_>, StateFault> {
        let closed = |_| StateFault::Unreachable {
            hook,
            site: self.url.address(),
            detail: "the proxy is leaving".to_owned(),
        };
        let permit = self.calls.acquire().await.map_err(closed)?;
        let kept = self.idle.lock().pop();
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => self.connect(AsyncConnectionConfig::new()).await.map_err(self.told(hook))?,
        };
        Ok(Call { server: self, hook, connection, reused, _permit: permit })
    }

    /// A fresh connection to a server that is known to be new enough.
    pub(super) async fn connect(
        &self,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        // Each call bounds itself; a bound here would only say less about what was too slow.
        let config = config.set_response_timeout(None).set_connection_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let hello: HashMap<String, Value> =
            redis::cmd("HELLO").query_async(&mut connection).await?;
        let version: String =
            hello.get("version").map(redis::from_redis_value_ref).transpose()?.unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < MAJOR_MIN) {
            return Err(redis::make_extension_error("TOOOLD".to_owned(), Some(version)));
        }
        Ok(connection)
    }

    /// How an error of this server becomes a fault.
    pub(super) fn told(&self, hook: Hook) -> impl Fn(RedisError) -> StateFault + use<> {
        let site = self.url.address();
        move |error| told(hook, &site, &error)
    }
}

/// A connection in use. Dropped without [`Call::done`] it is closed: an answer may be under way.
pub(super) struct Call<'a> {
    server: &'a Server,
    hook: Hook,
    connection: MultiplexedConnection,
    reused: bool,
    _permit: SemaphorePermit<'a>,
}

impl Call<'_> {
    /// Runs a script. On a kept connection that turns out dead, as after a restart of the server,
    /// once more on a fresh one: all scripts may run twice.
    pub(super) async fn script<T: FromRedisValue>(
        &mut self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StateFault> {
        match script.invoke_async(&mut self.connection).await {
            Err(error) if self.is_stale(&error) => {
                self.renew().await?;
                script.invoke_async(&mut self.connection).await
            }
            done => done,
        }
        .map_err(self.server.told(self.hook))
    }

    /// Runs a command that changes nothing; as [`Call::script`].
    pub(super) async fn ask(&mut self, command: &redis::Cmd) -> Result<Value, StateFault> {
        match command.query_async(&mut self.connection).await {
            Err(error) if self.is_stale(&error) => {
                self.renew().await?;
                command.query_async(&mut self.connection).await
            }
            done => done,
        }
        .map_err(self.server.told(self.hook))
    }

    fn is_stale(&self, error: &RedisError) -> bool {
        self.reused && (error.is_io_error() || error.is_connection_dropped())
    }

    async fn renew(&mut self) -> Result<(), StateFault> {
        // What else was kept dates from before the same restart.
        self.server.idle.lock().clear();
        let fresh = self.server.connect(AsyncConnectionConfig::new()).await;
        self.connection = fresh.map_err(self.server.told(self.hook))?;
        self.reused = false;
        Ok(())
    }

    /// The connection is sound and may be used again.
    pub(super) fn done(self) {
        let mut idle = self.server.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(self.connection);
        }
    }
}

/// A whole call within its time.
pub(super) async fn within<T>(
    ms: u32,
    hook: Hook,
    server: &Server,
    call: impl Future<Output = Result<T, StateFault>>,
) -> Result<T, StateFault> {
    let hung = |_| StateFault::Hung { hook, site: server.url.address(), ms };
    tokio::time::timeout(Duration::from_millis(ms.into()), call).await.map_err(hung)?
}

fn client(url: &RedisUrl, secrets: &StoreSecrets) -> RedisResult<Client> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let address = if url.tls {
        ConnectionAddr::TcpTls { host, port: url.port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, url.port)
    };
    let info = address.into_connection_info()?;
    let mut login = info
        .redis_settings()
        .clone()
        .set_db(url.db.into())
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    if let Some(user) = &url.user {
        // A user without a password is one that wants none; never the default user instead.
        login = login.set_username(user).set_password("");
    }
    if let Some(password) = secrets.redis_password(url) {
        login = login.set_password(password);
    }
    let info = info.set_redis_settings(login);
    if !url.tls {
        return Client::open(info);
    }
    let root_cert = secrets.redis_ca.clone();
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
}
