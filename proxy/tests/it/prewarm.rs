//! Fetching ahead: what a session fetched where it was is in the cache where it is next, what is
//! no one else's business is not, and nothing that an app or another gate does can cost a handoff.

use std::sync::Arc;

use homing_wire::{HotObject, prewarm};
use http::{HeaderMap, header};
use serde_json::Value;

use crate::{
    client::{Told, ask, get},
    shop::Shop,
    whole::{BRISK, Whole},
};

const ZONES: [&str; 2] = ["paris", "tokyo"];

struct World {
    whole: Whole,
    shops: [Shop; 2],
}

impl World {
    async fn start(cache: &str) -> Self {
        Self::start_with(cache, "").await
    }

    async fn start_with(cache: &str, more: &str) -> Self {
        let shops = [Shop::start().await, Shop::start().await];
        let endpoints: Vec<_> = ZONES
            .iter()
            .zip(&shops)
            .map(|(zone, shop)| format!("{zone}: [\"{}\"]", shop.address))
            .collect();
        let endpoints = format!("endpoints: {{ {} }}", endpoints.join(", "));
        let whole = Whole::start_edited(&ZONES, &format!("{BRISK}{more}"), |text| {
            let state = "state: { hooks: { timeout: 400ms, max: 64KiB } }";
            text.replace(state, &format!("state: stateless\n    cache: {cache}\n    {endpoints}"))
        })
        .await;
        Self { whole, shops }
    }

    async fn fetch(&self, path: &str, headers: &[(&str, &str)]) -> Told {
        let mut all = vec![("x-user", "ann")];
        all.extend(headers);
        let told = ask(self.whole.plain(), get(path, &all)).await;
        assert_eq!(told.status, 200, "{told:?}");
        told
    }

    /// Waits until so many objects of a session are known: an answer is noted after it is sent.
    async fn knows(&self, session: &str, objects: u64) {
        let path = format!("/why?key={session}");
        let known = async || self.whole.look(&path).await["hot_objects"] == objects;
        self.whole.until("its objects to be known", known).await;
    }

    /// Moves the session, once so many objects of it are known, to the other zone; the shop it
    /// comes from and the one it is at now.
    async fn move_over(&self, objects: u64) -> (&Shop, &Shop) {
        let (session, zone) = self.whole.only_session().await;
        self.knows(&session, objects).await;
        let to = self.whole.other(&zone, &ZONES);
        let outcome = self.whole.outcome(self.whole.move_to(&session, to).await).await;
        assert_eq!(outcome["outcome"], "completed", "{outcome}");
        let at = ZONES.iter().position(|name| *name == to).unwrap();
        (&self.shops[1 - at], &self.shops[at])
    }

    async fn figures(&self) -> Value {
        self.whole.look("/cache").await["prewarm"].clone()
    }

    /// Waits until everything that was offered has come to something.
    async fn settled(&self, offered: u64) -> Value {
        let mut figures = Value::Null;
        self.whole
            .until("the offered to be dealt with", async || {
                figures = self.figures().await;
                figures["offered"] == offered && dealt_with(&figures) == offered
            })
            .await;
        figures
    }
}

fn dealt_with(figures: &Value) -> u64 {
    let skipped = figures["skipped"].as_object().unwrap().values();
    figures["fetched"].as_u64().unwrap() + skipped.map(|n| n.as_u64().unwrap()).sum::<u64>()
}

