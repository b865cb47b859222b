//! The rules of shared memory and volumes, and what is to be said about each.

use crate::catalog::Severity;
use crate::rules::{Check, Rule};

const FAMILY: &str = "shared memory and volumes";

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        code: "V93",
        family: FAMILY,
        severity: Severity::Reject,
        title: "several processes without shared memory",
        why: "The processes of one engine, and NCCL between its GPUs, meet in /dev/shm. A container has 64 MiB \
              there; vLLM's documentation asks for more (parallelism_scaling.md), and what does not fit ends in \
              a bus error. Releases since vllm#48879 do not start; for others, and where the arguments are not \
              all seen, it is a warning.",
        accepted: "
spec:
  parallelism: {tensor: 2}
  template: {containers: [{name: main}]}
",
        reported: "
kind: LLMInferenceServiceConfig
metadata: {name: kserve-config-llm-template}
spec:
  template:
    containers:
      - {name: main, image: 'vllm/vllm-openai:v0.28.0', command: [vllm, serve, /mnt/models], args: ['--tensor-parallel-size={{ .Spec.Parallelism.Tensor }}']}
---
spec:
  parallelism: {tensor: 2}
",
        symptom_of: &[],
        check: Check::Pods(super::nothing_mounted),
    },
    Rule {
        code: "V94",
        family: FAMILY,
        severity: Severity::Reject,
        title: "shared memory that is too small for the engine's queues",
        why: "The processes of an engine talk through rings in /dev/shm of ten chunks each \
              (shm_broadcast.py), 16 MiB a chunk where VLLM_MQ_MAX_CHUNK_BYTES_MB does not say otherwise. \
              Releases since vllm#48879 do not start where one of them does not fit; older ones end with a \
              bus error once they are full. The size of a preset is looked at with those newer releases alone.",
        accepted: "
spec:
  parallelism: {tensor: 4}
  template:
    containers: [{name: main}]
    volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 4Gi}}]
",
        reported: "
spec:
  parallelism: {tensor: 4}
  template:
    containers: [{name: main, image: 'vllm/vllm-openai:v0.28.0'}]
    volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 128Mi}}]
",
        symptom_of: &[],
        check: Check::Pods(super::too_small),
    },
    Rule {
        code: "V95",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a CPU tier that is larger than the memory it lies in",
        why: "Since vllm#40020 (0.22) the OffloadingConnector keeps its CPU tier in /dev/shm \
              (shared_offload_region.py), and what is there counts to the container's memory. Where the volume \
              or the limit is smaller the engine does not start, or ends with a bus error or OOMKilled once the \
              tier fills (vllm#50358). KServe 0.20's presets have 1Gi there, 8Gi with data parallelism.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={"kv_connector":"OffloadingConnector","kv_role":"kv_both","kv_connector_extra_config":{"cpu_bytes_to_use":10737418240}}']
    volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 12Gi}}]
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        image: "vllm/vllm-openai:v0.24.0"
        command: [/bin/bash, -c, 'rm -f /dev/shm/vllm_offload_*; exec vllm serve /mnt/models "$@"', --]
        args: ['--kv-transfer-config={"kv_connector":"OffloadingConnector","kv_role":"kv_both","kv_connector_extra_config":{"cpu_bytes_to_use":10737418240}}']
"#,
        symptom_of: &[],
        check: Check::Pods(super::tier),
    },
    Rule {
        code: "V96",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a volume in memory that nothing mounts",
        why: "The presets mount their own volume, dshm, at /dev/shm. A volume of another name is created and \
              stays empty, and the engine has as little shared memory as before (KServe's sample \
              nemotron-3-ultra-pd had 40Gi in one, and ran with 1Gi).",
        accepted: "spec: {template: {containers: [{name: main}], volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 40Gi}}]}}",
        reported: "spec: {template: {containers: [{name: main}], volumes: [{name: shm, emptyDir: {medium: Memory, sizeLimit: 40Gi}}]}}",
        symptom_of: &[],
        check: Check::Pods(super::unmounted),
    },
    Rule {
        code: "V97",
        family: FAMILY,
        severity: Severity::Warn,
        title: "two volumes at one path",
        why: "The API server refuses a path that is mounted twice. With a slash at the end of one it does not see \
              it, and the container has whichever is mounted last, with the size of that one.",
        accepted: "spec: {template: {containers: [{name: main, volumeMounts: [{name: dshm, mountPath: /dev/shm}]}]}}",
        reported: "
spec:
  template:
    containers: [{name: main, volumeMounts: [{name: big, mountPath: /dev/shm/}]}]
    volumes: [{name: big, emptyDir: {medium: Memory, sizeLimit: 40Gi}}]
",
        symptom_of: &[],
        check: Check::Pods(super::same_path),
    },
    Rule {
        code: "V98",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a CPU tier whose files outlive a crash",
        why: "An emptyDir lives as long as its pod: a container that is restarted finds vllm_offload_*.mmap of the \
              one before it in /dev/shm, has no room for its own, and ends again (vllm#51317, vllm#54002).",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        command: [/bin/bash, -c, 'rm -f /dev/shm/vllm_offload_*; exec vllm serve /mnt/models "$@"', --]
        args: ['--kv-transfer-config={"kv_connector":"OffloadingConnector","kv_role":"kv_both","kv_connector_extra_config":{"cpu_bytes_to_use":10737418240}}']
    volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 12Gi}}]
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        image: "vllm/vllm-openai:v0.24.0"
        args: ['--kv-transfer-config={"kv_connector":"OffloadingConnector","kv_role":"kv_both","kv_connector_extra_config":{"cpu_bytes_to_use":10737418240}}']
    volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 12Gi}}]
"#,
        symptom_of: &["V95"],
        check: Check::Pods(super::stale),
    },
    Rule {
        code: "V99",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a root file system that nobody can write",
        why: "NVIDIA's CDI hook changes the container's root file system when it adds the GPUs, and fails where it \
              is read-only (kserve#5711). vLLM and Triton write their caches to HOME.",
        accepted: "spec: {template: {containers: [{name: main, securityContext: {readOnlyRootFilesystem: true}}]}}",
        reported: "
spec:
  template:
    containers:
      - name: main
        securityContext: {readOnlyRootFilesystem: true}
        resources: {limits: {nvidia.com/gpu: 1}}
",
        symptom_of: &[],
        check: Check::Pods(super::read_only),
    },
];
