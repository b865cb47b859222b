//! The way from one document to another as RFC 6902 operations.

use serde::Serialize;
use serde_json::{Map, Value};

use super::merge::place;
use super::path::{FieldPath, Step, Trail};
use super::schema::{Kind, Schema};
use super::walk::{MAX_DEPTH, find_too_deep};

/// One operation of a JSON patch; `path` is a JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Adds a member, or an item at a list's end.
    Add {
        /// Where; `-` as the last token is the list's end.
        path: String,
        /// What.
        value: Value,
    },
    /// Puts a value in the place of another.
    Replace {
        /// Where.
        path: String,
        /// The new value.
        value: Value,
    },
    /// Fails the whole patch unless the value there is this one.
    Test {
        /// Where.
        path: String,
        /// The value expected.
        value: Value,
    },
}

/// Why there is no patch: `after` does not merely add to `before`. The author of the documents is never
/// to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// `after` lacks something.
    #[error("{path} would be removed; keep it, for a patch only adds and replaces")]
    Removed {
        /// What is missing.
        path: FieldPath,
    },
    /// A merged list has another item in this place.
    #[error("{path} would be moved or renamed; keep the items' order, and add behind the last")]
    Reordered {
        /// The item, by its place in `before`.
        path: FieldPath,
    },
    /// Nesting beyond [`MAX_DEPTH`].
    #[error("{} is nested deeper than {MAX_DEPTH} levels; flatten it", place(path))]
    TooDeep {
        /// The first value that is too deep.
        path: FieldPath,
    },
}

/// The smallest patch from `before` to `after`, both documents of the kind that `schema` describes:
/// only `add`, never onto an existing member, and `replace`, each behind a `test` for the old
/// value. Items that a merged list gains are one `add` each; other lists are replaced whole.
///
/// # Errors
/// [`PatchError`] where `after` removes a member or an item, or moves an item of a merged list.
pub fn patch(
    before: &Value,
    after: Value,
    schema: &'static Schema,
) -> Result<Vec<Operation>, PatchError> {
    // First, for everything after it recurses, as deep as the shallower of the two.
    if let Some(path) = find_too_deep(&after) {
        return Err(PatchError::TooDeep { path });
    }
    let mut operations = Vec::new();
    value(before, after, schema, &Trail::ROOT, &mut operations)?;
    Ok(operations)
}

fn value(
    before: &Value,
    after: Value,
    schema: &'static Schema,
    trail: &Trail<'_>,
    operations: &mut Vec<Operation>,
) -> Result<(), PatchError> {
    let after = match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            return object(before, after, schema, trail, operations);
        }
        (Value::Array(old), Value::Array(new)) => match schema.kind() {
            Kind::Keyed(keyed) => {
                return items(old, new, keyed.key, keyed.item, trail, operations);
            }
            // Items without a key are known by their place.
            Kind::Set | Kind::Additive => return places(old, new, trail, operations),
            _ => Value::Array(new),
        },
        (_, after) => after,
    };
    replace(before, after, trail, operations);
    Ok(())
}

/// Puts one value in the place of another, guarded, unless both are the same.
fn replace(before: &Value, after: Value, trail: &Trail<'_>, operations: &mut Vec<Operation>) {
    if *before != after {
        let path = trail.pointer();
        operations.push(Operation::Test { path: path.clone(), value: before.clone() });
        operations.push(Operation::Replace { path, value: after });
    }
}

fn object(
    before: &Map<String, Value>,
    after: Map<String, Value>,
    schema: &'static Schema,
    trail: &Trail<'_>,
    operations: &mut Vec<Operation>,
) -> Result<(), PatchError> {
    if let Some(removed) = before.keys().find(|name| !after.contains_key(*name)) {
        let path = trail.then(schema.step(removed)).path();
        return Err(PatchError::Removed { path });
    }
    for (name, new) in after {
        let trail = trail.then(schema.step(&name));
        if let Some(old) = before.get(&name) {
            value(old, new, schema.member(&name), &trail, operations)?;
        } else {
            let path = trail.pointer();
            operations.push(Operation::Add { path, value: new });
        }
    }
    Ok(())
}

fn items(
    before: &[Value],
    after: Vec<Value>,
    key: &str,
    item: &'static Schema,
    trail: &Trail<'_>,
    operations: &mut Vec<Operation>,
) -> Result<(), PatchError> {
    let mut after = after.into_iter();
    for (index, old) in before.iter().enumerate() {
        let trail = trail.then(Step::Index(index));
        match after.next() {
            None => return Err(PatchError::Removed { path: trail.path() }),
            Some(new) if old.get(key) != new.get(key) => {
                return Err(PatchError::Reordered { path: trail.path() });
            }
            Some(new) => value(old, new, item, &trail, operations)?,
        }
    }
    append(after, trail, operations);
    Ok(())
}

fn places(
    before: &[Value],
    after: Vec<Value>,
    trail: &Trail<'_>,
    operations: &mut Vec<Operation>,
) -> Result<(), PatchError> {
    let mut after = after.into_iter();
    for (index, old) in before.iter().enumerate() {
        let trail = trail.then(Step::Index(index));
        let Some(new) = after.next() else {
            return Err(PatchError::Removed { path: trail.path() });
        };
        replace(old, new, &trail, operations);
    }
    append(after, trail, operations);
    Ok(())
}

