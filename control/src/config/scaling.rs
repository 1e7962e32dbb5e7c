//! The `scaling` list of a settings file: which zones are scaled, by which provider, within which
//! bounds.

use std::{collections::BTreeMap, ops::RangeInclusive, path::Path};

use axum::http::Uri;
use homing_wire::{
    UpstreamProtocol,
    document::{
        self,
        read::{MapReader, Reader},
    },
};

use super::{secret_env, secret_file};

mod kubernetes;
use crate::{
    foresight::Resource,
    provider::{
        ENDPOINTS_MAX, Probe, ProcessSettings, WebhookSettings, process::PORT, webhook::Secret,
    },
    scaling::{GROUPS_MAX, ProviderSettings, ScaleSettings},
};

/// Words of one command.
const WORDS_MAX: usize = 256;
/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// The largest price, in millionths.
const PRICE_MICROS_MAX: u64 = 1_000_000_000_000_000;
/// The largest load of one endpoint, in thousandths.
const LOAD_MILLI_MAX: u64 = 1_000_000_000_000;
/// The loads that an endpoint's capacity can be stated in.
const LOADS: [(&str, Resource); 2] =
    [("requests", Resource::Requests), ("sessions", Resource::Sessions)];
const PROTOCOLS: [(&str, UpstreamProtocol); 3] =
    [("h1", UpstreamProtocol::H1), ("h2c", UpstreamProtocol::H2c), ("tls", UpstreamProtocol::Tls)];

/// All of them; those with a fault are told and left out.
pub(super) fn list(reader: &Reader<'_>, folder: &Path) -> Option<Vec<ScaleSettings>> {
    let mut seen = BTreeMap::new();
    let mut ports: Vec<RangeInclusive<u16>> = Vec::new();
    reader.list(GROUPS_MAX, |item| {
        let one = item.map(|map| scaled(map, folder))?;
        if let Some(first) = seen.insert((one.zone.clone(), one.service.clone()), item.place()) {
            item.fault("scales a zone and service twice", format!("keep one; see {first}"));
            return None;
        }
        if let ProviderSettings::Process(process) = &one.provider {
            let own = &process.ports;
            if ports.iter().any(|other| own.start() <= other.end() && other.start() <= own.end()) {
                item.fault("shares ports with another", "give each ports of its own");
                return None;
            }
            ports.push(own.clone());
        }
        Some(one)
    })
}

fn scaled(map: &mut MapReader<'_>, folder: &Path) -> Option<ScaleSettings> {
    let zone = map.required("zone", "write `zone: paris`", document::name);
    let service = map.optional("service", document::name);
    let load = map.or("load", Resource::Requests, |r| r.word(&LOADS));
    if load == Resource::Sessions && service.is_some() {
        let problem = "counts the sessions of a service, which nobody tells apart";
        map.itself().fault(problem, "leave `service` out, or write `load: requests`");
    }
    let capacity = map.required("capacity", "write what one bears: `capacity: 200`", |r| {
        let milli = r.decimal(3, LOAD_MILLI_MAX)?;
        if milli == 0 {
            r.fault("may not be zero", "write what one endpoint bears");
        }
        (milli > 0).then_some(milli as f64 / 1e3)
    });
    let head_room = map.or("head_room", 0, |r| r.percent(0..=90)) as f64 / 100.0;
    let count = |r: &Reader<'_>| r.whole(0..=ENDPOINTS_MAX.into()).map(|n| n as u32);
    let min = map.or("min", 0, count);
    let max = map.required("max", "write the most there may be: `max: 8`", count);
    if max.is_some_and(|max| min > max) {
        map.itself().fault("has a `min` above its `max`", "swap them");
    }
    let price = price(map, "price");
    let shortage = self::price(map, "shortage");
    let cooldown_ms = map.or("cooldown", 300_000, |r| r.millis(0..=24 * HOUR_MS));
    let lead_ms = map.or("lead_time", 30_000, |r| r.millis(0..=HOUR_MS));
    let give_up_ms = map.or("give_up", 120_000, |r| r.millis(1_000..=HOUR_MS));
    let drain_ms = map.or("drain", 10_000, |r| r.millis(0..=HOUR_MS));
    let ready = map.or("ready", Probe::Connect, probe);
    let process = map
        .optional("process", |r| r.map(|map| process(map, max.unwrap_or(0), (&ready, give_up_ms))));
    let webhook = map.optional("webhook", |r| r.map(|map| webhook(map, folder, &ready)));
    let kubernetes =
        map.optional("kubernetes", |r| r.map(|map| kubernetes::settings(map, folder, &ready)));
    let kinds = ["process", "kubernetes", "webhook"];
    let given = kinds.iter().filter(|kind| map.find(kind).is_some()).count();
    if given != 1 {
        map.itself().fault("must name one provider", "give `process`, `kubernetes` or `webhook`");
    }
    let process = process.map(ProviderSettings::Process);
    let kubernetes = kubernetes.map(ProviderSettings::Kubernetes);
    let provider = process.or(kubernetes).or(webhook.map(ProviderSettings::Webhook));
    Some(ScaleSettings {
        zone: zone?,
        service,
        load,
        capacity: capacity?,
        head_room,
        min,
        max: max?,
        price,
        shortage,
        cooldown_ms,
        lead_ms,
        give_up_ms,
        drain_ms,
        provider: provider?,
    })
}

