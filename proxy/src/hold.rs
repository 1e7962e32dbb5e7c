//! Requests that wait out a freeze, woken in the order they came, and the tunnels a freeze calls
//! in. Who may wait and how long is the pure account's to say (`homing_session::hold`); one lock
//! guards it, since only sessions that are being handed over come here at all.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use dashmap::DashMap;
use homing_session::hold::{Hold, HoldRefused, Ticket, Waiting};
use homing_wire::{HoldLimits, SessionKey};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

#[cfg(test)]
mod tests;

/// How long to wait before asking again when the handover ended between the question and here.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Everything that waits in the process, and for what.
#[derive(Debug, Default)]
pub struct Holds {
    handovers: Arc<DashMap<SessionKey, Arc<Handover>>>,
    recalls: Arc<DashMap<SessionKey, watch::Sender<()>>>,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    hold: Hold,
    wakers: HashMap<Ticket, oneshot::Sender<()>>,
}

/// One session that is being handed over.
#[derive(Debug, Default)]
pub struct Handover {
    /// Requests that ever waited.
    ever: AtomicU32,
    drained: Notify,
}

/// A place in a session's queue. Dropping it gives the place up.
#[derive(Debug)]
pub struct HoldTicket {
    /// `None` if the handover was over before the request got in line.
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    ticket: Ticket,
    woken: oneshot::Receiver<()>,
    deadline: Instant,
    book: Arc<Mutex<Book>>,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Ask again where the session lives; it may be another zone by now.
    Retry,
    /// The bound was reached.
    TimedOut,
}

/// Tells a tunnel that its session is about to be frozen.
#[derive(Debug)]
pub struct Recall {
    key: SessionKey,
    recalls: Arc<DashMap<SessionKey, watch::Sender<()>>>,
    handovers: Arc<DashMap<SessionKey, Arc<Handover>>>,
    /// `None` only while it is being dropped.
    called: Option<watch::Receiver<()>>,
}

impl Holds {
    /// Opens the queue of a session about to be frozen, and calls its tunnels in. Must precede
    /// the freeze, so that whoever is parked finds a queue.
    pub fn open(&self, key: SessionKey) -> Arc<Handover> {
        let handover = Arc::clone(&self.handovers.entry(key).or_default());
        if let Some(recall) = self.recalls.get(&key) {
            recall.send_replace(());
        }
        handover
    }

    /// Wakes everyone who waits for the session, in order, and removes the queue. Must follow the
    /// change of ownership, so that whoever asks again sees it. Returns how many ever waited.
    pub fn close(&self, key: SessionKey) -> u32 {
        let Some((_, handover)) = self.handovers.remove(&key) else { return 0 };
        let mut book = self.book.lock();
        for ticket in book.hold.release(key) {
            if let Some(waker) = book.wakers.remove(&ticket) {
                // Who stopped waiting is gone.
                let _ = waker.send(());
            }
        }
        handover.ever.load(Relaxed)
    }

    /// The last request in execution of a frozen session has ended.
    pub fn drained(&self, key: SessionKey) {
        if let Some(handover) = self.handovers.get(&key) {
            handover.drained.notify_one();
        }
    }

    /// Requests held now, in the whole process.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.book.lock().hold.requests() as u32
    }

    /// Gets a request in line.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn enter(
        &self,
        key: SessionKey,
        waiting: Waiting,
        limits: &HoldLimits,
        now_ms: u64,
    ) -> Result<HoldTicket, HoldRefused> {
        // Looked for under the lock that `close` takes once the queue is gone: whoever finds the
        // queue here is woken by it.
        let mut book = self.book.lock();
        let Some(handover) = self.handovers.get(&key) else {
            return Ok(HoldTicket { place: None });
        };
        let ticket = book.hold.park(key, waiting, limits, now_ms)?;
        handover.ever.fetch_add(1, Relaxed);
        let (waker, woken) = oneshot::channel();
        book.wakers.insert(ticket, waker);
        let left = Duration::from_millis(ticket.deadline_ms().saturating_sub(now_ms));
        let (deadline, book) = (Instant::now() + left, Arc::clone(&self.book));
        Ok(HoldTicket { place: Some(Place { ticket, woken, deadline, book }) })
    }

    /// Asks to be told when the session is about to be frozen.
    #[must_use]
    pub fn recall(&self, key: SessionKey) -> Recall {
        let called = self.recalls.entry(key).or_default().subscribe();
        let mut recall = Recall {
            key,
            recalls: Arc::clone(&self.recalls),
            handovers: Arc::clone(&self.handovers),
            called: Some(called),
        };
        // It may be under way already: then nobody else would tell.
        if self.handovers.contains_key(&key)
            && let Some(called) = &mut recall.called
        {
            called.mark_changed();
        }
        recall
    }
}

impl Handover {
    /// Waits for [`Holds::drained`]; one that came before is not missed.
    pub async fn drained(&self) {
        self.drained.notified().await;
    }
}

impl HoldTicket {
    /// Waits until the handover is over, or the bound is reached.
    pub async fn wait(mut self) -> Resumed {
        match &mut self.place {
            Some(place) => match tokio::time::timeout_at(place.deadline, &mut place.woken).await {
                Ok(_) => Resumed::Retry,
                Err(_) => Resumed::TimedOut,
            },
            None => {
                tokio::time::sleep(ASK_AGAIN).await;
                Resumed::Retry
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.book.lock();
        book.hold.cancel(self.ticket);
        book.wakers.remove(&self.ticket);
    }
}

impl Recall {
    /// Waits until it is told. Safe to be given up and asked again.
    pub async fn called(&mut self) {
        if let Some(called) = &mut self.called
            && called.changed().await.is_ok()
        {
            return;
        }
        // The sender lives as long as anyone listens to it.
        std::future::pending().await
    }

    /// Whether the session is frozen now, or about to be.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.handovers.contains_key(&self.key)
    }
}

impl Drop for Recall {
    fn drop(&mut self) {
        drop(self.called.take());
        self.recalls.remove_if(&self.key, |_, recall| recall.receiver_count() == 0);
    }
}
