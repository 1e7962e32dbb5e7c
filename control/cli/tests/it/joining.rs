//! A second gate joins a zone whose sessions are being written to: each is executed by one gate at
//! a time, what was executed before is not executed again after, and what is under way stays.

use std::{
    collections::HashMap,
    io::Write as _,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    fleet::{Fleet, ZONES},
    run::{Jar, json},
    sockets::{count, frame, framed, head, open_at},
};

const SESSIONS: usize = 16;
const JOINED: &str = "gate-paris-2";

/// One session's writer, and what it has had acknowledged.
struct Writer {
    jar: Jar,
    acknowledged: u64,
    /// The name of its last write.
    last: String,
    /// Answers that were neither a success nor a word that it was executed before.
    refused: Vec<(u16, String)>,
}

impl Writer {
    /// Writes once; repeats under the same name whatever is refused, as a client does that must
    /// not write twice.
    fn write(&mut self, edge: u16, number: usize) {
        self.last = format!("writer-{number}");
        self.jar.key = Some(self.last.clone());
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            // A connection that breaks off is no answer either.
            let answer = self.jar.try_ask(edge, "POST", "/notebook", "line");
            let (status, told) = answer.unwrap_or_else(|fault| (0, fault.to_string()));
            if status == 200 || (status == 409 && told.contains("request-executed")) {
                self.acknowledged += 1;
                return;
            }
            self.refused.push((status, told));
            assert!(Instant::now() < until, "{:?}", self.refused);
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn count(&mut self, edge: u16) -> u64 {
        self.jar.key = None;
        let (status, told) = self.jar.ask(edge, "GET", "/notebook", "");
        assert_eq!(status, 200, "{told}");
        json(&told)["count"].as_u64().unwrap()
    }

    /// The last write again, by its name.
    fn repeat(&mut self, edge: u16) {
        self.jar.key = Some(self.last.clone());
        let (status, told) = self.jar.ask(edge, "POST", "/notebook", "line");
        assert!(status == 409 && told.contains("request-executed"), "{status} {told}");
    }
}

/// Writes with all sessions until `over`.
fn write_all(edge: u16, writers: &[Mutex<Writer>], over: &AtomicBool, written: &AtomicU64) {
    thread::scope(|scope| {
        for (index, writer) in writers.iter().enumerate() {
            scope.spawn(move || {
                let mut writer = writer.lock().unwrap();
                let mut number = writer.acknowledged as usize;
                while !over.load(SeqCst) {
                    writer.write(edge, number);
                    number += 1;
                    written.fetch_add(1, SeqCst);
                    // Sessions rest between requests, each at its own pace.
                    thread::sleep(Duration::from_millis(5 + 3 * index as u64));
                }
            });
        }
    });
}

fn writers(fleet: &Fleet) -> Vec<Mutex<Writer>> {
    let writer = || {
        let jar = Jar::default();
        let (acknowledged, last) = (0, String::new());
        let mut writer = Writer { jar, acknowledged, last, refused: Vec::new() };
        // The cookie has to be there before requests overlap.
        writer.write(fleet.edge, 0);
        Mutex::new(writer)
    };
    (0..SESSIONS).map(|_| writer()).collect()
}

fn metric(fleet: &Fleet, process: usize, name: &str) -> u64 {
    let (_, page) = fleet.look(process, "/metrics");
    let line = page.lines().find(|line| line.starts_with(&format!("homing_{name}_total ")));
    let value = line.and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    value.parse().unwrap_or(0)
}

fn until(what: &str, fleet: &Fleet, holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}\n{}\n{}", fleet.log(&format!("{JOINED}.log")), fleet.logs());
}

