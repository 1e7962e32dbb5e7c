//! Sessions that change their gate within a zone. A gate that has joined a zone asks the gates that
//! were there before for every session that would begin here, and meanwhile takes over all that it
//! is drawn for, page by page. What is busy there stays there, and its requests are sent on.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use homing_session::{
    dedup::DedupWindow,
    joining::{Neighbour, Standing, Verdict, Word, verdict},
    roster::{self, Who},
};
use homing_wire::{
    Gate, LinkFrame, ServiceId, SessionKey, Version, ZoneId,
    link::{Cede, CedeOf, Cession, CessionKind, Given},
    table::Home,
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::timeout,
};

use crate::{
    clock::Clock,
    gates::{Gates, Received},
    handoff::{
        Fleet, Report,
        link::{
            Stream,
            frames::{self, Framed, StreamFault},
        },
    },
    live::{Live, LiveTable},
    replicas::Replicas,
    seat::GateSeat,
    telemetry::Metrics,
};

mod give;
mod leave;

/// Longest wait for another gate's answer, and for a table as new as its own.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a gate is left alone that had something it could not give, or did not answer.
const AGAIN: Duration = Duration::from_millis(250);

/// What sessions that change their gate rest on.
pub struct Cessions {
    pub(crate) live: Arc<LiveTable>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) metrics: Arc<Metrics>,
    /// Where word to control goes.
    reports: mpsc::Sender<Report>,
    /// Where questions are put: never among the threads that serve clients.
    pub(crate) side: Handle,
    /// One question a session at a time.
    asking: DashMap<SessionKey, Arc<Mutex<()>>>,
}

/// Where a session was found that would begin here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Here: it was given, or nobody else has it.
    Here,
    /// At another gate of this zone, which keeps it for now.
    At(String),
    /// In another zone.
    Moved(Home),
    /// One that may have it does not answer.
    Later,
}

/// One gate's answer.
struct Answer {
    word: Word,
    given: Option<(Given, Option<DedupWindow>)>,
    table: Version,
}

impl Cessions {
    pub(crate) fn new(
        (live, gates): (Arc<LiveTable>, Arc<Gates>),
        fleet: Arc<Fleet>,
        replicas: Arc<Replicas>,
        metrics: Arc<Metrics>,
        (side, reports): (Handle, mpsc::Sender<Report>),
    ) -> Self {
        Self { live, gates, fleet, replicas, metrics, reports, side, asking: DashMap::new() }
    }

    fn seat(&self) -> Option<&GateSeat> {
        self.fleet.seat.gate()
    }

    /// Looks for a session that would begin here among the gates that were here before.
    pub async fn ask(self: &Arc<Self>, zone: ZoneId, key: SessionKey) -> Whereabouts {
        let this = Arc::clone(self);
        let task = self.side.spawn(async move {
            let turn = Arc::clone(&this.asking.entry(key).or_default());
            let held = turn.lock().await;
            let found = this.look_for(zone, key).await;
            drop(held);
            // The map's own, and this one: nobody else waits.
            this.asking.remove_if(&key, |_, known| Arc::strong_count(known) <= 2);
            found
        });
        task.await.unwrap_or(Whereabouts::Later)
    }

