//! Containers of a pod: which one runs the engine, and reading and filling them by name.

use serde_json::{Value, json};

use crate::decision::{Refusal, quoted};
use crate::json;
use crate::workload::keys;

/// Name of the engine's container in KServe's presets and ours.
pub(super) const MAIN: &str = "main";
/// Names that llm-d's guides and charts give it, in the order in which they are looked for.
const LLM_D_NAMES: [&str; 2] = ["vllm", "modelserver"];
/// Name of the routing sidecar in KServe's presets and ours.
pub(super) const SIDECAR: &str = "llm-d-routing-sidecar";
/// Its names: ours, then that of llm-d's guides and charts.
pub(crate) const SIDECARS: [&str; 2] = [SIDECAR, "routing-proxy"];

/// The container that runs the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Engine {
    /// Its name; there may be no such container in the pod yet.
    pub(super) name: String,
    /// It was chosen because it stood alone: that is to be remembered, for it may not stay alone.
    pub(super) remember: bool,
}

/// Chooses the engine's container.
///
/// # Errors
/// [`Refusal`] where the annotation names a container that is not there.
pub(super) fn engine(pod: &Value) -> Result<Engine, Refusal> {
    let containers = list(pod.get("spec"), "containers");
    let names: Vec<&str> = containers.iter().filter_map(name).collect();
    let chosen = |name: &str, remember| Engine { name: name.to_owned(), remember };
    let annotation = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.get(keys::CONTAINER)?.as_str());
    if let Some(wanted) = annotation {
        return if names.contains(&wanted) {
            Ok(chosen(wanted, false))
        } else {
            Err(Refusal::at(
                "unknown-container",
                format!("metadata.annotations[{}]", keys::CONTAINER),
                format!(
                    "no container {} in this pod; containers there are: {}",
                    quoted(wanted),
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                ),
            ))
        };
    }
    let known = std::iter::once(MAIN).chain(LLM_D_NAMES).find(|known| names.contains(known));
    Ok(match (known, containers) {
        (Some(known), _) => chosen(known, false),
        (None, [only]) if is_placeholder(only) => chosen(name(only).unwrap_or(MAIN), true),
        (None, _) => chosen(MAIN, false),
    })
}

/// Whether the image says "the blueprint's": a Deployment may not leave the field out.
pub(crate) fn is_placeholder(container: &Value) -> bool {
    match container.get("image") {
        None | Some(Value::Null) => true,
        Some(Value::String(image)) => image.trim().is_empty() || image == "auto",
        Some(_) => false,
    }
}

/// What the API server chooses where nobody does: always for `:latest` or no tag.
pub(super) fn default_pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let (name, digest) = name.split_once('@').map_or((name, false), |(name, _)| (name, true));
    match name.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !digest => "Always",
        _ => "IfNotPresent",
    }
}

/// `name` of a container, volume, ….
pub(super) fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

/// The items of a list member; none where it is absent or something else.
pub(super) fn list<'a>(value: Option<&'a Value>, member: &str) -> &'a [Value] {
    value.map(|value| json::list(value, &[member])).unwrap_or_default()
}

/// The item of that name.
pub(super) fn named<'a>(value: &'a Value, member: &str, wanted: &str) -> Option<&'a Value> {
    json::named(value.get(member)?, wanted)
}

/// The item of that name, to change.
pub(super) fn named_mut<'a>(
    value: &'a mut Value,
    member: &str,
    wanted: &str,
) -> Option<&'a mut Value> {
    json::named_mut(value.get_mut(member)?, wanted)
}

/// Adds an item at a list's end, making the list where there is none.
pub(super) fn push(value: &mut Value, member: &str, item: Value) {
    let Some(members) = value.as_object_mut() else { return };
    let list = members.entry(member).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(items) = list.as_array_mut() {
        items.push(item);
    }
}

/// Adds an environment variable unless there is one of that name, whatever its value.
pub(super) fn add_env(container: &mut Value, item: Value) {
    let known = name(&item).is_some_and(|name| named(container, "env", name).is_some());
    if !known {
        push(container, "env", item);
    }
}

/// The environment variable of that name; the last one counts, as in a container.
pub(super) fn env<'a>(container: &'a Value, wanted: &str) -> Option<&'a Value> {
    list(Some(container), "env").iter().rev().find(|item| name(item) == Some(wanted))
}

/// Whether the container mounts something on that path, trailing slashes aside.
pub(super) fn mounts(container: &Value, path: &str) -> bool {
    list(Some(container), "volumeMounts").iter().any(|mount| mount_path(mount) == Some(path))
}

/// A mount's path without trailing slashes.
pub(super) fn mount_path(mount: &Value) -> Option<&str> {
    mount.get("mountPath")?.as_str().map(|path| match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(containers: &Value) -> (String, bool) {
        let engine = engine(&json!({"spec": {"containers": containers}})).unwrap();
        (engine.name, engine.remember)
    }

    #[test]
    fn the_engine_is_found_by_its_usual_names_and_alone_by_its_placeholder() {
        for (containers, name, remember) in [
            (json!([{"name": "vllm"}, {"name": "main"}]), "main", false),
            (json!([{"name": "modelserver"}, {"name": "vllm"}]), "vllm", false),
            (json!([{"name": "x"}, {"name": "modelserver"}]), "modelserver", false),
            (json!([{"name": "x", "image": "auto"}]), "x", true),
            (json!([{"name": "x", "image": " "}]), "x", true),
            (json!([{"name": "x", "image": "busybox"}]), "main", false),
            (
                json!([{"name": "x", "image": "auto"}, {"name": "y", "image": "auto"}]),
                "main",
                false,
            ),
            (json!([]), "main", false),
        ] {
            assert_eq!(chosen(&containers), (name.to_owned(), remember), "{containers}");
        }
    }

    #[test]
    fn an_annotation_that_names_nothing_is_refused_with_the_names_there_are() {
        let pod = json!({
            "metadata": {"annotations": {keys::CONTAINER: "engine"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]}
        });
        let refusal = engine(&pod).unwrap_err();
        assert_eq!(refusal.code, "unknown-container");
        assert!(refusal.message.ends_with("containers there are: a, b"), "{}", refusal.message);
    }

    #[test]
    fn pull_policies_follow_the_tag_as_in_the_api_server() {
        for (image, policy) in [
            ("auto", "Always"),
            ("a/b:latest", "Always"),
            ("host:5000/a", "Always"),
            ("host:5000/a:v1", "IfNotPresent"),
            ("a@sha256:00", "IfNotPresent"),
            ("a:v1@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }
}
