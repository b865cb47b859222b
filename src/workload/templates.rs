//! Where pods stand in each kind of object, and which place in a group they will have.

use serde_json::{Map, Value};

use super::keys::{LEADER_NAME, WORKER_INDEX};

/// Member of `spec.leaderWorkerTemplate` with the template of the leaders.
pub(crate) const LEADER: &str = "leaderTemplate";
/// Member of `spec.leaderWorkerTemplate` with the template of the workers, and of the leaders where
/// those have none.
pub(crate) const WORKER: &str = "workerTemplate";

/// `apiVersion` and `kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) api_version: String,
    pub(crate) kind: String,
}

impl Type {
    /// The type of an object that states one.
    pub(crate) fn of(object: &Value) -> Option<Self> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self { api_version: text("apiVersion")?, kind: text("kind")? })
    }
}

/// Where an object has pod templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Templates {
    None,
    /// One, at this JSON pointer.
    One(&'static str),
    /// [`LEADER`] and [`WORKER`] of a LeaderWorkerSet.
    LeaderAndWorker,
}

/// Where an object of that type has pod templates. All versions of a group agree in it.
pub(crate) fn templates(of: &Type) -> Templates {
    let group = of.api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, of.kind.as_str()) {
        ("", "Pod") => Templates::One(""),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => Templates::One("/spec/template"),
        ("batch", "CronJob") => Templates::One("/spec/jobTemplate/spec/template"),
        ("leaderworkerset.x-k8s.io", "LeaderWorkerSet") => Templates::LeaderAndWorker,
        _ => Templates::None,
    }
}

/// The place of a template's pods in their group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// No group.
    Single,
    Leader,
    /// Any other, index unknown: it is the template of all of them.
    Worker,
    /// The other one of a group of two.
    OnlyWorker,
}

impl Position {
    /// The template with what its pods will carry once LeaderWorkerSet has made them.
    pub(crate) fn mark(self, template: &Value, set: &str) -> Value {
        let mut marked = template.clone();
        let Some((section, key, value)) = self.mark_of(set) else {
            return marked;
        };
        // What is no map is left for the decision to complain about.
        if let Some(metadata) = section_of(&mut marked, "metadata")
            && let Some(entries) = section_in(metadata, section)
        {
            entries.insert(key.to_owned(), Value::String(value));
        }
        marked
    }

    /// The completed template without the mark: there it is as `original` has it.
    pub(crate) fn unmark(self, mut completed: Value, original: &Value) -> Value {
        let Some((section, key, _)) = self.mark_of("") else {
            return completed;
        };
        let before = original.get("metadata").and_then(|it| it.get(section));
        if let Some(metadata) = completed.get_mut("metadata").and_then(Value::as_object_mut) {
            if let Some(entries) = metadata.get_mut(section).and_then(Value::as_object_mut) {
                match before.and_then(|it| it.get(key)) {
                    Some(value) => entries.insert(key.to_owned(), value.clone()),
                    None => entries.shift_remove(key),
                };
                if entries.is_empty() && !before.is_some_and(Value::is_object) {
                    restore(metadata, section, before);
                }
            }
            let metadata_before = original.get("metadata");
            if metadata.is_empty()
                && !metadata_before.is_some_and(Value::is_object)
                && let Some(template) = completed.as_object_mut()
            {
                restore(template, "metadata", metadata_before);
            }
        }
        completed
    }

    /// Section of the metadata, key and value.
    fn mark_of(self, set: &str) -> Option<(&'static str, &'static str, String)> {
        match self {
            Self::Single => None,
            Self::Leader => Some(("labels", WORKER_INDEX, "0".to_owned())),
            // The name of the first group's leader; any name says that there is one.
            Self::Worker => Some(("annotations", LEADER_NAME, format!("{set}-0"))),
            Self::OnlyWorker => Some(("labels", WORKER_INDEX, "1".to_owned())),
        }
    }
}

fn section_of<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    value.as_object_mut().and_then(|map| section_in(map, name))
}

/// The map of that name, made where there is none.
fn section_in<'a>(
    map: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    let entry = map.entry(name).or_insert(Value::Null);
    if entry.is_null() {
        *entry = Value::Object(Map::new());
    }
    entry.as_object_mut()
}

/// Puts back what stood there before: nothing, or a null.
fn restore(map: &mut Map<String, Value>, name: &str, before: Option<&Value>) {
    match before {
        Some(value) => map.insert(name.to_owned(), value.clone()),
        None => map.shift_remove(name),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_leaves_no_trace() {
        for template in [
            json!({"spec": {}}),
            json!({"metadata": null, "spec": {}}),
            json!({"metadata": {}, "spec": {}}),
            json!({"metadata": {"labels": null, "annotations": null}, "spec": {}}),
            json!({"metadata": {"labels": {}, "annotations": {}}, "spec": {}}),
            json!({"metadata": {"labels": {"a": "b"}, "name": "x"}}),
            json!({"metadata": {"labels": {WORKER_INDEX: "7"}, "annotations": {LEADER_NAME: "me"}}}),
            json!({"metadata": {"labels": "odd", "annotations": 1}}),
            json!({"metadata": []}),
        ] {
            for position in
                [Position::Single, Position::Leader, Position::Worker, Position::OnlyWorker]
            {
                let marked = position.mark(&template, "set");
                assert_eq!(position.unmark(marked, &template), template, "{position:?}");
            }
        }
    }

    #[test]
    fn the_mark_says_who_a_pod_will_be() {
        let template = json!({"metadata": {"labels": {WORKER_INDEX: "7"}}});
        let leader = Position::Leader.mark(&template, "set");
        assert_eq!(leader["metadata"]["labels"][WORKER_INDEX], json!("0"));
        let only = Position::OnlyWorker.mark(&json!({}), "set");
        assert_eq!(only, json!({"metadata": {"labels": {WORKER_INDEX: "1"}}}));
        let worker = Position::Worker.mark(&json!({}), "set");
        assert_eq!(worker, json!({"metadata": {"annotations": {LEADER_NAME: "set-0"}}}));
    }

    #[test]
    fn what_was_decided_stays() {
        let template = json!({"spec": {}});
        let mut completed = Position::Worker.mark(&template, "set");
        completed["metadata"]["annotations"]["status"] = json!("done");
        completed["spec"] = json!({"containers": []});
        assert_eq!(
            Position::Worker.unmark(completed, &template),
            json!({"metadata": {"annotations": {"status": "done"}}, "spec": {"containers": []}})
        );
    }

    #[test]
    fn kinds_are_known_by_group_and_name() {
        let at = |api_version: &str, kind: &str| {
            templates(&Type { api_version: api_version.to_owned(), kind: kind.to_owned() })
        };
        assert_eq!(at("v1", "Pod"), Templates::One(""));
        assert_eq!(at("apps/v1", "Deployment"), Templates::One("/spec/template"));
        assert_eq!(
            at("batch/v1beta1", "CronJob"),
            Templates::One("/spec/jobTemplate/spec/template")
        );
        assert_eq!(
            at("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
            Templates::LeaderAndWorker
        );
        assert_eq!(at("example.com/v1", "Deployment"), Templates::None);
        assert_eq!(at("v1", "Deployment"), Templates::None);
    }
}
