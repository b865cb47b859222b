//! The annotation that says what was injected: version, blueprint, configs, and what was added.

use std::borrow::Cow;
use std::collections::HashSet;

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
    let (was, is) = (before.get("metadata"), after.get("metadata"));
    for member in ["labels", "annotations"] {
        let was = was.and_then(|metadata| metadata.get(member));
        let is = is.and_then(|metadata| metadata.get(member));
        note(&mut added, member, members(was), members(is));
    }
    let (was, is) = (before.get("spec"), after.get("spec"));
    for member in ["initContainers", "containers", "volumes"] {
        note(&mut added, member, names(was, member), names(is, member));
    }
    note(&mut added, "fields", members(was), members(is));
    let mut inside = Map::new();
    for member in ["initContainers", "containers"] {
        // The author's containers come first, in his order.
        for (before, after) in list(was, member).iter().zip(list(is, member)) {
            let parts = added_inside(before, after);
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
fn added_inside(before: &Value, after: &Value) -> Map<String, Value> {
    let (was, is) = (Some(before), Some(after));
    let mut parts = Map::new();
    note(&mut parts, "fields", members(was), members(is));
    for list in ["env", "volumeMounts", "ports"] {
        note(&mut parts, list, names(was, list), names(is, list));
    }
    if before.get("args").is_some_and(|args| Some(args) != after.get("args")) {
        parts.insert("changed".to_owned(), json!(["args"]));
    }
    parts
}

fn note<'a>(
    into: &mut Map<String, Value>,
    member: &str,
    before: impl Iterator<Item = Name<'a>>,
    after: impl Iterator<Item = Name<'a>>,
) {
    let before: HashSet<Name<'_>> = before.collect();
    let new: Vec<Value> = after
        .filter(|name| !before.contains(name))
        .map(|name| Value::String(name.into_owned()))
        .collect();
    if !new.is_empty() {
        into.insert(member.to_owned(), Value::Array(new));
    }
}

type Name<'a> = Cow<'a, str>;

/// The names of an object's members.
fn members(value: Option<&Value>) -> impl Iterator<Item = Name<'_>> {
    let members = value.and_then(Value::as_object);
    members.into_iter().flatten().map(|(key, _)| Cow::Borrowed(key.as_str()))
}

/// What the items of a list are called: by name, or by what they merge by.
fn names<'a>(value: Option<&'a Value>, member: &str) -> impl Iterator<Item = Name<'a>> {
    list(value, member).iter().filter_map(move |item| {
        if let Some(port) = item.get("containerPort") {
            return Some(Cow::Owned(port.to_string()));
        }
        let path = item.get("mountPath").and_then(Value::as_str);
        path.or_else(|| name(item)).map(Cow::Borrowed)
    })
}
