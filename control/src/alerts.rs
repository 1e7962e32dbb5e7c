//! Alerts: what was unusual is posted to webhooks, signed as providers' are. Each hook has a task
//! of its own, so that one that hangs keeps nobody else from knowing.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{sync::watch, time::sleep};

use crate::{
    api::anomalies::{AnomalyBody, body},
    foresight::Foresight,
    provider::{Webhook, webhook::may_pass},
    shared::Shared,
    tasks::{Tasks, stopped},
};

/// Hooks one settings file may list.
pub const HOOKS_MAX: usize = 8;
/// Anomalies in one request.
const TOLD_MAX: usize = 100;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// After a request that was not taken, at least and at most.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What a hook is sent.
#[derive(Serialize)]
struct Told<'a> {
    kind: &'a str,
    /// The process of control that counts the anomalies.
    term: u64,
    /// Anomalies before these that the hook can not be told any more: it was away too long.
    missed: u64,
    anomalies: Vec<AnomalyBody>,
}

/// Starts a task for each hook.
pub fn start(hooks: Vec<Webhook>, shared: &Arc<Shared>, tasks: &Tasks) {
    for hook in hooks {
        tasks.spawn("alerts", tell(hook, shared.clone(), tasks.stopping()));
    }
}

async fn tell(hook: Webhook, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let told = async {
        let (mut after, mut pause) = (0, PAUSE);
        loop {
            let foresight = shared.foresight.read().clone();
            let Some((last, request)) = next(&foresight, after, shared.term) else {
                sleep(LOOK).await;
                continue;
            };
            let key = format!("anomalies-{}-{}-{last}", shared.term, after + 1);
            match hook.deliver(request.into(), &key).await {
                Ok(_) => {
                    shared.metrics.alerts.add("taken");
                    (after, pause) = (last, PAUSE);
                }
                Err(fault) if may_pass(&fault) => {
                    shared.metrics.alerts.add("late");
                    tracing::warn!(%fault, "anomalies wait to be told");
                    sleep(pause).await;
                    pause = PAUSE_MAX.min(pause * 2);
                }
                Err(fault) => {
                    shared.metrics.alerts.add("refused");
                    tracing::error!(%fault, "anomalies were not taken, nor are they told again");
                    (after, pause) = (last, PAUSE);
                }
            }
        }
    };
    tokio::select! {
        () = told => {}
        () = stopped(&mut stop) => {}
    }
}

/// The next request, with the last anomaly in it; `None` if there is nothing to tell.
fn next(foresight: &Foresight, after: u64, term: u64) -> Option<(u64, Vec<u8>)> {
    let fresh = foresight.anomalies.iter().filter(|anomaly| anomaly.seq > after);
    let anomalies: Vec<AnomalyBody> = fresh.take(TOLD_MAX).map(body).collect();
    let missed = anomalies.first()?.seq - after - 1;
    let last = anomalies.last()?.seq;
    let told = Told { kind: "anomalies", term, missed, anomalies };
    // What cannot be written, a number that is none, is told of by its count alone.
    let request = serde_json::to_vec(&told).unwrap_or_else(|_| b"{}".to_vec());
    Some((last, request))
}

#[cfg(test)]
mod tests {
    use homing_forecast::anomaly::Detector;

    use super::*;
    use crate::foresight::{Anomaly, Resource, Series};

    #[test]
    fn each_is_told_once_and_what_was_missed_is_counted() {
        let anomaly = |seq| Anomaly {
            seq,
            series: Series { zone: "paris".into(), service: None, resource: Resource::Requests },
            at_ms: seq * 1_000,
            verdict: Detector::new().observe(0, 1.0),
        };
        let mut foresight = Foresight::default();
        assert_eq!(next(&foresight, 0, 1), None);
        foresight.anomalies = (51..=250).map(anomaly).collect();
        let read = |request: &[u8]| serde_json::from_slice::<serde_json::Value>(request).unwrap();
        let (last, request) = next(&foresight, 0, 7).unwrap();
        let told = read(&request);
        assert_eq!((last, &told["missed"], &told["term"]), (150, &50.into(), &7.into()));
        assert_eq!(told["anomalies"].as_array().unwrap().len(), TOLD_MAX);
        let (last, request) = next(&foresight, last, 7).unwrap();
        assert_eq!((last, &read(&request)["missed"]), (250, &0.into()));
        assert_eq!(next(&foresight, last, 7), None);
    }
}
