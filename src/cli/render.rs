//! `render`: the workloads that a service amounts to.

use std::process::ExitCode;

use super::services::{self, Made};
use crate::render::{self, Form};

/// Prints the workloads that each service amounts to, ready for kubectl apply.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  llmisvc-webhook render service.yaml | kubectl apply -f -

Exit codes: 0 all rendered; 1 a service could not be composed, the others are printed; 2 a file or a
document in it cannot be read.")]
pub(super) struct Args {
    #[command(flatten)]
    services: services::ServiceArgs,

    /// Print what is left to write when the webhook completes the pods: labels, placeholders and
    /// resources
    #[arg(long)]
    skeleton: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { services, skeleton } = args;
    let form = if skeleton { Form::Skeleton } else { Form::Complete };
    services::each(services, |snapshot, service| {
        let rendered = render::workloads(snapshot, service, form)?;
        Ok(Made { objects: rendered.workloads, warnings: rendered.warnings })
    })
}