fn outcome(told: &Told) -> &str {
    told.header("cache-status").unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_finds_what_it_fetched_where_it_is_handed_over_to() {
    let world = World::start("on").await;
    for n in 0..20 {
        world.fetch(&format!("/item/{n}"), &[]).await;
    }
    let (left, at) = world.move_over(20).await;
    let figures = world.settled(20).await;
    assert_eq!(figures["fetched"], 20, "{figures}");
    for n in 0..20 {
        let path = format!("/item/{n}");
        let told = world.fetch(&path, &[]).await;
        assert_eq!(outcome(&told), "homing; hit; detail=prewarmed", "{path}");
        assert_eq!(told.body, path.as_bytes());
        assert_eq!(outcome(&world.fetch(&path, &[]).await), "homing; hit", "told once");
        assert_eq!((left.asked(&path), at.asked(&path)), (1, 1), "{path}");
    }
    assert!(at.connections() <= 16, "the bound on fetches at one time");
    let figures = world.figures().await;
    assert_eq!((figures["used"].as_u64(), figures["wasted"].as_u64()), (Some(20), Some(0)));
    let page = ask(world.whole.admin(), get("/metrics", &[])).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("homing_prewarm_objects_used_total 20\n"), "{page}");
    assert!(page.contains("homing_prewarm_objects_skipped_total{reason=\"present\"} 0\n"));
    // Back again: there it is all known, and nothing is fetched.
    world.move_over(20).await;
    let figures = world.settled(40).await;
    assert_eq!((figures["fetched"].as_u64(), left.asked("/item/3")), (Some(20), 1), "{figures}");
    assert_eq!(figures["skipped"]["present"], 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_it_they_are_misses() {
    let world = World::start("{ prewarm: off }").await;
    for n in 0..5 {
        world.fetch(&format!("/item/{n}"), &[]).await;
    }
    let (_, at) = world.move_over(0).await;
    for n in 0..5 {
        let told = world.fetch(&format!("/item/{n}"), &[]).await;
        assert_eq!(outcome(&told), "homing; fwd=miss; stored");
    }
    assert_eq!((at.asked("/item/3"), world.figures().await["offered"].as_u64()), (1, Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ones_own_stays_ones_own() {
    let world = World::start("on").await;
    let mine = [("authorization", "Bearer mine"), ("cookie", "a=b")];
    world.fetch("/private/1", &[]).await;
    world.fetch("/secret/1", &[]).await;
    world.fetch("/member/1", &mine).await;
    world.fetch("/device/1", &[("x-device", "phone")]).await;
    world.fetch("/language/1", &[("accept-language", "fr"), ("cookie", "a=b")]).await;
    let (_, at) = world.move_over(1).await;
    let figures = world.settled(1).await;
    assert_eq!(figures["fetched"], 1, "{figures}");
    let all = at.all();
    let [(path, headers)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(path, "/language/1");
    assert_eq!(headers.get("accept-language").unwrap(), "fr");
    assert_eq!(headers.get("homing-prewarm").unwrap(), "1");
    for name in ["cookie", "authorization", "homing-session", "homing-epoch", "x-user"] {
        assert!(!headers.contains_key(name), "{name} of nobody's request");
    }
    assert_eq!(headers.get(header::HOST), world.shops[0].all()[0].1.get(header::HOST));
    let french = world.fetch("/language/1", &[("accept-language", "fr")]).await;
    assert_eq!(outcome(&french), "homing; hit; detail=prewarmed");
    let english = world.fetch("/language/1", &[("accept-language", "en")]).await;
    assert_eq!(outcome(&english), "homing; fwd=miss; stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_hangs_or_sends_away_who_asks_ahead_costs_nothing_but_the_try() {
    let world = World::start("{ object_max: 64KiB }").await;
    world.fetch("/hang/1", &[]).await;
    world.fetch("/login/1", &[]).await;
    world.fetch("/item/1", &[]).await;
    let (_, at) = world.move_over(3).await;
    world.whole.until("the app to be asked", async || at.asked("/hang/1") > 0).await;
    assert_eq!(world.figures().await["skipped"]["failed"], 0, "the handoff has not waited");
    // A user of what hangs waits for the try, and is then served.
    assert_eq!(outcome(&world.fetch("/hang/1", &[]).await), "homing; fwd=miss; stored");
    let figures = world.settled(3).await;
    assert_eq!(figures["skipped"]["failed"], 1, "{figures}");
    assert_eq!(figures["skipped"]["status"], 1, "{figures}");
    assert_eq!(figures["fetched"], 1, "{figures}");
    let told = world.fetch("/login/1", &[]).await;
    assert_eq!((outcome(&told), at.asked("/login/1")), ("homing; fwd=miss; stored", 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_nothing_to_fetch_a_connection_is_opened() {
    let world = World::start("on\n    health: { path: /healthz, interval: 1h }").await;
    world.fetch("/private/1", &[]).await;
    let (_, at) = world.move_over(0).await;
    world.whole.until("a connection", async || world.figures().await["connections"] == 1).await;
    let ahead = |(path, headers): &(String, HeaderMap)| {
        headers.contains_key("homing-prewarm").then(|| path.clone())
    };
    let asked: Vec<_> = at.all().iter().filter_map(ahead).collect();
    assert_eq!(asked, ["/healthz"]);
    let before = at.connections();
    world.fetch("/private/2", &[]).await;
    assert_eq!((at.connections(), at.asked("/private/2")), (before, 1), "it is used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_wanted_go_first_and_no_more_than_the_service_says() {
    let world = World::start("{ prewarm: { objects: 3 } }").await;
    for n in 0..9 {
        for _ in 0..=n {
            world.fetch(&format!("/item/{n}"), &[]).await;
        }
    }
    let (_, at) = world.move_over(3).await;
    world.settled(3).await;
    let mut asked: Vec<_> = at.all().into_iter().map(|(path, _)| path).collect();
    asked.sort();
    assert_eq!(asked, ["/item/6", "/item/7", "/item/8"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_on_their_way_fetch_what_they_share_once_and_keep_to_the_links_share() {
    // A tenth of 8 Mbit/s is 100 kB a second.
    let world = World::start_with("on", "prewarm: { link: 8Mbps, share: 10% }\n").await;
    let mut zones: Vec<_> = Vec::new();
    for user in 0..6 {
        let user = format!("user-{user}");
        for n in 0..3 {
            let path = format!("/slow/{n}?bytes=20000");
            let told = ask(world.whole.plain(), get(&path, &[("x-user", &user)])).await;
            assert_eq!(told.status, 200);
        }
    }
    let all = world.whole.look("/sessions?limit=10").await;
    for session in all["sessions"].as_array().unwrap() {
        let text = |name: &str| session[name].as_str().unwrap().to_owned();
        zones.push((text("session"), text("zone")));
    }
    for (session, _) in &zones {
        world.knows(session, 3).await;
    }
    let begun = std::time::Instant::now();
    for (session, zone) in &zones {
        world.whole.move_to(session, world.whole.other(zone, &ZONES)).await;
    }
    // Each zone's shop was asked by users or ahead of them, once for each item in all.
    let figures = world.settled(18).await;
    for shop in &world.shops {
        for n in 0..3 {
            assert!(shop.asked(&format!("/slow/{n}?bytes=20000")) <= 1, "{figures}");
        }
    }
    let fetched = figures["bytes"].as_u64().unwrap() as f64;
    let allowed = begun.elapsed().as_secs_f64() * 100_000.0 + 10_000.0 + 3.0 * 20_000.0;
    assert!(fetched <= allowed, "{fetched} bytes where {allowed} were allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_no_gate_may_send_is_refused_and_told() {
    use homing_proxy::{
        config::PrewarmSettings, endpoints::EndpointPool, http::facts::FactsCell, prewarm::Prewarm,
        telemetry::Metrics,
    };

    let world = World::start("on").await;
    let live = Arc::clone(world.whole.running().live());
    let facts = Arc::new(FactsCell::new(Arc::<EndpointPool>::default()));
    let metrics = Metrics::default();
    let settings = PrewarmSettings::default();
    let parts = (Arc::clone(&live), facts);
    let prewarm = Prewarm::new(settings, 1, 0, parts, Arc::default(), &metrics);
    let table = live.load_full();
    let tell = |list: &[u8]| {
        let (zone, service) = (homing_wire::ZoneId(0), homing_wire::ServiceId(0));
        prewarm.told(&table, zone, service, homing_wire::SessionKey(7), list);
    };
    let object = HotObject {
        tls: false,
        host: "shop.example".to_owned(),
        path: "/a".to_owned(),
        headers: Vec::new(),
    };
    let (list, _) = prewarm::encode([&object]);
    tell(&list);
    assert_eq!((metrics.prewarm.offered.get(), prewarm.waiting()), (1, 1));
    tell(&list.repeat(300));
    tell(&[b'x'; 60_000]);
    tell(b"no list at all");
    assert_eq!(metrics.prewarm.lists_refused.get(), 3);
    assert_eq!((metrics.prewarm.offered.get(), prewarm.waiting()), (1, 1));
}
