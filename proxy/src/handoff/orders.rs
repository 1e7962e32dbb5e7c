//! Control's word about a session reaches the handoff that is under way for it here: the order to
//! own the session again ends that handoff, and its machine must hear of it.

use dashmap::DashMap;
use homing_session::gate::Reaction;
use homing_wire::SessionKey;
use tokio::sync::mpsc;

/// Orders that may wait for one handoff. More than one is rare; what finds no room is repeated by
/// control.
const ORDERS: usize = 8;

/// Who hears what of which session.
#[derive(Debug, Default)]
pub struct Orders(DashMap<SessionKey, mpsc::Sender<Reaction>>);

/// One handoff's ear.
#[derive(Debug)]
pub struct Hearing<'a> {
    orders: &'a Orders,
    key: SessionKey,
    heard: mpsc::Receiver<Reaction>,
}

impl Orders {
    /// Listens for a session; at most one handoff of it is under way.
    pub fn listen(&self, key: SessionKey) -> Hearing<'_> {
        let (tell, heard) = mpsc::channel(ORDERS);
        self.0.insert(key, tell);
        Hearing { orders: self, key, heard }
    }

    /// The session's ownership took a step that its handoff did not ask for.
    pub fn tell(&self, key: SessionKey, reaction: Reaction) {
        if let Some(tell) = self.0.get(&key) {
            let _ = tell.try_send(reaction);
        }
    }
}

impl Hearing<'_> {
    /// The next step that others made the session's ownership take.
    pub async fn next(&mut self) -> Reaction {
        match self.heard.recv().await {
            Some(reaction) => reaction,
            // The sender stays in the map for as long as this listens.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.orders.0.remove(&self.key);
    }
}
