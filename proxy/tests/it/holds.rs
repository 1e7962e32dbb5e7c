//! Requests of a session that is being handed over wait at the edge and follow it, whatever their
//! method and body; the gate is stepped by hand here.

use std::time::Duration;

use homing_proxy::clock::Clock;
use homing_session::gate::Event;
use homing_wire::{DirectiveId, Epoch, Incarnation, SessionKey, ZoneId};

use crate::{
    app::App,
    client::{Told, ask, get, send},
    proxy::{Proxy, Setup},
};

const M: DirectiveId = DirectiveId(1);
const BODY: usize = 300_000;

struct Held {
    proxy: Proxy,
    apps: [App; 2],
    key: SessionKey,
    cookie: String,
    home: ZoneId,
    away: ZoneId,
}

impl Held {
    /// A session that lives somewhere and is frozen there.
    async fn start(change: impl FnOnce(&mut Setup)) -> Self {
        let apps = [App::start("paris").await, App::start("oregon").await];
        let zones: [(&str, &[_]); 2] =
            [("paris", &[apps[0].address]), ("oregon", &[apps[1].address])];
        let mut setup = Setup::new(&zones);
        change(&mut setup);
        let proxy = setup.start();
        let first = ask(proxy.plain(), get("/", &[])).await;
        let key = first.received("homing-session").unwrap().parse().unwrap();
        let cookie = first.cookie().unwrap();
        let (home, away) = match first.zone().as_str() {
            "paris" => (ZoneId(0), ZoneId(1)),
            _ => (ZoneId(1), ZoneId(0)),
        };
        let held = Self { proxy, apps, key, cookie, home, away };
        held.proxy.gates.holds().open(key);
        held.step(home, Event::Freeze { directive: M });
        held
    }

    fn step(&self, zone: ZoneId, event: Event) {
        let (live, now_ms) = (self.proxy.live.load(), Clock::process().now_ms());
        self.proxy.gates.step(&live, zone, self.key, event, now_ms).unwrap();
    }

    /// Sends a request that has to wait.
    async fn send(&self, method: &'static str) -> tokio::task::JoinHandle<Told> {
        let request = send(method, "/", &[("cookie", &self.cookie)], vec![b'x'; BODY]);
        let asking = tokio::spawn(ask(self.proxy.plain(), request));
        tokio::time::sleep(Duration::from_millis(150)).await;
        asking
    }

    fn hits(&self) -> usize {
        self.apps.iter().map(App::hits).sum()
    }
}

#[tokio::test]
async fn a_thawed_session_goes_on_at_home_with_every_request_that_waited() {
    let held = Held::start(|_| {}).await;
    let waiting = [held.send("POST").await, held.send("DELETE").await];
    assert_eq!(held.hits(), 1, "a frozen session was executed");
    held.step(held.home, Event::Thaw { directive: M });
    held.proxy.gates.holds().close(held.key);
    for told in waiting {
        let told = told.await.unwrap();
        assert_eq!(
            (told.status.as_u16(), told.json()["body_bytes"].as_u64()),
            (200, Some(300_000))
        );
    }
    assert_eq!((held.hits(), held.proxy.metrics.holds.get()), (3, 2));
}

#[tokio::test]
async fn a_session_that_has_moved_is_followed_at_its_new_epoch_and_executed_once() {
    let held = Held::start(|_| {}).await;
    let waiting = held.send("POST").await;
    let (epoch, to_incarnation) = (Epoch(2), Incarnation(0));
    held.step(held.away, Event::Stage { directive: M, to_incarnation, epoch });
    held.step(held.home, Event::Grant { directive: M, to: held.away, epoch });
    held.step(held.away, Event::Activate { directive: M, to_incarnation, epoch });
    held.step(held.home, Event::GrantAck { directive: M });
    held.proxy.gates.holds().close(held.key);
    let told = waiting.await.unwrap();
    assert_eq!(told.status, 200);
    assert_eq!(told.received("homing-epoch").unwrap(), "2");
    assert_eq!(told.received("homing-session").unwrap(), held.key.to_string());
    assert_eq!(told.received("homing-zone").unwrap(), told.zone());
    assert_eq!(held.apps[held.away.index()].hits(), 1);
    assert_eq!(held.apps[held.home.index()].hits(), 1);
}

#[tokio::test]
async fn no_request_waits_past_its_bound_or_beyond_the_bound_on_waiters() {
    let held = Held::start(|setup| {
        setup.facts.policy.hold.ms_max = 600;
        setup.facts.policy.hold.requests_per_session = 1;
    })
    .await;
    let first = held.send("POST").await;
    let second = held.send("POST").await.await.unwrap();
    assert_eq!((second.status.as_u16(), second.problem()), (503, "hold-full".to_owned()));
    let first = first.await.unwrap();
    assert_eq!((first.status.as_u16(), first.problem()), (503, "hold-timeout".to_owned()));
    assert_eq!(first.header("retry-after"), Some("1"));
    assert_eq!(held.hits(), 1);
}
