//! Breadth first through every reachable state, so that the first broken law comes with a
//! shortest trace; then backwards from the good states, to find any from which none is reachable
//! without a further fault (I5).

use super::{
    Scope,
    state::{Law, State, Values},
    steps::Stepper,
    visited::Visited,
};

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Distinct states reached.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// Distinct letters in the network.
    pub letters: usize,
    /// States in which everything is settled.
    pub good: usize,
    /// A shortest trace to a broken law.
    pub broken: Option<(Law, Vec<String>)>,
    /// A shortest trace to a state that cannot become good any more.
    pub stuck: Option<Vec<String>>,
}

/// How a state was first reached.
#[derive(Clone, Copy)]
struct Parent {
    state: u32,
    name: &'static str,
    zone: u8,
}

/// Checks every state of the scope.
#[must_use]
pub fn check(scope: Scope) -> Report {
    let mut values = Values::new();
    let first = State::first(&mut values);
    let mut states = Visited::from(first);
    let mut parents = vec![Parent { state: 0, name: "", zone: 0 }];
    // Where the steps of each state that are no faults lead; faults need not happen.
    let mut edges = Edges::default();
    let mut steps_taken = 0;
    let mut at = 0;
    let mut stepper = Stepper { scope, values: &mut values, steps: Vec::new() };
    let mut broken = None;
    'search: while at < states.len() {
        let state = *states.state(at);
        stepper.all(&state);
        for step in stepper.steps.drain(..) {
            steps_taken += 1;
            let (number, is_new) = states.number(step.to);
            if is_new {
                parents.push(Parent { state: at as u32, name: step.name, zone: step.zone as u8 });
            }
            if !step.fault {
                edges.to.push(number);
            }
            if let Some(law) = step.breaks {
                let mut trace = trace(&parents, at);
                trace.push(format!("{} {}", step.name, step.zone));
                broken = Some((law, trace));
                break 'search;
            }
        }
        if let Some(law) = state.broken(stepper.values, Stepper::lease(scope)) {
            broken = Some((law, trace(&parents, at)));
            break;
        }
        edges.end.push(edges.to.len() as u32);
        at += 1;
    }
    let good: Vec<u32> = (0..states.len() as u32)
        .filter(|&number| states.state(number as usize).is_good(&values))
        .collect();
    let stuck = if broken.is_some() { None } else { edges.first_not_leading_to(&good) };
    Report {
        states: states.len(),
        steps: steps_taken,
        letters: values.letters.len(),
        good: good.len(),
        broken,
        stuck: stuck.map(|number| trace(&parents, number)),
    }
}

fn trace(parents: &[Parent], mut at: usize) -> Vec<String> {
    let mut trace = Vec::new();
    while at != 0 {
        let Parent { state, name, zone } = parents[at];
        trace.push(format!("{name} {zone}"));
        at = state as usize;
    }
    trace.reverse();
    trace
}

/// The steps of all states in one list; those of state `n` end at `end[n]`.
#[derive(Default)]
struct Edges {
    to: Vec<u32>,
    end: Vec<u32>,
}

impl Edges {
    /// The first state from which no good state can be reached.
    fn first_not_leading_to(&self, good: &[u32]) -> Option<usize> {
        let count = self.end.len();
        // The same steps, sorted by where they lead: those into `n` begin at `begin[n]`.
        let mut begin = vec![0_u32; count + 1];
        for &to in &self.to {
            begin[to as usize + 1] += 1;
        }
        for n in 0..count {
            begin[n + 1] += begin[n];
        }
        let mut next = begin.clone();
        let mut from = vec![0_u32; self.to.len()];
        let mut edge = 0;
        for (state, &end) in self.end.iter().enumerate() {
            while edge < end as usize {
                let slot = &mut next[self.to[edge] as usize];
                from[*slot as usize] = state as u32;
                *slot += 1;
                edge += 1;
            }
        }
        let mut leads = vec![false; count];
        let mut queue = good.to_vec();
        for &state in good {
            leads[state as usize] = true;
        }
        while let Some(state) = queue.pop() {
            let into = begin[state as usize] as usize..begin[state as usize + 1] as usize;
            for &state in &from[into] {
                if !std::mem::replace(&mut leads[state as usize], true) {
                    queue.push(state);
                }
            }
        }
        leads.iter().position(|leads| !leads)
    }
}
