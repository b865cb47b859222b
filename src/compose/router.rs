//! The router part of a service: which of KServe's configs it asks for, and what KServe's controller
//! completes in it after the merge, so that `compose` prints what that controller works from.

use serde_json::{Value, json};

use super::child;
use crate::api::Service;
use crate::json::at;
use crate::workload::keys;

/// The port of an endpoint picker that names none.
const ENDPOINT_PICKER_PORT: u16 = 9002;

/// `spec.router`, read.
pub(super) struct Router<'a>(Option<&'a Value>);

impl<'a> Router<'a> {
    pub(super) fn of(spec: &'a Value) -> Self {
        Self(spec.get("router").filter(|router| router.is_object()))
    }

    fn member(&self, path: &[&str]) -> Option<&'a Value> {
        at(self.0?, path).filter(|value| !value.is_null())
    }

    fn scheduler(&self) -> Option<&'a Value> {
        self.member(&["scheduler"])
    }

    /// Name of the InferencePool that the service brings along, if it does.
    fn pool_ref(&self) -> Option<&'a str> {
        self.member(&["scheduler", "pool", "ref", "name"])?.as_str().filter(|name| !name.is_empty())
    }

    pub(super) fn wants_scheduler(&self) -> bool {
        self.scheduler().is_some() && self.pool_ref().is_none()
    }

    pub(super) fn wants_tokenizer(&self) -> bool {
        self.scheduler().is_some()
            && (self.member(&["scheduler", "tokenizer"]).is_some()
                || self.has_plugin("token-producer")
                || self.has_plugin("precise-prefix-cache-scorer"))
    }

    pub(super) fn wants_latency_predictor(&self) -> bool {
        self.has_plugin("predicted-latency-producer")
    }

    pub(super) fn wants_route(&self) -> bool {
        let refs = self.member(&["route", "http", "refs"]).and_then(Value::as_array);
        self.member(&["route"]).is_some() && refs.is_none_or(Vec::is_empty)
    }

    fn has_plugin(&self, kind: &str) -> bool {
        self.member(&["scheduler", "config", "inline", "plugins"])
            .and_then(Value::as_array)
            .is_some_and(|plugins| {
                plugins
                    .iter()
                    .any(|plugin| plugin.get("type").and_then(Value::as_str) == Some(kind))
            })
    }

    /// Name of the service's InferencePool.
    pub(super) fn pool_name(&self, service: &str) -> String {
        self.pool_ref().map_or_else(|| child(service, "-inference-pool"), str::to_owned)
    }
}

/// Completes a merged and rendered spec as KServe's controller does.
pub(super) fn complete(spec: &mut Value, service: &Service) {
    let name = service.key.name.as_str();
    let router = Router::of(spec);
    let has_scheduler = router.scheduler().is_some();
    let pool_ref = router.pool_ref().map(str::to_owned);
    let parents = router
        .member(&["gateway", "refs"])
        .and_then(Value::as_array)
        .filter(|refs| !refs.is_empty())
        .map(|refs| Value::Array(refs.iter().map(parent_ref).collect()));
    if let Some(pool) = spec.pointer_mut("/router/scheduler/pool/spec") {
        complete_pool(pool, name);
    }
    if let Some(Value::Object(template)) = spec.pointer_mut("/router/scheduler/template") {
        let account = template.entry("serviceAccountName").or_insert_with(|| json!(""));
        if account.as_str() == Some("") {
            *account = json!(child(name, "-epp-sa"));
        }
    }
    let Some(route) = spec.pointer_mut("/router/route/http/spec") else { return };
    if let (Some(parents), Some(members)) = (parents, route.as_object_mut()) {
        members.insert("parentRefs".to_owned(), parents);
    }
    let default_pool = child(name, "-inference-pool");
    let Some(Value::Array(rules)) = route.get_mut("rules") else { return };
    for backend in rules
        .iter_mut()
        .filter_map(|rule| rule.get_mut("backendRefs")?.as_array_mut())
        .flatten()
        .filter(|backend| is_pool(backend, &default_pool))
        .filter_map(Value::as_object_mut)
    {
        if let Some(pool) = &pool_ref {
            backend.insert("name".to_owned(), json!(pool));
        } else if !has_scheduler {
            backend.insert("group".to_owned(), json!(""));
            backend.insert("kind".to_owned(), json!("Service"));
            backend.insert("name".to_owned(), json!(child(name, "-kserve-workload-svc")));
        }
    }
}

fn complete_pool(pool: &mut Value, service: &str) {
    let Some(members) = pool.as_object_mut() else { return };
    let selector = members.entry("selector").or_insert_with(|| json!({}));
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    if labels.is_none_or(serde_json::Map::is_empty) && selector.is_object() {
        *selector = json!({"matchLabels": {
            keys::NAME: service,
            keys::PART_OF: keys::LLM_INFERENCE_SERVICE,
            keys::KSERVE_COMPONENT: "workload",
        }});
    }
    let Some(Value::Object(picker)) = members.get_mut("endpointPickerRef") else { return };
    let is_service =
        matches!(picker.get("kind").and_then(Value::as_str), None | Some("" | "Service"));
    let has_port = picker
        .get("port")
        .and_then(|port| port.get("number"))
        .and_then(Value::as_i64)
        .is_some_and(|port| port != 0);
    if is_service && !has_port {
        picker.insert("port".to_owned(), json!({"number": ENDPOINT_PICKER_PORT}));
    }
}

fn is_pool(backend: &Value, name: &str) -> bool {
    backend.get("kind").and_then(Value::as_str) == Some("InferencePool")
        && backend.get("name").and_then(Value::as_str) == Some(name)
}

fn parent_ref(gateway: &Value) -> Value {
    let mut parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway"});
    for member in ["namespace", "name", "sectionName"] {
        if let (Some(value), Some(parent)) = (gateway.get(member), parent.as_object_mut()) {
            parent.insert(member.to_owned(), value.clone());
        }
    }
    parent
}
