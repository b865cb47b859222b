//! Reviews that a real API server sent, for pods of KServe, LeaderWorkerSet, Deployments and a bare
//! pod. They stand beside the checkout, with KServe's presets; where they are absent these tests say
//! so and pass. The examples' own reviews are always tried.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

#[path = "support/shared.rs"]
mod data;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use data::shared;
use llmisvc_webhook::catalog::files::load;
use llmisvc_webhook::catalog::{Settings, Snapshot};
use llmisvc_webhook::presets::ReleaseSet;
use llmisvc_webhook::review::mutate;
use serde_json::{Value, json};

/// KServe's own presets and the two services that the recorded pods belong to.
fn kserve() -> Option<(PathBuf, Snapshot)> {
    let (kserve, reviews) = (shared("kserve/v0.20.0")?, shared("reviews")?);
    let sample = "samples/llm-inference-service-dp-ep-deepseek-r1-pd-gpu-p-deepep-ht-d-pplx.yaml";
    let paths = [kserve.join("presets"), kserve.join(sample), reviews.join("qwen2-7b-pd.yaml")];
    let settings = Settings { presets: ReleaseSet::None, ..Settings::default() };
    Some((reviews, loaded(&paths, settings)))
}

fn loaded(paths: &[PathBuf], settings: Settings) -> Snapshot {
    let loaded = load(paths, settings);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.snapshot
}

struct Answered {
    before: Value,
    after: Value,
    operations: Vec<Value>,
    warnings: Value,
}

/// The review's pod, and what its answer makes of it; asking again must change nothing.
fn answered(snapshot: &Snapshot, file: &Path) -> Answered {
    let mut review: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let before = review["request"]["object"].clone();
    let (after, operations, response) = ask(snapshot, &review);
    assert_eq!(response["allowed"], true, "{}: {response}", file.display());
    review["request"]["object"] = after.clone();
    let (_, again, response) = ask(snapshot, &review);
    assert_eq!(again, Vec::<Value>::new(), "{}", file.display());
    assert_eq!(response["auditAnnotations"]["decision"], "already-injected", "{}", file.display());
    let warnings = response.get("warnings").cloned().unwrap_or_default();
    Answered { before, after, operations, warnings }
}

fn ask(snapshot: &Snapshot, review: &Value) -> (Value, Vec<Value>, Value) {
    let answer = mutate(review.to_string().as_bytes(), snapshot).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let response = answer["response"].clone();
    assert_eq!(response["uid"], review["request"]["uid"]);
    let mut pod = review["request"]["object"].clone();
    let mut operations = Vec::new();
    if let Some(patch) = response.get("patch") {
        let bytes = base64::prelude::BASE64_STANDARD.decode(patch.as_str().unwrap()).unwrap();
        operations = serde_json::from_slice(&bytes).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&bytes).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    (pod, operations, response)
}

