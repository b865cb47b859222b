use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;
use crate::yaml;

/// The spec of a version of a definition.
fn spec_of<'d>(definition: &'d Value, version: &str) -> &'d Value {
    let versions = definition["spec"]["versions"].as_array().unwrap();
    let version = versions.iter().find(|it| it["name"] == version).unwrap();
    &version["schema"]["openAPIV3Schema"]["properties"]["spec"]
}

/// Every place below one: `visit` says whether to go on below it.
fn walk<'s>(path: &str, place: &'s Value, visit: &mut dyn FnMut(&str, &'s Value) -> bool) {
    if !visit(path, place) {
        return;
    }
    for (name, member) in place["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), member, visit);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if place[key].is_object() {
            walk(&format!("{path}{mark}"), &place[key], visit);
        }
    }
}

#[test]
fn a_plain_apply_takes_each_definition() {
    // An object's annotations may have 262144 bytes, and `kubectl apply` copies the object into one.
    const LIMIT: usize = 240_000;
    for definition in resource_definitions() {
        let bytes = serde_json::to_vec(&definition).unwrap().len();
        assert!(bytes < LIMIT, "{}: {bytes} bytes", definition["metadata"]["name"]);
    }
}

#[test]
fn every_place_is_one_that_the_api_server_takes() {
    for definition in resource_definitions() {
        for version in ["v1alpha1", "v1alpha2"] {
            walk("spec", spec_of(&definition, version), &mut |path, place| {
                let has = |key: &str| place.get(key).is_some();
                assert!(
                    has("type")
                        || has("x-kubernetes-int-or-string")
                        || has("x-kubernetes-preserve-unknown-fields"),
                    "{path} has no type: {place}"
                );
                for key in ["$ref", "anyOf", "oneOf", "allOf", "nullable", "default", "title"] {
                    assert!(!has(key), "{path} has {key}");
                }
                assert_eq!(has("items"), place["type"] == "array", "{path}");
                true
            });
        }
    }
}

#[test]
fn what_is_ours_is_described_and_in_one_sentence() {
    for definition in resource_definitions() {
        walk("spec", spec_of(&definition, "v1alpha2"), &mut |path, place| {
            if path.ends_with("[]") || path.ends_with("{}") {
                return true;
            }
            let text = place["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{path} has no description");
            assert!(!text.contains('\n'), "{path}: {text}");
            // Below these, the fields are described by Kubernetes and by the Gateway API.
            !["emplate", "worker", "behavior", "http.spec", "pvc.spec", "config.ref"]
                .iter()
                .any(|end| path.ends_with(end))
        });
    }
}

/// Writing in one version and reading in the other loses nothing.
#[test]
fn both_versions_have_the_same_fields() {
    for definition in resource_definitions() {
        let fields = |version: &str| {
            let mut paths = BTreeSet::new();
            walk("spec", spec_of(&definition, version), &mut |path, _| {
                paths.insert(path.to_owned());
                !is_opaque_in_v1alpha1(path)
            });
            paths
        };
        assert_eq!(fields("v1alpha1"), fields("v1alpha2"));
    }
}

fn is_opaque_in_v1alpha1(path: &str) -> bool {
    path.ends_with("emplate") || path.ends_with("worker") || path.ends_with("route.http.spec")
}

/// An object that has every member there is, and a stranger wherever one is refused.
fn with_strangers(path: &str, place: &Value, strangers: &mut BTreeSet<String>) -> Value {
    if place["items"].is_object() {
        return json!([with_strangers(&format!("{path}[0]"), &place["items"], strangers)]);
    }
    let Some(members) = place["properties"].as_object() else { return json!({}) };
    let mut object = Map::new();
    for (name, member) in members {
        let is_pod_template =
            matches!(name.as_str(), "metadata" | "spec") && members.contains_key("containers");
        if !is_pod_template {
            let path = format!("{path}.{name}");
            object.insert(name.clone(), with_strangers(&path, member, strangers));
        }
    }
    object.insert("stranger".to_owned(), json!(1));
    strangers.insert(format!("{path}.stranger"));
    object.into()
}

