//! Endpoints that speak TLS under an authority of their owner's: requests, upgrades, checks and
//! state hooks reach them, and an endpoint that nobody vouches for gets nothing.

use std::{net::SocketAddr, path::Path, sync::Arc};

use homing_proxy::{
    endpoints::EndpointTrust,
    state::{
        Hook, Site, StateFault, StateStore as _,
        hooks::{HookClient, HookStore},
    },
};
use homing_wire::{Epoch, HealthCheck, Hooks, SessionKey, UpstreamProtocol, ZoneId};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::{
    app::App,
    client::{ask, get, send},
    proxy::{Setup, endpoint},
    redis_faults::certificates,
    tunnels::{echo, open, say},
};

/// TLS in front of a server that speaks in the clear, with what `certificates` has put in a folder.
pub(crate) async fn behind_tls(plain: SocketAddr, folder: &Path, alpn: &[&[u8]]) -> SocketAddr {
    homing_proxy::listen::tls::install_provider();
    let chain = vec![CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let mut config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(socket).await else { return };
                let mut far = TcpStream::connect(plain).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

fn setup(address: SocketAddr, ca: &[u8]) -> Setup {
    let mut setup = Setup::new(&[("paris", &[address])]);
    setup.facts.zones[0].endpoints = vec![endpoint(address, UpstreamProtocol::Tls)];
    setup.endpoints_ca = Some(ca.to_vec());
    setup
}

#[tokio::test]
async fn requests_and_checks_reach_an_endpoint_that_the_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path());
    let app = App::start("paris").await;
    let address = behind_tls(app.address, folder.path(), &[b"h2", b"http/1.1"]).await;
    let mut setup = setup(address, &ca);
    setup.service().health = Some(HealthCheck {
        path: "/health".to_owned(),
        interval_ms: 50,
        timeout_ms: 1_000,
        fall: 2,
        rise: 1,
    });
    let proxy = setup.start();
    let told = ask(proxy.plain(), send("POST", "/", &[], vec![b'x'; 100_000])).await;
    assert_eq!(told.json()["body_bytes"], 100_000);
    assert_eq!(told.json()["version"], "HTTP/2.0");
    // Were the checks refused, the endpoint would be down by now.
    let hits = app.hits();
    tokio::time::timeout(crate::client::PATIENCE, async {
        while app.hits() < hits + 5 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the endpoint is not checked");
    assert_eq!(ask(proxy.plain(), get("/", &[])).await.status, 200);
}

#[tokio::test]
async fn a_websocket_reaches_an_endpoint_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path());
    let address = behind_tls(echo().await, folder.path(), &[]).await;
    let proxy = setup(address, &ca).start();
    let mut socket = open(proxy.plain()).await;
    say(&mut socket, b"over TLS").await;
}

#[tokio::test]
async fn an_endpoint_that_nobody_vouches_for_gets_no_request() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(folder.path());
    let app = App::start("paris").await;
    let address = behind_tls(app.address, folder.path(), &[]).await;
    let proxy = setup(address, &certificates(other.path())).start();
    assert_eq!(ask(proxy.plain(), get("/", &[])).await.status, 502);
    assert_eq!(app.hits(), 0);
}

#[tokio::test]
async fn state_hooks_are_called_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path());
    let app = App::start("paris").await;
    let address = behind_tls(app.address, folder.path(), &[b"h2", b"http/1.1"]).await;
    let site = Site { zone: ZoneId(0), endpoint: Some(endpoint(address, UpstreamProtocol::Tls)) };
    let fence = async |trust: EndpointTrust| {
        let client = HookClient::new(Arc::new(trust));
        HookStore::new(client, Hooks::default()).fence(&site, SessionKey(1), Epoch(2)).await
    };
    fence(EndpointTrust::in_pem(&ca)).await.unwrap();
    assert_eq!(app.hits(), 1);
    let fault = fence(EndpointTrust::default()).await.unwrap_err();
    assert!(matches!(fault, StateFault::Unreachable { hook: Hook::Fence, .. }), "{fault}");
    assert_eq!(app.hits(), 1);
}
