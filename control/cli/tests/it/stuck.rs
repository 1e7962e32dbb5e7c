//! A WebSocket client behind an edge that reads nothing, so that more and more of the way to its
//! app fills up: wherever that stops, its session moves, and what it reads later is whole.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use crate::{
    fleet::{Fleet, ZONES},
    run::Jar,
    sockets::{document, frame, framed, head},
};

/// Bytes of a message.
const MESSAGE: usize = 8 << 10;

/// Messages that the apps of both zones have written on first legs.
type Written = Arc<AtomicU64>;

/// Runs an app; returns its port.
fn app(zone: &'static str, written: Written) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let written = Arc::clone(&written);
            thread::spawn(move || leg(zone, socket, &written));
        }
    });
    port
}

/// Says numbers, behind those that the client has, up to the one in the path; names its zone and
/// the session to who asks without a WebSocket.
fn leg(zone: &str, mut socket: TcpStream, written: &Written) -> Option<()> {
    let head = head(&mut socket)?.to_ascii_lowercase();
    let word = |name: &str| head.split_once(name).map(|(_, rest)| rest.split([' ', ';', '\r']));
    if !head.contains("upgrade: websocket") {
        let page = format!("{zone} {}", word("homing-session: ")?.next()?);
        let length = page.len();
        return write!(
            socket,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{page}"
        )
        .ok();
    }
    let last: u64 = word("get /say/")?.next()?.parse().ok()?;
    let has: u64 = word("; app=").map_or(Some(0), |mut rest| rest.next()?.parse().ok())?;
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         homing-resume: client=0\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    .ok()?;
    let closed = Arc::new(AtomicBool::new(false));
    let saying = {
        let (mut socket, written) = (socket.try_clone().ok()?, Arc::clone(written));
        let closed = Arc::clone(&closed);
        thread::spawn(move || {
            for n in has + 1..=last {
                if closed.load(SeqCst) {
                    break;
                }
                socket.write_all(&framed(0x82, 0, &message(n))).ok()?;
                written.fetch_add(u64::from(has == 0), SeqCst);
            }
            while !closed.load(SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            socket.write_all(&framed(0x88, 0, b"\x12\x5choming-carry")).ok()
        })
    };
    while let Some((first, _)) = frame(&mut socket) {
        closed.fetch_or(first == 0x88, SeqCst);
    }
    closed.store(true, SeqCst);
    saying.join().ok()?
}

fn message(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(MESSAGE / 8)
}

/// A client of a new session: its socket, and a jar with its cookie.
fn open(fleet: &Fleet, last: u64) -> (TcpStream, Jar) {
    for _ in 0..100 {
        let mut socket = TcpStream::connect(("127.0.0.1", fleet.edge)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(
            socket,
            "GET /say/{last} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let head = head(&mut socket).unwrap();
        if head.starts_with("HTTP/1.1 101 ") {
            let cookie = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let is_it = name.eq_ignore_ascii_case("set-cookie");
                is_it.then(|| value.split(';').next().unwrap_or_default().to_owned())
            });
            return (socket, Jar { cookie, key: None });
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("no socket is taken in");
}

/// Orders the session to the zone where it is not, once control has heard of it, and waits for what
/// comes of it.
fn move_to(fleet: &Fleet, session: &str, to: &str) {
    for _ in 0..50 {
        let moved = fleet.ask(&["move", session, to, "--wait"]);
        if moved.code == 0 {
            return;
        }
        assert!(!moved.err.contains("stays where it was"), "{}\n{}", moved.err, fleet.logs());
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the session is not moved");
}

/// How many numbers the client reads, and whether its socket ended before the last.
fn numbers(socket: &mut TcpStream, last: u64) -> (u64, bool) {
    for n in 1..=last {
        match frame(socket) {
            Some((0x82, payload)) => assert!(payload == message(n), "after {}", n - 1),
            Some((0x88, _)) | None => return (n - 1, true),
            Some((odd, _)) => panic!("a frame that nobody sent: {odd:#x}"),
        }
    }
    (last, false)
}

/// Writes until no more is taken; how many numbers that was.
fn until_full(written: &Written) -> u64 {
    let (mut before, mut same) = (0, 0);
    while same < 10 {
        thread::sleep(Duration::from_millis(50));
        let now = written.load(SeqCst);
        same = if now == before && now > 0 { same + 1 } else { 0 };
        before = now;
    }
    before
}

/// Clients that gates have cut off.
fn stuck(fleet: &Fleet) -> u64 {
    let of = |gate: usize| {
        let (_, page) = fleet.look(gate, "/metrics");
        let line = page.lines().find_map(|l| l.strip_prefix("homing_tunnels_stuck_total "));
        line.expect("a count").parse::<u64>().unwrap()
    };
    of(1) + of(2)
}

#[test]
fn wherever_the_way_to_a_client_is_full_its_session_moves() {
    let written = Written::default();
    let ports = ZONES.map(|zone| app(zone, Arc::clone(&written)));
    let fleet = Fleet::start_over(|_| document(&ports));
    // All of it first; then parts of that, so that it stops in every process and between them.
    let mut all = 0;
    for eighth in [8, 0, 1, 2, 3, 4, 5, 6, 7] {
        let last = if eighth == 8 { 10_000 } else { (all * eighth / 8).max(1) };
        written.store(0, SeqCst);
        let (mut socket, mut jar) = open(&fleet, last);
        let taken = until_full(&written);
        if eighth == 8 {
            assert!(taken < last, "nothing is ever full");
            all = taken;
        }
        let (status, page) = jar.ask(fleet.edge, "GET", "/", "");
        assert_eq!(status, 200, "{page}");
        let (home, session) = page.split_once(' ').unwrap();
        let to = if home == ZONES[0] { ZONES[1] } else { ZONES[0] };
        let before = stuck(&fleet);
        move_to(&fleet, session, to);
        let page = jar.ask(fleet.edge, "GET", "/", "");
        assert_eq!(page, (200, format!("{to} {session}")));
        let (heard, ended) = numbers(&mut socket, last);
        // Cut off in the middle of a frame it cannot be carried; and only then.
        assert!(!ended || stuck(&fleet) > before, "{heard} of {last}\n{}", fleet.logs());
    }
}
