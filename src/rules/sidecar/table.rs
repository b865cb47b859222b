//! The rules of the sidecar, and what is to be said about each.

use super::{pool, values};
use crate::catalog::Severity;
use crate::rules::{Check, Rule};

const FAMILY: &str = "routing sidecar";

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        code: "V49",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a flag that the sidecar's release does not have",
        why: "The sidecar's flags change with every release (llm-d-router's options.go; --connector went with 0.10, \
              llm-d-router#2054), and a flag that it does not have ends it with exit code 2: the engine behind it is \
              never started. From 0.7 on a flag needs two dashes. Where the image does not say the release, only what \
              looks misspelt is warned about.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0', args: [--vllm-port=8001, --secure-proxy=false, --connector=nixlv2]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::flags),
    },
    Rule {
        code: "V50",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a value that the sidecar's release does not take",
        why: "The sidecar says in its log what is wrong with its configuration and ends with exit code 0, or does not \
              parse it at all (Validate in llm-d-router's options.go). It is started again and again, listens on \
              nothing, and looks completed.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixl]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(values::check),
    },
    Rule {
        code: "V51",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a sidecar that asks another port than the engine's",
        why: "Every request is answered with 502, and all probes of the sidecar succeed: it answers them itself. Without \
              the flag it asks port 8001 up to release 0.9, and 8200 from 0.10 on (llm-d-router#1723). A warning \
              where another container or a script may listen there.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, args: [--secure-proxy=false, --vllm-port=8002]}]
    containers: [{name: main, args: [--port=8002]}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, args: [--secure-proxy=false, --vllm-port=8002]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &["V62"],
        check: Check::Pods(super::model_server_port),
    },
    Rule {
        code: "V52",
        family: FAMILY,
        severity: Severity::Reject,
        title: "ports of the sidecar's ranks and of the engine's that overlap",
        why: "With --data-parallel-size=N the sidecar listens on N ports from --port on, and the engine's ranks on N from \
              --vllm-port on. The sidecar does not compare them: whoever comes second cannot bind its port.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, args: [--secure-proxy=false, --vllm-port=8200, --data-parallel-size=8]}]
    containers: [{name: main, args: [--port=8200]}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, args: [--vllm-port=8001, --secure-proxy=false, --data-parallel-size=8]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &["V62"],
        check: Check::Pods(super::ranges),
    },
    Rule {
        code: "V53",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a sidecar that allows hosts of a pool, without the pool",
        why: "With --enable-ssrf-protection the sidecar asks only prefill hosts that are in its InferencePool. Without one \
              it says so in its log and ends with exit code 0 (Validate in llm-d-router's options.go). Since 0.9 it no \
              longer reads INFERENCE_POOL_NAMESPACE and INFERENCE_POOL_NAME (llm-d-router#1416).",
        accepted: "
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-ssrf-protection, --inference-pool=default/example-inference-pool]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-ssrf-protection]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(pool::missing),
    },
    Rule {
        code: "V54",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a sidecar that reads its pool without a token",
        why: "With --enable-ssrf-protection the sidecar watches its InferencePool and the pods of it. Without a token of \
              the ServiceAccount it cannot, and every prefill host is refused: decode reads all prompts itself. Whether \
              the ServiceAccount may read them, and has a token, is not seen from here.",
        accepted: "
spec:
  template:
    automountServiceAccountToken: false
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    automountServiceAccountToken: false
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-ssrf-protection, --inference-pool=default/example-inference-pool]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &["V53"],
        check: Check::Pods(pool::unreadable),
    },
    Rule {
        code: "V55",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a pool without its namespace",
        why: "--inference-pool=name means the pool of that name in the namespace default, whatever the pod's own is \
              (llm-d-router's options.go). The sidecar watches there, and finds nobody.",
        accepted: "
metadata: {namespace: models}
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-ssrf-protection, --inference-pool=models/example-inference-pool]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
metadata: {namespace: models}
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-ssrf-protection, --inference-pool=example-inference-pool]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(pool::namespace),
    },
    Rule {
        code: "V56",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a pool of a group that the sidecar's release cannot read",
        why: "Up to release 0.9 the allow-list of a pool of the group inference.networking.k8s.io, the default since 0.5, \
              is empty, and every prefill host is refused (llm-d-router#1696); KServe names the older group for that \
              reason. What comes after 0.10 knows only the newer one (llm-d-router#1298), which is a warning.",
        accepted: "
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.9.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-ssrf-protection, --inference-pool=default/example-inference-pool, --pool-group=inference.networking.x-k8s.io]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.9.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-ssrf-protection, --inference-pool=default/example-inference-pool]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &["V53"],
        check: Check::Pods(pool::group),
    },
    Rule {
        code: "V57",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a pool named by a variable that is no longer read",
        why: "Release 0.9 of the sidecar removed INFERENCE_POOL_NAMESPACE and INFERENCE_POOL_NAME \
              (llm-d-router#1416): it has no pool. The first of them alone, which presets write, says nothing.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, env: [{name: INFERENCE_POOL_NAME, value: example-inference-pool}]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        image: ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.9.0
        args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2]
        env: [{name: INFERENCE_POOL_NAME, value: example-inference-pool}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &["V53"],
        check: Check::Pods(pool::variable),
    },
    Rule {
        code: "V58",
        family: FAMILY,
        severity: Severity::Reject,
        title: "sidecar and engine with different connectors",
        why: "The sidecar adds fields to a request that only the engine's connector of its protocol understands. Another \
              one ignores them, and decode reads every prompt again, without an error (kserve#5987). Connectors \
              that share a store may find the blocks without being told, which is a warning.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.9.0', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=mooncake]}]
    containers: [{name: main, args: ['--kv-transfer-config={\"kv_connector\":\"MooncakeConnector\",\"kv_role\":\"kv_consumer\"}']}]
  prefill: {template: {containers: [{name: main, args: ['--kv-transfer-config={\"kv_connector\":\"MooncakeConnector\",\"kv_role\":\"kv_producer\"}']}]}}
",
        reported: "
spec:
  template:
    containers: [{name: main, args: ['--kv-transfer-config={\"kv_connector\":\"MooncakeConnector\",\"kv_role\":\"kv_consumer\"}']}]
  prefill: {template: {containers: [{name: main, args: ['--kv-transfer-config={\"kv_connector\":\"MooncakeConnector\",\"kv_role\":\"kv_producer\"}']}]}}
",
        symptom_of: &["V03", "V50"],
        check: Check::Pods(super::other_connector),
    },
    Rule {
        code: "V59",
        family: FAMILY,
        severity: Severity::Reject,
        title: "settings of the sidecar that do not go together",
        why: "The connector offloading cannot have several ranks (llm-d-router#1889), and --enable-p2p-pull needs \
              nixlv2 (options.go): the sidecar refuses its configuration and ends with exit code 0.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-p2p-pull]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=offloading, --enable-p2p-pull]}]
    containers: [{name: main, args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']}]
  prefill: {template: {containers: [{name: main, args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']}]}}
",
        symptom_of: &["V49", "V50"],
        check: Check::Pods(super::offloading),
    },
    Rule {
        code: "V60",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a sidecar that its own probes cannot ask",
        why: "--secure-proxy is true where nobody says otherwise (llm-d-router's options.go), and a TLS server answers \
              plain HTTP with 400: the probe fails, and the sidecar is started again for ever. The other way round \
              there is no handshake. `--secure-proxy false` is two words, and the switch is on.",
        accepted: "
spec:
  template:
    initContainers:
      - name: llm-d-routing-sidecar
        args: [--vllm-port=8001, --secure-proxy=true]
        livenessProbe: {httpGet: {scheme: HTTPS}}
        readinessProbe: {httpGet: {scheme: HTTPS}}
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, args: [--vllm-port=8001, --secure-proxy=true]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::secure),
    },
    Rule {
        code: "V61",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a sidecar and an engine of which one speaks TLS",
        why: "--enable-tls=decoder, and =prefiller, says that the engine there has a certificate \
              (--ssl-certfile). Where only one of the two is so, each request to it fails (kserve#5875).",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-tls=prefiller]}]
    containers: [{name: main}]
  prefill:
    template:
      containers:
        - name: main
          args: [--ssl-certfile=/var/run/kserve/tls/tls.crt, --ssl-keyfile=/var/run/kserve/tls/tls.key]
          startupProbe: {httpGet: {scheme: HTTPS}}
          livenessProbe: {httpGet: {scheme: HTTPS}}
          readinessProbe: {httpGet: {scheme: HTTPS}}
",
        reported: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1', args: [--vllm-port=8001, --secure-proxy=false, --kv-connector=nixlv2, --enable-tls=prefiller]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &["V49"],
        check: Check::Pods(super::tls_stages),
    },
    Rule {
        code: "V62",
        family: FAMILY,
        severity: Severity::Reject,
        title: "engine and sidecar on one port",
        why: "The containers of a pod share its ports. The sidecar comes first and has the port, and the engine ends \
              with \"address already in use\". In KServe's decode pods 8000 is the sidecar's, 8001 the engine's.",
        accepted: "
spec:
  template: {containers: [{name: main, args: [--port=8001]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, args: [--port=8000]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::same_port),
    },
    Rule {
        code: "V63",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a sidecar where it does nothing, or none where it is needed",
        why: "The sidecar of a decode pod has a prefill pod read the prompt. Without it decode reads prompts itself and \
              the prefill pool stands idle (llm-d-benchmark#709, kserve#5728); in a prefill pod it is a hop more; \
              two of them ask each other. Known by name or image: another proxy may do the same.",
        accepted: "spec: {template: {containers: [{name: main}]}, prefill: {template: {containers: [{name: main}]}}}",
        reported: "
spec:
  template: {containers: [{name: main}]}
  prefill:
    template:
      initContainers: [{name: routing-proxy, image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1', restartPolicy: Always, args: [--port=9000, --vllm-port=8000]}]
      containers: [{name: main}]
",
        symptom_of: &[],
        check: Check::Pods(super::where_it_stands),
    },
    Rule {
        code: "V64",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a sidecar that is not an init container that keeps running",
        why: "An init container with restartPolicy Always starts before the engine and ends after it. Without that policy \
              the kubelet waits for it to end, and the engine is never started. A plain container may end while the \
              engine still answers, which is a warning.",
        accepted: "
spec:
  template: {initContainers: [{name: llm-d-routing-sidecar, restartPolicy: Always}], containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {initContainers: [{name: llm-d-routing-sidecar, restartPolicy: Never}], containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::order),
    },
    Rule {
        code: "V66",
        family: FAMILY,
        severity: Severity::Warn,
        title: "fewer ports of the sidecar than ranks of the engine, or more",
        why: "With --data-parallel-multi-port-external-lb each rank of the engine has a port of its own, and the sidecar \
              stands in front of as many as its --data-parallel-size says (llm-d's wide-EP guide). A rank without \
              one is not asked, and one too many answers with errors.",
        accepted: "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, args: [--secure-proxy=false, --vllm-port=8200, --data-parallel-size=8]}]
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args: [--port=8200, --data-parallel-size=8, --data-parallel-multi-port-external-lb, --data-parallel-supervisor-port=8208]
        readinessProbe: {httpGet: {path: /readyz, port: 8208}}
  prefill: {template: {containers: [{name: main, image: 'vllm/vllm-openai:v0.24.0'}]}}
",
        reported: "
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args: [--port=8200, --data-parallel-size=8, --data-parallel-multi-port-external-lb, --data-parallel-supervisor-port=8208]
        readinessProbe: {httpGet: {path: /readyz, port: 8208}}
  prefill: {template: {containers: [{name: main, image: 'vllm/vllm-openai:v0.24.0'}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::ranks),
    },
];
