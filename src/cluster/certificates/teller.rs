//! Tells of a fault once, not with every look at it.

use std::collections::BTreeMap;

/// Faults that were told and not mended since.
#[derive(Debug, Default)]
pub(super) struct Teller(BTreeMap<String, String>);

impl Teller {
    /// Logs a fault of something, unless it was told last.
    pub(super) fn fault(&mut self, of: &str, what: &str) {
        if self.0.get(of).is_none_or(|told| told != what) {
            tracing::warn!("{of}: {what}");
            self.0.insert(of.to_owned(), what.to_owned());
        }
    }

    /// Something is as it should be.
    pub(super) fn good(&mut self, of: &str) {
        if self.0.remove(of).is_some() {
            tracing::info!("{of}: mended");
        }
    }
}

/// What an error means, and for a refusal what right is missing.
pub(super) fn explain(error: &kube::Error, verb: &str, resource: &str) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "{message}; give the ServiceAccount the verb {verb} on {resource} (manifests/ has the \
             roles)",
            message = status.message
        ),
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// An error with its sources, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_fault_is_remembered_until_it_is_mended_or_another() {
        let mut teller = Teller::default();
        teller.fault("a", "x");
        teller.fault("a", "y");
        assert_eq!(teller.0["a"], "y");
        teller.good("b");
        teller.good("a");
        assert!(teller.0.is_empty());
    }

    #[test]
    fn a_refusal_says_what_right_is_missing() {
        let error = kube::Error::Api(Status::failure("no", "Forbidden").with_code(403).boxed());
        let told = explain(&error, "update", "secrets/x in y");
        assert!(told.contains("no;") && told.contains("update on secrets/x in y"), "{told}");
    }
}
