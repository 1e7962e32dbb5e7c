//! Certificates of the TLS listeners: one resolver over a swapped set, so that a reload takes
//! effect on the next handshake. pingora's file paths are read once, hence not used.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

#[cfg(test)]
mod tests;

/// Most certificate files one listener may name.
pub const CERTIFICATES_MAX: usize = 1_000;

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertFault {
    /// A file cannot be read or holds no PEM of its kind.
    #[error("{}: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The key is not the certificate's, or of no kind that can sign.
    #[error("{}: {detail}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with the pair.
        detail: String,
    },
    /// A TLS listener without certificates.
    #[error("a TLS listener needs 1 to {CERTIFICATES_MAX} certificates, {0} given")]
    Count(usize),
    /// The TLS library refused the settings.
    #[error("TLS settings: {0}")]
    Settings(String),
}

/// The certificates in force on a listener.
pub struct CertStore {
    current: ArcSwap<Certs>,
}

struct Certs {
    /// For clients that name no host, or one that no certificate covers.
    default: Arc<CertifiedKey>,
    /// By DNS name in lower case, wildcards with their `*`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl fmt::Debug for CertStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.current.load().by_name.len();
        f.debug_struct("CertStore").field("names", &names).finish_non_exhaustive()
    }
}

impl CertStore {
    /// Reads the certificates; the first is the default, and of two that cover a name the earlier
    /// wins.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(files: &[CertFiles]) -> Result<Self, CertFault> {
        Ok(Self { current: ArcSwap::from_pointee(Certs::load(files)?) })
    }

    /// Reads the files anew. Handshakes under way keep what they have.
    ///
    /// # Errors
    /// The first file that cannot be used; the certificates in force then stay.
    pub fn reload(&self, files: &[CertFiles]) -> Result<(), CertFault> {
        self.current.store(Arc::new(Certs::load(files)?));
        Ok(())
    }
}

impl Certs {
    fn load(files: &[CertFiles]) -> Result<Self, CertFault> {
        if files.len() > CERTIFICATES_MAX {
            return Err(CertFault::Count(files.len()));
        }
        let mut default = None;
        let mut by_name = HashMap::new();
        for pair in files {
            let certified = Arc::new(certified(pair)?);
            for name in names(&certified, &pair.cert)? {
                by_name.entry(name).or_insert_with(|| Arc::clone(&certified));
            }
            default.get_or_insert(certified);
        }
        let default = default.ok_or(CertFault::Count(0))?;
        Ok(Self { default, by_name })
    }

    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            self.by_name.get(&name).or_else(|| {
                let (_, parent) = name.split_once('.')?;
                self.by_name.get(&format!("*.{parent}"))
            })
        });
        Arc::clone(found.unwrap_or(&self.default))
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().find(hello.server_name()))
    }
}

/// Makes aws-lc-rs the process's TLS provider. Must run before pingora starts: it would install
/// another one, without post-quantum key exchange.
pub fn install_provider() {
    // A second call in the same process finds the provider in place, which is what it wants.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// The settings of a TLS listener: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, stateless resumption,
/// no early data (a replayed request could be executed twice).
///
/// # Errors
/// What the TLS library refuses.
pub fn server_config(certs: Arc<CertStore>) -> Result<Arc<ServerConfig>, CertFault> {
    let refused = |fault: rustls::Error| CertFault::Settings(fault.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_cert_resolver(certs);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(refused)?;
    Ok(Arc::new(config))
}

fn certified(files: &CertFiles) -> Result<CertifiedKey, CertFault> {
    let unreadable =
        |path: &Path, detail: String| CertFault::Unreadable { path: path.to_owned(), detail };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|fault| unreadable(&files.cert, fault.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(&files.cert, "no certificate in it".to_owned()));
    }
    // The fault's text names the form, never the content.
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|fault| unreadable(&files.key, fault.to_string()))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|fault| {
        CertFault::Unusable { path: files.cert.clone(), detail: fault.to_string() }
    })
}

fn names(certified: &CertifiedKey, path: &Path) -> Result<Vec<String>, CertFault> {
    let unusable = |detail: String| CertFault::Unusable { path: path.to_owned(), detail };
    let leaf = certified.end_entity_cert().map_err(|fault| unusable(fault.to_string()))?;
    let leaf =
        webpki::EndEntityCert::try_from(leaf).map_err(|fault| unusable(fault.to_string()))?;
    Ok(leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
}
