//! Member names that no schema knows.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::{POD_SPEC, SCHEMA, Schema};
use crate::json::FieldPath;
use crate::nearest::{WORDS, nearest};

/// A member that the schema of its kind does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// Where it stands, its own name last.
    pub path: FieldPath,
    /// Its name.
    pub name: String,
    /// The known name that was most likely meant.
    pub nearest: Option<&'static str>,
}

/// The members of an object of either kind, in either version, that are not known, in the order in
/// which they were written. Below a member that is not known nothing more is reported.
///
/// A pod spec that is written as a pod template is read as one. What is free by its nature (the
/// scheduler's own configuration, LoRA adapters, `status`) is not looked into, and neither is a
/// value of another type than its place has: that is the API server's to refuse.
#[must_use]
pub fn unknown_fields(object: &Value) -> Vec<UnknownField> {
    let mut found = Vec::new();
    ROOT.walk(object, &Steps::Root, &mut found);
    found
}

/// What may stand at a place.
#[derive(Default)]
struct Place {
    members: HashMap<&'static str, Arc<Place>>,
    /// Of a list, or of a map whose keys are free.
    each: Option<Arc<Place>>,
    is_open: bool,
    is_pod_spec: bool,
}

static ROOT: LazyLock<Place> = LazyLock::new(|| {
    let mut reader = Reader { schema: &SCHEMA, known: HashMap::new() };
    let open = Arc::new(Place { is_open: true, ..Place::default() });
    Place {
        members: HashMap::from([
            ("apiVersion", Arc::clone(&open)),
            ("kind", Arc::clone(&open)),
            ("metadata", reader.place(&SCHEMA.metadata)),
            ("spec", reader.place(&SCHEMA.spec)),
            ("status", open),
        ]),
        ..Place::default()
    }
});

/// The metadata of a pod template.
static TEMPLATE_METADATA: LazyLock<Arc<Place>> =
    LazyLock::new(|| ROOT.members.get("metadata").map(Arc::clone).unwrap_or_default());

struct Reader {
    schema: &'static Schema,
    known: HashMap<&'static str, Arc<Place>>,
}

impl Reader {
    fn place(&mut self, place: &'static Value) -> Arc<Place> {
        let (found, name) = self.schema.resolve(place);
        if let Some(known) = name.and_then(|name| self.known.get(name)) {
            return Arc::clone(known);
        }
        let is_pod_spec = name == Some(POD_SPEC);
        let mut out = Place { is_pod_spec, ..Place::default() };
        let members = found.get("properties").and_then(Value::as_object);
        for (member, place) in members.into_iter().flatten() {
            if !(is_pod_spec && member == "ephemeralContainers") {
                out.members.insert(member, self.place(place));
            }
        }
        let each = found.get("items").or_else(|| found.get("additionalProperties"));
        out.each = each.filter(|each| each.is_object()).map(|each| self.place(each));
        out.is_open = out.members.is_empty() && out.each.is_none();
        let out = Arc::new(out);
        if let Some(name) = name {
            self.known.insert(name, Arc::clone(&out));
        }
        out
    }
}

impl Place {
    fn walk(&self, value: &Value, steps: &Steps<'_>, found: &mut Vec<UnknownField>) {
        match value {
            Value::Array(items) => {
                let Some(each) = &self.each else { return };
                for (index, item) in items.iter().enumerate() {
                    each.walk(item, &Steps::Index(steps, index), found);
                }
            }
            Value::Object(members) if !self.is_open => {
                let is_template = self.is_pod_spec && super::super::is_pod_template(value);
                for (name, value) in members {
                    let step = Steps::Field(steps, name);
                    match name.as_str() {
                        "spec" if is_template => self.walk(value, &step, found),
                        "metadata" if is_template => TEMPLATE_METADATA.walk(value, &step, found),
                        name => match self.members.get(name).or(self.each.as_ref()) {
                            Some(place) => place.walk(value, &step, found),
                            None => found.push(self.unknown(name, &step)),
                        },
                    }
                }
            }
            _ => {}
        }
    }

    fn unknown(&self, name: &str, steps: &Steps<'_>) -> UnknownField {
        UnknownField {
            path: steps.path(),
            name: name.to_owned(),
            nearest: nearest(name, self.members.keys().copied(), WORDS),
        }
    }
}

/// The way to a place. A path is made only of what is reported.
enum Steps<'s> {
    Root,
    Field(&'s Steps<'s>, &'s str),
    Index(&'s Steps<'s>, usize),
}

impl Steps<'_> {
    fn path(&self) -> FieldPath {
        match self {
            Self::Root => FieldPath::root(),
            Self::Field(before, name) => before.path().field(name),
            Self::Index(before, index) => before.path().index(*index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(spec: &Value) -> Vec<String> {
        let object = json!({
            "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LLMInferenceService",
            "metadata": {"name": "s", "labels": {"any": "thing"}}, "spec": spec,
            "status": {"any": "thing"},
        });
        unknown_fields(&object).into_iter().map(|it| it.path.to_string()).collect()
    }

    #[test]
    fn a_misspelt_member_is_found_wherever_it_stands() {
        assert_eq!(
            paths(&json!({
                "modell": {},
                "model": {"uri": "hf://a/b", "nam": "x"},
                "prefill": {"paralellism": {}, "parallelism": {"tensors": 1}},
                "template": {"containers": [{"name": "main"}, {"name": "b", "resorces": {}}]},
                "worker": {"containers": [{"name": "main", "env": [{"name": "A", "val": "b"}]}]},
                "router": {
                    "route": {"http": {"spec": {"rules": [{"filters": [{"typ": "CORS"}]}]}}},
                    "scheduler": {"config": {"inline": {"free": {"form": 1}}}},
                },
            })),
            [
                "spec.modell",
                "spec.model.nam",
                "spec.prefill.paralellism",
                "spec.prefill.parallelism.tensors",
                "spec.template.containers[1].resorces",
                "spec.worker.containers[0].env[0].val",
                "spec.router.route.http.spec.rules[0].filters[0].typ",
            ]
        );
    }

    #[test]
    fn what_was_meant_is_named() {
        let unknown = unknown_fields(&json!({"sepc": {}, "spec": {"paralellism": {}, "zz": 1}}));
        let meant: Vec<_> = unknown.iter().map(|it| (it.name.as_str(), it.nearest)).collect();
        assert_eq!(
            meant,
            [("sepc", Some("spec")), ("paralellism", Some("parallelism")), ("zz", None)]
        );
    }

    #[test]
    fn a_pod_template_is_read_as_the_pod_spec_inside() {
        assert_eq!(
            paths(&json!({"template": {
                "metadata": {"labels": {"a": "b"}, "lables": {}},
                "spec": {"containers": [], "volume": []},
                "tolerations": [],
            }})),
            ["spec.template.metadata.lables", "spec.template.spec.volume"]
        );
        assert_eq!(
            paths(&json!({"template": {"containers": [], "spec": {}, "metadata": {}}})),
            ["spec.template.spec", "spec.template.metadata"]
        );
    }

    #[test]
    fn free_keys_and_values_stay_free() {
        let free = json!({
            "labels": {"a": "b"}, "model": {"lora": {"adapters": [{"any": "thing"}]}},
            "template": {
                "nodeSelector": {"a": "b"},
                "containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}],
                "volumes": [{"emptyDir": {"sizeLimit": "1Gi"}}, {"csi": {"volumeAttributes": {"a": "b"}}}],
            },
            "router": {"scheduler": {"pool": {"spec": {"selector": {"app": "x"}}}}},
        });
        assert!(paths(&free).is_empty(), "{:?}", paths(&free));
    }
}
