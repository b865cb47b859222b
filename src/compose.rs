//! Presets, baseRefs and service become one effective spec, merged and rendered.

use serde_json::Value;

use crate::api::Service;
use crate::catalog::Snapshot;

/// A service's effective spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// The service with its `spec` merged and rendered.
    pub object: Value,
    /// Names of the configs it was merged from, in merge order.
    pub configs: Vec<String>,
    /// For the author: what was read otherwise than he may think.
    pub warnings: Vec<crate::inject::Warning>,
}

/// Why a service cannot be composed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ComposeError {
    /// Stable code, e.g. `unknown-config`.
    pub code: &'static str,
    /// The object at fault, e.g. `LLMInferenceServiceConfig kserve/big`.
    pub object: String,
    /// Field path in that object.
    pub field: String,
    /// Object, path, value, what to write instead: the whole sentence.
    pub message: String,
}

/// Composes one service.
///
/// # Errors
/// [`ComposeError`] for a missing config, a merge directive, or a template that does not render.
pub fn compose(snapshot: &Snapshot, service: &Service) -> Result<Composed, ComposeError> {
    let _ = (snapshot, service);
    Err(ComposeError {
        code: "",
        object: String::new(),
        field: String::new(),
        message: String::new(),
    })
}

/// The workloads that a service's pools consist of, as Deployments and LeaderWorkerSets.
///
/// # Errors
/// As [`compose`].
pub fn workloads(
    snapshot: &Snapshot,
    service: &Service,
    skeleton: bool,
) -> Result<Vec<Value>, ComposeError> {
    let _ = (snapshot, service, skeleton);
    Ok(Vec::new())
}
