//! `validate`: what the webhook would refuse or warn of, at its place in the file.

mod check;
mod github;
pub(super) mod human;
mod json;
mod sarif;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;

use super::catalog::warn;
use super::output::{Color, Outcome, say, write};
use super::{CatalogArgs, input};
use crate::catalog::files::DEFAULT_NAMESPACE;

pub(super) use check::Place;
pub use check::{Checked, CheckedFile, Identity, Located, UNREADABLE, check};

/// Checks the services, configs and workloads of a file by the rules of the webhook.
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Checks the services and configs of a file by the rules of the webhook, and the pods and workloads
that opt in.

Every object is checked as if it were created now, in Lists as well; what no rule knows is passed
over. `llmisvc-webhook rules CODE` explains a finding. The findings go to standard output, their
number to standard error.

-o json prints {\"findings\": […], \"objects\": N}. A finding has the members file, line, column,
endColumn (from 1, in characters; null where the file as a whole is meant), object (kind, namespace,
name; null where there is none), code, severity (error or warning), field, message and help.",
    after_help = "\
Examples:
  llmisvc-webhook validate service.yaml --objects configs/
  kustomize build . | llmisvc-webhook validate - --strict
  llmisvc-webhook validate services/ -o sarif > llmisvc.sarif

Exit codes: 0 nothing, or only warnings; 1 something would be refused, with --strict also for a
warning; 2 a file or a document in it cannot be read."
)]
pub(super) struct Args {
    /// File or directory with the objects; `-` for standard input
    ///
    /// Services and configs in it count as well, those of --objects too.
    #[arg(value_name = "FILE|DIR|-")]
    file: PathBuf,

    /// How to print the findings
    #[arg(short, long, value_enum, default_value = "human")]
    output: Form,

    /// End with 1 for a warning, too
    #[arg(long)]
    strict: bool,

    /// When to colour the findings
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    color: Color,

    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,

    #[command(flatten)]
    catalog: CatalogArgs,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Each with the line that it is about.
    Human,
    /// One object.
    Json,
    /// Annotations, as a workflow of GitHub prints them.
    Github,
    /// A log in SARIF 2.1.0.
    Sarif,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, output, strict, color, namespace, catalog } = args;
    let texts = input::texts(&file)?;
    let loader = catalog.loader(&namespace)?;
    let checked = check(texts, loader, catalog.settings()?, &namespace);
    warn(&checked.problems, "warning");
    if checked.objects == 0 && checked.findings.is_empty() {
        bail!("there is no object in {}", input::shown(&file));
    }
    write(&match output {
        Form::Human => human::print(&checked, color.on_stdout()),
        Form::Json => json::print(&checked),
        Form::Github => github::print(&checked),
        Form::Sarif => sarif::print(&checked),
    })?;
    say(&summary(&checked));
    Ok(outcome(&checked, strict).into())
}

fn outcome(checked: &Checked, strict: bool) -> Outcome {
    if checked.findings.iter().any(Located::is_unreadable) {
        Outcome::Incomplete
    } else if checked.findings.iter().any(|it| strict || it.is_error()) {
        Outcome::Findings
    } else {
        Outcome::Fine
    }
}

/// `2 errors, 1 warning in 3 objects`.
fn summary(checked: &Checked) -> String {
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let errors = checked.findings.iter().filter(|it| it.is_error()).count();
    let warnings = checked.findings.len() - errors;
    let said = match (errors, warnings) {
        (0, 0) => "nothing to report".to_owned(),
        (errors, 0) => count(errors, "error"),
        (0, warnings) => count(warnings, "warning"),
        _ => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    };
    format!("{said} in {}", count(checked.objects, "object"))
}
