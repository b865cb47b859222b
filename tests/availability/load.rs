//! Pods that ask for the webhook, created without pause until told to stop: by hand, and by
//! controllers.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::site::NAMESPACE;

/// Creators of bare pods, each with one request at a time.
const CREATORS: usize = 6;
/// Replicas of the Deployment whose pods are taken away, for its `ReplicaSet` to make new ones.
const REPLICAS: usize = 20;
/// Between two removals of what was created.
const SWEEP: Duration = Duration::from_millis(500);

const STATUS: &str = "inject.llmisvc.io/status";

/// A running load. Ended or dropped, it stops.
pub(crate) struct Load {
    runtime: Runtime,
    client: kube::Client,
    seen: Arc<Seen>,
    tasks: JoinSet<()>,
}

/// What became of the creations so far.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    bare: AtomicUsize,
    managed: Mutex<HashSet<String>>,
    failed: Mutex<Vec<String>>,
    /// Each form in which pods came out, and how often.
    forms: Mutex<BTreeMap<String, usize>>,
}

/// What a load saw.
#[derive(Debug)]
pub(crate) struct Report {
    /// Bare pods whose creation succeeded.
    pub(crate) bare: usize,
    /// Pods that the `ReplicaSet` created.
    pub(crate) managed: usize,
    /// Creations of bare pods that failed, in the API server's words.
    pub(crate) failed: Vec<String>,
    /// What the `ReplicaSet` said about creations that failed; it tried again.
    pub(crate) retried: Vec<String>,
    /// The different forms in which pods came out.
    pub(crate) forms: Vec<String>,
}

impl Load {
    /// Starts as the administrator of a cluster in which the webhook and the service
    /// `qwen2-7b-pd` are.
    pub(crate) fn start(kubeconfig: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(connect(kubeconfig));
        let seen = Arc::<Seen>::default();
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let mut tasks = JoinSet::new();
        for _ in 0..CREATORS {
            tasks.spawn_on(create(pods.clone(), Arc::clone(&seen)), runtime.handle());
        }
        tasks.spawn_on(sweep(pods, Arc::clone(&seen)), runtime.handle());
        runtime.block_on(scale(&client, REPLICAS));
        Self { runtime, client, seen, tasks }
    }

    /// Bare pods created so far.
    pub(crate) fn bare(&self) -> usize {
        self.seen.bare.load(Ordering::Relaxed)
    }

    /// Pods that the `ReplicaSet` created so far.
    pub(crate) fn managed(&self) -> usize {
        guard(&self.seen.managed).len()
    }

    /// Stops and tells.
    pub(crate) fn end(self) -> Report {
        let Self { runtime, client, seen, mut tasks } = self;
        seen.stop.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
            let retried = retried(&client).await;
            scale(&client, 0).await;
            let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
            remove(&pods, "load").await.unwrap();
            Report {
                bare: seen.bare.load(Ordering::Relaxed),
                managed: guard(&seen.managed).len(),
                failed: guard(&seen.failed).clone(),
                retried,
                forms: guard(&seen.forms).keys().cloned().collect(),
            }
        })
    }
}

/// A client of its own: the load is not held up by anybody else's.
pub(crate) async fn connect(kubeconfig: &Path) -> kube::Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.unwrap()).unwrap()
}

/// A bare skeleton.
pub(crate) fn skeleton() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "bare-",
            "labels": {
                "load": "bare",
                "inject.llmisvc.io/service": "qwen2-7b-pd",
                "inject.llmisvc.io/role": "decode",
            },
        },
        "spec": {"containers": [{"name": "main", "image": "auto"}]},
    })
}

async fn create(pods: Api<Pod>, seen: Arc<Seen>) {
    let skeleton: Pod = serde_json::from_value(skeleton()).unwrap();
    while !seen.stop.load(Ordering::Relaxed) {
        match pods.create(&PostParams::default(), &skeleton).await {
            Ok(pod) => {
                seen.look_at(&pod);
                seen.bare.fetch_add(1, Ordering::Relaxed);
            }
            Err(kube::Error::Api(status)) => guard(&seen.failed).push(status.message),
            Err(error) => guard(&seen.failed).push(error.to_string()),
        }
    }
}

/// Looks at what the `ReplicaSet` made and takes away what is there, so that the cluster stays small
/// and there is always something to make. A pod that goes before it was seen is not counted.
async fn sweep(pods: Api<Pod>, seen: Arc<Seen>) {
    loop {
        let stopped = seen.stop.load(Ordering::Relaxed);
        let swept = async {
            let managed = pods.list(&ListParams::default().labels("load=managed")).await?.items;
            for pod in &managed {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                if guard(&seen.managed).insert(uid) {
                    seen.look_at(pod);
                }
            }
            if managed.len() >= REPLICAS {
                remove(&pods, "load=managed").await?;
            }
            remove(&pods, "load=bare").await
        };
        if let Err(error) = swept.await {
            guard(&seen.failed).push(format!("while sweeping: {error}"));
        }
        if stopped {
            return;
        }
        tokio::time::sleep(SWEEP).await;
    }
}

async fn remove(pods: &Api<Pod>, labels: &str) -> kube::Result<()> {
    let now = DeleteParams::default().grace_period(0);
    pods.delete_collection(&now, &ListParams::default().labels(labels)).await.map(drop)
}

/// A Deployment of skeletons with so many replicas.
async fn scale(client: &kube::Client, replicas: usize) {
    let mut labels = skeleton()["metadata"]["labels"].clone();
    labels["load"] = json!("managed");
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "load"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"load": "managed"}},
            "template": {"metadata": {"labels": labels}, "spec": skeleton()["spec"]},
        },
    });
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/load");
    let request = hyper::Request::patch(format!("{path}?fieldManager=load&force=true"))
        .header("content-type", "application/apply-patch+yaml")
        .body(deployment.to_string().into_bytes())
        .unwrap();
    client.request::<Value>(request).await.unwrap();
}

/// Events about pods that were not created, and takes them away.
async fn retried(client: &kube::Client) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let failed = ListParams::default().fields("reason=FailedCreate");
    let found = events.list(&failed).await.unwrap().items;
    events.delete_collection(&DeleteParams::default(), &failed).await.unwrap();
    let told = |event: Event| {
        let (count, message) = (event.count.unwrap_or(1), event.message.unwrap_or_default());
        format!("{count} times: {message}")
    };
    found.into_iter().map(told).collect()
}

impl Seen {
    fn look_at(&self, pod: &Pod) {
        *guard(&self.forms).entry(form(pod)).or_default() += 1;
    }
}

/// What all pods of the load have in common when the webhook completed them: the text of their
/// spec and of what was noted about them. The API server's own volume has a random name.
fn form(pod: &Pod) -> String {
    let annotations = pod.metadata.annotations.as_ref();
    let status = annotations.and_then(|annotations| annotations.get(STATUS));
    let text = json!({ "status": status, "spec": pod.spec }).to_string();
    let mut parts = text.split("kube-api-access-");
    let mut form = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        form.push_str("kube-api-access");
        form.push_str(part.get(5..).unwrap_or_default());
    }
    form
}

fn guard<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
