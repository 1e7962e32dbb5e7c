//! Keeps the table in force on disk, off the path of everything else, and lets go of what only a
//! stored table allows to let go: entries of the activation log, and sources' old copies.

use std::{sync::Arc, time::Duration};

use crate::{
    activation_log::ActivationLog, handoff::Releases, live::Live, live::LiveTable,
    table_file::TableFile,
};

/// Tables that follow each other this fast are stored as one.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait after the disk refused.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// How often sources' copies that had to wait are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The keeper. [`TableKeeper::run`] is its task.
pub struct TableKeeper {
    /// The table in force.
    pub live: Arc<LiveTable>,
    /// Where it is stored.
    pub file: TableFile,
    /// What the stored table makes superfluous.
    pub log: Arc<ActivationLog>,
    /// The copies that wait for it.
    pub releases: Arc<Releases>,
}

impl TableKeeper {
    /// Runs until the table is gone.
    pub async fn run(self) {
        let mut published = self.live.watch();
        published.mark_changed();
        let mut stored: Option<Arc<Live>> = None;
        loop {
            tokio::select! {
                changed = published.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    tokio::time::sleep(GATHER).await;
                    published.mark_unchanged();
                    let live = self.live.load_full();
                    if self.store(Arc::clone(&live)).await {
                        stored = Some(live);
                    } else {
                        tokio::time::sleep(DISK_PAUSE).await;
                        published.mark_changed();
                    }
                }
                () = tokio::time::sleep(LOOK_AGAIN), if !self.releases.is_empty() => {}
            }
            if let Some(stored) = &stored {
                self.releases.settle(stored).await;
            }
        }
    }

    /// Stores a table; whether that succeeded.
    async fn store(&self, live: Arc<Live>) -> bool {
        let (file, log) = (self.file.clone(), Arc::clone(&self.log));
        let stored = tokio::task::spawn_blocking(move || {
            // The void before the first table from control is not worth finding again.
            if live.is_void() {
                return Ok(0);
            }
            file.save(&live.table)?;
            log.cut(|entry| live.table.home(entry.key).epoch >= entry.home.epoch)
        });
        match stored.await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "the table could not be stored");
                false
            }
            Err(_) => false,
        }
    }
}
