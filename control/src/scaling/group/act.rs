//! Acting on a decision: which endpoints leave the table, when they are given back, what is wished
//! for next under which key.

use homing_plan::scale::Decision;

use super::{Group, Leaving};
use crate::{
    provider::{Answer, ProviderFault, Wish},
    scaling::{Note, keep},
};

/// From a wish that was not granted to the next, or to the same again, milliseconds.
const REST_MS: u64 = 5_000;

impl Group {
    /// Brings the provider to what was decided.
    pub(super) async fn act(&mut self, decision: &Decision, now_ms: u64) {
        self.give_up_lost(now_ms);
        let before = self.count(now_ms);
        let missing = decision.wanted.saturating_sub(before.all());
        if missing > 0 && self.call_back(missing) {
            return;
        }
        let surplus = before.all().saturating_sub(decision.wanted);
        self.let_go(surplus.min(before.ready), now_ms);
        let count = self.count(now_ms);
        let idle = |one: &Leaving| one.released_ms.is_none() && one.idle_ms <= now_ms;
        let release: Vec<String> = self
            .leaving
            .iter()
            .filter(|(_, one)| idle(one))
            .map(|(address, _)| address.clone())
            .collect();
        if decision.wanted != count.all() || !release.is_empty() {
            // Those that still drain are wanted until they are named.
            let draining = |one: &&Leaving| one.released_ms.is_none() && !idle(one);
            let held = self.leaving.values().filter(draining).count() as u32;
            let stay = count.ready + count.away + held;
            self.put(decision.wanted + held, release, stay, now_ms).await;
        }
    }

    /// Those out of reach for too long are given back, and so are those that should have gone.
    fn give_up_lost(&mut self, now_ms: u64) {
        let lost = self.staying().filter(|one| self.is_lost(one, now_ms));
        let lost: Vec<String> = lost.map(|one| one.endpoint.address.clone()).collect();
        let gone = Leaving { idle_ms: now_ms, released_ms: None, is_lost: true };
        self.leaving.extend(lost.into_iter().map(|address| (address, gone)));
        let give_up_ms = self.settings.give_up_ms;
        let mut kept = Vec::new();
        for (address, one) in &mut self.leaving {
            if one.released_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) >= give_up_ms) {
                one.released_ms = None;
                kept.push(format!("{address} was given back {give_up_ms} ms ago and is there"));
            }
        }
        for words in kept {
            self.tell(now_ms, "kept", words);
        }
    }

    /// Lets those serve again that were about to be given back: none is nearer at hand. Whether
    /// there were any.
    fn call_back(&mut self, missing: u32) -> bool {
        let may = |one: &Leaving| one.released_ms.is_none() && !one.is_lost;
        let back = self.leaving.iter().filter(|(_, one)| may(one)).take(missing as usize);
        let back: Vec<String> = back.map(|(address, _)| address.clone()).collect();
        self.leaving.retain(|address, _| !back.contains(address));
        !back.is_empty()
    }

    /// Takes the newest out of the table; they are given back once they are idle.
    fn let_go(&mut self, count: u32, now_ms: u64) {
        let serving = self.listed.iter().filter(|one| self.may_serve(one));
        let mut newest: Vec<(u64, String)> = serving
            .map(|one| {
                let address = one.endpoint.address.clone();
                (self.known.get(&address).map_or(0, |known| known.ready_ms), address)
            })
            .collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let idle_ms = now_ms.saturating_add(self.settings.drain_ms);
        let leaving = Leaving { idle_ms, released_ms: None, is_lost: false };
        let going = newest.into_iter().take(count as usize);
        self.leaving.extend(going.map(|(_, address)| (address, leaving)));
    }

    /// Puts a wish, and takes the answer in. `stay` are there and stay; more are to come.
    async fn put(&mut self, wanted: u32, release: Vec<String>, stay: u32, now_ms: u64) {
        let again = self.last.as_ref() == Some(&(wanted, release.clone()));
        if now_ms < if again { self.last_ms + REST_MS } else { self.rest_until_ms } {
            return;
        }
        (self.last, self.last_ms) = (Some((wanted, release.clone())), now_ms);
        let wish = self.wish(wanted, release);
        let answer = self.provider.scale(&wish).await;
        let granted = match &answer {
            Ok(Answer::Offer) => Some(wanted),
            Ok(Answer::Counter { count, .. }) => Some((*count).min(wanted)),
            Ok(Answer::Refusal { .. }) | Err(_) => None,
        };
        let words = match &answer {
            Ok(Answer::Offer) => String::new(),
            Ok(Answer::Refusal { reason } | Answer::Counter { reason, .. }) => reason.clone(),
            Err(fault) => fault.to_string(),
        };
        let word = answer.as_ref().map_or("fault", Answer::name);
        tracing::info!(zone = wish.zone, service = wish.service, wanted, word, words, "scaling");
        keep(&mut self.shown.answers, Note { at_ms: now_ms, wanted, word, words });
        if let Some(granted) = granted {
            let coming = granted.saturating_sub(stay) as usize;
            self.orders.resize(coming, now_ms);
            (self.changed_ms, self.granted) = (Some(now_ms), Some(granted));
            for (_, one) in self.leaving.iter_mut().filter(|(at, _)| wish.release.contains(at)) {
                one.released_ms = Some(now_ms);
            }
        }
        if granted != Some(wanted) {
            self.rest_until_ms = now_ms + REST_MS;
        }
        match answer {
            // Refused, they may as well serve.
            Ok(Answer::Refusal { .. }) => self.leaving.retain(|_, one| one.is_lost),
            // Nobody knows whether it was heard: the same wish goes out again under its key.
            Err(ProviderFault::Timeout { .. } | ProviderFault::Unreachable { .. }) => {
                self.unheard = Some(wish);
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn wish(&mut self, wanted: u32, release: Vec<String>) -> Wish {
        let same = |wish: &Wish| wish.wanted == wanted && wish.release == release;
        if let Some(wish) = self.unheard.take().filter(same) {
            return wish;
        }
        self.wishes += 1;
        let (zone, service) = self.of();
        let of = service.as_deref().unwrap_or("-");
        let idempotency_key = format!("{}-{zone}-{of}-{}", self.term, self.wishes);
        Wish { zone, service, wanted, release, idempotency_key }
    }
}
