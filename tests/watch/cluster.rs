//! A real control plane, and a way to it that can be cut.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use llmisvc_webhook::cluster::connect;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// What has to happen happens within seconds; a machine would have to stand still for this long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// etcd, kube-apiserver and kube-controller-manager; they end with this value, or with this process.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    kubeconfig: PathBuf,
    _stdin: ChildStdin,
    child: Child,
    folder: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/run.sh");
        let mut child = Command::new("bash")
            .arg(script)
            .arg(folder.path().join("cluster"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let kubeconfig = line.trim().strip_prefix("ready ").expect("standard error says why");
        let kubeconfig = PathBuf::from(kubeconfig);
        let client = connect(Some(&kubeconfig)).await.unwrap();
        Self { client, kubeconfig, _stdin: child.stdin.take().unwrap(), child, folder }
    }

    /// A client over another way, or as another user.
    pub(crate) async fn client(&self, server: Option<SocketAddr>, user: Option<&str>) -> Client {
        let mut config = std::fs::read_to_string(&self.kubeconfig).unwrap();
        if let Some(server) = server {
            config = config.replace(&self.server(), &format!("https://{server}"));
        }
        if let Some(user) = user {
            config = config.replace("user: { token:", &format!("user: {{ as: {user}, token:"));
        }
        let file = self.folder.path().join("kubeconfig");
        std::fs::write(&file, config).unwrap();
        connect(Some(&file)).await.unwrap()
    }

    /// The API server's URL.
    pub(crate) fn server(&self) -> String {
        let config = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let line = config.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
        line.to_owned()
    }

    /// As `kubectl apply --server-side`, for an object of any kind.
    pub(crate) async fn apply(&self, object: Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
        let parameters = PatchParams::apply("test").force();
        let api = self.api(&object);
        let applied = api.patch(text("/metadata/name"), &parameters, &Patch::Apply(&object)).await;
        applied.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// Where an object of that kind and namespace lives.
    pub(crate) fn api(&self, object: &Value) -> Api<DynamicObject> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (api_version, kind) = (text("/apiVersion").unwrap(), text("/kind").unwrap());
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        match text("/metadata/namespace") {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Installs both kinds, with a schema that takes anything, and waits until they are served.
    pub(crate) async fn install_kinds(&self) {
        for kind in ["LLMInferenceService", "LLMInferenceServiceConfig"] {
            self.apply(definition(kind)).await;
            let api = self.api(&object(kind, "any", json!({})));
            eventually(&format!("{kind} is served"), async || {
                api.list(&ListParams::default()).await.map(drop).map_err(|error| error.to_string())
            })
            .await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGTERM: what it started ends with it, before its folder is removed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

pub(crate) fn definition(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = |name: &str, is_stored: bool| {
        json!({
            "name": name, "served": true, "storage": is_stored,
            "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.serving.kserve.io")},
        "spec": {
            "group": "serving.kserve.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [version("v1alpha1", false), version("v1alpha2", true)],
        },
    })
}

/// An object of one of the two kinds, in `default`.
pub(crate) fn object(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "serving.kserve.io/v1alpha2", "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
    });
    object["spec"] = spec;
    object
}

/// Polls until `look` is fine; fails with what it said last.
pub(crate) async fn eventually(what: &str, look: impl AsyncFn() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(seen) = look().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}, but: {seen}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A way to the API server that can be cut and mended.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Way {
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = watch::Sender::new(true);
        let target = Arc::new(server.strip_prefix("https://").unwrap().to_owned());
        let opened = open.subscribe();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (target, mut opened) = (Arc::clone(&target), opened.clone());
                if !*opened.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target.as_str()).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut stream, &mut server) => {}
                        _ = opened.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}
