//! The installed webhook on a real API server, with the real controllers: `kubectl apply` just works.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/installation.rs"]
mod installation;

#[path = "admission/canonical.rs"]
mod canonical;

use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use cluster::{PATIENCE, With, eventually};
use installation::Installation;
use serde_json::{Value, json};

use canonical::{canonical, differences};

/// One cluster with the webhook in it. Its tests take turns: some change what all of them see.
static SITE: LazyLock<Mutex<Installation>> =
    LazyLock::new(|| Mutex::new(Installation::start(With::LeaderWorkerSet, ".")));

fn site() -> MutexGuard<'static, Installation> {
    SITE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn example_path(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What the `inject` subcommand prints for a file, with the services of another.
fn inject(service: &str, workload: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_llmisvc-webhook"))
        .args(["inject", "-o", "json", "--objects", &example_path(service)])
        .arg(workload)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The pods that a selector finds in a namespace once there are so many, by name.
fn pods(site: &Installation, namespace: &str, selector: &str, count: usize) -> Vec<Value> {
    eventually(PATIENCE, &format!("{count} pods of {selector} in {namespace}"), || {
        let found = site.json(&["get", "pods", "-n", namespace, "-l", selector, "-o", "json"]);
        let items = found["items"].as_array().cloned().unwrap_or_default();
        if items.len() == count {
            return Ok(items);
        }
        let events =
            site.kubectl(&["get", "events", "-n", namespace, "--field-selector=type=Warning"]);
        Err(format!("{} pods; warnings:\n{}", items.len(), events.stdout))
    })
}

/// Applies a workload twice: as it is, for the webhook to complete its pods, and completed by
/// `inject`, in a namespace where the webhook is not called. The pods must be the same.
fn same_as_offline(service: &str, workload: &str, selector: &str, count: usize) {
    let site = site();
    site.apply(&example(service));
    site.apply(workload);
    let admitted = pods(&site, "default", selector, count);

    let file = site.file("workload.yaml", workload);
    let mut offline = inject(service, &file);
    offline["metadata"]["namespace"] = json!("kube-system");
    site.apply(&offline.to_string());
    let completed = pods(&site, "kube-system", selector, count);

    let sorted = |pods: &[Value]| {
        let mut texts: Vec<String> = pods.iter().map(canonical).collect();
        texts.sort();
        texts
    };
    for (admitted, completed) in sorted(&admitted).iter().zip(&sorted(&completed)) {
        assert!(
            admitted == completed,
            "admitted (-) and offline (+) differ:\n{}",
            differences(admitted, completed)
        );
    }
    site.delete("default", workload);
    site.delete("kube-system", workload);
}

#[test]
fn a_deployments_decode_pods_are_what_inject_prints() {
    let workload = example("deployment-decode.yaml");
    same_as_offline("qwen2-7b-pd.yaml", &workload, "app=qwen2-7b-decode", 1);
}

#[test]
fn a_deployments_prefill_pods_are_what_inject_prints() {
    let workload = example("deployment-prefill.yaml");
    same_as_offline("qwen2-7b-pd.yaml", &workload, "app=qwen2-7b-prefill", 2);
}

#[test]
fn a_leaderworkersets_pods_are_what_inject_prints() {
    let workload = example("leaderworkerset-decode.yaml");
    let selector = "leaderworkerset.sigs.k8s.io/name=deepseek-r1-decode";
    same_as_offline("deepseek-r1-data-parallel.yaml", &workload, selector, 2);
}

#[test]
fn a_jobs_pods_are_what_inject_prints() {
    let workload = r"
apiVersion: batch/v1
kind: Job
metadata: {name: warm-up, namespace: default}
spec:
  parallelism: 2
  completions: 2
  template:
    metadata:
      labels: {app: warm-up, inject.llmisvc.io/service: qwen2-7b-pd, inject.llmisvc.io/role: prefill}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: auto}]
";
    same_as_offline("qwen2-7b-pd.yaml", workload, "app=warm-up", 2);
}

#[test]
fn a_bare_pod_is_what_inject_prints() {
    let workload = example("pod-decode.yaml");
    same_as_offline("qwen2-7b-pd.yaml", &workload, "inject.llmisvc.io/role=decode", 1);
}

