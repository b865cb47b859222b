//! The annotation `k8s.v1.cni.cncf.io/networks`: a list of names, or a JSON list of objects.
//!
//! Source: the Kubernetes Network Custom Resource Definition De-facto Standard, version 1.3,
//! section 4.1.

use serde_json::{Value, json};

/// One item of the annotation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// `NAME` or `NAMESPACE/NAME`.
    pub(crate) name: String,
    /// What it is to be called in the pod; `None` where the place in the list decides.
    pub(crate) interface: Option<String>,
}

/// Reads the annotation, in either form. The empty one has no networks.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(written: &str) -> Result<Vec<Network>, String> {
    let written = written.trim();
    if written.starts_with('{') {
        return Err("a single object is not a list of networks; write it in [ ]".to_owned());
    }
    if is_json(written) {
        let items: Vec<Value> = serde_json::from_str(written)
            .map_err(|error| format!("not a JSON list of networks: {error}"))?;
        let network = |item: &Value| {
            let name = name_of(item)
                .ok_or_else(|| format!("{item} names no network; write {{\"name\": \"NAME\"}}"))?;
            let interface = item.get("interface").and_then(Value::as_str);
            let interface = interface.filter(|interface| !interface.is_empty()).map(str::to_owned);
            Ok(Network { name, interface })
        };
        return items.iter().map(network).collect();
    }
    let names = written.split(',').map(str::trim).filter(|name| !name.is_empty());
    let network = |text: &str| {
        if !is_name(text) {
            return Err(format!("\"{text}\" is not NAME, NAMESPACE/NAME or NAME@INTERFACE"));
        }
        let (name, interface) =
            text.split_once('@').map_or((text, None), |(name, it)| (name, Some(it.to_owned())));
        Ok(Network { name: name.to_owned(), interface })
    };
    names.map(network).collect()
}

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
    let there = parse(written)?.iter().filter(|it| local(&it.name) == local(network)).count();
    if there as u64 >= count {
        return Ok(written.to_owned());
    }
    if is_json(written) {
        let mut items: Vec<Value> = serde_json::from_str(written).unwrap_or_default();
        items.extend(missing(there, count).map(|()| entry(network)));
        return Ok(Value::Array(items).to_string());
    }
    let added = missing(there, count).map(|()| network);
    let own = Some(written).filter(|written| !written.is_empty());
    Ok(own.into_iter().chain(added).collect::<Vec<_>>().join(","))
}

/// Multus reads the text as JSON where it holds any of these (`pkg/k8sclient` of multus-cni).
fn is_json(written: &str) -> bool {
    written.contains(['[', '{', '"'])
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