    async fn look_for(&self, zone: ZoneId, key: SessionKey) -> Whereabouts {
        let Some(seat) = self.seat() else { return Whereabouts::Later };
        if self.gates.ownership(zone, key).is_some_and(|known| known.is_home()) {
            return Whereabouts::Here;
        }
        let (listed_then, neighbours) = (seat.listed(), seat.neighbours());
        match seat.standing() {
            Standing::Unlisted => return Whereabouts::Later,
            Standing::Settled => return Whereabouts::Here,
            Standing::Asking => {}
        }
        let gates = self.listed(seat, &neighbours);
        let mut asking = JoinSet::new();
        for (index, (_, gate)) in gates.iter().enumerate() {
            let asked = ask_one(Arc::clone(&self.fleet), gate.clone(), self.cede(seat, key));
            asking.spawn(async move { (index, asked.await) });
        }
        let silent = || Answer { word: Word::Silent, given: None, table: Version::default() };
        let mut answers: Vec<Answer> = gates.iter().map(|_| silent()).collect();
        let mut found = Verdict::Later;
        while let Some(answered) = asking.join_next().await {
            let Ok((index, answered)) = answered else { continue };
            match answered {
                Ok(cession) => answers[index] = self.answer(cession),
                Err(fault) => {
                    self.metrics.cessions_unanswered.inc();
                    let gate = &gates[index].1.name;
                    tracing::debug!(%key, gate, %fault, "asked for a session in vain");
                }
            }
            let words: Vec<Word> = answers.iter().map(|answer| answer.word).collect();
            found = verdict(&words);
            // What one gate alone decides need not wait for the others.
            if !matches!(found, Verdict::Later) {
                break;
            }
        }
        if gates.is_empty() {
            found = Verdict::Own;
        }
        let newest = answers.iter().map(|answer| answer.table).max().unwrap_or_default();
        match found {
            Verdict::At(index) => Whereabouts::At(gates[index].1.name.clone()),
            Verdict::Later => Whereabouts::Later,
            // What a table says that is older than the answer's is not to be believed here.
            _ if !self.table_is_at(newest).await => Whereabouts::Later,
            // By other gates, others have to be asked.
            _ if !seat.still_lists(&listed_then) => Whereabouts::Later,
            Verdict::Own => Whereabouts::Here,
            Verdict::Moved(home) => Whereabouts::Moved(home),
            Verdict::Take(index) => {
                let (word, given) = (answers[index].word, answers[index].given.take());
                if let Some((given, window)) = given {
                    let received = self.take(zone, key, (&given, window), &listed_then);
                    if received == Received::NotDrawn {
                        return Whereabouts::Later;
                    }
                    // Nobody waits for that: the next page says it again.
                    let took = vec![(key, given.changes)];
                    let _ = self.confirm(seat, &gates[index].1, took).await;
                }
                // One given before may have gone on from here since: then the table's word holds.
                tracing::debug!(%key, ?word, "a session was given");
                Whereabouts::Here
            }
        }
    }

    /// Those that the table lists still, with where they are. The others' lives are over.
    fn listed(&self, seat: &GateSeat, neighbours: &[Neighbour]) -> Vec<(Neighbour, Gate)> {
        let live = self.live.load();
        let facts = live.table.facts();
        let zone = seat.zone_in(facts).and_then(|zone| facts.zones.get(zone.index()));
        let gates = zone.map(|zone| zone.gates.as_slice()).unwrap_or_default();
        let of = |(name, life): &Neighbour| {
            gates.iter().find(|gate| (&gate.name, gate.incarnation) == (name, *life)).cloned()
        };
        let listed = |known: &Neighbour| of(known).map(|gate| (known.clone(), gate));
        neighbours.iter().filter_map(listed).collect()
    }

    fn cede(&self, seat: &GateSeat, key: SessionKey) -> Cede {
        self.wanted(seat, CedeOf::Session(key))
    }

    fn wanted(&self, seat: &GateSeat, of: CedeOf) -> Cede {
        Cede {
            zone: seat.zone.clone(),
            gate: seat.name.clone(),
            incarnation: seat.incarnation(),
            table: self.live.load().table.version(),
            of,
        }
    }

    fn answer(&self, (cession, window): (Cession, Option<DedupWindow>)) -> Answer {
        let table = cession.table;
        let (word, given) = match cession.kind {
            CessionKind::Given(given) => (Word::Given(given.epoch), Some((given, window))),
            CessionKind::GivenBefore(given) => {
                (Word::GivenBefore(given.epoch, given.changes), Some((given, window)))
            }
            CessionKind::Here => (Word::Here, None),
            CessionKind::Absent => (Word::Absent, None),
            CessionKind::Away { zone, epoch } => {
                let known = self.live.load().table.facts().zone_named(&zone);
                // A zone of a table that is still on its way.
                let word = known.map_or(Word::Silent, |zone| Word::Away(Home { zone, epoch }));
                (word, None)
            }
        };
        Answer { word, given, table }
    }

