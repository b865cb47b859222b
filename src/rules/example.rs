//! The examples of the rules: the smallest YAML that shows the point.

use serde_json::{Value, json};

use crate::api::GROUP;
use crate::yaml;

/// What an example's YAML says.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What is in the cluster already.
    pub others: Vec<Value>,
    /// What the object was before, for a rule about updates.
    pub old: Option<Value>,
    /// The object that is checked.
    pub object: Value,
}

/// Reads an example. The last document is the object that is checked. A document of the same kind
/// and name before it is what it was before an update; any other is in the cluster.
///
/// `apiVersion`, `kind`, `metadata.name`, `metadata.namespace` and `spec.model` may be left out: they
/// are those of an LLMInferenceService `default/example` with a small model.
///
/// # Errors
/// The YAML's own, or that there is no document.
pub fn read_example(text: &str) -> Result<Example, String> {
    let mut others = yaml::documents(text)
        .into_iter()
        .map(|document| document.value.map(complete).map_err(|error| error.message))
        .collect::<Result<Vec<_>, _>>()?;
    let object = others.pop().ok_or("an example without a document")?;
    let is_old = |other: &&Value| {
        ["/kind", "/metadata/name"].iter().all(|at| other.pointer(at) == object.pointer(at))
    };
    let old = others.iter().find(is_old).cloned();
    others.retain(|other| Some(other) != old.as_ref());
    Ok(Example { others, old, object })
}

fn complete(mut value: Value) -> Value {
    let Some(members) = value.as_object_mut() else { return value };
    let default = |members: &mut serde_json::Map<String, Value>, key: &str, value: Value| {
        members.entry(key).or_insert(value);
    };
    default(members, "apiVersion", json!(format!("{GROUP}/v1alpha2")));
    default(members, "kind", json!("LLMInferenceService"));
    let is_service = members.get("kind") == Some(&json!("LLMInferenceService"));
    default(members, "metadata", json!({}));
    if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
        default(metadata, "name", json!("example"));
        default(metadata, "namespace", json!("default"));
    }
    default(members, "spec", json!({}));
    if let Some(Value::Object(spec)) = members.get_mut("spec").filter(|_| is_service) {
        default(spec, "model", json!({"uri": "hf://facebook/opt-125m", "name": "opt-125m"}));
    }
    value
}
