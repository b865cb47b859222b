//! What only an LLMInferenceServiceConfig can get wrong.

use std::sync::Arc;

use serde_json::{Value, json};

use super::case::{Case, at};
use super::report::Report;
use super::{Check, Rule};
use crate::api::{Config, GROUP, Object, ObjectKey, Service};
use crate::catalog::{Severity, Snapshot};
use crate::compose::{ComposeError, compose};
use crate::json::FieldPath;

const FAMILY: &str = "config";

/// Every config that KServe applies by itself is called so.
const WELL_KNOWN: &str = "kserve-config-llm-";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K091",
        family: FAMILY,
        severity: Severity::Reject,
        title: "baseRefs inside a config",
        why: "A service names its bases; a base has none of its own. KServe's validator refuses them, and \
              nothing follows them.",
        accepted: "{kind: LLMInferenceServiceConfig, spec: {replicas: 2}}",
        reported: "{kind: LLMInferenceServiceConfig, spec: {baseRefs: [{name: other}]}}",
        symptom_of: &[],
        check: Check::Config(base_refs),
    },
    Rule {
        code: "K092",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a template that does not render",
        why: "A config is rendered for each service that uses it, and a template that fails there stops that \
              service, not this config. So it is rendered here for a sample service of each topology; what \
              fails for all of them is refused. KServe's validator renders configs for one sample service.",
        accepted: "{kind: LLMInferenceServiceConfig, spec: {template: {containers: [{name: main, args: [\"{{ .Spec.Model.Name }}\"]}]}}}",
        reported: "{kind: LLMInferenceServiceConfig, spec: {template: {containers: [{name: main, args: [\"{{ .Spec.Modell.Name }}\"]}]}}}",
        symptom_of: &[],
        check: Check::Config(templates),
    },
    Rule {
        code: "K093",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a well-known config is changed",
        why: "KServe applies it to every service that names no other, and its next release writes it anew. \
              KServe's validator warns of a change, too.",
        accepted: "
{kind: LLMInferenceServiceConfig, metadata: {name: mine}, spec: {replicas: 1}}
---
{kind: LLMInferenceServiceConfig, metadata: {name: mine}, spec: {replicas: 2}}
",
        reported: "
{kind: LLMInferenceServiceConfig, metadata: {name: kserve-config-llm-template}, spec: {replicas: 1}}
---
{kind: LLMInferenceServiceConfig, metadata: {name: kserve-config-llm-template}, spec: {replicas: 2}}
",
        symptom_of: &[],
        check: Check::Config(well_known),
    },
];

fn base_refs(case: &Case<'_>, report: &mut Report) {
    let refs = case.get(&["baseRefs"]).and_then(Value::as_array);
    if refs.is_some_and(|refs| !refs.is_empty()) {
        report.forbidden(
            at(&["baseRefs"]),
            "a config has no bases of its own",
            "name all configs in the service's spec.baseRefs, the most general first",
        );
    }
}

fn well_known(case: &Case<'_>, report: &mut Report) {
    // That the spec changed is known: an update that leaves it as it was is not looked at.
    if case.old.is_some() && case.key.name.starts_with(WELL_KNOWN) {
        report.invalid(
            FieldPath::root().field("spec"),
            "a well-known config applies to services that do not name it",
            "write your own and name it in spec.baseRefs",
        );
    }
}

fn templates(case: &Case<'_>, report: &mut Report) {
    let Object::Config(config) = &case.read else { return };
    // Cheap for the many that hold none.
    if !has_template(config.spec()) {
        return;
    }
    let mut configs = case.snapshot.configs.clone();
    configs.insert(config.key.clone(), Arc::new(without_base_refs(config)));
    let snapshot =
        Snapshot { configs, settings: case.snapshot.settings.clone(), ..Snapshot::default() };
    let mut errors: Vec<ComposeError> = Vec::new();
    for service in samples(&config.key) {
        match compose(&snapshot, &service) {
            // The defect of another config: this one was not at fault before it.
            Err(error) if error.object != config.title() => {}
            Err(error) if error.code == "bad-template" => errors.push(error),
            Ok(_) | Err(_) => return,
        }
    }
    if let Some(error) = errors.first()
        && let Ok(path) = FieldPath::parse(&error.field)
    {
        report.invalid(path, error.message.clone(), "");
    }
}

fn without_base_refs(config: &Config) -> Config {
    let mut config = config.clone();
    if let Some(spec) = config.object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.shift_remove("baseRefs");
    }
    config
}

fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(members) => {
            members.iter().any(|(key, member)| key.contains("{{") || has_template(member))
        }
        _ => false,
    }
}

/// A service of each topology, with everything in it that a template may ask for.
fn samples(config: &ObjectKey) -> Vec<Service> {
    let parallelism =
        json!({"tensor": 1, "data": 2, "dataLocal": 1, "dataRPCPort": 5555, "expert": true});
    let single = json!({"parallelism": {"tensor": 1}, "replicas": 1});
    let multi = json!({"parallelism": parallelism, "worker": {}, "replicas": 1});
    let with_prefill = |mut pool: Value| {
        let prefill = pool.clone();
        if let Some(members) = pool.as_object_mut() {
            members.insert("prefill".to_owned(), prefill);
        }
        pool
    };
    [single.clone(), with_prefill(single), multi.clone(), with_prefill(multi)]
        .into_iter()
        .map(|mut spec| {
            if let Some(members) = spec.as_object_mut() {
                let model = json!({
                    "uri": "hf://facebook/opt-125m", "name": "opt-125m",
                    "lora": {"maxRank": 8, "maxAdapters": 1, "maxCpuAdapters": 1,
                             "adapters": [{"name": "a", "uri": "hf://a/a"}]},
                });
                members.insert("model".to_owned(), model);
                members.insert("router".to_owned(), json!({"scheduler": {}, "route": {}}));
                members.insert("tracing".to_owned(), json!({}));
                members.insert("kvCacheOffloading".to_owned(), json!({"cpu": "1Gi"}));
                members.insert("baseRefs".to_owned(), json!([{"name": config.name}]));
            }
            let key = ObjectKey::new(config.namespace.clone(), "sample");
            let object = json!({
                "apiVersion": format!("{GROUP}/v1alpha2"), "kind": "LLMInferenceService",
                "metadata": {"name": "sample", "namespace": config.namespace}, "spec": spec,
            });
            Service { key, object: object.into() }
        })
        .collect()
}
