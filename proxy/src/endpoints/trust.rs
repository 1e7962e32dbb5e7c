//! Whom endpoints that speak TLS are believed by: the authorities of the settings file, or else the
//! system's. One answer for requests, upgrades, checks and state hooks, in the forms that pingora
//! and rustls want.

use std::sync::{Arc, OnceLock};

use pingora_core::{
    protocols::tls::CaType,
    utils::tls::{WrappedX509, parse_x509},
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// The authorities that endpoints are believed by.
#[derive(Default)]
pub struct EndpointTrust {
    /// Those of the settings file; the system's if empty.
    own: Vec<CertificateDer<'static>>,
    pingora: Option<Arc<CaType>>,
    /// Put together at the first use: reading the system's takes tens of milliseconds, and most
    /// processes have no endpoint that speaks TLS.
    config: OnceLock<Arc<ClientConfig>>,
}

impl EndpointTrust {
    /// Trust in the certificates of a PEM file that the settings have read and checked; what is no
    /// certificate is left out.
    #[must_use]
    pub fn in_pem(pem: &[u8]) -> Self {
        let own: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        let wrapped = own.iter().map(|ca| WrappedX509::new(ca.to_vec(), parse_x509));
        let pingora = Arc::from(wrapped.collect::<Vec<_>>());
        Self { own, pingora: Some(pingora), config: OnceLock::new() }
    }

    /// For pingora's peers; `None` means the system's.
    #[must_use]
    pub fn for_pingora(&self) -> Option<Arc<CaType>> {
        self.pingora.clone()
    }

    /// For connections of our own, without ALPN.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let made = || {
            let mut roots = RootCertStore::empty();
            let (taken, refused) = match self.pingora {
                Some(_) => roots.add_parsable_certificates(self.own.iter().cloned()),
                None => {
                    let found = rustls_native_certs::load_native_certs();
                    for fault in &found.errors {
                        tracing::warn!(%fault, "an authority of the system cannot be read");
                    }
                    roots.add_parsable_certificates(found.certs)
                }
            };
            tracing::debug!(taken, refused, "authorities that endpoints are believed by");
            let config = ClientConfig::builder().with_root_certificates(roots);
            Arc::new(config.with_no_client_auth())
        };
        Arc::clone(self.config.get_or_init(made))
    }
}

impl std::fmt::Debug for EndpointTrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointTrust").field("own", &self.own.len()).finish_non_exhaustive()
    }
}
