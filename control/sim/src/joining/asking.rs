//! Questions between the gates of a zone, their answers, and pages: late, repeated or lost.

use homing_session::{
    dedup::DedupWindow,
    joining::{Standing, Verdict, Word, verdict},
    roster::{Cession, Given, Life},
};

use super::{Asking, At, Letter, Planted, Request, SESSIONS, World, key, who};

impl World {
    pub(super) fn ask(&mut self, index: usize, gate: usize) {
        let process = &self.processes[gate];
        let (neighbours, table) = (process.joining.waiting().to_vec(), process.table.unwrap_or(0));
        if process.joining.standing() != Standing::Asking {
            self.requests[index].at = At::Over;
            return;
        }
        for (slot, (_, life)) in neighbours.iter().enumerate() {
            if let Some(to) = self.processes.iter().position(|other| other.life == *life) {
                self.letters.push(Letter::Ask { to, request: index, slot, table });
            }
        }
        let words = neighbours.iter().map(|_| Word::Silent).collect();
        let given = neighbours.iter().map(|_| None).collect();
        let asking = Asking { gate, neighbours, words, given, newest: None };
        self.requests[index].at = At::Asking(asking);
    }

    pub(super) fn deliver(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let index = self.dice.index(self.letters.len());
        let letter = self.letters.swap_remove(index);
        if self.dice.between(0, 9) == 0 {
            return;
        }
        match letter {
            Letter::Ask { to, request, slot, table } => self.answer((to, table), request, slot),
            Letter::Answer { request, slot, cession, table } => {
                self.hear(request, slot, cession, table);
            }
        }
    }

    fn answer(&mut self, (to, table): (usize, usize), request: usize, slot: usize) {
        if !self.processes[to].alive {
            return;
        }
        let held = self.processes[to].table;
        if held < Some(table) && self.planted != Some(Planted::AnswerByOldTable) {
            self.letters.push(Letter::Ask { to, request, slot, table });
            return;
        }
        let At::Asking(asking) = &self.requests[request].at else { return };
        let (asker, session) = (asking.gate, self.requests[request].session);
        let Some(cession) = self.cede(to, asker, session) else { return };
        let table = held.unwrap_or(0);
        self.letters.push(Letter::Answer { request, slot, cession, table });
    }

    /// A gate gives a session if the asker is drawn for it by the giver's table.
    fn cede(&mut self, giver: usize, asker: usize, session: u64) -> Option<Cession> {
        let key = key(session);
        let old = self.planted == Some(Planted::AnswerByOldTable);
        let drawn = self.draws(giver, key).map(|gate| gate.name.clone());
        if !old && drawn.as_deref() != Some(self.processes[asker].name) {
            return None;
        }
        if old && drawn.as_deref() == Some(self.processes[giver].name) {
            // By its table the session is its own; it says only what it knows of it.
            let known = self.processes[giver].roster.ownership(key);
            return Some(if known.is_some() { Cession::Here } else { Cession::Absent });
        }
        let mut cession = self.processes[giver].roster.cede(key, false);
        if let Cession::Given(given) | Cession::GivenBefore(given) = &mut cession
            && self.planted == Some(Planted::LoseWindow)
        {
            given.window = None;
        }
        if self.planted == Some(Planted::GiveOnce) && matches!(cession, Cession::GivenBefore(_)) {
            cession = Cession::Absent;
        }
        Some(cession)
    }

