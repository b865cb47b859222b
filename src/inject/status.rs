//! The annotation that says what was injected: version, blueprint, configs, and what was added.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::container::{list, name};
use super::defaults::wishes;
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
    let (was, is) = (before.get("metadata"), after.get("metadata"));
    for member in ["labels", "annotations"] {
        let was = was.and_then(|metadata| metadata.get(member));
        let is = is.and_then(|metadata| metadata.get(member));
        note(&mut added, member, new_members(was, is));
    }
    let (was, is) = (before.get("spec"), after.get("spec"));
    for member in ["initContainers", "containers", "volumes"] {
        note(&mut added, member, new_items(was, is, member));
    }
    note(&mut added, "fields", new_fields(was, is, &[]));
    let mut inside = Map::new();
    for member in ["initContainers", "containers"] {
        // The author's containers come first, in his order.
        for (before, after) in list(was, member).iter().zip(list(is, member)) {
            let parts = added_inside(before, after, &[member, "*"]);
            if let Some(name) = name(after).filter(|_| !parts.is_empty()) {
                inside.insert(name.to_owned(), Value::Object(parts));
            }
        }
    }
    if !inside.is_empty() {
        added.insert("in".to_owned(), Value::Object(inside));
    }
    added
}

/// What was added to a container that was there.
fn added_inside(before: &Value, after: &Value, path: &[&str]) -> Map<String, Value> {
    let (was, is) = (Some(before), Some(after));
    let mut parts = Map::new();
    note(&mut parts, "fields", new_fields(was, is, path));
    let (had, has) = (resources(before), resources(after));
    note(&mut parts, "resources", has.difference(&had).map(|&name| Value::from(name)).collect());
    for list in ["env", "volumeMounts", "ports"] {
        note(&mut parts, list, new_items(was, is, list));
    }
    if before.get("args").is_some_and(|args| Some(args) != after.get("args")) {
        parts.insert("changed".to_owned(), json!(["args"]));
    }
    parts
}

/// What is asked for or limited, by name.
fn resources(container: &Value) -> BTreeSet<&str> {
    let resources = container.get("resources");
    ["limits", "requests"]
        .into_iter()
        .filter_map(|member| resources?.get(member)?.as_object())
        .flat_map(|members| members.keys().map(String::as_str))
        .collect()
}

fn note(into: &mut Map<String, Value>, member: &str, names: Vec<Value>) {
    if !names.is_empty() {
        into.insert(member.to_owned(), Value::Array(names));
    }
}

/// The fields that were not set and are; lists whose items are named one by one are not among them.
///
/// The same at admission, where the API server has filled in defaults, and before.
fn new_fields(was: Option<&Value>, is: Option<&Value>, path: &[&str]) -> Vec<Value> {
    const BY_ITEM: [&str; 7] =
        ["containers", "initContainers", "volumes", "env", "volumeMounts", "ports", "resources"];
    let was: BTreeSet<&str> = wishes(was, path).collect();
    let is: BTreeSet<&str> = wishes(is, path).collect();
    let new = is.difference(&was).filter(|member| !BY_ITEM.contains(member));
    new.map(|&member| Value::from(member)).collect()
}

/// The names of the members that one object has and the other has not.
fn new_members(was: Option<&Value>, is: Option<&Value>) -> Vec<Value> {
    let members = is.and_then(Value::as_object).into_iter().flatten();
    members
        .filter(|(name, _)| was.is_none_or(|was| was.get(name.as_str()).is_none()))
        .map(|(name, _)| Value::from(name.as_str()))
        .collect()
}

/// What the items of a list are called that stand behind those that were there: by name, or by what
/// they merge by.
fn new_items(was: Option<&Value>, is: Option<&Value>, member: &str) -> Vec<Value> {
    list(is, member)
        .iter()
        .skip(list(was, member).len())
        .filter_map(|item| {
            if let Some(port) = item.get("containerPort") {
                return Some(Value::String(port.to_string()));
            }
            let path = item.get("mountPath").and_then(Value::as_str);
            path.or_else(|| name(item)).map(Value::from)
        })
        .collect()
}
