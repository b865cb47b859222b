//! What is refused or warned about in an LLMInferenceService, an LLMInferenceServiceConfig, and a
//! workload whose pods ask to be completed.
//!
//! A rule is one function with its words: why it is there, an example that it accepts and one that
//! it reports. [`check`] runs all of them over one object and returns every finding at once.
//!
//! Codes are stable. `K…` are the rules of KServe's own validator (v0.20 and what it gained since),
//! `C…` is what stands in the way of composing the object, `V…` are the rules that nobody else has.

mod annotations;
mod arguments;
mod case;
mod composition;
mod config;
mod effective;
mod example;
mod fabric;
mod fields;
mod flags;
mod kv;
mod lora;
mod memory;
mod model;
mod names;
mod offloading;
mod pair;
mod parallelism;
mod pod;
mod probes;
mod report;
mod resources;
mod rollout;
mod router;
mod samples;
mod scaling;
mod scheduler;
mod security;
mod sidecar;
mod spread;
mod storage;
mod written;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::api::Object;
use crate::catalog::{Settings, Severity, Snapshot};
use crate::json::FieldPath;
use case::{Case, Kind};
use report::Report;
use samples::Samples;

pub use example::{Example, read_example};
pub use pod::decide;

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's code, e.g. `K051`.
    pub code: &'static str,
    /// [`Severity::Reject`] or [`Severity::Warn`].
    pub severity: Severity,
    /// What the API server would call it.
    pub reason: Reason,
    /// Where in the object; for what is missing, where it belongs.
    pub field: FieldPath,
    /// What is wrong there, with the value that was found.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Finding {
    /// What is wrong and what to write instead, as one sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { message, help, .. } = self;
        if help.is_empty() { message.clone() } else { format!("{message}; {help}") }
    }
}

/// What a cause of a refusal is called in a `Status`.
///
/// Source: `ErrorType` in `pkg/util/validation/field/errors.go` of kubernetes/apimachinery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A value that cannot be.
    Invalid,
    /// A value that has to be there.
    Required,
    /// A value that may not be set here.
    Forbidden,
    /// A value that is there twice.
    Duplicate,
    /// A value that is none of those that are known.
    NotSupported,
}

impl Reason {
    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
        }
    }
}

/// A rule and what is to be said about it.
#[derive(Debug)]
pub struct Rule {
    /// Stable code.
    pub code: &'static str,
    /// What it is about, for the catalogue's headings.
    pub family: &'static str,
    /// What becomes of its findings where no setting says otherwise. A finding that is not certain
    /// is a warning whatever is set.
    pub severity: Severity,
    /// One line.
    pub title: &'static str,
    /// One paragraph: what happens otherwise, and how that is known.
    pub why: &'static str,
    /// YAML that it has nothing to say about: see [`read_example`].
    pub accepted: &'static str,
    /// YAML that it reports, and no other rule does.
    pub reported: &'static str,
    /// Rules whose finding names the cause: where one of them reports, this one keeps quiet.
    symptom_of: &'static [&'static str],
    check: Check,
}

impl Rule {
    /// What becomes of its findings in a namespace, by the operator's settings.
    #[must_use]
    pub fn severity_in(&self, settings: &Settings, namespace: &str) -> Severity {
        settings.rules.severity(namespace, self.code).unwrap_or(self.severity)
    }
}

type CheckFn = fn(&Case<'_>, &mut Report);

/// What a rule looks at.
#[derive(Debug)]
enum Check {
    /// A service as its author wrote it.
    Service(CheckFn),
    /// A config.
    Config(CheckFn),
    /// Either.
    Both(CheckFn),
    /// Either, or a workload, as its author wrote it.
    Any(CheckFn),
    /// The complete pods of a service, or of a workload that asks for them to be completed.
    Pods(CheckFn),
}

impl Check {
    /// What is to be called on an object of that kind, if anything is.
    fn on(&self, kind: Kind) -> Option<CheckFn> {
        match (self, kind) {
            (Self::Service(check), Kind::Service)
            | (Self::Config(check), Kind::Config)
            | (Self::Both(check), Kind::Service | Kind::Config)
            | (Self::Any(check), Kind::Service | Kind::Config | Kind::Workload)
            | (Self::Pods(check), Kind::Service | Kind::Workload | Kind::Sample) => Some(*check),
            _ => None,
        }
    }
}

/// Every rule, in the order of the catalogue.
pub fn catalogue() -> impl Iterator<Item = &'static Rule> {
    static FAMILIES: [&[Rule]; 24] = [
        composition::RULES,
        model::RULES,
        lora::RULES,
        router::RULES,
        scheduler::RULES,
        parallelism::RULES,
        scaling::RULES,
        rollout::RULES,
        offloading::RULES,
        annotations::RULES,
        config::RULES,
        fields::RULES,
        pair::RULES,
        kv::RULES,
        sidecar::RULES,
        probes::RULES,
        spread::RULES,
        resources::RULES,
        memory::RULES,
        fabric::RULES,
        security::RULES,
        storage::RULES,
        names::RULES,
        arguments::RULES,
    ];
    FAMILIES.into_iter().flatten()
}

/// The rule of that code.
#[must_use]
pub fn rule(code: &str) -> Option<&'static Rule> {
    catalogue().find(|rule| rule.code == code)
}

/// Codes in the settings that no rule has.
#[must_use]
pub fn unknown_codes(settings: &Settings) -> Vec<&str> {
    settings.rules.codes().into_iter().filter(|code| rule(code).is_none()).collect()
}

/// An object that is checked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What else there is: configs, settings.
    pub snapshot: &'a Snapshot,
    /// Where the object lives; its own `metadata.namespace` may be empty.
    pub namespace: &'a str,
    /// An LLMInferenceService, an LLMInferenceServiceConfig, or a pod or what makes pods, whole.
    pub object: &'a Value,
    /// What it was before, on an update.
    pub old: Option<&'a Value>,
}

