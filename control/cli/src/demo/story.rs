//! What happens while the log is replayed: a zone gets crowded, users drift (that is in the plan),
//! control is killed and comes back, a zone is drained and opened again. Both arms get the crowd
//! and the drift; the arm without handoffs gets nothing that needs one.

use std::sync::Arc;
use std::time::Duration;

use super::arm::{PLACES, Setting, WORK_MS, stage};
use super::children::Role;
use super::client::Replay;
use super::operate::Operator;
use super::scene;
use super::screen::Screen;
use crate::trouble::Trouble;

/// When the first zone gets crowded, as shares of the run.
pub const CROWD_AT: f64 = 0.20;
const KILL_AT: f64 = 0.40;
const RESTART_AT: f64 = 0.50;
const DRAIN_AT: f64 = 0.56;
const OPEN_AT: f64 = 0.66;
/// Longest wait for a drained zone to be empty.
const DRAIN_WAIT: Duration = Duration::from_secs(15);
/// The share of its places that the crowded zone has at work.
const CROWD_LOAD: f64 = 0.7;
const CROWD_WORK_MAX: Duration = Duration::from_millis(200);
/// From here on latency counts as "after".
pub const AFTER_FROM: f64 = 0.8;

/// Everybody on stage.
#[derive(Debug)]
pub struct Cast {
    /// Who asks them.
    pub operator: Operator,
    /// The zones' apps.
    pub apps: Vec<Role>,
    /// Control.
    pub control: Role,
    /// The proxy.
    pub proxy: Role,
}

impl Cast {
    /// Sends everybody home, the proxy first.
    pub async fn leave(&mut self) {
        self.proxy.leave().await;
        self.control.leave().await;
        for app in &mut self.apps {
            app.leave().await;
        }
    }
}

/// What happened, for the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The zone that got crowded.
    pub crowded: Option<String>,
    /// The zone that was drained.
    pub drained: Option<String>,
    /// Sessions still in it when it was opened again.
    pub left_in_drained: u64,
    /// How long it took to be empty, seconds.
    pub drain_s: f64,
    /// Control's death and return.
    pub outage: Option<Outage>,
}

/// Control's death and return.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outage {
    /// Seconds after the start.
    pub killed_s: f64,
    /// Seconds after the start, when it was ready again.
    pub back_s: f64,
    /// The table's version before.
    pub version_before: (u64, u64),
    /// The table's version when it was back.
    pub version_after: (u64, u64),
    /// Handoffs that were open when it died.
    pub open_before: u64,
    /// Requests that were answered meanwhile.
    pub answered: u64,
    /// Requests that failed meanwhile.
    pub failed: u64,
}

/// Plays the story to its end, which is before the replay's.
///
/// # Errors
/// If a process does not do what it is asked.
pub async fn tell(
    setting: &Setting,
    replay: &Arc<Replay>,
    cast: &mut Cast,
    screen: &Screen,
) -> Result<Told, Trouble> {
    let mut told = Told::default();
    let clock = Clock { replay, length: setting.plan.length, screen };
    let zones = &setting.world.zones;

    clock.until(CROWD_AT).await;
    let crowded = &zones[0].name;
    let work = crowded_work(setting);
    clock.say(&format!(
        "{crowded} gets crowded: a request works {} ms instead of {WORK_MS}, room for a third of \
         the sessions",
        work.as_millis()
    ));
    cast.operator.set_work(0, work.as_micros() as u64).await?;
    let apps: Vec<_> = cast.operator.app_addresses()?;
    let document = scene::document(&setting.world, &apps, stage(setting, true));
    cast.operator.push(&document).await?;
    told.crowded = Some(crowded.clone());
    if !setting.handoffs {
        return Ok(told);
    }

    clock.until(KILL_AT).await;
    told.outage = Some(outage(&clock, cast).await?);

    clock.until(DRAIN_AT).await;
    maintenance(&clock, &zones[zones.len() - 1].name, cast, &mut told).await?;
    Ok(told)
}

/// A zone is drained, stands empty, and is opened again.
async fn maintenance(
    clock: &Clock<'_>,
    zone: &str,
    cast: &Cast,
    told: &mut Told,
) -> Result<(), Trouble> {
    let began = clock.seconds();
    let at_first = cast.operator.sessions_in(zone).await?;
    clock.say(&format!("{zone} is drained: {at_first} sessions live there"));
    cast.operator.drain(zone).await?;
    let until = began + DRAIN_WAIT.as_secs_f64();
    told.drained = Some(zone.to_owned());
    loop {
        told.left_in_drained = cast.operator.sessions_in(zone).await?;
        if told.left_in_drained == 0 || clock.seconds() > until {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    told.drain_s = clock.seconds() - began;
    clock.until(OPEN_AT).await;
    told.left_in_drained = told.left_in_drained.max(cast.operator.sessions_in(zone).await?);
    clock.say(&format!(
        "{zone} was empty after {:.1} s and stayed so; it is opened again",
        told.drain_s
    ));
    cast.operator.open(zone).await
}

/// How long a request works in the crowded zone: so long that half of all requests, which is what
/// comes to it, nearly fill its places.
fn crowded_work(setting: &Setting) -> Duration {
    let rate = setting.plan.requests() as f64 / 2.0 / setting.plan.length.as_secs_f64();
    let work = Duration::from_secs_f64(CROWD_LOAD * PLACES as f64 / rate.max(1.0));
    work.clamp(Duration::from_millis(WORK_MS), CROWD_WORK_MAX)
}

async fn outage(clock: &Clock<'_>, cast: &mut Cast) -> Result<Outage, Trouble> {
    let handoffs = cast.operator.handoffs().await?;
    let version_before = cast.operator.version().await?;
    let (_, answered_before, failed_before) = clock.replay.tally.counts();
    cast.control.kill().await?;
    let killed_s = clock.seconds();
    clock.say(&format!(
        "control is killed (kill -9) at table {}.{}, {} handoffs under way",
        version_before.0, version_before.1, handoffs.open
    ));
    clock.until(RESTART_AT).await;
    let (_, answered, failed) = clock.replay.tally.counts();
    cast.control.restart()?;
    cast.control.ready(&cast.operator.control, "/readyz").await?;
    let version_after = cast.operator.version().await?;
    let outage = Outage {
        killed_s,
        back_s: clock.seconds(),
        version_before,
        version_after,
        open_before: handoffs.open,
        answered: answered - answered_before,
        failed: failed - failed_before,
    };
    clock.say(&format!(
        "control is back at table {}.{}; meanwhile {} requests were answered, {} failed",
        version_after.0, version_after.1, outage.answered, outage.failed
    ));
    Ok(outage)
}

struct Clock<'a> {
    replay: &'a Arc<Replay>,
    length: Duration,
    screen: &'a Screen,
}

impl Clock<'_> {
    async fn until(&self, share: f64) {
        tokio::time::sleep_until(self.replay.start + self.length.mul_f64(share)).await;
    }

    fn seconds(&self) -> f64 {
        self.replay.start.elapsed().as_secs_f64()
    }

    fn say(&self, text: &str) {
        self.screen.tell(&format!("  {:5.1} s  {text}", self.seconds()));
    }
}
