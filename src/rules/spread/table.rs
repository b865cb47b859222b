//! The rules of how ranks are spread, and what is to be said about each.

use crate::catalog::Severity;
use crate::rules::{Check, Rule};

const FAMILY: &str = "parallelism";

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        code: "V79",
        family: FAMILY,
        severity: Severity::Reject,
        title: "data that dataLocal does not divide",
        why: "A replica has data ÷ dataLocal pods, rounded down (GetSize in KServe): the last ranks are never \
              started, the others wait for them, and the group never serves.",
        accepted: "spec: {worker: {containers: []}, parallelism: {data: 16, dataLocal: 8, tensor: 1}}",
        reported: "spec: {worker: {containers: []}, parallelism: {data: 12, dataLocal: 8, tensor: 1}}",
        symptom_of: &["K022", "K023", "K024"],
        check: Check::Service(super::remainder),
    },
    Rule {
        code: "V80",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a blank behind the backslash at a line's end",
        why: "The backslash then keeps the blank, not the line's end: the engine is given an argument of one blank, \
              which it does not know, and ends with a usage error; the lines below are a command of their own, \
              which behind exec is never run. Tried with bash, with and without eval.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        command: [/bin/bash, -c, \"vllm serve /mnt/models \\\\\\n  --port 8000\"]
",
        reported: "
spec:
  template:
    containers:
      - name: main
        command: [/bin/bash, -c, \"vllm serve /mnt/models \\\\ \\n  --port 8000\"]
",
        symptom_of: &[],
        check: Check::Pods(super::blank_argument),
    },
    Rule {
        code: "V81",
        family: FAMILY,
        severity: Severity::Warn,
        title: "pipeline parallelism in one pod",
        why: "Without worker the preset of a single pod is used, and none of KServe's, nor of ours, hands pipeline \
              to the engine: it is ignored, and the accelerators of the other stages are idle (kserve#6044).",
        accepted: "
spec:
  parallelism: {pipeline: 2}
  template: {containers: [{name: main, args: [--pipeline-parallel-size=2]}]}
",
        reported: "spec: {parallelism: {pipeline: 2}}",
        symptom_of: &["K022"],
        check: Check::Service(super::pipeline_alone),
    },
    Rule {
        code: "V82",
        family: FAMILY,
        severity: Severity::Warn,
        title: "pipeline parallelism over several pods",
        why: "KServe's controller asks for a preset kserve-config-llm-worker-pipeline-parallel, and no release has \
              it (kserve#6044): there are no pods unless somebody writes that config. It is a warning, since the \
              config may be what is applied next.",
        accepted: "
kind: LLMInferenceServiceConfig
metadata: {name: kserve-config-llm-worker-pipeline-parallel}
spec:
  template: {containers: [{name: main, image: a/b, command: [vllm, serve, /mnt/models]}]}
  worker: {containers: [{name: main, image: a/b, command: [vllm, serve, /mnt/models]}]}
---
spec: {worker: {containers: []}, parallelism: {pipeline: 2}}
",
        reported: "spec: {worker: {containers: []}, parallelism: {pipeline: 2}}",
        symptom_of: &[],
        check: Check::Service(super::no_preset),
    },
    Rule {
        code: "V83",
        family: FAMILY,
        severity: Severity::Warn,
        title: "tensor parallelism that the service says otherwise than its engine",
        why: "The presets make an argument of parallelism.tensor, and of two that differ the last one counts, which \
              is the author's own. Whoever changes the field later changes nothing, and what reads the field counts \
              other accelerators than there are, as it does where the argument alone says it (kserve#5773).",
        accepted: "spec: {parallelism: {tensor: 2}, template: {containers: [{name: main}]}}",
        reported: "spec: {parallelism: {tensor: 2}, template: {containers: [{name: main, args: [--tensor-parallel-size=4]}]}}",
        symptom_of: &["V06", "V07", "V08", "V10", "V86"],
        check: Check::Service(super::tensor_twice),
    },
    Rule {
        code: "V84",
        family: FAMILY,
        severity: Severity::Warn,
        title: "DP_SIZE that is not the number of data-parallel ranks",
        why: "Scripts of llm-d's guides compute ranks from DP_SIZE. With another number than the engine has, \
              answers were gibberish (llm-d-modelservice#126).",
        accepted: "spec: {template: {containers: [{name: main, env: [{name: DP_SIZE, value: \"2\"}], args: [--data-parallel-size=2]}]}}",
        reported: "spec: {template: {containers: [{name: main, env: [{name: DP_SIZE, value: \"4\"}], args: [--data-parallel-size=2]}]}}",
        symptom_of: &[],
        check: Check::Pods(super::data_size),
    },
    Rule {
        code: "V85",
        family: FAMILY,
        severity: Severity::Reject,
        title: "data-parallel arguments that contradict each other",
        why: "vLLM (entrypoints/cli/serve.py, config/parallel.py) ends at once with more local ranks than ranks, \
              with two ways to balance the load between them, and with HTTP servers in a headless engine.",
        accepted: "spec: {template: {containers: [{name: main, args: [--data-parallel-size=4, --data-parallel-size-local=2]}]}}",
        reported: "spec: {template: {containers: [{name: main, args: [--data-parallel-size=2, --data-parallel-size-local=4]}]}}",
        symptom_of: &["K023", "K024"],
        check: Check::Pods(super::contradictions),
    },
    Rule {
        code: "V86",
        family: FAMILY,
        severity: Severity::Reject,
        title: "context parallelism that does not fit the other sizes",
        why: "Decode context parallelism reuses the ranks of tensor parallelism and has to divide them; prefill \
              context parallelism is not there beside data parallelism. vLLM ends at once otherwise \
              (config/parallel.py).",
        accepted: "spec: {template: {containers: [{name: main, args: [--tensor-parallel-size=4, --decode-context-parallel-size=2]}]}}",
        reported: "spec: {template: {containers: [{name: main, args: [--tensor-parallel-size=4, --decode-context-parallel-size=3]}]}}",
        symptom_of: &[],
        check: Check::Pods(super::context_parallel),
    },
    Rule {
        code: "V87",
        family: FAMILY,
        severity: Severity::Warn,
        title: "expert parallelism of a model without experts",
        why: "vLLM ends with \"number of experts must be > 0\" (kserve#5439). Whether a model has experts is guessed \
              from its name, so it is a warning.",
        accepted: "
spec:
  model: {uri: hf://deepseek-ai/DeepSeek-R1}
  template: {containers: [{name: main, args: [--enable-expert-parallel]}]}
",
        reported: "
spec:
  model: {uri: hf://facebook/opt-1.3b}
  template: {containers: [{name: main, args: [--enable-expert-parallel]}]}
",
        symptom_of: &[],
        check: Check::Service(super::dense_experts),
    },
    Rule {
        code: "V89",
        family: FAMILY,
        severity: Severity::Warn,
        title: "scaling of groups of pods",
        why: "With worker a replica is a group of a LeaderWorkerSet, and a step of the autoscaler is all of its \
              pods. Which releases of KServe scale groups was not read: it is a reminder to try it (kserve#5211).",
        accepted: "spec: {scaling: {maxReplicas: 4, wva: {hpa: {}}}}",
        reported: "
spec:
  scaling: {maxReplicas: 4, wva: {hpa: {}}}
  parallelism: {data: 2, dataLocal: 1}
  worker: {containers: []}
",
        symptom_of: &["K021"],
        check: Check::Service(super::scaled_group),
    },
];
