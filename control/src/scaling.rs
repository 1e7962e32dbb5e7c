//! Scaling: for each zone that has a provider, a task that looks at its endpoints each round, has
//! [`homing_plan::scale::scale`] decide their number, puts the wish to the provider, then hands the
//! lead those that may serve. With `act: shadow` it only writes down what it would wish for.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    clock,
    foresight::Resource,
    lead::{self, Command},
    provider::{
        Kubernetes, KubernetesSettings, ProcessSettings, Processes, Provider, Standing, Webhook,
        WebhookSettings, process::orphans,
    },
    shared::Shared,
    tasks::{Tasks, stopped},
};

pub mod expected;
pub(crate) mod foretold;
mod group;

use group::Group;

/// Zones and services of one control that may be scaled.
pub const GROUPS_MAX: usize = 64;
/// Answers and events that are kept of each.
const NOTES_KEPT: usize = 32;

/// What is scaled, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleSettings {
    /// The zone's name.
    pub zone: String,
    /// The service's name; `None` for the zone's endpoints of every service.
    pub service: Option<String>,
    /// What its load is counted in.
    pub load: Resource,
    /// Load that one endpoint bears.
    pub capacity: f64,
    /// The share of it that is kept free.
    pub head_room: f64,
    /// The fewest endpoints of the provider.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// What one costs for an hour, in the installation's currency.
    pub price: f64,
    /// What being one short costs for an hour, in the same.
    pub shortage: f64,
    /// How long the number stands before endpoints are given back, milliseconds.
    pub cooldown_ms: u64,
    /// From asking for an endpoint until it is ready, milliseconds, until that was measured.
    pub lead_ms: u64,
    /// When an endpoint that was asked for is given up, or one that cannot be reached any more,
    /// milliseconds.
    pub give_up_ms: u64,
    /// From an endpoint's leaving the table until it is given back, milliseconds.
    pub drain_ms: u64,
    /// Who makes them.
    pub provider: ProviderSettings,
}

/// Who makes endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderSettings {
    /// Processes of this machine.
    Process(ProcessSettings),
    /// A workload of a cluster.
    Kubernetes(KubernetesSettings),
    /// Somebody else, over HTTP.
    Webhook(WebhookSettings),
}

impl ProviderSettings {
    /// The word in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Kubernetes(_) => "kubernetes",
            Self::Webhook(_) => "webhook",
        }
    }

    fn open(&self, record: PathBuf) -> Result<Arc<dyn Provider>, String> {
        Ok(match self {
            Self::Process(settings) => Arc::new(Processes::new(settings.clone(), Some(record))),
            Self::Kubernetes(settings) => Arc::new(Kubernetes::new(settings.clone())?),
            Self::Webhook(settings) => Arc::new(Webhook::new(settings.clone())?),
        })
    }
}

/// What a decision rested on besides the settings and what is foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    /// Endpoints of the document beside the provider's.
    pub fixed: u32,
    /// From asking for an endpoint until it is ready, milliseconds.
    pub lead_ms: u64,
    /// When the number last changed, milliseconds since the Unix epoch.
    pub changed_ms: Option<u64>,
}

