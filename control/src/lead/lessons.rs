//! Lessons: what each move was expected to bring is noted when it is ordered, what it brought is
//! measured on the records of its session, and plans reckon with the difference.
//!
//! What is being compared is kept in memory only: a restart leaves moves of the last minutes
//! uncompared. What was learnt from the others is in the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use homing_plan::{
    Feedback, Profile, Scorer,
    feedback::{Expected, Seen, Uncompared, Watch},
};
use homing_wire::{Directive, DirectiveId, Epoch, Facts, MoveReason, SessionActivity, SessionKey};

use super::Lead;
use crate::{journal::Entry, shared::Lessons as Told};

/// Sessions watched at one time at most.
const WATCHED_MAX: usize = 20_000;
/// Rounds between two times that what was learnt is written.
const WRITE_EVERY: u64 = 60;

/// What moves are expected to bring, and which are compared with what they brought.
#[derive(Default)]
pub(super) struct Lessons {
    pub(super) feedback: Arc<Feedback>,
    /// By open directive.
    ordered: BTreeMap<DirectiveId, Expected>,
    watches: BTreeMap<SessionKey, Watch>,
    /// The zones by their ids, to notice that an id stands for another.
    names: Vec<String>,
    compared: u64,
    uncompared: BTreeMap<&'static str, u64>,
    unshown: bool,
    unwritten: bool,
}

impl Lessons {
    /// Takes up what earlier lives learnt, about the zones of their last table.
    pub(super) fn new(feedback: Feedback, facts: Option<&Facts>) -> Self {
        let names = facts.map(names).unwrap_or_default();
        Self { feedback: Arc::new(feedback), names, unshown: true, ..Self::default() }
    }

    /// Forgets a session.
    pub(super) fn forget(&mut self, key: SessionKey) {
        self.watches.remove(&key);
    }

    fn pass_over(&mut self, why: Uncompared) {
        *self.uncompared.entry(why.name()).or_default() += 1;
        self.unshown = true;
    }

    /// Ends a watch, and learns from it if enough was seen.
    fn close(&mut self, watch: &Watch, now_ms: u64) {
        let measured = match watch.measured() {
            Ok(measured) => measured,
            Err(why) => return self.pass_over(why),
        };
        let feedback = Arc::make_mut(&mut self.feedback);
        if let Some(lesson) = feedback.learn(watch.expected(), measured, now_ms) {
            self.compared += 1;
            (self.unshown, self.unwritten) = (true, true);
            let to = watch.expected().to;
            let (expected_us, realised_us) = (lesson.expected_us, lesson.realised_us);
            tracing::debug!(%to, expected_us, realised_us, "a move is compared with what it brought");
        }
    }
}

fn names(facts: &Facts) -> Vec<String> {
    facts.zones.iter().map(|zone| zone.name.clone()).collect()
}

/// The ids that stood for something and do not stand for it any more.
fn changed(known: &[String], now: &[String]) -> BTreeSet<usize> {
    (0..known.len()).filter(|index| now.get(*index) != known.get(*index)).collect()
}

impl Lead {
    /// Notes what moves are expected to bring, as they are ordered.
    pub(super) fn expect(&mut self, issued: &[Directive], now_ms: u64) {
        let Some(table) = &self.table else { return };
        let facts = table.facts().clone();
        let corrections = self.lessons.feedback.corrections(now_ms);
        let drags = (self.meter.drags(), now_ms);
        let scorer = Scorer::new(&facts, &self.mobility, corrections, drags);
        for directive in issued {
            let told = match self.profiles.get(directive.key) {
                Some(profile) => expected(&facts, &scorer, profile, directive),
                // Control has heard of no request of it.
                None => Err(Uncompared::FewBefore),
            };
            match told {
                Ok(expected) => drop(self.lessons.ordered.insert(directive.id, expected)),
                Err(why) => self.lessons.pass_over(why),
            }
        }
    }

    /// A handoff has ended; if it is complete, its session is watched. To be told before the
    /// session's profile is.
    pub(super) fn watch(
        &mut self,
        key: SessionKey,
        directive: DirectiveId,
        completed: Option<Epoch>,
        now_ms: u64,
    ) {
        let expected = self.lessons.ordered.remove(&directive);
        let (Some(expected), Some(epoch)) = (expected, completed) else { return };
        if let Some(earlier) = self.lessons.watches.remove(&key) {
            self.lessons.close(&earlier, now_ms);
        }
        let Some(profile) = self.profiles.get(key) else { return };
        let watch = match self.lessons.watches.len() < WATCHED_MAX {
            true => Watch::new(expected, &profile.felt, epoch, now_ms),
            false => Err(Uncompared::Crowded),
        };
        self.lessons.unshown = true;
        match watch {
            Ok(watch) => drop(self.lessons.watches.insert(key, watch)),
            Err(why) => self.lessons.pass_over(why),
        }
    }

