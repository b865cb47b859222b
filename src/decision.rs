//! What a decision says: let through as it is, let through changed, or refused, and why.

use serde_json::Value;

/// What becomes of a pod that is let through.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// [`INJECTED`], or the reason to leave the pod alone; stable, greppable, the metric's label.
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

/// Code of a pod that was changed.
pub const INJECTED: &str = "injected";

impl Decision {
    /// The pod stays as it is, for the reason that `code` names.
    #[must_use]
    pub fn leave_alone(code: &'static str, warnings: Vec<Warning>) -> Self {
        Self { code, pod: None, warnings, blueprint: None, configs: Vec::new() }
    }
}

/// A warning, with the stable code of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable code, e.g. `no-connector`.
    pub code: &'static str,
    /// What was found and what to write instead.
    pub message: String,
}

impl Warning {
    /// A warning of that code.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
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

impl Refusal {
    /// Codes of refusals for what is not there: with the next snapshot it may be.
    pub const ABSENT: [&str; 3] = ["catalog-not-ready", "unknown-service", "unknown-config"];

    /// A refusal for one defect at `field` of the pod.
    #[must_use]
    pub fn at(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        Self {
            code,
            message: format!("{field}: {message}"),
            causes: vec![Cause { field, message }],
        }
    }
}

/// A value as it was found, in quotes, on one line and no longer than anybody reads.
#[must_use]
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    // As Rust prints a string, but for what needs no escape inside a sentence.
    format!("\"{}\"", shown.escape_debug().to_string().replace("\\'", "'"))
}

/// One defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Field path, e.g. `metadata.labels[inject.llmisvc.io/role]`.
    pub field: String,
    /// What is wrong there and what to write instead.
    pub message: String,
}
