//! A WebSocket of tier T2 whose replica is away: its client hears nothing that the replica does not
//! have, keeps its socket, and hears all of it once the replica is back.

use std::{
    io::{ErrorKind, Write as _},
    thread,
    time::{Duration, Instant},
};

use crate::{
    fleet::{Fleet, ZONES},
    redis_server::{self, RedisServer},
    run::{Jar, json},
    sockets::{frame, framed, open_at, t2},
};

/// Longer than a gate takes to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Words that a zone's gate did not get in time.
fn behind(fleet: &Fleet, zone: usize) -> u64 {
    let (_, page) = fleet.look(1 + zone, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix("homing_replica_behind_total "));
    line.expect("a count").parse().unwrap()
}

#[test]
fn what_the_replica_does_not_have_waits_for_it_and_is_heard_once() {
    if !redis_server::installed() {
        return;
    }
    let stores = [RedisServer::start(&[]), RedisServer::start(&[])];
    let mut fleet = t2(&stores, "2s");
    let mut jar = Jar::default();
    let (status, told) = jar.ask(fleet.edge, "GET", "/notebook", "");
    assert_eq!(status, 200, "{told}\n{}", fleet.logs());
    let home = usize::from(json(&told)["zone"] == ZONES[1]);
    let mut socket = open_at(&fleet, "/socket", &jar.cookie.clone().unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut say = {
        let mut socket = socket.try_clone().unwrap();
        move |n: u64| socket.write_all(&framed(0x81, 0x80, n.to_string().as_bytes())).unwrap()
    };
    for n in 1..=10 {
        say(n);
        assert_eq!(frame(&mut socket), Some((0x81, n.to_string().into_bytes())));
    }
    assert_eq!(behind(&fleet, home), 0);
    fleet.kill(&format!("gate-{}", ZONES[1 - home]));
    for n in 11..=20 {
        say(n);
    }
    let began = Instant::now();
    while behind(&fleet, home) < 2 {
        assert!(began.elapsed() < PATIENCE, "{}", fleet.logs());
        thread::sleep(Duration::from_millis(50));
    }
    // They are written at home by now, but nobody else knows: nothing is heard of them.
    socket.set_nonblocking(true).unwrap();
    let early = socket.peek(&mut [0; 1]);
    assert_eq!(early.unwrap_err().kind(), ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
    fleet.kill_gate(ZONES[1 - home]);
    for n in 11..=20 {
        let heard = frame(&mut socket);
        assert_eq!(heard, Some((0x81, n.to_string().into_bytes())), "{}", fleet.logs());
    }
    say(21);
    assert_eq!(frame(&mut socket), Some((0x81, b"21".to_vec())));
}