#[test]
fn a_service_its_config_and_its_pod_may_come_in_one_file() {
    let site = site();
    // The watches learn of the first two no sooner than the third is reviewed. Ten times over, with
    // names never seen before, because it is a race.
    for round in 0..10 {
        let file = format!(
            r"
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceServiceConfig
metadata: {{name: shared-{round}, namespace: default}}
spec:
  template:
    containers: [{{name: main, env: [{{name: ROUND, value: '{round}'}}]}}]
---
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {{name: fresh-{round}, namespace: default}}
spec:
  model: {{uri: 'hf://Qwen/Qwen2.5-7B-Instruct'}}
  baseRefs: [{{name: shared-{round}}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: fresh-{round}
  namespace: default
  labels: {{inject.llmisvc.io/service: fresh-{round}}}
spec:
  containers: [{{name: main, image: auto}}]
"
        );
        site.apply(&file);
        let pod = site.get("default", "pod", &format!("fresh-{round}"));
        assert_eq!(env(&pod, "ROUND"), Some(round.to_string()), "{pod:#}");
        site.delete("default", &file);
    }
}

#[test]
fn a_config_edited_with_kubectl_changes_the_next_pod() {
    let site = site();
    let objects = r"
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceServiceConfig
metadata: {name: level, namespace: default}
spec:
  template:
    containers: [{name: main, env: [{name: LEVEL, value: one}]}]
---
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: edited, namespace: default}
spec:
  model: {uri: 'hf://Qwen/Qwen2.5-7B-Instruct'}
  baseRefs: [{name: level}]
";
    site.apply(objects);
    let shown = || {
        let pod = site.dry_run(&pod("next", "edited", ""));
        env(&pod, "LEVEL")
    };
    let expect = |value: &str| {
        eventually(PATIENCE, "the config's value in the next pod", || match shown() {
            Some(found) if found == value => Ok(()),
            found => Err(format!("LEVEL is {found:?}, not {value:?}")),
        });
    };
    expect("one");

    let edit = |value: &str| {
        let patch = json!({"spec": {"template": {"containers": [
            {"name": "main", "env": [{"name": "LEVEL", "value": value}]}
        ]}}});
        let patch = patch.to_string();
        site.succeed(&["patch", "llmisvcconfig", "level", "--type=merge", "-p", &patch]);
    };
    edit("two");
    expect("two");

    // A slip of the pen does not take the pool down: what was good goes on, and says so.
    let broken = json!({"spec": {"template": {"containers": [
        {"name": "main", "env": [{"name": "LEVEL", "value": "{{ .Spec"}]}
    ]}}});
    let patch = broken.to_string();
    let refused = site.kubectl(&["patch", "llmisvcconfig", "level", "--type=merge", "-p", &patch]);
    if refused.status.success() {
        let warned = eventually(PATIENCE, "a warning that names the config", || {
            let made = site.kubectl_with(
                &["create", "--dry-run=server", "-f", "-"],
                &pod("next", "edited", ""),
            );
            if made.stderr.contains("level") { Ok(made) } else { Err(made.stderr) }
        });
        assert!(warned.status.success(), "{}", warned.stderr);
        expect("two");
    } else {
        assert!(
            refused.stderr.contains("LEVEL") || refused.stderr.contains("env"),
            "{}",
            refused.stderr
        );
    }
    edit("three");
    expect("three");
    site.delete("default", objects);
}

#[test]
fn a_dry_run_shows_the_injected_pod_and_leaves_no_trace() {
    let site = site();
    site.apply(&example("qwen2-7b-pd.yaml"));
    let namespace = site.cluster.namespace("dry-run");
    site.apply(
        &example("qwen2-7b-pd.yaml")
            .replace("namespace: default", &format!("namespace: {namespace}")),
    );
    let mut owned: Value = serde_json::from_str(&pod("tried", "qwen2-7b-pd", "decode")).unwrap();
    owned["metadata"]["namespace"] = json!(namespace);
    // An owner is what an Event would be written to.
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "controller": true,
        "uid": site.get(&namespace, "configmap", "kube-root-ca.crt")["metadata"]["uid"],
    }]);
    let shown = site.dry_run(&owned.to_string());
    assert!(shown["metadata"]["annotations"]["inject.llmisvc.io/status"].is_string(), "{shown:#}");
    assert_eq!(shown["spec"]["initContainers"][0]["name"], "llm-d-routing-sidecar");
    let list = |kind: &str| {
        let found = site.json(&["get", kind, "-n", &namespace, "-o", "json"]);
        found["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(list("pods"), 0);

    // The same for real does write an Event, and it is the only one.
    site.apply(&owned.to_string());
    eventually(PATIENCE, "one Event", || match list("events.events.k8s.io") {
        1 => Ok(()),
        found => Err(format!("{found} Events")),
    });
    let event = site.json(&["get", "events.events.k8s.io", "-n", &namespace, "-o", "json"]);
    let event = &event["items"][0];
    assert_eq!(event["reason"], "Injected", "{event:#}");
    assert_eq!(event["regarding"]["kind"], "ConfigMap", "{event:#}");
    site.succeed(&["delete", "namespace", &namespace, "--wait=false"]);
}

#[test]
fn replicas_are_patched_and_an_invalid_spec_is_refused_with_a_cause_a_line() {
    let site = site();
    let service = example("qwen2-7b-pd.yaml");
    site.apply(&service);
    for patch in [r#"{"spec":{"replicas":3}}"#, r#"{"spec":{"prefill":{"replicas":5}}}"#] {
        site.succeed(&["patch", "llmisvc", "qwen2-7b-pd", "--type=merge", "-p", patch]);
    }
    let now = site.get("default", "llmisvc", "qwen2-7b-pd");
    assert_eq!(
        (&now["spec"]["replicas"], &now["spec"]["prefill"]["replicas"]),
        (&json!(3), &json!(5))
    );

    let wrong = json!({"spec": {
        "parallelism": {"data": 8, "pipeline": 2},
        "prefill": {"parallelism": {"dataLocal": 4}},
    }});
    let patch = wrong.to_string();
    let refused = site.kubectl(&["patch", "llmisvc", "qwen2-7b-pd", "--type=merge", "-p", &patch]);
    assert!(!refused.status.success(), "{}", refused.stdout);
    let causes: Vec<&str> =
        refused.stderr.lines().filter(|line| line.trim_start().starts_with("* ")).collect();
    assert!(causes.len() >= 2, "{}", refused.stderr);
    for field in ["spec.parallelism", "spec.prefill.parallelism"] {
        assert!(
            causes.iter().any(|line| line.trim_start().starts_with(&format!("* {field}"))),
            "no line for {field} in\n{}",
            refused.stderr
        );
    }
    site.delete("default", &service);
}

/// What `validate` prints of a file, errors as kubectl prints causes, and warnings as it prints those.
fn validated(site: &Installation, service: &str) -> (Vec<String>, Vec<String>) {
    let file = site.file("checked.yaml", service);
    let output = Command::new(env!("CARGO_BIN_EXE_llmisvc-webhook"))
        .args(["validate", "-o", "json", &file])
        .output()
        .unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for finding in printed["findings"].as_array().unwrap() {
        let [code, field, message, help] =
            ["code", "field", "message", "help"].map(|key| finding[key].as_str().unwrap());
        match finding["severity"].as_str().unwrap() {
            "error" => errors.push(format!("{field}: {message}; {help} ({code})")),
            _ => warnings.push(format!("{code}: {field}: {message}; {help}")),
        }
    }
    (errors, warnings)
}

/// What its pods would be is known when a service is applied: a cause or a warning for each defect,
/// a line each, at the field where the author wrote it, and the same that `validate` finds.
#[test]
fn what_the_engines_cannot_do_is_said_when_the_service_is_applied() {
    let site = site();
    let service = |spec: &str| {
        format!(
            "apiVersion: serving.kserve.io/v1alpha2\nkind: LLMInferenceService\n\
             metadata: {{name: checked}}\nspec:\n  \
             model: {{uri: \"hf://Qwen/Qwen2.5-7B-Instruct\", name: qwen}}\n{spec}"
        )
    };
    let create = ["create", "--dry-run=server", "-f", "-"];
    let lines = |text: &str, start: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.trim_start().strip_prefix(start))
            .map(str::to_owned)
            .collect()
    };

    let wrong = service(
        "  template: {containers: [{name: main, args: [--dtype=half, -tp, \"2\"]}]}\n  \
         prefill: {template: {containers: [{name: main, args: [--dtype=bfloat16, -tp, \"3\"]}]}}",
    );
    let refused = site.kubectl_with(&create, &wrong);
    assert!(!refused.status.success(), "{}", refused.stdout);
    let causes = lines(&refused.stderr, "* ");
    let [dtype, tensor] = causes.as_slice() else { panic!("{}", refused.stderr) };
    for (cause, argument, code) in [(dtype, "args[0]", "(V13)"), (tensor, "args[1]", "(V06)")] {
        let field = format!("spec.prefill.template.containers[0].{argument}: ");
        assert!(cause.starts_with(&field) && cause.ends_with(code), "{}", refused.stderr);
    }
    assert_eq!(validated(&site, &wrong).0, causes);

    let odd = service(
        "  template: {hostNetwork: true, containers: [{name: main, image: \
         \"vllm/vllm-openai:v0.24.0\", env: [{name: VLLM_NIXL_ABORT_REQUEST_TIMEOUT, value: \
         \"300\"}]}]}\n  \
         prefill: {template: {containers: [{name: main, image: \"vllm/vllm-openai:v0.24.0\"}]}}",
    );
    let allowed = site.kubectl_with(&create, &odd);
    assert!(allowed.status.success(), "{}", allowed.stderr);
    let mut warnings = lines(&allowed.stderr, "Warning: ");
    for expected in
        ["V33: spec.template.hostNetwork: ", "V39: spec.template.containers[0].env[0]: "]
    {
        assert!(
            warnings.iter().any(|line| line.starts_with(expected)),
            "no {expected:?} in\n{}",
            allowed.stderr
        );
    }
    // The API server sorts the members of an object, a file is read as it is written.
    let (errors, mut on_file) = validated(&site, &odd);
    on_file.sort_unstable();
    warnings.sort_unstable();
    assert_eq!((errors, on_file), (Vec::new(), warnings));
}

