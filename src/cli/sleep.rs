//! `sleep`: a pause.

use std::process::ExitCode;
use std::time::Duration;

use super::duration::duration;
use super::output::Outcome;

/// Waits: the preStop hook of a pod whose image has no shell.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_help = "\
Example:
  llmisvc-webhook sleep 5s

Exit codes: 0 waited; 2 no such time.")]
pub(super) struct Args {
    /// Time, as 500ms, 5s, 1m or 1h; a bare number is seconds
    #[arg(value_parser = duration)]
    time: Duration,
}

pub(super) fn run(args: Args) -> ExitCode {
    let Args { time } = args;
    std::thread::sleep(time);
    Outcome::Fine.into()
}
