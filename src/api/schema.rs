//! The schema of both kinds: as resource definitions for the API server, and as a check of member
//! names for what the API server lets through or never sees.
//!
//! Both versions have one set of fields, KServe 0.20's of both. The definitions convert by changing
//! the version alone, and so reading or writing an object in either version loses nothing.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{CONFIG_KIND, GROUP, SERVICE_KIND};

#[expect(dead_code, reason = "a schema is all that is made of these types")]
#[expect(clippy::doc_markdown, reason = "the comments are read as plain text, by kubectl explain")]
mod http_route;
#[expect(dead_code, reason = "a schema is all that is made of these types")]
#[expect(clippy::doc_markdown, reason = "the comments are read as plain text, by kubectl explain")]
mod router;
#[expect(dead_code, reason = "a schema is all that is made of these types")]
#[expect(clippy::doc_markdown, reason = "the comments are read as plain text, by kubectl explain")]
mod scaling;
#[expect(dead_code, reason = "a schema is all that is made of these types")]
mod spec;
mod structural;
mod unknown;

pub use unknown::{UnknownField, unknown_fields};

use structural::Detail;

/// The name of a pod spec among the definitions that a schema refers to.
const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";

/// The resource definitions of both kinds, the service's first.
///
/// v1alpha2, the stored version, knows every field. In v1alpha1 pod specs and the route's spec
/// are open: `kubectl apply` keeps a copy of the whole object in an annotation, of at most 262144
/// bytes, and two versions in full are larger. There the validating webhook finds what is misspelt.
/// For the same reason v1alpha1 has no descriptions.
#[must_use]
pub fn resource_definitions() -> Vec<Value> {
    let url = json!({"name": "URL", "type": "string", "jsonPath": ".status.url"});
    let urls = json!({"name": "URLs", "type": "string", "jsonPath": ".status.addresses[*].url", "priority": 1});
    vec![
        definition(&Kind {
            name: SERVICE_KIND,
            plural: "llminferenceservices",
            short: "llmisvc",
            description: "A large language model served by one or more pools of engines.",
            columns: [vec![url], state_columns(), vec![urls]].concat(),
            partial: false,
        }),
        definition(&Kind {
            name: CONFIG_KIND,
            plural: "llminferenceserviceconfigs",
            short: "llmisvcconfig",
            description: "A part of LLMInferenceServices: a preset, or what their baseRefs name.",
            columns: state_columns(),
            partial: true,
        }),
    ]
}

struct Kind {
    name: &'static str,
    plural: &'static str,
    short: &'static str,
    description: &'static str,
    columns: Vec<Value>,
    /// Only a part of a service: a model without its URI is one too.
    partial: bool,
}

fn state_columns() -> Vec<Value> {
    let condition = |field: &str| format!(".status.conditions[?(@.type=='Ready')].{field}");
    vec![
        json!({"name": "Ready", "type": "string", "jsonPath": condition("status")}),
        json!({"name": "Reason", "type": "string", "jsonPath": condition("reason")}),
        json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
    ]
}

fn definition(kind: &Kind) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", kind.plural),
            "labels": {"app.kubernetes.io/name": "llmisvc-webhook"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": format!("{}List", kind.name),
                "plural": kind.plural,
                "singular": kind.name.to_lowercase(),
                "shortNames": [kind.short],
                "categories": ["llm"],
            },
            "scope": "Namespaced",
            "conversion": {"strategy": "None"},
            "versions": [
                version(kind, "v1alpha2", Detail::Full),
                version(kind, "v1alpha1", Detail::Open),
            ],
        },
    })
}

fn version(kind: &Kind, name: &str, detail: Detail) -> Value {
    let description = match detail {
        Detail::Full => kind.description.to_owned(),
        Detail::Open => format!("{} Its fields are described in v1alpha2.", kind.description),
    };
    json!({
        "name": name,
        "served": true,
        "storage": detail == Detail::Full,
        "subresources": {"status": {}},
        "additionalPrinterColumns": kind.columns,
        "schema": {"openAPIV3Schema": {
            "description": description,
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "spec": structural::spec(&SCHEMA, detail, kind.partial),
                "status": {
                    "description": "What the controller that serves the model says of it.",
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                },
            },
        }},
    })
}

/// What the types say, before it is made fit for the API server.
struct Schema {
    spec: Value,
    metadata: Value,
    definitions: Map<String, Value>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let spec = generator.subschema_for::<spec::Spec>().to_value();
    let metadata = generator
        .subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>()
        .to_value();
    Schema { spec, metadata, definitions: generator.take_definitions(false) }
});

impl Schema {
    /// The schema that a place's own one stands for, and the name of its definition: a reference
    /// is followed, and of a choice between something and null the something is taken.
    fn resolve<'s>(&'s self, place: &'s Value) -> (&'s Value, Option<&'s str>) {
        if let Some(name) = place
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix("#/$defs/"))
        {
            return (self.definitions.get(name).unwrap_or(&Value::Null), Some(name));
        }
        let something = |choice: &&Value| choice.get("type") != Some(&Value::from("null"));
        let choices = ["anyOf", "allOf"].iter().find_map(|it| place.get(*it)?.as_array());
        match choices.and_then(|choices| choices.iter().find(something)) {
            Some(choice) => self.resolve(choice),
            None => (place, None),
        }
    }
}

#[cfg(test)]
mod tests;
