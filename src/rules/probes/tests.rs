use serde_json::json;

use super::pre_stop;
use crate::catalog::Settings;
use crate::catalog::Severity::{self, Reject, Warn};
use crate::presets::ReleaseSet;
use crate::rules::tests::{found, found_with};

/// What is found of a service with one kind of pods and that engine.
#[track_caller]
fn of(engine: &str, expected: &[(&str, Severity)]) {
    let text = format!("spec: {{template: {{containers: [{{name: main, {engine}}}]}}}}");
    assert_eq!(found(&text), expected, "{text}");
}

#[test]
fn a_port_has_somebody_who_listens() {
    of("livenessProbe: {httpGet: {port: 9000}}", &[("V68", Reject)]);
    of("livenessProbe: {tcpSocket: {port: 9000}}", &[("V68", Reject)]);
    of("livenessProbe: {httpGet: {port: http}}", &[("V68", Reject)]);
    of("ports: [{name: http, containerPort: 8000}], livenessProbe: {httpGet: {port: http}}", &[]);
    of("livenessProbe: {httpGet: {port: 9000, host: example.com}}", &[]);
    of("livenessProbe: {exec: {command: [check]}}", &[]);
    // Declared, but vLLM is not there; something in the image may be.
    of("ports: [{containerPort: 9000}], livenessProbe: {httpGet: {port: 9000}}", &[("V68", Warn)]);
    let other = "
spec:
  template:
    containers:
      - {name: main, livenessProbe: {httpGet: {port: 9000}}}
      - {name: health, image: health, ports: [{containerPort: 9000}]}
";
    assert_eq!(found(other), []);
    assert_eq!(
        found(&other.replace("containerPort: 9000", "containerPort: 9001")),
        [("V68", Warn)]
    );
}

#[test]
fn a_script_may_do_anything() {
    of(
        "command: [/bin/bash, -c], args: ['exporter & exec vllm serve /mnt/models --port 8000'], \
         livenessProbe: {httpGet: {port: 9000}}",
        &[("V68", Warn)],
    );
}

#[test]
fn the_scheme_is_that_of_who_answers() {
    let tls = "--ssl-certfile=/var/run/kserve/tls/tls.crt";
    // The preset's three, at one place.
    of(&format!("args: [{tls}]"), &[("V69", Warn)]);
    of(
        "args: ['--ssl-certfile=$(FILE)'], livenessProbe: {httpGet: {scheme: HTTPS}}",
        &[("V69", Warn)],
    );
}

/// KServe's `llmisvc_config_pd_disagg.yaml`, which is for a cluster without TLS.
#[test]
fn a_scheme_that_is_written_stays_with_tls_on() {
    let settings = Settings { presets: ReleaseSet::V0_20, enable_tls: true, ..Settings::default() };
    let text = "
spec:
  template: {containers: [{name: main, readinessProbe: {httpGet: {path: /health, port: 8001, scheme: HTTP}}}]}
  prefill: {template: {containers: [{name: main}]}}
";
    assert_eq!(found(text), []);
    assert_eq!(found_with(settings, text), [("V69", Warn)]);
}

#[test]
fn a_model_takes_its_time() {
    of("startupProbe: {failureThreshold: 3}", &[("V70", Warn)]);
    of("startupProbe: {failureThreshold: 3, periodSeconds: 60}", &[]);
    of("livenessProbe: {initialDelaySeconds: 600}", &[]);
    of("livenessProbe: {initialDelaySeconds: 601}", &[("V70", Warn)]);
}

#[test]
fn a_service_links_its_neighbours() {
    let workload = |name: &str, more: &str| {
        found(&format!(
            "
spec: {{}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: default}}
spec:
  template:
    metadata: {{labels: {{inject.llmisvc.io/service: example}}}}
    spec: {{{more}containers: [{{name: main, image: auto}}]}}
"
        ))
    };
    assert_eq!(workload("vllm", ""), [("V75", Warn)]);
    assert_eq!(workload("vllm", "enableServiceLinks: false, "), []);
    assert_eq!(workload("chat", ""), []);
}

#[test]
fn a_sleep_is_read_in_any_of_its_forms() {
    for (hook, seconds) in [
        (json!({"sleep": {"seconds": 15}}), 15),
        (json!({"exec": {"command": ["/bin/sleep", "15"]}}), 15),
        (json!({"exec": {"command": ["/bin/sh", "-c", "sleep 15; echo"]}}), 15),
        (json!({"exec": {"command": ["sleep", "15s"]}}), 15),
        (json!({"exec": {"command": ["sleep", "soon"]}}), 0),
        (json!({"httpGet": {"port": 1}}), 0),
    ] {
        assert_eq!(pre_stop(&json!({"lifecycle": {"preStop": hook}})), seconds, "{hook}");
    }
    of("image: 'vllm/vllm-openai:v0.24.0', args: [--shutdown-timeout=60]", &[("V74", Warn)]);
}

#[test]
fn the_built_in_presets_agree_with_themselves() {
    let plain = "
spec:
  template: {containers: [{name: main}]}
  prefill: {template: {containers: [{name: main}]}}
";
    let groups = "
spec:
  parallelism: {data: 16, dataLocal: 8}
  template: {containers: [{name: main}]}
  worker: {containers: [{name: main}]}
  prefill:
    parallelism: {data: 16, dataLocal: 8}
    template: {containers: [{name: main}]}
    worker: {containers: [{name: main}]}
";
    for presets in [ReleaseSet::V0_17, ReleaseSet::V0_20] {
        for enable_tls in [false, true] {
            let settings = Settings { presets, enable_tls, ..Settings::default() };
            for text in [plain, groups] {
                let found = found_with(settings.clone(), text);
                assert_eq!(found, [], "{presets:?}, TLS {enable_tls}: {text}");
            }
        }
    }
}

#[test]
fn what_is_no_vllm_may_start_at_once() {
    let probe = "startupProbe: {periodSeconds: 1, failureThreshold: 30}";
    of(probe, &[("V70", Warn)]);
    of(&format!("command: [/app/llm-d-inference-sim], args: [--port, \"8000\"], {probe}"), &[]);
}
