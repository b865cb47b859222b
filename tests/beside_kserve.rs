//! Beside the real KServe: its controller makes the pools of a service, and the webhook gives their
//! pods what KServe leaves out.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/installation.rs"]
mod installation;

#[path = "beside_kserve/composed.rs"]
mod composed;
#[path = "beside_kserve/pods.rs"]
mod pods;
#[path = "beside_kserve/tree.rs"]
mod tree;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use cluster::{PATIENCE, With, eventually};
use composed::{Model, Step};
use installation::Installation;
use serde_json::{Value, json};
use tree::Added;

const STATUS: &str = "inject.llmisvc.io/status";
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// What KServe's script reads, a layer of quotes taken away by its `eval`.
const CONNECTOR: &str =
    r#"--kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'"#;

/// One cluster with LeaderWorkerSet, KServe and the webhook. Its tests take turns.
static SITE: LazyLock<Mutex<Installation>> = LazyLock::new(|| {
    let site = Installation::start(With::KServe, "overlays/beside-kserve");
    site.succeed(&["label", "namespace", "default", "inject.llmisvc.io/fabric=roce-multus"]);
    for service in [
        include_str!("../examples/qwen2-7b-pd.yaml"),
        include_str!("../examples/deepseek-r1-data-parallel.yaml"),
        include_str!("beside_kserve/direct-data-parallel.yaml"),
    ] {
        site.apply(service);
    }
    Mutex::new(site)
});

fn site() -> MutexGuard<'static, Installation> {
    SITE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pool's pods, once there are so many and the webhook has seen each.
///
/// A pod may be created before the webhook has heard of its service, and then is left alone; such a
/// pod is deleted, for the pool to make it anew.
fn pool(site: &Installation, service: &str, component: &str, count: usize) -> Vec<Value> {
    let selector =
        format!("app.kubernetes.io/name={service},app.kubernetes.io/component={component}");
    eventually(PATIENCE, &format!("{count} pods of {selector}"), || {
        let found = site.json(&["get", "pods", "-n", "default", "-l", &selector, "-o", "json"]);
        let items = found["items"].as_array().cloned().unwrap_or_default();
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
        let missed: Vec<String> = items
            .iter()
            .filter(|pod| pod["metadata"]["annotations"][STATUS].is_null())
            .map(name)
            .collect();
        for pod in &missed {
            site.succeed(&[
                "delete",
                "pod",
                "-n",
                "default",
                pod,
                "--wait=false",
                "--ignore-not-found",
            ]);
        }
        let leaving = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        if missed.is_empty() && items.len() == count && !items.iter().any(leaving) {
            return Ok(items);
        }
        let names: Vec<String> = items.iter().map(name).collect();
        let service = site.json(&["get", "llmisvc", "-n", "default", service, "-o", "json"]);
        Err(format!(
            "{names:?}, not injected: {missed:?}; conditions of the service: {}",
            service["status"]["conditions"]
        ))
    })
}

fn names(pods: &[Value]) -> BTreeSet<&str> {
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let items = list.as_array().into_iter().flatten();
    items.into_iter().find(|item| item["name"] == name).unwrap_or(&Value::Null)
}

fn engine(pod: &Value) -> &Value {
    named(&pod["spec"]["containers"], "main")
}

/// A workload of KServe's, once there is one.
fn made(site: &Installation, kind: &str, name: &str) -> Value {
    eventually(PATIENCE, &format!("{kind} {name}"), || {
        let arguments = ["get", kind, name, "-n", "default", "--ignore-not-found", "-o", "json"];
        serde_json::from_str(&site.succeed(&arguments)).map_err(|_| "there is none".to_owned())
    })
}

fn deployment(site: &Installation, name: &str) -> Value {
    made(site, "deployment", name)["spec"]["template"].take()
}

fn group(site: &Installation, name: &str) -> Value {
    made(site, "leaderworkerset", name)["spec"]["leaderWorkerTemplate"].take()
}

/// What the webhook gives to every prefill and decode pod that KServe made.
const ADDED: [&str; 5] = [
    "annotations.inject.llmisvc.io/status",
    "spec.containers[main].env[VLLM_ADDITIONAL_ARGS]",
    "spec.containers[main].env[VLLM_NIXL_SIDE_CHANNEL_HOST]",
    "spec.containers[main].env[VLLM_NIXL_SIDE_CHANNEL_PORT]",
    "spec.containers[main].ports[5600]",
];