    fn hear(&mut self, request: usize, slot: usize, cession: Cession, table: usize) {
        let At::Asking(asking) = &mut self.requests[request].at else { return };
        if slot >= asking.words.len() {
            return;
        }
        let (word, given) = match cession {
            Cession::Given(given) => (Word::Given(given.epoch), Some(given)),
            Cession::GivenBefore(given) => (Word::GivenBefore(given.epoch), Some(given)),
            Cession::Here => (Word::Here, None),
            Cession::Away(home) => (Word::Away(home), None),
            Cession::Absent => (Word::Absent, None),
        };
        asking.words[slot] = word;
        asking.given[slot] = given;
        asking.newest = asking.newest.max(Some(table));
        let gate = asking.gate;
        let mut words = asking.words.clone();
        if self.planted == Some(Planted::SilenceIsConsent) {
            words.retain(|word| *word != Word::Silent);
        }
        let newest = asking.newest;
        let verdict = verdict(&words);
        let (neighbours, given) = (asking.neighbours.clone(), &mut asking.given);
        match verdict {
            Verdict::Later => {}
            Verdict::At(index) => {
                self.joined.sent_on += 1;
                let life = neighbours.get(index).map(|(_, life)| *life);
                self.send_on(request, life);
            }
            // The asker's table has to be as new as the answers'; it is, before it goes on.
            Verdict::Own | Verdict::Moved(_) => {
                self.catch_up(gate, newest);
                self.admit(request, gate, true);
            }
            Verdict::Take(index) => {
                let given = given.get_mut(index).and_then(Option::take);
                self.catch_up(gate, newest);
                if let Some(given) = given {
                    self.receive(gate, self.requests[request].session, given);
                }
                self.admit(request, gate, true);
            }
        }
    }

    fn catch_up(&mut self, process: usize, table: Option<usize>) {
        if let Some(table) = table
            && self.processes[process].table < Some(table)
        {
            self.take_table(process, table);
        }
    }

    fn receive(&mut self, gate: usize, session: u64, given: Given) {
        let drawn = self.draws(gate, key(session)).map(|drawn| drawn.incarnation);
        let process = &mut self.processes[gate];
        if drawn != Some(process.life) && self.planted != Some(Planted::TakeUndrawn) {
            return;
        }
        let life = Life { incarnation: process.life, lease_valid: true };
        let given: (_, Option<DedupWindow>) = (given.epoch, given.window);
        let taken = process.roster.receive(who(session), given, &self.placement, life, 0);
        self.joined.given += u64::from(taken == Ok(true));
    }

    /// A joined gate takes over a page of another's sessions; the page may be lost on its way.
    pub(super) fn page(&mut self) {
        let asker = self.any_process();
        if self.processes[asker].joining.standing() != Standing::Asking {
            return;
        }
        let neighbours = self.processes[asker].joining.waiting().to_vec();
        let neighbour = neighbours[self.dice.index(neighbours.len())].clone();
        let giver = self.processes.iter().position(|other| other.life == neighbour.1);
        let Some(giver) = giver.filter(|giver| self.processes[*giver].alive) else { return };
        let new_enough = self.processes[giver].table >= self.processes[asker].table;
        if !new_enough && self.planted != Some(Planted::AnswerByOldTable) {
            return;
        }
        let (mut left, mut lost) = (false, false);
        for session in 0..SESSIONS {
            match self.cede(giver, asker, session) {
                Some(Cession::Given(given)) => {
                    lost |= self.dice.between(0, 5) == 0;
                    if !lost {
                        self.receive(asker, session, given);
                    }
                }
                Some(Cession::GivenBefore(given)) if self.planted == Some(Planted::TrustPages) => {
                    self.receive(asker, session, given);
                }
                // All have to be asked who has it.
                Some(Cession::GivenBefore(_)) => {
                    let known = self.processes[asker].roster.ownership(key(session));
                    if !known.is_some_and(|known| known.is_home()) {
                        left = true;
                        let at = At::Arriving(asker);
                        self.requests.push(Request { session, seq: 0, hops: 0, at });
                    }
                }
                Some(Cession::Here) => left = true,
                // A third gate's, and this one's if that one dies before it has taken it over.
                None if self.planted != Some(Planted::ForgetThirds) => {
                    let known = self.processes[giver].roster.ownership(key(session));
                    let own = self.draws(giver, key(session)).map(|gate| gate.incarnation);
                    left |= own != Some(self.processes[giver].life)
                        && known.is_some_and(|known| known.retains());
                }
                _ => {}
            }
        }
        if !left && !lost {
            let newest = self.processes[giver].table;
            self.catch_up(asker, newest);
            let before = self.processes[asker].joining.standing();
            self.processes[asker].joining.done(&neighbour);
            self.count_settled(asker, before);
        }
    }
}
