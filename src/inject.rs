//! A blueprint and a pod become a pod: filled, never overwritten.

use serde_json::Value;

use crate::catalog::Snapshot;

/// What is asked of the decision: one pod that is about to be created.
#[derive(Debug, Clone, Copy)]
pub struct PodRequest<'a> {
    /// Namespace of the request; a pod's own is often empty at admission.
    pub namespace: &'a str,
    /// The pod, or a pod template with `kind: Pod` semantics.
    pub pod: &'a Value,
    /// At admission some fields can no longer be set; offline they can.
    pub mode: Mode,
}

/// Where a pod is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In an admission review.
    Admission,
    /// In a file.
    Offline,
}

/// What becomes of a pod that is let through.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// `injected`, or the reason to leave the pod alone; stable, greppable, the metric's label.
    pub code: &'static str,
    /// The pod as it should be; `None` when nothing changes.
    pub pod: Option<Value>,
    /// For the person who applies the pod.
    pub warnings: Vec<Warning>,
    /// Digest of the blueprint, when there was one.
    pub blueprint: Option<String>,
    /// Names of the configs that the blueprint was composed of, in merge order.
    pub configs: Vec<String>,
}

/// A warning, with the stable code of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable code, e.g. `connector-missing`.
    pub code: &'static str,
    /// What was found and what to write instead.
    pub message: String,
}

/// Why a pod that opted in is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable code, e.g. `unknown-service`.
    pub code: &'static str,
    /// Object, path, value, what exists instead, what to do.
    pub message: String,
    /// One cause a defect, each with its field path in the pod.
    pub causes: Vec<Cause>,
}

/// One defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Field path, e.g. `metadata.labels[inject.llmisvc.io/role]`.
    pub field: String,
    /// What is wrong there and what to write instead.
    pub message: String,
}

/// Decides what becomes of one pod.
///
/// # Errors
/// [`Refusal`] for a pod that opted in and cannot be completed.
pub fn decide(snapshot: &Snapshot, request: PodRequest<'_>) -> Result<Decision, Refusal> {
    let _ = (snapshot, request);
    Ok(Decision {
        code: "not-opted-in",
        pod: None,
        warnings: Vec::new(),
        blueprint: None,
        configs: Vec::new(),
    })
}
