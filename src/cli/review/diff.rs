//! The difference between two objects, as lines of YAML.

use serde_json::Value;
use similar::TextDiff;

use crate::yaml;

/// Lines around a change that are printed with it.
const CONTEXT: usize = 3;

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const CYAN: &str = "\u{1b}[36m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// A unified diff; empty when the two are equal.
pub(super) fn unified(before: &Value, after: &Value, color: bool) -> String {
    let (before, after) = (yaml::to_string(before), yaml::to_string(after));
    let plain = TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(CONTEXT)
        .header("before", "after")
        .to_string();
    if !color {
        return plain;
    }
    plain
        .lines()
        .enumerate()
        .map(|(number, line)| match (number, line.as_bytes().first()) {
            // The header: what starts with the same signs further down are lines of the object.
            (0 | 1, _) => format!("{BOLD}{line}{RESET}\n"),
            (_, Some(b'-')) => format!("{RED}{line}{RESET}\n"),
            (_, Some(b'+')) => format!("{GREEN}{line}{RESET}\n"),
            (_, Some(b'@')) => format!("{CYAN}{line}{RESET}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_changes_with_their_surroundings() {
        let before = json!({"a": 1, "b": [1, 2], "c": "x", "d": 1, "e": 1, "f": 1, "g": 1});
        let mut after = before.clone();
        after["b"] = json!([1, 2, 3]);
        let plain = unified(&before, &after, false);
        assert_eq!(
            plain,
            "--- before\n+++ after\n@@ -2,6 +2,7 @@\n b:\n - 1\n - 2\n+- 3\n c: x\n d: 1\n e: 1\n"
        );
        let colored = unified(&before, &after, true);
        assert!(colored.contains("\u{1b}[32m+- 3\u{1b}[0m\n"), "{colored:?}");
        assert!(colored.contains("\n - 1\n"), "{colored:?}");
    }

    #[test]
    fn equal_objects_have_no_difference() {
        assert_eq!(unified(&json!({"a": 1}), &json!({"a": 1}), true), "");
    }
}
