//! The model, and how many replicas serve it.

use serde_json::Value;

use super::case::{Case, at, get, is_true, items, text};
use super::report::{Report, shown};
use super::{Check, Rule};
use crate::catalog::{Severity, nearest};
use crate::decision::quoted;
use crate::json::FieldPath;

const FAMILY: &str = "model";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K101",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an unknown criticality",
        why: "The schema of v1alpha1 knows three; v1alpha2 has no such field.",
        accepted: "{apiVersion: serving.kserve.io/v1alpha1, spec: {model: {uri: hf://a/b, criticality: Critical}}}",
        reported: "{apiVersion: serving.kserve.io/v1alpha1, spec: {model: {uri: hf://a/b, criticality: High}}}",
        symptom_of: &[],
        check: Check::Both(criticality),
    },
    Rule {
        code: "K111",
        family: FAMILY,
        severity: Severity::Reject,
        title: "fewer than no replicas",
        why: "The schema of KServe's CRD asks for 0 or more.",
        accepted: "spec: {replicas: 2}",
        reported: "spec: {replicas: -1}",
        symptom_of: &[],
        check: Check::Both(replicas),
    },
    Rule {
        code: "K112",
        family: FAMILY,
        severity: Severity::Reject,
        title: "no model, or one that is no URL",
        why: "The model's URI says where its files come from; the schema of KServe's CRD asks for it, and \
              its types read it as a URL.",
        accepted: "spec: {model: {uri: hf://facebook/opt-125m}}",
        reported: "spec: {model: {name: opt-125m}}",
        symptom_of: &[],
        check: Check::Service(uri),
    },
    Rule {
        code: "K131",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a key's resourceId that no key broker understands",
        why: "An encrypted model is opened with a key that the key broker service names by three parts. \
              KServe's validator (v0.20) asks for kbs:///REPOSITORY/TYPE/TAG.",
        accepted: "spec: {model: {uri: hf://a/b, confidential: {enabled: true, resourceId: \"kbs:///default/key/model\"}}}",
        reported: "spec: {model: {uri: hf://a/b, confidential: {enabled: true, resourceId: \"default/key/model\"}}}",
        symptom_of: &[],
        check: Check::Service(resource_id),
    },
    Rule {
        code: "K132",
        family: FAMILY,
        severity: Severity::Warn,
        title: "confidential has no effect on this source",
        why: "Decryption happens in the storage initializer, which neither oci:// nor pvc:// models pass \
              through. KServe's validator (v0.20) warns of it, too.",
        accepted: "spec: {model: {uri: hf://a/b, confidential: {enabled: true}}}",
        reported: "spec: {model: {uri: pvc://models/a, confidential: {enabled: true}}}",
        symptom_of: &[],
        check: Check::Service(confidential),
    },
];

fn criticality(case: &Case<'_>, report: &mut Report) {
    const KNOWN: [&str; 3] = ["Critical", "Standard", "Sheddable"];
    if !case.is_v1alpha1() {
        return;
    }
    let model = (at(&["model"]), case.get(&["model"]).unwrap_or(&Value::Null));
    let adapters = items(case.spec(), &["model", "lora", "adapters"], &at(&[]));
    for (path, model) in std::iter::once(model).chain(adapters) {
        let Some(found) = get(model, &["criticality"]) else { continue };
        let word = found.as_str().unwrap_or_default();
        if !KNOWN.contains(&word) {
            let hint = nearest(word, KNOWN).map_or_else(
                || format!("write {}", KNOWN.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            report.unsupported(path.field("criticality"), format!("found {}", shown(found)), hint);
        }
    }
}

fn replicas(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        let found = pool.get(&["replicas"]).and_then(Value::as_i64);
        if let Some(replicas) = found.filter(|replicas| *replicas < 0) {
            report.invalid(pool.at(&["replicas"]), format!("found {replicas}"), "write 0 or more");
        }
    }
}

fn uri(case: &Case<'_>, report: &mut Report) {
    const URI: [&str; 2] = ["model", "uri"];
    const HELP: &str =
        "write where its files are, e.g. hf://facebook/opt-125m or pvc://CLAIM/FOLDER";
    let Some(found) = case.get(&URI) else {
        // A base may bring it; the CRD of KServe asks for it all the same.
        return report.required(at(&URI), "missing", HELP);
    };
    match found.as_str() {
        Some("") => report.required(at(&URI), "empty", HELP),
        Some(uri) if !is_url(uri) => {
            report.invalid(at(&URI), format!("{} is no URL", quoted(uri)), HELP);
        }
        Some(_) => {}
        None => report.invalid(at(&URI), format!("found {}, expected a text", shown(found)), HELP),
    }
}

/// Whether a text has a scheme and something behind it, without blanks. A template is read later.
fn is_url(text: &str) -> bool {
    if text.contains("{{") {
        return true;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    is_scheme && !rest.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// `spec.model.confidential`, if it is enabled.
fn enabled<'a>(case: &Case<'a>) -> Option<(FieldPath, &'a Value)> {
    let confidential = case.get(&["model", "confidential"])?;
    is_true(confidential, &["enabled"]).then(|| (at(&["model", "confidential"]), confidential))
}

fn resource_id(case: &Case<'_>, report: &mut Report) {
    let Some((path, confidential)) = enabled(case) else { return };
    let Some(id) = text(confidential, &["resourceId"]) else { return };
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    let parts: Vec<&str> = id.strip_prefix("kbs:///").unwrap_or_default().split('/').collect();
    if parts.len() != 3 || !parts.into_iter().all(is_part) {
        report.invalid(
            path.field("resourceId"),
            format!("found {}", quoted(id)),
            "write kbs:///REPOSITORY/TYPE/TAG, each of letters, digits, `_`, `.` and `-`",
        );
    }
}

fn confidential(case: &Case<'_>, report: &mut Report) {
    let Some((path, _)) = enabled(case) else { return };
    let uri = text(case.spec(), &["model", "uri"]).unwrap_or_default();
    for (scheme, instead) in [
        ("oci://", "the container runtime opens encrypted images, by runtimeClassName"),
        ("pvc://", "use a source that is downloaded, like hf:// or s3://"),
    ] {
        if uri.starts_with(scheme) {
            report.invalid(path.clone(), format!("has no effect on a model of {scheme}"), instead);
        }
    }
}
