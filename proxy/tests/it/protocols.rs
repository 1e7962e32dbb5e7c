//! HTTP/1.1 and HTTP/2, in the clear and over TLS, on both sides.

use std::{path::Path, sync::Arc};

use homing_proxy::listen::tls::CertFiles;
use homing_wire::UpstreamProtocol;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

use crate::{
    app::App,
    client::{ask, ask_h1, ask_h2, get, raw, send},
    proxy::{Setup, endpoint},
};

#[tokio::test]
async fn h2c_by_prior_knowledge_and_h1_share_a_port() {
    let app = App::start("paris").await;
    let proxy = Setup::new(&[("paris", &[app.address])]).start();
    let socket = TcpStream::connect(proxy.plain()).await.unwrap();
    let told = ask_h2(socket, "http", send("POST", "/a?b=c", &[], "body")).await.unwrap();
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["version"], "HTTP/1.1");
    assert_eq!(told.json()["target"], "/a?b=c");
    assert_eq!(told.json()["body_bytes"], 4);
    assert_eq!(told.received("host").unwrap(), "shop.example");
    assert_eq!(told.received("via").unwrap(), "2 homing");
    assert!(told.cookie().is_some());
    assert_eq!(ask(proxy.plain(), get("/", &[])).await.status, 200);
    // Shorter than the preface that pingora would wait for.
    let answer = raw(proxy.plain(), b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn endpoints_may_speak_h2c() {
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    setup.facts.zones[0].endpoints = vec![endpoint(app.address, UpstreamProtocol::H2c)];
    let proxy = setup.start();
    let told = ask(proxy.plain(), send("POST", "/", &[], vec![b'x'; 200_000])).await;
    assert_eq!(told.json()["version"], "HTTP/2.0");
    assert_eq!(told.json()["body_bytes"], 200_000);
    let socket = TcpStream::connect(proxy.plain()).await.unwrap();
    let told = ask_h2(socket, "http", get("/", &[])).await.unwrap();
    assert_eq!(told.json()["version"], "HTTP/2.0");
}

#[tokio::test]
async fn tls_speaks_what_alpn_agrees_on() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "shop.example");
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    setup.certificates = vec![files.clone()];
    let proxy = setup.start();
    let socket = connect(proxy.tls(), &files, "shop.example", &[b"h2"]).await;
    let told = ask_h2(socket, "https", get("/", &[])).await.unwrap();
    assert_eq!(told.received("x-forwarded-proto").unwrap(), "https");
    let socket = connect(proxy.tls(), &files, "shop.example", &[b"http/1.1"]).await;
    let told = ask_h1(socket, get("/", &[])).await.unwrap();
    assert_eq!(told.received("x-forwarded-proto").unwrap(), "https");
    assert_eq!(told.received("via").unwrap(), "1.1 homing");
}

fn certificate(folder: &Path, name: &str) -> CertFiles {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let files = CertFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

async fn connect(
    proxy: std::net::SocketAddr,
    files: &CertFiles,
    name: &'static str,
    alpn: &[&[u8]],
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.cert).unwrap()).unwrap();
    let mut config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let socket = TcpStream::connect(proxy).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}