#[test]
fn a_pod_of_an_unknown_service_is_refused_with_the_nearest_name() {
    let site = site();
    site.apply(&example("qwen2-7b-pd.yaml"));
    let refused = site.kubectl_with(&["create", "-f", "-"], &pod("lost", "qwen2-7b-dp", "decode"));
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("did you mean qwen2-7b-pd?"), "{}", refused.stderr);
}

#[test]
fn a_pod_that_did_not_ask_is_left_exactly_as_it_is() {
    let site = site();
    let plain = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "plain", "namespace": "default", "labels": {"app": "vllm"}},
        "spec": {"containers": [{"name": "main", "image": "vllm/vllm-openai:v0.11.0"}]},
    });
    let here = site.dry_run(&plain.to_string());
    let mut elsewhere = plain;
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    assert_eq!(canonical(&here), canonical(&site.dry_run(&elsewhere.to_string())));
}

#[test]
fn with_its_own_account_it_can_do_what_it_needs_and_nothing_else() {
    let site = site();
    let account = "--as=system:serviceaccount:llmisvc-system:llmisvc-webhook";
    let may = |verb: &str, what: &str, more: &[&str]| {
        let mut arguments = vec!["auth", "can-i", verb, what, account];
        arguments.extend(more);
        site.kubectl(&arguments).stdout.trim() == "yes"
    };
    for (verb, what, more) in [
        ("watch", "llminferenceservices.serving.kserve.io", &["-A"][..]),
        ("watch", "llminferenceserviceconfigs.serving.kserve.io", &["-A"]),
        ("watch", "namespaces", &[]),
        ("update", "secrets/llmisvc-webhook-ca", &["-n", "llmisvc-system"]),
        ("patch", "mutatingwebhookconfigurations/mutate.inject.llmisvc.io", &[]),
        ("create", "events.events.k8s.io", &["-A"]),
    ] {
        assert!(may(verb, what, more), "may not {verb} {what}");
    }
    for (verb, what, more) in [
        ("list", "pods", &["-A"][..]),
        ("get", "pods", &["-n", "llmisvc-system"]),
        ("list", "secrets", &["-n", "llmisvc-system"]),
        ("create", "secrets", &["-n", "llmisvc-system"]),
        ("get", "secrets/other", &["-n", "llmisvc-system"]),
        ("get", "secrets/llmisvc-webhook-ca", &["-n", "default"]),
        ("update", "llminferenceservices.serving.kserve.io", &["-A"]),
        ("update", "namespaces", &[]),
        ("patch", "mutatingwebhookconfigurations/lws-mutating-webhook-configuration", &[]),
        ("create", "mutatingwebhookconfigurations", &[]),
        ("delete", "mutatingwebhookconfigurations/mutate.inject.llmisvc.io", &[]),
        ("get", "configmaps", &["-n", "llmisvc-system"]),
    ] {
        assert!(!may(verb, what, more), "may {verb} {what}");
    }

    // Not only what the rules say: the token itself, which the running replicas use.
    let listed = site.as_webhook(&["get", "pods", "-A"]);
    assert!(!listed.status.success() && listed.stderr.contains("Forbidden"), "{}", listed.stderr);
    site.apply(
        "{apiVersion: v1, kind: Secret, metadata: {name: other, namespace: llmisvc-system}}",
    );
    let read = site.as_webhook(&["get", "secret", "other", "-n", "llmisvc-system"]);
    assert!(!read.status.success() && read.stderr.contains("Forbidden"), "{}", read.stderr);
}

