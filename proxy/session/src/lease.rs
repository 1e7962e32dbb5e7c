//! Leases of gates: what lets a gate act on its own, and what lets control act without it. Two
//! sides of one promise that never look at each other's clock: the gate counts its lease from when
//! it *sent* the renewal, control from when it *answered*, and between the two lies only safety.
//!
//! All times are milliseconds of the caller's own monotonic clock. Clocks may stand an hour apart;
//! only their rates matter, and those are taken to differ by less than [`DRIFT_PERCENT`].

use std::collections::{BTreeMap, VecDeque};

use homing_wire::Incarnation;

/// How long a lease lasts unless stated, milliseconds.
pub const LEASE_MS: u32 = 10_000;
/// How often it is renewed, milliseconds.
pub const RENEW_MS: u64 = 2_000;
/// How often it is asked for by a life that holds none, milliseconds: control answers none before
/// the gate has the table that shows this life, which is often a moment after the first asking.
pub const ASK_MS: u64 = 250;
/// How long a life may be registered without asking for its lease, milliseconds. Many times
/// [`ASK_MS`]: a gate that starts on a busy machine is slow, not dead.
pub const SILENCE_MS: u64 = 5_000;
/// How much faster one clock may run than another, percent.
pub const DRIFT_PERCENT: u64 = 2;
/// What control waits beyond the lease and the drift: what was admitted in the lease's last moment
/// has ended by then.
pub const MARGIN_MS: u64 = 500;

/// Renewals whose answer may still come.
const SENT_KEPT: usize = 16;

/// The gate's side.
#[derive(Clone, Debug, Default)]
pub struct LeaseHolder {
    /// Number and time of each renewal that was sent and not answered.
    sent: VecDeque<(u64, u64)>,
    seq: u64,
    /// The highest term that granted anything.
    term: u64,
    valid_until_ms: u64,
}

impl LeaseHolder {
    /// A renewal is about to be sent; its number. Call before sending, not after.
    pub fn renew_sent(&mut self, now_ms: u64) -> u64 {
        self.seq += 1;
        if self.sent.len() == SENT_KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back((self.seq, now_ms));
        self.seq
    }

    /// Control has answered a renewal. An answer that is late, repeated or from a control that was
    /// replaced since extends nothing.
    pub fn granted(&mut self, seq: u64, term: u64, lease_ms: u32) {
        if term < self.term {
            return;
        }
        self.term = term;
        let Some(at) = self.sent.iter().position(|(sent, _)| *sent == seq) else { return };
        let (_, sent_ms) = self.sent[at];
        self.sent.drain(..=at);
        self.valid_until_ms = self.valid_until_ms.max(sent_ms + u64::from(lease_ms));
    }

    /// The first moment at which the lease is over.
    #[must_use]
    pub fn valid_until_ms(&self) -> u64 {
        self.valid_until_ms
    }

    /// When to send the next renewal, counted from the one just sent, milliseconds.
    #[must_use]
    pub fn next_renewal_ms(&self, now_ms: u64) -> u64 {
        if self.is_valid(now_ms) { RENEW_MS } else { ASK_MS }
    }

    /// Whether the gate may act.
    #[must_use]
    pub fn is_valid(&self, now_ms: u64) -> bool {
        now_ms < self.valid_until_ms
    }
}

/// Control's side: which life of each gate may still be acting.
#[derive(Clone, Debug)]
pub struct LeaseLedger {
    lease_ms: u32,
    margin_ms: u64,
    silence_ms: u64,
    gates: BTreeMap<String, Entry>,
    /// The last life of each gate that was struck off.
    over: BTreeMap<String, Incarnation>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    incarnation: Incarnation,
    /// Until when it may be acting, by control's clock.
    may_act_until_ms: u64,
}

/// What control does with a gate that registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// This life is the gate's from now on; the one before is over.
    Begun,
    /// It was this life's all along.
    Known,
    /// Another life may still be acting: come again in so many milliseconds.
    Wait(u64),
    /// This life was declared over: only a new one can begin.
    Over,
}

impl LeaseLedger {
    /// A ledger of leases of that length, without gates.
    #[must_use]
    pub fn new(lease_ms: u32) -> Self {
        Self::paced(lease_ms, MARGIN_MS, SILENCE_MS)
    }

    /// The same with another margin than [`MARGIN_MS`], which must outlast whatever a gate may
    /// still be at when its lease ends, and `silence_ms` for a registered life to ask for its
    /// first lease.
    #[must_use]
    pub fn paced(lease_ms: u32, margin_ms: u64, silence_ms: u64) -> Self {
        let (gates, over) = (BTreeMap::new(), BTreeMap::new());
        Self { lease_ms, margin_ms, silence_ms, gates, over }
    }

