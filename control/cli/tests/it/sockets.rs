//! A carried WebSocket between an edge and gates, and one whose gate is killed in the middle of the
//! cut: what the client reads up to the end is whole frames of the app.

use std::{
    io::{Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, atomic::AtomicU64, atomic::Ordering::SeqCst},
    thread,
    time::Duration,
};

use crate::{
    fleet::{self, Fleet, ZONES},
    redis_server::{self, RedisServer},
    run::{Jar, json},
};

/// Messages that a client says, unless its socket ends before.
const MESSAGES: u64 = 800;
/// Bytes of a message: some reads each, so that a kill finds one under way.
const MESSAGE: usize = 40_000;

/// What the apps of both zones know, as ones with a store would.
#[derive(Default)]
struct Known {
    taken: AtomicU64,
    /// The session and its zone, as of the last leg.
    home: Mutex<(String, String)>,
}

/// Runs an app; returns its port.
fn app(zone: &'static str, known: Arc<Known>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let known = Arc::clone(&known);
            thread::spawn(move || leg(zone, socket, &known));
        }
    });
    port
}

/// Says back what it is told, counts it, and answers a close.
fn leg(zone: &str, mut socket: TcpStream, known: &Known) -> Option<()> {
    let head = head(&mut socket)?.to_ascii_lowercase();
    let key = head.split_once("homing-session: ")?.1.lines().next()?.to_owned();
    *known.home.lock().unwrap() = (key, zone.to_owned());
    let taken = known.taken.load(SeqCst);
    let resume = match head.contains("homing-resume: ") {
        true => format!("homing-resume: client={taken}\r\n"),
        false => String::new(),
    };
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         {resume}sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    .ok()?;
    loop {
        let (first, payload) = frame(&mut socket)?;
        let close = first == 0x88;
        if !close {
            assert!(uniform(&payload), "the app reads a torn message");
            known.taken.fetch_add(1, SeqCst);
        }
        socket.write_all(&framed(first, 0, &payload)).ok()?;
        if close {
            return Some(());
        }
    }
}

pub(crate) fn head(socket: &mut impl Read) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// The next frame; masks are of zeros here.
pub(crate) fn frame(socket: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    socket.read_exact(&mut start).ok()?;
    let mut length = u64::from(start[1] & 0x7f);
    if length > 125 {
        let mut wide = [0; 8];
        let bytes = if length == 126 { 2 } else { 8 };
        socket.read_exact(&mut wide[8 - bytes..]).ok()?;
        length = u64::from_be_bytes(wide);
    }
    if start[1] & 0x80 != 0 {
        socket.read_exact(&mut [0; 4]).ok()?;
    }
    assert!(length <= MESSAGE as u64, "a header that nobody wrote: {start:?}");
    let mut payload = vec![0; length as usize];
    socket.read_exact(&mut payload).ok()?;
    Some((start[0], payload))
}

pub(crate) fn framed(first: u8, masked: u8, payload: &[u8]) -> Vec<u8> {
    let mask: &[u8] = if masked > 0 { &[0; 4] } else { &[] };
    let header = match payload.len() {
        short @ 0..=125 => vec![first, masked | short as u8],
        long => [&[first, masked | 126][..], &(long as u16).to_be_bytes()].concat(),
    };
    [&header[..], mask, payload].concat()
}

fn uniform(payload: &[u8]) -> bool {
    payload.len() == MESSAGE && payload.iter().all(|byte| *byte == payload[0])
}

pub(crate) fn document(apps: &[u16]) -> String {
    let zone = |n: usize| {
        format!("  - {{ name: {}, endpoints: [\"127.0.0.1:{}\"] }}\n", ZONES[n], apps[n])
    };
    format!(
        "zones:\n{}{}services:\n  - name: chat\n    session: {{ from: [{{ cookie: {{ name: homing, \
         secure: false }} }}], idle: 1h }}\n    state: stateless\n    long_lived: carry\n\
         policy:\n  cut: {{ freeze_max: 500ms, gap_wait: 50ms }}\n",
        zone(0),
        zone(1)
    )
}

