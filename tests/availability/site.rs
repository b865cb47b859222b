//! The installed webhook: a cluster, the manifests, and where the Service points.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmisvc_webhook::tls::verify;
use serde_json::Value;

use super::cluster::{Cluster, Forwarder, Replica, With};
use super::in_crate;

const SERVER: &str = "llmisvc-webhook.llmisvc-system.svc";
const EXAMPLE: &str = "examples/qwen2-7b-pd.yaml";
/// Where pods are created that ask for the webhook.
pub(crate) const NAMESPACE: &str = "load";

/// A controller waits longer after each failure.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// A cluster with the webhook registered, and its Service pointing here.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) forwarder: Forwarder,
    /// The ServiceAccount's: the webhook's own rights and no more.
    own: PathBuf,
}

impl Site {
    /// Starts it without any replica, and with the service of the examples where the load is.
    pub(crate) fn start() -> Self {
        let cluster = Cluster::start(With::Kubernetes);
        let forwarder = Forwarder::start();
        cluster.install(".", &forwarder);
        let own = cluster.service_account_kubeconfig("llmisvc-system", "llmisvc-webhook");
        let site = Self { cluster, forwarder, own };
        let _ = site.cluster.kubectl(&["create", "namespace", NAMESPACE]).ok();
        site.cluster.eventually_exists(&["serviceaccount/default", "-n", NAMESPACE]);
        site
    }

    /// Two ready replicas, and the service that the load asks for.
    pub(crate) fn two(&self) -> [Replica; 2] {
        let replicas = [self.replica(), self.replica()];
        let service = std::fs::read_to_string(in_crate(EXAMPLE)).unwrap();
        self.cluster.apply(NAMESPACE, &service.replace("namespace: default", ""));
        replicas
    }

    /// Starts a replica, which gets connections once it is ready; returns when it is.
    pub(crate) fn replica(&self) -> Replica {
        // Long enough for all replicas and the API server to learn of a new CA.
        let soon = ["--ca-overlap=5s", "--ca-settle=2s"];
        let replica = Replica::start(Some(&self.own), &soon);
        self.forwarder.add(&replica);
        replica.until_ready();
        replica
    }

    /// Creates one object and returns it, or what kubectl said.
    pub(crate) fn create(&self, namespace: &str, object: &Value) -> Result<Value, String> {
        let create = ["create", "-n", namespace, "-o", "json", "-f", "-"];
        let ran = self.cluster.kubectl_with(&create, &object.to_string());
        if !ran.status.success() {
            return Err(ran.stderr);
        }
        serde_json::from_str(&ran.stdout).map_err(|error| format!("{error}: {ran}"))
    }

    /// The CAs that the registration of pods trusts, as PEM.
    pub(crate) fn bundle(&self) -> String {
        let name = "mutate.inject.llmisvc.io";
        let registration = self.cluster.get(&["mutatingwebhookconfiguration", name]);
        let bundle = registration["webhooks"][0]["clientConfig"]["caBundle"].as_str();
        String::from_utf8(STANDARD.decode(bundle.unwrap_or_default()).unwrap()).unwrap()
    }
}

/// Whether a replica's certificate verifies with these CAs.
pub(crate) fn verifies(replica: &Replica, bundle: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let verified = runtime.block_on(verify(replica.address, SERVER, bundle.as_bytes()));
    verified.map_err(|error| error.to_string())
}
