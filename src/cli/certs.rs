//! `certs`: certificates for the webhook.

use std::process::ExitCode;

/// Makes the webhook's certificates.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not part of this build")
}
