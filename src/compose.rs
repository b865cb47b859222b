//! Presets, baseRefs and service become one effective spec, merged and rendered.
//!
//! The order of the layers, what a template may read, and what an empty value does follow KServe's
//! own controller (observed by running releases 0.17 and 0.20), so that a pod completed here and a
//! pod made there agree. Each layer is rendered before it is merged, string by string: a value can
//! never become an argument of its own, and engine arguments are compared as the engine sees them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::api::{Config, Service, Topology, flatten_pod_templates, kind_of};
use crate::catalog::{Snapshot, hint};
use crate::decision::Warning;
use crate::json::{self, FieldPath, Layer};
use crate::template::{Data, child_name};

pub(crate) mod arguments;
pub mod blueprint;
mod cache;
mod data;
mod layer;
mod router;

pub use blueprint::Blueprint;
pub use cache::Cache;

/// Annotations of a service that its pods get, by prefix; KServe's list, as namespaces.
const PASSED_ON: [&str; 4] =
    ["k8s.v1.cni.cncf.io/", "kueue.x-k8s.io/", "prometheus.io/", "leaderworkerset.sigs.k8s.io/"];

/// A service's effective spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// The service with its `spec` merged and rendered.
    pub object: Value,
    /// Its pools.
    pub topology: Topology,
    /// Annotations of the service that go to its pods, rendered.
    pub annotations: Map<String, Value>,
    /// Names of the configs it was merged from, in merge order.
    pub configs: Vec<String>,
    /// For the author: what was read otherwise than he may think.
    pub warnings: Vec<Warning>,
}

impl Composed {
    /// The effective spec.
    #[must_use]
    pub fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }
}

/// Why a service cannot be composed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeError {
    /// Stable code, e.g. `unknown-config`.
    pub code: &'static str,
    /// The service, e.g. `LLMInferenceService default/qwen`.
    pub service: String,
    /// The object at fault, e.g. `LLMInferenceServiceConfig kserve/big`.
    pub object: String,
    /// Field path in that object.
    pub field: String,
    /// The value found and what to write instead.
    pub message: String,
}

impl std::error::Error for ComposeError {}

impl std::fmt::Display for ComposeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code: _, service, object, field, message } = self;
        if service != object {
            write!(f, "{service}: ")?;
        }
        write!(f, "{object}: {field}: {message}")
    }
}

/// A config that applies to a service, before it is looked up.
struct Reference {
    name: String,
    /// The service's field that asks for it.
    field: String,
    /// KServe's router and tracing configs hold nothing that a pod of ours needs: without KServe
    /// they are not there, and the service composes without them.
    optional: bool,
}

/// Composes one service. Nothing is cached: [`Cache`] does that.
///
/// # Errors
/// [`ComposeError`] for a missing config, a merge directive, a field of the wrong type, or a
/// template that does not render.
pub fn compose(snapshot: &Snapshot, service: &Service) -> Result<Composed, ComposeError> {
    compose_layers(snapshot, service)
        .map_err(|error| ComposeError { service: service.title(), ..error })
}

