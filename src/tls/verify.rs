//! A handshake as an API server makes it: does what is served verify with this bundle?

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme, version,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::bundle::{validity, x509};
use super::{Anchors, TlsError, parse, provider};

/// Time for a handshake, of a client in the same process.
const TIME: Duration = Duration::from_secs(5);

/// Why a handshake did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// A bundle in which no certificate can be trusted now.
    #[error("it holds no certificate of a CA that is valid now")]
    NoAnchor,
    /// A name that can stand in no certificate.
    #[error("{name:?} is no name of a server: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        reason: InvalidDnsNameError,
    },
    /// TLS cannot be set up with the bundle.
    #[error("failed to set TLS up: {0}")]
    Setup(String),
    /// Nobody listens, or the connection was cut.
    #[error("failed to connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// No end within the time.
    #[error("no answer from {0} within 5 seconds")]
    Late(SocketAddr),
    /// A server's certificate that no CA of the bundle signed.
    #[error("none of the CAs in it signed the certificate that is served")]
    Issuer,
    /// The handshake failed: what is served does not verify.
    #[error("{0}")]
    Handshake(std::io::Error),
}

/// Makes a handshake with the server at `address` under a name, trusting the CAs of a PEM bundle
/// and no others, judged as Go's `crypto/x509` does: a CA out of its time is not trusted, and a
/// server's certificate that is itself in the bundle is.
///
/// # Errors
/// [`Unverified`] says why an API server with this bundle would not talk to us.
pub async fn verify(address: SocketAddr, name: &str, bundle: &[u8]) -> Result<(), Unverified> {
    let server = ServerName::try_from(name.to_owned())
        .map_err(|reason| Unverified::Name { name: name.to_owned(), reason })?;
    let connector = TlsConnector::from(Arc::new(client(bundle)?));
    let handshake = async {
        let connected = TcpStream::connect(address).await;
        let stream = connected.map_err(|reason| Unverified::Connect { address, reason })?;
        let mut stream = connector.connect(server, stream).await.map_err(judged)?;
        // It was good: how the connection ends is nothing to us.
        let _ = stream.shutdown().await;
        Ok(())
    };
    tokio::time::timeout(TIME, handshake).await.unwrap_or(Err(Unverified::Late(address)))
}

/// rustls says `BadSignature` of a CA with the right name and another key, as ours have.
fn judged(reason: std::io::Error) -> Unverified {
    let error = reason.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => Unverified::Issuer,
        _ => Unverified::Handshake(reason),
    }
}

fn client(bundle: &[u8]) -> Result<ClientConfig, Unverified> {
    let setup = |error: &dyn std::fmt::Display| Unverified::Setup(error.to_string());
    let now = SystemTime::now();
    let mut roots = RootCertStore::empty();
    for anchor in Anchors::read(bundle).trusted.iter().filter(|anchor| anchor.valid(now)) {
        // One that rustls does not take is one less to trust.
        let _ = roots.add(anchor.der().clone());
    }
    let pinned: Vec<_> = parse(bundle).unwrap_or_default();
    if roots.is_empty() && pinned.is_empty() {
        return Err(Unverified::NoAnchor);
    }
    let webpki = if roots.is_empty() {
        None
    } else {
        let built =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        Some(built.map_err(|error| setup(&error))?)
    };
    let verifier = Verifier { webpki, pinned };
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| setup(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// webpki's judgement, and Go's where they differ.
#[derive(Debug)]
struct Verifier {
    /// None when the bundle has no CA that is valid now.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    /// All of the bundle's certificates.
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return as_pinned(end_entity, name);
        }
        match &self.webpki {
            Some(webpki) => webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now),
            None => Err(OtherError(Arc::new(Unverified::NoAnchor)).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A server's certificate that is in the bundle itself: it has to be in its time and for the name.
fn as_pinned(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> Result<ServerCertVerified, rustls::Error> {
    let bad = |_: TlsError| rustls::Error::from(CertificateError::BadEncoding);
    let (from, to) = validity(&x509(certificate, "the server's certificate").map_err(bad)?);
    let now = SystemTime::now();
    if now < from {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > to {
        return Err(CertificateError::Expired.into());
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::tls::{Authority, Certificates};

    /// Serves handshakes for as long as the test runs.
    async fn serve(certificates: &Certificates) -> SocketAddr {
        let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
            }
        });
        address
    }

    #[tokio::test]
    async fn the_bundle_the_name_and_the_time_decide() {
        let (authority, other) = (Authority::generate(1).unwrap(), Authority::generate(1).unwrap());
        let names = ["web.ns.svc".to_owned()];
        let issued = authority.issue(&names, 1).unwrap();
        let certificates = Certificates::empty();
        let address = serve(&certificates).await;
        let bundle = format!("{}{}", other.pem(), authority.pem());

        // Nothing to show yet.
        let error = verify(address, "web.ns.svc", bundle.as_bytes()).await.unwrap_err();
        assert!(matches!(error, Unverified::Handshake(_)), "{error}");

        certificates.replace(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        verify(address, "web.ns.svc", bundle.as_bytes()).await.unwrap();
        let error = verify(address, "web.other.svc", bundle.as_bytes()).await.unwrap_err();
        assert!(error.to_string().contains("web.other.svc"), "{error}");
        let error = verify(address, "web.ns.svc", other.pem().as_bytes()).await.unwrap_err();
        assert!(matches!(error, Unverified::Issuer), "{error}");
        let error = verify(address, "web.ns.svc", b"junk").await.unwrap_err();
        assert!(matches!(error, Unverified::NoAnchor), "{error}");

        let past = SystemTime::now() - Duration::from_mins(1);
        let expired = authority.issue_until(&names, past).unwrap();
        certificates.replace(expired.chain.as_bytes(), expired.key.as_bytes()).unwrap();
        let error = verify(address, "web.ns.svc", bundle.as_bytes()).await.unwrap_err();
        assert!(error.to_string().contains("expired"), "{error}");
    }

    #[tokio::test]
    async fn an_expired_ca_is_not_trusted() {
        let authority = Authority::valid_for(Duration::ZERO).unwrap();
        let issued = authority.issue(&["a".to_owned()], 1).unwrap();
        let certificates =
            Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        let address = serve(&certificates).await;
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while verify(address, "a", authority.pem().as_bytes()).await.is_ok() {
            assert!(std::time::Instant::now() < deadline, "still trusted after 30 seconds");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_certificate_that_is_in_the_bundle_needs_no_ca() {
        let authority = Authority::generate(1).unwrap();
        let issued = authority.issue(&["a".to_owned()], 1).unwrap();
        let certificates =
            Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        let address = serve(&certificates).await;
        verify(address, "a", issued.chain.as_bytes()).await.unwrap();
        let error = verify(address, "b", issued.chain.as_bytes()).await.unwrap_err();
        assert!(matches!(error, Unverified::Handshake(_)), "{error}");
    }

    #[tokio::test]
    async fn nobody_listening_is_told_with_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let ca = Authority::generate(1).unwrap().pem();
        let error = verify(address, "a", ca.as_bytes()).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