/// How one zone and service stands, as of its last round.
#[derive(Clone, Debug, Default)]
pub struct Scaling {
    /// The zone's name.
    pub zone: String,
    /// The service's name; `None` for every service.
    pub service: Option<String>,
    /// The word for its provider.
    pub provider: &'static str,
    /// When this was decided, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whether wishes are put to the provider; otherwise they are only shown.
    pub acts: bool,
    /// Endpoints that there should be.
    pub wanted: u32,
    /// What kind of decision that is.
    pub verdict: &'static str,
    /// Why.
    pub reason: String,
    /// The quantile of demand that is provided for.
    pub quantile: f64,
    /// The load that is provided for.
    pub load: f64,
    /// What it is counted in.
    pub unit: &'static str,
    /// Endpoints that serve.
    pub ready: u32,
    /// Endpoints that were asked for, and those that cannot be reached for the moment.
    pub under_way: u32,
    /// Endpoints that serve no more and are about to be given back.
    pub leaving: u32,
    /// What the provider has, by address.
    pub endpoints: Vec<(String, Standing)>,
    /// What it answered, oldest first.
    pub answers: VecDeque<Note>,
    /// What happened, oldest first.
    pub news: VecDeque<Note>,
    /// Lead times that half of those measured, and nine of ten, did not exceed, milliseconds.
    pub lead_ms: [Option<u64>; 2],
    /// How many were measured, of the latest.
    pub lead_times: usize,
    /// What the decision rested on; `None` before the first.
    pub basis: Option<Basis>,
}

/// Something that was said or happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What it was about: the number wished for, in an answer.
    pub wanted: u32,
    /// One word for it.
    pub word: &'static str,
    /// The words.
    pub words: String,
}

fn keep(notes: &mut VecDeque<Note>, note: Note) {
    if notes.len() == NOTES_KEPT {
        notes.pop_front();
    }
    notes.push_back(note);
}

/// Starts a task for each zone and service that is scaled: a provider that hangs holds up nobody
/// else's.
///
/// # Errors
/// A provider cannot be made ready to be asked.
pub fn start(
    settings: &[ScaleSettings],
    data_dir: &Path,
    shared: &Arc<Shared>,
    lead: &lead::Handle,
    round: Duration,
    tasks: &Tasks,
) -> Result<(), String> {
    match orphans::ask_to_end(data_dir) {
        Ok(orphans) if orphans.is_empty() => {}
        Ok(orphans) => tasks.spawn("orphans", orphans::kill_later(orphans)),
        Err(fault) => tracing::warn!(%fault, "processes of a killed control are not looked for"),
    }
    let open = |one: &ScaleSettings| {
        let record = orphans::record(data_dir, &one.zone, one.service.as_deref());
        Ok((one.clone(), one.provider.open(record)?))
    };
    let opened = settings.iter().map(open).collect::<Result<Vec<_>, String>>()?;
    let shown = settings.iter().map(|one| Scaling {
        zone: one.zone.clone(),
        service: one.service.clone(),
        provider: one.provider.name(),
        unit: one.load.unit(),
        ..Scaling::default()
    });
    *shared.scaling.write() = shown.collect();
    for (index, (settings, provider)) in opened.into_iter().enumerate() {
        let group = Group::new(settings, provider, shared.term);
        let (shared, lead, stop) = (shared.clone(), lead.clone(), tasks.stopping());
        tasks.spawn("scaling", turn(group, index, shared, lead, round, stop));
    }
    Ok(())
}

/// Rounds of one zone and service until control stops; its provider then takes everything back
/// that cannot outlive control.
async fn turn(
    mut group: Group,
    index: usize,
    shared: Arc<Shared>,
    lead: lead::Handle,
    round: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut clock = tokio::time::interval(round);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let turned = async {
            clock.tick().await;
            let table = shared.published.table();
            let foresight = shared.foresight.read().clone();
            let facts = table.as_ref().map(|table| table.facts().as_ref());
            let (zone, service) = group.of();
            let now_ms = clock::now_ms();
            let surges = shared.expected.surges(&zone, service.as_deref(), now_ms);
            group.round(facts, &foresight, &surges, now_ms).await
        };
        let scaling = tokio::select! {
            scaling = turned => scaling,
            () = stopped(&mut stop) => break,
        };
        if let Some(shown) = shared.scaling.write().get_mut(index) {
            *shown = scaling;
        }
        if let Some(endpoints) = group.news_for_table() {
            let (zone, service) = group.of();
            let told = Command::Provided { zone, service, endpoints };
            if lead.send(told).await.is_err() {
                break;
            }
        }
    }
    group.end().await;
}
