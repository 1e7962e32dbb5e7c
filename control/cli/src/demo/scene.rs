//! The files the demo's processes are started with, and the document that is pushed to control: as
//! an operator would write them, so that `--keep` leaves something to learn from.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::client::PLACE_HEADER;
use super::world::World;

/// The service of the demo.
pub const SERVICE: &str = "notebook";

/// Where everything listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The proxy, for clients.
    pub proxy: SocketAddr,
    /// The proxy, for operators.
    pub admin: SocketAddr,
    /// Control, for operators.
    pub api: SocketAddr,
    /// Control, for proxies.
    pub link: SocketAddr,
    /// The zones' apps.
    pub apps: Vec<SocketAddr>,
}

/// What of the document changes during the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Whether control's plans are carried out.
    pub act: bool,
    /// Sessions that the first zone has room for; the others have room for all.
    pub room: usize,
    /// All sessions.
    pub sessions: usize,
}

/// Zones, services, places and policy.
#[must_use]
pub fn document(world: &World, apps: &[SocketAddr], stage: Stage) -> String {
    let mut text = String::from("zones:\n");
    for (index, (zone, app)) in world.zones.iter().zip(apps).enumerate() {
        let room = if index == 0 { stage.room } else { stage.sessions.max(10) * 2 };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "  - name: {}\n    location: [{}, {}]\n    endpoints: [\"{app}\"]\n    capacity: \
             {{ sessions: {room} }}\n    price: {{ cpu_hour: {}, egress_gib: {} }}\n",
            zone.name, zone.lat, zone.lon, zone.cpu_hour_usd, zone.egress_gb_usd,
        );
    }
    let _ = write!(
        text,
        "services:\n  - name: {SERVICE}\n    match: {{ path: / }}\n    session:\n      from: [{{ \
         cookie: {{ name: homing, same_site: lax, secure: false }} }}]\n      idle: 1h\n    state: \
         {{ hooks: {{ path: {}, timeout: 5s }} }}\n    health: {{ path: /healthz, interval: 1s, \
         timeout: 2s }}\n",
        crate::app::hooks::PATH,
    );
    text.push_str("places:\n");
    for city in &world.cities {
        let rtts = world.zones.iter().zip(&city.rtt_ms);
        let rtts: Vec<String> = rtts.map(|(z, ms)| format!("{}: {ms}ms", z.name)).collect();
        let _ = writeln!(text, "  - {{ name: {}, rtt: {{ {} }} }}", city.name, rtts.join(", "));
    }
    let act = if stage.act { "on" } else { "shadow" };
    // A run lasts seconds, and a minute of the log a third of one: regret that is gathered over
    // minutes in service must show here too.
    let _ = write!(
        text,
        "policy:\n  act: {act}\n  place_header: {PLACE_HEADER}\n  hold: {{ wait_max: 5s }}\n  cut: \
         {{ freeze_max: 2s, gap_wait: 2s }}\n  moves: {{ per_minute: 6000, concurrent_per_pair: \
         4, residence_min: 1s, regret: 1% }}\n",
    );
    text
}

/// The proxy's settings.
#[must_use]
pub fn proxy(at: &Addresses, dir: &Path) -> String {
    format!(
        "name: demo-proxy\nlisten: [{{ address: \"{}\" }}]\nadmin: {{ address: \"{}\" }}\ncontrol: \
         {{ url: \"http://{}\" }}\nstate_dir: \"{}\"\ntrusted_peers: [127.0.0.0/8]\nlimits: {{ \
         threads: 2 }}\ndrain: {{ delay: 0s, patience: 2s }}\n",
        at.proxy,
        at.admin,
        at.link,
        dir.join("proxy-state").display(),
    )
}

/// Control's settings.
#[must_use]
pub fn control(at: &Addresses, dir: &Path) -> String {
    format!(
        "api: {{ address: \"{}\" }}\nlink: {{ address: \"{}\" }}\ndata_dir: \"{}\"\nround: \
         300ms\n",
        at.api,
        at.link,
        dir.join("control-data").display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_wire::document::Document;

    #[test]
    fn the_document_is_one_an_operator_may_push() {
        for zones in super::super::world::ZONES_MIN..=super::super::world::ZONES_MAX {
            let world = World::bundled(zones).unwrap();
            let apps: Vec<SocketAddr> =
                (0..zones).map(|n| SocketAddr::from(([127, 0, 0, 1], 9000 + n as u16))).collect();
            let stage = Stage { act: true, room: 60, sessions: 186 };
            let text = document(&world, &apps, stage);
            let document = Document::parse(&text).unwrap_or_else(|f| panic!("{f}"));
            assert_eq!((document.zones.len(), document.places.len()), (zones, world.cities.len()));
            assert_eq!(document.zones[0].capacity.sessions, 60);
        }
    }
}
