//! `serve`: the admission webhook.

use std::process::ExitCode;
use std::sync::Arc;

use crate::catalog::Catalog;

/// Serves the admission webhook.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// Always: the module is not part of this build.
pub fn run(_: Args, _: Arc<dyn Catalog>) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not part of this build")
}
