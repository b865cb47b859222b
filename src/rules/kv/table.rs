//! The rules about one engine's KV configuration, and what is said about them.

use crate::catalog::Severity;
use crate::rules::{Check, Rule};

use super::{
    abort_timeout, all_to_all, buffer_device, empty_side_channel, expandable, host_network,
    lm_cache, multi, no_hybrid, nobody_there, offloading_and_nixl, pipeline, recompute, role,
    same_node, side_channel, side_channel_port, silent_hybrid, taken_apart, unknown,
    unknown_all_to_all, unreadable, unsupported_model,
};

const FAMILY: &str = "KV configuration";

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        code: "V26",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a --kv-transfer-config that is no JSON object",
        why: "vLLM parses the value before anything else and ends with a usage error: the container restarts for \
              ever (kserve#5880). Where a shell reads the value first, quotes may be lost in a way that is not \
              seen from here, and it is a warning.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",}']
",
        symptom_of: &["V27"],
        check: Check::Pods(unreadable),
    },
    Rule {
        code: "V27",
        family: FAMILY,
        severity: Severity::Reject,
        title: "JSON that a shell takes apart",
        why: "KServe's presets hand the arguments to `eval`, which reads them as a shell does: {\"a\":\"b\",\"c\":\"d\"} \
              becomes the two words a:b and c:d, and the engine ends with a usage error. Found by trying; single \
              quotes inside of the value keep it.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        command: [/bin/bash, -c]
        args: ['eval \"exec vllm serve /mnt/models $@\"', --, --kv-transfer-config, \"'{\\\"kv_connector\\\":\\\"OffloadingConnector\\\",\\\"kv_role\\\":\\\"kv_both\\\"}'\"]
",
        reported: "
spec:
  template:
    containers:
      - name: main
        command: [/bin/bash, -c]
        args: ['eval \"exec vllm serve /mnt/models $@\"', --, --kv-transfer-config, '{\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &[],
        check: Check::Pods(taken_apart),
    },
    Rule {
        code: "V28",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a connector without its role",
        why: "vLLM asks for kv_role where kv_connector is set, and knows kv_producer, kv_consumer and kv_both \
              (config/kv_transfer.py): the engine does not start.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"both\"}']
",
        symptom_of: &["V26"],
        check: Check::Pods(role),
    },
    Rule {
        code: "V29",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a connector that vLLM does not have",
        why: "A name that is not registered is looked up in kv_connector_module_path; without one the engine does \
              not start. A name that is near to a known one is misspelt; another may be a \
              plugin's, and is a warning, as is one that came or went with a release where the image's is not known.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"MyConnector\",\"kv_role\":\"kv_both\",\"kv_connector_module_path\":\"my.module\"}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OfloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &["V26"],
        check: Check::Pods(unknown),
    },
    Rule {
        code: "V30",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an empty NIXL side channel",
        why: "Where VLLM_NIXL_SIDE_CHANNEL_HOST is not written, the pod's own address is filled in. Written without a \
              value it stays empty, and that is what the other side is told (vLLM's envs.py).",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: r#"
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_HOST, value: ""}]}]}
  prefill: {template: {containers: [{name: main}]}}
"#,
        symptom_of: &[],
        check: Check::Pods(empty_side_channel),
    },
    Rule {
        code: "V31",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a NIXL side channel that others cannot reach",
        why: "The other side is told this very address and connects to it: localhost is itself, 0.0.0.0 is no \
              address to connect to, and a fixed one is not this pod's (kthena#1781). Where the variable is not \
              written, it is filled in.",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_HOST, value: 0.0.0.0}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(side_channel),
    },
    Rule {
        code: "V32",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a port of the NIXL side channel that is taken",
        why: "Each data-parallel rank listens on VLLM_NIXL_SIDE_CHANNEL_PORT plus its number, and what comes second to a \
              port does not start. Precise prefix routing publishes KV events on 5557, which a page of llm-d's \
              names for the side channel.",
        accepted: r#"
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_PORT, value: "5600"}]}]}
  prefill: {template: {containers: [{name: main}]}}
"#,
        reported: r#"
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_PORT, value: "8001"}]}]}
  prefill: {template: {containers: [{name: main}]}}
