use std::path::Path;

use super::*;

const WHOLE: &str = "
listen:
  - { address: 127.0.0.1:8080 }
admin: { address: 127.0.0.1:9900 }
trusted_peers: [10.0.0.0/8]
expose_zone: true
limits: { threads: 3, sessions_per_zone: 5000 }
drain: { delay: 2s, patience: 10s }
zones:
  - { name: paris, endpoints: [127.0.0.1:1] }
services:
  - name: shop
    match: { path: / }
    session: { from: [{ cookie: homing }], idle: 1h }
    state: stateless
";

fn faults(text: &str) -> Vec<(String, String)> {
    let faults = Settings::parse(text, Path::new("/nowhere")).expect_err("must be refused");
    faults.list().iter().map(|fault| (fault.path.clone(), fault.problem.clone())).collect()
}

#[test]
fn a_whole_file_becomes_settings() {
    let settings = Settings::parse(WHOLE, Path::new("/etc/homing")).unwrap();
    assert_eq!(settings.state_dir, Path::new("/etc/homing/state"));
    assert_eq!((settings.limits.threads, settings.limits.sessions_per_zone), (3, 5_000));
    assert_eq!((settings.drain.delay_ms, settings.drain.patience_ms), (2_000, 10_000));
    assert!(settings.expose_zone && settings.control.is_none());
    assert_eq!(settings.facts.unwrap().zones[0].name, "paris");
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let text = "
listen: [{ address: localhost }]
admin: { address: 0.0.0.0:9900 }
control: { url: ftp://x }
secrets: { cookies: [{ file: missing.secret }] }
trusted_peers: [10.0.0.0/33]
limits: { threads: 0 }
expose_zones: true
";
    let told = faults(text);
    let paths: Vec<_> = told.iter().map(|(path, _)| path.as_str()).collect();
    for path in [
        "listen[0].address",
        "admin",
        "control.url",
        "secrets.cookies[0].file",
        "trusted_peers[0]",
        "limits.threads",
        "expose_zones",
    ] {
        assert!(paths.contains(&path), "{path} is not among {told:?}");
    }
}

#[test]
fn no_more_of_the_link_is_given_to_prewarming_than_users_would_not_feel() {
    let read = |block: &str| Settings::parse(&format!("{WHOLE}{block}"), Path::new("/nowhere"));
    let usual = read("").unwrap().prewarm;
    assert_eq!((usual.bytes_per_second(), usual.at_once), (12_500_000, 16));
    let stated = read("prewarm: { link: 100Mbps, share: 4%, at_once: 3 }\n").unwrap().prewarm;
    assert_eq!((stated.bytes_per_second(), stated.at_once), (500_000, 3));
    assert_eq!(read("prewarm: { share: 0% }\n").unwrap().prewarm.bytes_per_second(), 0);
    for (wrong, place) in [
        ("prewarm: { share: 11% }\n", "prewarm.share"),
        ("prewarm: { link: 1kbps }\n", "prewarm.link"),
        ("prewarm: { link: fast }\n", "prewarm.link"),
        ("prewarm: { at_once: 0 }\n", "prewarm.at_once"),
        ("prewarm: { objects: 9 }\n", "prewarm.objects"),
    ] {
        let told = faults(&format!("{WHOLE}{wrong}"));
        assert_eq!((told.len(), told[0].0.as_str()), (1, place), "{told:?}");
    }
    let told = faults(&format!("{WHOLE}prewarm: {{ share: 50% }}\n"));
    assert_eq!(told[0].1, "50% of the link would be felt by users");
}

#[test]
fn zones_come_from_one_place_and_must_come_from_somewhere() {
    let nowhere = faults("listen: [{ address: 127.0.0.1:8080 }]\n");
    assert!(nowhere[0].1.contains("neither `zones` nor `control`"), "{nowhere:?}");
    let twice = faults(&format!("{WHOLE}control: {{ url: \"http://127.0.0.1:7000\" }}\n"));
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert_eq!(twice[0].0, "control");
}

#[test]
fn control_is_spoken_to_in_the_clear_on_this_host_alone() {
    // What is not known keeps the others from being sound altogether.
    let listen = "listen: [{ address: 127.0.0.1:80 }]\nunknown: 1\n";
    let url = |url: &str| faults(&format!("{listen}control: {{ url: \"{url}\" }}\n"));
    for here in ["http://127.0.0.1:7600", "http://[::1]:7600", "http://localhost:7600"] {
        assert!(url(here).iter().all(|(path, _)| path != "control.url"), "{here}");
    }
    for open in ["http://10.1.0.2:7600", "http://control:7600", "http://localhost.example:1"] {
        let told = url(open);
        let fault = told.iter().find(|(path, _)| path == "control.url").expect(open);
        assert!(fault.1.contains("neither encrypted"), "{told:?}");
    }
}

#[test]
fn the_shipped_example_with_redis_is_sound() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/redis.yaml");
    let settings = Settings::load(&path).unwrap_or_else(|fault| panic!("{fault}"));
    let state = &settings.facts.unwrap().services[0].state;
    assert!(matches!(state, homing_wire::StateSpec::Redis(redis) if redis.servers.len() == 2));
}

#[test]
fn passwords_of_stores_come_from_files_and_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("word"), "hush\n").unwrap();
    std::fs::write(dir.path().join("ca.pem"), "no certificate").unwrap();
    let passwords = "stores: { redis_passwords: { 10.1.0.5: { file: word } } }\n";
    let settings = Settings::parse(&format!("{WHOLE}{passwords}"), dir.path()).unwrap();
    let url = homing_wire::RedisUrl::parse("redis://10.1.0.5").unwrap();
    assert_eq!(settings.stores.redis_password(&url), Some("hush"));
    let other = homing_wire::RedisUrl::parse("redis://10.1.0.6").unwrap();
    assert_eq!(settings.stores.redis_password(&other), None);
    assert!(!format!("{settings:?}").contains("hush"));
    let wrong = "stores: { redis_passwords: { h: { file: none } }, redis_ca: ca.pem }\n\
                 endpoints_ca: ca.pem\n";
    let faults = Settings::parse(&format!("{WHOLE}{wrong}"), dir.path()).unwrap_err();
    let told: Vec<_> = faults.list().iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(told, ["stores.redis_passwords.h.file", "stores.redis_ca", "endpoints_ca"]);
}

#[test]
fn generated_secrets_are_kept_and_stay_the_same() {
    crate::listen::tls::install_provider();
    let dir = tempfile::tempdir().unwrap();
    let material = SecretMaterial::default();
    material.resolve(dir.path()).unwrap();
    let first = std::fs::read(dir.path().join("session-key.secret")).unwrap();
    material.resolve(dir.path()).unwrap();
    assert_eq!(std::fs::read(dir.path().join("session-key.secret")).unwrap(), first);
    std::fs::write(dir.path().join("cookie.secret"), b"short").unwrap();
    assert!(material.resolve(dir.path()).is_err());
}
