//! The Secret: a CA, its key, and the bundle that registrations get.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

use super::plan::Held;
use crate::tls::{Anchor, Anchors, Authority, CERTIFICATE, KEY, encode};

/// The bundle's key, named as in a Secret that cert-manager makes.
pub(super) const BUNDLE: &str = "ca.crt";

/// When the CA was made, for people.
const ROTATED: &str = "inject.llmisvc.io/rotated";

/// What a Secret says.
pub(super) struct Store {
    /// For the plan.
    pub(super) held: Held,
    /// With its key: not to be kept.
    pub(super) authority: Option<Authority>,
    /// What is wrong with it, if it is not merely empty.
    pub(super) fault: Option<String>,
}

/// Reads a Secret. What is wrong with it is told, without anything of its content.
pub(super) fn read(secret: &Secret) -> Store {
    let value = |key: &str| {
        let data = secret.data.as_ref().and_then(|data| data.get(key));
        data.map(|ByteString(bytes)| bytes.as_slice()).filter(|bytes| !bytes.is_empty())
    };
    let unusable = |fault: Option<String>| Store { held: Held::Unusable, authority: None, fault };
    let (certificate, key) = match (value(CERTIFICATE), value(KEY)) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return unusable(None),
        (None, Some(_)) => return unusable(Some(format!("{CERTIFICATE} is missing"))),
        (Some(_), None) => return unusable(Some(format!("{KEY} is missing"))),
    };
    let authority = match Authority::from_pem(certificate, key) {
        Ok(authority) => authority,
        Err(error) => return unusable(Some(error.to_string())),
    };
    let current = authority.anchor().clone();
    let text = value(BUNDLE).unwrap_or_default();
    let mut others = Anchors::read(text).trusted;
    others.retain(|anchor| *anchor != current);
    let tidy = text == encode(std::iter::once(&current).chain(&others)).as_bytes();
    let version = secret.metadata.resource_version.clone().unwrap_or_default();
    let held = Held::Usable { current, others, tidy, version };
    Store { held, authority: Some(authority), fault: None }
}

/// Writes another CA into a Secret, with these trusted beside it. What else is in it goes.
pub(super) fn renew(secret: &mut Secret, authority: &Authority, others: &[Anchor]) {
    let bundle = encode(std::iter::once(authority.anchor()).chain(others));
    secret.data = Some(BTreeMap::from([
        (CERTIFICATE.to_owned(), ByteString(authority.pem().into_bytes())),
        (KEY.to_owned(), ByteString(authority.key_pem().into_bytes())),
        (BUNDLE.to_owned(), ByteString(bundle.into_bytes())),
    ]));
    let rotated = Timestamp::try_from(SystemTime::now()).map(|t| t.strftime("%FT%TZ").to_string());
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(ROTATED.to_owned(), rotated.unwrap_or_default());
}

/// Writes what is trusted beside the CA into a Secret.
pub(super) fn keep(secret: &mut Secret, current: &Anchor, others: &[Anchor]) {
    let bundle = encode(std::iter::once(current).chain(others));
    let data = secret.data.get_or_insert_default();
    data.insert(BUNDLE.to_owned(), ByteString(bundle.into_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(store: Store) -> (Anchor, Vec<Anchor>, bool) {
        match store.held {
            Held::Usable { current, others, tidy, .. } => (current, others, tidy),
            held => panic!("{held:?}: {:?}", store.fault),
        }
    }

    fn set(secret: &mut Secret, key: &str, value: &str) {
        secret.data.get_or_insert_default().insert(key.to_owned(), ByteString(value.into()));
    }

    #[test]
    fn what_was_written_is_read() {
        let (one, other) = (Authority::generate(2).unwrap(), Authority::generate(1).unwrap());
        let mut secret = Secret::default();
        renew(&mut secret, &one, &[other.anchor().clone()]);
        let read_back = usable(read(&secret));
        assert_eq!(read_back, (one.anchor().clone(), vec![other.anchor().clone()], true));
        let rotated = &secret.metadata.annotations.as_ref().unwrap()[ROTATED];
        assert!(rotated.parse::<Timestamp>().is_ok(), "{rotated}");

        keep(&mut secret, one.anchor(), &[]);
        assert_eq!(usable(read(&secret)), (one.anchor().clone(), vec![], true));
        set(&mut secret, BUNDLE, "junk");
        assert_eq!(usable(read(&secret)), (one.anchor().clone(), vec![], false));
    }

    #[test]
    fn an_empty_one_is_no_fault_and_a_broken_one_is() {
        let (one, other) = (Authority::generate(1).unwrap(), Authority::generate(1).unwrap());
        let leaf = one.issue(&["a".to_owned()], 1).unwrap();
        let fault = |pairs: &[(&str, &str)]| {
            let mut secret = Secret::default();
            for (key, value) in pairs {
                set(&mut secret, key, value);
            }
            let store = read(&secret);
            assert!(matches!(store.held, Held::Unusable), "{:?}", store.held);
            store.fault.unwrap_or_default()
        };
        assert_eq!(fault(&[]), "");
        assert_eq!(fault(&[(KEY, ""), (BUNDLE, "x")]), "");
        assert_eq!(fault(&[(KEY, &one.key_pem())]), "tls.crt is missing");
        assert_eq!(fault(&[(CERTIFICATE, &one.pem())]), "tls.key is missing");
        let told = fault(&[(CERTIFICATE, &one.pem()), (KEY, &other.key_pem())]);
        assert!(told.contains("key is not that"), "{told}");
        let told = fault(&[(CERTIFICATE, &leaf.chain), (KEY, &leaf.key)]);
        assert!(told.contains("no CA"), "{told}");
        let told = fault(&[(CERTIFICATE, "junk"), (KEY, &one.key_pem())]);
        assert!(told.contains("no certificate"), "{told}");
        let told = fault(&[(CERTIFICATE, &one.pem()), (KEY, "junk-of-a-key")]);
        assert!(told.contains("key") && !told.contains("junk"), "{told}");
    }
}
