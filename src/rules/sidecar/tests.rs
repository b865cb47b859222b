use crate::catalog::Severity::{self, Reject, Warn};
use crate::rules::tests::found;

/// What is found of a decode pod with that sidecar and that engine, codes in order.
#[track_caller]
fn of(sidecar: &str, engine: &str, expected: &[(&str, Severity)]) {
    let text = format!(
        "
spec:
  template:
    initContainers: [{{name: llm-d-routing-sidecar, {sidecar}}}]
    containers: [{{name: main, {engine}}}]
  prefill: {{template: {{containers: [{{name: main}}]}}}}
"
    );
    assert_eq!(found(&text), expected, "{text}");
}

fn image(release: &str) -> String {
    format!("image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v{release}'")
}

fn newest(args: &str) -> String {
    let image = "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0";
    format!("image: '{image}', args: [--vllm-port=8001, --secure-proxy=false, {args}]")
}

#[test]
fn flags_are_those_of_the_release() {
    let older = |args: &str| format!("{}, args: [--vllm-port=8001, {args}]", image("0.4.0"));
    of(&older("-secure-proxy=false, -connector=nixlv2"), "", &[]);
    of(&older("--secure-serving=false"), "", &[("V49", Reject)]);
    of(&newest("--secure-serving=false"), "", &[("V49", Reject)]);
    of(&newest("-kv-connector=nixlv2"), "", &[("V49", Reject)]);
    of(&newest("--kv-conector=nixlv2"), "", &[("V49", Reject)]);
    of(&newest("--prefiller-use-tls=false"), "", &[("V49", Reject)]);
    // What an image holds that nobody knows is not known, but a typo is one.
    let mirror = |args: &str| {
        format!(
            "image: 'mirror/sidecar@sha256:0', args: [--vllm-port=8001, --secure-proxy=false, {args}]"
        )
    };
    of(&mirror("--connector=nixlv2"), "", &[]);
    of(&mirror("--secure-serving=false, --tls-min-version=1.3"), "", &[]);
    of(&mirror("--kv-conector=nixlv2"), "", &[("V49", Warn)]);
    // An image alone leaves the preset's arguments, which are those of another release.
    of("image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0'", "", &[("V49", Reject)]);
    // Words of a shell are no flags.
    of("command: [/bin/sh, -c, 'exec /app/pd-sidecar --connector=x']", "", &[]);
}

#[test]
fn values_are_those_of_the_release() {
    of(&newest("--kv-connector=mooncke"), "", &[("V50", Reject)]);
    of(&newest("--kv-connector=$(CONNECTOR)"), "", &[]);
    of(&newest("'--inference-pool=a/b/c'"), "", &[("V50", Reject)]);
    of(&newest("--enable-ssrf-protection=maybe"), "", &[("V50", Reject)]);
    of(&newest("--enable-prefiller-sampling, 'true'"), "", &[("V50", Warn)]);
    of(&newest("'--enable-tls=prefiler'"), "", &[("V50", Reject)]);
    of(&newest("--port=80000"), "", &[("V50", Reject)]);
}

#[test]
fn a_default_is_that_of_the_release() {
    let args = "args: [--secure-proxy=false, --kv-connector=nixlv2]";
    of(&format!("{}, {args}", image("0.8.0")), "", &[]);
    let newest = "image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0'";
    of(&format!("{newest}, {args}"), "", &[("V51", Reject)]);
    of(&format!("{newest}, {args}"), "args: [--port=8200]", &[]);
    of(&format!("image: 'mirror/sidecar:ours', {args}"), "", &[]);
    of(&format!("{}, args: [--vllm-port=8001]", image("0.8.0")), "", &[("V60", Reject)]);
    of(
        &format!("{}, args: [--vllm-port=8001, --secure-proxy, 'false']", image("0.8.0")),
        "",
        &[("V60", Reject)],
    );
}

#[test]
fn somebody_else_may_listen_where_the_sidecar_asks() {
    let text = "
spec:
  template:
    initContainers: [{name: llm-d-routing-sidecar, args: [--vllm-port=9000, --secure-proxy=false]}]
    containers: [{name: main}, {name: proxy, image: proxy}]
  prefill: {template: {containers: [{name: main}]}}
";
    assert_eq!(found(text), [("V51", Warn)]);
}

