//! The endpoint picker.

use serde_json::Value;

use super::case::{Case, at, get, text};
use super::report::Report;
use super::{Check, Rule};
use crate::catalog::Severity;

const FAMILY: &str = "scheduler";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K041",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a scheduler with no replicas",
        why: "The gateway asks the scheduler for every request; with none running, every request fails. \
              KServe's validator asks for 1 or more, in services and in configs.",
        accepted: "spec: {router: {scheduler: {replicas: 2}}}",
        reported: "spec: {router: {scheduler: {replicas: 0}}}",
        symptom_of: &[],
        check: Check::Both(replicas),
    },
    Rule {
        code: "K042",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a scheduler's config from nowhere, or from two places",
        why: "config is either written here (inline) or taken from a ConfigMap (ref). KServe's validator \
              asks for exactly one.",
        accepted: "spec: {router: {scheduler: {config: {ref: {name: scheduler, key: config.yaml}}}}}",
        reported: "spec: {router: {scheduler: {config: {}}}}",
        symptom_of: &[],
        check: Check::Service(one_config),
    },
    Rule {
        code: "K043",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an empty inline config of the scheduler",
        why: "The scheduler starts with exactly this as its configuration and has no plugins to pick \
              endpoints with. KServe's validator refuses it.",
        accepted: "spec: {router: {scheduler: {config: {inline: {plugins: [{type: queue-scorer}]}}}}}",
        reported: "spec: {router: {scheduler: {config: {inline: {}}}}}",
        symptom_of: &["K042"],
        check: Check::Service(empty_inline),
    },
    Rule {
        code: "K044",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a scheduler's config from a ConfigMap without a name",
        why: "Nothing can be read from it, and the scheduler never starts. KServe's validator asks for the \
              name.",
        accepted: "spec: {router: {scheduler: {config: {ref: {name: scheduler, key: config.yaml}}}}}",
        reported: "spec: {router: {scheduler: {config: {ref: {key: config.yaml}}}}}",
        symptom_of: &["K042"],
        check: Check::Service(nameless_ref),
    },
];

const CONFIG: [&str; 3] = ["router", "scheduler", "config"];

fn replicas(case: &Case<'_>, report: &mut Report) {
    const REPLICAS: [&str; 3] = ["router", "scheduler", "replicas"];
    let found = case.get(&REPLICAS).and_then(Value::as_i64);
    if let Some(replicas) = found.filter(|replicas| *replicas < 1) {
        report.invalid(
            at(&REPLICAS),
            format!("found {replicas}"),
            "write 1 or more; to have no scheduler, remove spec.router.scheduler",
        );
    }
}

fn one_config(case: &Case<'_>, report: &mut Report) {
    let Some(config) = case.get(&CONFIG) else { return };
    let (message, help) = match (get(config, &["inline"]), get(config, &["ref"])) {
        (None, None) => (
            "neither inline nor ref is set",
            "write the configuration under inline, or the ConfigMap under ref; or remove config for \
             the default",
        ),
        (Some(_), Some(_)) => ("inline and ref are both set", "keep one of them"),
        _ => return,
    };
    report.invalid(at(&CONFIG), message, help);
}

fn empty_inline(case: &Case<'_>, report: &mut Report) {
    let Some(inline) = case.get(&["router", "scheduler", "config", "inline"]) else { return };
    let is_empty = match inline {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if is_empty {
        report.invalid(
            at(&CONFIG).field("inline"),
            "empty",
            "write an EndpointPickerConfig with its plugins, or remove config for the default",
        );
    }
}

fn nameless_ref(case: &Case<'_>, report: &mut Report) {
    let Some(reference) = case.get(&["router", "scheduler", "config", "ref"]) else { return };
    if text(reference, &["name"]).is_none() {
        report.required(
            at(&CONFIG).field("ref").field("name"),
            "missing",
            "write the name of the ConfigMap that holds the configuration",
        );
    }
}