/// Adds items at a list's end, which `-` means however long the list is by then.
fn append(added: impl Iterator<Item = Value>, list: &Trail<'_>, operations: &mut Vec<Operation>) {
    for item in added {
        let path = format!("{}/-", list.pointer());
        operations.push(Operation::Add { path, value: item });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::merge::tests::arbitrary_pod;
    use crate::json::{Layer, merge, pod, pod_spec};

    fn applied(before: &Value, operations: &[Operation]) -> Result<Value, json_patch::PatchError> {
        let patch: json_patch::Patch = serde_json::from_value(json!(operations)).unwrap();
        let mut document = before.clone();
        json_patch::patch(&mut document, &patch)?;
        Ok(document)
    }

    #[test]
    fn is_the_smallest() {
        let before = json!({
            "containers": [{"name": "main", "image": "auto", "args": ["a", "b"], "env": [{"name": "A", "value": "1"}]}],
            "tolerations": [{"key": "a"}],
            "nodeSelector": {},
        });
        let after = json!({
            "containers": [
                {"name": "main", "image": "vllm", "args": ["a", "c", "b"],
                    "env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "C"}], "stdin": true},
                {"name": "side"},
            ],
            "tolerations": [{"key": "a"}, {"key": "b"}],
            "nodeSelector": {"x.io/a~b": "1"},
        });
        let operations = patch(&before, after.clone(), pod_spec()).unwrap();
        assert_eq!(
            json!(operations),
            json!([
                {"op": "test", "path": "/containers/0/image", "value": "auto"},
                {"op": "replace", "path": "/containers/0/image", "value": "vllm"},
                {"op": "test", "path": "/containers/0/args", "value": ["a", "b"]},
                {"op": "replace", "path": "/containers/0/args", "value": ["a", "c", "b"]},
                {"op": "add", "path": "/containers/0/env/-", "value": {"name": "B"}},
                {"op": "add", "path": "/containers/0/env/-", "value": {"name": "C"}},
                {"op": "add", "path": "/containers/0/stdin", "value": true},
                {"op": "add", "path": "/containers/-", "value": {"name": "side"}},
                {"op": "add", "path": "/tolerations/-", "value": {"key": "b"}},
                {"op": "add", "path": "/nodeSelector/x.io~1a~0b", "value": "1"},
            ])
        );
        assert_eq!(applied(&before, &operations).unwrap(), after);

        let mut changed = before;
        changed["containers"][0]["image"] = json!("other");
        assert!(applied(&changed, &operations).is_err());
    }

    #[test]
    fn refuses_to_take_away_or_move() {
        let problem = |before: Value, after: Value| {
            patch(&before, after.clone(), pod_spec()).unwrap_err().to_string()
        };
        assert_eq!(
            problem(json!({"nodeSelector": {"a/b": "1"}}), json!({"nodeSelector": {}})),
            "nodeSelector[a/b] would be removed; keep it, for a patch only adds and replaces"
        );
        let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(
            problem(two.clone(), json!({"containers": [{"name": "b"}, {"name": "a"}]})),
            "containers[0] would be moved or renamed; keep the items' order, and add behind the last"
        );
        assert!(problem(two, json!({"containers": [{"name": "a"}]})).starts_with("containers[1]"));
        assert!(
            problem(json!({"tolerations": [{"key": "a"}]}), json!({"tolerations": []}))
                .starts_with("tolerations[0] would be removed")
        );
        let deep = (0..=MAX_DEPTH).fold(json!(1), |inner, _| Value::Array(vec![inner]));
        assert!(problem(json!({}), deep).contains("deeper than 128"));
    }

    #[test]
    fn replaces_across_types_and_at_the_root() {
        let before = json!({"a": null, "b": {"c": 1}});
        let after = json!({"a": {"x": []}, "b": [1]});
        let operations = patch(&before, after.clone(), pod_spec()).unwrap();
        assert_eq!(operations.len(), 4);
        assert_eq!(applied(&before, &operations).unwrap(), after);
        assert_eq!(patch(&json!(1), json!(2), pod_spec()).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn leads_from_the_authors_pod_to_the_merged(lower in arbitrary_pod(), upper in arbitrary_pod()) {
            let after = merge(&lower, &upper, pod(), Layer::Pod).unwrap();
            let operations = patch(&upper, after.clone(), pod()).unwrap();
            prop_assert_eq!(applied(&upper, &operations).unwrap(), after.clone());
            for operation in &operations {
                match operation {
                    Operation::Add { path, .. } => prop_assert_eq!(upper.pointer(path), None),
                    Operation::Replace { path, .. } | Operation::Test { path, .. } => {
                        let said_nothing = [json!(null), json!([])];
                        prop_assert!(
                            said_nothing.iter().any(|value| upper.pointer(path) == Some(value)),
                            "the author's {} changes", path
                        );
                    }
                }
            }
            prop_assert_eq!(patch(&after, after.clone(), pod()), Ok(vec![]));
        }

        #[test]
        fn guards_what_it_replaces(lower in arbitrary_pod(), upper in arbitrary_pod()) {
            let mut after = merge(&lower, &upper, pod(), Layer::Pod).unwrap();
            alter(&mut after);
            let operations = patch(&upper, after.clone(), pod()).unwrap();
            prop_assert_eq!(applied(&upper, &operations).unwrap(), after);
            let mut previous = None;
            for operation in &operations {
                if let Operation::Replace { path, .. } = operation {
                    let value = upper.pointer(path).unwrap().clone();
                    let test = Operation::Test { path: path.clone(), value };
                    prop_assert_eq!(previous, Some(&test));
                }
                previous = Some(operation);
            }
        }
    }

    /// Changes values that are no merge keys.
    fn alter(value: &mut Value) {
        const ALTERED: [&str; 5] = ["args", "value", "readOnly", "periodSeconds", "fieldPath"];
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if ALTERED.contains(&name.as_str()) && !member.is_object() {
                        *member = json!(["altered"]);
                    } else {
                        alter(member);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(alter),
            _ => {}
        }
    }
}