#[test]
fn a_gate_that_joins_a_zone_is_given_its_sessions_one_by_one() {
    let mut fleet = Fleet::start();
    let edge = fleet.edge;
    // Some are at rest while the gate joins: what they wrote before must be known after.
    let (writers, resting) = (writers(&fleet), writers(&fleet));
    let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let work = scope.spawn(|| write_all(edge, &writers, &over, &written));
        until("some writes", &fleet, || written.load(SeqCst) > 100);
        fleet.add_gate(JOINED);
        until("the gate to be given all", &fleet, || {
            fleet.log(&format!("{JOINED}.log")).contains("has given all")
        });
        let then = written.load(SeqCst);
        until("more writes", &fleet, || written.load(SeqCst) > then + 200);
        over.store(true, SeqCst);
        work.join().unwrap();
    });
    for writer in resting.iter().chain(&writers) {
        let mut writer = writer.lock().unwrap();
        assert_eq!(writer.refused, [], "{}", fleet.logs());
        writer.repeat(edge);
        let acknowledged = writer.acknowledged;
        assert_eq!(writer.count(edge), acknowledged);
    }
    let given = metric(&fleet, 1, "sessions_ceded");
    let taken = metric(&fleet, 3, "sessions_received");
    // Of the sessions in Paris about half are drawn to each; the other zone's are left alone.
    assert!(given > 0 && given == taken, "{given} given, {taken} taken");
    // Both serve Paris now, and either hands its sessions over.
    let mut moved = 0;
    for writer in &writers {
        let mut writer = writer.lock().unwrap();
        let here = json(&writer.jar.ask(edge, "GET", "/notebook", "").1);
        let (zone, key) = (here["zone"].as_str().unwrap(), here["session"].as_str().unwrap());
        let to = ZONES[usize::from(zone == ZONES[0])];
        let ran = fleet.ask(&["move", key, to, "--wait"]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.err, fleet.logs());
        writer.repeat(edge);
        moved += 1;
    }
    assert_eq!(moved, SESSIONS);
}

#[test]
fn either_gate_may_be_killed_while_sessions_change_between_them() {
    for killed in ["gate-paris", JOINED] {
        let mut fleet = Fleet::start();
        let edge = fleet.edge;
        let writers = writers(&fleet);
        let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let work = scope.spawn(|| write_all(edge, &writers, &over, &written));
            until("some writes", &fleet, || written.load(SeqCst) > 100);
            fleet.add_gate(JOINED);
            let joined =
                |fleet: &Fleet| fleet.log(&format!("{JOINED}.log")).contains("joins a zone");
            until("the gate to join", &fleet, || joined(&fleet));
            fleet.kill(killed);
            let then = written.load(SeqCst);
            // The survivor has all of the zone's sessions once the other's lease is over.
            until("writes of everyone", &fleet, || written.load(SeqCst) > then + 600);
            over.store(true, SeqCst);
            work.join().unwrap();
        });
        for writer in &writers {
            let mut writer = writer.lock().unwrap();
            let (acknowledged, counted) = (writer.acknowledged, writer.count(edge));
            // A write whose answer died with its gate was repeated under its name; the gate that
            // knew the name is gone with it, so it may have been executed twice, and told nobody.
            let doubtful = writer.refused.len() as u64;
            assert!(
                (acknowledged..=acknowledged + doubtful).contains(&counted),
                "{killed}: {counted} written, {acknowledged} acknowledged, {doubtful} doubtful"
            );
        }
    }
}

#[test]
fn a_gate_that_is_told_to_leave_gives_its_sessions_away_and_nobody_waits_for_its_lease() {
    let mut fleet = Fleet::start();
    let edge = fleet.edge;
    fleet.add_gate(JOINED);
    // With one gate or the other, whatever else goes on.
    let (writers, resting) = (writers(&fleet), writers(&fleet));
    let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let work = scope.spawn(|| write_all(edge, &writers, &over, &written));
        until("some writes", &fleet, || written.load(SeqCst) > 100);
        fleet.terminate("gate-paris");
        until("it to leave", &fleet, || fleet.log("control.log").contains("a gate has left"));
        let then = written.load(SeqCst);
        until("more writes", &fleet, || written.load(SeqCst) > then + 200);
        over.store(true, SeqCst);
        work.join().unwrap();
    });
    for writer in resting.iter().chain(&writers) {
        let mut writer = writer.lock().unwrap();
        assert_eq!(writer.refused, [], "{}", fleet.logs());
        writer.repeat(edge);
        let acknowledged = writer.acknowledged;
        assert_eq!(writer.count(edge), acknowledged);
    }
    assert!(!fleet.log("control.log").contains("struck off"), "{}", fleet.logs());
}

/// Messages that the apps of both zones have taken of each session, and where it was last.
type Taken = Arc<Mutex<HashMap<String, (u64, &'static str)>>>;

/// Runs an app that says back what it is told; returns its port.
fn echo(zone: &'static str, taken: &Taken) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::clone(taken);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let taken = Arc::clone(&taken);
            thread::spawn(move || echo_leg(zone, socket, &taken));
        }
    });
    port
}

