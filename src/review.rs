//! AdmissionReview in, AdmissionReview out.
//!
//! The wire format only: a body becomes a request, the decision is made elsewhere, and what it says
//! becomes an answer. `admission.k8s.io/v1` is spoken, `v1beta1` echoed. Field names and meanings
//! follow Kubernetes' `k8s.io/api/admission/v1` and `apimachinery/pkg/apis/meta/v1` types.

mod envelope;
mod record;
mod response;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::api::GROUP;
use crate::catalog::{Severity, Snapshot};
use crate::decision::Refusal;
use crate::inject::{Mode, PodRequest};
use crate::json::{self, PatchError};
use crate::rules::{self, Finding};
use crate::workload::{By, Claim, claim};
use envelope::{Envelope, ObjectError};
use response::Verdict;

pub use envelope::Malformed;
pub use record::{Owner, Record};

/// What `/validate` looks at.
const KINDS: [&str; 2] = ["LLMInferenceService", "LLMInferenceServiceConfig"];

/// What goes back to the API server, and what a metric or a log line may say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The AdmissionReview, as JSON.
    pub body: Vec<u8>,
    /// The decision's code: one of a small fixed set, so fit for a metric's label.
    pub code: &'static str,
    /// Whether the object is let through.
    pub allowed: bool,
    /// The request was a dry run: nothing may be recorded outside of the answer.
    pub dry_run: bool,
    /// The request's uid, as it was sent.
    pub uid: String,
    /// Namespace of the request; empty for an object that has none.
    pub namespace: String,
    /// Name of the object, else its `generateName`, else empty.
    pub name: String,
    /// What there is to tell the pod's owner; nothing of a dry run.
    pub record: Option<Record>,
}

impl Answer {
    /// A refusal for what is not there: the next snapshot may have it.
    #[must_use]
    pub fn may_change(&self) -> bool {
        !self.allowed && Refusal::ABSENT.contains(&self.code)
    }
}

/// Answers `/mutate`: a pod that is about to be created.
///
/// A pod that did not opt in is let through whatever it looks like.
///
/// # Errors
/// [`Malformed`] for a body that is no AdmissionReview, or one whose uid cannot be read. Everything
/// else, a refusal included, is an [`Answer`].
pub fn mutate(body: &[u8], snapshot: &Snapshot) -> Result<Answer, Malformed> {
    let envelope = Envelope::read(body)?;
    let request = &envelope.request;
    if request.operation != "CREATE" {
        return envelope.answer(Verdict::untouched("not-create"));
    }
    if !request.subresource.is_empty() {
        return envelope.answer(Verdict::untouched("subresource"));
    }
    if !request.group.is_empty() || request.kind != "Pod" {
        return envelope.answer(Verdict::untouched("not-a-pod"));
    }
    let mut pod = match envelope.object() {
        Ok(pod) => pod,
        Err(error) => return envelope.answer(unreadable_pod(&envelope, &error)),
    };
    // A third of a pod, and nothing that is decided upon or changed.
    if let Some(Value::Object(metadata)) = pod.get_mut("metadata") {
        metadata.shift_remove("managedFields");
    }

    // A defect of ours must not become a connection that ends without an answer.
    let verdict = catch_unwind(AssertUnwindSafe(|| decide_pod(snapshot, &envelope, &pod)))
        .unwrap_or_else(|_| internal_error(&envelope, "the decision ended unexpectedly"));
    envelope.answer_for(&pod, verdict)
}

