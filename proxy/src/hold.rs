//! Requests that wait out a freeze. A session's queue exists only while the session is being
//! handed over; requests are woken in the order they came, and every one has a deadline.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dashmap::DashMap;
use homing_wire::{HoldLimits, SessionKey};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

/// How long to wait before asking again when the handover ended between the question and here.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Every queue of the process.
#[derive(Debug, Default)]
pub struct Holds {
    handovers: DashMap<SessionKey, Arc<Handover>>,
    held: Arc<Held>,
}

/// What is held in the whole process.
#[derive(Debug, Default)]
struct Held {
    requests: AtomicU32,
    bytes: AtomicU64,
}

/// The queue of one session that is being handed over.
#[derive(Debug, Default)]
pub struct Handover {
    queue: Mutex<Queue>,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<oneshot::Sender<()>>,
    /// Requests that ever waited here.
    ever: u32,
    over: bool,
}

/// The hold has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldFull;

/// A place in a session's queue. Dropping it gives the place up.
#[derive(Debug)]
pub struct HoldTicket {
    /// `None` if the handover was over before the request got in line.
    woken: Option<oneshot::Receiver<()>>,
    deadline: Instant,
    bytes: u64,
    bytes_max: u64,
    held: Arc<Held>,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Ask again where the session lives; it may be another zone by now.
    Retry,
    /// The bound was reached.
    TimedOut,
}

impl Holds {
    /// Opens the queue of a session about to be frozen. Must precede the freeze, so that whoever
    /// is parked finds a queue.
    pub fn open(&self, key: SessionKey) -> Arc<Handover> {
        Arc::clone(&self.handovers.entry(key).or_default())
    }

    /// Wakes everyone who waits for the session, in order, and removes the queue. Must follow the
    /// change of ownership, so that whoever asks again sees it. Returns how many ever waited.
    pub fn close(&self, key: SessionKey) -> u32 {
        let Some((_, handover)) = self.handovers.remove(&key) else { return 0 };
        let mut queue = handover.queue.lock();
        queue.over = true;
        for waiting in queue.waiting.drain(..) {
            // Who stopped waiting is gone.
            let _ = waiting.send(());
        }
        queue.ever
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
        self.held.requests.load(Relaxed)
    }

    /// Gets a request in line.
    ///
    /// # Errors
    /// The session's or the process's bound is reached.
    pub fn enter(&self, key: SessionKey, limits: &HoldLimits) -> Result<HoldTicket, HoldFull> {
        if self.held.requests.fetch_add(1, Relaxed) >= limits.requests_total {
            self.held.requests.fetch_sub(1, Relaxed);
            return Err(HoldFull);
        }
        // From here on the ticket gives the place back, whatever happens.
        let mut ticket = HoldTicket {
            woken: None,
            deadline: Instant::now() + Duration::from_millis(limits.ms_max.into()),
            bytes: 0,
            bytes_max: limits.bytes_total,
            held: Arc::clone(&self.held),
        };
        let handover = self.handovers.get(&key).map(|entry| Arc::clone(&entry));
        let Some(handover) = handover else { return Ok(ticket) };
        let mut queue = handover.queue.lock();
        if queue.over {
            return Ok(ticket);
        }
        queue.waiting.retain(|waiting| !waiting.is_closed());
        if queue.waiting.len() >= usize::from(limits.requests_per_session) {
            return Err(HoldFull);
        }
        let (wake, woken) = oneshot::channel();
        queue.waiting.push_back(wake);
        queue.ever += 1;
        ticket.woken = Some(woken);
        Ok(ticket)
    }
}

impl Handover {
    /// Waits for [`Holds::drained`]; one that came before is not missed.
    pub async fn drained(&self) {
        self.drained.notified().await;
    }
}

impl HoldTicket {
    /// Accounts for request bytes kept in memory while waiting.
    ///
    /// # Errors
    /// The process's bound is reached.
    pub fn carry(&mut self, bytes: u64) -> Result<(), HoldFull> {
        if self.held.bytes.fetch_add(bytes, Relaxed) + bytes > self.bytes_max {
            self.held.bytes.fetch_sub(bytes, Relaxed);
            return Err(HoldFull);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Waits until the handover is over, or the bound is reached.
    pub async fn wait(mut self) -> Resumed {
        let deadline = self.deadline;
        match &mut self.woken {
            Some(woken) => match tokio::time::timeout_at(deadline, woken).await {
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

impl Drop for HoldTicket {
    fn drop(&mut self) {
        self.held.requests.fetch_sub(1, Relaxed);
        self.held.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SessionKey = SessionKey(7);

    fn limits() -> HoldLimits {
        HoldLimits { requests_per_session: 2, requests_total: 3, bytes_total: 100, ms_max: 50 }
    }

    #[tokio::test]
    async fn requests_wait_until_the_handover_is_over() {
        let holds = Holds::default();
        holds.open(KEY);
        let first = holds.enter(KEY, &limits()).unwrap();
        let waiting = tokio::spawn(first.wait());
        tokio::task::yield_now().await;
        assert_eq!(holds.held(), 1);
        assert_eq!(holds.close(KEY), 1);
        assert_eq!(waiting.await.unwrap(), Resumed::Retry);
        assert_eq!(holds.held(), 0);
        let late = holds.enter(KEY, &limits()).unwrap();
        assert_eq!(late.wait().await, Resumed::Retry);
    }

    #[tokio::test(start_paused = true)]
    async fn no_hold_outlives_its_bound() {
        let holds = Holds::default();
        holds.open(KEY);
        let ticket = holds.enter(KEY, &limits()).unwrap();
        assert_eq!(ticket.wait().await, Resumed::TimedOut);
        assert_eq!(holds.held(), 0);
    }

    #[tokio::test]
    async fn the_hold_is_bounded_by_session_process_and_bytes() {
        let holds = Holds::default();
        holds.open(KEY);
        let mut first = holds.enter(KEY, &limits()).unwrap();
        let second = holds.enter(KEY, &limits()).unwrap();
        assert!(holds.enter(KEY, &limits()).is_err());
        let elsewhere = holds.enter(SessionKey(8), &limits()).unwrap();
        assert!(holds.enter(SessionKey(9), &limits()).is_err());
        assert_eq!(first.carry(100), Ok(()));
        assert_eq!(first.carry(1), Err(HoldFull));
        drop((first, second, elsewhere));
        assert_eq!(holds.held(), 0);
        assert_eq!(holds.held.bytes.load(Relaxed), 0);
    }
}