#[test]
fn the_names_that_are_known_are_those_of_the_definition() {
    for definition in resource_definitions() {
        let mut strangers = BTreeSet::new();
        let spec = with_strangers("spec", spec_of(&definition, "v1alpha2"), &mut strangers);
        let found: BTreeSet<String> = unknown_fields(&json!({"spec": spec}))
            .into_iter()
            .map(|it| it.path.to_string())
            .collect();
        assert!(strangers.len() > 500, "{}", strangers.len());
        assert_eq!(found, strangers);
    }
}

/// What a place says that an object has to keep to.
type Facts = BTreeMap<String, Value>;

fn facts(specs: &[&Value]) -> BTreeMap<String, Facts> {
    let mut all = BTreeMap::<String, Facts>::new();
    for spec in specs {
        walk("spec", spec, &mut |path, place| {
            let facts = all.entry(path.to_owned()).or_default();
            for key in ["type", "enum", "minimum", "maximum", "x-kubernetes-int-or-string"] {
                if let Some(value) = place.get(key) {
                    facts.entry(key.to_owned()).or_insert_with(|| value.clone());
                }
            }
            !path.ends_with("emplate") && !path.ends_with("worker")
        });
    }
    all
}

/// KServe's definitions, where Go has fetched its module.
fn kserve(kind: &str) -> Option<Value> {
    let modules = std::env::var_os("GOMODCACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join("go/pkg/mod")))?;
    let path = modules.join(format!(
        "github.com/kserve/kserve@v0.20.0/config/crd/full/llmisvc/serving.kserve.io_{kind}.yaml"
    ));
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return None;
    };
    yaml::documents(&text).remove(0).value.ok()
}

#[test]
fn the_fields_are_those_of_kserve() {
    for (definition, kind) in
        resource_definitions().iter().zip(["llminferenceservices", "llminferenceserviceconfigs"])
    {
        let Some(theirs) = kserve(kind) else { continue };
        let theirs_facts = facts(&[spec_of(&theirs, "v1alpha2"), spec_of(&theirs, "v1alpha1")]);
        let ours_facts = facts(&[spec_of(definition, "v1alpha2")]);
        // The labels of a selector: free here, for each version writes them in another way.
        let is_selector = |path: &str| path.contains("pool.spec.selector");
        let paths = |facts: &BTreeMap<String, Facts>| -> BTreeSet<String> {
            facts.keys().filter(|path| !is_selector(path)).cloned().collect()
        };
        assert_eq!(paths(&ours_facts), paths(&theirs_facts));
        for (path, theirs) in theirs_facts.iter().filter(|(path, _)| !is_selector(path)) {
            let ours = &ours_facts[path];
            for (fact, value) in ours.iter().filter(|_| !is_kubernetes_own(path)) {
                assert_eq!(theirs.get(fact), Some(value), "{path}: {fact}");
            }
            for (fact, value) in theirs.iter().filter(|_| !is_kubernetes_own(path)) {
                assert_eq!(ours.get(fact), Some(value), "{path}: {fact}");
            }
        }
        let pod_fields = |spec: &Value| {
            let mut paths = BTreeSet::new();
            walk("", &spec["properties"]["template"], &mut |path, _| {
                paths.insert(path.to_owned());
                !path.starts_with(".ephemeralContainers")
            });
            paths.remove(".ephemeralContainers");
            paths
        };
        let ours = pod_fields(spec_of(definition, "v1alpha2"));
        let missing: Vec<String> =
            pod_fields(spec_of(&theirs, "v1alpha2")).difference(&ours).cloned().collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

/// Fields of types that are Kubernetes' own: names are what counts there.
fn is_kubernetes_own(path: &str) -> bool {
    [".behavior.", ".pvc.spec.", ".config.ref."].iter().any(|part| path.contains(part))
}
