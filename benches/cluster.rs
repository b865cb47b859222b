//! What the webhook adds to the time that a pod's creation takes, on a real API server.
//!
//! `cargo bench --bench cluster` starts a control plane and the release binary as its only replica,
//! and creates pods one after the other, in turn: a skeleton that the webhook completes, and the
//! same pod as it came out complete, without the label and the annotations that are the webhook's,
//! for which the API server does not call it. Both are stored with the same content, so that their
//! difference is the call. The API server, etcd, the webhook and this client share the machine.
#![expect(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cluster::{Cluster, Forwarder, Replica, With, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::json;

/// Pods of each kind that count.
const PODS: usize = 2_000;
/// Pods of each kind that do not.
const WARM_UP: usize = 200;
/// Pods of each kind that are there at most.
const BATCH: usize = 100;
/// Whatever happens, it ends.
const PATIENCE: Duration = Duration::from_mins(30);

const NAMESPACE: &str = "bench";
const SERVICE: &str = "examples/qwen2-7b-pd.yaml";
/// Prefix of the labels and annotations that are the webhook's.
const OURS: &str = "inject.llmisvc.io/";

fn main() -> anyhow::Result<()> {
    // Without `--bench` it is run as a test: does it work at all?
    let scale = if std::env::args().any(|argument| argument == "--bench") { 1 } else { 100 };
    let cluster = Cluster::start(With::Kubernetes);
    let forwarder = Forwarder::start();
    cluster.install(".", &forwarder);
    let own = cluster.service_account_kubeconfig("llmisvc-system", "llmisvc-webhook");
    let replica = Replica::start(Some(&own), &[]);
    forwarder.add(&replica);
    replica.until_ready();
    let _ = cluster.kubectl(&["create", "namespace", NAMESPACE]).ok();
    cluster.eventually_exists(&["serviceaccount/default", "-n", NAMESPACE]);
    let service = Path::new(env!("CARGO_MANIFEST_DIR")).join(SERVICE);
    let service = std::fs::read_to_string(service)?.replace("namespace: default", "");
    cluster.apply(NAMESPACE, &service);
    // The API server's own view of the registration follows a moment later.
    let skeleton = serde_json::to_string(&skeleton())?;
    eventually(cluster::PATIENCE, "complete pod", || {
        let created = cluster.kubectl_with(&["create", "-n", NAMESPACE, "-f", "-"], &skeleton);
        if created.status.success() { Ok(()) } else { Err(created.stderr) }
    });

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let kubeconfig = cluster.kubeconfig();
        let bench = Box::pin(bench(&kubeconfig, scale));
        tokio::time::timeout(PATIENCE, bench).await.context("took too long")?
    })
}

async fn bench(kubeconfig: &Path, scale: usize) -> anyhow::Result<()> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let pods: Api<Pod> = Api::namespaced(kube::Client::try_from(config)?, NAMESPACE);

    let skeleton = skeleton();
    let complete = pods.create(&PostParams::default(), &skeleton).await?;
    let control = control(&complete)?;
    let mut with = Measured::new("with", skeleton);
    let mut without = Measured::new("without", control);
    clear(&pods).await?;

    for (count, counts) in [(WARM_UP / scale, false), (PODS / scale, true)] {
        for done in 0..count {
            // Who is first takes turns too.
            let mut turn = [&mut with, &mut without];
            if done % 2 == 1 {
                turn.reverse();
            }
            for measured in turn {
                measured.create(&pods, counts).await?;
            }
            if done % BATCH == BATCH - 1 {
                clear(&pods).await?;
            }
        }
    }
    clear(&pods).await?;
    // Else it would not be the call alone that is measured.
    let (stored, also) = (with.stored.as_ref(), without.stored.as_ref());
    let specs = stored.zip(also).context("no pod was created")?;
    ensure!(spec(specs.0)? == spec(specs.1)?, "the pods are not the same");

    println!(
        "{SERVICE}: a skeleton of {} bytes, complete {} bytes; {} pods each, one at a time, in turn",
        serde_json::to_vec(&with.pod)?.len(),
        serde_json::to_vec(&without.pod)?.len(),
        PODS / scale,
    );
    println!("webhook       p50 ms      p99 ms     mean ms");
    let [with, without] = [with.told(), without.told()];
    let row = |name: &str, [p50, p99, mean]: [f64; 3]| {
        println!("{name:<9}{p50:>11.3}{p99:>12.3}{mean:>12.3}");
    };
    row("with", with);
    row("without", without);
    row("added", std::array::from_fn(|at| with[at] - without[at]));
    row("ratio", std::array::from_fn(|at| with[at] / without[at]));
    Ok(())
}

