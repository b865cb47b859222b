//! A CA of our own and the leaves it signs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    date_time_ymd,
};

use super::TlsError;

/// How far a client's clock may be behind ours.
const SKEW: Duration = Duration::from_hours(1);

/// A CA whose key never leaves this value.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
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
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // It signs leaves, not other CAs.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        name(&mut params, "llmisvc-webhook CA");
        valid(&mut params, days);
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The CA's certificate as PEM: what a client trusts, a webhook's `caBundle` once in base64.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A server's leaf for these DNS names and IP addresses, valid for so many days from now.
    ///
    /// # Errors
    /// [`TlsError::Issue`] for a name that cannot stand in a certificate.
    pub fn issue(&self, names: &[String], days: u16) -> Result<Issued, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        name(&mut params, "llmisvc-webhook");
        valid(&mut params, days);
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

fn valid(params: &mut CertificateParams, days: u16) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SKEW);
    params.not_after = epoch + now + Duration::from_secs(u64::from(days) * 24 * 60 * 60);
}

#[cfg(test)]
mod tests {
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
    fn the_key_is_not_printed() {
        let issued = Authority::generate(1).unwrap().issue(&["a".to_owned()], 1).unwrap();
        assert_eq!(format!("{issued:?}"), "Issued { .. }");
    }
}