fn echo_leg(zone: &'static str, mut socket: TcpStream, taken: &Taken) -> Option<()> {
    let head = head(&mut socket)?.to_ascii_lowercase();
    let key = head.split_once("homing-session: ")?.1.lines().next()?.to_owned();
    let known = {
        let mut taken = taken.lock().unwrap();
        let (known, at) = taken.entry(key.clone()).or_insert((0, zone));
        *at = zone;
        *known
    };
    let resume = match head.contains("homing-resume: ") {
        true => format!("homing-resume: client={known}\r\n"),
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
        if first != 0x88 {
            taken.lock().unwrap().get_mut(&key)?.0 += 1;
        }
        socket.write_all(&framed(first, 0, &payload)).ok()?;
        if first == 0x88 {
            return Some(());
        }
    }
}

/// Two zones whose sockets are carried.
fn carried(ports: [u16; 2]) -> String {
    let zone = |n: usize| {
        format!("  - {{ name: {}, endpoints: [\"127.0.0.1:{}\"] }}\n", ZONES[n], ports[n])
    };
    format!(
        "zones:\n{}{}services:\n  - name: chat\n    session: {{ from: [{{ cookie: {{ name: \
         homing, secure: false }} }}], idle: 1h }}\n    state: stateless\n    long_lived: \
         carry\npolicy:\n  cut: {{ freeze_max: 2s, gap_wait: 50ms }}\n",
        zone(0),
        zone(1)
    )
}

#[test]
fn sockets_stay_with_their_gate_and_are_handed_over_from_there() {
    const MESSAGES: u64 = 2_000;
    let taken = Taken::default();
    let ports = ZONES.map(|zone| echo(zone, &taken));
    let mut fleet = Fleet::start_over(|_| carried(ports));
    let talking: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let socket = open_at(&fleet, "/chat", "no=cookie");
            thread::spawn(move || count(socket, MESSAGES))
        })
        .collect();
    let sessions = || taken.lock().unwrap().clone();
    until("messages of all", &fleet, || {
        let sessions = sessions();
        sessions.len() == SESSIONS && sessions.values().all(|(taken, _)| *taken > 10)
    });
    fleet.add_gate(JOINED);
    until("the gate to join", &fleet, || {
        fleet.log(&format!("{JOINED}.log")).contains("joins a zone")
    });
    // Whichever gate is drawn for one: it is handed over by the one that has its socket.
    for (key, (_, zone)) in sessions() {
        let to = ZONES[usize::from(zone == ZONES[0])];
        let mut ran = fleet.ask(&["move", &key, to, "--wait"]);
        for _ in 0..100 {
            // Control hears of a session with its first records.
            if ran.code == 0 {
                break;
            }
            thread::sleep(Duration::from_millis(100));
            ran = fleet.ask(&["move", &key, to, "--wait"]);
        }
        assert_eq!(ran.code, 0, "{}{}\n{}", ran.out, ran.err, fleet.logs());
    }
    let all: Vec<u64> = (1..=MESSAGES).collect();
    for talk in talking {
        let heard = talk.join().unwrap();
        let last = heard.last().copied();
        assert!(heard == all, "{} heard, {last:?} last\n{}", heard.len(), fleet.logs());
    }
    for (key, (taken, _)) in sessions() {
        assert_eq!(taken, MESSAGES, "{key}");
    }
    // Nothing of them is left at the gate that had them.
    until("the gate to be given all", &fleet, || {
        fleet.log(&format!("{JOINED}.log")).contains("has given all")
    });
}

#[test]
fn a_gate_that_leaves_has_its_sockets_go_on_at_another() {
    const MESSAGES: u64 = 3_000;
    let taken = Taken::default();
    let ports = ZONES.map(|zone| echo(zone, &taken));
    let mut fleet = Fleet::start_over(|_| carried(ports));
    let talking: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let socket = open_at(&fleet, "/chat", "no=cookie");
            thread::spawn(move || count(socket, MESSAGES))
        })
        .collect();
    let sessions = || taken.lock().unwrap().clone();
    until("messages of all", &fleet, || {
        let sessions = sessions();
        sessions.len() == SESSIONS && sessions.values().all(|(taken, _)| *taken > 10)
    });
    fleet.add_gate(JOINED);
    fleet.terminate("gate-paris");
    until("it to leave", &fleet, || fleet.log("control.log").contains("a gate has left"));
    let left = sessions().values().filter(|(taken, _)| *taken < MESSAGES).count();
    let all: Vec<u64> = (1..=MESSAGES).collect();
    for talk in talking {
        let heard = talk.join().unwrap();
        let last = heard.last().copied();
        assert!(heard == all, "{} heard, {last:?} last\n{}", heard.len(), fleet.logs());
    }
    // They had more to say when it was gone.
    assert!(left > 0, "{}", fleet.logs());
    for (key, (taken, _)) in sessions() {
        assert_eq!(taken, MESSAGES, "{key}");
    }
}
