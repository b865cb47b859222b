//! What a rule says of what it sees.

use serde_json::Value;

use super::{Finding, Reason};
use crate::catalog::Severity;
use crate::decision::quoted;
use crate::json::FieldPath;

/// Gathers the findings of one rule.
#[derive(Debug)]
pub(super) struct Report {
    code: &'static str,
    severity: Severity,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(code: &'static str, severity: Severity) -> Self {
        Self { code, severity, findings: Vec::new() }
    }

    /// A value that cannot be.
    pub(super) fn invalid(
        &mut self,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Reason::Invalid, self.severity, field, message.into(), help.into());
    }

    /// A value that has to be there.
    pub(super) fn required(
        &mut self,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Reason::Required, self.severity, field, message.into(), help.into());
    }

    /// A value that may not be there.
    pub(super) fn forbidden(
        &mut self,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Reason::Forbidden, self.severity, field, message.into(), help.into());
    }

    /// A value that is there twice.
    pub(super) fn duplicate(
        &mut self,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Reason::Duplicate, self.severity, field, message.into(), help.into());
    }

    /// A value that is none of those that are known.
    pub(super) fn unsupported(
        &mut self,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Reason::NotSupported, self.severity, field, message.into(), help.into());
    }

    /// What is wrong only as far as can be seen from here: a warning, whatever is set.
    pub(super) fn unsure(
        &mut self,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Reason::Invalid, Severity::Warn, field, message.into(), help.into());
    }

    fn add(
        &mut self,
        reason: Reason,
        severity: Severity,
        field: FieldPath,
        message: String,
        help: String,
    ) {
        self.findings.push(Finding { code: self.code, severity, reason, field, message, help });
    }
}

/// A value as it is shown in a message: on one line, and cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => crate::api::kind_of(value).to_owned(),
        other => other.to_string(),
    }
}
