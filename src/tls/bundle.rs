//! CA certificates as a client trusts them, and the bundle they are handed over in.

use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use x509_parser::certificate::X509Certificate;

use super::{SKEW, TlsError};

/// Length of a line of PEM, as RFC 7468 has it.
const LINE: usize = 64;

/// The certificate of a CA. Two are equal when their bytes are.
#[derive(Clone)]
pub struct Anchor {
    der: CertificateDer<'static>,
    from: SystemTime,
    to: SystemTime,
}

/// What a PEM bundle holds.
#[derive(Debug, Default)]
pub struct Anchors {
    /// The CAs in it, in its order, each once, expired ones too.
    pub trusted: Vec<Anchor>,
    /// How many blocks are no certificate of a CA, or cannot be read.
    pub others: usize,
}

impl Anchor {
    /// Reads a CA's certificate.
    ///
    /// # Errors
    /// [`TlsError`] when it is no certificate, or may not sign others.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, TlsError> {
        let (from, to) = {
            let certificate = x509(&der, "the CA's certificate")?;
            let signs =
                certificate.key_usage().ok().flatten().is_none_or(|u| u.value.key_cert_sign());
            if !certificate.is_ca() || !signs {
                return Err(TlsError::NoAuthority);
            }
            validity(&certificate)
        };
        Ok(Self { der, from, to })
    }

    /// The certificate's bytes.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// When it was made, if it was made here: validity begins [`SKEW`] before.
    #[must_use]
    pub fn made(&self) -> SystemTime {
        let made = self.from + SKEW;
        if made < self.to { made } else { self.from }
    }

    /// The last moment of its validity.
    #[must_use]
    pub fn end(&self) -> SystemTime {
        self.to
    }

    /// Whether a client whose clock says `now` takes it.
    #[must_use]
    pub fn valid(&self, now: SystemTime) -> bool {
        self.from <= now && now <= self.to
    }

    /// The bits of its public key.
    pub(super) fn public_key(&self) -> Result<Vec<u8>, TlsError> {
        let certificate = x509(&self.der, "the CA's certificate")?;
        Ok(certificate.public_key().subject_public_key.data.to_vec())
    }

    /// One that is no certificate, made then and valid until then.
    #[cfg(test)]
    pub(crate) fn of_name(name: &str, made: SystemTime, to: SystemTime) -> Self {
        Self { der: name.as_bytes().to_vec().into(), from: made - SKEW, to }
    }
}

impl Anchors {
    /// Reads what can be read of a bundle, as Go's `x509.CertPool.AppendCertsFromPEM` does: what
    /// is no certificate is passed over.
    #[must_use]
    pub fn read(pem: &[u8]) -> Self {
        let mut read = Self::default();
        for der in CertificateDer::pem_slice_iter(pem) {
            match der.map_err(|_| ()).and_then(|der| Anchor::from_der(der).map_err(|_| ())) {
                Ok(anchor) if read.trusted.contains(&anchor) => {}
                Ok(anchor) => read.trusted.push(anchor),
                Err(()) => read.others += 1,
            }
        }
        read
    }
}

/// The certificates in a text, in its order.
///
/// # Errors
/// When a block cannot be read.
pub fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// A bundle as text: the same anchors in the same order are the same bytes.
#[must_use]
pub fn encode<'a>(anchors: impl IntoIterator<Item = &'a Anchor>) -> String {
    let mut text = String::new();
    for anchor in anchors {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(anchor.der());
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Reads a certificate; `what` names it in the error.
pub(super) fn x509<'a>(
    der: &'a CertificateDer<'_>,
    what: &'static str,
) -> Result<X509Certificate<'a>, TlsError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(TlsError::Certificate { what }),
    }
}

/// From when to when a certificate is valid.
pub(super) fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let time =
        |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = certificate.validity();
    (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()))
}

impl PartialEq for Anchor {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Anchor {}

impl Hash for Anchor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.der.as_ref().hash(state);
    }
}

impl std::fmt::Debug for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anchor")
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Authority;

    #[test]
    fn a_bundle_is_read_as_it_was_written() {
        let made: Vec<_> =
            (1..4).map(|days| Authority::generate(days).unwrap().anchor().clone()).collect();
        let read = Anchors::read(encode(&made).as_bytes());
        assert_eq!(read.trusted, made);
        assert_eq!(read.others, 0);
        assert_eq!(encode(&read.trusted), encode(&made));
    }

    #[test]
    fn what_is_no_ca_is_passed_over() {
        let authority = Authority::generate(1).unwrap();
        let leaf = authority.issue(&["a".to_owned()], 1).unwrap();
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text =
            format!("# a comment\n{}{junk}{}{}", leaf.chain, authority.pem(), authority.pem());
        let read = Anchors::read(text.as_bytes());
        assert_eq!(read.trusted, [authority.anchor().clone()]);
        assert_eq!(read.others, 2);
        assert!(Anchors::read(b"\xff\x00").trusted.is_empty());
    }

    #[test]
    fn ages_are_those_of_the_certificate() {
        let before = SystemTime::now();
        let anchor = Authority::valid_for(Duration::from_secs(30)).unwrap().anchor().clone();
        let second = Duration::from_secs(1);
        assert!(anchor.made() + second >= before && anchor.made() <= SystemTime::now());
        assert!(anchor.end() + second >= before + Duration::from_secs(30));
        assert!(anchor.valid(before) && !anchor.valid(anchor.end() + second));
        assert!(!anchor.valid(before - 2 * SKEW));
    }
}
