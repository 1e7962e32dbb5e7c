//! A carried event stream between an edge and two gates: the client sees every event once while its
//! session is moved about, and none of what edge and gate say to each other.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::fleet::{Fleet, ZONES};

/// The session, as the apps were told last.
type Known = Arc<Mutex<String>>;

fn app(zone: &'static str, known: Known) -> u16 {
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

/// Tells numbers from the id on that it is given, a few hundred a second, until nobody reads.
fn leg(zone: &str, mut socket: TcpStream, known: &Known) -> Option<()> {
    let mut read = BufReader::new(socket.try_clone().ok()?);
    let (mut last, mut line) = (0_u64, String::new());
    read.read_line(&mut line).ok()?;
    assert_eq!(line, "GET /numbers?of=one HTTP/1.1\r\n", "as the client has sent it");
    line.clear();
    while read.read_line(&mut line).ok()? > 2 {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "last-event-id" => last = value.trim().parse().ok()?,
            "homing-session" => value.trim().clone_into(&mut known.lock().unwrap()),
            "homing-events" => panic!("the word between edge and gate came to the app"),
            _ => {}
        }
        line.clear();
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).ok()?;
    for n in last + 1.. {
        write!(socket, "id: {n}\ndata: {n}\n").ok()?;
        socket.flush().ok()?;
        write!(socket, "data: {zone}\n\n").ok()?;
        thread::sleep(Duration::from_millis(4));
    }
    None
}

fn document(apps: &[u16]) -> String {
    let zone = |n: usize| {
        format!("  - {{ name: {}, endpoints: [\"127.0.0.1:{}\"] }}\n", ZONES[n], apps[n])
    };
    format!(
        "zones:\n{}{}services:\n  - name: ticker\n    session: {{ from: [{{ cookie: {{ name: \
         homing, secure: false }} }}], idle: 1h }}\n    state: stateless\n    long_lived: carry\n\
         policy:\n  cut: {{ freeze_max: 500ms, gap_wait: 50ms }}\n",
        zone(0),
        zone(1)
    )
}

/// Chunks taken apart again.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(edge: u16) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", edge)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let asked = "GET /numbers?of=one HTTP/1.1\r\nhost: ticker.example\r\naccept: text/event-stream\r\n\r\n";
        socket.write_all(asked.as_bytes()).unwrap();
        let mut read = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(read.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
        Self(read)
    }

    /// The next event's number and zone, however it was cut into chunks.
    fn next(&mut self, held: &mut String) -> (u64, String) {
        loop {
            if let Some((event, rest)) = held.split_once("\n\n") {
                let lines: Vec<_> = event.lines().collect();
                let [id, number, zone] = lines[..] else { panic!("{event:?} is no whole event") };
                assert_eq!(id.strip_prefix("id: "), number.strip_prefix("data: "), "{event}");
                let told = (id[4..].parse().unwrap(), zone["data: ".len()..].to_owned());
                *held = rest.to_owned();
                return told;
            }
            let mut size = String::new();
            self.0.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
            assert_ne!(size, 0, "the stream ended");
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk).unwrap();
            held.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
    }
}

#[test]
fn a_stream_goes_along_between_gates_and_no_event_is_lost_or_doubled() {
    let known = Known::default();
    let apps = ZONES.map(|zone| app(zone, Arc::clone(&known)));
    let fleet = Fleet::start_over(|_| document(&apps));
    let mut stream = Stream::open(fleet.edge);
    let mut held = String::new();
    let (mut n, mut zone) = stream.next(&mut held);
    assert_eq!(n, 1);
    for round in 0..4 {
        let to = *ZONES.iter().find(|other| **other != zone).unwrap();
        let key = known.lock().unwrap().clone();
        let moving = thread::scope(|scope| {
            let moving = scope.spawn(|| fleet.ask(&["move", &key, to, "--wait"]));
            while zone != to {
                let (next, by) = stream.next(&mut held);
                assert_eq!(next, n + 1, "{round}: by {by} after {n} by {zone}");
                (n, zone) = (next, by);
            }
            moving.join().unwrap()
        });
        assert_eq!(moving.code, 0, "{round}: {}", moving.err);
    }
    let (_, page) = fleet.look(0, "/metrics");
    let carried = page.lines().find_map(|line| line.strip_prefix("homing_streams_carried_total "));
    assert!(carried.unwrap().parse::<u32>().unwrap() >= 4, "{carried:?}");
}
