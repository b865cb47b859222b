//! A registration: one of the two webhook configurations, as JSON.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::plan::{Seen, Trust};
use crate::tls::Anchors;

/// Who owns each `caBundle`.
pub(super) const MANAGER: &str = "llmisvc-webhook";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mutating,
    Validating,
}

/// Where a registration is.
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) api: Api<DynamicObject>,
}

/// A registration as it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Registration {
    pub(super) version: String,
    pub(super) mark: (String, i64),
    pub(super) written: Option<SystemTime>,
    pub(super) webhooks: Vec<Webhook>,
}

/// One of its webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Webhook {
    /// Its name.
    pub(super) name: String,
    /// The name under which an API server expects the certificate.
    pub(super) server: String,
    /// The decoded `caBundle`; empty when there is none.
    pub(super) bundle: Vec<u8>,
}

impl Kind {
    /// As in `kind:`.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }

    /// As in a Role's `resources:`.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Mutating => "mutatingwebhookconfigurations",
            Self::Validating => "validatingwebhookconfigurations",
        }
    }
}

impl Place {
    pub(super) fn new(client: Client, kind: Kind, name: String) -> Self {
        let resource = match kind {
            Kind::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Kind::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        };
        Self { kind, name, api: Api::all_with(client, &resource) }
    }

    /// Writes a bundle into every webhook, if the registration is still the one that was read.
    ///
    /// A strategic merge patch and not server-side apply: an applier owns the whole item of a list,
    /// so that `kubectl apply --server-side` could no longer take a webhook out of the manifest.
    /// What this writes is owned by [`MANAGER`] all the same, and nothing else is.
    ///
    /// # Errors
    /// The API server's; 409 when the registration has changed.
    pub(super) async fn publish(&self, read: &Registration, bundle: &str) -> kube::Result<()> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        self.api.patch(&self.name, &params, &Patch::Strategic(patch(read, bundle))).await?;
        Ok(())
    }
}

/// The version makes that no webhook is added by it.
fn patch(read: &Registration, bundle: &str) -> Value {
    let bundle = STANDARD.encode(bundle);
    let webhook =
        |webhook: &Webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}});
    json!({
        "metadata": {"resourceVersion": read.version},
        "webhooks": read.webhooks.iter().map(webhook).collect::<Vec<_>>(),
    })
}

impl Registration {
    /// Reads one.
    pub(super) fn read(object: &DynamicObject) -> Self {
        let metadata = &object.metadata;
        let webhooks = object.data.get("webhooks").and_then(Value::as_array);
        Self {
            version: metadata.resource_version.clone().unwrap_or_default(),
            mark: (
                metadata.uid.clone().unwrap_or_default(),
                metadata.generation.unwrap_or_default(),
            ),
            written: written(metadata),
            webhooks: webhooks.into_iter().flatten().map(Webhook::read).collect(),
        }
    }

    /// For the plan.
    pub(super) fn seen(&self) -> Seen {
        let trust = |webhook: &Webhook| Trust {
            text: webhook.bundle.clone(),
            anchors: Anchors::read(&webhook.bundle).trusted,
        };
        Seen::Present {
            mark: self.mark.clone(),
            written: self.written,
            webhooks: self.webhooks.iter().map(trust).collect(),
        }
    }
}

impl Webhook {
    fn read(webhook: &Value) -> Self {
        let text = |pointer: &str| webhook.pointer(pointer).and_then(Value::as_str);
        let server = match text("/clientConfig/url") {
            Some(url) => host(url).unwrap_or_default(),
            None => format!(
                "{}.{}.svc",
                text("/clientConfig/service/name").unwrap_or_default(),
                text("/clientConfig/service/namespace").unwrap_or_default()
            ),
        };
        let bundle = text("/clientConfig/caBundle").and_then(|text| STANDARD.decode(text).ok());
        Self {
            name: text("/name").unwrap_or_default().to_owned(),
            server,
            bundle: bundle.unwrap_or_default(),
        }
    }
}

/// When somebody last added, changed or removed a field of theirs: the API server keeps that time
/// for each of them (`ManagedFieldsEntry.time`).
fn written(metadata: &ObjectMeta) -> Option<SystemTime> {
    let entries = metadata.managed_fields.iter().flatten();
    let times = entries.map(|entry| entry.time.as_ref().map(|Time(at)| SystemTime::from(*at)));
    // One without a time may be the last.
    times.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// The host of a URL, an IPv6 address without its brackets.
fn host(url: &str) -> Option<String> {
    let url: hyper::Uri = url.parse().ok()?;
    Some(url.host()?.trim_matches(['[', ']']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn object(webhooks: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "m", "uid": "u", "resourceVersion": "7", "generation": 2},
            "webhooks": webhooks,
        }))
        .unwrap()
    }

    #[test]
    fn the_name_an_api_server_expects_is_that_of_the_service_or_of_the_url() {
        let read = |config: Value| Webhook::read(&json!({"name": "w", "clientConfig": config}));
        let service = read(json!({"service": {"name": "a", "namespace": "b", "port": 9443}}));
        assert_eq!(service.server, "a.b.svc");
        assert_eq!(read(json!({"url": "https://127.0.0.1:8443/mutate"})).server, "127.0.0.1");
        assert_eq!(read(json!({"url": "https://[::1]:8443/mutate"})).server, "::1");
        assert_eq!(read(json!({"url": "https://example.com/x?y"})).server, "example.com");
        assert_eq!(read(json!({})).server, "..svc");
    }

    #[test]
    fn the_patch_names_the_webhooks_that_were_read_and_nothing_but_the_bundle() {
        let read = Registration::read(&object(&json!([
            {"name": "a", "clientConfig": {"service": {"name": "s", "namespace": "n"}}},
            {"name": "b", "failurePolicy": "Fail", "clientConfig": {"caBundle": "eA=="}},
        ])));
        assert_eq!(read.webhooks[1].bundle, b"x");
        assert_eq!(
            patch(&read, "pem"),
            json!({
                "metadata": {"resourceVersion": "7"},
                "webhooks": [
                    {"name": "a", "clientConfig": {"caBundle": "cGVt"}},
                    {"name": "b", "clientConfig": {"caBundle": "cGVt"}},
                ],
            })
        );
    }

    #[test]
    fn it_was_written_when_the_last_of_its_managers_wrote() {
        let written = |managers: Value| {
            let mut object = object(&json!([]));
            object.metadata.managed_fields = serde_json::from_value(managers).unwrap();
            Registration::read(&object).written
        };
        let entry = |time: &str| json!({"manager": "m", "time": time});
        let (early, late) = ("1970-01-01T00:01:00Z", "1970-01-01T00:02:00Z");
        let two = Some(SystemTime::UNIX_EPOCH + Duration::from_mins(2));
        assert_eq!(written(json!([entry(late), entry(early)])), two);
        assert_eq!(written(json!([entry(late), {"manager": "m"}])), None);
        assert_eq!(written(json!([])), None);
        assert_eq!(written(Value::Null), None);
    }

    #[test]
    fn what_is_missing_is_empty() {
        let read = Registration::read(&object(&Value::Null));
        assert!(read.webhooks.is_empty());
        assert!(matches!(read.seen(), Seen::Present { webhooks, .. } if webhooks.is_empty()));
    }
}
