//! The annotation that says what was injected: version, blueprint, configs, and what was added.

use serde_json::{Map, Value, json};

use super::container::{list, name};
use crate::compose::Blueprint;
use crate::workload::keys;

/// Digest of the blueprint that the pod was injected by before, if it was.
pub(super) fn blueprint_of(pod: &Value) -> Option<String> {
    let text = pod.get("metadata")?.get("annotations")?.get(keys::STATUS)?.as_str()?;
    let status: Value = serde_json::from_str(text).ok()?;
    Some(status.get("blueprint")?.as_str()?.to_owned())
}

/// The annotation's text for a pod that became `after` from `before`.
pub(super) fn text(blueprint: &Blueprint, before: &Value, after: &Value) -> String {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "blueprint": blueprint.digest,
        "configs": blueprint.configs,
        "added": added(before, after),
    })
    .to_string()
}

/// What `after` has and `before` has not, by name; kinds of which nothing was added are left out.
fn added(before: &Value, after: &Value) -> Map<String, Value> {
    let mut added = Map::new();
    for member in ["labels", "annotations"] {
        let keys = |pod: &Value| -> Vec<String> {
            crate::api::string_members(
                pod.get("metadata").and_then(|metadata| metadata.get(member)),
            )
            .map(|(key, _)| key.to_owned())
            .collect()
        };
        note(&mut added, member, &keys(before), keys(after));
    }
    for member in ["initContainers", "containers", "volumes"] {
        let names = |pod: &Value| names(pod.get("spec"), member);
        note(&mut added, member, &names(before), names(after));
    }
    let (before, after) = (before.get("spec"), after.get("spec"));
    let fields = |spec: Option<&Value>| -> Vec<String> {
        spec.and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    note(&mut added, "fields", &fields(before), fields(after));
    let mut inside = Map::new();
    for member in ["initContainers", "containers"] {
        for container in list(after, member) {
            let Some(name) = name(container) else { continue };
            let twin =
                list(before, member).iter().find(|item| super::container::name(item) == Some(name));
            let Some(twin) = twin else { continue };
            let mut parts = Map::new();
            note(&mut parts, "fields", &fields(Some(twin)), fields(Some(container)));
            for list in ["env", "volumeMounts", "ports"] {
                note(&mut parts, list, &names(Some(twin), list), names(Some(container), list));
            }
            if twin.get("args") != container.get("args") && twin.get("args").is_some() {
                parts.insert("changed".to_owned(), json!(["args"]));
            }
            if !parts.is_empty() {
                inside.insert(name.to_owned(), Value::Object(parts));
            }
        }
    }
    if !inside.is_empty() {
        added.insert("in".to_owned(), Value::Object(inside));
    }
    added
}

fn note(into: &mut Map<String, Value>, member: &str, before: &[String], after: Vec<String>) {
    let new: Vec<String> = after.into_iter().filter(|name| !before.contains(name)).collect();
    if !new.is_empty() {
        into.insert(member.to_owned(), json!(new));
    }
}

/// What the items of a list are called: by name, or by what they merge by.
fn names(value: Option<&Value>, member: &str) -> Vec<String> {
    list(value, member)
        .iter()
        .filter_map(|item| match member {
            "volumeMounts" => item.get("mountPath")?.as_str().map(str::to_owned),
            "ports" => item.get("containerPort").map(ToString::to_string),
            _ => name(item).map(str::to_owned),
        })
        .collect()
}
