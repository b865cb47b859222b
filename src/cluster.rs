//! The Kubernetes client: what the cluster tells the webhook, and what the webhook tells the cluster.

use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

/// A state that has to hold before the webhook is ready: `Err` says what is being waited for.
pub type Condition = tokio::sync::watch::Receiver<Result<(), String>>;

/// Time for the API server to take a connection. It is near, or it is not there.
const CONNECT: Duration = Duration::from_secs(5);

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
    Client::try_from(config).map_err(ClusterError::Client)
}
