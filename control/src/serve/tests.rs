//! Strangers on the link: how many are listened to, and that they hold no stop up.

use homing_identity::IdentityFiles;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_stream::StreamExt as _;

use super::*;

fn identity(dir: &std::path::Path) -> Identity {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let node = CertificateParams::new(vec!["control".to_owned()]).unwrap();
    let cert = node.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = IdentityFiles {
        ca: file("ca.pem", ca_pem),
        cert: file("control.pem", cert.pem()),
        key: file("control.key", key.serialize_pem()),
    };
    Identity::load(&files, "control").unwrap()
}

#[tokio::test]
async fn silent_strangers_hold_up_neither_nodes_nor_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (identity, tasks) = (identity(dir.path()), Tasks::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = secured(listener, &identity, &tasks);
    let mut silent = Vec::new();
    for _ in 1..HANDSHAKES_MAX {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let connector = tokio_rustls::TlsConnector::from(Arc::new(identity.client_config(&[b"h2"])));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "control".try_into().unwrap();
    let _node = connector.connect(name, stream).await.unwrap();
    let secured = incoming.next().await.unwrap().unwrap();
    assert_eq!(secured.connect_info().0, ["control"]);
    let begun = std::time::Instant::now();
    tasks.stop(HANDSHAKE).await;
    assert!(begun.elapsed() < HANDSHAKE / 2, "the handshakes were told of the stop");
    assert!(incoming.next().await.is_none(), "nothing is accepted any more");
}
