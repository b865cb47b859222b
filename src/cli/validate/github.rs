//! Findings as commands of a GitHub workflow, which become annotations of a change.
//!
//! Form and escapes as in `packages/core/src/command.ts` of actions/toolkit.

use std::fmt::Write as _;

use super::super::input::is_stdin;
use super::super::output::visible;
use super::check::{Checked, Located};

/// One command a line.
pub(super) fn print(checked: &Checked) -> String {
    let mut text = String::new();
    for located in &checked.findings {
        let Some(file) = checked.files.get(located.file) else { continue };
        let Located { mark, finding, .. } = located;
        let mut properties = Vec::new();
        // Standard input is no file that could be annotated.
        if !is_stdin(&file.path) {
            let path = visible(&file.path.display().to_string());
            properties.push(("file", path.strip_prefix("./").unwrap_or(&path).to_owned()));
            if let Some(mark) = mark {
                properties.push(("line", mark.line.to_string()));
                properties.push(("col", mark.column.to_string()));
            }
        }
        properties.push(("title", finding.code.to_owned()));
        let properties: Vec<String> = properties
            .into_iter()
            .map(|(name, value)| format!("{name}={}", property(&value)))
            .collect();
        let (level, properties) = (located.level(), properties.join(","));
        let said = message(&visible(&located.sentence()));
        // Nothing can fail: it is written to memory.
        let _ = writeln!(text, "::{level} {properties}::{said}");
    }
    text
}

fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_command_is_escaped() {
        assert_eq!(message("50%, a: b\r\nc"), "50%25, a: b%0D%0Ac");
        assert_eq!(property("a,b:c%\n"), "a%2Cb%3Ac%25%0A");
    }
}
