//! Applies an answer's JSON patch (RFC 6902), to show what becomes of the object.

use serde::Deserialize;
use serde_json::Value;

/// One operation. A webhook of ours sends no others; `move` and `copy` of another one are refused.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Operation {
    Add { path: String, value: Value },
    Replace { path: String, value: Value },
    Remove { path: String },
    Test { path: String, value: Value },
}

/// Why a patch does not fit an object.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatchError {
    #[error("{0:?} is not there")]
    Missing(String),
    #[error("{0:?} does not have the value that the patch was made for")]
    Differs(String),
}

/// The object after all operations.
pub(super) fn apply(object: &Value, operations: &[Operation]) -> Result<Value, PatchError> {
    let mut patched = object.clone();
    for operation in operations {
        match operation {
            Operation::Add { path, value } => add(&mut patched, path, value)?,
            Operation::Replace { path, value } => {
                let target = patched.pointer_mut(path).ok_or_else(|| missing(path))?;
                target.clone_from(value);
            }
            Operation::Remove { path } => remove(&mut patched, path)?,
            Operation::Test { path, value } => {
                if patched.pointer(path).ok_or_else(|| missing(path))? != value {
                    return Err(PatchError::Differs(path.clone()));
                }
            }
        }
    }
    Ok(patched)
}

fn add(object: &mut Value, path: &str, value: &Value) -> Result<(), PatchError> {
    let Some((parent, key)) = split(path) else {
        object.clone_from(value);
        return Ok(());
    };
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.insert(key, value.clone());
            Ok(())
        }
        Some(Value::Array(items)) => {
            let index = if key == "-" { Some(items.len()) } else { index(&key) };
            let index = index.filter(|index| *index <= items.len()).ok_or_else(|| missing(path))?;
            items.insert(index, value.clone());
            Ok(())
        }
        _ => Err(missing(path)),
    }
}

fn remove(object: &mut Value, path: &str) -> Result<(), PatchError> {
    let (parent, key) = split(path).ok_or_else(|| missing(path))?;
    let removed = match object.pointer_mut(parent) {
        Some(Value::Object(map)) => map.shift_remove(&key),
        Some(Value::Array(items)) => {
            index(&key).filter(|index| *index < items.len()).map(|index| items.remove(index))
        }
        _ => None,
    };
    removed.map(|_| ()).ok_or_else(|| missing(path))
}

/// The pointer to the parent and the unescaped last key; none for the root.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, key) = path.rsplit_once('/')?;
    Some((parent, key.replace("~1", "/").replace("~0", "~")))
}

/// RFC 6901 allows no leading zero and no sign.
fn index(key: &str) -> Option<usize> {
    let plain =
        key.bytes().all(|byte| byte.is_ascii_digit()) && (key == "0" || !key.starts_with('0'));
    plain.then(|| key.parse().ok()).flatten()
}

fn missing(path: &str) -> PatchError {
    PatchError::Missing(path.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Ours and a library's agree, on the result or on there being none.
    fn check(object: &Value, operations: &Value) -> Result<Value, PatchError> {
        let ours: Vec<Operation> = serde_json::from_value(operations.clone()).unwrap();
        let ours = apply(object, &ours);
        let theirs: json_patch::Patch = serde_json::from_value(operations.clone()).unwrap();
        let mut expected = object.clone();
        match json_patch::patch(&mut expected, &theirs) {
            Ok(()) => assert_eq!(ours.as_ref(), Ok(&expected), "{operations}"),
            Err(error) => assert!(ours.is_err(), "{operations}: {error}"),
        }
        ours
    }

    #[test]
    fn applies_as_a_library_does() {
        let object = json!({"a": {"b": [1, 2], "x/y": {"~": 1}}, "n": null});
        for (operation, fits) in [
            (json!({"op": "add", "path": "/a/b/-", "value": 3}), true),
            (json!({"op": "add", "path": "/a/b/0", "value": 3}), true),
            (json!({"op": "add", "path": "/a/b/2", "value": 3}), true),
            (json!({"op": "add", "path": "/a/b/3", "value": 3}), false),
            (json!({"op": "add", "path": "/a/b/01", "value": 3}), false),
            (json!({"op": "add", "path": "/a/c", "value": {}}), true),
            (json!({"op": "add", "path": "/c/d", "value": {}}), false),
            (json!({"op": "add", "path": "/a/x~1y/~0", "value": 2}), true),
            (json!({"op": "add", "path": "", "value": 2}), true),
            (json!({"op": "replace", "path": "/a/b/1", "value": 9}), true),
            (json!({"op": "replace", "path": "/a/z", "value": 9}), false),
            (json!({"op": "replace", "path": "/n", "value": 9}), true),
            (json!({"op": "remove", "path": "/a/b/0"}), true),
            (json!({"op": "remove", "path": "/a/b/2"}), false),
            (json!({"op": "remove", "path": "/z"}), false),
            (json!({"op": "test", "path": "/a/b", "value": [1, 2]}), true),
            (json!({"op": "test", "path": "/a/b", "value": [2, 1]}), false),
            (json!({"op": "test", "path": "/z", "value": null}), false),
        ] {
            let result = check(&object, &json!([operation]));
            assert_eq!(result.is_ok(), fits, "{operation}: {result:?}");
        }
    }

    #[test]
    fn operations_build_on_each_other() {
        let operations = json!([
            {"op": "add", "path": "/a", "value": {}},
            {"op": "add", "path": "/a/b", "value": [1]},
            {"op": "test", "path": "/a/b/0", "value": 1},
            {"op": "replace", "path": "/a/b/0", "value": 2},
        ]);
        assert_eq!(check(&json!({}), &operations), Ok(json!({"a": {"b": [2]}})));
    }

    #[test]
    fn unknown_operations_are_refused() {
        let operations = json!([{"op": "move", "from": "/a", "path": "/b"}]);
        assert!(serde_json::from_value::<Vec<Operation>>(operations).is_err());
    }
}
