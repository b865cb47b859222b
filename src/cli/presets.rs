//! `presets`: the built-in configs.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Subcommand, ValueEnum as _};
use serde_json::Value;

use super::output::{Format, Outcome, print_all, write};
use crate::catalog::nearest;
use crate::presets::ReleaseSet;

/// Lists the built-in configs, or prints one of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  llmisvc-webhook presets list
  llmisvc-webhook presets show kserve-config-llm-decode-template > mine.yaml

Exit codes: 0 printed; 2 no config of that name.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the names of a set, one a line, or the whole set with -o
    List {
        /// Set, named after the release of KServe that it follows
        #[arg(long = "presets", value_name = "SET", value_enum, default_value = "v0.17")]
        set: ReleaseSet,
        /// Print the configs themselves
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Prints a config as it is written, with its comments, or in the form that -o names
    Show {
        /// Name of the config
        name: String,
        /// Set, named after the release of KServe that it follows
        #[arg(long = "presets", value_name = "SET", value_enum, default_value = "v0.17")]
        set: ReleaseSet,
        /// Print the config without its comments
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { command } = args;
    match command {
        Command::List { set, output: None } => {
            let mut lines = names(set);
            // Ends the last line; an empty set prints nothing.
            lines.extend((!lines.is_empty()).then(String::new));
            write(&lines.join("\n"))?;
        }
        Command::List { set, output: Some(format) } => {
            let objects: Vec<Value> = set.configs().iter().map(|it| it.object.clone()).collect();
            print_all(objects, format)?;
        }
        Command::Show { name, set, output } => match (set.source(&name), set.config(&name), output)
        {
            (Some(source), _, None) => write(source)?,
            (_, Some(config), Some(format)) => print_all(vec![config.object.clone()], format)?,
            _ => bail!(unknown(&name, set)),
        },
    }
    Ok(Outcome::Fine.into())
}

fn names(set: ReleaseSet) -> Vec<String> {
    set.configs().iter().map(|config| config.key.name.clone()).collect()
}

fn unknown(name: &str, set: ReleaseSet) -> String {
    let value = set.to_possible_value();
    let set_name = value.as_ref().map_or("", |value| value.get_name());
    let names = names(set);
    let near = nearest(name, names.iter().map(String::as_str));
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let list = if names.is_empty() {
        "the set is empty".to_owned()
    } else {
        format!("the set has:\n  {}", names.join("\n  "))
    };
    format!("no built-in config {name:?} in {set_name}{hint}\n{list}")
}
