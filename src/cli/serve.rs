//! `serve`: the webhook.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::CatalogArgs;
use crate::catalog::files::FileCatalog;
use crate::server::{self, Limits, Options, Stop};
use crate::tls::{Authority, Certificates, Watched, service_names};

/// How often a certificate's folder is looked at. A kubelet takes about a minute to bring a changed
/// Secret to it.
const RELOAD: Duration = Duration::from_secs(2);

/// Days that a certificate made at start is valid: longer than any process lives.
const DAYS: u16 = 3650;

/// Serves admission reviews over HTTPS.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  llmisvc-webhook serve --objects services/ --bind 127.0.0.1:8443 --write-ca ca.crt
  llmisvc-webhook serve --objects services/ --cert-dir certs/ --log-format json

POST /mutate and /validate; GET /healthz and /readyz on both ports, /metrics on the plain one.

Exit codes: 0 stopped by SIGTERM or SIGINT; 2 cannot run.")]
pub(super) struct Args {
    /// Address of the reviews, over TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    bind: SocketAddr,

    /// Address of /metrics, over plain HTTP; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    metrics_bind: SocketAddr,

    /// Folder with tls.crt and tls.key, read again when they change; without it, a CA and a
    /// certificate are made at start
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Write the CA made at start to this file, for `curl --cacert` or a caBundle
    #[arg(long, value_name = "FILE", conflicts_with = "cert_dir")]
    write_ca: Option<PathBuf>,

    /// Another DNS name or IP address for the certificate made at start
    #[arg(long, value_name = "NAME", conflicts_with = "cert_dir")]
    dns_name: Vec<String>,

    /// Name of the Service in front, for the certificate made at start
    #[arg(long, value_name = "NAME", default_value = "llmisvc-webhook")]
    service_name: String,

    /// Namespace of the Service in front, for the certificate made at start
    #[arg(long, value_name = "NAMESPACE", default_value = "llmisvc-system")]
    namespace: String,

    /// Seconds that a SIGTERM is kept from closing the listener, for endpoints to learn of it
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    drain_delay: u16,

    /// Form of the log, on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// error, warn, info, debug, trace or a filter by module; info when `RUST_LOG` does not say
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,

    #[command(flatten)]
    catalog: CatalogArgs,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When the certificate cannot be had, an address not listened on, or the log not set up.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        bind,
        metrics_bind,
        cert_dir,
        write_ca,
        dns_name,
        service_name,
        namespace,
        drain_delay,
        log_format,
        log_level,
        catalog,
    } = args;
    start_log(log_format, log_level.as_deref())?;
    let snapshot = catalog.load()?;
    tracing::info!(
        services = snapshot.services.len(),
        configs = snapshot.configs.len(),
        "loaded the catalog"
    );
    if snapshot.services.is_empty() {
        tracing::warn!(
            "no service was loaded: every pod that opts in will be refused; see --objects"
        );
    }
    let catalog = Arc::new(FileCatalog::new(snapshot));
    let limits =
        Limits { drain_delay: Duration::from_secs(drain_delay.into()), ..Limits::default() };
    let options = Options { bind, metrics_bind, limits };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let certificates = if let Some(folder) = cert_dir {
            let watched = Watched::open(&folder)?;
            let certificates = watched.certificates();
            tokio::spawn(watched.keep_up(RELOAD));
            certificates
        } else {
            let names = service_names(&service_name, &namespace, &dns_name);
            made_at_start(&names, write_ca.as_deref())?
        };
        server::run(options, catalog, &certificates, stop()?).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn made_at_start(names: &[String], write_ca: Option<&Path>) -> anyhow::Result<Certificates> {
    let authority = Authority::generate(DAYS)?;
    let issued = authority.issue(names, DAYS)?;
    if let Some(file) = write_ca {
        std::fs::write(file, authority.pem())
            .with_context(|| format!("failed to write the CA to {}", file.display()))?;
        tracing::info!(ca = %file.display(), "made a CA and a certificate for this process");
    } else {
        tracing::info!(
            "made a CA and a certificate for this process; --write-ca FILE keeps the CA"
        );
    }
    Ok(Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes())?)
}

/// SIGTERM is a kubelet's, and other parties still have to learn of it; SIGINT is a person's.
fn stop() -> anyhow::Result<impl Future<Output = Stop> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Stop::Gradually,
            _ = interrupt.recv() => Stop::Now,
        }
    })
}

/// A word that is no level would be taken for a module's name, and silence the log.
fn filter(from: &str, text: &str) -> anyhow::Result<EnvFilter> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |part: &str| LEVELS.contains(&part.trim().to_ascii_lowercase().as_str());
    if let Some(word) = text.split(',').find(|part| !part.contains('=') && !is_level(part)) {
        bail!("{from} {word:?} is no level; write one of {}", LEVELS.join(", "));
    }
    EnvFilter::try_new(text).with_context(|| format!("{from} {text:?} is no filter"))
}

fn start_log(format: LogFormat, level: Option<&str>) -> anyhow::Result<()> {
    let filter = match level {
        Some(level) => filter("--log-level", level)?,
        None => match std::env::var("RUST_LOG") {
            Ok(level) if !level.is_empty() => filter("RUST_LOG", &level)?,
            _ => EnvFilter::new("info"),
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        let arguments = std::iter::once("serve").chain(arguments.iter().copied());
        Command::try_parse_from(arguments).map(|command| command.args)
    }

    #[test]
    fn a_given_certificate_and_one_made_at_start_exclude_each_other() {
        assert!(parse(&[]).is_ok());
        assert!(parse(&["--cert-dir", "certs"]).is_ok());
        assert!(parse(&["--write-ca", "ca.crt", "--dns-name", "a", "--dns-name", "b"]).is_ok());
        assert!(parse(&["--cert-dir", "certs", "--write-ca", "ca.crt"]).is_err());
        assert!(parse(&["--cert-dir", "certs", "--dns-name", "a"]).is_err());
        assert!(parse(&["--bind", "8443"]).is_err());
    }

    #[test]
    fn a_certificate_made_at_start_leaves_its_ca() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let names = service_names("web", "ns", &[]);
        made_at_start(&names, Some(&file)).unwrap();
        assert!(std::fs::read_to_string(&file).unwrap().contains("BEGIN CERTIFICATE"));
        assert!(made_at_start(&names, Some(&folder.path().join("no/ca.crt"))).is_err());
    }
}
