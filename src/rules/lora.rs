//! LoRA adapters.

use serde_json::Value;

use super::case::{Case, at, items, text};
use super::report::Report;
use super::{Check, Rule};
use crate::catalog::Severity;
use crate::decision::quoted;
use crate::json::FieldPath;

const FAMILY: &str = "lora";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K061",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a LoRA bound under 1",
        why: "maxRank, maxAdapters and maxCpuAdapters become flags of the engine, which does not start with \
              less than 1. KServe's validator refuses it.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {maxRank: 16}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {maxRank: 0}}}",
        symptom_of: &[],
        check: Check::Service(bounds),
    },
    Rule {
        code: "K062",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an adapter without a name",
        why: "Requests choose an adapter by its name, and its files lie in a folder of that name. KServe's \
              validator asks for one.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}]}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql}]}}}",
        symptom_of: &[],
        check: Check::Service(nameless),
    },
    Rule {
        code: "K063",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an adapter named like a folder above",
        why: "The name becomes a folder below the adapters' one; `.` and `..` lead out of it. KServe's \
              validator refuses both.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}]}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: ..}]}}}",
        symptom_of: &[],
        check: Check::Service(dots),
    },
    Rule {
        code: "K064",
        family: FAMILY,
        severity: Severity::Reject,
        title: "two adapters of one name",
        why: "The second would be downloaded over the first. KServe's validator refuses it.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}, {uri: hf://a/c, name: c}]}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}, {uri: hf://a/c, name: sql}]}}}",
        symptom_of: &[],
        check: Check::Service(twice),
    },
    Rule {
        code: "K065",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an adapter named like its base model",
        why: "A request that names the model could mean either. KServe's validator refuses it; a model \
              without a name has the service's.",
        accepted: "spec: {model: {uri: hf://a/b, name: b, lora: {adapters: [{uri: hf://a/sql, name: sql}]}}}",
        reported: "spec: {model: {uri: hf://a/b, name: b, lora: {adapters: [{uri: hf://a/sql, name: b}]}}}",
        symptom_of: &[],
        check: Check::Service(like_the_model),
    },
];

const LORA: [&str; 2] = ["model", "lora"];

/// The adapters that have a name, with the paths of their names.
fn names<'a>(case: &Case<'a>) -> Vec<(FieldPath, &'a str)> {
    adapters(case)
        .into_iter()
        .filter_map(|(path, adapter)| Some((path.field("name"), text(adapter, &["name"])?)))
        .collect()
}

fn adapters<'a>(case: &Case<'a>) -> Vec<(FieldPath, &'a Value)> {
    items(case.spec(), &["model", "lora", "adapters"], &at(&[]))
}

fn bounds(case: &Case<'_>, report: &mut Report) {
    for name in ["maxRank", "maxAdapters", "maxCpuAdapters"] {
        let found = case.get(&["model", "lora", name]).and_then(Value::as_i64);
        if let Some(value) = found.filter(|value| *value < 1) {
            report.invalid(
                at(&LORA).field(name),
                format!("found {value}"),
                "write 1 or more, or leave it out for the engine's default",
            );
        }
    }
}

fn nameless(case: &Case<'_>, report: &mut Report) {
    for (path, adapter) in adapters(case) {
        if text(adapter, &["name"]).is_none() {
            report.required(
                path.field("name"),
                "missing",
                "write the name by which requests choose this adapter",
            );
        }
    }
}

fn dots(case: &Case<'_>, report: &mut Report) {
    for (path, name) in names(case) {
        if [".", ".."].contains(&name) {
            report.invalid(
                path,
                format!("found {}, which leads out of the adapters' folder", quoted(name)),
                "write a name of letters, digits, `-` and `_`",
            );
        }
    }
}

fn twice(case: &Case<'_>, report: &mut Report) {
    let names = names(case);
    for (index, (path, name)) in names.iter().enumerate() {
        // Told of in a rule of its own.
        if [".", ".."].contains(name) {
            continue;
        }
        let first = names.iter().take(index).find(|(_, other)| other == name);
        if let Some((first, _)) = first {
            report.duplicate(
                path.clone(),
                format!("{} is also {first}", quoted(name)),
                "give one of them another name",
            );
        }
    }
}

fn like_the_model(case: &Case<'_>, report: &mut Report) {
    let model = case.get(&["model", "name"]).and_then(Value::as_str);
    let model = model.unwrap_or(&case.key.name);
    for (path, name) in names(case) {
        if name == model {
            report.invalid(
                path,
                format!("{} is also the name of the base model", quoted(name)),
                "give the adapter a name of its own",
            );
        }
    }
}
