//! A gate's way out of its zone: the others take its sessions over while it still serves.

use std::time::Duration;

use homing_session::gate::Tenure;
use homing_wire::ZoneId;

use super::{AGAIN, ANSWER, Cessions};
use crate::handoff::Report;

/// How often a gate that leaves looks whether it has sessions still.
const LOOK: Duration = Duration::from_millis(50);
/// How often control is asked to list this gate as leaving.
const ASK: Duration = Duration::from_millis(500);
/// How long what is under way is left alone, and how often it is told to go on elsewhere.
const CALL: Duration = Duration::from_secs(1);

impl Cessions {
    /// Leaves the zone: asks control that others be drawn for this gate's sessions, and waits until
    /// they have taken them, at most for `patience`. Whether it has none any more.
    pub(crate) async fn leave(&self, patience: Duration) -> bool {
        let Some(seat) = self.seat().filter(|seat| seat.has_others()) else { return false };
        let until = tokio::time::Instant::now() + patience;
        let mut told = None::<tokio::time::Instant>;
        let mut called = tokio::time::Instant::now();
        while tokio::time::Instant::now() < until {
            let live = self.live.load_full();
            let Some(zone) = seat.zone_in(live.table.facts()) else { return false };
            if seat.is_leaving() {
                let counts = self.gates.counts(zone);
                let at_rest = counts.homes == 0 && counts.in_flight == 0;
                // What was given has arrived, too.
                if at_rest && seat.coming_for_others() == 0 && self.gates.unconfirmed(zone) == 0 {
                    return true;
                }
                if called.elapsed() > CALL {
                    called = tokio::time::Instant::now();
                    self.call_in(zone);
                }
            } else if told.is_none_or(|told| told.elapsed() > ASK) {
                // Control may have been away, or the other gate without a lease.
                told = Some(tokio::time::Instant::now());
                let _ = self.reports.send(Report::Leave { done: false }).await;
            }
            tokio::time::sleep(LOOK).await;
        }
        tracing::warn!(
            "some sessions were never at rest; they stay until this gate's lease is over"
        );
        false
    }

    /// Tells the WebSockets and event streams of sessions that are here still to go on elsewhere.
    fn call_in(&self, zone: ZoneId) {
        let holds = self.gates.holds();
        for session in self.gates.homes(zone) {
            // One that is being handed over has been told.
            if session.in_flight > 0 && session.ownership.tenure() == Tenure::Owner {
                holds.open(session.key);
                // Nobody is to wait here, nor be told who comes after.
                holds.close(session.key);
            }
        }
    }

    /// Ends this gate's life, which has no session any more: control need not wait for its lease.
    pub(crate) async fn resign(&self) {
        let Some(seat) = self.seat() else { return };
        seat.resign();
        let until = tokio::time::Instant::now() + ANSWER;
        while seat.is_listed() && tokio::time::Instant::now() < until {
            let _ = self.reports.send(Report::Leave { done: true }).await;
            tokio::time::sleep(AGAIN).await;
        }
    }
}
