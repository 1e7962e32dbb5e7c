//! A round, each second: write what records changed, let handoffs look again, settle what waits,
//! and have a plan made. The plan is made by the planner's own thread from a copy, so that neither
//! the API nor a link waits for it; what it found is checked again against the newest table.

use std::{collections::BTreeSet, sync::Arc};

use homing_plan::{Feedback, Inputs, Mobility, Plan, Profile, ZoneState, draw, price};
use homing_session::drag::{Drags, TAU_MS};
use homing_wire::{Act, Facts, Intake, MoveReason, PlacementTable, SessionKey, ZoneId};

use super::{Lead, moves::order};
use crate::shared::{PlanMade, ZoneFigures};

/// Directives open at one time at most, however much a drain would like.
const OPEN_MAX: usize = 100_000;
/// A zone sample older than this says nothing any more.
const SAMPLE_MS_MAX: u64 = 30_000;
/// Rounds between two looks for sessions that are over.
const EXPIRE_EVERY: u64 = 10;
/// Exceptions taken back at once at most.
const EXPIRE_MOST: usize = 10_000;

/// What the planner's thread is given.
#[derive(Debug)]
pub struct PlanJob {
    table: Arc<PlacementTable>,
    sessions: Vec<Profile>,
    zones: Vec<ZoneState>,
    started_last_minute: u32,
    resting: BTreeSet<SessionKey>,
    last: Option<Arc<PlanMade>>,
    mobility: Arc<Mobility>,
    feedback: Arc<Feedback>,
    drags: Drags,
    seed: u64,
    now_ms: u64,
}

impl PlanJob {
    /// Makes the plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let inputs = Inputs {
            table: &self.table,
            sessions: &self.sessions,
            zones: &self.zones,
            started_last_minute: self.started_last_minute,
            resting: &self.resting,
            last: self.last.as_ref().and_then(|made| made.plan.housing.as_ref()),
            mobility: &self.mobility,
            feedback: &self.feedback,
            drags: &self.drags,
        };
        homing_plan::plan(&inputs, self.seed, self.now_ms)
    }
}