const ROCE: [&str; 5] = [
    "annotations.k8s.v1.cni.cncf.io/networks",
    "spec.containers[main].env[KSERVE_INFER_ROCE]",
    "spec.containers[main].env[UCX_TLS]",
    "spec.containers[main].resources.limits.rdma/roce_gdr",
    "spec.containers[main].resources.requests.rdma/roce_gdr",
];

const INFINIBAND: [&str; 2] = [
    "spec.containers[main].resources.limits.rdma/ib",
    "spec.containers[main].resources.requests.rdma/ib",
];

/// The pod has all of the template it was made from, and beside it exactly this.
fn check_pod(template: &Value, pod: &Value, fabric: &[&str]) {
    let name = &pod["metadata"]["name"];
    let changed = pods::changed(template, pod);
    assert!(
        changed.is_empty(),
        "{name}: of the template, then of the pod:\n{}",
        changed.join("\n")
    );
    let mut expected: Vec<&str> = ADDED.iter().chain(fabric).copied().collect();
    expected.sort_unstable();
    assert_eq!(pods::added(template, pod), expected, "{name}");

    let env = |variable: &str| named(&engine(pod)["env"], variable);
    assert_eq!(env("VLLM_ADDITIONAL_ARGS")["value"], CONNECTOR);
    let host = &env("VLLM_NIXL_SIDE_CHANNEL_HOST")["valueFrom"]["fieldRef"]["fieldPath"];
    assert_eq!(host, "status.podIP");
    assert_eq!(env("VLLM_NIXL_SIDE_CHANNEL_PORT")["value"], "5600");
    let script = engine(pod)["command"].to_string();
    assert!(script.contains("VLLM_ADDITIONAL_ARGS"), "{name} does not read it: {script}");
}

fn check_roce(pod: &Value) {
    assert_eq!(pod["metadata"]["annotations"][NETWORKS], "roce-p2");
    for list in ["limits", "requests"] {
        assert_eq!(engine(pod)["resources"][list]["rdma/roce_gdr"], "1");
    }
    assert_eq!(named(&engine(pod)["env"], "KSERVE_INFER_ROCE")["value"], "true");
    let transports = &named(&engine(pod)["env"], "UCX_TLS")["value"];
    assert_eq!(transports, "rc,sm,self,cuda_copy,cuda_ipc");
}

#[test]
fn prefill_and_decode_pods_get_what_kserve_leaves_out_and_keep_what_it_set() {
    let site = site();
    scale(&site, &json!({"spec": {"replicas": 1, "prefill": {"replicas": 2}}}));
    for (name, component, count) in [
        ("qwen2-7b-pd-kserve", "llminferenceservice-workload", 1),
        ("qwen2-7b-pd-kserve-prefill", "llminferenceservice-workload-prefill", 2),
    ] {
        let pods = pool(&site, "qwen2-7b-pd", component, count);
        let template = &deployment(&site, name);
        for pod in &pods {
            check_pod(template, pod, &ROCE);
            check_roce(pod);
        }
    }
}

fn scale(site: &Installation, patch: &Value) {
    let patch = patch.to_string();
    let arguments =
        ["patch", "llmisvc", "qwen2-7b-pd", "-n", "default", "--type=merge", "-p", &patch];
    site.succeed(&arguments);
}

#[test]
fn each_pool_is_scaled_on_its_own() {
    let site = site();
    let prefill = "llminferenceservice-workload-prefill";
    let decode = "llminferenceservice-workload";
    scale(&site, &json!({"spec": {"replicas": 1, "prefill": {"replicas": 2}}}));
    let (decode_before, prefill_before) =
        (pool(&site, "qwen2-7b-pd", decode, 1), pool(&site, "qwen2-7b-pd", prefill, 2));
    scale(&site, &json!({"spec": {"prefill": {"replicas": 3}}}));
    let prefill_after = pool(&site, "qwen2-7b-pd", prefill, 3);
    assert!(names(&prefill_before).is_subset(&names(&prefill_after)), "pods were replaced");
    let decode_then = pool(&site, "qwen2-7b-pd", decode, 1);
    assert_eq!(names(&decode_then), names(&decode_before));

    scale(&site, &json!({"spec": {"replicas": 2}}));
    let decode_after = pool(&site, "qwen2-7b-pd", decode, 2);
    assert!(names(&decode_before).is_subset(&names(&decode_after)), "pods were replaced");
    let prefill_then = pool(&site, "qwen2-7b-pd", prefill, 3);
    assert_eq!(names(&prefill_then), names(&prefill_after));

    let template = &deployment(&site, "qwen2-7b-pd-kserve");
    for pod in &decode_after {
        check_pod(template, pod, &ROCE);
    }
}