fn item<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().into_iter().flatten().find(|item| item["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn pods_of_kserve_get_what_it_leaves_out_and_nothing_else() {
    let Some((reviews, snapshot)) = kserve() else { return };
    for (file, expected) in [
        ("kserve-decode", vec!["VLLM_NIXL_SIDE_CHANNEL_HOST", "VLLM_NIXL_SIDE_CHANNEL_PORT"]),
        (
            "kserve-prefill",
            vec![
                "VLLM_NIXL_SIDE_CHANNEL_HOST",
                "VLLM_NIXL_SIDE_CHANNEL_PORT",
                "VLLM_ADDITIONAL_ARGS",
            ],
        ),
        ("kserve-decode-leader", vec!["VLLM_NIXL_SIDE_CHANNEL_PORT"]),
        ("kserve-decode-worker", vec!["VLLM_NIXL_SIDE_CHANNEL_PORT"]),
        ("kserve-prefill-leader", vec!["VLLM_NIXL_SIDE_CHANNEL_PORT"]),
        ("kserve-prefill-worker", vec!["VLLM_NIXL_SIDE_CHANNEL_PORT"]),
    ] {
        let answered = answered(&snapshot, &reviews.join(format!("{file}.json")));
        let mut env = Vec::new();
        for operation in &answered.operations {
            assert_eq!(operation["op"], "add", "{file}: {operation}");
            let path = operation["path"].as_str().unwrap();
            if path.ends_with("/env/-") {
                env.push(operation["value"]["name"].as_str().unwrap());
            } else if path.ends_with("/ports/-") {
                assert_eq!(operation["value"]["containerPort"], 5600, "{file}");
            } else {
                assert!(path.starts_with("/metadata/annotations"), "{file}: {path}");
            }
        }
        assert_eq!(env, expected, "{file}");
        assert_eq!(answered.warnings, Value::Null, "{file}");
    }
}

#[test]
fn a_group_is_the_same_before_and_after_the_webhook_of_leaderworkerset() {
    let Some((reviews, snapshot)) = kserve() else { return };
    for file in ["lws-leader", "lws-worker"] {
        let after = answered(&snapshot, &reviews.join(format!("{file}.json")));
        let before = answered(&snapshot, &reviews.join(format!("{file}-before-lws.json")));
        let [after, before] = [after, before].map(|answered| {
            assert_eq!(answered.before["spec"]["containers"][0]["image"], "auto");
            let mut spec = answered.after["spec"].clone();
            // LeaderWorkerSet's variables are there in one of the two, and names differ.
            for list in ["containers", "initContainers"] {
                for container in spec[list].as_array_mut().into_iter().flatten() {
                    let lws = |item: &Value| item["name"].as_str().unwrap().starts_with("LWS_");
                    container["env"].as_array_mut().unwrap().retain(|item| !lws(item));
                    container["volumeMounts"].as_array_mut().unwrap().retain(|mount| {
                        !mount["name"].as_str().unwrap().starts_with("kube-api-access")
                    });
                }
            }
            spec["volumes"]
                .as_array_mut()
                .unwrap()
                .retain(|volume| !volume["name"].as_str().unwrap().starts_with("kube-api-access"));
            for own in ["hostname", "subdomain", "affinity"] {
                spec.as_object_mut().unwrap().shift_remove(own);
            }
            spec
        });
        assert_eq!(after, before, "{file}");
    }
}

#[test]
fn skeletons_become_prefill_and_decode_workers() {
    let Some(reviews) = shared("reviews") else { return };
    let snapshot = loaded(&[reviews.join("qwen2-7b-pd.yaml")], Settings::default());
    for (file, port, sidecar) in [
        ("deployment-decode", "8001", true),
        ("deployment-prefill", "8000", false),
        ("bare-pod-dry-run", "8001", true),
    ] {
        let answered = answered(&snapshot, &reviews.join(format!("{file}.json")));
        is_a_worker(&answered, file, port, sidecar);
    }
}

#[test]
fn the_examples_become_prefill_and_decode_workers() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let snapshot = loaded(std::slice::from_ref(&examples), Settings::default());
    for (file, port, sidecar) in [
        ("deployment-decode", "8001", true),
        ("deployment-prefill", "8000", false),
        ("lws-leader", "8001", true),
        ("lws-worker", "8001", false),
        ("lws-worker-before-lws", "8001", false),
        ("bare-pod-dry-run", "8001", true),
    ] {
        let answered = answered(&snapshot, &examples.join(format!("reviews/{file}.json")));
        is_a_worker(&answered, file, port, sidecar);
    }
}

fn is_a_worker(answered: &Answered, file: &str, port: &str, sidecar: bool) {
    let spec = &answered.after["spec"];
    let main = item(&spec["containers"], "main");
    let args: Vec<&str> =
        main["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let at = args.iter().position(|word| *word == "--port").unwrap();
    assert_eq!(args[at + 1], port, "{file}");
    let is_connector = |word: &&str| word.replace('_', "-") == "--kv-transfer-config";
    assert_eq!(args.iter().filter(|word| is_connector(word)).count(), 1, "{file}: {args:?}");
    assert_eq!(main["image"], "ghcr.io/llm-d/llm-d-cuda:v0.4.0", "{file}");
    assert_eq!(item(&main["env"], "VLLM_NIXL_SIDE_CHANNEL_PORT")["value"], "5600", "{file}");
    assert_eq!(
        item(&spec["initContainers"], "llm-d-routing-sidecar").is_object(),
        sidecar,
        "{file}"
    );
    assert_eq!(answered.warnings, Value::Null, "{file}");
    // The service account's volume stays where it was: first.
    assert_eq!(spec["volumes"][0], answered.before["spec"]["volumes"][0], "{file}");
    for operation in &answered.operations {
        assert!(json!(["add", "replace", "test"]).as_array().unwrap().contains(&operation["op"]));
    }
}