fn price(map: &mut MapReader<'_>, key: &'static str) -> f64 {
    map.or(key, 0, |r| r.decimal(6, PRICE_MICROS_MAX)) as f64 / 1e6
}

/// `connect`, or an HTTP path.
fn probe(reader: &Reader<'_>) -> Option<Probe> {
    match reader.text()? {
        "connect" => Some(Probe::Connect),
        _ => document::path(reader).map(Probe::Get),
    }
}

fn process(
    map: &mut MapReader<'_>,
    max: u32,
    (ready, give_up_ms): (&Probe, u64),
) -> Option<ProcessSettings> {
    let command = map.required("command", "write `command: [/srv/app, --port, \"{port}\"]`", |r| {
        let words = r.list(WORDS_MAX, |r| r.text().map(str::to_owned))?;
        if !words.iter().skip(1).any(|word| word.contains(PORT)) {
            let remedy = "put \"{port}\" where the program takes its port";
            r.fault("names no port to listen on", remedy);
            return None;
        }
        Some(words)
    });
    let ports = map.required("ports", "write `ports: { from: 9200, to: 9299 }`", |r| {
        let port = |r: &Reader<'_>| r.whole(1_024..=65_535).map(|n| n as u16);
        let ports = r.map(|map| {
            let from = map.required("from", "write the first", port);
            let to = map.required("to", "write the last", port);
            Some(from?..=to?)
        })?;
        if ports.len() < max as usize {
            r.fault(format!("has {} ports for {max} processes", ports.len()), "widen it");
            return None;
        }
        Some(ports)
    });
    let environment =
        map.or("environment", Vec::new(), |r| r.list(WORDS_MAX, |r| r.text().map(str::to_owned)));
    let protocol = map.or("protocol", UpstreamProtocol::H1, |r| r.word(&PROTOCOLS));
    // Control waits a few seconds for its tasks when it ends; no grace may be longer.
    let grace_ms = map.or("grace", 3_000, |r| r.millis(0..=4_000));
    Some(ProcessSettings {
        command: command?,
        ports: ports?,
        environment,
        protocol,
        ready: ready.clone(),
        give_up_ms,
        grace_ms,
    })
}

/// A webhook with where it is, how it is signed and how long it is waited for.
pub(super) fn webhook(
    map: &mut MapReader<'_>,
    folder: &Path,
    ready: &Probe,
) -> Option<WebhookSettings> {
    let plain = map.or("allow_plaintext", false, Reader::boolean);
    let url = map.required("url", "write `url: https://scaler.example/homing`", |r| url(r, plain));
    let from_file = map.optional("secret_file", |r| secret_file(r, folder));
    let from_env = map.optional("secret_env", secret_env);
    let given = [map.find("secret_file"), map.find("secret_env")].into_iter().flatten().count();
    if given != 1 {
        map.itself().fault(
            "must name one source of its secret",
            "give either `secret_file` or `secret_env`; the secret itself never stands here",
        );
    }
    let timeout_ms = map.or("timeout", 5_000, |r| r.millis(10..=60_000));
    let retries = map.or("retries", 3, |r| r.whole(0..=10)) as u32;
    let secret = Secret::new(from_file.or(from_env)?);
    Some(WebhookSettings { url: url?, secret, timeout_ms, retries, ready: ready.clone() })
}

