//! Which certificate is served.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::Client;

use crate::cli::duration::duration;
use crate::cluster::certificates::{Manager, Options, Registrations};
use crate::server::Named;
use crate::tls::{Authority, Certificates, Watched, service_names};

/// How often a certificate's folder is looked at. A kubelet takes about a minute to bring a changed
/// Secret to it.
const RELOAD: Duration = Duration::from_secs(2);

/// Days that a certificate made at start is valid: longer than any process lives.
const DAYS: u16 = 3650;

/// Where the certificate comes from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Certificates")]
pub(super) struct CertificateArgs {
    /// Folder with tls.crt and tls.key, read again when they change; without it, a CA and
    /// certificates are made: in a cluster they are kept in the Secret, else for this process
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Write the CA made for this process to this file, for `curl --cacert`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cert_dir", "kubeconfig"])]
    write_ca: Option<PathBuf>,

    /// Another DNS name or IP address for the certificate that is made
    #[arg(long, value_name = "NAME", conflicts_with = "cert_dir")]
    dns_name: Vec<String>,

    /// Name of the Service in front of the webhook
    #[arg(long, value_name = "NAME", default_value = "llmisvc-webhook")]
    service_name: String,

    /// Namespace of that Service, and of the Secret
    #[arg(long, value_name = "NAMESPACE", default_value = "llmisvc-system")]
    namespace: String,

    /// Secret that the replicas share their CA in; it has to exist, empty at first
    #[arg(long, value_name = "NAME", default_value = "llmisvc-webhook-ca")]
    ca_secret: String,

    /// MutatingWebhookConfiguration whose caBundle is written, or only verified with --cert-dir
    #[arg(long, value_name = "NAME", default_value = "mutate.inject.llmisvc.io")]
    mutating_webhook_configuration: String,

    /// ValidatingWebhookConfiguration, the same
    #[arg(long, value_name = "NAME", default_value = "validate.inject.llmisvc.io")]
    validating_webhook_configuration: String,

    /// Life of a CA; another is made after two thirds of it
    #[arg(long, value_name = "TIME", default_value = "8760h", value_parser = duration)]
    ca_validity: Duration,

    /// Life of a replica's certificate; renewed after two thirds of it
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = duration)]
    leaf_validity: Duration,

    /// How long a CA is trusted after another has taken its place
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    ca_overlap: Duration,

    /// How long a new CA has to be in every caBundle before it is used
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    ca_settle: Duration,
}

/// A certificate that is served, and who keeps it up.
pub(super) struct Kept {
    certificates: Certificates,
    manager: Option<Manager>,
}

impl CertificateArgs {
    /// The certificate, kept up from here on or, in a cluster, from [`Kept::keep`] on. Called on the
    /// runtime.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub(super) fn open(self, cluster: Option<Client>) -> anyhow::Result<Kept> {
        let Self {
            cert_dir,
            write_ca,
            dns_name,
            service_name,
            namespace,
            ca_secret,
            mutating_webhook_configuration,
            validating_webhook_configuration,
            ca_validity,
            leaf_validity,
            ca_overlap,
            ca_settle,
        } = self;
        let registrations = Registrations {
            mutating: mutating_webhook_configuration,
            validating: validating_webhook_configuration,
        };
        if let Some(folder) = cert_dir {
            let watched = Watched::open(&folder)?;
            let certificates = watched.certificates();
            tokio::spawn(watched.keep_up(RELOAD));
            let manager = cluster.map(|client| Manager::observe(client, registrations));
            return Ok(Kept { certificates, manager });
        }
        let Some(client) = cluster else {
            let names = service_names(&service_name, &namespace, &dns_name);
            let certificates = made_at_start(&names, write_ca.as_deref())?;
            return Ok(Kept { certificates, manager: None });
        };
        if write_ca.is_some() {
            bail!("--write-ca is for a CA of this process alone; in a cluster it is in the Secret");
        }
        let options = Options {
            namespace,
            service: service_name,
            secret: ca_secret,
            names: dns_name,
            ca_validity,
            leaf_validity,
            overlap: ca_overlap,
            settle: ca_settle,
        };
        let manager = Manager::new(client, registrations, options)?;
        Ok(Kept { certificates: manager.certificates(), manager: Some(manager) })
    }
}

impl Kept {
    /// What is served.
    pub(super) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// What has to hold before the cluster can call: nothing where there is none.
    pub(super) fn condition(&self) -> Option<Named> {
        self.manager.as_ref().map(|manager| ("certificate", manager.condition()))
    }

    /// Keeps it up, for the listener that serves it.
    pub(super) fn keep(self, listener: SocketAddr) {
        if let Some(manager) = self.manager {
            drop(manager.run(listener));
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
