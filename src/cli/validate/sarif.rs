//! Findings as a log in SARIF 2.1.0, the form that code scanning takes.
//!
//! Source: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::fmt::Write as _;
use std::path::{Component, Path};

use serde_json::{Map, Value, json};

use super::check::{Checked, Located, UNREADABLE};
use crate::catalog::Severity;
use crate::rules;

/// The log: one run, with those rules of the catalogue that found something.
pub(super) fn print(checked: &Checked) -> String {
    let mut codes: Vec<&str> = checked.findings.iter().map(|it| it.finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let results: Vec<Value> =
        checked.findings.iter().map(|located| result(checked, located, &codes)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(code)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": !checked.findings.iter().any(Located::is_unreadable),
            }],
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn rule(code: &str) -> Value {
    match rules::rule(code) {
        Some(rule) => json!({
            "id": code,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "help": {"text": format!("{}\n\nAccepted:\n\n{}\n\nReported:\n\n{}",
                rule.why, rule.accepted.trim(), rule.reported.trim())},
            "defaultConfiguration": {"level": match rule.severity {
                Severity::Reject => "error",
                Severity::Warn => "warning",
                Severity::Off => "none",
            }},
            "properties": {"tags": [rule.family]},
        }),
        None => json!({
            "id": UNREADABLE,
            "shortDescription": {"text": "something cannot be read"},
            "defaultConfiguration": {"level": "error"},
        }),
    }
}

fn result(checked: &Checked, located: &Located, codes: &[&str]) -> Value {
    let Located { mark, object, finding, .. } = located;
    let path = checked.files.get(located.file).map_or(Path::new(""), |file| &file.path);
    let mut physical = Map::new();
    physical.insert("artifactLocation".to_owned(), json!({"uri": uri(path)}));
    if let Some(mark) = mark {
        let region = json!({
            "startLine": mark.line, "startColumn": mark.column, "endColumn": mark.end_column,
        });
        physical.insert("region".to_owned(), region);
    }
    let logical = object.as_ref().map(|object| {
        let field = finding.field.to_string();
        json!({"name": field, "fullyQualifiedName": format!("{object}: {field}"), "kind": "member"})
    });
    json!({
        "ruleId": finding.code,
        "ruleIndex": codes.binary_search(&finding.code).ok(),
        "level": located.level(),
        "message": {"text": located.sentence()},
        "locations": [{
            "physicalLocation": physical,
            "logicalLocations": logical.into_iter().collect::<Vec<_>>(),
        }],
    })
}

/// A reference by RFC 3986, relative where the path is.
fn uri(path: &Path) -> String {
    let mut uri = String::new();
    if path.is_absolute() {
        uri.push_str("file://");
    }
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    for (position, name) in names.enumerate() {
        if position > 0 || path.is_absolute() {
            uri.push('/');
        }
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                uri.push(byte.into());
            } else {
                // Nothing can fail: it is written to memory.
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_reference() {
        for (path, expected) in [
            ("a/b.yaml", "a/b.yaml"),
            ("./a b/ü#1%.yaml", "a%20b/%C3%BC%231%25.yaml"),
            ("../c:d.yaml", "../c%3Ad.yaml"),
            ("/etc/x y.json", "file:///etc/x%20y.json"),
            ("-", "-"),
        ] {
            assert_eq!(uri(Path::new(path)), expected);
        }
    }
}
