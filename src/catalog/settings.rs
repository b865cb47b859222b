//! The operator's settings: what a cluster decides once for all its services.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::presets::ReleaseSet;

/// The operator's settings. Every field has a default, so that an empty file is a valid one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Which built-in presets apply.
    pub presets: ReleaseSet,
    /// Where configs are looked up after a service's own namespace; KServe's name for its own.
    pub system_namespace: String,
    /// `.GlobalConfig.IngressGatewayName` of a template.
    pub ingress_gateway_name: String,
    /// `.GlobalConfig.IngressGatewayNamespace` of a template.
    pub ingress_gateway_namespace: String,
    /// `.GlobalConfig.EnableTLS` of a template: engines and sidecars serve TLS.
    pub enable_tls: bool,
    /// `.GlobalConfig.ModelBasedRoutingHeaderName` of a template.
    pub model_based_routing_header_name: String,
    /// Image of the init container that downloads `hf://` and `s3://` models; by default the
    /// release of the built-in presets.
    pub storage_initializer_image: Option<String>,
    /// The secondary network of prefill and decode pods.
    pub fabric: FabricSettings,
    /// What becomes of a rule's findings, where the rule's own severity is not wanted.
    pub rules: RuleSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            presets: ReleaseSet::default(),
            system_namespace: "kserve".to_owned(),
            ingress_gateway_name: "kserve-ingress-gateway".to_owned(),
            ingress_gateway_namespace: "kserve".to_owned(),
            enable_tls: false,
            model_based_routing_header_name: "X-Gateway-Model-Name".to_owned(),
            storage_initializer_image: None,
            fabric: FabricSettings::default(),
            rules: RuleSettings::default(),
        }
    }
}

/// What becomes of the findings of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing: they are not reported.
    Off,
    /// The object is let through, with a warning.
    Warn,
    /// The object is refused.
    Reject,
}

impl Severity {
    /// As it is written in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Reject => "reject",
        }
    }
}

// By hand for the sake of YAML 1.1, in which a bare `off` is the boolean false.
impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Severity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("reject, warn or off")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Severity, E> {
                [Severity::Off, Severity::Warn, Severity::Reject]
                    .into_iter()
                    .find(|severity| severity.as_str() == word)
                    .ok_or_else(|| E::unknown_variant(word, &["reject", "warn", "off"]))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Severity, E> {
                if value {
                    return Err(E::unknown_variant("true", &["reject", "warn", "off"]));
                }
                Ok(Severity::Off)
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// Severities by the code of a rule, e.g. `V14: reject`. A namespace's wins over the cluster's, and
/// that over the rule's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSettings {
    /// For all namespaces.
    pub cluster: BTreeMap<String, Severity>,
    /// For some, by their names.
    pub namespaces: BTreeMap<String, BTreeMap<String, Severity>>,
}

impl RuleSettings {
    /// The severity that was set for that rule, if one was.
    #[must_use]
    pub fn severity(&self, namespace: &str, code: &str) -> Option<Severity> {
        let own = self.namespaces.get(namespace).and_then(|rules| rules.get(code));
        own.or_else(|| self.cluster.get(code)).copied()
    }

    /// Every code that is named, sorted, each once.
    #[must_use]
    pub fn codes(&self) -> Vec<&str> {
        let maps = std::iter::once(&self.cluster).chain(self.namespaces.values());
        let mut codes: Vec<&str> = maps.flat_map(BTreeMap::keys).map(String::as_str).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// Names and counts that the fabric profiles put into a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FabricSettings {
    /// Profile of a pod for which nobody named one.
    pub profile: String,
    /// NetworkAttachmentDefinition of `roce-multus` and `sriov`.
    pub network: String,
    /// Resource of `roce-multus`, one a pod.
    pub roce_resource: String,
    /// Resource of `sriov`, one an accelerator.
    pub vf_resource: String,
    /// Resource of `infiniband`, one a pod.
    pub infiniband_resource: String,
    /// Resource of `efa`.
    pub efa_resource: String,
    /// Elastic Fabric Adapters an accelerator.
    pub efa_per_accelerator: u32,
    /// Networks of `gke-rdma`, in the order of the interfaces `eth2`, `eth3`, ….
    pub gke_networks: Vec<String>,
}

impl Default for FabricSettings {
    fn default() -> Self {
        Self {
            profile: "none".to_owned(),
            network: "roce-p2".to_owned(),
            roce_resource: "rdma/roce_gdr".to_owned(),
            vf_resource: "nvidia.com/sriov-rdma-vf".to_owned(),
            infiniband_resource: "rdma/ib".to_owned(),
            efa_resource: "vpc.amazonaws.com/efa".to_owned(),
            efa_per_accelerator: 1,
            gke_networks: (0..8).map(|rail| format!("rdma-{rail}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Settings, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_namespaces_severity_wins_over_the_clusters() {
        let settings = read(
            "rules:\n  cluster: {V14: reject, V05: off}\n  namespaces:\n    lab: {V14: off}\n",
        )
        .unwrap();
        let severity = |namespace, code| settings.rules.severity(namespace, code);
        assert_eq!(severity("lab", "V14"), Some(Severity::Off));
        assert_eq!(severity("prod", "V14"), Some(Severity::Reject));
        assert_eq!(severity("prod", "V05"), Some(Severity::Off));
        assert_eq!(severity("prod", "V99"), None);
        assert_eq!(settings.rules.codes(), ["V05", "V14"]);
        let json = serde_json::json!({"rules": {"cluster": {"V05": false, "V14": "warn"}}});
        let settings: Settings = serde_json::from_value(json).unwrap();
        assert_eq!(settings.rules.severity("", "V05"), Some(Severity::Off));
    }

    #[test]
    fn a_word_that_is_no_severity_is_told() {
        let error = read("rules: {cluster: {V14: deny}}").unwrap_err();
        assert!(error.contains("deny") && error.contains("reject"), "{error}");
        assert!(read("rules: {cluster: {V14: true}}").is_err());
    }
}
