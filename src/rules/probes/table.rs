//! The rules of ports, probes and certificates, and what is to be said about each.

use crate::catalog::Severity;
use crate::rules::{Check, Rule};

const FAMILY: &str = "ports, probes and TLS";

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        code: "V67",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a probe of the engine that asks the sidecar",
        why: "The sidecar answers /health itself and at once, whatever becomes of the engine: one that hangs is never \
              started again, and a pod is ready before its model is loaded. In a decode pod 8000 is the sidecar's \
              port and 8001 the engine's. The pod runs, and KServe's published samples do so: a warning.",
        accepted: "
spec:
  template: {containers: [{name: main, livenessProbe: {httpGet: {path: /health, port: 8001}}}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, livenessProbe: {httpGet: {path: /health, port: 8000}}}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &["V62"],
        check: Check::Pods(super::of_the_sidecar),
    },
    Rule {
        code: "V68",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a probe of a port where nobody listens",
        why: "A startup or liveness probe that cannot connect has the container started again for ever, a readiness probe \
              keeps the pod out of its Service. vLLM listens on its --port alone; the kubelet looks a port's name \
              up among the container's own. A warning where a script or another container may listen there.",
        accepted: "spec: {template: {containers: [{name: main, args: [--port=8000], readinessProbe: {httpGet: {path: /health, port: 8000}}}]}}",
        reported: "spec: {template: {containers: [{name: main, args: [--port=8000], readinessProbe: {httpGet: {path: /health, port: 8080}}}]}}",
        symptom_of: &[],
        check: Check::Pods(super::nobody_listens),
    },
    Rule {
        code: "V69",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a probe whose scheme is not that of the port",
        why: "The engine serves TLS where it has --ssl-certfile, and only then; a probe by the other scheme fails \
              (kserve#5875). KServe's presets follow enableTLS of its configuration, and the built-in ones enableTls \
              of the settings: where the two differ, it is not seen from here, so it is a warning.",
        accepted: "spec: {template: {containers: [{name: main, livenessProbe: {httpGet: {path: /health, port: 8000, scheme: HTTP}}}]}}",
        reported: "spec: {template: {containers: [{name: main, livenessProbe: {httpGet: {path: /health, port: 8000, scheme: HTTPS}}}]}}",
        symptom_of: &[],
        check: Check::Pods(super::scheme),
    },
    Rule {
        code: "V70",
        family: FAMILY,
        severity: Severity::Warn,
        title: "an engine that is killed while it loads",
        why: "Until startupProbe succeeds no other probe is asked, and where it gives up the container is started again: \
              its time is the time to load a model, whatever livenessProbe says (kserve#5062, kserve#4840). llm-d's \
              guides give an hour.",
        accepted: "spec: {template: {containers: [{name: main, startupProbe: {failureThreshold: 360}, livenessProbe: {initialDelaySeconds: 3600}}]}}",
        reported: "spec: {template: {containers: [{name: main, livenessProbe: {initialDelaySeconds: 3600}}]}}",
        symptom_of: &[],
        check: Check::Pods(super::budget),
    },
    Rule {
        code: "V71",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a livenessProbe that kills a busy engine",
        why: "Under load, with long prompts above all, /health of vLLM takes longer than a second, and an engine that is \
              started again loses all its answers (kserve#4840). llm-d's guides give 5 seconds.",
        accepted: "spec: {template: {containers: [{name: main, livenessProbe: {timeoutSeconds: 5}}]}}",
        reported: "spec: {template: {containers: [{name: main, livenessProbe: {timeoutSeconds: 1}}]}}",
        symptom_of: &[],
        check: Check::Pods(super::impatient),
    },
    Rule {
        code: "V72",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a readinessProbe that asks one rank of several",
        why: "With --data-parallel-multi-port-external-lb each rank has a port of its own, and a supervisor answers for all \
              of them: /readyz, on --data-parallel-supervisor-port (llm-d's wide-EP guide).",
        accepted: "
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args: [--data-parallel-size=8, --data-parallel-multi-port-external-lb, --data-parallel-supervisor-port=8008]
        readinessProbe: {httpGet: {path: /readyz, port: 8008}}
",
        reported: "
spec:
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.24.0
        args: [--data-parallel-size=8, --data-parallel-multi-port-external-lb, --data-parallel-supervisor-port=8008]
",
        symptom_of: &[],
        check: Check::Pods(super::supervisor),
    },
    Rule {
        code: "V73",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a probe of an engine that serves nothing",
        why: "With --headless the engine has no HTTP server: it computes for the leader of its group. A probe of its port \
              fails, and the pod is started again, and its whole group with it. KServe's templates of workers have \
              none.",
        accepted: "
spec:
  parallelism: {data: 16, dataLocal: 8}
  template: {containers: [{name: main}]}
  worker: {containers: [{name: main}]}
",
        reported: "
spec:
  parallelism: {data: 16, dataLocal: 8}
  template: {containers: [{name: main}]}
  worker: {containers: [{name: main, livenessProbe: {httpGet: {path: /health, port: 8000}}}]}
",
        symptom_of: &[],
        check: Check::Pods(super::headless),
    },
    Rule {
        code: "V74",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a grace period that ends before the engine does",
        why: "A pod that ends sleeps in preStop, so that no new request comes, and vLLM then finishes those it has, for \
              --shutdown-timeout seconds. With terminationGracePeriodSeconds over it is killed, and answers and KV \
              blocks that others wait for are lost (llm-d's guide on graceful shutdown).",
        accepted: "spec: {template: {terminationGracePeriodSeconds: 90, containers: [{name: main, lifecycle: {preStop: {sleep: {seconds: 60}}}}]}}",
        reported: "spec: {template: {containers: [{name: main, lifecycle: {preStop: {sleep: {seconds: 60}}}}]}}",
        symptom_of: &[],
        check: Check::Pods(super::grace),
    },
    Rule {
        code: "V75",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a VLLM_PORT that is no number",
        why: "vLLM ends with ValueError where VLLM_PORT is no number (get_vllm_port in vLLM's envs.py). Kubernetes gives \
              such a one, tcp://…, to pods beside a Service called vllm (vllm#34199); whether there is one is not \
              seen from here, and for a workload of that name it is a warning.",
        accepted: "spec: {template: {containers: [{name: main, env: [{name: VLLM_PORT, value: \"29500\"}]}]}}",
        reported: "spec: {template: {containers: [{name: main, env: [{name: VLLM_PORT, value: \"tcp://10.0.0.1:8000\"}]}]}}",
        symptom_of: &[],
        check: Check::Pods(super::port_variable),
    },
    Rule {
        code: "V76",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a prefill engine that hangs up before the sidecar",
        why: "The sidecar keeps a connection that nobody uses for 90 seconds, and vLLM closes it after \
              VLLM_HTTP_TIMEOUT_KEEP_ALIVE: a request that comes in between is answered with a reset. llm-d's guides \
              write 120 on prefill. A variable that nobody wrote, which means 5 seconds, is not reported.",
        accepted: "
spec:
  template: {containers: [{name: main}]}
  prefill: {template: {containers: [{name: main, env: [{name: VLLM_HTTP_TIMEOUT_KEEP_ALIVE, value: \"120\"}]}]}}
",
        reported: "
spec:
  template: {containers: [{name: main}]}
  prefill: {template: {containers: [{name: main, env: [{name: VLLM_HTTP_TIMEOUT_KEEP_ALIVE, value: \"30\"}]}]}}
",
        symptom_of: &[],
        check: Check::Pods(super::keep_alive),
    },
    Rule {
        code: "V77",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a certificate that nothing mounts",
        why: "vLLM ends where the file of --ssl-certfile is not there, and the sidecar where --cert-path has none. They \
              come from a Secret, by a mount; an image may hold them as well, so it is a warning. Whether the Secret \
              is there is not seen from here.",
        accepted: "
spec:
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
    containers:
      - name: main
        args: [--ssl-certfile=/etc/tls/tls.crt, --ssl-keyfile=/var/run/kserve/tls/tls.key]
        startupProbe: {httpGet: {scheme: HTTPS}}
        livenessProbe: {httpGet: {scheme: HTTPS}}
        readinessProbe: {httpGet: {scheme: HTTPS}}
",
        symptom_of: &[],
        check: Check::Pods(super::certificate),
    },
];
