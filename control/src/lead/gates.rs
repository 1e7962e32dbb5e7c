//! The fleet's gates: which life of each is in the table, and which may still be acting. A gate is
//! in the table before it holds a lease, so that whoever acts knows every directive it must not
//! touch; it leaves the table only when its lease is over beyond doubt.

use std::collections::{BTreeMap, HashMap};

use homing_session::{
    handoff::{authority::Event, record::Pending},
    lease::{LEASE_MS, LeaseLedger, Registered},
};
use homing_wire::{
    Facts, Gate, GateHello, Incarnation, SessionKey, ToProxy, Version, Zone, ZoneId,
};

use super::Lead;
use crate::{
    clock,
    journal::{Entry, Recovered},
};

/// The gates as the lead knows them.
pub(super) struct GateBook {
    ledger: LeaseLedger,
    /// What each attached gate said when it attached.
    hellos: BTreeMap<String, (Incarnation, GateHello)>,
    /// The table that shows each gate's present life; `None` for one inherited with the table.
    shown: BTreeMap<String, Version>,
    /// The life that a session's last records came from, where another gate of its zone is drawn
    /// for it: a gate that joins a zone takes sessions over only when they are at rest.
    holders: HashMap<SessionKey, Incarnation>,
}

impl GateBook {
    /// The gates of the table that control starts from: each may be acting for a whole lease. The
    /// lives that were struck off before can never act again.
    pub(super) fn inherit(recovered: &Recovered) -> Self {
        let mut ledger = LeaseLedger::new(LEASE_MS);
        let now_ms = clock::monotonic_ms();
        for (name, life) in &recovered.struck {
            ledger.inherit_over(name, *life);
        }
        let table = recovered.table.as_ref();
        for gate in table.iter().flat_map(|t| &t.facts().zones).flat_map(|zone| &zone.gates) {
            ledger.inherit(&gate.name, gate.incarnation, now_ms);
        }
        let (hellos, shown, holders) = Default::default();
        Self { ledger, hellos, shown, holders }
    }

    /// Whoever has a session, it is not known any more.
    pub(super) fn forget_holder(&mut self, key: SessionKey) {
        self.holders.remove(&key);
    }
}

impl Lead {
    /// A gate attached: its life begins, if none other may be acting.
    pub(super) fn gate_attached(
        &mut self,
        name: &str,
        incarnation: Incarnation,
        hello: GateHello,
        now_ms: u64,
    ) {
        self.gates.hellos.insert(name.to_owned(), (incarnation, hello));
        self.enter_gate(name, now_ms);
    }

    /// A gate asks for its lease to be renewed. It is answered once its table shows its life.
    pub(super) fn renew(&mut self, name: &str, incarnation: Incarnation, seq: u64, now_ms: u64) {
        let term = self.shared.term;
        if !self.enter_gate(name, now_ms) {
            return;
        }
        let seen = self.shared.roll.acked(name).unwrap_or_default();
        if self.gates.shown.get(name).is_some_and(|shown| seen < *shown) {
            return;
        }
        let lease = self.gates.ledger.renew(name, incarnation, clock::monotonic_ms());
        if let Some(ms) = lease {
            self.send(Some(name), ToProxy::Lease { seq, term, ms });
        }
    }

    /// Whether the gate's present life is in the table; puts it there if it may begin.
    fn enter_gate(&mut self, name: &str, now_ms: u64) -> bool {
        let Some((incarnation, hello)) = self.gates.hellos.get(name).cloned() else {
            return false;
        };
        let Some(zone) = self.table.as_ref().and_then(|t| t.facts().zone_named(&hello.zone)) else {
            tracing::warn!(gate = name, zone = hello.zone, "a gate guards a zone nobody stated");
            return false;
        };
        let gate = Gate {
            name: name.to_owned(),
            incarnation,
            http: hello.http.clone(),
            link: hello.link.clone(),
        };
        let former = hello.former;
        let monotonic_ms = clock::monotonic_ms();
        match self.gates.ledger.register(name, incarnation, former, monotonic_ms) {
            Registered::Known if self.lists(zone, &gate) => return true,
            Registered::Known => {}
            Registered::Begun => {
                tracing::info!(gate = name, zone = hello.zone, %incarnation, "a gate's life begins");
            }
            Registered::Wait(ms) => {
                tracing::warn!(gate = name, ms, "a gate waits until its former life is over");
                return false;
            }
            Registered::Over => {
                // Told so, it begins another life and attaches anew.
                let term = self.shared.term;
                self.send(Some(name), ToProxy::Lease { seq: 0, term, ms: 0 });
                return false;
            }
        }
        let shown = self.change_gates(|gates, at| {
            gates.retain(|known| known.name != gate.name);
            if at == zone {
                gates.push(gate.clone());
                gates.sort_by(|a, b| a.name.cmp(&b.name));
            }
        });
        if let Some(shown) = shown {
            self.gates.shown.insert(name.to_owned(), shown);
        }
        self.lives_changed(now_ms);
        shown.is_some()
    }

