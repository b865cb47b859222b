//! What stands in the way of a service's pods: bases that are missing, templates that fail.

use super::case::{Case, Kind, named, text};
use super::effective::NoPod;
use super::report::Report;
use super::{Check, Finding, Request, Rule};
use crate::api::{GROUP, Object, ReadError};
use crate::catalog::Severity;
use crate::compose::ComposeError;
use crate::decision::Refusal;
use crate::json::FieldPath;

const FAMILY: &str = "composition";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "C001",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a config that is not there",
        why: "Without it there are no pods: KServe's controller says so only in the status, and the webhook \
              refuses the pods. It is a warning, since the config may be what is applied next.",
        accepted: "
{kind: LLMInferenceServiceConfig, metadata: {name: small}, spec: {replicas: 1}}
---
spec: {baseRefs: [{name: small}]}
",
        reported: "spec: {baseRefs: [{name: small}]}",
        symptom_of: &["V82"],
        check: Check::Service(missing),
    },
    Rule {
        code: "C002",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a template in the service that does not render",
        why: "A service's own strings are templates, too. One that does not render fails for every pod, and \
              KServe's controller stops with it in the status.",
        accepted: "spec: {template: {containers: [{name: main, args: [\"--seed={{ .ObjectMeta.Name }}\"]}]}}",
        reported: "spec: {template: {containers: [{name: main, args: [\"--seed={{ .Spec.Sed }}\"]}]}}",
        symptom_of: &[],
        check: Check::Service(own_template),
    },
    Rule {
        code: "C003",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a service that cannot be merged with its configs",
        why: "A field of another type than the configs below it have, or a directive of the strategic merge \
              ($patch), has no meaning here, and no pod can be made of it.",
        accepted: "spec: {template: {containers: [{name: main}]}}",
        reported: "spec: {template: {containers: [{name: main, $patch: delete}]}}",
        symptom_of: &[],
        check: Check::Service(not_mergeable),
    },
    Rule {
        code: "C004",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a config that fails for this service",
        why: "The service is as it should be, and a config that it uses is not: no pod can be made until that \
              is changed. It is a warning, since the fault lies in another object.",
        accepted: "
{kind: LLMInferenceServiceConfig, metadata: {name: small}, spec: {annotations: {a: \"{{ .Spec.Model.Name }}\"}}}
---
spec: {baseRefs: [{name: small}]}
",
        reported: "
{kind: LLMInferenceServiceConfig, metadata: {name: small}, spec: {annotations: {a: \"{{ .Spec.Prefill.Worker.X }}\"}}}
---
spec: {baseRefs: [{name: small}]}
",
        symptom_of: &[],
        check: Check::Service(others_fault),
    },
    Rule {
        code: "C005",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a pod that cannot be completed",
        why: "A pod of this service that asks the webhook to complete it is refused for this reason; one that \
              KServe's controller made is left as that made it.",
        accepted: "{metadata: {annotations: {inject.llmisvc.io/fabric: none}}}",
        reported: "{metadata: {annotations: {inject.llmisvc.io/fabric: infinband}}}",
        symptom_of: &["K021", "K112", "V106", "V116", "V117"],
        check: Check::Service(not_completed),
    },
    Rule {
        code: "C006",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an object that cannot be read",
        why: "A version that is not one of v1alpha1 and v1alpha2, no name, or a spec that is no map: nothing \
              can be composed of it, no other rule can look at it, and a pod that names it is refused.",
        accepted: "{apiVersion: serving.kserve.io/v1alpha2, spec: {replicas: 1}}",
        reported: "{apiVersion: serving.kserve.io/v1alpha3, spec: {replicas: 1}}",
        symptom_of: &[],
        // What cannot be read never becomes a case: see `unreadable`.
        check: Check::Both(|_, _| {}),
    },
    Rule {
        code: "C010",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a pod template where a pod spec belongs",
        why: "`template` is a pod spec, without the `spec` and `metadata` of a Deployment's template. Written \
              the other way it is read as the pod spec inside it; KServe's CRD drops what it does not know.",
        accepted: "spec: {template: {containers: [{name: main}]}}",
        reported: "spec: {template: {spec: {containers: [{name: main}]}}}",
        symptom_of: &[],
        check: Check::Both(pod_template),
    },
    Rule {
        code: "C011",
        family: FAMILY,
        severity: Severity::Warn,
        title: "something is read otherwise than it may be meant",
        why: "What the webhook would warn of when the pods of this service are created, said where somebody \
              reads it: an empty value that clears nothing below it, a label that says who a pod is and is \
              left out, an offloading that these presets do not do.",
        accepted: "spec: {labels: {team: chat}}",
        reported: "spec: {labels: {app.kubernetes.io/name: chat}}",
        symptom_of: &["K071", "K072", "K073", "K074", "K075", "V44"],
        check: Check::Pods(warned),
    },
    Rule {
        code: "C012",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a workload whose pods are refused",
        why: "Its pods ask to be completed and cannot be: the workload is created, and each of its pods is \
              refused for this reason when a controller creates it.",
        accepted: "
{metadata: {name: chat}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    metadata: {labels: {inject.llmisvc.io/service: chat}}
    spec: {containers: [{name: main, image: auto}]}
",
        reported: "
{metadata: {name: chat}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    metadata: {labels: {inject.llmisvc.io/service: chat, inject.llmisvc.io/role: prefil}}
    spec: {containers: [{name: main, image: auto}]}
",
        symptom_of: &[],
        check: Check::Pods(refused),
    },
];

/// The finding about an object of ours that cannot be read; none about any other.
pub(super) fn unreadable(request: Request<'_>) -> Vec<Finding> {
    let group = text(request.object, &["apiVersion"]).and_then(|it| it.split_once('/'));
    if group.is_none_or(|(group, _)| group != GROUP) {
        return Vec::new();
    }
    let Err(ReadError::Invalid(message)) = Object::read(named(request.object)) else {
        return Vec::new();
    };
    let Some(rule) = super::rule("C006") else { return Vec::new() };
    let severity = rule.severity_in(&request.snapshot.settings, request.namespace);
    if severity == Severity::Off {
        return Vec::new();
    }
    let mut report = Report::new(rule.code, severity);
    // It begins with the object and the field.
    let mut parts = message.splitn(3, ": ").skip(1);
    match (parts.next().map(FieldPath::parse), parts.next()) {
        (Some(Ok(field)), Some(what)) => report.invalid(field, what, ""),
        _ => report.invalid(FieldPath::root(), message, ""),
    }
    report.findings
}

fn missing(case: &Case<'_>, report: &mut Report) {
    let Some(error) = case.compose_error() else { return };
    if error.code == "unknown-config" {
        let (message, help) = error.message.split_once("; ").unwrap_or((&error.message, ""));
        report.invalid(path(error), message, help);
    }
}

fn own_template(case: &Case<'_>, report: &mut Report) {
    let Some(error) = case.compose_error() else { return };
    if error.code == "bad-template" && is_own(case, error) {
        report.invalid(path(error), error.message.clone(), "");
    }
}

fn not_mergeable(case: &Case<'_>, report: &mut Report) {
    let Some(error) = case.compose_error() else { return };
    if !["unknown-config", "bad-template"].contains(&error.code) && is_own(case, error) {
        report.invalid(path(error), error.message.clone(), "");
    }
}

fn others_fault(case: &Case<'_>, report: &mut Report) {
    let Some(error) = case.compose_error() else { return };
    if error.code != "unknown-config" && !is_own(case, error) {
        report.invalid(
            FieldPath::root().field("spec"),
            format!("{}: {}: {}", error.object, error.field, error.message),
            "",
        );
    }
}

/// Of a service it is a warning: its pods may be KServe's.
fn refused(case: &Case<'_>, report: &mut Report) {
    let Some(Err(NoPod::Complete(template, refusal))) = case.effective() else { return };
    if case.kind != Kind::Workload {
        return;
    }
    for cause in &refusal.causes {
        let field = FieldPath::parse(&cause.field).map(|field| template.join(&field));
        let field = field.unwrap_or_else(|_| template.clone());
        let message = cause.message.clone();
        // What is not among these files may be in the cluster.
        if Refusal::ABSENT.contains(&refusal.code) {
            report.unsure(field, message, "apply it as well; on files, name it with --objects");
        } else {
            report.invalid(field, message, "");
        }
    }
}

fn not_completed(case: &Case<'_>, report: &mut Report) {
    match case.effective() {
        Some(Err(NoPod::Complete(pool, refusal))) => {
            report.invalid(pool.clone(), format!("{}: {}", refusal.code, refusal.message), "");
        }
        Some(Err(NoPod::Compose(error))) => report.invalid(path(error), error.message.clone(), ""),
        Some(Ok(_)) | None => {}
    }
}

fn warned(case: &Case<'_>, report: &mut Report) {
    // Rules of their own tell of these.
    const TOLD: [&str; 4] = ["pod-template", "no-connector", "port-conflict", "bad-networks"];
    let Some(Ok(effective)) = case.effective() else { return };
    let title = match &case.read {
        Some(Object::Service(service)) => format!("{}: ", service.title()),
        Some(Object::Config(_)) | None => String::new(),
    };
    let mut seen: Vec<&str> = Vec::new();
    for engine in &effective.engines {
        for warning in engine.warnings.iter().filter(|warning| !TOLD.contains(&warning.code)) {
            if !seen.contains(&warning.message.as_str()) {
                seen.push(&warning.message);
                let message = warning.message.strip_prefix(&title).unwrap_or(&warning.message);
                let (path, message) = place_of(message, &engine.pool);
                report.invalid(path, message, "");
            }
        }
    }
}

/// A warning that begins with a field's path, split behind it; else what is said of the pool.
fn place_of<'m>(message: &'m str, pool: &FieldPath) -> (FieldPath, &'m str) {
    let Some((head, rest)) = message.split_once(": ") else { return (pool.clone(), message) };
    let Ok(path) = FieldPath::parse(head) else { return (pool.clone(), message) };
    if head.starts_with("spec.") {
        (path, rest)
    } else if head.starts_with("labels[") || head.starts_with("annotations[") {
        (pool.join(&path), rest)
    } else {
        (pool.clone(), message)
    }
}

fn pod_template(case: &Case<'_>, report: &mut Report) {
    let mut spec = case.spec().clone();
    for place in crate::api::flatten_pod_templates(&mut spec) {
        if let Ok(path) = FieldPath::parse(&place) {
            report.invalid(
                path,
                "a pod template, read as the pod spec inside it",
                format!("write {place}.containers"),
            );
        }
    }
}

fn is_own(case: &Case<'_>, error: &ComposeError) -> bool {
    matches!(&case.read, Some(Object::Service(service)) if error.object == service.title())
}

fn path(error: &ComposeError) -> FieldPath {
    FieldPath::parse(&error.field).unwrap_or_default()
}