fn compose_layers(snapshot: &Snapshot, service: &Service) -> Result<Composed, ComposeError> {
    let mut warnings = Vec::new();
    let mut own = service.spec().clone();
    if own.is_null() {
        own = Value::Object(serde_json::Map::new());
    }
    refuse_directives(&service.title(), &own)?;
    for path in flatten_pod_templates(&mut own) {
        warnings.push(Warning::new(
            "pod-template",
            format!(
                "{}: {path}: read as the pod spec inside it; write {path}.containers",
                service.title()
            ),
        ));
    }

    let base_refs = base_refs(snapshot, service, &own)?;
    // What is enabled is read from the service under its baseRefs, as KServe reads it.
    let mut enabled = own.clone();
    for (_, base) in &base_refs {
        enabled = merge(&enabled, &config_spec(base)?, &base.title())?;
    }
    let mut topology = Topology::of(&enabled);
    let model_name = json::text(&enabled, &["model", "name"])
        .filter(|name| !name.is_empty())
        .unwrap_or(&service.key.name)
        .to_owned();
    set_model_name(&mut own, &model_name);

    let mut layers = Vec::new();
    for reference in presets(&enabled, topology) {
        match snapshot.config(&service.key.namespace, &reference.name) {
            Some(config) => layers.push((reference.name, config)),
            None if reference.optional => {}
            None => return Err(unknown_config(snapshot, service, &reference)),
        }
    }
    layers.extend(base_refs);

    let data = data::service_data(service, &own, &enabled, &snapshot.settings);
    let mut failures = layer::Failures::default();
    let mut merged = Value::Object(serde_json::Map::new());
    let mut configs = Vec::new();
    for (name, config) in layers {
        if let Some(reason) = snapshot.stale.get(&config.key) {
            // A warning is cut at its end: first what it means.
            let message = format!("{}: its last good version is used: {reason}", config.title());
            warnings.push(Warning::new("stale-config", message));
        }
        let spec = layer::render(&config_spec(&config)?, &data, &config.title(), &mut failures);
        merged = layer::merge(merged, spec, &config.title(), &mut warnings)?;
        configs.push(name);
    }
    let annotations = passed_on(service, &data, &mut failures)?;
    let own = layer::render(&own, &data, &service.title(), &mut failures);
    merged = layer::merge(merged, own, &service.title(), &mut warnings)?;
    failures.refuse_what_is_left_in(&merged)?;

    // Which presets apply is read as above; how many ranks there are, from what they came to.
    let Topology { parallelism, prefill_parallelism, .. } = Topology::of(&merged);
    topology = Topology { parallelism, prefill_parallelism, ..topology };
    router::complete(&mut merged, service);
    layer::write_quantities_as_strings(&mut merged);
    let mut object = service.object.to_value();
    if let Some(members) = object.as_object_mut() {
        members.insert("spec".to_owned(), merged);
    }
    Ok(Composed { object, topology, annotations, configs, warnings })
}

/// Whether a config can be used at all, whatever service it is used for.
///
/// # Errors
/// [`ComposeError`] for a `spec` that is no object, a merge directive, or a template that does not
/// parse. What a template does with a service's values is not looked at.
pub fn check_config(config: &Config) -> Result<(), ComposeError> {
    let (title, spec) = (config.title(), config.spec());
    if !spec.is_null() && !spec.is_object() {
        return Err(ComposeError {
            code: "not-mergeable",
            service: String::new(),
            object: title,
            field: "spec".to_owned(),
            message: format!("found {}, expected an object", kind_of(spec)),
        });
    }
    refuse_directives(&title, spec)?;
    layer::parse(spec, &FieldPath::root().field("spec"), &title)
}

