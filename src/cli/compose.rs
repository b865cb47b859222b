//! `compose`: a service's effective spec.

use std::process::ExitCode;

use super::services::{self, Made};
use crate::compose;

/// Prints each service's effective spec: presets, baseRefs and its own spec, merged and rendered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  llmisvc-webhook compose service.yaml --objects configs/

Exit codes: 0 all composed; 1 a service could not be composed, the others are printed; 2 a file or a
document in it cannot be read.")]
pub(super) struct Args {
    #[command(flatten)]
    services: services::ServiceArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { services } = args;
    services::each(services, |snapshot, service| {
        let composed = compose::compose(snapshot, service)?;
        Ok(Made { objects: vec![composed.object], warnings: composed.warnings })
    })
}
