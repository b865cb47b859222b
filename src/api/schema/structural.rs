//! From the types' schema to a structural one, the form that the API server takes: no references,
//! a type at every place.

use std::cell::Cell;

use serde_json::{Map, Value, json};

use super::{POD_SPEC, Schema};

/// How much of an object a version describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Every field.
    Full,
    /// Our own fields; pod specs and the `HTTPRoute`'s spec are open.
    Open,
}

const HTTP_ROUTE_SPEC: &str = "HttpRouteSpec";

/// Lists that are merged by a key when several people apply one object, by definition and member.
/// Ports are none of them: their key holds the protocol, which people leave out.
const KEYED: [(&str, &str, &str); 7] = [
    (POD_SPEC, "containers", "name"),
    (POD_SPEC, "initContainers", "name"),
    (POD_SPEC, "volumes", "name"),
    (CONTAINER, "env", "name"),
    (CONTAINER, "volumeMounts", "mountPath"),
    (CONTAINER, "volumeDevices", "devicePath"),
    (POD_SPEC, "hostAliases", "ip"),
];

const CONTAINER: &str = "io.k8s.api.core.v1.Container";

/// The structural schema of `spec`. A `partial` one needs no model URI.
pub(super) fn spec(schema: &Schema, detail: Detail, partial: bool) -> Value {
    let words = if detail == Detail::Full { Words::All } else { Words::None };
    let mut spec = Writer { schema, detail, pods_are_described: Cell::default() }
        .place(&schema.spec, Manner { words, is_ours: true });
    if let Some(model) = spec.pointer_mut("/properties/model").filter(|_| partial) {
        model.as_object_mut().map(|model| model.shift_remove("required"));
    }
    spec
}

/// What is written of a place besides its type.
#[derive(Clone, Copy)]
struct Manner {
    words: Words,
    /// A field of ours: what it requires and its bounds are written. Below Kubernetes' types they
    /// are not, a pod spec being only a layer of one.
    is_ours: bool,
}

/// Which descriptions are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    All,
    /// Cut to a sentence, and none further down.
    Sentence,
    None,
}

struct Writer<'s> {
    schema: &'s Schema,
    detail: Detail,
    /// Once is enough: the first pod spec speaks for the others.
    pods_are_described: Cell<bool>,
}

impl Writer<'_> {
    fn place(&self, place: &Value, manner: Manner) -> Value {
        let (found, name) = self.schema.resolve(place);
        let mut out = Map::new();
        let text = place.get("description").or_else(|| found.get("description"));
        match (text.and_then(Value::as_str), manner.words) {
            (None, _) | (_, Words::None) => None,
            (Some(text), Words::Sentence) => {
                out.insert("description".to_owned(), sentence(text).into())
            }
            (Some(text), Words::All) => out.insert("description".to_owned(), text.into()),
        };
        if self.detail == Detail::Open && matches!(name, Some(POD_SPEC | HTTP_ROUTE_SPEC)) {
            out.insert("type".to_owned(), "object".into());
            out.insert(PRESERVE.to_owned(), true.into());
        } else {
            self.describe(found, name, self.below(name, manner), &mut out);
        }
        Value::Object(out)
    }

    fn below(&self, name: Option<&str>, manner: Manner) -> Manner {
        let is_ours = manner.is_ours && name.is_none_or(|name| !name.starts_with("io.k8s."));
        let words = match manner.words {
            Words::All if is_ours => Words::All,
            Words::All if name == Some(POD_SPEC) && !self.pods_are_described.replace(true) => {
                Words::Sentence
            }
            _ => Words::None,
        };
        Manner { words, is_ours }
    }

    fn describe(
        &self,
        found: &Value,
        name: Option<&str>,
        manner: Manner,
        out: &mut Map<String, Value>,
    ) {
        if found.get(INT_OR_STRING).is_some() {
            out.insert(INT_OR_STRING.to_owned(), true.into());
            return;
        }
        let Some(kind) = kind(found.get("type")) else {
            // Any value at all.
            out.insert(PRESERVE.to_owned(), true.into());
            return;
        };
        out.insert("type".to_owned(), kind.into());
        for bound in ["format", "minimum", "maximum", "enum", "required"] {
            if let Some(value) = found.get(bound).filter(|_| manner.is_ours) {
                out.insert(bound.to_owned(), value.clone());
            }
        }
        if let Some(items) = found.get("items") {
            out.insert("items".to_owned(), self.place(items, manner));
        }
        match found.get("additionalProperties") {
            Some(Value::Bool(true)) => {
                out.insert(PRESERVE.to_owned(), true.into());
            }
            Some(values @ Value::Object(_)) => {
                out.insert("additionalProperties".to_owned(), self.place(values, manner));
            }
            _ => {}
        }
        if let Some(members) = found.get("properties").and_then(Value::as_object) {
            out.insert("properties".to_owned(), self.members(members, name, manner).into());
        }
    }

    fn members(
        &self,
        members: &Map<String, Value>,
        name: Option<&str>,
        manner: Manner,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        for (member, place) in members {
            if name == Some(POD_SPEC) && member == "ephemeralContainers" {
                // Only a pod that runs takes them.
                continue;
            }
            let mut written = self.place(place, manner);
            let keyed = KEYED.iter().find(|(of, list, _)| name == Some(*of) && member == list);
            if let (Some((_, _, key)), Some(list)) = (keyed, written.as_object_mut()) {
                list.insert("x-kubernetes-list-type".to_owned(), "map".into());
                list.insert("x-kubernetes-list-map-keys".to_owned(), json!([key]));
                if let Some(item) = list.get_mut("items").and_then(Value::as_object_mut) {
                    item.insert("required".to_owned(), json!([key]));
                }
            }
            out.insert(member.clone(), written);
        }
        if name == Some(POD_SPEC) {
            // A pod template is read as the pod spec inside it, which the webhook then checks.
            for (member, description) in [
                ("metadata", "Labels and annotations, where this is written as a pod template."),
                ("spec", "The pod spec, where this is written as a pod template."),
            ] {
                let mut template = json!({"type": "object", PRESERVE: true});
                if let Some(template) =
                    template.as_object_mut().filter(|_| manner.words != Words::None)
                {
                    template.insert("description".to_owned(), description.into());
                }
                out.insert(member.to_owned(), template);
            }
        }
        out
    }
}

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// The type, of several the one beside null.
fn kind(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

/// The first sentence of a text.
fn sentence(text: &str) -> &str {
    let text = text.split('\n').next().unwrap_or(text);
    text.split_once(". ").map_or(text, |(first, _)| first)
}