/// One kind of pod and how long its creations took.
struct Measured {
    name: &'static str,
    pod: Pod,
    stored: Option<Pod>,
    latencies: Vec<Duration>,
}

impl Measured {
    fn new(name: &'static str, pod: Pod) -> Self {
        Self { name, pod, stored: None, latencies: Vec::new() }
    }

    async fn create(&mut self, pods: &Api<Pod>, counts: bool) -> anyhow::Result<()> {
        let sent = Instant::now();
        let created = pods.create(&PostParams::default(), &self.pod).await;
        let took = sent.elapsed();
        let created = created.with_context(|| format!("creation {} the webhook", self.name))?;
        if counts {
            self.latencies.push(took);
        }
        self.stored = Some(created);
        Ok(())
    }

    /// Milliseconds: the 50th and the 99th percentile, and the mean.
    fn told(&mut self) -> [f64; 3] {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let milliseconds = |latency: &Duration| latency.as_secs_f64() * 1e3;
        let percentile = |percent: usize| {
            self.latencies.get(count * percent / 100).map_or(f64::NAN, milliseconds)
        };
        let sum: f64 = self.latencies.iter().map(milliseconds).sum();
        let mean = sum / u32::try_from(count).map_or(f64::NAN, f64::from);
        [percentile(50), percentile(99), mean]
    }
}

/// A pod that asks for the webhook, and says no more than it has to.
fn skeleton() -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "decode-",
            "labels": {format!("{OURS}service"): "qwen2-7b-pd", format!("{OURS}role"): "decode"},
        },
        "spec": {"containers": [{"name": "main", "image": "auto"}]},
    }))
    .unwrap()
}

/// The same pod, complete when it is sent, of which the webhook is not told. Its labels and
/// annotations have other names of the same length, so that what is stored has the same size.
fn control(complete: &Pod) -> anyhow::Result<Pod> {
    let other = OURS.replace("inject", "passed");
    let mut pod = Pod::default();
    pod.metadata.generate_name.clone_from(&complete.metadata.generate_name);
    let renamed = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(key, value)| (key.replace(OURS, &other), value.clone())).collect()
    };
    pod.metadata.labels = complete.metadata.labels.as_ref().map(renamed);
    pod.metadata.annotations = complete.metadata.annotations.as_ref().map(renamed);
    ensure!(pod.metadata.annotations.is_some(), "the skeleton was not completed");
    let mut spec = serde_json::to_value(&complete.spec)?;
    // The API server adds its own token's volume once more.
    let own = |value: &serde_json::Value| {
        value["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"))
    };
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.retain(|volume| !own(volume));
    }
    for containers in ["containers", "initContainers"] {
        for container in spec[containers].as_array_mut().into_iter().flatten() {
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.retain(|mount| !own(mount));
            }
        }
    }
    pod.spec = serde_json::from_value(spec)?;
    Ok(pod)
}

/// A stored pod's spec without the random name of the API server's own volume, in any order of
/// volumes.
fn spec(pod: &Pod) -> anyhow::Result<Vec<String>> {
    let mut text = serde_json::to_string_pretty(&pod.spec)?;
    while let Some(at) = text.find("kube-api-access-") {
        let end = at + "kube-api-access-".len() + 5;
        text.replace_range(at..end, "TOKEN");
    }
    let mut lines: Vec<String> =
        text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
    lines.sort();
    Ok(lines)
}

async fn clear(pods: &Api<Pod>) -> anyhow::Result<()> {
    let now = DeleteParams::default().grace_period(0);
    pods.delete_collection(&now, &ListParams::default()).await?;
    Ok(())
}
