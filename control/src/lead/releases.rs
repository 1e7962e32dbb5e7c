//! What former owners still keep of sessions: let go once every proxy has a table that shows where
//! the session lives, and told again to whoever was away.

use homing_session::handoff::{authority::Event, record::Pending};
use homing_wire::{DirectiveId, Epoch, SessionKey, ToProxy};

use super::Lead;
use crate::journal::{Entry, Release};

impl Lead {
    /// Sends a release, or keeps it until a proxy attaches.
    pub(super) fn release(&mut self, key: SessionKey, release: Release) {
        if self.shared.roll.oldest_acked().is_none() {
            self.releases.insert(key, release);
            self.out.entries.push(Entry::Release(key, Some(release)));
            return;
        }
        let directive = DirectiveId(release.directive);
        let epoch = Epoch(release.epoch);
        self.send(None, ToProxy::Release { directive, key, epoch });
        if self.releases.remove(&key).is_some() {
            self.out.entries.push(Entry::Release(key, None));
        }
    }

    /// Proxies have acknowledged more: releases may be due.
    pub(super) fn acked(&mut self, now_ms: u64) {
        let Some(oldest) = self.shared.roll.oldest_acked() else {
            return;
        };
        let due: Vec<(SessionKey, Epoch)> = self
            .handoffs
            .iter()
            .filter(|(_, held)| held.record().pending == Pending::Settled)
            .filter(|(_, held)| held.shown.is_some_and(|shown| shown <= oldest))
            .map(|(key, held)| (*key, held.record().epoch))
            .collect();
        for (key, epoch) in due {
            if let Some(held) = self.handoffs.get_mut(&key) {
                held.shown = None;
            }
            self.tell(key, Event::Published(epoch), now_ms);
        }
    }

    /// A proxy attached: it may have been away when something was sent.
    pub(super) fn attached(&mut self, proxy: &str) {
        tracing::debug!(proxy, releases = self.releases.len(), "releases are sent again");
        for (key, release) in self.releases.clone() {
            self.release(key, release);
        }
    }
}
