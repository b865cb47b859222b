//! `certs`: certificates for the webhook.

use std::process::ExitCode;

/// Makes the webhook's certificates.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// Always: the module is not part of this build.
pub fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not part of this build")
}
