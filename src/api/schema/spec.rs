//! The fields of both kinds' `spec`, as types that nothing but a schema is made of.
//!
//! The names, types, enums and bounds are those of KServe 0.20's resource definitions. A field's
//! comment is what `kubectl explain` says of it. What KServe checks by patterns and CEL is left to
//! the validating webhook, whose answers name the value and what to write instead.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde_json::Value;

use super::router::Router;
use super::scaling::Scaling;

/// How a model is served: the model, its pools, and how requests reach them.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct Spec {
    /// The model to serve.
    model: Option<Model>,
    /// Configs whose specs lie below this one, from the service's namespace or the system namespace; of two the later wins.
    base_refs: Option<Vec<NameRef>>,
    #[schemars(flatten)]
    workload: Workload,
    /// The prefill pool; with it, the workload beside it is the decode pool.
    prefill: Option<Workload>,
    /// Route, gateway and scheduler in front of the pools.
    router: Option<Router>,
    /// The init container that downloads the model.
    storage_initializer: Option<StorageInitializer>,
    /// Traces of the engine and the scheduler.
    tracing: Option<Tracing>,
}

/// One pool of engines.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Workload {
    /// Engines of this pool; not together with scaling.
    #[schemars(range(min = 0))]
    replicas: Option<i32>,
    /// How one engine spreads over accelerators and pods.
    parallelism: Option<Parallelism>,
    /// Pod spec of the engines, or of the leaders when there is a worker; merged over the preset's by name.
    template: Option<PodSpec>,
    /// Pod spec of the workers; with it, an engine is a group of pods.
    worker: Option<PodSpec>,
    /// Labels for the pods of this pool.
    labels: Option<BTreeMap<String, String>>,
    /// Annotations for the pods of this pool.
    annotations: Option<BTreeMap<String, String>>,
    /// Replicas that follow the load.
    scaling: Option<Scaling>,
    /// Where an engine keeps KV cache that does not fit the accelerator.
    kv_cache_offloading: Option<KvCacheOffloading>,
}

/// The model to serve.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Model {
    /// Where the model is: hf://, s3://, oci:// or pvc://.
    uri: String,
    /// Name in requests; the service's own when absent.
    name: Option<String>,
    /// LoRA adapters served beside the model.
    lora: Option<Lora>,
    /// Decryption of a model in a confidential pod.
    confidential: Option<Confidential>,
    /// Importance among models of one pool, in v1alpha1; no pod depends on it.
    #[schemars(extend("enum" = ["Critical", "Standard", "Sheddable"]))]
    criticality: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Lora {
    /// The adapters, each with name and uri.
    adapters: Option<Value>,
    /// Adapters on the accelerator at once.
    #[schemars(range(min = 1))]
    max_adapters: Option<i32>,
    /// Adapters in the host's memory at once.
    #[schemars(range(min = 1))]
    max_cpu_adapters: Option<i32>,
    /// Highest rank among the adapters.
    #[schemars(range(min = 1))]
    max_rank: Option<i32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Confidential {
    /// Whether the model is encrypted.
    enabled: bool,
    /// The key's name at the key broker.
    resource_id: Option<String>,
}

/// The name of an object of a kind that is known.
#[derive(JsonSchema)]
pub(super) struct NameRef {
    /// Name of the object.
    name: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Parallelism {
    /// Accelerators that share each layer.
    #[schemars(range(min = 1))]
    tensor: Option<i32>,
    /// Data-parallel ranks over all pods of an engine; together with dataLocal.
    #[schemars(range(min = 1))]
    data: Option<i32>,
    /// Data-parallel ranks in one pod; data ÷ dataLocal is the number of pods.
    #[schemars(range(min = 1))]
    data_local: Option<i32>,
    /// Port on which the ranks coordinate; 5555 when absent.
    #[schemars(rename = "dataRPCPort", range(min = 1, max = 65535))]
    data_rpc_port: Option<i32>,
    /// Pipeline stages, a pod each; not together with data.
    #[schemars(range(min = 1))]
    pipeline: Option<i32>,
    /// Whether a mixture's experts are spread over the ranks.
    expert: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct KvCacheOffloading {
    /// Host memory for KV cache, a pod.
    cpu: Quantity,
    /// What is dropped first; lru when absent.
    #[schemars(extend("enum" = ["lru", "arc"]))]
    eviction_policy: Option<String>,
    /// Tiers behind the host's memory.
    secondary: Option<Vec<SecondaryTier>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct SecondaryTier {
    /// A tier in files.
    file_system: Option<FileSystemTier>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct FileSystemTier {
    /// Files that go with the pod.
    empty_dir: Option<EmptyDirTier>,
    /// Files on a claim.
    pvc: Option<PvcTier>,
}

#[derive(JsonSchema)]
struct EmptyDirTier {
    /// Size of the volume.
    size: Quantity,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct PvcTier {
    /// A claim that exists.
    #[schemars(rename = "ref")]
    reference: Option<PvcRef>,
    /// A claim made for each pod.
    spec: Option<PersistentVolumeClaimSpec>,
}

#[derive(JsonSchema)]
struct PvcRef {
    /// Name of the claim.
    name: String,
    /// Folder inside it.
    path: Option<String>,
}

#[derive(JsonSchema)]
struct StorageInitializer {
    /// false leaves the download to the engine.
    enabled: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Tracing {
    /// Kind of exporter, otlp for instance.
    exporter: Option<String>,
    /// URL of the collector.
    exporter_endpoint: Option<String>,
    /// Name of the OpenTelemetry sampler.
    sampler: Option<String>,
    /// Its argument, a ratio for instance.
    sampler_arg: Option<String>,
}