    /// Puts a session in place that another gate has given.
    fn take(
        &self,
        zone: ZoneId,
        key: SessionKey,
        (given, window): (&Given, Option<DedupWindow>),
        listed: &Arc<Vec<Gate>>,
    ) -> Received {
        let live = self.live.load_full();
        let facts = live.table.facts();
        let named = |service: &homing_wire::Service| {
            (&service.tenant, &service.name) == (&given.tenant, &given.service)
        };
        let service = facts.services.iter().position(named).map(|index| ServiceId(index as u16));
        let place = facts.places.iter().position(|place| place.name == given.place);
        let who = Who {
            key,
            // What no table here knows, its next request tells.
            service: service.unwrap_or(ServiceId(u16::MAX)),
            place: place.map(|index| homing_wire::PlaceId(index as u16)),
        };
        let now_ms = Clock::process().now_ms();
        let (service_of, place_of) = (who.service, who.place);
        let handed = roster::Given {
            epoch: given.epoch,
            service: service_of,
            place: place_of,
            changes: given.changes,
            window,
        };
        let received = self.gates.receive(&live, zone, who, handed, listed, now_ms);
        if received == Received::New {
            self.metrics.received.inc();
            // Control would order it about at the gate that its last records came from. Without
            // this word its first order fails, and the next one comes here.
            let home = Home { zone, epoch: given.epoch };
            let _ = self.reports.try_send(Report::Residence { key, home });
            if service.is_some() {
                self.replicas.begin(&live, zone, who, given.epoch);
            }
        }
        received
    }

