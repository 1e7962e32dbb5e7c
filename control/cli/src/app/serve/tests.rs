//! The app over a real socket: a notebook is written, exported, imported elsewhere, fenced there
//! and released here, and what is fenced off is refused.

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;

use super::*;

type Pool = Client<HttpConnector, Full<Bytes>>;

const KEY: &str = "0123456789abcdef0123456789abcdef";

async fn start(zone: &str) -> SocketAddr {
    let (listener, address) = listen("127.0.0.1:0").await.unwrap();
    let app = App::new(AppSettings {
        zone: zone.to_owned(),
        distances: Distances::default(),
        place_header: "x-place".to_owned(),
        work: Duration::ZERO,
        places: 8,
        item_work: Duration::ZERO,
    });
    tokio::spawn(serve(app, listener));
    address
}

async fn ask(
    pool: &Pool,
    method: &str,
    to: SocketAddr,
    path: &str,
    epoch: Option<u64>,
    body: impl Into<Bytes>,
) -> (u16, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(format!("http://{to}{path}"));
    if let Some(epoch) = epoch {
        request = request.header("homing-session", KEY).header("homing-epoch", epoch);
    }
    let response = pool.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
}

fn json(body: &Bytes) -> serde_json::Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn a_notebook_moves_by_hooks_and_the_old_home_refuses() {
    let pool = Client::builder(TokioExecutor::new()).build_http();
    let (a, b) = (start("a").await, start("b").await);
    for text in ["milk", "tea"] {
        let (status, ..) = ask(&pool, "POST", a, "/notebook", Some(1), text).await;
        assert_eq!(status, 200);
    }
    let base = format!("{}/{KEY}", hooks::PATH);
    let (status, headers, full) =
        ask(&pool, "GET", a, &format!("{base}/export?since=0"), None, "").await;
    assert_eq!((status, headers["homing-state-kind"].to_str().unwrap()), (200, "full"));
    let import = format!("{base}/import?directive=7&version=2&kind=full");
    assert_eq!(ask(&pool, "PUT", b, &import, None, full).await.0, 204);
    // Staged is not live.
    assert_eq!(ask(&pool, "GET", b, "/notebook", Some(2), "").await.0, 409);

    ask(&pool, "POST", a, "/notebook", Some(1), "rice").await;
    let (_, headers, delta) =
        ask(&pool, "GET", a, &format!("{base}/export?since=2"), None, "").await;
    assert_eq!(headers["homing-state-kind"], "delta");
    let import = format!("{base}/import?directive=7&version=3&kind=delta");
    assert_eq!(ask(&pool, "PUT", b, &import, None, delta.clone()).await.0, 204);
    assert_eq!(ask(&pool, "POST", b, &format!("{base}/fence?epoch=2"), None, "").await.0, 204);
    assert_eq!(ask(&pool, "POST", a, &format!("{base}/fence?epoch=2"), None, "").await.0, 204);
    assert_eq!(ask(&pool, "POST", a, "/notebook", Some(1), "late").await.0, 409);

    let (status, headers, told) = ask(&pool, "GET", b, "/notebook", Some(2), "").await;
    assert_eq!((status, headers["x-notebook-zone"].to_str().unwrap()), (200, "b"));
    assert_eq!(json(&told)["count"], 3);
    assert_eq!(json(&told)["last"]["text"], "rice");
    assert_eq!(ask(&pool, "POST", a, &format!("{base}/release?epoch=2"), None, "").await.0, 204);
    let (status, ..) = ask(&pool, "GET", a, &format!("{base}/export?since=0"), None, "").await;
    assert_eq!(status, 404);
    // A delta without what it adds to is refused, so the handoff is undone.
    let import = format!("{base}/import?directive=8&version=3&kind=delta");
    assert_eq!(ask(&pool, "PUT", a, &import, None, delta).await.0, 409);

    let (_, _, lines) = ask(&pool, "GET", a, "/homing/app/executions", None, "").await;
    let record = crate::app::parse_executions(std::str::from_utf8(&lines).unwrap()).unwrap();
    assert_eq!(record.len(), 3, "refused requests are not executions");
}

#[tokio::test]
async fn pages_are_checkable_and_odd_requests_are_refused_in_words() {
    let pool = Client::builder(TokioExecutor::new()).build_http();
    let a = start("a").await;
    let request = Request::builder()
        .uri(format!("http://{a}/x.gif"))
        .header("x-notebook-bytes", 1234)
        .header("x-notebook-status", 404)
        .body(Full::default())
        .unwrap();
    let response = pool.request(request).await.unwrap();
    assert_eq!(response.status(), 404);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, fill("/x.gif", 1234));

    assert_eq!(ask(&pool, "GET", a, "/notebook", None, "").await.0, 400);
    assert_eq!(ask(&pool, "POST", a, "/notebook", Some(1), "").await.0, 400);
    assert_eq!(ask(&pool, "DELETE", a, "/notebook", Some(1), "").await.0, 405);
    assert_eq!(ask(&pool, "POST", a, "/notebook", Some(1), vec![b'a'; 5_000]).await.0, 400);
    assert_eq!(ask(&pool, "GET", a, "/homing/state/zz/export", None, "").await.0, 400);
    let import = format!("/homing/state/{KEY}/import?kind=full");
    assert_eq!(ask(&pool, "PUT", a, &import, None, "{").await.0, 400);
}
