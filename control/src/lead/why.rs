//! Why a session lives where it does: the planner's own terms for it at this moment.

use std::sync::Arc;

use homing_plan::{Explanation, Inputs, Profile, explain};
use homing_wire::{Facts, Home, SessionKey, ZoneId};

use super::Lead;
use crate::scope::Scope;

/// The answer.
#[derive(Clone, Debug)]
pub struct WhySession {
    /// The facts that name its ids.
    pub facts: Arc<Facts>,
    /// Where it lives by the table.
    pub home: Home,
    /// The zone that has a replica of it and takes it if its own is lost.
    pub heir: Option<ZoneId>,
    /// What is known of it; `None` if control has heard of no request of its, and only the table
    /// speaks.
    pub known: Option<(Profile, Explanation)>,
}

impl Lead {
    /// Which of these sessions belong to services within a scope. Of one that nobody has heard of
    /// it is not known whose it is.
    pub(super) fn seen(&self, scope: &Scope, keys: &[SessionKey]) -> Vec<bool> {
        let facts = self.table.as_ref().map(|table| table.facts());
        let seen = |key: &SessionKey| {
            let profile = self.profiles.get(*key);
            let seen = facts.zip(profile).map(|(facts, of)| scope.sees_id(facts, of.service));
            seen.unwrap_or(false)
        };
        keys.iter().map(seen).collect()
    }

    pub(super) fn why(&self, key: SessionKey, now_ms: u64) -> Option<Box<WhySession>> {
        let table = self.table.as_ref()?;
        let (states, resting) = (self.states(), self.resting(now_ms));
        let last = self.shared.plan.read().clone();
        let inputs = Inputs {
            table,
            sessions: &[],
            zones: &states,
            started_last_minute: self.started_last_minute(),
            resting: &resting,
            last: last.as_ref().and_then(|made| made.plan.housing.as_ref()),
            mobility: &self.mobility,
            feedback: &self.lessons.feedback,
            drags: self.meter.drags(),
        };
        let known = self.profiles.get(key).map(|profile| {
            let explanation = explain(&inputs, profile, now_ms);
            (profile.clone(), explanation)
        });
        let (facts, home) = (table.facts().clone(), table.home(key));
        let heir = self.heir_of(key, now_ms);
        Some(Box::new(WhySession { facts, home, heir, known }))
    }
}