    /// Waits until the table in force is at least that new; whether it is.
    async fn table_is_at(&self, version: Version) -> bool {
        let mut published = self.live.watch();
        let newer = async {
            while self.live.load().table.version() < version {
                if published.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(ANSWER, newer).await.is_ok() && self.live.load().table.version() >= version
    }

    /// Takes over what this gate is drawn for, for as long as one that was here before has any of
    /// it. Runs with the process, because a life that is declared over is followed by another.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut published = self.live.watch();
        loop {
            let asking = self.seat().is_some_and(|seat| seat.standing() == Standing::Asking);
            if asking {
                self.take_over().await;
                tokio::time::sleep(AGAIN).await;
            } else if published.changed().await.is_err() {
                return;
            }
        }
    }

    async fn take_over(&self) {
        let Some(seat) = self.seat() else { return };
        let live = self.live.load_full();
        let Some(zone) = seat.zone_in(live.table.facts()) else { return };
        let neighbours = seat.neighbours();
        for (neighbour, gate) in self.listed(seat, &neighbours) {
            match self.take_pages(seat, zone, &gate).await {
                Ok(0) => {
                    tracing::info!(gate = gate.name, "has given all that this gate is drawn for");
                    seat.has_given_all(&neighbour);
                }
                Ok(left) => tracing::debug!(gate = gate.name, left, "has more to give"),
                Err(fault) => {
                    self.metrics.cessions_unanswered.inc();
                    tracing::warn!(gate = gate.name, %fault, "does not give its sessions");
                }
            }
        }
    }

    /// Goes through all of a gate's sessions once; how many it could not give.
    async fn take_pages(
        &self,
        seat: &GateSeat,
        zone: ZoneId,
        gate: &Gate,
    ) -> Result<u64, StreamFault> {
        let (mut cursor, mut left) = (0, 0);
        let listed = seat.listed();
        loop {
            let cede = self.wanted(seat, CedeOf::Page(cursor));
            let mut receive = open(&self.fleet, gate, cede).await?;
            let mut took = Vec::new();
            let (next, kept, table) = loop {
                let framed = within(frames::read(&mut receive, 0)).await?;
                match framed.frame {
                    LinkFrame::Cession(cession) => {
                        let (key, changes) = (cession.key, cession.changes());
                        left += self.take_of_page(zone, *cession, &framed.window, &listed).await;
                        // Here, or gone on from here.
                        if changes > 0 && self.gates.changes(zone, key) >= changes {
                            took.push((key, changes));
                        }
                    }
                    LinkFrame::CededPage { next, left, table } => break (next, left, table),
                    other => return Err(odd(&other)),
                }
            };
            left += kept;
            self.confirm(seat, gate, took).await?;
            match next {
                Some(next) => cursor = next,
                // By a newer table it may have gone on; this gate must not believe an older one.
                None if self.table_is_at(table).await => return Ok(left),
                None => return Err(StreamFault::Broken("its table is newer".to_owned())),
            }
        }
    }

    /// Tells a gate what has arrived of what it gave.
    async fn confirm(
        &self,
        seat: &GateSeat,
        gate: &Gate,
        took: Vec<(SessionKey, u32)>,
    ) -> Result<(), StreamFault> {
        if took.is_empty() {
            return Ok(());
        }
        open(&self.fleet, gate, self.wanted(seat, CedeOf::Took(took))).await.map(drop)
    }

    /// Takes in one session of a page; 1 if it is not known yet who has it.
    async fn take_of_page(
        &self,
        zone: ZoneId,
        cession: Cession,
        window: &[u8],
        listed: &Arc<Vec<Gate>>,
    ) -> u64 {
        let key = cession.key;
        match cession.kind {
            CessionKind::Given(given) => {
                let received = self.take(zone, key, (&given, window_of(window)), listed);
                return u64::from(received == Received::NotDrawn);
            }
            // It may have been given to another gate, which gave it on or never got it: all have
            // to be asked. Mostly this one has it.
            CessionKind::GivenBefore(_) => {
                return u64::from(self.look_for(zone, key).await == Whereabouts::Later);
            }
            _ => {}
        }
        0
    }
}

async fn ask_one(
    fleet: Arc<Fleet>,
    gate: Gate,
    cede: Cede,
) -> Result<(Cession, Option<DedupWindow>), StreamFault> {
    let mut receive = open(&fleet, &gate, cede).await?;
    let framed = within(frames::read(&mut receive, 0)).await?;
    match framed.frame {
        LinkFrame::Cession(cession) => Ok((*cession, window_of(&framed.window))),
        other => Err(odd(&other)),
    }
}

async fn open(fleet: &Fleet, gate: &Gate, cede: Cede) -> Result<quinn::RecvStream, StreamFault> {
    within(async {
        let stream = fleet.link.stream(gate).await;
        let Stream { mut send, receive, .. } =
            stream.map_err(|down| StreamFault::Broken(down.to_string()))?;
        let cede = Framed::bare(LinkFrame::Cede(Box::new(cede)));
        frames::write(&mut send, &cede, &Default::default(), None).await?;
        // Nothing more will be said; a stream that is gone already has nothing to end.
        let _ = send.finish();
        Ok(receive)
    })
    .await
}

async fn within<T>(work: impl Future<Output = Result<T, StreamFault>>) -> Result<T, StreamFault> {
    let late = |_| StreamFault::Broken(format!("no answer within {} s", ANSWER.as_secs()));
    timeout(ANSWER, work).await.map_err(late)?
}

/// A window that cannot be read costs the names of requests executed, and not the session.
fn window_of(bytes: &[u8]) -> Option<DedupWindow> {
    if bytes.is_empty() {
        return None;
    }
    let window = DedupWindow::import(bytes);
    if let Err(fault) = &window {
        tracing::warn!(%fault, "requests already executed are forgotten");
    }
    window.ok()
}

fn odd(frame: &LinkFrame) -> StreamFault {
    StreamFault::Broken(match frame {
        LinkFrame::Refused { why, detail } => format!("refused ({}): {detail}", why.name()),
        other => format!("an answer that is none: {other:?}"),
    })
}

impl Cessions {
    /// What a table in force says of the gates of this gate's zone.
    fn is_listed(&self, live: &Live, name: &str, cede: &Cede) -> bool {
        let facts = live.table.facts();
        let zone = self.seat().and_then(|seat| seat.zone_in(facts));
        let gates = zone.and_then(|zone| facts.zones.get(zone.index())).map(|zone| &zone.gates);
        gates.is_some_and(|gates| {
            gates.iter().any(|gate| gate.name == name && gate.incarnation == cede.incarnation)
        })
    }
}

impl std::fmt::Debug for Cessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cessions").field("asking", &self.asking.len()).finish_non_exhaustive()
    }
}
