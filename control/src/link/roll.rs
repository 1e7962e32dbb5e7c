//! Who is attached: each proxy's life, what it has acknowledged, and where to leave orders for it.

use std::collections::BTreeMap;

use homing_wire::{Incarnation, ToProxy, Version};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Orders that may wait for one proxy. All but releases are repeated until answered, and releases
/// are kept until one could be left.
const ORDERS: usize = 4_096;

/// The proxies that are attached, by name.
#[derive(Debug, Default)]
pub struct Roll {
    proxies: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    attached: Attached,
    orders: mpsc::Sender<ToProxy>,
}

/// One attached proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// When it attached, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// The newest table it has acknowledged.
    pub acked: Version,
    /// When it did.
    pub acked_ms: u64,
    /// The table under way to it.
    pub sent: Option<Version>,
    /// Its last nack, in words.
    pub last_nack: Option<String>,
}

impl Roll {
    /// Enters a proxy. One of the same name that is attached already is replaced: its stream ends
    /// when it finds its orders closed.
    pub fn enter(&self, attached: Attached) -> mpsc::Receiver<ToProxy> {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let name = attached.name.clone();
        self.proxies.lock().insert(name, Entry { attached, orders });
        inbox
    }

    /// Strikes a proxy, unless a later life of it has taken its place.
    pub fn leave(&self, name: &str, since_ms: u64, incarnation: Incarnation) {
        let mut proxies = self.proxies.lock();
        let is_this = proxies.get(name).is_some_and(|entry| {
            (entry.attached.since_ms, entry.attached.incarnation) == (since_ms, incarnation)
        });
        if is_this {
            proxies.remove(name);
        }
    }

    /// Notes something about a proxy.
    pub fn note(&self, name: &str, note: impl FnOnce(&mut Attached)) {
        if let Some(entry) = self.proxies.lock().get_mut(name) {
            note(&mut entry.attached);
        }
    }

    /// All that are attached, by name.
    pub fn list(&self) -> Vec<Attached> {
        let proxies = self.proxies.lock();
        proxies.values().map(|entry| entry.attached.clone()).collect()
    }

    /// The newest table that a proxy has acknowledged, if it is attached.
    pub fn acked(&self, name: &str) -> Option<Version> {
        self.proxies.lock().get(name).map(|entry| entry.attached.acked)
    }

    /// The oldest table that any attached proxy still serves by; `None` if none is attached.
    pub fn oldest_acked(&self) -> Option<Version> {
        let proxies = self.proxies.lock();
        proxies.values().map(|entry| entry.attached.acked).min()
    }

    /// Leaves an order for one proxy, or for all; returns for how many there was room.
    pub fn send(&self, to: Option<&str>, order: &ToProxy) -> usize {
        let proxies = self.proxies.lock();
        let wanted = |name: &String| to.is_none_or(|to| to == name);
        proxies
            .iter()
            .filter(|(name, _)| wanted(name))
            .filter(|(_, entry)| entry.orders.try_send(order.clone()).is_ok())
            .count()
    }
}
