//! A page about one rule.

use std::path::PathBuf;

use super::{Severities, yaml};
use crate::catalog::Settings;
use crate::catalog::files::{DEFAULT_NAMESPACE, Loader};
use crate::cli::validate::{Checked, CheckedFile, Identity, Place, human};
use crate::json::FieldPath;
use crate::rules::{self, Rule, read_example};
use crate::yaml::Source;

/// Widest line of running text, in characters.
const WIDTH: usize = 80;

/// Severity, reason, both examples, and what it says of the second.
pub(super) fn page(rule: &Rule, severities: &Severities, color: bool) -> String {
    let Rule { code, family, severity, title, why, accepted, reported, .. } = rule;
    let here = severities.of(rule);
    let set = if here == *severity {
        String::new()
    } else {
        format!(" (set; by itself {})", severity.as_str())
    };
    let severity = here.as_str();
    let said = human::print(&example(rule), color);
    [
        format!("{code}: {title}\n{family}, {severity}{set}\n\n{}\n", wrapped(why)),
        format!("\nAccepted:\n\n{}", indented(&yaml(accepted))),
        format!("\nReported:\n\n{}", indented(&yaml(reported))),
        format!("\n{}\n", said.trim_end()),
    ]
    .concat()
}

/// What the rules say of the example that this one reports, at its place in the example.
pub(super) fn example(rule: &Rule) -> Checked {
    let text = yaml(rule.reported);
    let source = Source::read(&text);
    let path = PathBuf::from("example.yaml");
    let mut findings = Vec::new();
    if let Ok(example) = read_example(&text) {
        let mut loader = Loader::new(DEFAULT_NAMESPACE);
        for other in example.others {
            loader.document(&path, 1, other);
        }
        let snapshot = loader.finish(Settings::default()).snapshot;
        let identity = Identity::of(&example.object, DEFAULT_NAMESPACE);
        let document = source.documents().len().saturating_sub(1);
        let found = rules::check(rules::Request {
            snapshot: &snapshot,
            namespace: &identity.namespace,
            object: &example.object,
            old: example.old.as_ref(),
        });
        let place = Place { file: 0, source: &source, document, path: &FieldPath::root() };
        findings.extend(found.into_iter().map(|it| place.locate(&identity, it)));
    }
    let files = vec![CheckedFile { path, source }];
    Checked { files, findings, problems: Vec::new(), objects: 1 }
}

/// The text in lines of at most [`WIDTH`] characters; a longer word stands alone.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n");
    lines.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole() {
        let long = "x".repeat(100);
        let text = format!("a {long} {}", "ab ".repeat(40));
        let lines = wrapped(&text);
        assert_eq!(lines.split_whitespace().collect::<Vec<_>>().join(" "), text.trim_end());
        let widths: Vec<_> = lines.lines().map(str::len).collect();
        assert_eq!(widths, [1, 100, 80, 38]);
    }

    #[test]
    fn every_example_is_shown_with_what_it_is_reported_for() {
        for rule in rules::catalogue() {
            let checked = example(rule);
            assert!(!checked.findings.is_empty(), "{}", rule.code);
            assert!(checked.findings.iter().all(|it| it.finding.code == rule.code));
        }
    }
}
