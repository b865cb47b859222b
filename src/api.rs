//! The two kinds, LLMInferenceService and LLMInferenceServiceConfig, in v1alpha1 and v1alpha2.
//!
//! An object is kept as the JSON its author wrote, whole: a field that this version does not know
//! survives. What the decision needs is read through typed accessors.

use serde_json::Value;

mod document;
mod schema;
pub mod topology;

pub use document::Document;
pub use schema::{UnknownField, resource_definitions, unknown_fields};
pub use topology::{Parallelism, Topology};

/// API group of both kinds.
pub const GROUP: &str = "serving.kserve.io";
/// Versions that are read. What only one of them has (`spec.model.criticality`, `kvCacheOffloading`,
/// the two forms of an InferencePool) is read in both.
pub const VERSIONS: [&str; 2] = ["v1alpha1", "v1alpha2"];

const SERVICE_KIND: &str = "LLMInferenceService";
const CONFIG_KIND: &str = "LLMInferenceServiceConfig";

/// Where a service's or config's pod specs stand, as member names below `spec`.
pub const POD_SPECS: [&[&str]; 4] =
    [&["template"], &["worker"], &["prefill", "template"], &["prefill", "worker"]];

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace; `default` for an object read from a file that names none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An LLMInferenceService as its author wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Where it lives.
    pub key: ObjectKey,
    /// The whole object.
    pub object: Document,
}

impl Service {
    /// `spec`, `null` when there is none.
    #[must_use]
    pub fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// How it is called in a message.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{SERVICE_KIND} {}", self.key)
    }

    /// `metadata.annotations`, as pairs.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        string_members(self.object.pointer("/metadata/annotations"))
    }
}

/// An LLMInferenceServiceConfig as its author wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where it lives.
    pub key: ObjectKey,
    /// The whole object.
    pub object: Value,
}

impl Config {
    /// `spec`, `null` when there is none.
    #[must_use]
    pub fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// How it is called in a message. The built-in ones have no namespace.
    #[must_use]
    pub fn title(&self) -> String {
        if self.key.namespace.is_empty() {
            format!("built-in {CONFIG_KIND} {}", self.key.name)
        } else {
            format!("{CONFIG_KIND} {}", self.key)
        }
    }
}

/// One of the two kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// `kind: LLMInferenceService`
    Service(Service),
    /// `kind: LLMInferenceServiceConfig`
    Config(Config),
}

/// Why an object is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another group or kind: not ours to read.
    #[error("{0} is not a kind of {GROUP}")]
    OtherKind(String),
    /// Ours, and not readable.
    #[error("{0}")]
    Invalid(String),
}

impl Object {
    /// Reads one object. An empty namespace stays empty: a file's reader knows the default.
    ///
    /// # Errors
    /// [`ReadError::OtherKind`] for anything that is not of the two kinds, [`ReadError::Invalid`]
    /// for one of the two whose name, version or `spec` cannot be read.
    pub fn read(object: Value) -> Result<Self, ReadError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or_default();
        let api_version = text("/apiVersion").unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if group != GROUP || ![SERVICE_KIND, CONFIG_KIND].contains(&kind) {
            return Err(ReadError::OtherKind(format!("{api_version} {kind}").trim().to_owned()));
        }
        if !VERSIONS.contains(&version) {
            return Err(ReadError::Invalid(format!(
                "{kind}: apiVersion: {api_version} is not read here; write {GROUP}/v1alpha2 or {GROUP}/v1alpha1"
            )));
        }
        let Some(name) = text("/metadata/name").filter(|name| !name.is_empty()) else {
            return Err(ReadError::Invalid(format!(
                "{kind}: metadata.name: required, and not there"
            )));
        };
        let key = ObjectKey::new(text("/metadata/namespace").unwrap_or_default(), name);
        match object.get("spec") {
            None | Some(Value::Object(_)) => {}
            Some(other) => {
                return Err(ReadError::Invalid(format!(
                    "{kind} {key}: spec: found {}, expected an object",
                    kind_of(other)
                )));
            }
        }
        Ok(if kind == SERVICE_KIND {
            Self::Service(Service { key, object: object.into() })
        } else {
            Self::Config(Config { key, object })
        })
    }
}