/// Everything that is wrong with an object, in the order of its fields. Any other kind has no findings.
///
/// An object that is being deleted, and an update that leaves `spec` as it was, have none: a
/// controller that removes a finalizer or writes an annotation is never stopped by what somebody
/// else wrote.
///
/// On any other update a finding that the old object has as well, at the same place and with the
/// same words, is a warning: where this is installed into a running cluster, or a rule is added, the
/// services there can still be changed.
///
/// A rule that panics has a defect and finds nothing; that is logged.
#[must_use]
pub fn check(request: Request<'_>) -> Vec<Finding> {
    let is_deleted = request
        .object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|timestamp| !timestamp.is_null());
    let is_unchanged = request.old.is_some_and(|old| old.get("spec") == request.object.get("spec"));
    if is_deleted || is_unchanged {
        return Vec::new();
    }
    let mut findings = run(request, catalogue());
    if let Some(old) = request.old
        && findings.iter().any(|finding| finding.severity == Severity::Reject)
    {
        let before = run(Request { object: old, old: None, ..request }, catalogue());
        for finding in &mut findings {
            let same = |other: &Finding| {
                (other.code, &other.field, &other.message)
                    == (finding.code, &finding.field, &finding.message)
            };
            if before.iter().any(same) {
                finding.severity = Severity::Warn;
            }
        }
    }
    findings
}

/// The findings of one object, for its own sake.
fn run(request: Request<'_>, rules: impl Iterator<Item = &'static Rule>) -> Vec<Finding> {
    let Some(case) = Case::of(request) else { return composition::unreadable(request) };
    let rules: Vec<&Rule> = rules.collect();
    let mut findings = run_on(&case, &rules);
    findings.extend(run_on_samples(&case, &rules));
    settle(findings, request.object)
}

/// The findings without those whose cause is among them, in the order of the object's fields.
fn settle(mut findings: Vec<(&Rule, Finding)>, object: &Value) -> Vec<Finding> {
    let codes: Vec<&str> = findings.iter().map(|(rule, _)| rule.code).collect();
    findings.retain(|(rule, _)| !rule.symptom_of.iter().any(|cause| codes.contains(cause)));
    let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
    // Stable: two findings of one field stay in the catalogue's order.
    findings.sort_by_cached_key(|finding| place(object, &finding.field));
    findings
}

fn run_on(case: &Case<'_>, rules: &[&'static Rule]) -> Vec<(&'static Rule, Finding)> {
    let mut findings = Vec::new();
    for rule in rules {
        let Some(check) = rule.check.on(case.kind) else { continue };
        let severity = rule.severity_in(&case.snapshot.settings, &case.key.namespace);
        if severity == Severity::Off {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut report = Report::new(rule.code, severity);
            check(case, &mut report);
            report.findings
        }));
        if let Ok(found) = outcome {
            findings.extend(found.into_iter().map(|finding| (*rule, finding)));
        } else {
            tracing::error!(
                rule = rule.code,
                namespace = case.key.namespace,
                name = case.key.name,
                "a rule ended unexpectedly: it has no findings; this is a defect of the webhook"
            );
        }
    }
    findings
}

/// Rules that look at one value, wrong whatever stands beside it; all others hold one against another,
/// of which a config may be the half.
const ALONE: [&str; 6] = ["V26", "V28", "V31", "V43", "V75", "V80"];

/// What a config does to the pods of every service that uses it, whatever that is: the findings that
/// all samples have with it, and the same sample without it has not. They point into the config.
fn run_on_samples(case: &Case<'_>, rules: &[&'static Rule]) -> Vec<(&'static Rule, Finding)> {
    let Some(Object::Config(config)) = &case.read else { return Vec::new() };
    let samples = Samples::of(case.snapshot, config);
    let mut common: Option<Vec<(&Rule, Finding)>> = None;
    let mut count = 0;
    for service in &samples.services {
        let with = Case::sample(&samples.snapshot, case.object, service);
        // A config is for some topologies, and says nothing of the others.
        if !matches!(with.effective(), Some(Ok(_))) {
            continue;
        }
        count += 1;
        let without = samples::without(service);
        let without = Case::sample(case.snapshot, case.object, &without);
        let same = |(_, a): &(&Rule, Finding), (_, b): &(&Rule, Finding)| {
            (a.code, &a.message) == (b.code, &b.message)
        };
        let mut found = run_on(&with, rules);
        let before = run_on(&without, rules);
        found.retain(|finding| !before.iter().any(|other| same(finding, other)));
        common = Some(match common {
            None => found,
            Some(mut common) => {
                common.retain(|finding| found.iter().any(|other| same(finding, other)));
                common
            }
        });
    }
    let mut common = common.unwrap_or_default();
    // One sample alone does not tell the config's fault from its own, and what the service or another
    // config adds may still put it right.
    for (rule, finding) in &mut common {
        if count == 1 || !ALONE.contains(&rule.code) {
            finding.severity = Severity::Warn;
        }
    }
    common
}

/// Where a field stands in an object, as positions to compare: a member that is not there comes
/// behind those that are.
fn place(object: &Value, field: &FieldPath) -> Vec<usize> {
    use crate::json::Segment;
    let mut at = Some(object);
    field
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Field(name) | Segment::Key(name) => {
                let members = at.and_then(Value::as_object);
                let position = members
                    .and_then(|members| members.keys().position(|member| member == name))
                    .unwrap_or(usize::MAX);
                at = members.and_then(|members| members.get(name));
                position
            }
            Segment::Index(index) => {
                at = at.and_then(|at| at.get(*index));
                *index
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
