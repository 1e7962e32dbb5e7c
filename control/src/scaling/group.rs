//! One zone and service that is scaled: what its provider has, what was asked for and has yet to
//! come, which endpoints serve, and what is wished for next.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use homing_plan::{
    scale::{Ask, Decision, scale},
    schedule::Surge,
};
use homing_wire::{Act, Endpoint, Facts};

mod act;
mod look;

use super::{Basis, Note, ScaleSettings, Scaling, foretold::foretold, keep};
use crate::{
    clock,
    foresight::{Foresight, Series},
    provider::{LeadTimes, Provided, Provider, Wish},
};

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Since when control could reach it, milliseconds since the Unix epoch; 0 if never yet.
    ready_ms: u64,
    /// Looks in a row that missed it.
    misses: u32,
    /// Since when it cannot be reached; 0 while it can.
    lost_ms: u64,
}

/// What is known of one that serves no more.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// When it may be given back, milliseconds since the Unix epoch.
    idle_ms: u64,
    /// When the provider was told to take it back; `None` if it was not yet.
    released_ms: Option<u64>,
    /// Whether it leaves because nobody can reach it.
    is_lost: bool,
}

/// How many endpoints there are.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// That serve.
    ready: u32,
    /// That cannot be reached for the moment.
    away: u32,
    /// That were asked for and have yet to come.
    coming: u32,
}

impl Count {
    fn under_way(self) -> u32 {
        self.away + self.coming
    }

    fn all(self) -> u32 {
        self.ready + self.under_way()
    }
}

/// One zone and service.
#[derive(Debug)]
pub(super) struct Group {
    settings: ScaleSettings,
    provider: Arc<dyn Provider>,
    term: u64,
    listed: Vec<Provided>,
    known: BTreeMap<String, Known>,
    /// When endpoints were asked for that have yet to come, oldest first.
    orders: VecDeque<u64>,
    /// Those that serve no more.
    leaving: BTreeMap<String, Leaving>,
    lead_times: LeadTimes,
    changed_ms: Option<u64>,
    /// The number last granted.
    granted: Option<u32>,
    /// The last wish that failed on the way: it is put again under its key.
    unheard: Option<Wish>,
    wishes: u64,
    /// The last wish, and when it was put: the same one is not put again at once.
    last: Option<(u32, Vec<String>)>,
    last_ms: u64,
    rest_until_ms: u64,
    published: Option<Vec<Endpoint>>,
    shown: Scaling,
}

impl Group {
    pub(super) fn new(settings: ScaleSettings, provider: Arc<dyn Provider>, term: u64) -> Self {
        let shown = Scaling {
            zone: settings.zone.clone(),
            service: settings.service.clone(),
            provider: settings.provider.name(),
            unit: settings.load.unit(),
            ..Scaling::default()
        };
        Self {
            settings,
            provider,
            term,
            listed: Vec::new(),
            known: BTreeMap::new(),
            orders: VecDeque::new(),
            leaving: BTreeMap::new(),
            lead_times: LeadTimes::default(),
            changed_ms: None,
            granted: None,
            unheard: None,
            wishes: 0,
            last: None,
            last_ms: 0,
            rest_until_ms: 0,
            published: None,
            shown,
        }
    }

    /// Whose endpoints these are.
    pub(super) fn of(&self) -> (String, Option<String>) {
        (self.settings.zone.clone(), self.settings.service.clone())
    }

    /// Lets the provider take back what cannot outlive control.
    pub(super) async fn end(&self) {
        self.provider.end().await;
    }

    /// One round: look, decide, and wish if that is to be acted on.
    pub(super) async fn round(
        &mut self,
        facts: Option<&Facts>,
        foresight: &Foresight,
        surges: &[Surge],
        now_ms: u64,
    ) -> Scaling {
        self.shown.at_ms = now_ms;
        // A control that has just started knows as little as one that has just changed a number.
        self.changed_ms.get_or_insert(now_ms);
        let heard = self.look(now_ms).await;
        let stated = facts.map(|facts| (facts, facts.policy.act == Act::On));
        let fixed = stated.and_then(|(facts, acts)| Some((self.fixed(facts)?, acts)));
        match fixed {
            Some((fixed, acts)) => {
                self.shown.acts = acts;
                let decision = self.decide(fixed, foresight, surges, now_ms);
                if !acts {
                    self.leaving.retain(|_, one| one.released_ms.is_some());
                } else if heard {
                    self.act(&decision, clock::now_ms()).await;
                }
                self.show(&decision);
            }
            None => {
                self.shown.verdict = "unknown";
                self.shown.reason = "the document in force has no such zone or service".to_owned();
            }
        }
        self.shown.clone()
    }

