//! What an answer leaves to be told to the pod's owner. No pod of a controller has anybody watching
//! its creation: warnings and refusals would be read by the controller alone.

use serde_json::Value;

use super::envelope::Request;
use super::response::Verdict;
use crate::decision::Warning;
use crate::workload::keys;

/// What was decided of a pod, for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose pod it is.
    pub owner: Owner,
    /// The value of the annotation `inject.llmisvc.io/status`, where the pod was changed.
    pub added: Option<String>,
    /// What was warned of.
    pub warnings: Vec<Warning>,
    /// Why the pod was refused, with the code.
    pub refusal: Option<String>,
}

/// The controlling owner of a pod, which lives in the pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Group and version, e.g. `apps/v1`.
    pub api_version: String,
    /// Kind, e.g. `ReplicaSet`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The uid of this very object.
    pub uid: String,
}

impl Record {
    /// Nothing of a dry run, of a pod that no controller owns, and of one of which there is nothing
    /// to say.
    pub(super) fn of(request: &Request, object: &Value, verdict: &Verdict) -> Option<Self> {
        if request.dry_run || !request.group.is_empty() || request.kind != "Pod" {
            return None;
        }
        let (added, warnings, refusal) = match verdict {
            Verdict::Allowed { added, warnings, .. } => (added.clone(), warnings.clone(), None),
            Verdict::Refused(refusal) => {
                (None, Vec::new(), Some(format!("{}: {}", refusal.code, refusal.message)))
            }
            // Of a service or config, which nobody's controller waits for.
            Verdict::Invalid(_) => return None,
        };
        if added.is_none() && warnings.is_empty() && refusal.is_none() {
            return None;
        }
        Some(Self { owner: Owner::of(object)?, added, warnings, refusal })
    }
}

impl Owner {
    fn of(object: &Value) -> Option<Self> {
        let references = object.pointer("/metadata/ownerReferences")?.as_array()?;
        let owner =
            references.iter().find(|it| it.get("controller") == Some(&Value::Bool(true)))?;
        let text = |member: &str| Some(owner.get(member)?.as_str()?.to_owned());
        Some(Self {
            api_version: text("apiVersion")?,
            kind: text("kind")?,
            name: text("name")?,
            uid: text("uid")?,
        })
    }
}

/// What the pod's annotation says was added to it.
pub(super) fn status(pod: &Value) -> Option<String> {
    Some(pod.get("metadata")?.get("annotations")?.get(keys::STATUS)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::mutate;
    use super::*;
    use crate::catalog::Snapshot;

    /// The record of a pod that names a service which is not there, in a review changed at a pointer.
    fn record(pointer: &str, value: Value) -> Option<Record> {
        let mut review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "0a1b",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "namespace": "llm",
                "dryRun": false,
                "object": {
                    "metadata": {
                        "labels": {keys::SERVICE: "s"},
                        "ownerReferences": [
                            {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "1"},
                            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "2",
                             "controller": true},
                        ],
                    },
                    "spec": {"containers": [{"name": "main", "image": "secret"}]},
                },
            },
        });
        *review.pointer_mut(pointer).unwrap() = value;
        mutate(review.to_string().as_bytes(), &Snapshot::default()).unwrap().record
    }

    #[test]
    fn a_refusal_is_told_to_the_controller_without_the_pod() {
        let record = record("/request/uid", json!("1")).unwrap();
        assert_eq!((record.owner.kind.as_str(), record.owner.uid.as_str()), ("ReplicaSet", "2"));
        assert!(record.refusal.as_deref().unwrap().starts_with("unknown-service: "));
        assert!(!format!("{record:?}").contains("secret"));
    }

    #[test]
    fn nothing_is_told_of_a_dry_run_or_to_nobody_or_of_nothing() {
        assert_eq!(record("/request/dryRun", json!(true)), None);
        let owners = "/request/object/metadata/ownerReferences";
        assert_eq!(record(owners, json!([])), None);
        assert_eq!(record(owners, json!("odd")), None);
        assert_eq!(record(&format!("{owners}/1/controller"), json!(false)), None);
        assert_eq!(record(&format!("{owners}/1/uid"), json!(7)), None);
        assert_eq!(record("/request/object/metadata/labels", json!({})), None);
    }
}
