//! Where the services and configs come from.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use kube::Client;

use crate::catalog::Settings;
use crate::catalog::files::FileCatalog;
use crate::cli::CatalogArgs;
use crate::cluster::{self, Events, WatchedCatalog};
use crate::server::{Decisions, Named};

/// Set in every container by the kubelet, and nowhere else.
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";

/// Where the services and configs come from, and the settings with them.
#[derive(Debug)]
pub(super) enum Source {
    /// Files, read once.
    Files(Box<FileCatalog>),
    /// The cluster of a kubeconfig, else the one that this process runs in.
    Cluster(Option<PathBuf>, Box<Settings>),
}

/// A source in use.
pub(super) struct Opened {
    /// What answers the reviews.
    pub(super) decisions: Decisions,
    /// What has to hold before it can.
    pub(super) conditions: Vec<Named>,
    /// The cluster, where there is one.
    pub(super) client: Option<Client>,
}

impl Source {
    /// What the options and the surroundings say. Files are read here.
    ///
    /// # Errors
    /// When nothing says where, or what is named cannot be read.
    pub(super) fn of(catalog: &CatalogArgs, kubeconfig: Option<PathBuf>) -> anyhow::Result<Self> {
        if !catalog.objects.is_empty() {
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
            return Ok(Self::Files(Box::new(FileCatalog::new(snapshot))));
        }
        if kubeconfig.is_none() && std::env::var_os(IN_POD).is_none() {
            bail!(
                "nothing says which services there are: name files with --objects PATH, or a \
                 cluster with --kubeconfig FILE, or run in a pod, whose ServiceAccount is then used \
                 ({IN_POD} is not set here)"
            );
        }
        Ok(Self::Cluster(kubeconfig, Box::new(catalog.settings()?)))
    }

    /// What answers the reviews. Called on the runtime.
    ///
    /// # Errors
    /// When the cluster's credentials cannot be read.
    pub(super) async fn open(self) -> anyhow::Result<Opened> {
        match self {
            Self::Files(catalog) => Ok(Opened {
                decisions: Decisions::new(Arc::new(*catalog)),
                conditions: Vec::new(),
                client: None,
            }),
            Self::Cluster(kubeconfig, settings) => {
                let client = cluster::connect(kubeconfig.as_deref()).await?;
                let events = Events::start(client.clone());
                let catalog = WatchedCatalog::start(&client, *settings, events.clone());
                let conditions = vec![("catalog", catalog.condition())];
                Ok(Opened {
                    decisions: Decisions::in_cluster(catalog, events),
                    conditions,
                    client: Some(client),
                })
            }
        }
    }
}