/// The service's template names another value for everything that the API server fills in.
const EVERY_DEFAULT: &str = r"
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: every-default, namespace: default}
spec:
  model: {uri: 'pvc://weights/model'}
  template:
    terminationGracePeriodSeconds: 90
    dnsPolicy: Default
    restartPolicy: OnFailure
    schedulerName: volcano
    serviceAccountName: blueprint
    enableServiceLinks: false
    securityContext: {runAsUser: 1000, fsGroup: 2000}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
    volumes: [{name: tuning, configMap: {name: tuning, defaultMode: 256}}]
    containers:
      - name: main
        imagePullPolicy: Never
        terminationMessagePath: /dev/blueprint
        terminationMessagePolicy: FallbackToLogsOnError
        resources: {limits: {memory: 32Gi, nvidia.com/gpu: '4'}, requests: {memory: 16Gi}}
        ports: [{containerPort: 9999, protocol: UDP}]
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        volumeMounts: [{name: tuning, mountPath: /tuning}]
        readinessProbe:
          httpGet: {path: /ready, port: 8000, scheme: HTTPS}
          timeoutSeconds: 7
          periodSeconds: 17
          successThreshold: 2
          failureThreshold: 9
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: blueprint, namespace: default}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: author, namespace: default}}
";

#[test]
#[expect(clippy::too_many_lines, reason = "a line for each default")]
fn a_default_gives_way_and_a_wish_does_not() {
    let site = site();
    site.apply(EVERY_DEFAULT);
    let shown = |spec: Value| {
        let mut pod: Value = serde_json::from_str(&pod("default", "every-default", "")).unwrap();
        pod["spec"] = spec;
        site.dry_run(&pod.to_string())
    };
    let check = |pod: &Value, what: &str, expected: &[(&str, Value)]| {
        for (pointer, value) in expected {
            let found = pod.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(found, value, "{what}: {pointer} in\n{pod:#}");
        }
    };

    // Nothing written but what a pod has to have: the API server's defaults are no wishes.
    let bare = shown(json!({"containers": [{"name": "main", "image": "auto"}]}));
    let blueprint = [
        ("/spec/terminationGracePeriodSeconds", json!(90)),
        ("/spec/dnsPolicy", json!("Default")),
        ("/spec/restartPolicy", json!("OnFailure")),
        ("/spec/schedulerName", json!("volcano")),
        ("/spec/serviceAccountName", json!("blueprint")),
        ("/spec/enableServiceLinks", json!(false)),
        ("/spec/securityContext/runAsUser", json!(1000)),
        ("/spec/securityContext/fsGroup", json!(2000)),
        ("/spec/containers/0/imagePullPolicy", json!("Never")),
        ("/spec/containers/0/terminationMessagePath", json!("/dev/blueprint")),
        ("/spec/containers/0/terminationMessagePolicy", json!("FallbackToLogsOnError")),
        ("/spec/containers/0/resources/limits/memory", json!("32Gi")),
        ("/spec/containers/0/resources/requests/memory", json!("16Gi")),
        ("/spec/containers/0/readinessProbe/httpGet/path", json!("/ready")),
        ("/spec/containers/0/readinessProbe/httpGet/scheme", json!("HTTPS")),
        ("/spec/containers/0/readinessProbe/timeoutSeconds", json!(7)),
        ("/spec/containers/0/readinessProbe/periodSeconds", json!(17)),
        ("/spec/containers/0/readinessProbe/successThreshold", json!(2)),
        ("/spec/containers/0/readinessProbe/failureThreshold", json!(9)),
    ];
    check(&bare, "nothing written", &blueprint);
    let keys: Vec<&str> = bare["spec"]["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|toleration| toleration["key"].as_str())
        .collect();
    for key in ["nvidia.com/gpu", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }

    // Everything written that can be, without its optional fields.
    let skeleton = shown(json!({
        "securityContext": {},
        "volumes": [{"name": "tuning", "configMap": {"name": "tuning"}}],
        "containers": [{
            "name": "main", "image": "auto", "resources": {},
            "ports": [{"containerPort": 9999}],
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [{"name": "tuning", "mountPath": "/tuning"}],
            "readinessProbe": {"httpGet": {"port": 8000}},
        }],
    }));
    check(&skeleton, "optional fields left out", &blueprint);
    check(
        &skeleton,
        "optional fields left out",
        &[
            ("/spec/volumes/0/configMap/defaultMode", json!(256)),
            ("/spec/containers/0/ports/0/protocol", json!("UDP")),
            ("/spec/containers/0/env/0/valueFrom/fieldRef/apiVersion", json!("v1")),
        ],
    );

    // Each set to a value that is neither the default nor the blueprint's: the author's stands.
    let wishes = shown(json!({
        "terminationGracePeriodSeconds": 120,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "restartPolicy": "Never",
        "schedulerName": "kueue",
        "serviceAccountName": "author",
        "securityContext": {"runAsUser": 3000},
        "volumes": [{"name": "tuning", "configMap": {"name": "tuning", "defaultMode": 288}}],
        "containers": [{
            "name": "main", "image": "mine:1", "imagePullPolicy": "Always",
            "terminationMessagePath": "/dev/author",
            "resources": {"limits": {"memory": "64Gi"}, "requests": {"memory": "48Gi"}},
            "ports": [{"containerPort": 9999, "protocol": "SCTP"}],
            "volumeMounts": [{"name": "tuning", "mountPath": "/tuning"}],
            "readinessProbe": {
                "httpGet": {"port": 8000, "path": "/mine"},
                "timeoutSeconds": 3, "periodSeconds": 13, "successThreshold": 4,
                "failureThreshold": 5,
            },
        }],
    }));
    check(
        &wishes,
        "each set",
        &[
            ("/spec/terminationGracePeriodSeconds", json!(120)),
            ("/spec/dnsPolicy", json!("ClusterFirstWithHostNet")),
            ("/spec/restartPolicy", json!("Never")),
            ("/spec/schedulerName", json!("kueue")),
            ("/spec/serviceAccountName", json!("author")),
            ("/spec/securityContext/runAsUser", json!(3000)),
            ("/spec/securityContext/fsGroup", json!(2000)),
            ("/spec/volumes/0/configMap/defaultMode", json!(288)),
            ("/spec/containers/0/image", json!("mine:1")),
            ("/spec/containers/0/imagePullPolicy", json!("Always")),
            ("/spec/containers/0/terminationMessagePath", json!("/dev/author")),
            ("/spec/containers/0/resources/limits/memory", json!("64Gi")),
            ("/spec/containers/0/resources/requests/memory", json!("48Gi")),
            ("/spec/containers/0/resources/limits/nvidia.com~1gpu", json!("4")),
            ("/spec/containers/0/ports/0/protocol", json!("SCTP")),
            ("/spec/containers/0/readinessProbe/httpGet/path", json!("/mine")),
            ("/spec/containers/0/readinessProbe/timeoutSeconds", json!(3)),
            ("/spec/containers/0/readinessProbe/periodSeconds", json!(13)),
            ("/spec/containers/0/readinessProbe/successThreshold", json!(4)),
            ("/spec/containers/0/readinessProbe/failureThreshold", json!(5)),
        ],
    );
    site.delete("default", EVERY_DEFAULT);
}

/// A skeleton: what opts in, and nothing else.
fn pod(name: &str, service: &str, role: &str) -> String {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"inject.llmisvc.io/service": service}
        },
        "spec": {"containers": [{"name": "main", "image": "auto"}]},
    });
    if !role.is_empty() {
        pod["metadata"]["labels"]["inject.llmisvc.io/role"] = json!(role);
    }
    pod.to_string()
}

fn env(pod: &Value, name: &str) -> Option<String> {
    let variables = pod["spec"]["containers"][0]["env"].as_array()?;
    let variable = variables.iter().find(|variable| variable["name"] == name)?;
    variable["value"].as_str().map(str::to_owned)
}
