//! What differs between two pod templates, by path. Items of lists go by what they merge by.

use serde_json::Value;

/// A place where two values differ.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// As `spec.containers[main].env[HOME].value`.
    pub(crate) path: String,
    pub(crate) below: Option<Value>,
    pub(crate) above: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "(absent)".to_owned(), Value::to_string)
        };
        write!(f, "{}:\n    {}\n    {}", self.path, show(&self.below), show(&self.above))
    }
}

/// Where items that only `above` has may stand in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    Anywhere,
    /// Behind those of `below`; but for `LWS_…` variables, which LeaderWorkerSet's webhook puts first.
    Behind,
}

/// Absent and empty are the same: the API server and Go's types write either.
pub(crate) fn differences(below: &Value, above: &Value, added: Added) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(String::new(), Some(below), Some(above), added, &mut found);
    found
}

fn walk(
    path: String,
    below: Option<&Value>,
    above: Option<&Value>,
    added: Added,
    found: &mut Vec<Difference>,
) {
    if is_empty(below) && is_empty(above) || below == above {
        return;
    }
    let (below, above) = (below.filter(|it| !it.is_null()), above.filter(|it| !it.is_null()));
    let key = path.rsplit('.').next().and_then(key_of);
    match (below, above) {
        (None | Some(Value::Object(_)), None | Some(Value::Object(_))) => {
            let members = |value: Option<&Value>| -> Vec<String> {
                let members = value.and_then(Value::as_object);
                members.into_iter().flat_map(|members| members.keys().cloned()).collect()
            };
            let (of_below, of_above) = (members(below), members(above));
            let new = of_above.iter().filter(|name| !of_below.contains(name));
            for name in of_below.iter().chain(new) {
                let separator = if path.is_empty() { "" } else { "." };
                let member =
                    |value: Option<&Value>| value.and_then(|value| value.get(name)).cloned();
                let (below, above) = (member(below), member(above));
                let path = format!("{path}{separator}{name}");
                walk(path, below.as_ref(), above.as_ref(), added, found);
            }
        }
        (None | Some(Value::Array(_)), None | Some(Value::Array(_))) if key.is_some() => {
            let key = key.unwrap();
            let (of_below, of_above) = (items(below, key), items(above, key));
            let has =
                |items: &[(String, &Value)], name: &str| items.iter().any(|(it, _)| it == name);
            for (name, item) in &of_below {
                let other = of_above.iter().find(|(it, _)| it == name).map(|(_, item)| *item);
                // An item that is gone is one difference, not one a member.
                let path = format!("{path}[{name}]");
                match other {
                    Some(other) => walk(path, Some(item), Some(other), added, found),
                    None => {
                        found.push(Difference { path, below: Some((*item).clone()), above: None });
                    }
                }
            }
            for (name, item) in of_above.iter().filter(|(name, _)| !has(&of_below, name)) {
                let path = format!("{path}[{name}]");
                found.push(Difference { path, below: None, above: Some((*item).clone()) });
            }
            let names = |items: &[(String, &Value)], keep: &dyn Fn(&str) -> bool| -> Vec<String> {
                items.iter().map(|(name, _)| name.clone()).filter(|name| keep(name)).collect()
            };
            let expected = names(&of_below, &|name| has(&of_above, name));
            let mut order = names(&of_above, &|name| match added {
                Added::Anywhere => has(&of_below, name),
                Added::Behind => has(&of_below, name) || !name.starts_with("LWS_"),
            });
            order.truncate(expected.len());
            if order != expected {
                let path = format!("{path} (order)");
                let (below, above) =
                    (Some(expected.into()), Some(names(&of_above, &|_| true).into()));
                found.push(Difference { path, below, above });
            }
        }
        _ => found.push(Difference { path, below: below.cloned(), above: above.cloned() }),
    }
}

/// What the items of a list are told apart by; `None` where a list is one value.
fn key_of(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "env" | "volumes" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "ports" => Some("containerPort"),
        _ => None,
    }
}

fn items<'a>(list: Option<&'a Value>, key: &str) -> Vec<(String, &'a Value)> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let items: Vec<_> = items
        .map(|item| match &item[key] {
            Value::String(name) => (name.clone(), item),
            other => (other.to_string(), item),
        })
        .collect();
    for (index, (name, _)) in items.iter().enumerate() {
        assert!(!items[..index].iter().any(|(other, _)| other == name), "{name} is there twice");
    }
    items
}

pub(crate) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.values().all(|member| is_empty(Some(member))),
        _ => false,
    }
}

/// Whether the API server writes `value` at this path where nobody does.
pub(crate) fn is_default(path: &str, value: &Value) -> bool {
    const DEFAULTS: [(&str, &str); 18] = [
        (".dnsPolicy", "\"ClusterFirst\""),
        (".restartPolicy", "\"Always\""),
        (".schedulerName", "\"default-scheduler\""),
        (".serviceAccount", "\"default\""),
        (".serviceAccountName", "\"default\""),
        (".terminationGracePeriodSeconds", "30"),
        (".enableServiceLinks", "true"),
        (".terminationMessagePath", "\"/dev/termination-log\""),
        (".terminationMessagePolicy", "\"File\""),
        (".imagePullPolicy", "\"IfNotPresent\""),
        (".protocol", "\"TCP\""),
        (".defaultMode", "420"),
        (".fieldRef.apiVersion", "\"v1\""),
        (".httpGet.scheme", "\"HTTP\""),
        ("Probe.successThreshold", "1"),
        ("Probe.timeoutSeconds", "1"),
        ("Probe.periodSeconds", "10"),
        ("Probe.failureThreshold", "3"),
    ];
    let text = value.to_string();
    // Of a pod only: an init container's restartPolicy has no default.
    let in_container = path.contains("ontainers[");
    DEFAULTS.iter().any(|(end, default)| {
        path.ends_with(end) && *default == text && (*end != ".restartPolicy" || !in_container)
    })
}

#[test]
fn a_difference_is_told_by_its_path() {
    let template = serde_json::json!({"containers": [
        {"name": "main", "args": ["-a"], "env": [{"name": "A", "value": "1"}, {"name": "B"}]},
    ]});
    let paths = |container: &str, added| -> Vec<String> {
        let pod = serde_json::json!({"containers": [
            serde_json::from_str::<Value>(container).unwrap(),
        ]});
        differences(&template, &pod, added).into_iter().map(|it| it.path).collect()
    };
    let behind = |container| paths(container, Added::Behind);
    let same = r#"{"name": "main", "args": ["-a"], "env":
        [{"name": "LWS_GROUP_SIZE"}, {"name": "A", "value": "1"}, {"name": "B"}, {"name": "C"}]}"#;
    let added = ["containers[main].env[LWS_GROUP_SIZE]", "containers[main].env[C]"];
    assert_eq!(behind(same), added);
    let in_front = r#"{"name": "main", "args": ["-a"], "env":
        [{"name": "C"}, {"name": "A", "value": "1"}, {"name": "B"}]}"#;
    let order = "containers[main].env (order)";
    assert_eq!(behind(in_front), ["containers[main].env[C]", order]);
    assert_eq!(paths(in_front, Added::Anywhere), ["containers[main].env[C]"]);
    let other = r#"{"name": "main", "args": ["-b"], "env":
        [{"name": "B"}, {"name": "A", "value": "2"}]}"#;
    let wrong = ["containers[main].args", "containers[main].env[A].value", order];
    assert_eq!(behind(other), wrong);
    assert_eq!(behind(r#"{"name": "second"}"#), ["containers[main]", "containers[second]"]);
}
