//! `rules`: what is checked, and why.

mod explain;
mod markdown;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::CatalogArgs;
use super::output::{Color, Outcome, write};
use crate::catalog::files::DEFAULT_NAMESPACE;
use crate::catalog::{Settings, Severity};
use crate::rules::{Rule, catalogue, rule};

/// Lists the rules, or explains one: why it is there, what it accepts and what it reports.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  llmisvc-webhook rules
  llmisvc-webhook rules V06
  llmisvc-webhook rules --settings settings.yaml -n lab -o json

Exit codes: 0 printed; 2 no rule of that code.")]
pub(super) struct Args {
    /// Code of a rule
    code: Option<String>,

    /// How to print
    #[arg(short, long, value_enum, default_value = "human")]
    output: Form,

    /// When to colour what a rule reports
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    color: Color,

    /// YAML file with the operator's settings, for the severities in it
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Namespace in which the severities are meant
    #[arg(short, long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

/// How rules are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table, or a page about one rule.
    Human,
    /// A list of objects, or one.
    Json,
    /// docs/rules.md, or its part about one rule.
    Markdown,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { code, output, color, settings, namespace } = args;
    let catalog = CatalogArgs { objects: Vec::new(), presets: None, settings };
    let severities = Severities { settings: catalog.settings()?, namespace };
    let text = match code {
        None => match output {
            Form::Human => table(&severities),
            Form::Json => {
                let rules: Vec<Value> = catalogue().map(|rule| object(rule, &severities)).collect();
                format!("{:#}\n", Value::from(rules))
            }
            Form::Markdown => markdown::all(&severities),
        },
        Some(code) => {
            let Some(rule) = rule(&code.to_uppercase()) else { bail!(unknown(&code)) };
            match output {
                Form::Human => explain::page(rule, &severities, color.on_stdout()),
                Form::Json => format!("{:#}\n", object(rule, &severities)),
                Form::Markdown => markdown::section(rule, &severities),
            }
        }
    };
    write(&text)?;
    Ok(Outcome::Fine.into())
}

/// The severities that count in a namespace.
struct Severities {
    settings: Settings,
    namespace: String,
}

impl Severities {
    fn of(&self, rule: &Rule) -> Severity {
        rule.severity_in(&self.settings, &self.namespace)
    }
}

/// One rule a line, aligned.
fn table(severities: &Severities) -> String {
    let family = catalogue().map(|rule| rule.family.len()).max().unwrap_or_default();
    let line = |rule: &Rule| {
        let severity = severities.of(rule).as_str();
        let Rule { code, family: of, title, .. } = rule;
        format!("{code:<4}  {severity:<6}  {of:<family$}  {title}\n")
    };
    catalogue().map(line).collect::<Vec<_>>().concat()
}

fn object(rule: &Rule, severities: &Severities) -> Value {
    let Rule { code, family, title, why, accepted, reported, .. } = rule;
    json!({
        "code": code,
        "severity": severities.of(rule).as_str(),
        "family": family,
        "title": title,
        "why": why,
        "accepted": yaml(accepted),
        "reported": yaml(reported),
    })
}

/// An example as it is shown: without the blank lines around it.
fn yaml(example: &str) -> String {
    format!("{}\n", example.trim_matches('\n').trim_end())
}

fn unknown(code: &str) -> String {
    const SHOWN: usize = 3;
    // Nothing near a code is longer, and comparing takes time.
    const LONGEST: usize = 16;
    let written: String = code.to_uppercase().chars().take(LONGEST).collect();
    let mut near: Vec<&str> = catalogue().map(|rule| rule.code).collect();
    // Stable: codes that are as near stay in the catalogue's order.
    near.sort_by_cached_key(|code| strsim::levenshtein(&written, code));
    near.truncate(SHOWN);
    let near = near.join(", ");
    format!("no rule has the code {code:?}; near it are {near}, and `rules` lists all")
}
