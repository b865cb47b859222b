//! The operator's settings: what a cluster decides once for all its services.

use serde::{Deserialize, Serialize};

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
        }
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
