//! A CA of our own and the leaves it signs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use rustls::pki_types::pem;

use super::{Anchor, TlsError, encode};

/// How far a client's clock may be behind ours: what is made is valid from so long before.
pub const SKEW: Duration = Duration::from_hours(1);

/// What is told of a key that cannot be read.
const NO_KEY: pem::Error = pem::Error::NoItemsFound;

/// The length of a day.
const DAY: Duration = Duration::from_hours(24);

/// A CA: its certificate and its key. Neither `Debug` nor an error shows the key.
#[derive(Debug)]
pub struct Authority {
    anchor: Anchor,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf and its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate as PEM.
    pub chain: String,
    /// Its key as PEM (PKCS #8).
    pub key: String,
}

// The key stays out of any log.
impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl Authority {
    /// An ECDSA P-256 CA, valid for so many days from now.
    ///
    /// # Errors
    /// [`TlsError::Issue`] when no key can be made.
    pub fn generate(days: u16) -> Result<Self, TlsError> {
        Self::valid_for(DAY * u32::from(days))
    }

    /// As [`Authority::generate`], valid for this long, in whole seconds.
    ///
    /// # Errors
    /// As [`Authority::generate`].
    pub fn valid_for(life: Duration) -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // It signs leaves, not other CAs.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        name(&mut params, "llmisvc-webhook CA");
        valid(&mut params, SystemTime::now() + life);
        let certificate = params.self_signed(&key)?;
        let anchor = Anchor::from_der(certificate.der().clone())?;
        Ok(Self { anchor, issuer: Issuer::new(params, key) })
    }

    /// A CA that was made before, from the PEM of its certificate (the first one counts) and of
    /// its key (PKCS #8).
    ///
    /// # Errors
    /// [`TlsError`] when either cannot be read, the certificate is that of no CA, or the key is
    /// another's.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let anchor = super::parse(certificate)
            .map_err(|reason| TlsError::Pem { what: "the CA's certificate", reason })?
            .into_iter()
            .next()
            .ok_or(TlsError::NoCertificate)?;
        let anchor = Anchor::from_der(anchor)?;
        // The reason may quote what was read: it is left out.
        let unreadable = || TlsError::Pem { what: "the CA's key", reason: NO_KEY };
        let key = std::str::from_utf8(key).map_err(|_| unreadable())?;
        let key = KeyPair::from_pem(key).map_err(|_| unreadable())?;
        if key.public_key_raw() != anchor.public_key()? {
            return Err(TlsError::OtherKey);
        }
        let issuer = Issuer::from_ca_cert_der(anchor.der(), key)?;
        Ok(Self { anchor, issuer })
    }

    /// The CA's certificate.
    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The CA's key as PEM (PKCS #8), for the Secret that holds it and for nothing else.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The CA's certificate as PEM: what a client trusts, a webhook's `caBundle` once in base64.
    #[must_use]
    pub fn pem(&self) -> String {
        encode([&self.anchor])
    }

    /// A server's leaf for these DNS names and IP addresses, valid for so many days from now.
    ///
    /// # Errors
    /// [`TlsError::Issue`] for a name that cannot stand in a certificate.
    pub fn issue(&self, names: &[String], days: u16) -> Result<Issued, TlsError> {
        self.issue_until(names, SystemTime::now() + DAY * u32::from(days))
    }

    /// As [`Authority::issue`], valid until then, in whole seconds.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_until(&self, names: &[String], end: SystemTime) -> Result<Issued, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        name(&mut params, "llmisvc-webhook");
        valid(&mut params, end);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain: certificate.pem(), key: key.serialize_pem() })
    }
}

/// The names under which a Service and a loopback client reach the server, without repetition.
#[must_use]
pub fn service_names(service: &str, namespace: &str, more: &[String]) -> Vec<String> {
    let mut names = vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service.to_owned(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    for name in more {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn name(params: &mut CertificateParams, common: &str) {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    params.distinguished_name = name;
}

fn valid(params: &mut CertificateParams, end: SystemTime) {
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since(SystemTime::now()).saturating_sub(SKEW);
    params.not_after = epoch + since(end);
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::ParsedExtension;

    use super::*;

    #[test]
    fn names_are_those_of_the_service_and_of_loopback() {
        let more = ["localhost".to_owned(), "example.com".to_owned()];
        let names = service_names("web", "ns", &more);
        assert_eq!(names[0], "web.ns.svc");
        assert_eq!(names.iter().filter(|n| *n == "localhost").count(), 1);
        assert_eq!(names.last().unwrap(), "example.com");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let authority = Authority::generate(1).unwrap();
        assert!(authority.issue(&["käse".to_owned()], 1).is_err());
    }

    #[test]
    fn a_ca_kept_as_pem_issues_as_before() {
        let made = Authority::generate(2).unwrap();
        let kept = Authority::from_pem(made.pem().as_bytes(), made.key_pem().as_bytes()).unwrap();
        assert_eq!(made.anchor(), kept.anchor());
        assert_eq!(made.pem(), kept.pem());
        let issued = kept.issue(&["a".to_owned()], 1).unwrap();
        let leaf = super::super::parse(issued.chain.as_bytes()).unwrap().remove(0);
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(made.anchor().der()).unwrap();
        assert_eq!(leaf.issuer(), ca.subject());
        let id = |c: &x509_parser::certificate::X509Certificate<'_>| {
            c.iter_extensions().find_map(|e| match e.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(a) => {
                    a.key_identifier.as_ref().map(|id| id.0.to_vec())
                }
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
        };
        assert!(id(&leaf).is_some());
        assert_eq!(id(&leaf), id(&ca));
    }

    #[test]
    fn a_ca_that_cannot_sign_is_told_why() {
        let (one, other) = (Authority::generate(1).unwrap(), Authority::generate(1).unwrap());
        let leaf = one.issue(&["a".to_owned()], 1).unwrap();
        let read = |c: &str, k: &str| Authority::from_pem(c.as_bytes(), k.as_bytes()).unwrap_err();
        assert!(matches!(read(&one.pem(), &other.key_pem()), TlsError::OtherKey));
        assert!(matches!(read(&leaf.chain, &leaf.key), TlsError::NoAuthority));
        assert!(matches!(read("", &one.key_pem()), TlsError::NoCertificate));
        let broken = one.key_pem().replace("KEY-----\n", "KEY-----\n!secret!");
        let error = read(&one.pem(), &broken);
        assert!(matches!(error, TlsError::Pem { what: "the CA's key", .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn the_key_is_not_printed() {
        let authority = Authority::generate(1).unwrap();
        let key = authority.key_pem();
        let printed = format!("{authority:?}");
        assert!(
            key.lines().filter(|l| l.len() > 8 && !l.contains("--")).all(|l| !printed.contains(l))
        );
        let issued = Authority::generate(1).unwrap().issue(&["a".to_owned()], 1).unwrap();
        assert_eq!(format!("{issued:?}"), "Issued { .. }");
    }
}
