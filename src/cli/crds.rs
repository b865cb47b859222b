//! `crds`: the resource definitions of both kinds.

use std::process::ExitCode;

use super::output::{Format, Outcome, print_all};
use crate::api;

/// Prints the custom resource definitions of both kinds.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_help = "\
Examples:
  llmisvc-webhook crds | kubectl apply -f -
  llmisvc-webhook crds llminferenceservices > manifests/crds/llminferenceservices.yaml

Exit codes: 0 printed; 2 no such kind.")]
pub(super) struct Args {
    /// Print only this one
    #[arg(value_enum)]
    kind: Option<Kind>,
    /// Form of what is printed
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

/// A kind, by the name that its resource has in a URL.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "lower")]
enum Kind {
    LlmInferenceServices,
    LlmInferenceServiceConfigs,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { kind, output } = args;
    let mut definitions = api::resource_definitions();
    match kind {
        None => {}
        Some(Kind::LlmInferenceServices) => definitions.truncate(1),
        Some(Kind::LlmInferenceServiceConfigs) => {
            definitions.drain(..1);
        }
    }
    print_all(definitions, output)?;
    Ok(Outcome::Fine.into())
}
