//! The Kubernetes client: what the cluster tells the webhook, and what the webhook tells the cluster.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

pub mod certificates;
pub mod events;
pub mod watch;

pub use events::Events;
pub use watch::WatchedCatalog;

/// A state that has to hold before the webhook is ready: `Err` says what is being waited for.
pub type Condition = tokio::sync::watch::Receiver<Result<(), String>>;

/// Time for the API server to take a connection. It is near, or it is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection that says nothing for so long is dead. Longer than any watch, which its server ends
/// after 290 seconds where nobody asks for less.
const SILENCE: Duration = Duration::from_mins(5);

/// Why there is no connection to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A kubeconfig that cannot be read, or names what is not in it.
    #[error("failed to read the kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why.
        reason: kube::config::KubeconfigError,
    },
    /// Not in a pod, or a pod without a ServiceAccount's token.
    #[error("failed to read the pod's ServiceAccount: {0}")]
    InCluster(kube::config::InClusterError),
    /// A client that cannot be built, for a certificate that is none for instance.
    #[error("failed to set up the Kubernetes client: {0}")]
    Client(kube::Error),
}

/// A client for the cluster that a kubeconfig's current context names, else for the cluster that
/// this process runs in, with its ServiceAccount. Nothing is sent yet.
///
/// # Errors
/// [`ClusterError`] when the credentials cannot be read.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClusterError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let named =
                |reason| ClusterError::Kubeconfig { path: path.display().to_string(), reason };
            let file = Kubeconfig::read_from(path).map_err(named)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(named)?
        }
        None => Config::incluster().map_err(ClusterError::InCluster)?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(ClusterError::Client)
}

/// What went wrong, for people: the API server's own words, or each cause once.
pub(crate) fn reason(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut reasons = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        reasons.push(error.to_string());
        cause = error.source();
    }
    // An error that repeats its cause says nothing more than the cause.
    let mut shown: Vec<&str> = Vec::new();
    for (index, reason) in reasons.iter().enumerate() {
        let rest = reasons.get(index + 1..).unwrap_or_default();
        if !rest.iter().any(|below| reason.contains(below.as_str())) {
            shown.push(reason);
        }
    }
    if shown.is_empty() { error.to_string() } else { shown.join(": ") }
}