    /// A gate that the table names as control starts: its lease may have been renewed up to the
    /// last moment of the control before, so it may be acting for one whole lease.
    pub fn inherit(&mut self, name: &str, incarnation: Incarnation, now_ms: u64) {
        let may_act_until_ms = now_ms + self.span_ms();
        self.gates.insert(name.to_owned(), Entry { incarnation, may_act_until_ms });
    }

    /// The last life of a gate that a control before this one struck off. Whoever strikes a life
    /// off must store that before acting on it and tell it here after a restart: the table shows
    /// the life no more, but its process may still run, and believe that it owns sessions.
    pub fn inherit_over(&mut self, name: &str, incarnation: Incarnation) {
        let over = self.over.entry(name.to_owned()).or_insert(incarnation);
        *over = incarnation.max(*over);
    }

    /// A life of a gate registers. `former` is the life it knows to be over, because it holds that
    /// one's locked state; zero for none.
    pub fn register(
        &mut self,
        name: &str,
        incarnation: Incarnation,
        former: Incarnation,
        now_ms: u64,
    ) -> Registered {
        if self.over.get(name).is_some_and(|over| incarnation <= *over) {
            return Registered::Over;
        }
        match self.gates.get(name) {
            Some(known) if known.incarnation == incarnation => return Registered::Known,
            Some(known) if known.incarnation > incarnation => return Registered::Over,
            Some(known) if known.incarnation != former && known.may_act_until_ms > now_ms => {
                return Registered::Wait(known.may_act_until_ms - now_ms);
            }
            _ => {}
        }
        // It holds no lease until it is first answered.
        let entry = Entry { incarnation, may_act_until_ms: now_ms };
        self.gates.insert(name.to_owned(), entry);
        Registered::Begun
    }

    /// A renewal is about to be answered; the lease to grant, or `None` if this life has none to
    /// ask for. Call before the answer is sent, not after.
    pub fn renew(&mut self, name: &str, incarnation: Incarnation, now_ms: u64) -> Option<u32> {
        let span_ms = self.span_ms();
        let entry = self.gates.get_mut(name).filter(|entry| entry.incarnation == incarnation)?;
        entry.may_act_until_ms = entry.may_act_until_ms.max(now_ms + span_ms);
        Some(self.lease_ms)
    }

    /// A life ends by its own word that it acts no more; whether it was the gate's present one.
    pub fn resign(&mut self, name: &str, incarnation: Incarnation) -> bool {
        let is_present = self.life(name) == Some(incarnation);
        if is_present {
            self.gates.remove(name);
            self.over.insert(name.to_owned(), incarnation);
        }
        is_present
    }

    /// The gates whose leases are over beyond doubt, with the life that is thereby dead. They are
    /// struck off: the life can only come back as another.
    pub fn strike(&mut self, now_ms: u64) -> Vec<(String, Incarnation)> {
        let over = |entry: &Entry| entry.may_act_until_ms + self.silence_ms <= now_ms;
        let dead: Vec<_> = self
            .gates
            .iter()
            .filter(|(_, entry)| over(entry))
            .map(|(name, entry)| (name.clone(), entry.incarnation))
            .collect();
        for (name, incarnation) in &dead {
            self.gates.remove(name);
            self.over.insert(name.clone(), *incarnation);
        }
        dead
    }

    /// The present life of a gate.
    #[must_use]
    pub fn life(&self, name: &str) -> Option<Incarnation> {
        self.gates.get(name).map(|entry| entry.incarnation)
    }

