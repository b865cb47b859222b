//! What a pod is beside the template that it was made from.

use serde_json::{Value, json};

use super::tree::{Added, differences, is_default};

/// What of the template is not in the pod as it was, each with its path.
pub(crate) fn changed(template: &Value, pod: &Value) -> Vec<String> {
    differences(&parts(template), &parts(pod), Added::Behind)
        .iter()
        .filter(|difference| difference.below.is_some())
        .map(ToString::to_string)
        .collect()
}

/// The paths of what the pod has and neither its template nor the cluster gave it, sorted.
pub(crate) fn added(template: &Value, pod: &Value) -> Vec<String> {
    let mut paths: Vec<String> = differences(&parts(template), &parts(pod), Added::Behind)
        .into_iter()
        .filter(|difference| difference.below.is_none())
        .filter(|difference| {
            !is_of_the_cluster(&difference.path)
                && difference
                    .above
                    .as_ref()
                    .is_none_or(|value| !is_default(&difference.path, value))
        })
        .map(|difference| difference.path)
        .collect();
    paths.sort();
    paths
}

/// Labels, annotations and the spec: what a template can say.
fn parts(object: &Value) -> Value {
    json!({
        "labels": object["metadata"]["labels"],
        "annotations": object["metadata"]["annotations"],
        "spec": object["spec"],
    })
}

/// What the API server, the workloads' controllers and LeaderWorkerSet write.
fn is_of_the_cluster(path: &str) -> bool {
    const PATHS: [&str; 9] = [
        "labels.pod-template-hash",
        "labels.controller-revision-hash",
        "labels.statefulset.kubernetes.io/pod-name",
        "labels.apps.kubernetes.io/pod-index",
        "spec.hostname",
        "spec.subdomain",
        "spec.preemptionPolicy",
        "spec.priority",
        "spec.tolerations",
    ];
    const BEGINNINGS: [&str; 3] = [
        "labels.leaderworkerset.sigs.k8s.io/",
        "annotations.leaderworkerset.sigs.k8s.io/",
        "spec.volumes[kube-api-access-",
    ];
    // Admission follows serviceAccountName with its old name.
    PATHS.contains(&path)
        || path == "spec.serviceAccount"
        || BEGINNINGS.iter().any(|beginning| path.starts_with(beginning))
        || path.ends_with(".volumeMounts[/var/run/secrets/kubernetes.io/serviceaccount]")
        || path.contains(".env[LWS_")
}