#[test]
fn leaders_and_workers_of_both_roles_are_recognised() {
    let site = site();
    let rendered = printed(&site, "render", "deepseek-r1");
    for (number, pool_name) in
        ["deepseek-r1-kserve-mn", "deepseek-r1-kserve-mn-prefill"].iter().enumerate()
    {
        let group = group(&site, pool_name);
        let ours = &rendered[number];
        assert_eq!(ours["metadata"]["name"], **pool_name);
        let suffix = if number == 0 { "" } else { "-prefill" };
        for (member, place, index) in
            [("leaderTemplate", "leader", "0"), ("workerTemplate", "worker", "1")]
        {
            let component = format!("llminferenceservice-workload-{place}{suffix}");
            let pods = pool(&site, "deepseek-r1", &component, 1);
            let pod = &pods[0];
            assert_eq!(pod["metadata"]["labels"][INDEX], index);
            check_pod(&group[member], pod, &INFINIBAND);
            // The digest of a blueprint is that of one role and one place in the group.
            let ours = &ours["spec"]["leaderWorkerTemplate"][member];
            assert_eq!(blueprint(pod), blueprint(ours), "{pool_name}: {place}");
        }
    }
}

#[test]
fn a_plain_command_is_told_its_rank_by_the_index_in_the_group() {
    let site = site();
    let group = group(&site, "direct-kserve-mn");
    let mut pods = pool(&site, "direct", "llminferenceservice-workload-leader", 1);
    pods.extend(pool(&site, "direct", "llminferenceservice-workload-worker", 2));
    pods.sort_by_key(|pod| pod["metadata"]["labels"][INDEX].to_string());
    for (index, pod) in pods.iter().enumerate() {
        assert_eq!(pod["metadata"]["labels"][INDEX], index.to_string());
        let template = &group[if index == 0 { "leaderTemplate" } else { "workerTemplate" }];
        let list = |of: &Value| engine(of)["args"].as_array().unwrap().clone();
        // Eight ranks a pod. The arguments that KServe gave stand as they stood.
        let mut expected =
            vec![json!("--data-parallel-start-rank"), json!((8 * index).to_string())];
        expected.extend(list(template));
        assert_eq!(list(pod), expected, "{}", pod["metadata"]["name"]);
        let changed = pods::changed(template, pod);
        assert!(
            changed.iter().all(|it| it.starts_with("spec.containers[main].args:")),
            "{}",
            changed.join("\n")
        );
    }
}

#[test]
fn compose_prints_what_kserve_puts_into_its_deployments() {
    let site = site();
    let model = Model::Downloaded("hf://Qwen/Qwen2.5-7B-Instruct");
    let spec = printed(&site, "compose", "qwen2-7b-pd")[0]["spec"].take();
    let made = |name: &str| deployment(&site, name)["spec"].take();

    let name = "qwen2-7b-pd-kserve";
    let mut steps = composed::model(&model);
    steps.extend([composed::account(name), composed::account_copy(name)]);
    steps.extend(composed::sidecar("qwen2-7b-pd"));
    composed::check(name, &spec["template"], &made(name), &steps);

    let name = "qwen2-7b-pd-kserve-prefill";
    let steps = composed::model(&model);
    composed::check(name, &spec["prefill"]["template"], &made(name), &steps);

    check_scheduler(&site, "qwen2-7b-pd", &spec, &model);
    check_workloads(&site, "qwen2-7b-pd");
}

