//! What only an LLMInferenceServiceConfig can get wrong.

use serde_json::Value;

use super::case::{Case, at};
use super::report::Report;
use super::samples::Samples;
use super::{Check, Rule};
use crate::api::Object;
use crate::catalog::Severity;
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
    let Some(Object::Config(config)) = &case.read else { return };
    // Cheap for the many that hold none.
    if !has_template(config.spec()) {
        return;
    }
    let mut errors: Vec<ComposeError> = Vec::new();
    let samples = Samples::of(case.snapshot, config);
    for service in &samples.services {
        match compose(&samples.snapshot, service) {
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
