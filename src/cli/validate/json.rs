//! Findings as JSON. The help of the subcommand documents the shape.

use serde_json::{Value, json};

use super::check::{Checked, Identity, Located};

/// One object on several lines.
pub(super) fn print(checked: &Checked) -> String {
    let findings: Vec<Value> = checked
        .findings
        .iter()
        .filter_map(|located| {
            let file = checked.files.get(located.file)?;
            let Located { mark, object, finding, .. } = located;
            let object = object.as_ref().map(|Identity { kind, namespace, name }| {
                json!({"kind": kind, "namespace": namespace, "name": name})
            });
            Some(json!({
                "file": file.path.display().to_string(),
                "line": mark.as_ref().map(|mark| mark.line),
                "column": mark.as_ref().map(|mark| mark.column),
                "endColumn": mark.as_ref().map(|mark| mark.end_column),
                "object": object,
                "code": finding.code,
                "severity": located.level(),
                "field": finding.field.to_string(),
                "message": finding.message,
                "help": finding.help,
            }))
        })
        .collect();
    format!("{:#}\n", json!({"findings": findings, "objects": checked.objects}))
}
