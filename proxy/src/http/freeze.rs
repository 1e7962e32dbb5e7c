//! A freeze of its session, as it concerns a connection that stays open and holds the session's
//! place: it is called in once, and a peer that does not read may not keep the session here.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    edge::Edge,
    exchange::{Exchange, Way},
};
use crate::hold::Recall;

#[cfg(test)]
mod tests;

/// What is known of freezes of one session.
#[derive(Debug, Default)]
pub(super) struct Freeze {
    /// `None` for who holds no place, and is never called in.
    recall: Option<Recall>,
    /// What each half of a cut may take.
    half: Duration,
    /// When the last one called, while it may be on.
    since: Option<Instant>,
    /// Whether that call was taken up.
    heeded: bool,
}

impl Freeze {
    pub(super) fn new(recall: Option<Recall>, half: Duration) -> Self {
        Self { recall, half, since: None, heeded: false }
    }

    /// Waits for a call that was not taken up. Safe to be given up and asked again: a call that
    /// came in between is told of.
    pub(super) async fn called(&mut self) {
        if self.since.is_none() || self.heeded {
            next(&mut self.recall).await;
            self.is_called();
        }
    }

    /// Takes the call up; when it came.
    pub(super) fn heed(&mut self) -> Instant {
        self.heeded = true;
        self.since.unwrap_or_else(Instant::now)
    }

    /// This freeze is not made use of, and the next one calls again.
    pub(super) fn let_pass(&mut self) {
        if self.heeded {
            self.since = None;
        }
    }

    /// Does what lasts for as long as a peer does not read. `None` if the session is to move and
    /// it is not done within half a freeze, or by the end of the second half: it is given up, and
    /// some of it may be done.
    pub(super) async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, began) = (pin!(work), Instant::now());
        loop {
            let until = self.since.map(|since| {
                let one_half = since.max(began) + self.half;
                one_half.min(since + 2 * self.half)
            });
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = next(&mut self.recall) => self.is_called(),
                () = come(until) => {
                    if self.recall.as_ref().is_some_and(Recall::is_frozen) {
                        return None;
                    }
                    self.since = None;
                }
            }
        }
    }

    fn is_called(&mut self) {
        (self.since, self.heeded) = (Some(Instant::now()), false);
    }
}

impl Edge {
    /// Listens for freezes of a session whose place this exchange holds.
    pub(super) fn freeze(&self, exchange: &Exchange) -> Freeze {
        let session = exchange.taken.as_ref().and_then(|taken| {
            let holds = taken.way == Way::Endpoint && taken.permit.is_some();
            taken.session.filter(|_| holds)
        });
        let recall = session.map(|(key, _)| self.parts.gates.holds().recall(key));
        Freeze::new(recall, exchange.half_freeze())
    }
}

async fn next(recall: &mut Option<Recall>) {
    match recall {
        Some(recall) => recall.called().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn come(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