fn url(reader: &Reader<'_>, plain: bool) -> Option<Uri> {
    let url = reader.text()?.parse::<Uri>().ok().filter(|url| url.host().is_some());
    let Some(url) = url else {
        reader.fault("is not a URL", "write https://scaler.example/homing");
        return None;
    };
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        reader.fault("holds a name or a password", "leave it out: requests are signed");
        return None;
    }
    let is_local = url.host().is_some_and(|host| {
        let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || ip.is_ok_and(super::is_local)
    });
    match url.scheme_str() {
        Some("https") => Some(url),
        Some("http") if plain || is_local => Some(url),
        Some("http") => {
            let remedy = "write https; or, on a network of your own, add `allow_plaintext: true`";
            reader.fault("is in the clear, and not on this machine", remedy);
            None
        }
        _ => {
            reader.fault("is neither http nor https", "write https://scaler.example/homing");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(scaling: &str) -> Result<Vec<ScaleSettings>, Vec<String>> {
        let text = format!("data_dir: d\nscaling:\n{scaling}");
        let read = parse(&text, Path::new(env!("CARGO_MANIFEST_DIR")));
        read.map(|settings| settings.scaling)
            .map_err(|faults| faults.list().iter().map(|fault| fault.path.clone()).collect())
    }

    const SOUND: &str = "  - zone: paris\n    service: notebook\n    capacity: 0.5\n    \
         head_room: 20%\n    min: 1\n    max: 2\n    price: 0.05\n    shortage: 1\n    \
         ready: /healthz\n    process:\n      command: [app, \"--port={port}\"]\n      \
         ports: { from: 9200, to: 9201 }\n";

    #[test]
    fn what_is_stated_is_taken() {
        let one = read(SOUND).unwrap().remove(0);
        assert_eq!((one.zone.as_str(), one.service.as_deref()), ("paris", Some("notebook")));
        assert_eq!((one.capacity, one.head_room, one.min, one.max), (0.5, 0.2, 1, 2));
        assert_eq!((one.price, one.shortage, one.cooldown_ms), (0.05, 1.0, 300_000));
        let ProviderSettings::Process(process) = one.provider else { panic!("a process") };
        assert_eq!(process.ready, Probe::Get("/healthz".to_owned()));
        assert_eq!(process.ports, 9_200..=9_201);
    }

    #[test]
    fn what_cannot_be_is_told_at_its_place() {
        for (odd, place) in [
            (SOUND.replace("capacity: 0.5", "capacity: 0"), "scaling[0].capacity"),
            (SOUND.replace("{port}", "9200"), "scaling[0].process.command"),
            (SOUND.replace("max: 2", "max: 3"), "scaling[0].process.ports"),
            (SOUND.replace("min: 1", "min: 3"), "scaling[0]"),
            (SOUND.replace("    min", "    load: sessions\n    min"), "scaling[0]"),
            (format!("{SOUND}{SOUND}"), "scaling[1]"),
            (format!("{SOUND}{}", SOUND.replace("paris", "oregon")), "scaling[1]"),
            (SOUND.replace("process", "webhook"), "scaling[0].webhook"),
        ] {
            let places = read(&odd).expect_err(&odd);
            assert!(places.iter().any(|found| found.starts_with(place)), "{odd}: {places:?}");
        }
        let cluster = |more: &str| {
            let of = "name: app, service: app";
            format!(
                "  - zone: paris\n    capacity: 1\n    max: 1\n    kubernetes: {{ {of}{more} }}\n"
            )
        };
        for sound in ["", ", port: http", ", port: 8080, lease: a.b", ", kind: statefulset"] {
            assert!(read(&cluster(sound)).is_ok(), "{sound}: {:?}", read(&cluster(sound)));
        }
        for (odd, place) in [
            (", port: 0", "port"),
            (", port: Http", "port"),
            (", api: \"https://a.example/x\"", "api"),
            (", api: \"http://a.example\"", "api"),
            (", client_cert: Cargo.toml", ""),
            (", lease: -a", "lease"),
            (", kind: pod", "kind"),
        ] {
            let places = read(&cluster(odd)).expect_err(odd);
            let due = format!("scaling[0].kubernetes.{place}");
            assert_eq!(places, [due.trim_end_matches('.')], "{odd}");
        }
        let hook = |url: &str| {
            format!(
                "  - zone: paris\n    capacity: 1\n    max: 1\n    webhook: {{ url: \"{url}\", \
                 secret_file: Cargo.toml }}\n"
            )
        };
        for sound in ["https://a.example/x", "http://127.0.0.1:1/x", "http://[::1]:1/"] {
            assert!(read(&hook(sound)).is_ok(), "{sound}: {:?}", read(&hook(sound)));
        }
        for odd in
            ["http://a.example/x", "ftp://a.example", "https://a:b@a.example", "nowhere", "/x"]
        {
            let places = read(&hook(odd)).expect_err(odd);
            assert_eq!(places, ["scaling[0].webhook.url"], "{odd}");
        }
    }
}