    /// The endpoints that serve, if they differ from those last told.
    pub(super) fn news_for_table(&mut self) -> Option<Vec<Endpoint>> {
        let serving = self.serving();
        if self.published.as_ref() == Some(&serving) {
            return None;
        }
        self.published = Some(serving.clone());
        Some(serving)
    }

    /// Endpoints of the document that serve here beside the provider's; `None` if it has no such
    /// zone or service.
    fn fixed(&self, facts: &Facts) -> Option<u32> {
        let zone = facts.zone_named(&self.settings.zone)?;
        let shared = &facts.zones.get(zone.index())?.endpoints;
        let own = match &self.settings.service {
            None => None,
            Some(name) => {
                let service = facts.services.iter().find(|service| service.name == *name)?;
                service.endpoints.iter().find(|(of, _)| *of == zone).map(|(_, own)| own)
            }
        };
        let provided = |one: &&Endpoint| !self.known.contains_key(&one.address);
        Some(own.unwrap_or(shared).iter().filter(provided).count() as u32)
    }

    fn lead_ms(&self) -> u64 {
        self.lead_times.quantile(0.9).unwrap_or(self.settings.lead_ms)
    }

    fn decide(
        &mut self,
        fixed: u32,
        foresight: &Foresight,
        surges: &[Surge],
        now_ms: u64,
    ) -> Decision {
        let lead_ms = self.lead_ms();
        self.shown.basis = Some(Basis { fixed, lead_ms, changed_ms: self.changed_ms });
        let settings = &self.settings;
        let series = Series {
            zone: settings.zone.clone(),
            service: settings.service.clone(),
            resource: settings.load,
        };
        let spans = (lead_ms, settings.cooldown_ms);
        let foretold = foretold(foresight, &series, spans, surges, now_ms);
        let count = self.count(now_ms);
        scale(&Ask {
            unit: settings.load.unit(),
            observed: foretold.observed,
            lead: &foretold.lead,
            reach: &foretold.reach,
            capacity: settings.capacity,
            head_room: settings.head_room,
            fixed,
            ready: count.ready,
            under_way: count.under_way(),
            min: settings.min,
            max: settings.max,
            price: settings.price,
            shortage: settings.shortage,
            changed_ms_ago: self.changed_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
            cooldown_ms: settings.cooldown_ms,
        })
    }

    fn tell(&mut self, at_ms: u64, word: &'static str, words: String) {
        // What is told again each round is told once.
        let repeated = |last: &Note| last.word == word && last.words == words;
        if self.shown.news.back().is_some_and(repeated) {
            return;
        }
        tracing::warn!(zone = self.settings.zone, word, words, "a provider");
        keep(&mut self.shown.news, Note { at_ms, wanted: self.shown.wanted, word, words });
    }

    fn show(&mut self, decision: &Decision) {
        let count = self.count(self.shown.at_ms);
        let endpoints = self.listed.iter();
        self.shown = Scaling {
            wanted: decision.wanted,
            verdict: decision.verdict.name(),
            reason: decision.reason.clone(),
            quantile: decision.quantile,
            load: decision.load,
            ready: count.ready,
            under_way: count.under_way(),
            leaving: self.leaving.len() as u32,
            endpoints: endpoints
                .map(|one| (one.endpoint.address.clone(), one.standing.clone()))
                .collect(),
            lead_ms: [self.lead_times.quantile(0.5), self.lead_times.quantile(0.9)],
            lead_times: self.lead_times.len(),
            ..std::mem::take(&mut self.shown)
        };
    }
}
