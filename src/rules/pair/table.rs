//! The rules of the pair, and what is to be said about each.

use crate::catalog::Severity;
use crate::rules::{Check, Rule};

const FAMILY: &str = "prefill and decode";

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        code: "V01",
        family: FAMILY,
        severity: Severity::Reject,
        title: "prefill and decode without a KV connector",
        why: "Without a connector the prompt's KV cache never leaves the prefill pod: decode computes \
              every prompt again, and the prefill pool is paid for nothing. KServe's presets had none \
              until kserve#6027 (kserve#5987). Where nobody writes --kv-transfer-config it is filled in; \
              where it is written without a connector it is not.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_buffer_device":"cuda"}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_buffer_device":"cuda"}'
"#,
        symptom_of: &[],
        check: Check::Pods(super::no_connector),
    },
    Rule {
        code: "V02",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a KV connector on one side only",
        why: "One side offers blocks that nobody fetches, or asks for blocks that nobody offers, and \
              decode computes every prompt again (kserve#5987).",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--seed=1'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--seed=1'
",
        reported: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_buffer_device":"cuda"}'
"#,
        symptom_of: &["V01"],
        check: Check::Pods(super::one_connector),
    },
    Rule {
        code: "V03",
        family: FAMILY,
        severity: Severity::Reject,
        title: "prefill and decode use different connectors",
        why: "Each connector has a protocol of its own, and whether blocks are pulled or pushed is part of \
              the hash that vLLM compares at the first request. NixlConnector and NixlPullConnector are \
              one; what a MultiConnector holds is compared.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args:
          - '--kv-transfer-config={"kv_connector":"NixlPullConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          image: vllm/vllm-openai:v0.24.0
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          image: vllm/vllm-openai:v0.24.0
          args:
          - '--kv-transfer-config={"kv_connector":"MooncakeConnector","kv_role":"kv_producer"}'
"#,
        symptom_of: &["V01", "V02"],
        check: Check::Pods(super::other_connector),
    },
    Rule {
        code: "V04",
        family: FAMILY,
        severity: Severity::Reject,
        title: "kv_role of prefill and decode reversed",
        why: "Prefill produces KV blocks and decode consumes them (vLLM's config/kv_transfer.py). The \
              other way round each waits for the other. To NIXL's connector the role was a mere placeholder, as its \
              documentation says; where its release may be such a one it is a warning.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
  prefill:
    template:
      containers:
        - name: main
          image: vllm/vllm-openai:v0.24.0
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
"#,
        symptom_of: &[],
        check: Check::Pods(super::reversed_roles),
    },
    Rule {
        code: "V05",
        family: FAMILY,
        severity: Severity::Warn,
        title: "kv_both with NIXL",
        why: "vLLM deprecated it on 2026-06-05 (vllm#43874): the role decides which side keeps blocks, and \
              a side that is both keeps more than it needs.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'
  prefill:
    template:
      containers:
        - name: main
          image: vllm/vllm-openai:v0.24.0
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        symptom_of: &[],
        check: Check::Pods(super::deprecated_role),
    },
    Rule {
        code: "V06",
        family: FAMILY,
        severity: Severity::Reject,
        title: "tensor parallel sizes that do not divide",
        why: "Each rank of the one side reads whole shards of the other; NIXL's mapping of ranks (vLLM's \
              nixl/tp_mapping.py) knows no other case and refuses the first request.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--tensor-parallel-size=4'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--tensor-parallel-size=2'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--tensor-parallel-size=3'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--tensor-parallel-size=2'
",
        symptom_of: &[],
        check: Check::Pods(super::tensors_divide),
    },
    Rule {
        code: "V07",
        family: FAMILY,
        severity: Severity::Warn,
        title: "prefill with the larger tensor parallel size",
        why: "Where prefill has more ranks than the model has KV heads, heads are replicated, and decode \
              with fewer ranks fails an assertion (vLLM's nixl/base_worker.py). How many heads there are \
              is not seen from here.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--tensor-parallel-size=4'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--tensor-parallel-size=2'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--tensor-parallel-size=2'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--tensor-parallel-size=4'
",
        symptom_of: &["V06", "V08", "V10"],
        check: Check::Pods(super::larger_prefill),
    },
    Rule {
        code: "V08",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a hybrid model with different tensor parallel sizes",
        why: "The state of Mamba layers is not divided as attention's KV cache is: vLLM's compatibility \
              page asks for equal sizes. VLLM_SSM_CONV_STATE_LAYOUT is set for such models only.",
        accepted: "
spec:
  template: {containers: [{name: main, args: [--tensor-parallel-size=2], env: [{name: VLLM_SSM_CONV_STATE_LAYOUT, value: DS}]}]}
  prefill: {template: {containers: [{name: main, args: [--tensor-parallel-size=2], env: [{name: VLLM_SSM_CONV_STATE_LAYOUT, value: DS}]}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, args: [--tensor-parallel-size=4], env: [{name: VLLM_SSM_CONV_STATE_LAYOUT, value: DS}]}]}
  prefill: {template: {containers: [{name: main, args: [--tensor-parallel-size=2], env: [{name: VLLM_SSM_CONV_STATE_LAYOUT, value: DS}]}]}}
",
        symptom_of: &["V06"],
        check: Check::Pods(super::hybrid_tensors),
    },
    Rule {
        code: "V09",
        family: FAMILY,
        severity: Severity::Reject,
        title: "block sizes that do not divide",
        why: "A block of decode is filled with whole blocks of prefill, so decode's size is a multiple of \
              prefill's (vLLM's NIXL compatibility page).",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--block-size=128'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--block-size=64'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--block-size=64'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--block-size=48'
",
        symptom_of: &[],
        check: Check::Pods(super::blocks_divide),
    },
    Rule {
        code: "V10",
        family: FAMILY,
        severity: Severity::Reject,
        title: "different block sizes where they must be equal",
        why: "Blocks of two sizes are not supported with a host buffer (kv_buffer_device cpu), with a \
              larger tensor parallel size on prefill, and with the hybrid KV cache manager (vLLM's \
              nixl/base_worker.py; vllm#42895).",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--block-size=128'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--block-size=64'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--block-size=128'
          - '--tensor-parallel-size=1'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--block-size=64'
          - '--tensor-parallel-size=2'
",
        symptom_of: &["V09"],
        check: Check::Pods(super::blocks_equal),
    },
    Rule {
        code: "V11",
        family: FAMILY,
        severity: Severity::Reject,
        title: "different --kv-cache-dtype",
        why: "The type of the cache is part of the hash that vLLM compares at the first request, not at \
              start: both pods are ready, and every request fails. Before there was a hash the answers \
              were garbage (vllm#42179).",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-cache-dtype=fp8'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-cache-dtype=fp8_e4m3'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-cache-dtype=fp8_e5m2'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-cache-dtype=fp8_e4m3'
",
        symptom_of: &[],
        check: Check::Pods(super::cache_dtype),
    },
    Rule {
        code: "V12",
        family: FAMILY,
        severity: Severity::Reject,
        title: "different attention backends",
        why: "The backend decides the layout of the cache and is part of the hash that vLLM compares at \
              the first request. It is read of --attention-backend, else of VLLM_ATTENTION_BACKEND.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--attention-backend=FLASHINFER'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--attention-backend=flashinfer'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--attention-backend=FLASHINFER'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--attention-backend=FLASH_ATTN'
",
        symptom_of: &[],
        check: Check::Pods(super::attention),
    },
    Rule {
        code: "V13",
        family: FAMILY,
        severity: Severity::Reject,
        title: "different --dtype",
        why: "The type of the model is part of the hash that vLLM compares at the first request. \
              --quantization is not, and is a warning: blocks computed with other weights are other \
              numbers.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--dtype=half'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--dtype=float16'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--dtype=bfloat16'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--dtype=float16'
",
        symptom_of: &[],
        check: Check::Pods(super::dtype),
    },
    Rule {
        code: "V14",
        family: FAMILY,
        severity: Severity::Warn,
        title: "prefill and decode run different images",
        why: "vLLM's and NIXL's versions are part of the hash that is compared at the first request \
              (llm-d#499). A warning, since two images may hold the same versions.",
        accepted: "
spec:
  template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.19.0\"}]}
  prefill: {template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.19.0\"}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.19.0\"}]}
  prefill: {template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.20.0\"}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::images),
    },
    Rule {
        code: "V15",
        family: FAMILY,
        severity: Severity::Reject,
        title: "prefill and decode serve different models",
        why: "The KV cache of one model means nothing to another: architecture, heads and layers are part \
              of the hash that vLLM compares. Adapters are not, and different ones are a warning.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--seed=1'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--seed=1'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--model=/mnt/models'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--model=/mnt/other'
",
        symptom_of: &[],
        check: Check::Pods(super::models),
    },
    Rule {
        code: "V16",
        family: FAMILY,
        severity: Severity::Reject,
        title: "different speculative decoding",
        why: "A draft model's layers stand in the cache, too: method and draft model are part of the hash \
              that vLLM compares. The number of tokens may differ.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--speculative-config={"method":"mtp","num_speculative_tokens":1}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--speculative-config={"method":"mtp","num_speculative_tokens":2}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--speculative-config={"method":"mtp","num_speculative_tokens":1}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--speculative-config={"method":"eagle3","num_speculative_tokens":1}'
"#,
        symptom_of: &[],
        check: Check::Pods(super::speculation),
    },
    Rule {
        code: "V17",
        family: FAMILY,
        severity: Severity::Warn,
        title: "the handshake's check is turned off",
        why: "With enforce_handshake_compat false a pair that does not fit is not refused: its answers are \
              garbage, and no error says so (vLLM's NIXL compatibility page).",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_connector_extra_config":{"enforce_handshake_compat":false}}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        symptom_of: &[],
        check: Check::Pods(super::unchecked_handshake),
    },
    Rule {
        code: "V18",
        family: FAMILY,
        severity: Severity::Reject,
        title: "permuted blocks with the hybrid KV cache manager",
        why: "enable_permute_local_kv is refused by vLLM's nixl/base_worker.py where the hybrid manager is \
              on.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--no-disable-hybrid-kv-cache-manager'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--no-disable-hybrid-kv-cache-manager'
",
        reported: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--no-disable-hybrid-kv-cache-manager'
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer","enable_permute_local_kv":true}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        symptom_of: &[],
        check: Check::Pods(super::permuted_hybrid),
    },
    Rule {
        code: "V19",
        family: FAMILY,
        severity: Severity::Reject,
        title: "different NIXL backends",
        why: "Both ends of a transfer speak the same backend; UCX is the one where none is named (vLLM's \
              NIXL usage page).",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_connector_extra_config":{"backends":["UCX"]}}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_connector_extra_config":{"backends":["LIBFABRIC"]}}'
"#,
        symptom_of: &["V02", "V03"],
        check: Check::Pods(super::backends),
    },
    Rule {
        code: "V20",
        family: FAMILY,
        severity: Severity::Warn,
        title: "RDMA on one side only",
        why: "A transfer is as fast as its slower end: with RDMA on one side alone it goes over TCP, which \
              was measured at 600 times the time (dynamo#1314).",
        accepted: "
spec:
  template: {containers: [{name: main, resources: {limits: {rdma/ib: \"1\"}}}]}
  prefill: {template: {containers: [{name: main, resources: {limits: {rdma/ib: \"1\"}}}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, resources: {limits: {rdma/ib: \"1\"}}}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::fabrics),
    },
    Rule {
        code: "V21",
        family: FAMILY,
        severity: Severity::Warn,
        title: "transfers both ways that nothing uses",
        why: "bidirectional_kv_xfer sends blocks of finished answers back to prefill. It needs to be on at \
              both ends, and a proxy that remembers who served whom; the routing sidecar remembers nothing \
              (vLLM's NIXL usage page).",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--seed=1'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--seed=1'
",
        reported: r#"
spec:
  template:
    containers:
      - name: main
        args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_connector_extra_config":{"bidirectional_kv_xfer":true}}'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}'
"#,
        symptom_of: &["V22"],
        check: Check::Pods(super::bidirectional_alone),
    },
    Rule {
        code: "V22",
        family: FAMILY,
        severity: Severity::Reject,
        title: "transfers both ways with NixlPushConnector",
        why: "vLLM's push_scheduler.py refuses bidirectional_kv_xfer: the engine does not start.",
        accepted: r#"
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args:
          - '--kv-transfer-config={"kv_connector":"NixlPushConnector","kv_role":"kv_consumer"}'
  prefill:
    template:
      containers:
        - name: main
          image: vllm/vllm-openai:v0.24.0
          args:
          - '--kv-transfer-config={"kv_connector":"NixlPushConnector","kv_role":"kv_producer"}'
"#,
        reported: r#"
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args:
          - '--kv-transfer-config={"kv_connector":"NixlPushConnector","kv_role":"kv_consumer","kv_connector_extra_config":{"bidirectional_kv_xfer":true}}'
  prefill:
    template:
      containers:
        - name: main
          image: vllm/vllm-openai:v0.24.0
          args:
          - '--kv-transfer-config={"kv_connector":"NixlPushConnector","kv_role":"kv_producer"}'
"#,
        symptom_of: &[],
        check: Check::Pods(super::bidirectional_push),
    },
    Rule {
        code: "V24",
        family: FAMILY,
        severity: Severity::Warn,
        title: "decode takes shorter prompts than prefill",
        why: "A prompt that prefill takes and decode does not costs the whole prefill and then fails. \
              Where only one of them has --max-model-len, the other takes what the model does.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--max-model-len=8192'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--max-model-len=8192'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--max-model-len=4096'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--max-model-len=8192'
",
        symptom_of: &[],
        check: Check::Pods(super::lengths),
    },
    Rule {
        code: "V25",
        family: FAMILY,
        severity: Severity::Warn,
        title: "prefill and decode serve other names",
        why: "The sidecar hands a request to prefill as it came: a name that only decode knows is answered \
              with 404 there. KServe's presets differ in their alias publishers/…, which is not counted.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--seed=1'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--seed=1'
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args:
          - '--served-model-name'
          - 'opt-125m'
          - 'chat'
  prefill:
    template:
      containers:
        - name: main
          args:
          - '--served-model-name'
          - 'opt-125m'
",
        symptom_of: &[],
        check: Check::Pods(super::served_names),
    },
];