impl Lead {
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.rounds += 1;
        self.shared.metrics.rounds.add(1);
        self.strike_gates(now_ms);
        self.wake_handoffs(now_ms);
        self.rests.retain(|_, until| *until > now_ms);
        while self.started.front().is_some_and(|(at, _)| at + 60_000 <= now_ms) {
            self.started.pop_front();
        }
        let unsettled = self.leaving || self.table.as_ref().is_some_and(draw::is_unsettled);
        if unsettled && self.provided.is_known_or_late(self.rounds) {
            self.refit();
        }
        if self.rounds.is_multiple_of(EXPIRE_EVERY) {
            self.expire(now_ms);
            self.expire_heirs(now_ms);
        }
        let figures = self.figures_of_zones(now_ms);
        *self.shared.zones.write() = Arc::new(figures.clone());
        self.observe(&figures, now_ms);
        self.learn_mobility();
        self.learn_from_moves(now_ms);
        self.have_planned(&figures, now_ms);
        self.write_records();
    }

    fn expire(&mut self, now_ms: u64) {
        let Some(table) = &self.table else {
            return;
        };
        let facts = table.facts().clone();
        self.profiles.expire(&facts, table, now_ms);
        let over: BTreeSet<SessionKey> = table
            .exceptions()
            .keys()
            .filter(|key| self.profiles.get(**key).is_none() && !self.handoffs.contains_key(key))
            .take(EXPIRE_MOST)
            .copied()
            .collect();
        if !over.is_empty() {
            self.change(|table, delta| {
                draw::expire(table, |key| over.contains(&key), EXPIRE_MOST, delta);
            });
        }
    }

    /// Hands the planner what it needs, unless it is still at work on the last.
    fn have_planned(&mut self, figures: &[ZoneFigures], now_ms: u64) {
        let published = self.shared.published.table();
        let Some(table) = published.filter(|_| !self.planning) else {
            return;
        };
        let job = PlanJob {
            table,
            sessions: self.profiles.snapshot(),
            zones: figures.iter().map(state_of).collect(),
            started_last_minute: self.started.len() as u32,
            resting: self.resting(now_ms),
            last: self.shared.plan.read().clone(),
            mobility: self.mobility.clone(),
            feedback: self.lessons.feedback.clone(),
            drags: self.meter.drags().clone(),
            seed: self.seed ^ self.rounds,
            now_ms,
        };
        self.planning = self.planner.try_send(job).is_ok();
        if self.planning {
            self.profiles.charge();
        }
    }

    pub(super) fn planned(&mut self, plan: Plan, now_ms: u64) {
        self.planning = false;
        self.profiles.regret(&plan.regrets, plan.made_ms);
        let Some(table) = &self.table else {
            return;
        };
        let facts = table.facts().clone();
        let room = OPEN_MAX.saturating_sub(table.directives().len());
        // The table may have moved on since: only what still holds is carried out.
        let holds = |mv: &&homing_plan::Move| {
            let target = facts.zones.get(mv.to.index());
            mv.carried_out
                && (mv.reason == MoveReason::Drain || facts.policy.act == Act::On)
                && table.home(mv.key).zone == mv.from
                && target.is_some_and(|zone| zone.intake == Intake::Open)
        };
        let wanted: Vec<_> = plan
            .moves
            .iter()
            .filter(holds)
            .take(room)
            .map(|mv| order(mv.key, mv.to, mv.reason, false))
            .collect();
        let issued = self.issue(wanted, now_ms);
        let own = issued.iter().filter(|directive| directive.reason != MoveReason::Drain);
        self.started.extend(own.map(|directive| (now_ms, directive.from)));
        self.publish_prices(&facts, &plan);
        *self.shared.plan.write() = Some(Arc::new(PlanMade { plan, facts }));
    }

    /// Prices go out when they differ enough to matter: facts travel whole.
    fn publish_prices(&mut self, facts: &Facts, plan: &Plan) {
        let same_zones = plan.prices.len() == facts.zones.len();
        if !same_zones || !price::worth_publishing(&facts.zones, &plan.prices) {
            return;
        }
        let mut priced = facts.clone();
        for (zone, price) in priced.zones.iter_mut().zip(&plan.prices) {
            zone.shadow_price_us = *price;
        }
        self.change(|_, delta| delta.facts = Some(priced));
    }

    fn figures_of_zones(&mut self, now_ms: u64) -> Vec<ZoneFigures> {
        let Some(table) = &self.table else {
            return Vec::new();
        };
        let mut figures = vec![ZoneFigures::default(); table.facts().zones.len()];
        for profile in self.profiles.all() {
            if let Some(zone) = figures.get_mut(table.home(profile.key).zone.index()) {
                zone.living += 1;
            }
        }
        for directive in table.directives().values() {
            if let Some(zone) = figures.get_mut(directive.from.index()) {
                zone.outbound += 1;
            }
            if let Some(zone) = figures.get_mut(directive.to.index()) {
                zone.inbound += 1;
            }
        }
        let lately = |(at, _): &&(u64, ZoneId)| at + TAU_MS / 2 > now_ms;
        for (_, from) in self.started.iter().rev().take_while(lately) {
            if let Some(zone) = figures.get_mut(from.index()) {
                zone.left += 1;
            }
        }
        self.samples.retain(|_, (at_ms, ..)| *at_ms + SAMPLE_MS_MAX > now_ms);
        for sample in self.samples.values().flat_map(|(_, zones, _)| zones) {
            if let Some(zone) = figures.get_mut(sample.zone.index()) {
                zone.reported += sample.sessions;
                zone.requests_per_second += sample.requests;
                zone.errors_per_second += sample.errors;
                zone.p50_us = zone.p50_us.max(sample.p50_us);
                zone.p99_us = zone.p99_us.max(sample.p99_us);
            }
        }
        figures
    }

    /// How full each zone is, as of the last round, for an explanation in between.
    pub(super) fn states(&self) -> Vec<ZoneState> {
        self.shared.zones.read().iter().map(state_of).collect()
    }

    /// Moves that plans started within the last minute.
    pub(super) fn started_last_minute(&self) -> u32 {
        self.started.len() as u32
    }
}

fn state_of(figures: &ZoneFigures) -> ZoneState {
    ZoneState {
        living: figures.living.max(figures.reported),
        inbound: figures.inbound,
        outbound: figures.outbound,
        left: figures.left,
    }
}
