//! What a rule says of what it sees.

use serde_json::Value;

use super::{Finding, Reason};
use crate::catalog::Severity;
use crate::decision::quoted;
use crate::json::FieldPath;
use crate::release::FlagStatus;

/// Findings of one rule that are told of in one object: nobody reads more, and each costs a look at
/// all of what its author wrote.
const MOST: usize = 32;

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

    /// Whether no more findings are taken: what goes through a long list ends there. One that
    /// refuses the object is never lost behind warnings.
    pub(super) fn is_full(&self) -> bool {
        let refuses = |finding: &Finding| finding.severity == Severity::Reject;
        self.findings.len() >= MOST
            && (self.severity != Severity::Reject || self.findings.iter().any(refuses))
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

    /// A value that cannot be where that is certain, else a warning.
    pub(super) fn invalid_if(
        &mut self,
        is_certain: bool,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add_if(is_certain, Reason::Invalid, field, message.into(), help.into());
    }

    /// A value that is none of those that are known where that is certain, else a warning.
    pub(super) fn lacking_if(
        &mut self,
        is_certain: bool,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add_if(is_certain, Reason::NotSupported, field, message.into(), help.into());
    }

    /// What is wrong only as far as can be seen from here: a warning, whatever is set.
    pub(super) fn unsure(
        &mut self,
        field: FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add_if(false, Reason::Invalid, field, message.into(), help.into());
    }

    fn add_if(
        &mut self,
        is_certain: bool,
        reason: Reason,
        field: FieldPath,
        message: String,
        help: String,
    ) {
        let (reason, severity) =
            if is_certain { (reason, self.severity) } else { (Reason::Invalid, Severity::Warn) };
        self.add(reason, severity, field, message, help);
    }

    fn add(
        &mut self,
        reason: Reason,
        severity: Severity,
        field: FieldPath,
        message: String,
        help: String,
    ) {
        // The pods of a group may have it from the same place.
        let is_it = |other: &Finding| other.field == field && other.message == message;
        let has_room = self.findings.len() < MOST || severity == Severity::Reject;
        if !self.is_full() && has_room && !self.findings.iter().any(is_it) {
            self.findings.push(Finding { code: self.code, severity, reason, field, message, help });
        }
    }
}

/// What is wrong with a name (`flag --port`) that a release (`vLLM 0.26`) does not have, and what to
/// write instead; `None` of one that it has.
pub(super) fn lacking(status: FlagStatus, name: &str, release: &str) -> Option<(String, String)> {
    let message = match status {
        FlagStatus::Known | FlagStatus::Deprecated { .. } => return None,
        FlagStatus::Removed { since, .. } => {
            format!("{release} has no {name}, which {since} removed")
        }
        FlagStatus::NotYet { since, .. } => {
            format!("{release} has no {name} yet, which comes with {since}")
        }
        FlagStatus::Unknown { .. } => format!("{release} has no {name}"),
    };
    Some((message, instead_of(status)))
}

/// What to write instead of a name that a release does not have; nothing for one that it has.
pub(super) fn instead_of(status: FlagStatus) -> String {
    match status {
        FlagStatus::Known | FlagStatus::Deprecated { .. } => String::new(),
        FlagStatus::Removed { instead: Some(instead), .. } => format!("write {instead}"),
        FlagStatus::NotYet { since, instead: Some(before) } => {
            format!("write {before}, or take an image of {since}")
        }
        FlagStatus::NotYet { since, instead: None } => {
            format!("take an image of {since}, or remove it")
        }
        FlagStatus::Unknown { nearest: Some(near) } => format!("did you mean {near}?"),
        FlagStatus::Removed { instead: None, .. } | FlagStatus::Unknown { nearest: None } => {
            "remove it".to_owned()
        }
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
