//! The command line: one module a subcommand, each with its arguments and its `run`.
//!
//! A subcommand's result goes to standard output, everything that is said about it to standard
//! error, and its exit code is one of [`FINE`], [`FINDINGS`] and [`CANNOT_RUN`].

mod catalog;
mod certs;
mod completions;
mod compose;
mod crds;
mod duration;
mod inject;
mod input;
mod output;
mod presets;
mod render;
mod review;
mod rules;
mod serve;
mod services;
mod sleep;
pub mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use catalog::CatalogArgs;

/// Exit code: done, and nothing to object to.
pub const FINE: u8 = 0;
/// Exit code: done, and something was denied, refused, found to be wrong or could not be composed.
pub const FINDINGS: u8 = 1;
/// Exit code: something that was asked for could not be done at all.
pub const CANNOT_RUN: u8 = 2;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "llmisvc-webhook",
    version,
    about = "Completes the pods of LLMInferenceServices: engine, sidecar, model, KV transfer, fabric",
    long_about = "\
Completes the pods of LLMInferenceServices: engine, sidecar, model, KV transfer, fabric.

`serve` is the admission webhook. The other subcommands make the same decisions on files, without a
cluster: whatever the webhook would answer, they print.",
    arg_required_else_help = true,
    after_help = "Exit codes: 0 fine; 1 denied, refused, wrong or not composed; 2 cannot run."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Certs(certs::Args),
    Review(review::Args),
    Inject(inject::Args),
    Validate(validate::Args),
    #[command(visible_alias = "explain")]
    Rules(rules::Args),
    Compose(compose::Args),
    Render(render::Args),
    Presets(presets::Args),
    Crds(crds::Args),
    Sleep(sleep::Args),
    Completions(completions::Args),
}

/// Runs the command line that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(*args),
        Command::Certs(args) => certs::run(args),
        Command::Review(args) => review::run(args),
        Command::Inject(args) => inject::run(args),
        Command::Validate(args) => validate::run(args),
        Command::Rules(args) => rules::run(args),
        Command::Compose(args) => compose::run(args),
        Command::Render(args) => render::run(args),
        Command::Presets(args) => presets::run(args),
        Command::Crds(args) => crds::run(args),
        Command::Sleep(args) => Ok(sleep::run(args)),
        Command::Completions(args) => completions::run(args, &mut Cli::command()),
    };
    result.unwrap_or_else(|error| {
        output::say(&format!("error: {error:#}"));
        ExitCode::from(CANNOT_RUN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_teaches_its_use() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands().filter(|it| it.get_name() != "help") {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no sentence");
            let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(more.contains("Example"), "{name} has no example");
            assert!(more.contains("Exit codes"), "{name} does not say its exit codes");
        }
    }
}
