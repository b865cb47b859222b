//! `serve`: the webhook.

mod certificates;
mod log;
mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::CatalogArgs;
use crate::server::{Limits, Options, Server, Stop};
use certificates::CertificateArgs;
use log::LogFormat;
use source::{Opened, Source};

/// Serves admission reviews over HTTPS.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  llmisvc-webhook serve --objects services/ --bind 127.0.0.1:8443 --write-ca ca.crt
  llmisvc-webhook serve --objects services/ --cert-dir certs/ --log-format json
  llmisvc-webhook serve --kubeconfig ~/.kube/config

In a pod, the services and configs are those of its cluster.

POST /mutate and /validate; GET /healthz and /readyz on both ports, /metrics on the plain one.

Exit codes: 0 stopped by SIGTERM or SIGINT; 2 cannot run.")]
pub(super) struct Args {
    /// Address of the reviews, over TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    bind: SocketAddr,

    /// Address of /metrics, over plain HTTP; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    metrics_bind: SocketAddr,

    /// Seconds that a SIGTERM is kept from closing the listener, for endpoints to learn of it
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    drain_delay: u16,

    /// Form of the log, on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// error, warn, info, debug, trace or a filter by module; info when `RUST_LOG` does not say
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,

    /// Take services and configs from the cluster of this kubeconfig's current context; in a pod,
    /// the ServiceAccount is used without it
    #[arg(long, value_name = "FILE", conflicts_with = "objects", help_heading = "Catalog")]
    kubeconfig: Option<PathBuf>,

    #[command(flatten)]
    catalog: CatalogArgs,

    #[command(flatten)]
    certificates: CertificateArgs,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When the certificate cannot be had, an address not listened on, or the log not set up.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        bind,
        metrics_bind,
        drain_delay,
        log_format,
        log_level,
        kubeconfig,
        catalog,
        certificates,
    } = args;
    log::start(log_format, log_level.as_deref())?;
    let source = Source::of(&catalog, kubeconfig)?;
    let limits =
        Limits { drain_delay: Duration::from_secs(drain_delay.into()), ..Limits::default() };
    let options = Options { bind, metrics_bind, limits };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let Opened { decisions, mut conditions, client } = source.open().await?;
        let kept = certificates.open(client)?;
        conditions.extend(kept.condition());
        let decisions = Arc::new(decisions);
        let server = Server::bind(options, decisions, kept.certificates(), conditions).await?;
        kept.keep(server.address()?);
        server.serve(stop()?).await
    })?;
    Ok(ExitCode::SUCCESS)
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
    fn files_and_a_cluster_exclude_each_other() {
        assert!(parse(&["--kubeconfig", "config"]).is_ok());
        assert!(parse(&["--kubeconfig", "config", "--presets", "v0.20"]).is_ok());
        assert!(parse(&["--kubeconfig", "config", "--objects", "a"]).is_err());
        assert!(parse(&["--kubeconfig", "config", "--write-ca", "ca.crt"]).is_err());
    }
}
