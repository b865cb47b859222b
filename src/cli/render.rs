//! `render`: the workloads that a service amounts to.

use std::process::ExitCode;

use super::services;
use crate::render::{Form, workloads};

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

    /// Print pods that are left to the webhook to complete: labels and a placeholder image
    #[arg(long)]
    skeleton: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { services, skeleton } = args;
    let form = if skeleton { Form::Skeleton } else { Form::Complete };
    services::each(services, |snapshot, service| {
        let rendered = workloads(snapshot, service, form)?;
        Ok((rendered.workloads, rendered.warnings))
    })
}