#[test]
fn compose_prints_what_kserve_puts_into_its_leaderworkersets() {
    let site = site();
    for (service, model) in [
        ("deepseek-r1", Model::Claim("deepseek-r1-weights", "DeepSeek-R1-0528")),
        ("direct", Model::Claim("weights", "model")),
    ] {
        let spec = printed(&site, "compose", service)[0]["spec"].take();
        for (suffix, pool) in [("", &spec), ("-prefill", &spec["prefill"])] {
            if pool.is_null() {
                continue;
            }
            let name = format!("{service}-kserve-mn{suffix}");
            let made = group(&site, &name);
            for (member, theirs) in [("template", "leaderTemplate"), ("worker", "workerTemplate")] {
                let mut steps: Vec<Step> = composed::model(&model);
                steps.push(composed::account(&name));
                // Only decode pods beside a prefill pool have a sidecar, and only their leaders.
                if suffix.is_empty() && !spec["prefill"].is_null() && member == "template" {
                    steps.extend(composed::sidecar(service));
                }
                let title = format!("{name}: {theirs}");
                composed::check(&title, &pool[member], &made[theirs]["spec"], &steps);
            }
        }
        check_scheduler(&site, service, &spec, &model);
        check_workloads(&site, service);
    }
}

fn check_scheduler(site: &Installation, service: &str, spec: &Value, model: &Model<'_>) {
    let name = format!("{service}-kserve-router-scheduler");
    let made = deployment(site, &name)["spec"].take();
    let mut steps = composed::scheduler(model);
    steps.push(composed::account_copy(&format!("{service}-epp-sa")));
    composed::check(&name, &spec["router"]["scheduler"]["template"], &made, &steps);
}

/// What `render` prints around the pods is in KServe's workloads: names, labels, sizes, policies.
fn check_workloads(site: &Installation, service: &str) {
    for ours in printed(site, "render", service) {
        let (kind, name) =
            (ours["kind"].as_str().unwrap(), ours["metadata"]["name"].as_str().unwrap());
        let around = |workload: &Value| {
            let mut workload = workload.clone();
            let spec = workload["spec"].as_object_mut().unwrap();
            let templates = match spec.get_mut("leaderWorkerTemplate") {
                Some(group) => group.as_object_mut().unwrap(),
                None => spec,
            };
            for template in ["template", "leaderTemplate", "workerTemplate"] {
                if let Some(template) = templates.get_mut(template) {
                    *template = json!({"labels": template["metadata"]["labels"]});
                }
            }
            workload
        };
        // A pool that was scaled a moment ago follows.
        eventually(PATIENCE, &format!("{name} as rendered"), || {
            let theirs = made(site, kind, name);
            let found = tree::differences(&around(&ours), &around(&theirs), Added::Anywhere);
            let lost = found.iter().filter(|difference| difference.below.is_some());
            let lost: Vec<String> = lost.map(ToString::to_string).collect();
            if lost.is_empty() { Ok(()) } else { Err(lost.join("\n")) }
        });
    }
}

fn blueprint(pod: &Value) -> Value {
    let text = pod["metadata"]["annotations"][STATUS].as_str().expect("injected");
    let status: Value = serde_json::from_str(text).unwrap();
    status["blueprint"].clone()
}

/// What a subcommand prints for a service as it is in the cluster, with the cluster's configs and the
/// webhook's settings.
fn printed(site: &Installation, subcommand: &str, service: &str) -> Vec<Value> {
    let text = |arguments: &[&str]| site.json(arguments).to_string();
    let file = site.file(
        &format!("{service}.json"),
        &text(&["get", "llmisvc", "-n", "default", service, "-o", "json"]),
    );
    let configs = site
        .file("configs.json", &text(&["get", "llminferenceserviceconfigs", "-A", "-o", "json"]));
    let namespace =
        site.file("namespace.json", &text(&["get", "namespace", "default", "-o", "json"]));
    let settings = site.file("settings.yaml", &settings(site));
    let output = Command::new(env!("CARGO_BIN_EXE_llmisvc-webhook"))
        .args([subcommand, &file, "-o", "json", "--settings", &settings])
        .args(["--objects", &configs, "--objects", &namespace])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    match printed["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![printed],
    }
}

/// The settings that the installed webhook reads.
fn settings(site: &Installation) -> String {
    let maps = site.json(&["get", "configmap", "-n", "llmisvc-system", "-o", "json"]);
    let mut settings = maps["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|map| map["metadata"]["name"].as_str().unwrap().starts_with("llmisvc-webhook"));
    let data = settings.next().expect("the webhook's ConfigMap")["data"].clone();
    assert!(settings.next().is_none(), "there is more than one");
    let files: Vec<&Value> = data.as_object().unwrap().values().collect();
    assert_eq!(files.len(), 1, "{data}");
    files[0].as_str().unwrap().to_owned()
}
