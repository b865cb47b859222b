//! Members that neither kind has.

use super::case::Case;
use super::report::Report;
use super::{Check, Rule};
use crate::api::unknown_fields;
use crate::catalog::Severity;
use crate::decision::quoted;
use crate::json::{FieldPath, Segment};

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
        if let Some(members) = misplaced(case, &field.path) {
            report.unsure(field.path, message, format!("write {members} in spec itself"));
            continue;
        }
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

/// The members of an unknown field of `spec`, where each is one that `spec` has.
fn misplaced(case: &Case<'_>, field: &FieldPath) -> Option<String> {
    let [Segment::Field(parent), Segment::Field(_)] = field.segments() else { return None };
    let value = case.object.pointer(&field.pointer())?;
    let members = value.as_object().filter(|members| parent == "spec" && !members.is_empty())?;
    let mut moved = case.object.clone();
    moved.as_object_mut()?.insert("spec".to_owned(), value.clone());
    let names: Vec<&str> = members.keys().map(String::as_str).collect();
    unknown_fields(&moved).is_empty().then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::catalog::Severity;
    use crate::rules::tests::found;

    #[test]
    fn what_stands_a_level_too_deep_is_misplaced_not_misspelt() {
        let report = [("V100", Severity::Warn)];
        assert_eq!(found("spec: {workload: {kvCacheOffloading: {cpu: 10Gi}}}"), report);
        assert_eq!(found("spec: {workload: {no: {cpu: 10Gi}}}"), [("V100", Severity::Reject)]);
    }
}
