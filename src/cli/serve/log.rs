//! The log, on standard error.

use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use tracing_subscriber::EnvFilter;

/// The Kubernetes client says each try, and each as an error.
const QUIET: &str = "kube_client=off,kube_runtime=off";

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A word that is no level would be taken for a module's name, and silence the log.
fn filter(from: &str, text: &str) -> anyhow::Result<EnvFilter> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |part: &str| LEVELS.contains(&part.trim().to_ascii_lowercase().as_str());
    if let Some(word) = text.split(',').find(|part| !part.contains('=') && !is_level(part)) {
        bail!("{from} {word:?} is no level; write one of {}", LEVELS.join(", "));
    }
    // What it has to say is said once by us. Who names a filter of his own, or a level below, hears
    // it too.
    let quiet = ["error", "warn", "info"].contains(&text.trim().to_ascii_lowercase().as_str());
    let text = if quiet { format!("{text},{QUIET}") } else { text.to_owned() };
    EnvFilter::try_new(&text).with_context(|| format!("{from} {text:?} is no filter"))
}

/// Starts the log.
///
/// # Errors
/// When the level is none, or there is a log already.
pub(super) fn start(format: LogFormat, level: Option<&str>) -> anyhow::Result<()> {
    let filter = match level {
        Some(level) => filter("--log-level", level)?,
        None => match std::env::var("RUST_LOG") {
            Ok(level) if !level.is_empty() => filter("RUST_LOG", &level)?,
            _ => filter("the default", "info")?,
        },
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            log.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("failed to start the log: {error}"))?;
    // A panic's message may quote what was being read, a pod for one: only its place is told.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a defect was met; the request at fault is answered all the same");
    }));
    Ok(())
}
