//! The two kinds, LLMInferenceService and LLMInferenceServiceConfig, in v1alpha1 and v1alpha2.
//!
//! An object is kept as the JSON its author wrote, whole: a field that this version does not know
//! survives. What the decision needs is read through typed accessors.

use serde_json::Value;

/// API group of both kinds.
pub const GROUP: &str = "serving.kserve.io";

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace; `default` for an object read from a file that names none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An LLMInferenceService as its author wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Where it lives.
    pub key: ObjectKey,
    /// The whole object.
    pub object: Value,
}

/// An LLMInferenceServiceConfig as its author wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where it lives.
    pub key: ObjectKey,
    /// The whole object.
    pub object: Value,
}

/// One of the two kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// `kind: LLMInferenceService`
    Service(Service),
    /// `kind: LLMInferenceServiceConfig`
    Config(Config),
}

/// Why an object is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another group or kind: not ours to read.
    #[error("{0} is not a kind of {GROUP}")]
    OtherKind(String),
    /// Ours, and not readable.
    #[error("{0}")]
    Invalid(String),
}

impl Object {
    /// Reads one object.
    ///
    /// # Errors
    /// [`ReadError::OtherKind`] for anything that is not of the two kinds, [`ReadError::Invalid`]
    /// for one of the two whose name, version or `spec` cannot be read.
    pub fn read(object: Value) -> Result<Self, ReadError> {
        let _ = object;
        Err(ReadError::OtherKind(String::new()))
    }
}
