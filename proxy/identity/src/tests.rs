use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};

use super::*;

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn ca() -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { pem, issuer: Issuer::new(params, key) }
}

/// Files of a node that this CA has signed, if it is to be signed by it.
fn files(
    dir: &Path,
    ca: &Ca,
    signer: &Ca,
    edit: impl FnOnce(&mut CertificateParams),
) -> IdentityFiles {
    let key = KeyPair::generate().unwrap();
    let names = vec!["gate-1".to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    edit(&mut params);
    let cert = params.signed_by(&key, &signer.issuer).unwrap();
    let path = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    IdentityFiles {
        ca: path("ca.pem", ca.pem.clone()),
        cert: path("node.pem", cert.pem()),
        key: path("node.key", key.serialize_pem()),
    }
}

#[test]
fn a_node_is_who_its_certificate_says() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), ca());
    let files = files(dir.path(), &ca, &ca, |_| {});
    let identity = Identity::load(&files, "gate-1").unwrap();
    assert_eq!(peer_names(identity.chain()), ["gate-1"]);
    assert_eq!(identity.server_config(&[b"h2"]).alpn_protocols, [b"h2".to_vec()]);
    assert!(!format!("{identity:?}").contains("key"), "no key in a log");
}

#[test]
fn a_name_counts_wherever_it_stands_among_the_others() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), ca());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let files = files(dir.path(), &ca, &ca, |params| {
        params.subject_alt_names = ["alias", "localhost", "gate-1"].map(dns).to_vec();
    });
    let identity = Identity::load(&files, "gate-1").unwrap();
    assert_eq!(peer_names(identity.chain()), ["alias", "gate-1"]);
    let local = Identity::load(&files, "localhost").unwrap_err();
    assert!(matches!(local, IdentityFault::OtherName { .. }), "it tells nobody apart");
}

#[test]
fn a_certificate_must_be_good_for_both_ends_of_a_connection() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), ca());
    for (usage, lacks) in [
        (ExtendedKeyUsagePurpose::ClientAuth, "from a server"),
        (ExtendedKeyUsagePurpose::ServerAuth, "from a client"),
    ] {
        let half = files(dir.path(), &ca, &ca, |params| params.extended_key_usages = vec![usage]);
        let fault = Identity::load(&half, "gate-1").unwrap_err().to_string();
        assert!(fault.contains(lacks), "{fault}");
    }
}

#[test]
fn what_others_would_refuse_is_refused_at_the_start() {
    let (dir, ours, other) = (tempfile::tempdir().unwrap(), ca(), ca());
    let load = |files: &IdentityFiles, name: &str| Identity::load(files, name).unwrap_err();
    let sound = files(dir.path(), &ours, &ours, |_| {});
    assert!(matches!(load(&sound, "gate-2"), IdentityFault::OtherName { .. }));
    let foreign = files(dir.path(), &ours, &other, |_| {});
    assert!(matches!(load(&foreign, "gate-1"), IdentityFault::Unusable { .. }));
    let late = files(dir.path(), &ours, &ours, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    assert!(load(&late, "gate-1").to_string().contains("others would refuse it"));
    let mixed = IdentityFiles { key: dir.path().join("missing.key"), ..late };
    assert!(matches!(load(&mixed, "gate-1"), IdentityFault::Unreadable { .. }));
    let another = KeyPair::generate().unwrap().serialize_pem();
    fs::write(&sound.key, another).unwrap();
    let unfit = IdentityFiles { ..files(dir.path(), &ours, &ours, |_| {}) };
    fs::write(&unfit.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(load(&unfit, "gate-1"), IdentityFault::Unusable { .. }));
}
