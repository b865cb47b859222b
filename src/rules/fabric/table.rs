//! What the rules about the network are called, and why they are there.

use crate::catalog::Severity;
use crate::rules::{Check, Rule};

const FAMILY: &str = "network";

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        code: "V101",
        family: FAMILY,
        severity: Severity::Reject,
        title: "UCX_TLS asks for RDMA, and the pod has no RDMA device",
        why: "Without tcp in the list, and without a device for rc, dc or ud, UCX has no transport to another \
              pod: NIXL ends with \"no active messages transport\" (dynamo#13798). A resource, a claim, a host's \
              device or a privileged container counts as a device; where only a network is named, something in \
              the cluster may add one, and it is a warning.",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: UCX_TLS, value: \"tcp,sm,self,cuda_copy,cuda_ipc\"}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, env: [{name: UCX_TLS, value: \"rc,sm,self,cuda_copy,cuda_ipc\"}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::no_device),
    },
    Rule {
        code: "V102",
        family: FAMILY,
        severity: Severity::Warn,
        title: "RDMA is reserved, and the KV cache stays on TCP",
        why: "UCX uses what UCX_TLS and UCX_NET_DEVICES leave it. With tcp alone, or eth0 alone, the device that \
              the pod has reserved carries nothing; a profile that pinned both was found only by its speed \
              (ome#837).",
        accepted: "
spec:
  template: {containers: [{name: main, resources: {limits: {rdma/ib: \"1\"}}, env: [{name: UCX_TLS, value: \"rc,tcp,self,cuda_copy\"}]}]}
  prefill: {template: {containers: [{name: main, resources: {limits: {rdma/ib: \"1\"}}}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, resources: {limits: {rdma/ib: \"1\"}}, env: [{name: UCX_NET_DEVICES, value: eth0}]}]}
  prefill: {template: {containers: [{name: main, resources: {limits: {rdma/ib: \"1\"}}}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::unused_device),
    },
    Rule {
        code: "V103",
        family: FAMILY,
        severity: Severity::Reject,
        title: "UCX_TLS without a transport for the memory of GPUs",
        why: "The KV cache lies in a GPU's memory, and UCX reads it only with a member of cuda, rocm or ze in its \
              list (nixl#1647). A kv_buffer_device of cpu needs none.",
        accepted: "
spec:
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"1\"}}, env: [{name: UCX_TLS, value: \"tcp,self,cuda_copy\"}]}]}
  prefill: {template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"1\"}}}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"1\"}}, env: [{name: UCX_TLS, value: \"tcp,self\"}]}]}
  prefill: {template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"1\"}}}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::no_gpu_memory),
    },
    Rule {
        code: "V104",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a transport that UCX does not have, or cannot use alone",
        why: "UCX only logs a name that it does not know (ucp_context.c), so that a typo narrows the list without \
              a word. rc_verbs and rc_mlx5 set their connections up over ud, which rc brings along and they do \
              not (nixl#1647).",
        accepted: "spec: {template: {containers: [{name: main, env: [{name: UCX_TLS, value: \"tcp,self,cuda_copy\"}]}]}}",
        reported: "spec: {template: {containers: [{name: main, env: [{name: UCX_TLS, value: \"tcp,self,cuda_cpy\"}]}]}}",
        symptom_of: &[],
        check: Check::Pods(super::unknown_transport),
    },
    Rule {
        code: "V105",
        family: FAMILY,
        severity: Severity::Warn,
        title: "NCCL's variables do not steer the KV cache",
        why: "NIXL moves the KV cache with UCX. NCCL_IB_HCA and NCCL_IB_GID_INDEX are read by NCCL alone, which \
              has nothing to do between the GPUs of one node (vLLM's nixl_connector_usage.md says so).",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: UCX_NET_DEVICES, value: \"mlx5_0:1\"}, {name: NCCL_IB_HCA, value: mlx5_0}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, env: [{name: NCCL_IB_HCA, value: mlx5_0}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::only_nccl),
    },
    Rule {
        code: "V106",
        family: FAMILY,
        severity: Severity::Reject,
        title: "networks that Multus cannot read",
        why: "Multus reads k8s.v1.cni.cncf.io/networks when the pod's sandbox is made: what it cannot read, and two \
              networks on one interface, keep the pod in ContainerCreating. The form is that of the Network \
              Custom Resource De-facto Standard; an interface has at most 15 characters, as Linux has it.",
        accepted: "{metadata: {annotations: {k8s.v1.cni.cncf.io/networks: \"roce-p2@net1, other/roce-p2@net2\"}}}",
        reported: "{metadata: {annotations: {k8s.v1.cni.cncf.io/networks: \"roce-p2@net1, other/roce-p2@net1\"}}}",
        symptom_of: &[],
        check: Check::Any(super::bad_networks),
    },
    Rule {
        code: "V108",
        family: FAMILY,
        severity: Severity::Warn,
        title: "an annotation of GKE that does not reach the pods",
        why: "KServe's controller hands on a few prefixes of metadata.annotations, and networking.gke.io is none of \
              them (kserve#5005): the pods come up without their networks. spec.annotations are handed on whole.",
        accepted: "spec: {annotations: {networking.gke.io/default-interface: eth0}}",
        reported: "{metadata: {annotations: {networking.gke.io/default-interface: eth0}}}",
        symptom_of: &[],
        check: Check::Service(super::lost_annotation),
    },
    Rule {
        code: "V111",
        family: FAMILY,
        severity: Severity::Warn,
        title: "EFA and NIXL's backend do not fit",
        why: "On Amazon's EFA, UCX emulates what the card does not have in software (nixl#909); llm-d's guide \
              writes the backend LIBFABRIC. The other way round, LIBFABRIC without a card has nothing to use.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        resources: {limits: {nvidia.com/gpu: "1", vpc.amazonaws.com/efa: "1"}}
        args: ['--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_connector_extra_config":{"backends":["LIBFABRIC"]}}']
  prefill:
    template:
      containers:
        - name: main
          resources: {limits: {nvidia.com/gpu: "1", vpc.amazonaws.com/efa: "1"}}
          args: ['--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_connector_extra_config":{"backends":["LIBFABRIC"]}}']
"#,
        reported: "
spec:
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"1\", vpc.amazonaws.com/efa: \"1\"}}}]}
  prefill: {template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"1\", vpc.amazonaws.com/efa: \"1\"}}}]}}
",
        symptom_of: &["V19"],
        check: Check::Pods(super::efa_backend),
    },
    Rule {
        code: "V112",
        family: FAMILY,
        severity: Severity::Warn,
        title: "expert parallelism without the network that it needs",
        why: "DeepEP exchanges tokens between nodes by RDMA and ends where there is no device. With IBGDA the GPU \
              writes to the network card itself: on GKE that needs a privileged container, unless the driver was \
              loaded with PeerMappingOverride=1 (llm-d's wide-EP guide).",
        accepted: "
spec:
  parallelism: {tensor: 1, data: 2, dataLocal: 1}
  template: {containers: [{name: main, args: [--all2all-backend=deepep_low_latency], resources: {limits: {nvidia.com/gpu: \"1\", rdma/ib: \"1\"}}}]}
  worker: {containers: [{name: main, args: [--all2all-backend=deepep_low_latency], resources: {limits: {nvidia.com/gpu: \"1\", rdma/ib: \"1\"}}}]}
",
        reported: "
spec:
  parallelism: {tensor: 1, data: 2, dataLocal: 1}
  template: {containers: [{name: main, args: [--all2all-backend=deepep_low_latency], resources: {limits: {nvidia.com/gpu: \"1\"}}}]}
  worker: {containers: [{name: main, args: [--all2all-backend=deepep_low_latency], resources: {limits: {nvidia.com/gpu: \"1\"}}}]}
",
        symptom_of: &[],
        check: Check::Pods(super::expert_network),
    },
    Rule {
        code: "V113",
        family: FAMILY,
        severity: Severity::Warn,
        title: "KSERVE_INFER_ROCE on another network than RoCE",
        why: "The script in KServe's presets looks at mlx5 devices with an active port and a RoCE v2 address, and \
              sets what it finds. On EFA, InfiniBand and the cards of other makers it finds nothing.",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: KSERVE_INFER_ROCE, value: \"true\"}], resources: {limits: {rdma/roce_gdr: \"1\"}}}]}
",
        reported: "
spec:
  template: {containers: [{name: main, env: [{name: KSERVE_INFER_ROCE, value: \"true\"}], resources: {limits: {rdma/ib: \"1\"}}}]}
",
        symptom_of: &[],
        check: Check::Pods(super::not_roce),
    },
    Rule {
        code: "V114",
        family: FAMILY,
        severity: Severity::Warn,
        title: "more virtual functions than networks",
        why: "The device plugin reserves a virtual function, and Multus puts it into the pod where the annotation \
              names its network, once for each (llm-d's OCI guide has one entry a GPU). One that is not named \
              stays outside.",
        accepted: "
metadata: {annotations: {k8s.v1.cni.cncf.io/networks: \"vf, vf\"}}
spec: {template: {containers: [{name: main, resources: {limits: {nvidia.com/sriov-rdma-vf: \"2\"}}}]}}
",
        reported: "
metadata: {annotations: {k8s.v1.cni.cncf.io/networks: \"vf\"}}
spec: {template: {containers: [{name: main, resources: {limits: {nvidia.com/sriov-rdma-vf: \"2\"}}}]}}
",
        symptom_of: &["V106"],
        check: Check::Pods(super::functions_and_networks),
    },
];
