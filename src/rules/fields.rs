//! Members that neither kind has.

use super::case::Case;
use super::report::Report;
use super::{Check, Rule};
use crate::api::unknown_fields;
use crate::catalog::Severity;
use crate::decision::quoted;

/// Fields of KServe's releases after 0.20, which other rules read.
const NEWER: [&str; 4] = [
    "spec.rolloutStrategy",
    "spec.prefill.rolloutStrategy",
    "spec.scaling.keda",
    "spec.prefill.scaling.keda",
];

pub(super) const RULES: &[Rule] = &[Rule {
    code: "V100",
    family: "fields",
    severity: Severity::Reject,
    title: "a field that does not exist",
    why: "KServe's CRD drops what it does not know, and so the field has no effect and nobody is told: its \
          own sample writes spec.workload.kvCacheOffloading, which is nothing, for spec.kvCacheOffloading. A \
          webhook sees such a field only where the CRD keeps it, a file's reader always. A name that is near \
          to a known one is misspelt; any other may be newer than this program, and is a warning.",
    accepted: "spec: {template: {containers: [{name: main, env: []}]}}",
    reported: "spec: {template: {containers: [{name: main, enviroment: []}], nodeSelectr: {}}}",
    symptom_of: &["C003"],
    check: Check::Both(unknown),
}];

fn unknown(case: &Case<'_>, report: &mut Report) {
    for field in unknown_fields(case.object) {
        if NEWER.contains(&field.path.to_string().as_str()) {
            continue;
        }
        let message = format!("there is no field {}", quoted(&field.name));
        match field.nearest {
            Some(near) => report.unsupported(field.path, message, format!("did you mean {near}?")),
            None => report.unsure(
                field.path,
                message,
                "remove it, unless your release of KServe is newer than this program knows",
            ),
        }
    }
}
