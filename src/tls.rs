//! What the server shows to its clients: a certificate and its key, replaceable while it runs.
//!
//! The pair comes from a folder, as a mounted Secret of type `kubernetes.io/tls` has it, and is read
//! again when it changes; or it is made at start, under a CA that lives as long as the process.

mod authority;
mod bundle;
mod files;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

pub use authority::{Authority, Issued, SKEW, service_names};
pub use bundle::{Anchor, Anchors, encode, parse};
pub use files::{CERTIFICATE, KEY, Watched};
pub use verify::{Unverified, verify};

/// Why there is no certificate to serve with. A message has its reason in it, and nothing of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the pair that cannot be read.
    #[error("failed to read {path}: {reason}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// PEM that cannot be read.
    #[error("{what} is not readable PEM: {reason}")]
    Pem {
        /// Which of the two.
        what: &'static str,
        /// Why.
        reason: pem::Error,
    },
    /// PEM without a certificate in it.
    #[error("the certificate file holds no certificate; write the leaf first, then its issuers")]
    NoCertificate,
    /// A pair that rustls does not take, a key of another certificate for one.
    #[error("the certificate and the key do not serve together: {0}")]
    Pair(rustls::Error),
    /// A configuration that rustls does not take.
    #[error("failed to set TLS up: {0}")]
    Setup(rustls::Error),
    /// A certificate that could not be made, for a name that is none for instance.
    #[error("failed to make a certificate: {0}")]
    Issue(rcgen::Error),
    /// A certificate that is PEM and not X.509.
    #[error("{what} is no X.509 certificate")]
    Certificate {
        /// Which one.
        what: &'static str,
    },
    /// A certificate that may not sign others.
    #[error(
        "the certificate is that of no CA; it lacks the basic constraint CA or the key usage for signing"
    )]
    NoAuthority,
    /// A CA's key that is another's.
    #[error("the key is not that of the CA's certificate")]
    OtherKey,
}

impl From<rcgen::Error> for TlsError {
    fn from(error: rcgen::Error) -> Self {
        Self::Issue(error)
    }
}

/// The pair that is served now. Cheap to clone: every clone shows the same pair, and a
/// replacement by one is seen by all, from the next handshake on.
#[derive(Debug, Clone)]
pub struct Certificates {
    current: Arc<Current>,
}

impl Certificates {
    /// Serves nothing yet: a handshake fails until there is a pair, see [`Certificates::replace`].
    #[must_use]
    pub fn empty() -> Self {
        Self { current: Arc::new(Current(ArcSwapOption::empty())) }
    }

    /// Serves a PEM chain, leaf first, and its PEM key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    /// [`TlsError`] when either cannot be read, or the key is not the leaf's.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let pair = pair(chain, key)?;
        Ok(Self { current: Arc::new(Current(ArcSwapOption::from_pointee(pair))) })
    }

    /// Serves another pair from the next handshake on; on an error the last one stays.
    ///
    /// # Errors
    /// As [`Certificates::from_pem`].
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.current.0.store(Some(Arc::new(pair(chain, key)?)));
        Ok(())
    }

    /// TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, no client certificates.
    ///
    /// # Errors
    /// [`TlsError::Setup`] when the provider lacks what the versions need.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The one provider used, named so that no other crate's choice of a default changes it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn pair(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| TlsError::Pem { what: "the certificate", reason })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|reason| TlsError::Pem { what: "the key", reason })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Pair)
}

struct Current(ArcSwapOption<CertifiedKey>);

impl ResolvesServerCert for Current {
    // Whatever name was asked for: the client judges whether the certificate is for it.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued() -> Issued {
        let authority = Authority::generate(30).unwrap();
        authority.issue(&["localhost".to_owned()], 30).unwrap()
    }

    #[test]
    fn a_pair_must_belong_together() {
        let (one, other) = (issued(), issued());
        assert!(Certificates::from_pem(one.chain.as_bytes(), one.key.as_bytes()).is_ok());
        let error = Certificates::from_pem(one.chain.as_bytes(), other.key.as_bytes()).unwrap_err();
        assert!(matches!(error, TlsError::Pair(_)), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_told_without_its_content() {
        let good = issued();
        let (chain, key) = (good.chain.as_bytes(), good.key.as_bytes());
        assert!(matches!(Certificates::from_pem(b"", key), Err(TlsError::NoCertificate)));
        assert!(matches!(Certificates::from_pem(key, key), Err(TlsError::NoCertificate)));
        let error = Certificates::from_pem(chain, b"secret").unwrap_err();
        assert!(matches!(error, TlsError::Pem { what: "the key", .. }));
        let broken = good.key.replace("KEY-----\n", "KEY-----\n!secret!");
        let error = Certificates::from_pem(chain, broken.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn a_broken_replacement_leaves_the_last_pair() {
        let (one, other) = (issued(), issued());
        let certificates =
            Certificates::from_pem(one.chain.as_bytes(), one.key.as_bytes()).unwrap();
        let served = |c: &Certificates| c.current.0.load_full().unwrap().cert.clone();
        let before = served(&certificates);
        assert!(certificates.replace(other.chain.as_bytes(), one.key.as_bytes()).is_err());
        assert_eq!(served(&certificates), before);
        let clone = certificates.clone();
        clone.replace(other.chain.as_bytes(), other.key.as_bytes()).unwrap();
        assert_ne!(served(&certificates), before);
    }
}
