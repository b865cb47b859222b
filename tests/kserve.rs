//! What KServe's own code composes of its presets and samples, and what ours does.
//!
//! The data is KServe's and stands beside the checkout, not in it; where it is absent these tests
//! say so and pass.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

#[path = "support/shared.rs"]
mod data;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data::shared;
use llmisvc_webhook::catalog::files::load;
use llmisvc_webhook::catalog::{Settings, Snapshot};
use llmisvc_webhook::compose::compose;
use llmisvc_webhook::presets::ReleaseSet;
use llmisvc_webhook::render::{Form, workloads};
use serde_json::{Value, json};

const RELEASES: [&str; 2] = ["v0.17.0", "v0.20.0"];

#[test]
fn every_sample_composes_to_what_kserve_makes_of_it() {
    let Some(kserve) = shared("kserve") else { return };
    let mut compared = 0;
    for release in RELEASES {
        for sample in samples(&kserve, release) {
            let paths = [kserve.join(release).join("presets"), sample.clone()];
            let settings = Settings { presets: ReleaseSet::None, ..Settings::default() };
            let snapshot = snapshot(&paths, settings);
            for (key, service) in &snapshot.services {
                let composed = compose(&snapshot, service)
                    .unwrap_or_else(|error| panic!("{}: {error}", sample.display()));
                let file = sample.file_stem().unwrap().to_str().unwrap();
                let path = kserve.join(release).join("composed").join(format!("{file}.json"));
                let theirs: Value =
                    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
                assert_eq!(json!(composed.configs), theirs["configs"], "{release} {key}");
                let mut differences = Vec::new();
                compare(
                    &normal(composed.spec()),
                    &normal(&theirs["spec"]),
                    "spec",
                    &mut differences,
                );
                assert!(
                    differences.is_empty(),
                    "{release} {file}: ours, then KServe's:\n{}",
                    differences.join("\n")
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 20);
}

#[test]
fn every_sample_composes_and_renders_with_the_built_in_presets() {
    let Some(kserve) = shared("kserve") else { return };
    for (release, presets) in RELEASES.into_iter().zip([ReleaseSet::V0_17, ReleaseSet::V0_20]) {
        for sample in samples(&kserve, release) {
            let settings = Settings { presets, ..Settings::default() };
            let snapshot = snapshot(std::slice::from_ref(&sample), settings);
            assert_eq!(snapshot.services.len(), 1, "{}", sample.display());
            for service in snapshot.services.values() {
                for form in [Form::Complete, Form::Skeleton] {
                    let rendered = workloads(&snapshot, service, form)
                        .unwrap_or_else(|error| panic!("{release} {}: {error}", sample.display()));
                    assert!(!rendered.workloads.is_empty());
                }
            }
        }
    }
}

#[test]
fn workloads_have_the_names_labels_and_sizes_of_kserve() {
    let Some(kserve) = shared("kserve") else { return };
    for release in RELEASES {
        for sample in samples(&kserve, release) {
            let file = sample.file_stem().unwrap().to_str().unwrap().to_owned();
            let paths = [kserve.join(release).join("presets"), sample];
            let settings = Settings { presets: ReleaseSet::None, ..Settings::default() };
            let snapshot = snapshot(&paths, settings);
            let path = kserve.join(release).join("composed").join(format!("{file}.json"));
            let theirs: Value =
                serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let service = snapshot.services.values().next().unwrap();
            let rendered = workloads(&snapshot, service, Form::Complete).unwrap();
            let theirs: Vec<&Value> = theirs["workloads"].as_object().unwrap().values().collect();
            assert_eq!(rendered.workloads.len(), theirs.len(), "{release} {file}");
            for (ours, theirs) in rendered.workloads.iter().zip(theirs) {
                assert_eq!(ours["kind"], theirs["kind"]);
                assert_eq!(ours["metadata"]["name"], theirs["name"]);
                assert_eq!(ours["spec"]["replicas"], theirs["replicas"]);
                let (leader, template) = if ours["kind"] == "LeaderWorkerSet" {
                    let group = &ours["spec"]["leaderWorkerTemplate"];
                    assert_eq!(group["size"], theirs["size"]);
                    (Some(&group["leaderTemplate"]), &group["workerTemplate"])
                } else {
                    (None, &ours["spec"]["template"])
                };
                assert_eq!(
                    template["metadata"]["labels"],
                    theirs["template"]["metadata"]["labels"]
                );
                if let Some(leader) = leader {
                    assert_eq!(
                        leader["metadata"]["labels"],
                        theirs["leader"]["metadata"]["labels"]
                    );
                }
                let networks = |pod: &Value| {
                    pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"].clone()
                };
                assert_eq!(networks(template), networks(&theirs["template"]));
            }
        }
    }
}

fn samples(kserve: &Path, release: &str) -> Vec<PathBuf> {
    let mut samples: Vec<PathBuf> = std::fs::read_dir(kserve.join(release).join("samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("llm-"))
        .collect();
    samples.sort();
    samples
}

fn snapshot(paths: &[PathBuf], settings: Settings) -> Snapshot {
    let loaded = load(paths, settings);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.snapshot
}

/// Empty values aside, numbers as text, and command items that a template rendered to nothing
/// dropped: KServe leaves `""` there.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, member)| {
                    let mut member = normal(member);
                    if let (true, Value::Array(items)) = (key == "command", &mut member) {
                        items.retain(|item| item != "");
                    }
                    (key.clone(), member)
                })
                .filter(|(_, member)| !is_empty(member))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn compare(ours: &Value, theirs: &Value, path: &str, differences: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let absent = Value::Null;
                compare(
                    a.get(key).unwrap_or(&absent),
                    b.get(key).unwrap_or(&absent),
                    &format!("{path}.{key}"),
                    differences,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(a, b, &format!("{path}[{index}]"), differences);
            }
        }
        (a, b) if a == b => {}
        (a, b) => differences.push(format!("{path}:\n  {a}\n  {b}")),
    }
}
