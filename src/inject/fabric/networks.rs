//! The annotation `k8s.v1.cni.cncf.io/networks`: a list of names, or a JSON list of objects.
//!
//! Source: the Kubernetes Network Custom Resource Definition De-facto Standard, version 1.3,
//! section 4.1.

use serde_json::{Value, json};

/// Adds `network` to the annotation of a pod in `namespace` until it is there `count` times, in the
/// author's own form. A network without a namespace is one of the pod's.
///
/// # Errors
/// What is wrong with the annotation as it is written.
pub(super) fn add(
    written: &str,
    network: &str,
    count: u64,
    namespace: &str,
) -> Result<String, String> {
    let written = written.trim();
    let local = |name: &str| name.strip_prefix(namespace)?.strip_prefix('/').map(str::to_owned);
    let local = |name: &str| local(name).unwrap_or_else(|| name.to_owned());
    if written.starts_with('[') {
        let mut items: Vec<Value> = serde_json::from_str(written)
            .map_err(|error| format!("not a JSON list of networks: {error}"))?;
        if let Some(item) = items.iter().find(|item| name_of(item).is_none()) {
            return Err(format!("{item} names no network; write {{\"name\": \"{network}\"}}"));
        }
        let there = items
            .iter()
            .filter(|item| name_of(item).is_some_and(|name| local(&name) == local(network)))
            .count();
        items.extend(missing(there, count).map(|()| entry(network)));
        return Ok(if there as u64 >= count {
            written.to_owned()
        } else {
            Value::Array(items).to_string()
        });
    }
    if written.starts_with('{') {
        return Err("a single object is not a list of networks; write it in [ ]".to_owned());
    }
    let names: Vec<&str> =
        written.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(format!("\"{name}\" is not NAME, NAMESPACE/NAME or NAME@INTERFACE"));
    }
    let there =
        names.iter().filter(|name| local(without_interface(name)) == local(network)).count();
    if there as u64 >= count {
        return Ok(written.to_owned());
    }
    let added = missing(there, count).map(|()| network);
    let own = Some(written).filter(|written| !written.is_empty());
    Ok(own.into_iter().chain(added).collect::<Vec<_>>().join(","))
}

/// One unit for each that is still missing.
fn missing(there: usize, count: u64) -> impl Iterator<Item = ()> {
    (there as u64..count).map(|_| ())
}

/// `NAME` or `NAMESPACE/NAME` of an item in JSON form.
fn name_of(item: &Value) -> Option<String> {
    let name = item.get("name")?.as_str().filter(|name| !name.is_empty())?;
    Some(match item.get("namespace").and_then(Value::as_str) {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    })
}

fn entry(network: &str) -> Value {
    match network.split_once('/') {
        Some((namespace, name)) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": network}),
    }
}

fn without_interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn is_name(name: &str) -> bool {
    let (name, interface) =
        name.split_once('@').map_or((name, None), |(name, interface)| (name, Some(interface)));
    let mut parts = name.split('/');
    let label = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    let parts_are_names = parts.by_ref().take(2).all(label) && parts.next().is_none();
    // IFNAMSIZ is 16, the closing zero included.
    parts_are_names && interface.is_none_or(|interface| (1..=15).contains(&interface.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_form_is_kept() {
        for (written, count, expected) in [
            ("", 1, "roce-p2"),
            ("a", 1, "a,roce-p2"),
            ("a, b@net1", 1, "a, b@net1,roce-p2"),
            ("a, roce-p2", 1, "a, roce-p2"),
            ("roce-p2@net1", 1, "roce-p2@net1"),
            ("ns/roce-p2", 1, "ns/roce-p2"),
            ("roce-p2", 3, "roce-p2,roce-p2,roce-p2"),
            (r#"[{"name":"a"}]"#, 1, r#"[{"name":"a"},{"name":"roce-p2"}]"#),
            (
                r#"[{"name":"roce-p2","ips":["1.2.3.4/24"]}]"#,
                1,
                r#"[{"name":"roce-p2","ips":["1.2.3.4/24"]}]"#,
            ),
        ] {
            assert_eq!(add(written, "roce-p2", count, "ns").as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn a_namespace_is_part_of_the_name() {
        assert_eq!(add("a/n", "n", 1, "ns").as_deref(), Ok("a/n,n"));
        assert_eq!(
            add(r#"[{"name":"n","namespace":"a"}]"#, "a/n", 1, "ns").as_deref(),
            Ok(r#"[{"name":"n","namespace":"a"}]"#)
        );
        assert_eq!(add("[]", "a/n", 1, "ns").as_deref(), Ok(r#"[{"name":"n","namespace":"a"}]"#));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for written in [
            "[",
            "[1]",
            r#"{"name":"a"}"#,
            "a b",
            "a/b/c",
            "a@",
            "a@averylonginterfacename",
            "[{}]",
        ] {
            assert!(add(written, "n", 1, "ns").is_err(), "{written}");
        }
    }
}
