//! Short ways to a value deep in a document.

use serde_json::{Map, Value};

/// The value below `value` that the member names lead to.
#[must_use]
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// As [`at`], where it is a string.
#[must_use]
pub fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// The items of the list that the member names lead to; none where there is no list.
#[must_use]
pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The first item of a list whose `name` is this.
#[must_use]
pub fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|item| has_name(item, name))
}

/// As [`named`], to be changed.
#[must_use]
pub fn named_mut<'a>(list: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    list.as_array_mut()?.iter_mut().find(|item| has_name(item, name))
}

/// The object below `value` that the member names lead to, made where it is missing or null.
/// `None`, with nothing changed at or below it, when something that is no object stands in the way.
#[must_use]
pub fn at_mut_or_insert<'a>(
    value: &'a mut Value,
    path: &[&str],
) -> Option<&'a mut Map<String, Value>> {
    let mut object = object_mut(value)?;
    for name in path {
        object = object_mut(object.entry(*name).or_insert(Value::Null))?;
    }
    Some(object)
}

/// The value as an object; null becomes an empty one, since Kubernetes reads null as absent.
fn object_mut(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

fn has_name(item: &Value, name: &str) -> bool {
    item.get("name").and_then(Value::as_str) == Some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_below() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "image": "x"}], "hostname": 1}});
        let containers = at(&pod, &["spec", "containers"]).unwrap();
        assert_eq!(text(named(containers, "b").unwrap(), &["image"]), Some("x"));
        assert_eq!(named(containers, "c"), None);
        assert_eq!(named(&pod, "a"), None);
        assert_eq!(text(&pod, &["spec", "hostname"]), None);
        assert_eq!(at(&pod, &["spec", "containers", "name"]), None);
        assert_eq!(at(&pod, &[]), Some(&pod));
        assert_eq!(list(&pod, &["spec", "containers"]).len(), 2);
        assert!(list(&pod, &["spec", "hostname"]).is_empty());
    }

    #[test]
    fn makes_what_is_missing() {
        let mut pod = json!({"metadata": {"labels": null}, "spec": "x"});
        at_mut_or_insert(&mut pod, &["metadata", "labels"]).unwrap().insert("a".into(), json!("1"));
        at_mut_or_insert(&mut pod, &["metadata", "annotations", "deep"]).unwrap();
        assert_eq!(pod["metadata"], json!({"labels": {"a": "1"}, "annotations": {"deep": {}}}));
        assert_eq!(at_mut_or_insert(&mut pod, &["spec", "containers"]), None);
        assert_eq!(pod["spec"], json!("x"));
        assert_eq!(at_mut_or_insert(&mut json!([]), &["a"]), None);
        let mut list = json!([{"name": "a"}, {"name": "b"}]);
        named_mut(&mut list, "b").unwrap()["image"] = json!("x");
        assert_eq!(list, json!([{"name": "a"}, {"name": "b", "image": "x"}]));
    }
}