#[test]
fn a_pool_is_given_by_flag_or_variable() {
    let pool = |release: &str, args: &str, env: &str| {
        format!(
            "{}, args: [--vllm-port=8001, --secure-proxy=false, --enable-ssrf-protection, {args}], env: [{env}]",
            image(release)
        )
    };
    let name = "{name: INFERENCE_POOL_NAME, value: p}";
    of(&pool("0.4.0", "--port=8000", name), "", &[]);
    let other = "{name: OTHER, value: x}";
    of(&pool("0.4.0", "--port=8000", other), "", &[("V53", Reject)]);
    of(&pool("0.4.0", "--inference-pool-name=p", other), "", &[]);
    let group = "--pool-group=inference.networking.x-k8s.io";
    of(&pool("0.8.0", group, "{name: INFERENCE_POOL, value: ns/p}"), "", &[]);
    of(
        &pool("0.8.0", "--port=8000", "{name: INFERENCE_POOL, value: ns/p}"),
        "",
        &[("V56", Reject)],
    );
    // What no release reads any longer is said where the pool is missed.
    of(&newest("--enable-ssrf-protection"), "", &[("V53", Reject)]);
    let ignored = format!("{}, env: [{name}]", newest("--enable-ssrf-protection"));
    of(&ignored, "", &[("V53", Reject)]);
}

#[test]
fn newer_releases_are_warned_about() {
    let newer = "image: 'ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.11.0', args: [--vllm-port=8001, \
                 --secure-proxy=false, --enable-ssrf-protection, --inference-pool=default/p, \
                 --pool-group=inference.networking.x-k8s.io]";
    of(newer, "", &[("V56", Warn)]);
}

#[test]
fn each_connector_has_its_protocols() {
    let engine = |connector: &str| {
        format!(
            "args: ['--kv-transfer-config={{\"kv_connector\":\"{connector}\",\"kv_role\":\"kv_both\"}}']"
        )
    };
    let both = |sidecar: &str, connector: &str| {
        let engine = engine(connector);
        let mut found = found(&format!(
            "
spec:
  template:
    initContainers: [{{name: llm-d-routing-sidecar, {sidecar}}}]
    containers: [{{name: main, {engine}}}]
  prefill: {{template: {{containers: [{{name: main, {engine}}}]}}}}
"
        ));
        // Others have their say of roles and stores.
        found.retain(|(code, _)| *code == "V58");
        found
    };
    assert_eq!(both(&newest("--kv-connector=nixlv2"), "NixlPushConnector"), []);
    assert_eq!(both(&newest("--kv-connector=shared-storage"), "OffloadingConnector"), []);
    assert_eq!(both(&newest("--kv-connector=offloading"), "OffloadingConnector"), []);
    assert_eq!(both(&newest("--kv-connector=nixlv2"), "ExampleConnector"), [("V58", Warn)]);
    assert_eq!(both(&newest("--kv-connector=sglang"), "MooncakeConnector"), [("V58", Reject)]);
    // One that nobody knows may speak it.
    assert_eq!(both(&newest("--kv-connector=nixlv2"), "MyOwnKvConnector"), []);
}

#[test]
fn both_speak_tls_or_none() {
    let probes = "startupProbe: {httpGet: {scheme: HTTPS}}, livenessProbe: {httpGet: {scheme: HTTPS}}, \
                  readinessProbe: {httpGet: {scheme: HTTPS}}";
    let engine = format!("args: [--ssl-certfile=/var/run/kserve/tls/tls.crt], {probes}");
    of(&newest("--enable-tls=decoder"), &engine, &[]);
    of(&newest("--kv-connector=nixlv2"), &engine, &[("V61", Reject)]);
    of(&newest("'--enable-tls=decoder,prefiller'"), &engine, &[("V61", Reject)]);
    of(&newest("'--enable-tls=$(STAGES)'"), &engine, &[]);
    let older = |args: &str| {
        format!("{}, args: [--vllm-port=8001, --secure-proxy=false, {args}]", image("0.4.0"))
    };
    of(&older("--decoder-use-tls"), &engine, &[]);
    of(&older("--decoder-use-tls=false"), &engine, &[("V61", Reject)]);
}

#[test]
fn one_sidecar_before_decode() {
    let two = "
spec:
  template:
    initContainers: [{name: proxy, image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1', restartPolicy: Always, args: [--port=9000, --vllm-port=8001]}]
    containers: [{name: main}]
  prefill: {template: {containers: [{name: main}]}}
";
    assert_eq!(found(two), [("V63", Warn)]);
    let beside = "
spec:
  template:
    containers:
      - name: main
      - {name: routing-proxy, image: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1', args: [--vllm-port=8001]}
  prefill: {template: {containers: [{name: main}]}}
";
    assert_eq!(found(beside), [("V63", Warn), ("V64", Warn)], "the preset's is there too");
}

#[test]
fn what_takes_a_file_from_the_sidecars_image_is_no_sidecar() {
    let image = image("0.4.0");
    let service = |name: &str| {
        format!(
            "
spec:
  template:
    initContainers: [{{name: {name}, {image}, command: [cp, /app/pd-sidecar, /tools/]}}]
    containers: [{{name: main}}]
  prefill: {{template: {{containers: [{{name: main}}]}}}}
"
        )
    };
    assert_eq!(found(&service("copy")), []);
    // By its name it should be one, but what it runs may end.
    let found = found(&service("routing-proxy"));
    assert!(found.contains(&("V64", Warn)) && !found.iter().any(|it| it.1 == Reject), "{found:?}");
}