"#,
        symptom_of: &[],
        check: Check::Pods(side_channel_port),
    },
    Rule {
        code: "V33",
        family: FAMILY,
        severity: Severity::Warn,
        title: "the node's network with NIXL or data parallelism",
        why: "Pods on hostNetwork share the node's ports: two of them on a node both want 8000, 5600 and 5555, and one \
              does not start (llm-d-modelservice#180).",
        accepted: "
spec:
  template: {containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {hostNetwork: true, containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(host_network),
    },
    Rule {
        code: "V34",
        family: FAMILY,
        severity: Severity::Reject,
        title: "expandable segments with a KV connector",
        why: "Memory that PyTorch moves cannot be registered for RDMA. vLLM 0.21 and newer refuse to start with the pair \
              (vllm#41237, without cumem or sleep mode), older ones failed or crawled (nixl#1754). Where the image does \
              not say its release, and for PYTORCH_ALLOC_CONF, which vLLM does not look at, it is a warning.",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: PYTORCH_CUDA_ALLOC_CONF, value: \"max_split_size_mb:512\"}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.24.0\", env: [{name: PYTORCH_CUDA_ALLOC_CONF, value: \"expandable_segments:True\"}]}]}
  prefill: {template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.24.0\"}]}}
",
        symptom_of: &[],
        check: Check::Pods(expandable),
    },
    Rule {
        code: "V35",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a KV buffer that the accelerator cannot have",
        why: "NIXL keeps its buffers in cuda or cpu memory beside an NVIDIA or AMD GPU, in cpu or xpu beside an Intel \
              one, in cpu beside a TPU; for anything else the engine ends with an error (vLLM's \
              nixl/base_worker.py).",
        accepted: "
spec:
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 1}}}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: r#"
spec:
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 1}}, args: ['--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_buffer_device":"xpu"}']}]}
  prefill: {template: {containers: [{name: main}]}}
