//! The answer's shape: `AdmissionResponse` and the `Status` of a refusal.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::catalog::Severity;
use crate::decision::{Refusal, Warning};
use crate::json::Operation;
use crate::rules::Finding;

/// Characters of a warning. Kubernetes recommends 120, which a field path alone may have; the API
/// server may cut what is longer than 256.
const WARNING: usize = 256;

/// What is said of an object.
#[derive(Debug)]
pub(super) enum Verdict {
    Allowed {
        code: &'static str,
        patch: Vec<Operation>,
        warnings: Vec<Warning>,
        blueprint: Option<String>,
        configs: Vec<String>,
        /// What the pod's status annotation says was added.
        added: Option<String>,
    },
    Refused(Refusal),
    /// Refused for what is wrong with it; those findings that are no reason to are warnings.
    Invalid(Vec<Finding>),
}

impl Verdict {
    pub(super) fn untouched(code: &'static str) -> Self {
        Self::Allowed {
            code,
            patch: Vec::new(),
            warnings: Vec::new(),
            blueprint: None,
            configs: Vec::new(),
            added: None,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Allowed { code, .. } => code,
            Self::Refused(refusal) => refusal.code,
            Self::Invalid(_) => "invalid",
        }
    }

    pub(super) fn allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// Whom the answer is for.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) version: &'static str,
    pub(super) uid: &'a str,
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
}

/// The AdmissionReview as JSON.
pub(super) fn write(target: &Target<'_>, verdict: Verdict) -> Result<Vec<u8>, serde_json::Error> {
    let mut audit = BTreeMap::from([("decision", verdict.code().to_owned())]);
    let mut response = Response {
        uid: target.uid,
        allowed: verdict.allowed(),
        status: None,
        patch_type: None,
        patch: None,
        audit_annotations: BTreeMap::new(),
        warnings: Vec::new(),
    };
    match verdict {
        Verdict::Allowed { patch, warnings, blueprint, configs, .. } => {
            if !patch.is_empty() {
                response.patch_type = Some("JSONPatch");
                response.patch = Some(STANDARD.encode(serde_json::to_vec(&patch)?));
            }
            response.warnings = warnings.iter().map(line).collect();
            if let Some(blueprint) = blueprint {
                audit.insert("blueprint", blueprint);
            }
            if !configs.is_empty() {
                audit.insert("configs", configs.join(","));
            }
        }
        Verdict::Refused(refusal) => response.status = Some(Status::of(target, refusal)),
        Verdict::Invalid(findings) => {
            let (causes, others): (Vec<_>, Vec<_>) =
                findings.into_iter().partition(|finding| finding.severity == Severity::Reject);
            let mut codes: Vec<&str> = causes.iter().map(|cause| cause.code).collect();
            codes.sort_unstable();
            codes.dedup();
            audit.insert("rules", codes.join(","));
            response.warnings = others.iter().map(|other| line(&warning(other))).collect();
            response.status = Some(Status::invalid(target, &causes));
        }
    }
    response.audit_annotations = audit;
    serde_json::to_vec(&Review { api_version: target.version, kind: "AdmissionReview", response })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    // Keys without a slash: the API server puts the webhook's name before them and drops others.
    audit_annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(rename = "status")]
    outcome: &'a str,
    message: String,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
    code: u16,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    kind: &'a str,
    causes: Vec<StatusCause<'a>>,
}

#[derive(Serialize)]
struct StatusCause<'a> {
    reason: &'a str,
    message: String,
    field: String,
}

impl<'a> Status<'a> {
    /// 422 `Invalid` where fields are at fault, as the API server's own validation answers; 403
    /// `Forbidden` where none is. kubectl prints the causes of the first in place of its message,
    /// and of the second the message.
    fn of(target: &Target<'a>, refusal: Refusal) -> Self {
        let message = format!("{}: {}", refusal.code, refusal.message);
        if refusal.causes.is_empty() {
            return Self {
                outcome: "Failure",
                message,
                reason: "Forbidden",
                details: None,
                code: 403,
            };
        }
        let causes = refusal
            .causes
            .into_iter()
            .map(|cause| StatusCause {
                reason: "FieldValueInvalid",
                message: format!("{} ({})", cause.message, refusal.code),
                field: cause.field,
            })
            .collect();
        Self::of_causes(target, message, causes)
    }

    /// 422 `Invalid` with a cause a finding. Its message is what a client prints that knows nothing
    /// of causes: the findings in one line, as the API server's own validation joins them.
    fn invalid(target: &Target<'a>, findings: &[Finding]) -> Self {
        let causes: Vec<StatusCause<'a>> = findings
            .iter()
            .map(|finding| StatusCause {
                reason: finding.reason.as_str(),
                message: single_line(&format!("{} ({})", finding.text(), finding.code)),
                field: finding.field.to_string(),
            })
            .collect();
        let told = |cause: &StatusCause<'_>| format!("{}: {}", cause.field, cause.message);
        let message = match causes.as_slice() {
            [only] => told(only),
            all => format!("[{}]", all.iter().map(told).collect::<Vec<_>>().join(", ")),
        };
        let kind = if target.group.is_empty() {
            target.kind.to_owned()
        } else {
            format!("{}.{}", target.kind, target.group)
        };
        let message = format!("{kind} \"{}\" is invalid: {message}", target.name);
        Self::of_causes(target, message, causes)
    }

    fn of_causes(target: &Target<'a>, message: String, causes: Vec<StatusCause<'a>>) -> Self {
        Self {
            outcome: "Failure",
            message,
            reason: "Invalid",
            details: Some(Details {
                name: target.name,
                group: target.group,
                kind: target.kind,
                causes,
            }),
            code: 422,
        }
    }
}

/// A finding as a warning.
pub(super) fn warning(finding: &Finding) -> Warning {
    Warning::new(finding.code, format!("{}: {}", finding.field, finding.text()))
}

/// One warning as one line of at most [`WARNING`] characters. The API server sends it in an HTTP header,
/// where a control character has no place.
fn line(warning: &Warning) -> String {
    let text = single_line(&warning.to_string());
    let mut line: String = text.chars().take(WARNING).collect();
    if text.chars().count() > WARNING {
        line.pop();
        line.push('…');
    }
    line
}

/// kubectl prints a cause a line.
fn single_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warn(message: &str) -> String {
        line(&Warning { code: "code", message: message.to_owned() })
    }

    #[test]
    fn a_warning_is_cut_at_a_character() {
        assert_eq!(warn("short"), "code: short");
        let exact = "é".repeat(WARNING - 6);
        assert_eq!(warn(&exact), format!("code: {exact}"));
        let long = warn(&"é".repeat(WARNING - 5));
        assert_eq!(long.chars().count(), WARNING);
        assert!(long.ends_with("é…"), "{long}");
        assert_eq!(warn(&"x".repeat(10_000)).chars().count(), WARNING);
    }

    #[test]
    fn a_warning_has_no_control_characters() {
        assert_eq!(warn("a\nb\tc\u{7f}d\u{85}e"), "code: a b c d e");
    }
}
