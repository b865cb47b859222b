//! Labels and annotations that are read or written, by what they mean.

/// Label: name of the service a pod belongs to. The registration selects pods by it.
pub const SERVICE: &str = "inject.llmisvc.io/service";
/// Label or annotation: `prefill`, `decode` or `both`.
pub const ROLE: &str = "inject.llmisvc.io/role";
/// Label or annotation: `false` keeps a pod as it is.
pub const INJECT: &str = "inject.llmisvc.io/inject";
/// Annotation: name of the container that runs the engine.
pub const CONTAINER: &str = "inject.llmisvc.io/container";
/// Annotation of a pod or service, label of a namespace: the fabric profile.
pub const FABRIC: &str = "inject.llmisvc.io/fabric";
/// Annotation that is written: what was injected, as JSON.
pub const STATUS: &str = "inject.llmisvc.io/status";

/// Label of all that KServe's controller makes.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// Value of [`PART_OF`] on what belongs to an LLMInferenceService.
pub const LLM_INFERENCE_SERVICE: &str = "llminferenceservice";
/// Label: the service's name.
pub const NAME: &str = "app.kubernetes.io/name";
/// Label: what part of the service.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Decode or general pool.
pub const COMPONENT_WORKLOAD: &str = "llminferenceservice-workload";
/// Prefill pool.
pub const COMPONENT_PREFILL: &str = "llminferenceservice-workload-prefill";
/// Leaders of the decode or general pool.
pub const COMPONENT_LEADER: &str = "llminferenceservice-workload-leader";
/// Workers of the decode or general pool.
pub const COMPONENT_WORKER: &str = "llminferenceservice-workload-worker";
/// Leaders of the prefill pool.
pub const COMPONENT_LEADER_PREFILL: &str = "llminferenceservice-workload-leader-prefill";
/// Workers of the prefill pool.
pub const COMPONENT_WORKER_PREFILL: &str = "llminferenceservice-workload-worker-prefill";
/// Label by which KServe's Services and InferencePools select the pods that serve.
pub const KSERVE_COMPONENT: &str = "kserve.io/component";

/// llm-d's label of a pod's role.
pub const LLM_D_ROLE: &str = "llm-d.ai/role";

/// Label of LeaderWorkerSet's pods: 0 for the leader. Its webhook writes it on workers.
pub const WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// Annotation of a LeaderWorkerSet's worker, there before its webhook has run.
pub const LEADER_NAME: &str = "leaderworkerset.sigs.k8s.io/leader-name";
/// Label that the StatefulSet controller writes: for a worker, its index in the group.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Annotation of a static pod's mirror, which nobody can change.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
/// Annotation that lists a pod's secondary networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
