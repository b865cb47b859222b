//! From a pod before and after to the operations between them.

use serde_json::{Map, Value, json};

/// Why two pods have no patch between them that only adds and replaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatchError {
    #[error("{0} was taken away")]
    Removed(String),
    #[error("{0}")]
    Write(String),
}

/// The operations from `before` to `after` as JSON; `None` when there is nothing to do.
pub(super) fn write(before: &Value, after: &Value) -> Result<Option<Vec<u8>>, PatchError> {
    let operations = operations(before, after)?;
    if operations.is_empty() {
        return Ok(None);
    }
    serde_json::to_vec(&operations).map(Some).map_err(|error| PatchError::Write(error.to_string()))
}

/// Whole members, two levels deep: `spec.containers` is replaced as one when anything in it differs.
fn operations(before: &Value, after: &Value) -> Result<Vec<Value>, PatchError> {
    let empty = Map::new();
    let mut operations = Vec::new();
    let root = before.as_object().unwrap_or(&empty);
    for (name, new) in after.as_object().unwrap_or(&empty) {
        let path = format!("/{}", escape(name));
        match (root.get(name), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                members(&path, old, new, &mut operations)?;
            }
            (old, new) => member(path, old, new, &mut operations),
        }
    }
    if let Some(gone) = root.keys().find(|name| after.get(name.as_str()).is_none()) {
        return Err(PatchError::Removed(gone.clone()));
    }
    Ok(operations)
}

fn members(
    path: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    operations: &mut Vec<Value>,
) -> Result<(), PatchError> {
    if let Some(gone) = old.keys().find(|name| !new.contains_key(name.as_str())) {
        return Err(PatchError::Removed(format!("{path}/{}", escape(gone))));
    }
    for (name, new) in new {
        let path = format!("{path}/{}", escape(name));
        member(path, old.get(name), new, operations);
    }
    Ok(())
}

fn member(path: String, old: Option<&Value>, new: &Value, operations: &mut Vec<Value>) {
    match old {
        None => operations.push(json!({"op": "add", "path": path, "value": new})),
        Some(old) if old == new => {}
        Some(old) => {
            operations.push(json!({"op": "test", "path": path, "value": old}));
            operations.push(json!({"op": "replace", "path": path, "value": new}));
        }
    }
}

/// A member's name as a token of a JSON pointer (RFC 6901, section 3).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applying_the_operations_gives_the_pod_after() {
        let before = json!({"kind": "Pod", "metadata": {"labels": {"a/b": "1"}}, "spec": {"containers": [1]}});
        let after = json!({"kind": "Pod", "metadata": {"labels": {"a/b": "2"}, "annotations": {"x~y": "z"}},
            "spec": {"containers": [1, 2], "dnsPolicy": "None"}});
        let patch = write(&before, &after).unwrap().unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, after);
        assert_eq!(write(&after, &after), Ok(None));
    }

    #[test]
    fn nothing_is_taken_away() {
        let before = json!({"spec": {"a": 1}});
        assert_eq!(
            write(&before, &json!({"spec": {}})),
            Err(PatchError::Removed("/spec/a".to_owned()))
        );
        assert_eq!(write(&before, &json!({})), Err(PatchError::Removed("spec".to_owned())));
    }
}