    fn lists(&self, zone: ZoneId, gate: &Gate) -> bool {
        let zones = self.table.as_ref().map(|table| &table.facts().zones);
        zones.and_then(|zones| zones.get(zone.index())).is_some_and(|z| z.gates.contains(gate))
    }

    /// Strikes off the gates whose leases are over beyond doubt.
    pub(super) fn strike_gates(&mut self, now_ms: u64) {
        let dead = self.gates.ledger.strike(clock::monotonic_ms());
        if dead.is_empty() {
            return;
        }
        self.gates.holders.retain(|_, life| !dead.iter().any(|(_, over)| over == life));
        for (name, incarnation) in &dead {
            tracing::warn!(gate = name, %incarnation, "a gate's lease is over; it is struck off");
            self.gates.shown.remove(name);
            self.out.entries.push(Entry::Struck(name.clone(), *incarnation));
        }
        self.change_gates(|gates, _| {
            gates.retain(|gate| !dead.contains(&(gate.name.clone(), gate.incarnation)));
        });
        self.lives_changed(now_ms);
    }

    fn change_gates(&mut self, mut change: impl FnMut(&mut Vec<Gate>, ZoneId)) -> Option<Version> {
        let mut facts = Facts::clone(self.table.as_ref()?.facts());
        for (index, zone) in facts.zones.iter_mut().enumerate() {
            change(&mut zone.gates, ZoneId(index as u8));
        }
        self.change(|table, delta| {
            delta.facts = (facts != **table.facts()).then_some(facts);
        })
    }

    fn lives_changed(&mut self, now_ms: u64) {
        let keys: Vec<SessionKey> = self.handoffs.keys().copied().collect();
        for key in keys {
            self.tell(key, Event::LivesChanged, now_ms);
        }
        self.succeed(now_ms);
    }

    /// The life of each zone's gate for a session: the one that a handoff under way or an heir
    /// names for as long as it is listed, else the one that is drawn. Without gates the
    /// installation is solo: the zones' gates share the proxy's one life, which goes on in the next
    /// process, because what it activated it has written down. So no zone is ever declared dead
    /// then.
    pub(super) fn lives(&self, key: SessionKey) -> Vec<Option<Incarnation>> {
        let record = self.handoffs.get(&key).map(|held| *held.record());
        let record = record.filter(|record| record.pending != Pending::Settled);
        let heir = self.heirs.get(&key);
        self.lives_by(key, |zone| {
            let owner = record.filter(|record| record.owner == zone);
            let target = record.and_then(|record| match record.pending {
                Pending::Handoff { to, to_incarnation, .. } if to == zone => Some(to_incarnation),
                _ => None,
            });
            let heir = heir.filter(|row| row.heir == zone.0);
            let heir = heir.map(|row| Incarnation(row.heir_incarnation));
            [owner.map(|record| record.incarnation), target, heir]
        })
    }

    /// The lives that a new handoff of a session from `home` is between: at home the one that its
    /// records come from, elsewhere those that are drawn, which alone may take anything over.
    pub(super) fn lives_from(&self, key: SessionKey, home: ZoneId) -> Vec<Option<Incarnation>> {
        let holder = self.gates.holders.get(&key).copied();
        self.lives_by(key, |zone| [holder.filter(|_| zone == home)])
    }

    fn lives_by<const N: usize>(
        &self,
        key: SessionKey,
        named: impl Fn(ZoneId) -> [Option<Incarnation>; N],
    ) -> Vec<Option<Incarnation>> {
        let Some(table) = &self.table else {
            return Vec::new();
        };
        let zones = &table.facts().zones;
        if zones.iter().all(|zone| zone.gates.is_empty()) && self.gates.hellos.is_empty() {
            return vec![Some(Incarnation(0)); zones.len()];
        }
        let life = |(index, zone): (usize, &Zone)| {
            let named = named(ZoneId(index as u8)).into_iter().flatten();
            let listed = named.filter_map(|life| zone.gate_living(life)).next();
            listed.or_else(|| zone.gate_of(key)).map(|gate| gate.incarnation)
        };
        zones.iter().enumerate().map(life).collect()
    }

    /// Whether a zone lists that life.
    pub(super) fn lists_life(&self, zone: ZoneId, life: Incarnation) -> bool {
        let zones = self.table.as_ref().map(|table| &table.facts().zones);
        let zone = zones.and_then(|zones| zones.get(zone.index()));
        zone.is_some_and(|zone| zone.gate_living(life).is_some())
    }

    /// Records of a session came from that life.
    pub(super) fn served_by(&mut self, key: SessionKey, zone: ZoneId, life: Incarnation) {
        let zones = self.table.as_ref().map(|table| &table.facts().zones);
        let stated = zones.and_then(|zones| zones.get(zone.index()));
        let drawn = stated.and_then(|zone| zone.gate_of(key)).map(|gate| gate.incarnation);
        let listed = stated.is_some_and(|zone| zone.gate_living(life).is_some());
        if listed && drawn != Some(life) {
            self.gates.holders.insert(key, life);
        } else {
            self.gates.holders.remove(&key);
        }
    }
}
