//! Walks through a whole document, of any depth.

use serde_json::Value;

use super::path::{FieldPath, Step};

/// Deepest place that is merged or patched, in steps from the document. What `serde_json` reads
/// from text is never deeper (its recursion limit is 128).
pub const MAX_DEPTH: usize = 128;

/// The first key, in document order, that Kubernetes' strategic merge would read as an instruction
/// and not as data: `$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`.
#[must_use]
pub fn find_directive(value: &Value) -> Option<FieldPath> {
    find(value, |steps| matches!(steps.last(), Some(Step::Field(name)) if is_directive(name)))
}

/// The first place that is deeper than [`MAX_DEPTH`].
pub(super) fn find_too_deep(value: &Value) -> Option<FieldPath> {
    // Nearly nothing is: the path is worth looking for only then.
    is_deeper(value, MAX_DEPTH).then(|| find(value, |steps| steps.len() > MAX_DEPTH)).flatten()
}

/// Whether a place stands more than `steps` below. The recursion ends there.
fn is_deeper(value: &Value, steps: usize) -> bool {
    let below = |child: &Value| steps == 0 || is_deeper(child, steps - 1);
    match value {
        Value::Object(members) => members.values().any(below),
        Value::Array(items) => items.iter().any(below),
        _ => false,
    }
}

/// Directive names, from apimachinery's `pkg/util/strategicpatch/patch.go`.
fn is_directive(name: &str) -> bool {
    name.starts_with('$')
        && (name == "$patch"
            || name == "$retainKeys"
            || name.starts_with("$setElementOrder")
            || name.starts_with("$deleteFromPrimitiveList"))
}

/// The first place, in document order, whose steps satisfy `wanted`.
fn find(value: &Value, mut wanted: impl FnMut(&[Step<'_>]) -> bool) -> Option<FieldPath> {
    let mut steps = Vec::new();
    let mut open = vec![children(value)];
    while let Some(level) = open.last_mut() {
        let Some((step, child)) = level.next() else {
            open.pop();
            steps.pop();
            continue;
        };
        steps.push(step);
        if wanted(&steps) {
            return Some(steps.into_iter().collect());
        }
        open.push(children(child));
    }
    None
}

type Children<'a> = Box<dyn Iterator<Item = (Step<'a>, &'a Value)> + 'a>;

fn children(value: &Value) -> Children<'_> {
    match value {
        Value::Object(members) => Box::new(members.iter().map(|(name, v)| (Step::Field(name), v))),
        Value::Array(items) => Box::new(items.iter().enumerate().map(|(i, v)| (Step::Index(i), v))),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_the_first_directive() {
        let found = |value| find_directive(&value).map(|path| path.to_string());
        let service = json!({
            "labels": {"a": "$patch", "$other": "kept"},
            "template": {"containers": [
                {"name": "main"},
                {"name": "side", "$setElementOrder/env": [{"name": "B"}], "$patch": "delete"},
            ]},
        });
        assert_eq!(found(service).as_deref(), Some("template.containers[1][$setElementOrder/env]"));
        assert_eq!(found(json!({"a": [[{"$patch": 1}]]})).as_deref(), Some("a[0][0].$patch"));
        assert!(found(json!({"a": {"$retainKeys": []}})).is_some());
        assert!(found(json!({"$deleteFromPrimitiveList/args": []})).is_some());
        assert_eq!(found(json!({"patch": {"$": 1}, "list": ["$patch"]})), None);
        assert_eq!(found(json!("$patch")), None);
    }

    #[test]
    fn depth_is_counted_in_steps() {
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| Value::Array(vec![inner]));
        assert_eq!(find_too_deep(&nested(MAX_DEPTH)), None);
        let path = find_too_deep(&nested(MAX_DEPTH + 1)).unwrap();
        assert_eq!(path.segments().len(), MAX_DEPTH + 1);
        assert_eq!(find_directive(&nested(5_000)), None);
    }
}
