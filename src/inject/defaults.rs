//! A default is not a wish: what the API server filled in before any webhook saw the pod.
//!
//! Source: `SetDefaults_*` in `pkg/apis/core/v1/defaults.go` of kubernetes/kubernetes 1.36, and the
//! admission plug-ins ServiceAccount and DefaultTolerationSeconds.

use serde_json::{Value, json};

use super::container::default_pull_policy;

/// Writes the blueprint's value (`lower`, a pod spec) over every value of `upper` (the author's) that
/// equals the API server's default where the blueprint names another.
pub(super) fn unsay(upper: &mut Value, lower: &Value) {
    walk(upper, lower, &mut Vec::new());
    let Some(Value::Array(tolerations)) = upper.get_mut("tolerations") else { return };
    for toleration in tolerations.iter_mut().filter(|item| is_default_toleration(item)) {
        let wanted = lower.get("tolerations").and_then(Value::as_array).and_then(|lower| {
            lower.iter().find(|other| {
                other.get("key") == toleration.get("key")
                    && other.get("effect") == toleration.get("effect")
            })
        });
        if let Some(wanted) = wanted {
            *toleration = wanted.clone();
        }
    }
}

/// The members of an object, a pod spec or a container of it, that somebody has set: what equals the
/// API server's default is as good as absent. `path` is the object's in the pod spec.
pub(super) fn wishes<'a>(
    object: Option<&'a Value>,
    path: &[&str],
) -> impl Iterator<Item = &'a str> {
    let pull_policy =
        object.and_then(|it| it.get("image")).and_then(Value::as_str).map(default_pull_policy);
    let members = object.and_then(Value::as_object).into_iter().flatten();
    members
        .filter(move |(member, value)| match member.as_str() {
            "imagePullPolicy" => value.as_str() != pull_policy,
            // It follows serviceAccountName.
            "serviceAccount" => false,
            "tolerations" => {
                value.as_array().is_none_or(|list| !list.iter().all(is_default_toleration))
            }
            member => default_of(path, member).as_ref() != Some(value),
        })
        .map(|(member, _)| member.as_str())
}

/// Walks both values side by side: members by name, items of a list by the key they merge by.
fn walk<'a>(upper: &mut Value, lower: &'a Value, path: &mut Vec<&'a str>) {
    match (upper, lower) {
        (Value::Object(upper), Value::Object(lower)) => {
            let pull_policy = upper.get("image").and_then(Value::as_str).map(default_pull_policy);
            for (key, wanted) in lower {
                let Some(written) = upper.get_mut(key) else { continue };
                let default = match key.as_str() {
                    "imagePullPolicy" => pull_policy.map(Value::from),
                    key => default_of(path, key),
                };
                if default.is_some_and(|default| *written == default && *wanted != default) {
                    // Not taken away: a port is known by its protocol, too.
                    *written = wanted.clone();
                } else {
                    path.push(key);
                    walk(written, wanted, path);
                    path.pop();
                }
            }
        }
        (Value::Array(upper), Value::Array(lower)) => {
            for item in upper {
                let key = if path.last() == Some(&"ports") { "containerPort" } else { "name" };
                let Some(identity) = item.get(key).cloned() else { continue };
                let twin = lower.iter().find(|other| other.get(key) == Some(&identity));
                if let Some(twin) = twin {
                    path.push("*");
                    walk(item, twin, path);
                    path.pop();
                }
            }
        }
        _ => {}
    }
}

