//! A pod without what tells one copy of it from another.

use serde_json::{Map, Value};

/// What the API server and the controllers write into each pod: its identity, and their book-keeping.
const IDENTITY: [&str; 9] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "ownerReferences",
    "managedFields",
];

/// Labels and annotations whose values are made of an object's uid or name.
const MADE_OF_IDENTITY: [&str; 9] = [
    "controller-revision-hash",
    "pod-template-hash",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "leaderworkerset.sigs.k8s.io/group-key",
    "leaderworkerset.sigs.k8s.io/template-revision-hash",
    "leaderworkerset.sigs.k8s.io/leader-name",
    "statefulset.kubernetes.io/pod-name",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// The volume that the API server's own admission adds, as the start of its name.
const TOKEN: &str = "kube-api-access-";

/// The pod as text, its keys sorted, without its identity and the API server's token volume.
pub(crate) fn canonical(pod: &Value) -> String {
    let mut pod = pod.clone();
    if let Some(members) = pod.as_object_mut() {
        members.remove("status");
    }
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.retain(|key, _| !IDENTITY.contains(&key.as_str()));
        for of in ["labels", "annotations"] {
            if let Some(Value::Object(map)) = metadata.get_mut(of) {
                map.retain(|key, _| !MADE_OF_IDENTITY.contains(&key.as_str()));
                if map.is_empty() {
                    metadata.remove(of);
                }
            }
        }
    }
    // LeaderWorkerSet writes them into the containers that are there when it is called: offline the
    // sidecar is one of them, at admission it comes after.
    for container in pod["spec"]["initContainers"].as_array_mut().into_iter().flatten() {
        if let Some(env) = container["env"].as_array_mut() {
            env.retain(|it| !it["name"].as_str().is_some_and(|name| name.starts_with("LWS_")));
        }
    }
    without_token(&mut pod["spec"]["volumes"], "name");
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            without_token(&mut container["volumeMounts"], "name");
        }
    }
    let text = serde_json::to_string_pretty(&sorted(pod)).unwrap_or_default();
    // The namespace stands in addresses (LeaderWorkerSet's, for one).
    text.replace(".kube-system", ".NAMESPACE").replace(".default", ".NAMESPACE")
}

/// Where two texts differ, as a diff.
pub(crate) fn differences(left: &str, right: &str) -> String {
    similar::TextDiff::from_lines(left, right).unified_diff().context_radius(8).to_string()
}

fn without_token(list: &mut Value, key: &str) {
    if let Some(items) = list.as_array_mut() {
        items.retain(|item| !item[key].as_str().is_some_and(|name| name.starts_with(TOKEN)));
    }
    if list.as_array().is_none_or(Vec::is_empty) {
        *list = Value::Null;
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> =
                members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(Map::from_iter(members))
        }
        other => other,
    }
}
