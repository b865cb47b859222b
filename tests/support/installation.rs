//! The manifests applied, and replicas that run with the ServiceAccount's own credentials.
#![allow(dead_code, reason = "a test program uses a part of it")]

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, Forwarder, Ran, Replica, With, eventually};

const NAMESPACE: &str = "llmisvc-system";

/// A cluster in which the webhook is installed.
pub(crate) struct Installation {
    // Before the cluster: they end first.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) forwarder: Forwarder,
    pub(crate) cluster: Cluster,
    account: PathBuf,
    settings: PathBuf,
}

impl Installation {
    /// Starts a cluster, applies an overlay of the manifests (`.` is the default installation),
    /// starts two replicas and waits until both are ready.
    pub(crate) fn start(with: With, overlay: &str) -> Self {
        let mut installation = Self::without_replicas(with, overlay);
        for _ in 0..2 {
            let replica = installation.replica(&[]);
            installation.replicas.push(replica);
        }
        installation
    }

    /// Starts a cluster and applies an overlay of the manifests.
    pub(crate) fn without_replicas(with: With, overlay: &str) -> Self {
        let cluster = Cluster::start(with);
        let forwarder = Forwarder::start();
        cluster.install(overlay, &forwarder);
        let account = cluster.service_account_kubeconfig(NAMESPACE, "llmisvc-webhook");
        let maps = cluster.get(&["configmaps", "-n", NAMESPACE]);
        let settings = maps["items"]
            .as_array()
            .and_then(|maps| maps.iter().find_map(|map| map["data"]["settings.yaml"].as_str()))
            .expect("the ConfigMap of the settings");
        let path = cluster.folder().join("settings.yaml");
        std::fs::write(&path, settings).unwrap();
        Self { replicas: Vec::new(), forwarder, cluster, account, settings: path }
    }

    /// Starts a replica as the Deployment would, and waits until connections go to it.
    pub(crate) fn replica(&self, more: &[&str]) -> Replica {
        let settings = format!("--settings={}", self.settings.display());
        let replica = Replica::start(Some(&self.account), &[&[settings.as_str()], more].concat());
        replica.until_ready();
        let before = self.forwarder.ready();
        self.forwarder.add(&replica);
        eventually(Duration::from_mins(1), "an endpoint more", || {
            let ready = self.forwarder.ready();
            if ready > before { Ok(()) } else { Err(format!("{ready} are ready")) }
        });
        replica
    }

    /// Runs kubectl with the ServiceAccount's own token.
    pub(crate) fn as_webhook(&self, arguments: &[&str]) -> Ran {
        self.cluster.kubectl_as(&self.account, arguments, "")
    }

    /// Runs kubectl as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Ran {
        self.cluster.kubectl(arguments)
    }

    /// Runs kubectl with a standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Ran {
        self.cluster.kubectl_with(arguments, input)
    }

    /// What kubectl prints, where it must succeed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments).ok()
    }

    /// The same, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(arguments)).unwrap()
    }

    /// One object.
    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Value {
        self.cluster.get(&[kind, name, "-n", namespace])
    }

    /// Applies manifests that name their namespaces.
    pub(crate) fn apply(&self, manifests: &str) {
        let ran = self.kubectl_with(&["apply", "-f", "-"], manifests);
        assert!(ran.status.success(), "{ran}\nfor:\n{manifests}");
    }

    /// What a manifest would become.
    pub(crate) fn dry_run(&self, manifest: &str) -> Value {
        let ran =
            self.kubectl_with(&["apply", "--dry-run=server", "-o", "json", "-f", "-"], manifest);
        assert!(ran.status.success(), "{ran}\nfor:\n{manifest}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Deletes what manifests for the namespace `default` name, in a namespace.
    pub(crate) fn delete(&self, namespace: &str, manifests: &str) {
        let there = manifests.replace("namespace: default", &format!("namespace: {namespace}"));
        let _ = self.kubectl_with(&["delete", "--ignore-not-found", "-f", "-"], &there).ok();
    }

    /// A file of that content, gone with the cluster.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.cluster.folder().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}