/// Answers `/validate`: an LLMInferenceService or an LLMInferenceServiceConfig, created or updated.
///
/// What is wrong with it is found by [`rules::check`]: all of it is said at once, what is certain to
/// fail as a refusal, the rest as warnings.
///
/// # Errors
/// As [`mutate`].
pub fn validate(body: &[u8], snapshot: &Snapshot) -> Result<Answer, Malformed> {
    let envelope = Envelope::read(body)?;
    let request = &envelope.request;
    if !request.subresource.is_empty() {
        return envelope.answer(Verdict::untouched("subresource"));
    }
    if request.group != GROUP || !KINDS.contains(&request.kind.as_str()) {
        return envelope.answer(Verdict::untouched("other-kind"));
    }
    if !["CREATE", "UPDATE"].contains(&request.operation.as_str()) {
        return envelope.answer(Verdict::untouched("not-a-write"));
    }
    let object = match envelope.object() {
        Ok(object) => object,
        Err(error) => {
            return envelope.answer(Verdict::Refused(Refusal {
                code: error.code(),
                message: error.to_string(),
                causes: Vec::new(),
            }));
        }
    };
    let old = envelope.old_object();
    // Nobody is refused for a defect of ours.
    let verdict = catch_unwind(AssertUnwindSafe(|| {
        let namespace = &request.namespace;
        let old = old.as_ref().filter(|_| request.operation == "UPDATE");
        judge(rules::check(rules::Request { snapshot, namespace, object: &object, old }))
    }))
    .unwrap_or_else(|_| Verdict::untouched("internal-error"));
    envelope.answer_for(&object, verdict)
}

fn decide_pod(snapshot: &Snapshot, envelope: &Envelope<'_>, pod: &Value) -> Verdict {
    let namespace = &envelope.request.namespace;
    let request = PodRequest { namespace, pod, mode: Mode::Admission };
    let decision = match rules::decide(snapshot, request) {
        Ok(decision) => decision,
        Err(refusal) => return Verdict::Refused(refusal),
    };
    let added = decision.pod.as_ref().and_then(record::status);
    let patch = match decision.pod.map(|after| json::patch(pod, after, json::pod())).transpose() {
        Ok(operations) => operations.unwrap_or_default(),
        Err(error) => {
            let refusal = no_patch(&error);
            return if opted_in(envelope) {
                Verdict::Refused(refusal)
            } else {
                Verdict::untouched(refusal.code)
            };
        }
    };
    Verdict::Allowed {
        code: decision.code,
        patch,
        warnings: decision.warnings,
        blueprint: decision.blueprint,
        configs: decision.configs,
        added,
    }
}

/// Refused for one finding that says so; let through with warnings for the others.
fn judge(findings: Vec<Finding>) -> Verdict {
    if findings.iter().any(|finding| finding.severity == Severity::Reject) {
        return Verdict::Invalid(findings);
    }
    Verdict::Allowed {
        code: "valid",
        patch: Vec::new(),
        warnings: findings.iter().map(response::warning).collect(),
        blueprint: None,
        configs: Vec::new(),
        added: None,
    }
}

fn no_patch(error: &PatchError) -> Refusal {
    let (code, message) = match error {
        PatchError::TooDeep { .. } => ("unreadable-object", error.to_string()),
        // Only a decision that takes something away, or moves it, has no patch.
        PatchError::Removed { .. } | PatchError::Reordered { .. } => {
            ("internal-error", format!("{error}; this is a defect of the webhook, not of the pod"))
        }
    };
    Refusal { code, message, causes: Vec::new() }
}

/// A pod that cannot be read is refused only where its author asked for something.
fn unreadable_pod(envelope: &Envelope<'_>, error: &ObjectError) -> Verdict {
    if opted_in(envelope) {
        return Verdict::Refused(Refusal {
            code: error.code(),
            message: error.to_string(),
            causes: Vec::new(),
        });
    }
    Verdict::untouched(error.code())
}

fn internal_error(envelope: &Envelope<'_>, what: &str) -> Verdict {
    if opted_in(envelope) {
        return Verdict::Refused(Refusal {
            code: "internal-error",
            message: format!("{what}; this is a defect of the webhook, not of the pod"),
            causes: Vec::new(),
        });
    }
    Verdict::untouched("internal-error")
}

/// Whether the pod of this request asks for injection, by its labels and annotations alone.
fn opted_in(envelope: &Envelope<'_>) -> bool {
    let labelled = envelope.labelled();
    // When this is what fails, nobody is refused for it.
    let claim = catch_unwind(AssertUnwindSafe(|| claim(&labelled)));
    match claim {
        Ok(Ok(Claim::LeaveAlone(_))) | Err(_) => false,
        Ok(Ok(Claim::Member(member))) => member.by == By::Label,
        Ok(Err(_)) => true,
    }
}

#[cfg(test)]
mod tests;
