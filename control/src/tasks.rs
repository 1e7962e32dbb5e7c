//! Every task and thread of the process is started here and has a name, so that a stop can wait for
//! all of them and a trace can tell them apart.

use std::{future::Future, sync::Arc, thread, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};
use tracing::Instrument as _;

/// The process's tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    stop: Arc<watch::Sender<bool>>,
    running: Arc<Mutex<JoinSet<()>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { stop: Arc::new(watch::Sender::new(false)), running: Arc::default() }
    }
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock();
        // Those that ended are taken out on the way, so the set stays as large as what runs.
        while running.try_join_next().is_some() {}
        running.spawn(task.instrument(tracing::info_span!("task", name)));
    }

    /// Starts a thread, for work that blocks on the disk or computes long.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn thread(
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name(name.to_owned()).spawn(work)
    }

    /// Becomes true when the process stops.
    #[must_use]
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Tells every task to end.
    pub fn signal(&self) {
        self.stop.send_replace(true);
    }

    /// Tells every task to end, waits for them at most this long, then drops those that stay.
    pub async fn stop(&self, patience: Duration) {
        self.signal();
        let mut running = std::mem::take(&mut *self.running.lock());
        let all = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            running.abort_all();
        }
    }
}

/// Waits until the process stops.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