    /// Takes what a watched session did.
    pub(super) fn heed(&mut self, activity: &SessionActivity, now_ms: u64) {
        let watch = self.lessons.watches.get_mut(&activity.key);
        if watch.is_some_and(|watch| watch.take(activity))
            && let Some(watch) = self.lessons.watches.remove(&activity.key)
        {
            self.lessons.close(&watch, now_ms);
        }
    }

    /// Ends watches that have lasted long enough, shows what is new and writes it in its turn.
    pub(super) fn learn_from_moves(&mut self, now_ms: u64) {
        self.forget_changed_zones();
        if let Some(table) = &self.table {
            self.lessons.ordered.retain(|id, _| table.directives().contains_key(id));
        }
        let over = self.lessons.watches.iter().filter(|(_, watch)| watch.is_over(now_ms));
        for key in over.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(watch) = self.lessons.watches.remove(&key) {
                self.lessons.close(&watch, now_ms);
            }
        }
        if std::mem::take(&mut self.lessons.unshown) {
            let lessons = &self.lessons;
            *self.shared.lessons.write() = Arc::new(Told {
                feedback: lessons.feedback.clone(),
                watched: lessons.watches.len(),
                compared: lessons.compared,
                uncompared: lessons.uncompared.clone(),
            });
        }
        if self.rounds.is_multiple_of(WRITE_EVERY) {
            self.write_lessons();
        }
    }

    /// Leaves what was learnt to the journal if there is anything new.
    pub(super) fn write_lessons(&mut self) {
        if std::mem::take(&mut self.lessons.unwritten) {
            self.out.entries.push(Entry::Feedback(self.lessons.feedback.to_bytes()));
        }
    }

    /// Rewrites places after a document changed their order.
    pub(super) fn remap_lessons(
        &mut self,
        to: impl Fn(homing_wire::PlaceId) -> Option<homing_wire::PlaceId>,
    ) {
        let lessons = &mut self.lessons;
        lessons.feedback = Arc::new(lessons.feedback.remapped(to, |_| true));
        // What is on the way names places by their old ids.
        lessons.ordered.clear();
        lessons.watches.clear();
        (lessons.unshown, lessons.unwritten) = (true, true);
        self.write_lessons();
    }

    /// An id that stands for another zone now has nothing to do with what the former one brought.
    fn forget_changed_zones(&mut self) {
        let Some(table) = &self.table else { return };
        let (facts, known) = (table.facts(), &self.lessons.names);
        if facts.zones.iter().map(|zone| &zone.name).eq(known) {
            return;
        }
        let now = names(facts);
        let gone = changed(known, &now);
        if !gone.is_empty() {
            let keeps = |zone: homing_wire::ZoneId| !gone.contains(&zone.index());
            let lessons = &mut self.lessons;
            lessons.feedback = Arc::new(lessons.feedback.remapped(Some, keeps));
            let kept = |told: &Expected| keeps(told.from) && keeps(told.to);
            lessons.ordered.retain(|_, expected| kept(expected));
            lessons.watches.retain(|_, watch| kept(watch.expected()));
            (lessons.unshown, lessons.unwritten) = (true, true);
        }
        self.lessons.names = now;
        self.write_lessons();
    }
}

/// What a move is expected to bring by the planner's own terms.
fn expected(
    facts: &Facts,
    scorer: &Scorer<'_>,
    profile: &Profile,
    directive: &Directive,
) -> Result<Expected, Uncompared> {
    let (from, to) = (directive.from, directive.to);
    let has_gate = |zone: homing_wire::ZoneId| {
        facts.zones.get(zone.index()).is_some_and(|z| !z.gates.is_empty())
    };
    let seen = match (has_gate(from), has_gate(to)) {
        (false, false) => Seen::Way,
        (true, true) => Seen::Zone,
        _ => return Err(Uncompared::Unlike),
    };
    let rest = |zone| scorer.terms(profile, zone, 0.0).price_us;
    let for_gain = matches!(directive.reason, MoveReason::Latency | MoveReason::Cost);
    Ok(Expected {
        from,
        to,
        place: profile.place.filter(|place| facts.places.len() > place.index()),
        for_gain,
        seen,
        before: scorer.round_trip(profile, from),
        after: scorer.round_trip(profile, to),
        other_us: rest(from) - rest(to),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_stand_for_another_zone_are_forgotten() {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let known: Vec<String> = named(&["paris", "oregon", "tokyo"]);
        let gone = |now: &[&str]| changed(&known, &named(now));
        assert!(gone(&["paris", "oregon", "tokyo", "lima"]).is_empty());
        assert_eq!(gone(&["paris", "lima", "tokyo"]), BTreeSet::from([1]));
        assert_eq!(gone(&["paris", "oregon"]), BTreeSet::from([2]));
        assert!(changed(&[], &known).is_empty());
    }
}
