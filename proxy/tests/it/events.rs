//! A client's event stream stays open while its session is handed over, and the client sees every
//! event once, in order.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, Version, body::Frame, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::{
    client::{PATIENCE, ask, get},
    redis_faults::certificates,
    tls_endpoints::behind_tls,
    whole::{BRISK, Whole, settings_text},
};

const ZONES: [&str; 2] = ["lisbon", "oslo"];

/// How the app goes on where another leg ended.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    /// Behind the id it is told.
    Resumes,
    /// The same, and what is asked is HTTP/2.
    ResumesInH2,
    /// The same, and it is HTTP/1.1.
    ResumesInH1,
    /// It has nothing more to say.
    Done,
    /// Behind the id it is told, and each event is large.
    Floods,
}

type Body = BoxBody<Bytes, Infallible>;

/// An app that tells numbers, one every few milliseconds, each as an event of several lines and in
/// two pieces, so that a cut between them would be seen.
async fn numbers(zone: &'static str, manners: Manners) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let service = service_fn(move |asked| async move {
                    Ok::<_, Infallible>(answer(zone, manners, &asked))
                });
                let builder = Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

fn answer(zone: &'static str, manners: Manners, asked: &Request<Incoming>) -> Response<Body> {
    let header = |name: &str| asked.headers().get(name)?.to_str().ok();
    let origin_form = asked.uri().authority().is_none() || asked.version() == Version::HTTP_2;
    assert!(origin_form, "{}", asked.uri());
    match manners {
        Manners::ResumesInH2 => assert_eq!(asked.version(), Version::HTTP_2),
        Manners::ResumesInH1 => assert_eq!(asked.version(), Version::HTTP_11),
        Manners::Resumes | Manners::Done | Manners::Floods => {}
    }
    assert!(header("homing-events").is_none(), "the word between edge and gate");
    if asked.uri().path() == "/page" {
        let page = Full::new(Bytes::from_static(b"<p>no stream</p>")).boxed();
        return Response::builder().header("content-type", "text/html").body(page).unwrap();
    }
    let last: u64 = header("last-event-id").map_or(0, |id| id.parse().unwrap());
    let resume = header("homing-resume").map(str::to_owned);
    if let Some(resume) = &resume {
        assert!(resume.starts_with(&format!("events={last}; epoch=")), "{resume}, {last}");
    }
    if resume.is_some() && manners == Manners::Done {
        return Response::builder().status(204).body(Full::default().boxed()).unwrap();
    }
    let (say, said) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for n in last + 1.. {
            let first = format!("id: {n}\nevent: number\ndata: {n}\n");
            let weight = if manners == Manners::Floods { 64 << 10 } else { 0 };
            let second = format!("data: {zone}\n\n: well{}\n\n", " ".repeat(weight));
            if say.send(first.into()).await.is_err() || say.send(second.into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let frames = ReceiverStream::new(said).map(|bytes| Ok(Frame::data(bytes)));
    Response::builder()
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(BodyExt::boxed(StreamBody::new(frames)))
        .unwrap()
}

async fn carrying(manners: Manners, protocol: &str) -> Whole {
    let zones = [
        (ZONES[0], numbers(ZONES[0], manners).await),
        (ZONES[1], numbers(ZONES[1], manners).await),
    ];
    over(zones, protocol, "").await
}

/// The same behind TLS that speaks these protocols.
async fn carrying_over_tls(manners: Manners, alpn: &[&[u8]]) -> Whole {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut zones = Vec::new();
    for zone in ZONES {
        let app = numbers(zone, manners).await;
        zones.push((zone, behind_tls(app, folder.path(), alpn).await));
    }
    let ca = folder.path().join("ca.pem").display().to_string();
    over([zones[0], zones[1]], "tls", &format!("endpoints_ca: {ca}\n")).await
}

async fn over(zones: [(&'static str, SocketAddr); 2], protocol: &str, more: &str) -> Whole {
    let text = settings_text(&zones, BRISK)
        .replace("state: { hooks: { timeout: 400ms, max: 64KiB } }", "state: stateless")
        .replace("idle: 1h }\n", "idle: 1h }\n    long_lived: carry\n");
    let endpoint = |address: SocketAddr| {
        (
            format!("[\"{address}\"]"),
            format!("[{{ address: \"{address}\", protocol: {protocol} }}]"),
        )
    };
    let text = zones.iter().fold(text, |text, (_, address)| {
        let (plain, stated) = endpoint(*address);
        text.replace(&plain, &stated)
    });
    let text = text + more;
    Whole::start_edited(&ZONES, BRISK, |_| text.clone()).await
}

/// An open stream's events: number and zone.
struct Events {
    body: Incoming,
    held: BytesMut,
    _connection: tokio::task::JoinHandle<()>,
}

impl Events {
    async fn open(whole: &Whole, speaks_h2: bool, path: &str) -> Self {
        let socket = TokioIo::new(TcpStream::connect(whole.plain()).await.unwrap());
        let headers =
            [("x-user", "ann"), ("accept", "text/event-stream"), ("host", "shop.example")];
        let mut asked = get(path, &headers);
        let (response, connection) = if speaks_h2 {
            asked.headers_mut().remove("host");
            *asked.uri_mut() = format!("http://shop.example{path}").parse().unwrap();
            let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await;
            let (mut sender, connection) = made.unwrap();
            let connection = tokio::spawn(async move { drop(connection.await) });
            (sender.send_request(asked).await.unwrap(), connection)
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(socket).await.unwrap();
            let connection = tokio::spawn(async move { drop(connection.await) });
            (sender.send_request(asked).await.unwrap(), connection)
        };
        assert_eq!(response.status(), 200);
        assert!(response.headers().get("homing-epoch").is_none());
        Self { body: response.into_body(), held: BytesMut::new(), _connection: connection }
    }

    /// The next event; `None` at a clean end.
    async fn next(&mut self) -> Option<(u64, String)> {
        loop {
            let end = self.held.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let block = self.held.split_to(end + 2);
                let text = std::str::from_utf8(&block).unwrap();
                let mut lines = text.lines();
                let Some(id) = lines.next().and_then(|line| line.strip_prefix("id: ")) else {
                    assert_eq!(text, ": well\n\n");
                    continue;
                };
                let rest: Vec<_> = lines.collect();
                let zone = rest[2].strip_prefix("data: ").unwrap();
                assert_eq!(rest[..2], ["event: number".to_owned(), format!("data: {id}")]);
                return Some((id.parse().unwrap(), zone.to_owned()));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.unwrap();
            match frame {
                Some(frame) => self.held.extend_from_slice(frame.unwrap().data_ref().unwrap()),
                None => {
                    assert!(self.held.is_empty(), "an end within an event: {:?}", self.held);
                    return None;
                }
            }
        }
    }
}

async fn follow(speaks_h2: bool, whole: Whole) {
    let mut events = Events::open(&whole, speaks_h2, "/").await;
    let (mut n, mut zone) = events.next().await.unwrap();
    assert_eq!(n, 1);
    for _ in 0..4 {
        let (session, home) = whole.only_session().await;
        assert_eq!(home, zone);
        let to = whole.other(&home, &ZONES);
        let directive = whole.move_to(&session, to).await;
        while zone != to {
            let (next, by) = events.next().await.expect("the stream goes on");
            assert_eq!(next, n + 1, "after {n} by {zone} came {next} by {by}");
            (n, zone) = (next, by);
        }
        assert_eq!(whole.outcome(directive).await["outcome"], "completed");
    }
    let page = ask(whole.admin(), get("/metrics", &[])).await.body;
    let page = String::from_utf8(page.to_vec()).unwrap();
    let carried = page.lines().find_map(|line| line.strip_prefix("homing_streams_carried_total "));
    // A leg that was dialled before the freeze was quite over is cut once more.
    assert!((4..=8).contains(&carried.unwrap().parse::<u32>().unwrap()), "{carried:?}");
    assert!(page.contains("homing_streams_ended_total 0\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_seen_once_over_four_moves() {
    follow(false, carrying(Manners::Resumes, "h1").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_in_http_2_on_both_sides() {
    follow(true, carrying(Manners::ResumesInH2, "h2c").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_what_the_endpoint_chooses_is_spoken() {
    follow(false, carrying_over_tls(Manners::ResumesInH2, &[b"h2"]).await).await;
    follow(false, carrying_over_tls(Manners::ResumesInH1, &[b"http/1.1"]).await).await;
    follow(false, carrying_over_tls(Manners::ResumesInH1, &[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_does_not_go_on_ends_the_stream_cleanly() {
    let whole = carrying(Manners::Done, "h1").await;
    let mut events = Events::open(&whole, false, "/").await;
    events.next().await.unwrap();
    let (session, home) = whole.only_session().await;
    whole.move_to(&session, whole.other(&home, &ZONES)).await;
    while events.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_stream_is_passed_on_as_it_is() {
    let whole = carrying(Manners::Resumes, "h1").await;
    let headers = [("x-user", "ann"), ("accept", "text/event-stream")];
    let told = ask(whole.plain(), get("/page", &headers)).await;
    assert_eq!((told.status.as_u16(), &told.body[..]), (200, &b"<p>no stream</p>"[..]));
    assert_eq!(told.header("content-type"), Some("text/html"));
    // A client that leaves gives its session's place back.
    let mut events = Events::open(&whole, false, "/").await;
    events.next().await.unwrap();
    drop(events);
    let (session, home) = whole.only_session().await;
    let directive = whole.move_to(&session, whole.other(&home, &ZONES)).await;
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_does_not_keep_its_session_where_it_is() {
    let whole = carrying(Manners::Floods, "h1").await;
    let mut socket = TcpStream::connect(whole.plain()).await.unwrap();
    let asked = "GET / HTTP/1.1\r\nhost: shop.example\r\nx-user: ann\r\n\
                 accept: text/event-stream\r\n\r\n";
    socket.write_all(asked.as_bytes()).await.unwrap();
    // Long enough for every buffer on the way to be full: the app is asked for no more.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (session, home) = whole.only_session().await;
    let directive = whole.move_to(&session, whole.other(&home, &ZONES)).await;
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
    // What it did not read in time ends short of the clean end of a chunked body.
    let mut read = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut read)).await.unwrap();
    assert!(read.len() > 1 << 20 && (ended.is_err() || !read.ends_with(b"0\r\n\r\n")));
    let page = ask(whole.admin(), get("/metrics", &[])).await.body;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(page.contains("homing_streams_ended_total 1\n"), "{page}");
}