/// Reads pod specs that were written as pod templates (`template.spec.containers`) as the pod spec
/// inside, and returns where that was: people write it both ways. Labels and annotations of such a
/// template become the workload's own (`labels`, `annotations`) unless those have them already.
pub fn flatten_pod_templates(spec: &mut Value) -> Vec<String> {
    let mut found = Vec::new();
    for path in POD_SPECS {
        let Some((leaf, parents)) = path.split_last() else { continue };
        let Some(parent) = parents.iter().try_fold(&mut *spec, |value, name| value.get_mut(name))
        else {
            continue;
        };
        let Some(template) = parent.get_mut(leaf).filter(|template| is_pod_template(template))
        else {
            continue;
        };
        let Some(members) = template.as_object_mut() else { continue };
        let metadata = members.shift_remove("metadata").unwrap_or_default();
        let inner = members.shift_remove("spec").unwrap_or_default();
        *template = inner;
        for member in ["labels", "annotations"] {
            let Some(Value::Object(given)) = metadata.get(member) else { continue };
            let Some(Value::Object(target)) = parent.as_object_mut().map(|parent| {
                parent.entry(member).or_insert_with(|| Value::Object(serde_json::Map::new()))
            }) else {
                continue;
            };
            for (key, value) in given {
                if !target.contains_key(key) {
                    target.insert(key.clone(), value.clone());
                }
            }
        }
        found.push(format!("spec.{}", path.join(".")));
    }
    found
}

/// The string members of an object, as pairs; nothing for anything else.
pub fn string_members(value: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// What a JSON value is, for a message.
#[must_use]
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A pod template has its containers below `spec`; a pod spec never has a member of that name.
fn is_pod_template(value: &Value) -> bool {
    value.get("spec").is_some_and(Value::is_object) && value.get("containers").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(version: &str) -> Value {
        json!({
            "apiVersion": format!("{GROUP}/{version}"), "kind": SERVICE_KIND,
            "metadata": {"name": "s", "namespace": "ns"}, "spec": {"unknown": {"kept": true}}
        })
    }

    #[test]
    fn both_versions_are_read_and_unknown_fields_kept() {
        for version in VERSIONS {
            let Ok(Object::Service(read)) = Object::read(service(version)) else {
                panic!("{version} is not read")
            };
            assert_eq!(read.key.to_string(), "ns/s");
            assert_eq!(read.object, service(version));
        }
    }

    #[test]
    fn another_version_is_refused_by_name_and_another_kind_is_not_ours() {
        let Err(ReadError::Invalid(message)) = Object::read(service("v1")) else {
            panic!("v1 is read")
        };
        assert!(message.contains("serving.kserve.io/v1 is not read"), "{message}");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        assert_eq!(Object::read(pod), Err(ReadError::OtherKind("v1 Pod".to_owned())));
    }

    #[test]
    fn a_spec_that_is_no_object_is_refused() {
        let mut object = service("v1alpha2");
        object["spec"] = json!([1]);
        let Err(ReadError::Invalid(message)) = Object::read(object) else { panic!("read") };
        assert_eq!(message, "LLMInferenceService ns/s: spec: found a list, expected an object");
    }

    #[test]
    fn pod_templates_are_read_as_the_pod_spec_inside() {
        let mut spec = json!({
            "annotations": {"a": "mine"},
            "template": {
                "metadata": {"annotations": {"a": "theirs", "b": "theirs"}},
                "spec": {"containers": [{"name": "main"}]}
            },
            "prefill": {"template": {"containers": []}}
        });
        assert_eq!(flatten_pod_templates(&mut spec), ["spec.template"]);
        assert_eq!(
            spec,
            json!({
                "annotations": {"a": "mine", "b": "theirs"},
                "template": {"containers": [{"name": "main"}]},
                "prefill": {"template": {"containers": []}}
            })
        );
    }
}