"#,
        symptom_of: &[],
        check: Check::Pods(buffer_device),
    },
    Rule {
        code: "V36",
        family: FAMILY,
        severity: Severity::Reject,
        title: "pipeline parallelism with NIXL",
        why: "vLLM's nixl/base_worker.py has it for the producer of a NixlPushConnector alone; any other engine \
              ends with NotImplementedError.",
        accepted: "
spec:
  template: {containers: [{name: main, args: [--pipeline-parallel-size=1]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, args: [--pipeline-parallel-size=2]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(pipeline),
    },
    Rule {
        code: "V37",
        family: FAMILY,
        severity: Severity::Reject,
        title: "the hybrid KV cache manager with a connector that cannot",
        why: "--no-disable-hybrid-kv-cache-manager asks for the manager, and vLLM's configuration refuses it with a \
              connector that does not support it.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}', --no-disable-hybrid-kv-cache-manager]
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_both\"}', --no-disable-hybrid-kv-cache-manager]
",
        symptom_of: &["V29"],
        check: Check::Pods(no_hybrid),
    },
    Rule {
        code: "V38",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a connector that turns off the hybrid KV cache manager",
        why: "Models with sliding windows or state-space layers need the hybrid manager to keep their KV cache small. \
              With a connector that does not support it vLLM turns it off, without a word, and the cache takes \
              several times the memory.",
        accepted: r#"spec: {model: {uri: hf://openai/gpt-oss-120b, name: gpt-oss}, template: {containers: [{name: main, args: ['--kv-transfer-config={"kv_connector":"OffloadingConnector","kv_role":"kv_both"}']}]}}"#,
        reported: r#"spec: {model: {uri: hf://openai/gpt-oss-120b, name: gpt-oss}, template: {containers: [{name: main, image: "vllm/vllm-openai:v0.24.0", args: ['--kv-transfer-config={"kv_connector":"FlexKVConnectorV1","kv_role":"kv_both"}']}]}}"#,
        symptom_of: &[],
        check: Check::Pods(silent_hybrid),
    },
    Rule {
        code: "V39",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a variable that vLLM no longer reads",
        why: "VLLM_NIXL_ABORT_REQUEST_TIMEOUT was removed on 2026-05-11 (vllm#41383). It is ignored, and blocks are \
              kept for kv_lease_duration.",
        accepted: "spec: {template: {containers: [{name: main, env: [{name: A, value: \"1\"}]}]}}",
        reported: "spec: {template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.24.0\", env: [{name: VLLM_NIXL_ABORT_REQUEST_TIMEOUT, value: \"300\"}]}]}}",
        symptom_of: &[],
        check: Check::Pods(abort_timeout),
    },
    Rule {
        code: "V40",
        family: FAMILY,
        severity: Severity::Warn,
        title: "an all-to-all backend that vLLM no longer has",
        why: "VLLM_ALL2ALL_BACKEND was removed on 2026-02-03 (vllm#33535) and is ignored; the backends pplx and naive \
              went the same month (vllm#33724). The engine falls back to the slowest one.",
        accepted: "spec: {template: {containers: [{name: main, args: [--all2all-backend=deepep_low_latency]}]}}",
        reported: "spec: {template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.24.0\", env: [{name: VLLM_ALL2ALL_BACKEND, value: pplx}]}]}}",
        symptom_of: &[],
        check: Check::Pods(all_to_all),
    },
    Rule {
        code: "V41",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an all-to-all backend that vLLM does not know",
        why: "vLLM knows its backends by name (config/parallel.py) and does not start with another. A name that is near \
              to a known one is misspelt; another may be newer than this program, and is a warning.",
        accepted: "spec: {template: {containers: [{name: main, args: [--all2all-backend=deepep_low_latency]}]}}",
        reported: "spec: {template: {containers: [{name: main, args: [--all2all-backend=deepep_low_latencie]}]}}",
        symptom_of: &[],
        check: Check::Pods(unknown_all_to_all),
    },
    Rule {
        code: "V42",
        family: FAMILY,
        severity: Severity::Warn,
        title: "decode that computes prompts when a transfer fails",
        why: "kv_load_failure_policy recompute makes one failed transfer stall every other answer of the decode pod \
              for as long as its prompt takes. vLLM's default is fail since 2026-02-21 (vllm#34896), and llm-d's \
              guide writes it.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_consumer\",\"kv_load_failure_policy\":\"fail\"}']
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_consumer\",\"kv_load_failure_policy\":\"recompute\"}']
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(recompute),
    },
    Rule {
        code: "V43",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a MultiConnector without connectors",
        why: "It takes its connectors from kv_connector_extra_config.connectors, each a configuration of its own with \
              a role (vLLM's multi_connector.py): without them the engine does not start.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"MultiConnector\",\"kv_role\":\"kv_both\",\"kv_connector_extra_config\":{\"connectors\":[{\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}]}}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"MultiConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &["V26", "V28"],
        check: Check::Pods(multi),
    },
    Rule {
        code: "V44",
        family: FAMILY,
        severity: Severity::Warn,
        title: "offloading in the place of NIXL",
        why: "KServe configures one connector: what the service writes, else the OffloadingConnector that \
              kvCacheOffloading asks for, else NIXL (kserve#6027). With offloading nothing is transferred between \
              prefill and decode.",
        accepted: "
spec:
  template: {containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  kvCacheOffloading: {cpu: {capacity: 10Gi}}
  template: {containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(offloading_and_nixl),
    },
    Rule {
        code: "V45",
        family: FAMILY,
        severity: Severity::Warn,
        title: "LMCacheConnectorV1 between prefill and decode",
        why: "On recent releases of vLLM decode was reported to diverge at the first token (vllm#52617).",
        accepted: "spec: {template: {containers: [{name: main}]}, prefill: {template: {containers: [{name: main}]}}}",
        reported: "
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=shared-storage]
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_consumer\"}']
  prefill:
    template:
      containers:
        - name: main
          args: ['--kv-transfer-config={\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_producer\"}']
",
        symptom_of: &[],
        check: Check::Pods(lm_cache),
    },
    Rule {
        code: "V46",
        family: FAMILY,
        severity: Severity::Warn,
        title: "NIXL without prefill and decode",
        why: "There is nobody to transfer to: memory is registered and ports are opened for nothing (kserve#5883).",
        accepted: "spec: {template: {containers: [{name: main}]}}",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &[],
        check: Check::Pods(nobody_there),
    },
    Rule {
        code: "V47",
        family: FAMILY,
        severity: Severity::Warn,
        title: "pulling within a node",
        why: "Between two pods of one node, without RDMA, NIXL's pulling connector was measured to be some hundred times \
              slower than the pushing one (vllm#52607).",
        accepted: "
spec:
  template: {containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {nodeSelector: {kubernetes.io/hostname: a}, containers: [{name: main, image: vllm/vllm-openai:v0.24.0}]}
  prefill: {template: {nodeSelector: {kubernetes.io/hostname: a}, containers: [{name: main, image: vllm/vllm-openai:v0.24.0}]}}
",
        symptom_of: &[],
        check: Check::Pods(same_node),
    },
    Rule {
        code: "V48",
        family: FAMILY,
        severity: Severity::Reject,
        title: "what NIXL does not transfer",
        why: "vLLM's table of what works with NIXL leaves out KV scales that are computed while serving, and models with \
              an encoder and a decoder. A model is known by its name only, and that is a warning.",
        accepted: "
spec:
  template: {containers: [{name: main, args: [--kv-cache-dtype=fp8]}]}
  prefill: {template: {containers: [{name: main, args: [--kv-cache-dtype=fp8]}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, args: [--kv-cache-dtype=fp8, --calculate-kv-scales]}]}
  prefill: {template: {containers: [{name: main, args: [--kv-cache-dtype=fp8]}]}}
",
        symptom_of: &[],
        check: Check::Pods(unsupported_model),
    },
];