/// Talks until told to stop or until the socket ends; how many messages came back.
fn talk(mut socket: TcpStream) -> u64 {
    let mut speaker = socket.try_clone().unwrap();
    let speaking = thread::spawn(move || {
        for n in 0..MESSAGES {
            if speaker.write_all(&framed(0x82, 0x80, &[n as u8; MESSAGE])).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Time for the last answers.
        thread::sleep(Duration::from_secs(1));
        let _ = speaker.shutdown(std::net::Shutdown::Write);
    });
    let mut heard = 0;
    while let Some((first, payload)) = frame(&mut socket) {
        match first {
            0x82 => assert!(uniform(&payload), "the client reads a torn message after {heard}"),
            0x88 => {
                assert!(payload.starts_with(&1_012_u16.to_be_bytes()), "{payload:?}");
                break;
            }
            odd => panic!("a frame that nobody sent: {odd:#x} {payload:?}"),
        }
        heard += 1;
    }
    drop(socket);
    speaking.join().unwrap();
    heard
}

/// A socket of a new session, once the fleet can take one in: a gate may be on its way up.
fn open(fleet: &Fleet) -> TcpStream {
    open_at(fleet, "/chat", "no=cookie")
}

/// The same at a path, with a cookie.
pub(crate) fn open_at(fleet: &Fleet, path: &str, cookie: &str) -> TcpStream {
    let edge = SocketAddr::from(([127, 0, 0, 1], fleet.edge));
    for _ in 0..100 {
        let mut socket = TcpStream::connect(edge).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\nconnection: Upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let head = head(&mut socket).unwrap();
        if head.starts_with("HTTP/1.1 101 ") {
            return socket;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("no socket is taken in");
}

/// Orders the session away from home, once control has heard of it; returns its home.
fn move_away(fleet: &Fleet, known: &Known, more: &[&str]) -> String {
    for _ in 0..50 {
        let (key, zone) = known.home.lock().unwrap().clone();
        let to = if zone == ZONES[0] { ZONES[1] } else { ZONES[0] };
        let moved = fleet.ask(&[&["move", &key, to], more].concat());
        if moved.code == 0 {
            return zone;
        }
        eprintln!("not moved yet: {}", moved.err);
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the session is not moved");
}

#[test]
fn large_messages_go_along_between_gates() {
    let known = Arc::new(Known::default());
    let ports = ZONES.map(|zone| app(zone, Arc::clone(&known)));
    let fleet = Fleet::start_over(|_| document(&ports));
    let socket = open(&fleet);
    let talking = thread::spawn(move || talk(socket));
    let mut homes = Vec::new();
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(300));
        let home = move_away(&fleet, &known, &["--wait"]);
        for _ in 0..100 {
            if known.home.lock().unwrap().1 != home {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        homes.push(home);
    }
    assert_eq!(talking.join().expect("no frame is torn"), MESSAGES);
    assert_eq!(known.taken.load(SeqCst), MESSAGES, "none is lost, none said twice");
    homes.dedup();
    assert_eq!(homes.len(), 4, "{homes:?}");
}

#[test]
fn a_gate_killed_during_a_carry_leaves_no_torn_frame() {
    let known = Arc::new(Known::default());
    let ports = ZONES.map(|zone| app(zone, Arc::clone(&known)));
    let mut fleet = Fleet::start_over(|_| document(&ports));
    for wait_ms in [0, 15, 40] {
        known.taken.store(0, SeqCst);
        let socket = open(&fleet);
        let talking = thread::spawn(move || talk(socket));
        while known.taken.load(SeqCst) <= 10 && !talking.is_finished() {
            thread::sleep(Duration::from_millis(20));
        }
        let zone = move_away(&fleet, &known, &[]);
        thread::sleep(Duration::from_millis(wait_ms));
        fleet.kill_gate(&zone);
        let heard = talking.join().expect("no frame is torn");
        assert!(heard > 10, "{heard}");
    }
}

/// Says the numbers from one on, and hears them back until all came or the socket ends.
pub(crate) fn count(mut socket: TcpStream, numbers: u64) -> Vec<u64> {
    let mut speaker = socket.try_clone().unwrap();
    let speaking = thread::spawn(move || {
        for n in 1..=numbers {
            if speaker.write_all(&framed(0x81, 0x80, n.to_string().as_bytes())).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(3));
        }
    });
    let mut heard = Vec::new();
    while heard.len() < numbers as usize {
        let Some((0x81, payload)) = frame(&mut socket) else { break };
        heard.push(std::str::from_utf8(&payload).unwrap().parse().unwrap());
    }
    drop(socket);
    speaking.join().unwrap();
    heard
}

/// A fleet of notebooks of tier T2 over these stores, with this longest wait.
pub(crate) fn t2(stores: &[RedisServer; 2], wait_max: &str) -> Fleet {
    let [paris, tokyo] = [stores[0].url(), stores[1].url()];
    let state = format!(
        "redis: {{ paris: \"{paris}\", tokyo: \"{tokyo}\" }}, keys: [\"notebook:{{id}}\", \
         \"socket:{{id}}\", \"taken:{{id}}\", \"leg:{{id}}\"]"
    );
    let stated = format!("state: {{ {state} }}\n    tier: t2\n    long_lived: carry\n");
    let document = |apps: &[u16]| {
        let text = fleet::document(apps).replace("state: hooks\n", &stated);
        text + &format!("policy:\n  hold: {{ wait_max: {wait_max} }}\n")
    };
    Fleet::start_with(document, |zone| vec!["--redis".to_owned(), stores[zone].url()])
}

#[test]
fn a_socket_of_t2_goes_to_its_heir_with_every_message_once() {
    if !redis_server::installed() {
        return;
    }
    let mut stores = [RedisServer::start(&[]), RedisServer::start(&[])];
    // Longer than a lease and the silence after it.
    let mut fleet = t2(&stores, "60s");
    let mut jar = Jar::default();
    let (status, told) = jar.ask(fleet.edge, "GET", "/notebook", "");
    assert_eq!(status, 200, "{told}\n{}", fleet.logs());
    let home = usize::from(json(&told)["zone"] == ZONES[1]);
    let socket = open_at(&fleet, "/socket", &jar.cookie.clone().unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let talking = thread::spawn(move || count(socket, 1_000));
    thread::sleep(Duration::from_secs(1));
    // The zone is lost whole: gate, app and store.
    fleet.kill(&format!("gate-{}", ZONES[home]));
    fleet.kill(&format!("app-{}", ZONES[home]));
    stores[home].kill();
    let mut served = (0, String::new());
    for _ in 0..400 {
        served = jar.ask(fleet.edge, "GET", "/notebook", "");
        if served.0 == 200 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(json(&served.1)["zone"], ZONES[1 - home], "{served:?}");
    // Alone the heir may let nothing out; there is a replica again once the zone is back.
    stores[home].run();
    fleet.kill_gate(ZONES[home]);
    let heard = talking.join().unwrap();
    assert_eq!(heard, (1..=1_000).collect::<Vec<u64>>(), "{}", fleet.logs());
}
