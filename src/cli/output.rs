//! What is printed, and how.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::{CANNOT_RUN, FINDINGS, FINE};
use crate::decision::Refusal;
use crate::yaml;

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Documents in block style, as kubectl prints them.
    Yaml,
    /// One indented object; several become the items of a List.
    Json,
}

/// When text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether standard output is to be coloured.
    pub(super) fn on_stdout(self) -> bool {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
        }
    }
}

/// How a run went so far. The worst of what happened is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Fine,
    /// Something was denied, refused, or could not be composed.
    Findings,
    /// A part of the input could not be read.
    Incomplete,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Fine => FINE,
            Outcome::Findings => FINDINGS,
            Outcome::Incomplete => CANNOT_RUN,
        })
    }
}

/// Prints objects to standard output.
pub(super) fn print_all(objects: Vec<Value>, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => objects.iter().map(yaml::to_string).collect::<Vec<_>>().join("---\n"),
        Format::Json => {
            let mut objects = objects;
            let value = match objects.pop() {
                Some(only) if objects.is_empty() => only,
                last => {
                    objects.extend(last);
                    json!({"apiVersion": "v1", "kind": "List", "items": objects})
                }
            };
            format!("{value:#}\n")
        }
    };
    write(&text)
}

/// Writes to standard output. That nobody reads on is no error: `| head` has seen enough.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}

/// A refusal in words.
pub(super) fn refused(refusal: &Refusal) -> String {
    let causes = refusal.causes.iter().map(|it| (it.field.as_str(), it.message.as_str()));
    refusal_words(&refusal.message, refusal.code, causes)
}

/// The message, the code, and on a line of its own each cause that the message does not hold.
pub(super) fn refusal_words<'a>(
    message: &str,
    code: &str,
    causes: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut words = format!("{message} ({code})");
    for (field, cause) in causes.filter(|(_, cause)| !message.contains(cause)) {
        words.extend(["\n  ", field, ": ", cause]);
    }
    words
}

/// Says a line, or several, on standard error.
///
/// Names and values of objects are in it, so what would steer a terminal is shown as an escape.
/// Nothing is left to be done when standard error is gone.
pub(super) fn say(text: &str) {
    let mut line = visible(text);
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// The text with what would steer a terminal shown as an escape; newlines stay.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) && c != '\n' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a terminal does something else with a character than showing it.
pub(super) fn is_steering(c: char) -> bool {
    // The marks that turn the reading direction are no controls by Unicode's classes.
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_a_terminal() {
        assert_eq!(
            visible("pod/\u{1b}[31mx\u{7}\r\u{9b}\u{202e}é\n  y"),
            "pod/\\u{1b}[31mx\\u{7}\\r\\u{9b}\\u{202e}é\n  y"
        );
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        let causes = [("a.b", "is wrong"), ("c", "is missing")];
        assert_eq!(
            refusal_words("a.b: is wrong", "bad", causes.into_iter()),
            "a.b: is wrong (bad)\n  c: is missing"
        );
    }

    #[test]
    fn the_worst_counts() {
        assert_eq!(
            Outcome::Fine.max(Outcome::Findings).max(Outcome::Incomplete),
            Outcome::Incomplete
        );
        assert_eq!(Outcome::Findings.max(Outcome::Fine), Outcome::Findings);
    }

    #[test]
    fn color_can_be_forced() {
        assert!(Color::Always.on_stdout());
        assert!(!Color::Never.on_stdout());
    }
}
