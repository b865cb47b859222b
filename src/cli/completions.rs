//! `completions`: a shell's completion script.

use std::process::ExitCode;

use clap_complete::Shell;

use super::output::{Outcome, write};

/// Prints the completion script of a shell.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_help = "\
Example:
  source <(llmisvc-webhook completions bash)

Exit codes: 0 printed; 2 no such shell.")]
pub(super) struct Args {
    /// Shell to print it for
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: Args, command: &mut clap::Command) -> anyhow::Result<ExitCode> {
    let Args { shell } = args;
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    write(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Fine.into())
}
