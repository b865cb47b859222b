//! The catalogue as a document: `docs/rules.md`.

use super::{Severities, explain, yaml};
use crate::rules::{Rule, catalogue};

const INTRODUCTION: &str = "\
# Rules

What the webhook says of an LLMInferenceService or an LLMInferenceServiceConfig when it is created or
updated, and what `llmisvc-webhook validate` says of one in a file, or of a pod or workload that opts in.
`reject` refuses the object, `warn` lets it through with a warning; a finding that is not certain is a warning
whatever is set, and so is every finding in a pod at its creation. The operator's settings change a
rule's severity by its code, for the cluster or for a namespace, and turn it `off`.

`K` are the rules of KServe's own validator, `C` is what stands in the way of composing an object, `V` are
the rules that nobody else has. Codes are stable. In the examples `apiVersion`, `kind`, `metadata` and
`spec.model` are left out where they do not matter; of several documents the last is the one that is checked.

This file is made by `llmisvc-webhook rules --output markdown > docs/rules.md`.
";

/// The whole document: an index, and a heading for each family.
pub(super) fn all(severities: &Severities) -> String {
    let mut families: Vec<&str> = Vec::new();
    for rule in catalogue() {
        if !families.contains(&rule.family) {
            families.push(rule.family);
        }
    }
    let mut parts = vec![INTRODUCTION.to_owned()];
    parts.push("\n| code | severity | family | title |\n|---|---|---|---|\n".to_owned());
    for rule in catalogue() {
        let (severity, title) = (severities.of(rule).as_str(), escaped(rule.title));
        let Rule { code, family, .. } = rule;
        let (anchor, title) = (code.to_lowercase(), title.replace('|', "\\|"));
        parts.push(format!("| [{code}](#{anchor}) | {severity} | {family} | {title} |\n"));
    }
    for family in families {
        parts.push(format!("\n## {}\n", capitalized(family)));
        for rule in catalogue().filter(|rule| rule.family == family) {
            parts.extend(["\n".to_owned(), section(rule, severities)]);
        }
    }
    parts.concat()
}

/// What there is to say about one rule.
pub(super) fn section(rule: &Rule, severities: &Severities) -> String {
    let Rule { code, title, why, accepted, reported, .. } = rule;
    let (title, severity) = (escaped(title), severities.of(rule).as_str());
    let example = explain::example(rule);
    let said: Vec<String> = example
        .findings
        .iter()
        .map(|located| format!("{}: {}\n", located.level(), located.sentence()))
        .collect();
    format!(
        "### {code}\n\n**{title}** ({severity})\n\n{}\n\nAccepted:\n\n{}\nReported:\n\n{}\n{}",
        escaped(why),
        fenced("yaml", &yaml(accepted)),
        fenced("yaml", &yaml(reported)),
        fenced("text", &said.concat()),
    )
}

fn fenced(language: &str, text: &str) -> String {
    format!("```{language}\n{text}```\n")
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Running text in which nothing but `code` is markup.
fn escaped(text: &str) -> String {
    let outside = |part: &str| part.replace('<', "&lt;").replace('*', "\\*").replace('[', "\\[");
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 0 { outside(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_markup() {
        assert_eq!(escaped("a * <b> `*<x>[` c[0]"), "a \\* &lt;b> `*<x>[` c\\[0]");
        assert_eq!(capitalized("kv transfer"), "Kv transfer");
        assert_eq!(capitalized(""), "");
    }
}
