//! What `compose` and `render` share: a file's services, one after the other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use serde_json::Value;

use super::catalog::warn;
use super::output::{Format, Outcome, print_all, say};
use super::{CatalogArgs, input};
use crate::api::Service;
use crate::catalog::Snapshot;
use crate::catalog::files::DEFAULT_NAMESPACE;
use crate::decision::Warning;
use crate::render::RenderError;

/// Which services, and how to print what becomes of them.
#[derive(Debug, clap::Args)]
pub(super) struct ServiceArgs {
    /// File or directory with the services; `-` for standard input
    ///
    /// Configs in it are used as well, those of --objects too.
    #[arg(value_name = "FILE|-")]
    file: PathBuf,

    /// How to print
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,

    #[command(flatten)]
    catalog: CatalogArgs,
}

/// What was made of a service.
pub(super) struct Made {
    pub(super) objects: Vec<Value>,
    pub(super) warnings: Vec<Warning>,
}

/// Prints what `make` makes of each service. Where it makes nothing, it says why.
pub(super) fn each(
    args: ServiceArgs,
    make: impl Fn(&Snapshot, &Service) -> Result<Made, RenderError>,
) -> anyhow::Result<ExitCode> {
    let ServiceArgs { file, output, catalog } = args;
    let (inputs, mut outcome) = input::documents(&file)?;
    let mut loader = catalog.loader(DEFAULT_NAMESPACE)?;
    let mut services = Vec::new();
    for input in inputs {
        let taken = loader.document(&input.file, input.line, input.value);
        if taken.unread > 0 {
            outcome = Outcome::Incomplete;
        }
        warn(&loader.take_problems(), if taken.unread > 0 { "error" } else { "warning" });
        for key in taken.services {
            if !services.contains(&key) {
                services.push(key);
            }
        }
    }
    let snapshot = catalog.finish(loader)?;
    if services.is_empty() && outcome == Outcome::Fine {
        bail!("there is no LLMInferenceService in {}", file.display());
    }
    let mut printed = Vec::new();
    for service in services.iter().filter_map(|key| snapshot.services.get(key)).map(Arc::as_ref) {
        match make(&snapshot, service) {
            Ok(Made { objects, warnings }) => {
                printed.extend(objects);
                let title = format!("{}: ", service.title());
                for Warning { code, message } in warnings {
                    let message = message.strip_prefix(&title).unwrap_or(&message);
                    say(&format!("warning: {title}{message} ({code})"));
                }
            }
            Err(error) => {
                outcome = outcome.max(Outcome::Findings);
                say(&format!("error: {error} ({})", error.code()));
            }
        }
    }
    // In JSON no object is not the same as an empty List.
    if !printed.is_empty() {
        print_all(printed, output)?;
    }
    Ok(outcome.into())
}
