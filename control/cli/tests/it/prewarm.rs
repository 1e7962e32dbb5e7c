//! Two gates and a session between them: what it fetched at one is in the other's cache before its
//! first request there, unless the operator says otherwise; and what an app does to who asks ahead
//! costs no handoff.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::{
    fleet::{Fleet, ZONES},
    run::json,
};

/// Items that a session fetches.
const ITEMS: usize = 24;

/// A zone's shop: answers that may be kept, and the heads of all requests.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Vec<String>>>);

impl Shop {
    /// Runs it; returns its port.
    fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shop = self.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shop = shop.clone();
                thread::spawn(move || while shop.answer(&socket).is_some() {});
            }
        });
        port
    }

    fn answer(&self, mut socket: &TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
        self.0.lock().unwrap().push(head.clone());
        if head.starts_with("get /hang") && head.contains("homing-prewarm: 1") {
            thread::sleep(Duration::from_secs(60));
        }
        let own = if head.starts_with("get /own") { "private, " } else { "" };
        write!(
            socket,
            "HTTP/1.1 200 OK\r\ncache-control: {own}max-age=600\r\nvary: accept-language\r\n\
             content-length: 4\r\n\r\nitem"
        )
        .ok()
    }

    fn heads(&self, path: &str) -> Vec<String> {
        let start = format!("get {path} ");
        self.0.lock().unwrap().iter().filter(|head| head.starts_with(&start)).cloned().collect()
    }
}

fn document(apps: &[u16], cache: &str) -> String {
    let zone = |n: usize| {
        format!("  - {{ name: {}, endpoints: [\"127.0.0.1:{}\"] }}\n", ZONES[n], apps[n])
    };
    format!(
        "zones:\n{}{}services:\n  - name: shop\n    session: {{ from: [{{ header: x-user }}], idle: \
         1h }}\n    state: stateless\n    cache: {cache}\n\
         policy:\n  cut: {{ freeze_max: 500ms, gap_wait: 50ms }}\n",
        zone(0),
        zone(1)
    )
}

/// One request of the user's; the answer's head.
fn fetch(fleet: &Fleet, path: &str) -> String {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], fleet.edge))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: shop.example\r\nx-user: ann\r\naccept-language: fr\r\n\
         cookie: theme=dark\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase()
}

struct World {
    fleet: Fleet,
    shops: [Shop; 2],
}

impl World {
    fn start(cache: &str) -> Self {
        let shops: [Shop; 2] = Default::default();
        let ports: Vec<u16> = shops.iter().map(Shop::start).collect();
        let fleet = Fleet::start_over(|_| document(&ports, cache));
        Self { fleet, shops }
    }

    /// Hands the one session over, once its gate knows so many objects of it, for an answer is
    /// noted after it is sent; the index of where it is now.
    fn move_over(&self, objects: usize) -> usize {
        let asked = |shop: &Shop| shop.0.lock().unwrap().first().cloned();
        let found = self.shops.iter().enumerate().find_map(|(at, shop)| Some((at, asked(shop)?)));
        let (at, head) = found.expect("a shop that was asked");
        let key = head.split_once("homing-session: ").unwrap().1.lines().next().unwrap();
        let known = || {
            let (_, why) = self.fleet.look(1 + at, &format!("/why?key={key}"));
            json(&why)["hot_objects"] == objects
        };
        for _ in (0..400).take_while(|_| !known()) {
            thread::sleep(Duration::from_millis(25));
        }
        let moved = self.fleet.ask(&["move", key, ZONES[1 - at], "--wait"]);
        assert_eq!(moved.code, 0, "{}", moved.err);
        1 - at
    }

    fn figures(&self, zone: usize) -> serde_json::Value {
        let (status, body) = self.fleet.look(1 + zone, "/cache");
        assert_eq!(status, 200, "{body}");
        json(&body)["prewarm"].clone()
    }

    fn until(&self, zone: usize, holds: impl Fn(&serde_json::Value) -> bool) {
        for _ in 0..400 {
            if holds(&self.figures(zone)) {
                return;
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("waited in vain: {}", self.figures(zone));
    }
}

#[test]
fn the_next_gate_has_what_the_session_fetched() {
    let world = World::start("on");
    for n in 0..ITEMS {
        fetch(&world.fleet, &format!("/items/{n}"));
    }
    fetch(&world.fleet, "/own/1");
    fetch(&world.fleet, "/hang/1");
    let there = world.move_over(ITEMS + 1);
    world.until(there, |figures| figures["fetched"] == ITEMS);
    for n in 0..ITEMS {
        let path = format!("/items/{n}");
        let head = fetch(&world.fleet, &path);
        assert!(head.contains("cache-status: homing; hit; detail=prewarmed"), "{head}");
        let [head] = &world.shops[there].heads(&path)[..] else { panic!("{path}") };
        assert!(head.contains("homing-prewarm: 1") && head.contains("accept-language: fr"));
        for nobodys in ["cookie:", "authorization:", "x-user:", "homing-session:"] {
            assert!(!head.contains(nobodys), "{head}");
        }
    }
    assert_eq!(world.shops[there].heads("/own/1").len(), 0, "what is private is not fetched");
    // Whoever asks ahead is let hang; the user is not.
    assert!(fetch(&world.fleet, "/hang/1").contains("fwd=miss; stored"));
    world.until(there, |figures| figures["skipped"]["failed"] == 1);
    assert_eq!(world.figures(there)["used"], ITEMS);
}

#[test]
fn with_prewarming_off_the_next_gate_fetches_on_demand() {
    let world = World::start("{ prewarm: off }");
    for n in 0..4 {
        fetch(&world.fleet, &format!("/items/{n}"));
    }
    let there = world.move_over(0);
    for n in 0..4 {
        let path = format!("/items/{n}");
        assert!(fetch(&world.fleet, &path).contains("fwd=miss; stored"));
        assert!(fetch(&world.fleet, &path).contains("cache-status: homing; hit\r\n"));
    }
    assert_eq!(world.figures(there)["offered"], 0);
}
