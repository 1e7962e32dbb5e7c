//! Who a process is towards the other processes of an installation: one certificate of the
//! installation's own CA, carrying the process's name. It opens every door between them (edges to
//! gates, gates to gates, all to control), so there is one place where it is read and checked; a
//! crate of its own, because data plane and control both need it and neither knows the other.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs,
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

#[cfg(test)]
mod tests;

/// Names that every development certificate carries beside its node's.
const LOCAL: &str = "localhost";

/// The files of an identity, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The installation's CA.
    pub ca: PathBuf,
    /// This process's chain, leaf first.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why an identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    /// A file cannot be read or holds no PEM of its kind.
    #[error("{}: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The parts do not fit together.
    #[error("{}: {detail}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The certificate is another node's.
    #[error("{}: the certificate names {found}, and this process is {name:?}", path.display())]
    OtherName {
        /// The certificate's file.
        path: PathBuf,
        /// The names it carries.
        found: String,
        /// The name of the process.
        name: String,
    },
}

/// A checked identity.
pub struct Identity {
    roots: Arc<RootCertStore>,
    cas: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads the files; the certificate must be of the CA, fit its key and carry `name`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file.
    pub fn load(files: &IdentityFiles, name: &str) -> Result<Self, IdentityFault> {
        let unusable =
            |detail: String| IdentityFault::Unusable { path: files.cert.clone(), detail };
        let cas = certificates(&files.ca)?;
        let chain = certificates(&files.cert)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|fault| {
            // The fault's text names the form, never the content.
            IdentityFault::Unreadable { path: files.key.clone(), detail: fault.to_string() }
        })?;
        let mut roots = RootCertStore::empty();
        for ca in &cas {
            roots.add(ca.clone()).map_err(|fault| IdentityFault::Unusable {
                path: files.ca.clone(),
                detail: fault.to_string(),
            })?;
        }
        let names = peer_names(&chain);
        if !names.iter().any(|one| one == name) {
            return Err(IdentityFault::OtherName {
                path: files.cert.clone(),
                found: format!("{names:?}"),
                name: name.to_owned(),
            });
        }
        let identity = Self { roots: Arc::new(roots), cas, chain, key };
        identity.verify(name).map_err(unusable)?;
        identity.try_client_config(&[]).map_err(|fault| unusable(fault.to_string()))?;
        Ok(identity)
    }

    /// Whether the certificate is of the CA, in its time and good for both ends of a connection,
    /// as a peer would find.
    fn verify(&self, name: &str) -> Result<(), String> {
        let (leaf, rest) = self.chain.split_first().ok_or("no certificate in it")?;
        let now = UnixTime::now();
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::new(aws_lc_rs::default_provider()),
        )
        .build()
        .map_err(|fault| fault.to_string())?;
        verifier
            .verify_client_cert(leaf, rest, now)
            .map_err(|fault| format!("others would refuse it from a client: {fault}"))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::new(aws_lc_rs::default_provider()),
        )
        .build()
        .map_err(|fault| fault.to_string())?;
        let named = ServerName::try_from(name).map_err(|fault| fault.to_string())?;
        verifier
            .verify_server_cert(leaf, rest, &named, &[], now)
            .map(|_| ())
            .map_err(|fault| format!("others would refuse it from a server: {fault}"))
    }

    /// For listeners that take the CA's nodes only.
    ///
    /// # Panics
    /// Never: what could fail was tried when the identity was loaded.
    #[must_use]
    pub fn server_config(&self, alpn: &[&[u8]]) -> ServerConfig {
        let config = self.try_server_config(alpn);
        config.expect("an identity that was loaded makes a configuration")
    }

    /// For connections to the CA's nodes.
    ///
    /// # Panics
    /// Never: what could fail was tried when the identity was loaded.
    #[must_use]
    pub fn client_config(&self, alpn: &[&[u8]]) -> ClientConfig {
        let config = self.try_client_config(alpn);
        config.expect("an identity that was loaded makes a configuration")
    }

    fn try_server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|fault| rustls::Error::General(fault.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    fn try_client_config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_root_certificates(Arc::clone(&self.roots))
                .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// The CA's certificates.
    #[must_use]
    pub fn cas(&self) -> &[CertificateDer<'static>] {
        &self.cas
    }

    /// The process's chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }
}

/// All names by which a verified peer may call itself. A CA puts them in an order of its own, so
/// none of them comes before the others; the one that all nodes may carry tells nobody apart.
#[must_use]
pub fn peer_names(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let leaf = chain.first().and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
    let names = leaf.iter().flat_map(|leaf| leaf.valid_dns_names());
    names.filter(|name| *name != LOCAL).map(str::to_owned).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityFault> {
    let unreadable = |detail: String| IdentityFault::Unreadable { path: path.to_owned(), detail };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|fault| unreadable(fault.to_string()))?;
    if found.is_empty() {
        return Err(unreadable("no certificate in it".to_owned()));
    }
    Ok(found)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
