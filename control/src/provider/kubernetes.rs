//! Kubernetes as a provider: the scale subresource says how many pods there are to be, a watch over
//! EndpointSlices tells which of them are ready. Plain REST over the API that every cluster has
//! (apps/v1, discovery.k8s.io/v1, coordination.k8s.io/v1), so no version of a client library
//! decides which clusters are served.
//!
//! Kubernetes starts and ends the pods, and with `lease` only one control at a time may ask it to.

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use homing_wire::UpstreamProtocol;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Answer, Probe, Provided, Provider, ProviderFault, Wish, cut_short, without_doubles};

mod client;
mod lease;
mod slices;
mod watch;

pub use client::ClientSettings;

use client::Api;
use lease::Lease;
use slices::Port;
use watch::View;

/// Where a pod finds its own credentials.
const MOUNTED: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Attempts at a scale that others change at the same time.
const CONFLICTS_MAX: u32 = 3;
/// Pods that are given back first cost this to delete; others cost 0.
const DELETION_COST: &str = "-100";

/// What is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A ReplicaSet.
    ReplicaSet,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::ReplicaSet => "replicasets",
        }
    }
}

/// Where a cluster is and what is scaled in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// How its API server is reached.
    pub client: ClientSettings,
    /// The namespace; `None` for the pod's own.
    pub namespace: Option<String>,
    /// What is scaled.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The Service whose endpoints are taken.
    pub service: String,
    /// Which of its ports; `None` for the first.
    pub port: Option<String>,
    /// How endpoints are spoken to.
    pub protocol: UpstreamProtocol,
    /// The Lease that control must hold to scale; `None` if it is alone.
    pub lease: Option<String>,
    /// How endpoints that are ready by the cluster are looked at.
    pub ready: Probe,
}

/// A workload of a cluster.
pub struct Kubernetes {
    settings: KubernetesSettings,
    api: Arc<Api>,
    view: Arc<View>,
    lease: Option<Arc<Lease>>,
    tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Deserialize)]
struct Scale {
    spec: ScaleSpec,
}

#[derive(Deserialize)]
struct ScaleSpec {
    /// Left out where it is 0.
    #[serde(default)]
    replicas: u32,
}

/// A `Status` of the API: why something was refused.
#[derive(Deserialize)]
struct Refused {
    message: Option<String>,
}

impl Kubernetes {
    /// Begins to watch; within a runtime.
    ///
    /// # Errors
    /// The settings name files or an address that cannot be used.
    pub fn new(settings: KubernetesSettings) -> Result<Self, String> {
        let own = PathBuf::from(MOUNTED).join("namespace");
        let namespace = match &settings.namespace {
            Some(namespace) => namespace.clone(),
            None => std::fs::read_to_string(&own)
                .map(|text| text.trim().to_owned())
                .map_err(|_| "no `namespace` is stated, and this is no pod".to_owned())?,
        };
        let api = Arc::new(Api::new(&settings.client, namespace)?);
        let port = settings.port.as_deref().map(Port::read);
        let view = Arc::new(View::new(settings.service.clone(), port, settings.protocol));
        let mut tasks = vec![tokio::spawn(watch::follow(api.clone(), view.clone()))];
        let lease = settings.lease.clone().map(|name| Arc::new(Lease::new(name)));
        if let Some(lease) = &lease {
            tasks.push(tokio::spawn(lease::hold(api.clone(), lease.clone())));
        }
        Ok(Self { settings, api, view, lease, tasks })
    }

    fn workload(&self) -> String {
        let (kind, name) = (self.settings.kind.plural(), &self.settings.name);
        format!("/apis/apps/v1/namespaces/{}/{kind}/{name}", self.api.namespace)
    }

    /// Asks that the pods behind these addresses be the first to go. That is a wish: who may not
    /// change pods scales all the same.
    async fn mark(&self, addresses: &[String]) {
        let annotations = json!({ "controller.kubernetes.io/pod-deletion-cost": DELETION_COST });
        let patch = json!({ "metadata": { "annotations": annotations } });
        for pod in self.view.pods(addresses) {
            let path = format!("/api/v1/namespaces/{}/pods/{pod}", self.api.namespace);
            match self.api.patch(&path, &patch).await {
                Ok((status, _)) if status.is_success() => {}
                Ok((status, _)) => tracing::debug!(pod, %status, "a pod could not be marked"),
                Err(fault) => tracing::debug!(pod, %fault, "a pod could not be marked"),
            }
        }
    }
}

#[async_trait]
impl Provider for Kubernetes {
    async fn scale(&self, wish: &Wish) -> Result<Answer, ProviderFault> {
        if let Some(Err(reason)) = self.lease.as_ref().map(|lease| lease.is_held()) {
            return Ok(Answer::Refusal { reason });
        }
        self.mark(&wish.release).await;
        let path = format!("{}/scale", self.workload());
        let patch = json!({ "spec": { "replicas": wish.wanted } });
        let mut conflicts = 0;
        let (status, body) = loop {
            let (status, body) = self.api.patch(&path, &patch).await?;
            conflicts += 1;
            if status != StatusCode::CONFLICT || conflicts >= CONFLICTS_MAX {
                break (status, body);
            }
        };
        if status.is_success() {
            let scale: Scale = self.api.read(&body)?;
            return Ok(match scale.spec.replicas {
                count if count >= wish.wanted => Answer::Offer,
                count => Answer::Counter { count, reason: "the cluster set another number".into() },
            });
        }
        let told: Option<Refused> = serde_json::from_slice(&body).ok();
        let words = told.and_then(|told| told.message).unwrap_or_else(|| status.to_string());
        let words = cut_short(&words);
        match status {
            // Who may not, what is no such workload, and what an admission rule forbids.
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
                Ok(Answer::Refusal { reason: words })
            }
            _ => Err(self.api.status(status, words)),
        }
    }

    async fn list(
        &self,
        _zone: &str,
        _service: Option<&str>,
    ) -> Result<Vec<Provided>, ProviderFault> {
        let listed = self.view.endpoints().map_err(|problem| self.api.unreachable(problem))?;
        Ok(self.settings.ready.look_at_all(without_doubles(listed)).await)
    }

    fn news(&self) -> Vec<String> {
        let mut news = self.view.news();
        news.extend(self.lease.iter().flat_map(|lease| lease.news()));
        news
    }

    async fn end(&self) {
        // Pods outlive control: whoever leads next finds them by the same Service.
        if let Some(lease) = &self.lease {
            lease::release(&self.api, lease).await;
        }
    }
}
