//! What the author of an object wrote himself, before anything is composed.

use serde_json::{Map, Value};

use super::case::{Case, Kind, at, below, get, items};
use super::effective::{Engine, pods};
use crate::api::POD_SPECS;
use crate::json::FieldPath;

/// The pod specs of a service, a config or a workload, with their paths.
pub(super) fn pod_specs<'c>(case: &Case<'c>) -> Vec<(FieldPath, &'c Value)> {
    let mut places: Vec<FieldPath> = match case.kind {
        Kind::Workload => pods(case).map(|engine| engine.pod_path.clone()).collect(),
        Kind::Service | Kind::Config | Kind::Sample => POD_SPECS.into_iter().map(at).collect(),
    };
    // Leader and worker of a group may be one template.
    places.dedup();
    let spec = |place: FieldPath| {
        let spec = case.object.pointer(&place.pointer())?;
        // People write a pod template there, too.
        let inner = get(spec, &["spec"]).filter(|_| get(spec, &["containers"]).is_none());
        Some(inner.map_or((place.clone(), spec), |inner| (place.field("spec"), inner)))
    };
    places.into_iter().filter_map(spec).collect()
}

/// The containers of a pod spec, those that initialise it among them, with their paths.
pub(super) fn containers<'v>(spec: &'v Value, path: &FieldPath) -> Vec<(FieldPath, &'v Value)> {
    let mut containers = items(spec, &["initContainers"], path);
    containers.extend(items(spec, &["containers"], path));
    containers
}

/// The environment variables of every container, with their paths and the pod's.
pub(super) fn variables<'c>(case: &Case<'c>) -> Vec<(FieldPath, FieldPath, &'c Value)> {
    let mut variables = Vec::new();
    for (pod, spec) in pod_specs(case) {
        for (path, container) in containers(spec, &pod) {
            let of_container = items(container, &["env"], &path);
            variables.extend(of_container.into_iter().map(|(path, it)| (pod.clone(), path, it)));
        }
    }
    variables
}

/// The engine whose pod spec stands there; `None` of a config.
pub(super) fn engine<'a>(case: &'a Case<'_>, pod: &FieldPath) -> Option<&'a Engine> {
    pods(case).find(|engine| pod.segments().starts_with(engine.pod_path.segments()))
}

/// The annotations that pods may get, with their paths.
pub(super) fn annotations<'c>(case: &Case<'c>) -> Vec<(FieldPath, &'c Map<String, Value>)> {
    let root = FieldPath::root();
    let mut places: Vec<FieldPath> = match case.kind {
        Kind::Workload => pods(case).map(|engine| engine.pool.field("metadata")).collect(),
        Kind::Service | Kind::Config | Kind::Sample => {
            let pools = case.pools().into_iter().map(|pool| pool.path);
            std::iter::once(root.field("metadata")).chain(pools).collect()
        }
    };
    places.dedup();
    let annotations = |place: FieldPath| {
        let path = below(&place, &["annotations"]);
        Some((path.clone(), case.object.pointer(&path.pointer())?.as_object()?))
    };
    places.into_iter().filter_map(annotations).collect()
}
