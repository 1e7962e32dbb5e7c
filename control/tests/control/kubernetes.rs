//! The Kubernetes provider against an API server that holds what it is told, takes only requests
//! whose path, query, content type and object are as the API's schema has them, and can lose a
//! watch, forget its past, refuse, or be taken over by somebody else.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use homing_control::provider::{
    Answer, Kubernetes, KubernetesSettings, Probe, Provider, ProviderFault, Standing, Wish,
    kubernetes::{ClientSettings, Kind},
};
use homing_wire::UpstreamProtocol;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::world::eventually;

const TOKEN: &str = "a-token-of-sixteen";

/// What the cluster holds.
struct Cluster {
    version: u64,
    replicas: u64,
    /// Status and message of scales, if they are refused; conflicts that come first.
    refusal: Option<(u16, &'static str)>,
    conflicts: u32,
    /// The most replicas that an admission rule lets stand.
    replicas_max: u64,
    slices: Vec<Value>,
    lease: Option<Value>,
    marked: Vec<String>,
    /// Watches that were asked for, with the version they begin at, and lists.
    watches: Vec<String>,
    lists: u32,
    token: String,
    down: bool,
    events: broadcast::Sender<Bytes>,
}

type Shared = Arc<Mutex<Cluster>>;

fn status(code: u16, message: &str) -> Response {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": message });
    (StatusCode::from_u16(code).expect("sound"), body.to_string()).into_response()
}

/// Refuses who is not known, and everybody while the server is down.
fn admit(cluster: &Cluster, headers: &HeaderMap) -> Option<Response> {
    let given = headers.get("authorization").map(|value| value.to_str().expect("sound").to_owned());
    if cluster.down {
        return Some(status(503, "etcd is away"));
    }
    let is_known = given == Some(format!("Bearer {}", cluster.token));
    (!is_known).then(|| status(401, "Unauthorized"))
}

async fn scale(
    State(shared): State<Shared>,
    Path((namespace, kind, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut cluster = shared.lock().expect("no panic before");
    if let Some(refused) = admit(&cluster, &headers) {
        return refused;
    }
    if headers["content-type"] != "application/merge-patch+json" {
        return status(415, "the body of the request was in an unknown format");
    }
    if (namespace.as_str(), kind.as_str(), name.as_str()) != ("shop", "deployments", "app") {
        return status(404, "deployments.apps \"nobody\" not found");
    }
    if cluster.conflicts > 0 {
        cluster.conflicts -= 1;
        return status(409, "the object has been modified");
    }
    if let Some((code, message)) = cluster.refusal {
        return status(code, message);
    }
    let patch: Value = serde_json::from_slice(&body).expect("sound");
    let Some(replicas) = patch["spec"]["replicas"].as_u64() else {
        return status(422, "spec.replicas: Required value");
    };
    cluster.replicas = replicas.min(cluster.replicas_max);
    cluster.version += 1;
    let mut told = json!({ "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": { "name": name, "namespace": namespace,
            "resourceVersion": cluster.version.to_string() },
        "spec": { "replicas": cluster.replicas }, "status": { "replicas": 0 } });
    if cluster.replicas == 0 {
        // As the API does: a zero is left out.
        told["spec"] = json!({});
    }
    told.to_string().into_response()
}

async fn mark(
    State(shared): State<Shared>,
    Path(pod): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut cluster = shared.lock().expect("no panic before");
    if let Some(refused) = admit(&cluster, &headers) {
        return refused;
    }
    let patch: Value = serde_json::from_slice(&body).expect("sound");
    let cost = &patch["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
    assert!(cost.as_str().is_some_and(|cost| cost.parse::<i32>().is_ok()), "{patch}");
    cluster.marked.push(pod);
    "{}".into_response()
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    label_selector: String,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    next: Option<String>,
    watch: Option<String>,
    allow_watch_bookmarks: Option<bool>,
    timeout_seconds: Option<u64>,
    resource_version: Option<String>,
}

async fn slices(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let mut cluster = shared.lock().expect("no panic before");
    if let Some(refused) = admit(&cluster, &headers) {
        return refused;
    }
    assert_eq!(asked.label_selector, "kubernetes.io/service-name=app");
    if asked.watch.as_deref() == Some("1") {
        assert_eq!(asked.allow_watch_bookmarks, Some(true));
        assert!(asked.timeout_seconds.is_some_and(|seconds| seconds > 0) && asked.limit.is_none());
        cluster.watches.push(asked.resource_version.unwrap_or_default());
        let mut events = cluster.events.subscribe();
        let (out, stream) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            // An empty one ends the stream.
            while let Ok(event) = events.recv().await {
                if event.is_empty() || out.send(Ok::<_, std::io::Error>(event)).await.is_err() {
                    break;
                }
            }
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
        return Response::new(Body::from_stream(stream));
    }
    cluster.lists += 1;
    // One slice a page, so that pages are really followed.
    assert!(asked.limit.is_some());
    let at: usize =
        asked.next.map_or(0, |next| next.trim_start_matches("at ").parse().expect("sound"));
    let more = at + 1 < cluster.slices.len();
    let list = json!({ "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
        "metadata": { "resourceVersion": cluster.version.to_string(),
            "continue": if more { format!("at {}", at + 1) } else { String::new() } },
        "items": cluster.slices.get(at).into_iter().collect::<Vec<_>>() });
    list.to_string().into_response()
}

async fn lease(
    State(shared): State<Shared>,
    method: axum::http::Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut cluster = shared.lock().expect("no panic before");
    if let Some(refused) = admit(&cluster, &headers) {
        return refused;
    }
    if method == axum::http::Method::GET {
        return match &cluster.lease {
            Some(lease) => lease.to_string().into_response(),
            None => status(404, "leases.coordination.k8s.io \"homing\" not found"),
        };
    }
    let mut told: Value = serde_json::from_slice(&body).expect("sound");
    let kind = (&told["apiVersion"], &told["kind"]);
    assert_eq!(kind, (&"coordination.k8s.io/v1".into(), &"Lease".into()));
    for time in ["acquireTime", "renewTime"] {
        let digits = told["spec"][time].as_str().and_then(|time| time.split_once('.'));
        assert!(digits.is_some_and(|(_, digits)| digits.len() == 7), "no MicroTime: {told}");
    }
    assert!(told["spec"]["leaseDurationSeconds"].as_u64().is_some_and(|held| held > 0));
    let known = cluster.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
    let is_new = method == axum::http::Method::POST;
    if is_new == known.is_some()
        || (!is_new && known != Some(told["metadata"]["resourceVersion"].clone()))
    {
        return status(409, "the object has been modified");
    }
    cluster.version += 1;
    told["metadata"]["resourceVersion"] = cluster.version.to_string().into();
    cluster.lease = Some(told.clone());
    told.to_string().into_response()
}

fn slice(name: &str, version: u64, ip: &str, port: u16, ready: bool) -> Value {
    json!({ "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": { "name": name, "resourceVersion": version.to_string(),
            "labels": { "kubernetes.io/service-name": "app" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [ip], "conditions": { "ready": ready },
            "targetRef": { "kind": "Pod", "name": format!("pod-{name}") } }],
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }] })
}

/// A cluster with a server behind each of its pods' addresses.
async fn cluster() -> (SocketAddr, Shared) {
    let shared = Arc::new(Mutex::new(Cluster {
        version: 10,
        replicas: 0,
        refusal: None,
        conflicts: 0,
        replicas_max: 100,
        slices: Vec::new(),
        lease: None,
        marked: Vec::new(),
        watches: Vec::new(),
        lists: 0,
        token: TOKEN.to_owned(),
        down: false,
        events: broadcast::channel(64).0,
    }));
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/shop/leases";
    let router = Router::new()
        .route("/apis/apps/v1/namespaces/{namespace}/{kind}/{name}/scale", patch(scale))
        .route("/api/v1/namespaces/shop/pods/{pod}", patch(mark))
        .route("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", get(slices))
        .route(LEASES, post(lease))
        .route(&format!("{LEASES}/homing"), get(lease).put(lease))
        .with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("sound");
    let at = listener.local_addr().expect("sound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (at, shared)
}

fn settings(at: SocketAddr, folder: &std::path::Path) -> KubernetesSettings {
    let token_file = folder.join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).expect("sound");
    KubernetesSettings {
        client: ClientSettings {
            api: Some(format!("http://{at}").parse().expect("sound")),
            token_file: Some(token_file),
            ca_file: None,
            client_cert: None,
            timeout_ms: 2_000,
        },
        namespace: Some("shop".to_owned()),
        kind: Kind::Deployment,
        name: "app".to_owned(),
        service: "app".to_owned(),
        port: Some("http".to_owned()),
        protocol: UpstreamProtocol::H1,
        lease: None,
        ready: Probe::Connect,
    }
}

fn wish(wanted: u32, release: &[String]) -> Wish {
    Wish {
        zone: "paris".to_owned(),
        service: None,
        wanted,
        release: release.to_vec(),
        idempotency_key: format!("key-{wanted}"),
    }
}

fn tell(shared: &Shared, kind: &str, object: &Value) {
    let event = json!({ "type": kind, "object": object });
    let cluster = shared.lock().expect("no panic before");
    let line = format!("{event}\n");
    // In two pieces: a line may come in any.
    let (head, tail) = line.split_at(line.len() / 2);
    for piece in [head, tail] {
        let _ = cluster.events.send(Bytes::from(piece.to_owned()));
    }
}

async fn listed(provider: &Kubernetes) -> Vec<(String, Standing)> {
    let listed = provider.list("paris", None).await.unwrap_or_default();
    listed.into_iter().map(|one| (one.endpoint.address, one.standing)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_scaled_and_what_the_cluster_says_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (at, shared) = cluster().await;
    let provider = Kubernetes::new(settings(at, folder.path())).unwrap();
    shared.lock().unwrap().conflicts = 2;
    assert_eq!(provider.scale(&wish(3, &[])).await, Ok(Answer::Offer));
    assert_eq!(shared.lock().unwrap().replicas, 3);
    assert_eq!(provider.scale(&wish(0, &[])).await, Ok(Answer::Offer));
    shared.lock().unwrap().replicas_max = 2;
    let Ok(Answer::Counter { count: 2, .. }) = provider.scale(&wish(5, &[])).await else {
        panic!("an admission rule lets two stand");
    };
    shared.lock().unwrap().refusal = Some((403, "exceeded quota: pods"));
    let refusal = Answer::Refusal { reason: "exceeded quota: pods".to_owned() };
    assert_eq!(provider.scale(&wish(5, &[])).await, Ok(refusal));
    shared.lock().unwrap().refusal = Some((500, "etcdserver: leader changed"));
    let told = provider.scale(&wish(5, &[])).await;
    assert!(matches!(told, Err(ProviderFault::Status { status: 500, .. })), "{told:?}");
    // Tokens are rotated: the file is read anew.
    shared.lock().unwrap().refusal = None;
    shared.lock().unwrap().token = "another-token".to_owned();
    let told = provider.scale(&wish(1, &[])).await;
    assert!(matches!(&told, Err(ProviderFault::Status { status: 401, .. })), "{told:?}");
    std::fs::write(folder.path().join("token"), "another-token").unwrap();
    assert_eq!(provider.scale(&wish(1, &[])).await, Ok(Answer::Offer));
    let nobody = KubernetesSettings { name: "nobody".into(), ..settings(at, folder.path()) };
    std::fs::write(folder.path().join("token"), "another-token").unwrap();
    let told = Kubernetes::new(nobody).unwrap().scale(&wish(1, &[])).await;
    assert!(matches!(&told, Ok(Answer::Refusal { reason }) if reason.contains("not found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_followed_through_changes_broken_watches_and_a_forgotten_past() {
    let folder = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let (at, shared) = cluster().await;
    shared.lock().unwrap().slices =
        vec![slice("a", 8, "127.0.0.1", port, true), slice("b", 9, "127.0.0.2", port, false)];
    let provider = Kubernetes::new(settings(at, folder.path())).unwrap();
    let first = || vec![(format!("127.0.0.1:{port}"), Standing::Ready)];
    let starting = (format!("127.0.0.2:{port}"), Standing::Starting);
    let both = [first(), vec![starting]].concat();
    eventually("the list to be there", async || listed(&provider).await == both).await;
    eventually("a watch from its version", async || shared.lock().unwrap().watches == ["10"]).await;

    tell(&shared, "DELETED", &slice("b", 11, "127.0.0.2", port, false));
    eventually("one to be gone", async || listed(&provider).await == first()).await;
    // The pod that is given back is to be the first that goes.
    provider.scale(&wish(0, &[format!("127.0.0.1:{port}")])).await.unwrap();
    assert_eq!(shared.lock().unwrap().marked, ["pod-a"]);
    tell(
        &shared,
        "BOOKMARK",
        &json!({ "kind": "EndpointSlice", "metadata": { "resourceVersion": "40" } }),
    );
    // A watch that breaks off in the middle of an event is taken up where it was.
    let lists = shared.lock().unwrap().lists;
    for piece in ["{\"type\":\"ADDED\",\"obj", ""] {
        let _ = shared.lock().unwrap().events.send(Bytes::from(piece));
    }
    eventually("a watch from the bookmark", async || {
        shared.lock().unwrap().watches.last().is_some_and(|version| version == "40")
    })
    .await;
    assert_eq!(shared.lock().unwrap().lists, lists, "nothing was listed anew");
    // A past that is forgotten is a whole list again.
    shared.lock().unwrap().slices = vec![slice("c", 50, "127.0.0.1", port, true)];
    tell(&shared, "ERROR", &json!({ "kind": "Status", "code": 410, "reason": "Expired" }));
    eventually("a list", async || shared.lock().unwrap().lists > lists).await;
    eventually("the new one alone", async || listed(&provider).await == first()).await;
    // While the server is down what was seen before stands, and people are told.
    shared.lock().unwrap().down = true;
    let _ = shared.lock().unwrap().events.send(Bytes::new());
    eventually("the fault to be told", async || {
        provider.news().iter().any(|news| news.contains("etcd is away"))
    })
    .await;
    assert_eq!(listed(&provider).await, first());
    shared.lock().unwrap().down = false;
    eventually("it to be heard again", async || {
        provider.news().iter().any(|news| news.contains("answers again"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_of_the_lease_scales() {
    let folder = tempfile::tempdir().unwrap();
    let (at, shared) = cluster().await;
    let with =
        || KubernetesSettings { lease: Some("homing".into()), ..settings(at, folder.path()) };
    let first = Kubernetes::new(with()).unwrap();
    eventually("the first to hold it", async || {
        first.scale(&wish(2, &[])).await == Ok(Answer::Offer)
    })
    .await;
    let second = Kubernetes::new(with()).unwrap();
    let told = second.scale(&wish(9, &[])).await;
    let Ok(Answer::Refusal { reason }) = told else { panic!("{told:?}") };
    assert!(reason.contains("the lease homing is held by"), "{reason}");
    assert_eq!(shared.lock().unwrap().replicas, 2);
    // It is given back at the end, and the other has it soon: not after its whole time.
    first.end().await;
    drop(first);
    eventually("the second to hold it", async || {
        second.scale(&wish(9, &[])).await == Ok(Answer::Offer)
    })
    .await;
    let lease = shared.lock().unwrap().lease.clone().unwrap();
    assert!(lease["spec"]["leaseTransitions"].as_u64().is_some_and(|count| count >= 1), "{lease}");
    // Somebody else who writes it in between wins, and is not overwritten while it renews.
    let renew = |holder: &str, count: u64| {
        let mut cluster = shared.lock().unwrap();
        cluster.version += 1;
        let version = cluster.version.to_string();
        let lease = cluster.lease.as_mut().unwrap();
        lease["metadata"]["resourceVersion"] = version.into();
        lease["spec"]["holderIdentity"] = holder.into();
        lease["spec"]["renewTime"] = format!("2026-01-01T00:00:{count:02}.000000Z").into();
    };
    for count in 0..20 {
        renew("kubectl", count);
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        if count == 7 {
            // Long before the time that was left of its own.
            assert!(matches!(second.scale(&wish(9, &[])).await, Ok(Answer::Refusal { .. })));
        }
    }
    let holder = shared.lock().unwrap().lease.as_ref().unwrap()["spec"]["holderIdentity"].clone();
    assert_eq!(holder, "kubectl");
    let told = second.scale(&wish(1, &[])).await;
    assert!(
        matches!(&told, Ok(Answer::Refusal { reason }) if reason.contains("kubectl")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let sound = settings(([127, 0, 0, 1], 9).into(), folder.path());
    let within = KubernetesSettings { namespace: None, ..sound.clone() };
    assert!(Kubernetes::new(within).unwrap_err().contains("namespace"));
    let client = ClientSettings { api: None, ..sound.client.clone() };
    assert!(Kubernetes::new(KubernetesSettings { client, ..sound.clone() }).is_err());
    let client =
        ClientSettings { ca_file: Some(folder.path().join("token")), ..sound.client.clone() };
    let told = Kubernetes::new(KubernetesSettings { client, ..sound.clone() }).unwrap_err();
    assert!(told.contains("holds no certificate"), "{told}");
    // A server that is not there is a fault, and no empty list.
    let provider = Kubernetes::new(sound).unwrap();
    assert!(provider.list("paris", None).await.is_err());
}