/// The API server's default of a member of the object at `path` (`*` stands for a list's item).
#[expect(clippy::match_same_arms, reason = "a row for each field, as the API server has them")]
fn default_of(path: &[&str], member: &str) -> Option<Value> {
    Some(match (path, member) {
        ([], "terminationGracePeriodSeconds") => json!(30),
        ([], "dnsPolicy") => json!("ClusterFirst"),
        ([], "restartPolicy") => json!("Always"),
        ([], "schedulerName") => json!("default-scheduler"),
        ([], "serviceAccountName" | "serviceAccount") => json!("default"),
        ([], "securityContext") => json!({}),
        ([], "enableServiceLinks") => json!(true),
        (["containers" | "initContainers", "*"], "terminationMessagePath") => {
            json!("/dev/termination-log")
        }
        (["containers" | "initContainers", "*"], "terminationMessagePolicy") => json!("File"),
        (["containers" | "initContainers", "*"], "resources") => json!({}),
        ([.., "ports", "*"], "protocol") => json!("TCP"),
        ([.., "livenessProbe" | "readinessProbe" | "startupProbe"], member) => match member {
            "timeoutSeconds" | "successThreshold" => json!(1),
            "periodSeconds" => json!(10),
            "failureThreshold" => json!(3),
            _ => return None,
        },
        ([.., "httpGet"], "scheme") => json!("HTTP"),
        ([.., "httpGet"], "path") => json!("/"),
        ([.., "grpc"], "service") => json!(""),
        (["volumes", "*", "secret" | "configMap" | "downwardAPI" | "projected"], "defaultMode") => {
            json!(420)
        }
        (["volumes", "*", "hostPath"], "type") => json!(""),
        _ => return None,
    })
}

/// What DefaultTolerationSeconds adds to every pod.
fn is_default_toleration(toleration: &Value) -> bool {
    ["not-ready", "unreachable"].iter().any(|condition| {
        *toleration
            == json!({
                "key": format!("node.kubernetes.io/{condition}"), "operator": "Exists",
                "effect": "NoExecute", "tolerationSeconds": 300
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_gives_way_and_a_wish_stays() {
        let lower = json!({
            "terminationGracePeriodSeconds": 60,
            "containers": [{
                "name": "main", "image": "x:v1", "imagePullPolicy": "Always",
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "livenessProbe": {"timeoutSeconds": 10, "periodSeconds": 10, "httpGet": {"scheme": "HTTPS"}},
                "ports": [{"containerPort": 1, "protocol": "UDP"}]
            }],
            "volumes": [{"name": "v", "secret": {"defaultMode": 256}}]
        });
        let mut upper = json!({
            "terminationGracePeriodSeconds": 30,
            "containers": [{
                "name": "main", "image": "y:v2", "imagePullPolicy": "IfNotPresent",
                "terminationMessagePolicy": "File",
                "livenessProbe": {"timeoutSeconds": 1, "periodSeconds": 10, "httpGet": {"scheme": "HTTP"}},
                "ports": [{"containerPort": 1, "protocol": "TCP"}]
            }],
            "volumes": [{"name": "v", "secret": {"defaultMode": 420, "secretName": "s"}}]
        });
        unsay(&mut upper, &lower);
        assert_eq!(
            upper,
            json!({
                "terminationGracePeriodSeconds": 60,
                "containers": [{
                    "name": "main", "image": "y:v2", "imagePullPolicy": "Always",
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "livenessProbe": {"timeoutSeconds": 10, "periodSeconds": 10, "httpGet": {"scheme": "HTTPS"}},
                    "ports": [{"containerPort": 1, "protocol": "UDP"}]
                }],
                "volumes": [{"name": "v", "secret": {"defaultMode": 256, "secretName": "s"}}]
            })
        );
        let wish = json!({"terminationGracePeriodSeconds": 31, "dnsPolicy": "Default"});
        let mut upper = wish.clone();
        unsay(&mut upper, &json!({"terminationGracePeriodSeconds": 60, "dnsPolicy": "None"}));
        assert_eq!(upper, wish);
    }

    #[test]
    fn a_default_toleration_gives_way_in_its_place() {
        let wanted = json!({
            "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 10
        });
        let mut default = wanted.clone();
        default["tolerationSeconds"] = json!(300);
        let own = json!({"key": "gpu", "operator": "Exists"});
        let mut upper = json!({"tolerations": [own, default]});
        unsay(&mut upper, &json!({"tolerations": [wanted]}));
        assert_eq!(upper, json!({"tolerations": [own, wanted]}));
    }
}