    /// How long after its answer a lease may be acted on, whatever the clocks do.
    fn span_ms(&self) -> u64 {
        let lease_ms = u64::from(self.lease_ms);
        lease_ms + lease_ms * DRIFT_PERCENT / 100 + self.margin_ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GATE: &str = "gate-1";
    const A: Incarnation = Incarnation(10);
    const B: Incarnation = Incarnation(20);
    const NONE: Incarnation = Incarnation(0);

    #[test]
    fn a_life_that_resigns_is_over_at_once_and_its_successor_may_begin() {
        let mut ledger = LeaseLedger::new(10_000);
        assert_eq!(ledger.register(GATE, A, NONE, 0), Registered::Begun);
        assert_eq!(ledger.renew(GATE, A, 0), Some(10_000));
        assert!(!ledger.resign(GATE, B));
        assert!(ledger.resign(GATE, A) && !ledger.resign(GATE, A));
        assert_eq!(ledger.renew(GATE, A, 1), None);
        assert_eq!(ledger.register(GATE, A, NONE, 1), Registered::Over);
        assert_eq!(ledger.register(GATE, B, NONE, 1), Registered::Begun);
    }

    #[test]
    fn a_lease_counts_from_the_sending_and_late_answers_extend_nothing() {
        let mut holder = LeaseHolder::default();
        assert!(!holder.is_valid(0));
        assert_eq!(holder.next_renewal_ms(0), ASK_MS);
        let first = holder.renew_sent(1_000);
        let second = holder.renew_sent(3_000);
        holder.granted(second, 1, 10_000);
        assert_eq!(holder.valid_until_ms(), 13_000);
        assert_eq!(holder.next_renewal_ms(3_100), RENEW_MS);
        holder.granted(first, 1, 10_000);
        holder.granted(second, 1, 60_000);
        assert_eq!(holder.valid_until_ms(), 13_000, "answered already");
        let third = holder.renew_sent(5_000);
        holder.granted(third, 0, 10_000);
        assert_eq!(holder.valid_until_ms(), 13_000, "a control that was replaced");
        assert!(holder.is_valid(12_999) && !holder.is_valid(13_000));
    }

    #[test]
    fn another_life_waits_until_the_one_before_is_over_or_known_to_be() {
        let mut ledger = LeaseLedger::new(10_000);
        assert_eq!(ledger.register(GATE, A, NONE, 0), Registered::Begun);
        assert_eq!(ledger.renew(GATE, A, 1_000), Some(10_000));
        assert_eq!(ledger.register(GATE, A, NONE, 1_500), Registered::Known);
        assert_eq!(ledger.register(GATE, B, NONE, 2_000), Registered::Wait(9_700));
        assert_eq!(ledger.register(GATE, B, A, 2_000), Registered::Begun, "it holds its lock");
        assert_eq!(ledger.renew(GATE, A, 2_100), None);
        assert_eq!(ledger.register(GATE, A, NONE, 3_000), Registered::Over);
    }

    #[test]
    fn a_silent_life_is_struck_off_and_a_restarted_control_waits_a_whole_lease() {
        let mut ledger = LeaseLedger::new(10_000);
        ledger.inherit(GATE, A, 1_000);
        assert!(ledger.strike(11_000).is_empty());
        assert_eq!(ledger.strike(1_000 + 10_700 + SILENCE_MS), [(GATE.to_owned(), A)]);
        assert_eq!(ledger.life(GATE), None);
        assert_eq!(ledger.renew(GATE, A, 20_000), None);
        assert_eq!(ledger.register(GATE, A, NONE, 20_000), Registered::Over);
        assert_eq!(ledger.register(GATE, B, A, 20_000), Registered::Begun);
    }

    #[test]
    fn a_life_struck_off_before_control_restarted_stays_over() {
        let mut ledger = LeaseLedger::new(10_000);
        ledger.inherit_over(GATE, B);
        ledger.inherit_over(GATE, A);
        assert_eq!(ledger.register(GATE, A, NONE, 0), Registered::Over);
        assert_eq!(ledger.register(GATE, B, NONE, 0), Registered::Over);
        assert_eq!(ledger.register(GATE, Incarnation(30), NONE, 0), Registered::Begun);
    }

    #[test]
    fn a_ledger_of_another_pace_strikes_off_at_its_own_time() {
        let mut ledger = LeaseLedger::paced(1_000, 10, 5);
        ledger.inherit(GATE, A, 0);
        assert!(ledger.strike(1_034).is_empty());
        assert_eq!(ledger.strike(1_035), [(GATE.to_owned(), A)]);
    }

    proptest! {
        /// Whatever the offsets of the clocks and however long messages take: when control strikes
        /// a life off, that life's own lease is over.
        #[test]
        fn no_life_acts_after_it_was_struck_off(
            offset in 0_u64..4_000_000,
            fast in 0_u64..=DRIFT_PERCENT,
            trips in prop::collection::vec(
                (0_u64..3_000, 0_u64..4_000, 0_u64..4_000, any::<bool>()),
                1..40,
            ),
        ) {
            // The gate's clock: another start, and up to two percent slower than control's.
            let gate_clock = |at: u64| offset + at * 100 / (100 + fast);
            let (mut holder, mut ledger) = (LeaseHolder::default(), LeaseLedger::new(10_000));
            ledger.register(GATE, A, NONE, 0);
            let mut at = 0;
            for (pause, there, back, lost) in trips {
                at += pause;
                let seq = holder.renew_sent(gate_clock(at));
                let answered = at + there;
                let granted = ledger.renew(GATE, A, answered);
                if let (Some(ms), false) = (granted, lost) {
                    holder.granted(seq, 1, ms);
                }
                at = answered + back;
            }
            let mut end = at;
            while ledger.strike(end).is_empty() {
                end += 100;
            }
            prop_assert!(!holder.is_valid(gate_clock(end)));
        }
    }
}