/// The service's annotations that its pods get, rendered like its spec.
fn passed_on(
    service: &Service,
    data: &Data,
    failures: &mut layer::Failures,
) -> Result<Map<String, Value>, ComposeError> {
    let annotations: Map<String, Value> = service
        .annotations()
        .filter(|(key, _)| PASSED_ON.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect();
    let metadata = json!({"metadata": {"annotations": annotations}});
    let mut rendered =
        layer::render_below(&metadata, &FieldPath::root(), data, &service.title(), failures);
    failures.refuse_what_is_left_in(&rendered)?;
    let rendered = rendered.pointer_mut("/metadata/annotations").map(Value::take);
    Ok(rendered.and_then(|annotations| annotations.as_object().cloned()).unwrap_or_default())
}

/// Merges `upper` over `lower` without counting engine arguments up: enough to see what is enabled.
fn merge(lower: &Value, upper: &Value, title: &str) -> Result<Value, ComposeError> {
    json::merge(lower, upper, json::service_spec(), Layer::Config)
        .map_err(|error| layer::merge_error(&error, title))
}

/// A config's spec, its pod templates read as pod specs.
fn config_spec(config: &Config) -> Result<Value, ComposeError> {
    let mut spec = config.spec().clone();
    if spec.is_null() {
        spec = Value::Object(serde_json::Map::new());
    }
    refuse_directives(&config.title(), &spec)?;
    flatten_pod_templates(&mut spec);
    Ok(spec)
}

fn refuse_directives(title: &str, spec: &Value) -> Result<(), ComposeError> {
    let Some(path) = json::find_directive(spec) else { return Ok(()) };
    Err(ComposeError {
        code: "merge-directive",
        service: String::new(),
        object: title.to_owned(),
        field: format!("spec.{path}"),
        message: "a directive of the strategic merge is not a field here; write the fields \
                  themselves, in a later layer where they should win"
            .to_owned(),
    })
}

fn base_refs(
    snapshot: &Snapshot,
    service: &Service,
    spec: &Value,
) -> Result<Vec<(String, Arc<Config>)>, ComposeError> {
    let refs =
        spec.get("baseRefs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    refs.iter()
        .enumerate()
        .map(|(index, item)| {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let reference =
                Reference { name, field: format!("spec.baseRefs[{index}].name"), optional: false };
            match snapshot.config(&service.key.namespace, &reference.name) {
                Some(config) => Ok((reference.name, config)),
                None => Err(unknown_config(snapshot, service, &reference)),
            }
        })
        .collect()
}

fn unknown_config(snapshot: &Snapshot, service: &Service, reference: &Reference) -> ComposeError {
    let names = snapshot.config_names(&service.key.namespace);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    ComposeError {
        code: "unknown-config",
        service: service.title(),
        object: service.title(),
        field: reference.field.clone(),
        message: format!(
            "no LLMInferenceServiceConfig \"{}\" in namespace {} or {}; {}",
            reference.name,
            service.key.namespace,
            snapshot.settings.system_namespace,
            hint(&reference.name, "configs", &names)
        ),
    }
}

/// The well-known configs that apply, in KServe's order.
fn presets(spec: &Value, topology: Topology) -> Vec<Reference> {
    let mut references = Vec::new();
    let mut add = |name: &str, field: &str, optional: bool| {
        references.push(Reference {
            name: format!("kserve-{name}"),
            field: field.to_owned(),
            optional,
        });
    };
    let router = router::Router::of(spec);
    if router.wants_scheduler() {
        add("config-llm-scheduler", "spec.router.scheduler", true);
    }
    if router.wants_tokenizer() {
        add("config-llm-tokenizer", "spec.router.scheduler", true);
    }
    if router.wants_latency_predictor() {
        add("config-llm-scheduler-latency-predictor", "spec.router.scheduler.config", true);
    }
    if router.wants_route() {
        add("config-llm-router-route", "spec.router.route", true);
    }
    if spec.get("tracing").is_some_and(Value::is_object) {
        add("config-llm-tracing", "spec.tracing", true);
    }
    let mut pool =
        |prefix: &str, path: &str, worker: bool, parallelism: crate::api::Parallelism| {
            let single = if prefix.is_empty() {
                "config-llm-template".to_owned()
            } else {
                format!("config-llm-{prefix}template")
            };
            if !worker {
                add(&single, &format!("{path}template"), false);
            } else if parallelism.is_data_parallel() {
                add(
                    &format!("config-llm-{prefix}worker-data-parallel"),
                    &format!("{path}worker"),
                    false,
                );
            } else if parallelism.is_pipeline_parallel() {
                add(
                    &format!("config-llm-{prefix}worker-pipeline-parallel"),
                    &format!("{path}parallelism.pipeline"),
                    false,
                );
            }
        };
    if topology.prefill {
        pool("prefill-", "spec.prefill.", topology.prefill_worker, topology.prefill_parallelism);
        pool("decode-", "spec.", topology.worker, topology.parallelism);
    } else {
        pool("", "spec.", topology.worker, topology.parallelism);
    }
    references
}

fn set_model_name(spec: &mut Value, name: &str) {
    let Some(members) = spec.as_object_mut() else { return };
    let model = members.entry("model").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(model) = model.as_object_mut() {
        model.insert("name".to_owned(), Value::String(name.to_owned()));
    }
}

/// Names of what KServe's controller makes for a service.
pub(crate) fn child(service: &str, suffix: &str) -> String {
    child_name(service, suffix)
}
