//! Replicas come and go, and pods are created all the while, on a real API server.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "support/cluster.rs"]
mod cluster;

#[path = "availability/load.rs"]
mod load;
#[path = "availability/site.rs"]
mod site;

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cluster::eventually;
use load::Load;
use serde_json::{Value, json};
use site::{NAMESPACE, PATIENCE, Site};

/// Bare pods created by each load, at least.
const CREATIONS: usize = 1_000;
/// Of these, before the disturbance and after it.
const APART: usize = 250;

/// One cluster. Its tests take turns: each starts the replicas that it wants.
static SITE: LazyLock<Mutex<Site>> = LazyLock::new(|| Mutex::new(Site::start()));

fn site() -> MutexGuard<'static, Site> {
    SITE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Creates pods before, while and after something happens, at least `within` of them while it does,
/// and says what became of them: none fails, and all come out complete.
fn under_load(site: &Site, what: &str, within: usize, disturb: impl FnOnce()) {
    // The API server knows the certificates, and the replicas the service.
    eventually(PATIENCE, "a pod is created whole", || {
        site.create(NAMESPACE, &load::skeleton()).map(drop)
    });
    let started = Instant::now();
    let load = Load::start(&site.cluster.kubeconfig());
    let reach = |bare: usize, managed: usize| {
        eventually(
            PATIENCE,
            &format!("{what}: {bare} bare pods and {managed} of a ReplicaSet"),
            || {
                let (is, are) = (load.bare(), load.managed());
                if is >= bare && are >= managed { Ok(()) } else { Err(format!("{is} and {are}")) }
            },
        );
    };
    reach(APART, 1);
    let (before, before_managed) = (load.bare(), load.managed());
    disturb();
    let (after, after_managed) = (load.bare(), load.managed());
    assert!(after - before >= within, "{what}: {before} bare pods before it, {after} after it");
    reach(CREATIONS.max(after + APART), after_managed + 1);
    let took = started.elapsed();
    let report = load.end();
    println!(
        "{what}: {} bare pods in {took:.1?}, {} while it happened; {} of them failed; \
         {} pods of a ReplicaSet, {} while it happened; {} kinds of failures that it met",
        report.bare,
        after - before,
        report.failed.len(),
        report.managed,
        after_managed - before_managed,
        report.retried.len(),
    );
    assert!(
        report.failed.is_empty(),
        "{what}: {} of {} creations failed, the first of them:\n{}",
        report.failed.len(),
        report.bare + report.failed.len(),
        report.failed[..report.failed.len().min(5)].join("\n")
    );
    assert!(
        report.retried.is_empty(),
        "{what}: the ReplicaSet met:\n{}",
        report.retried.join("\n")
    );
    // All are complete, and alike whichever replica completed them.
    assert_eq!(report.forms.len(), 1, "{what}: {}", report.forms.join("\n"));
    assert!(report.forms[0].contains("--kv-transfer-config"), "{}", report.forms[0]);
}

#[test]
fn a_rolling_restart_loses_no_creation() {
    let site = site();
    let replicas = site.two();
    let mut new = Vec::new();
    under_load(&site, "a rolling restart", 10, || {
        // As a Deployment with `maxUnavailable: 0` and `maxSurge: 1` does it.
        for mut old in replicas {
            new.push(site.replica());
            let status = old.terminate();
            assert!(status.success(), "{status}:\n{}", old.log());
            site.forwarder.remove(&old);
        }
    });
}

#[test]
fn a_rotation_of_the_ca_loses_no_creation() {
    let site = site();
    let replicas = site.two();
    let old = site.bundle();
    under_load(&site, "a rotation of the CA", 10, || {
        let emptied = r#"[{"op": "remove", "path": "/data"}]"#;
        let patch = ["patch", "secret", "llmisvc-webhook-ca", "-n", "llmisvc-system"];
        let _ = site.cluster.kubectl(&[&patch[..], &["--type=json", "-p", emptied]].concat()).ok();
        let new = eventually(PATIENCE, "another CA is trusted alone", || {
            let bundle = site.bundle();
            let certificates: Vec<&str> =
                bundle.split_inclusive("-----END CERTIFICATE-----").collect();
            let left = certificates.iter().any(|certificate| {
                certificate.contains("BEGIN") && old.contains(certificate.trim())
            });
            if left || !bundle.contains("BEGIN") { Err(bundle) } else { Ok(bundle) }
        });
        for replica in &replicas {
            eventually(PATIENCE, "the replica serves a certificate of the new CA", || {
                site::verifies(replica, &new)
            });
            assert!(site::verifies(replica, &old).is_err(), "the old CA has signed it too");
        }
    });
}

#[test]
fn a_replica_that_is_killed_loses_no_creation() {
    let site = site();
    let [mut killed, _left] = site.two();
    under_load(&site, "kill -9 of one of two", 0, || {
        assert!(site.forwarder.handed(&killed) > 0, "nobody used it");
        killed.kill();
    });
}

#[test]
fn with_all_replicas_down_only_pods_that_asked_wait() {
    let site = site();
    // The registration has certificates, as after any installation.
    for mut replica in site.two() {
        replica.kill();
        site.forwarder.remove(&replica);
    }
    let calls = || called(&site);
    let before = calls();

    // Not ours: created as if there were no webhook. It is not even called.
    let plain = |name: &str, labels: Value| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "main", "image": "web:1"}]},
        })
    };
    let opted_in = json!({"inject.llmisvc.io/service": "qwen2-7b-pd"});
    let opted_out =
        json!({"inject.llmisvc.io/service": "qwen2-7b-pd", "inject.llmisvc.io/inject": "false"});
    for (namespace, labels) in [
        ("default", json!({})),
        ("default", json!({"app": "web"})),
        ("default", opted_out),
        (NAMESPACE, json!({})),
        ("kube-system", json!({})),
        ("kube-system", opted_in.clone()),
        ("llmisvc-system", json!({"app.kubernetes.io/name": "llmisvc-webhook"})),
        ("llmisvc-system", opted_in),
    ] {
        let pod = restricted(plain("plain", labels));
        let created = site.create(namespace, &pod).expect("created");
        assert_eq!(created["spec"]["containers"][0]["image"], "web:1");
        assert!(created["metadata"]["annotations"].is_null(), "{created}");
        let _ = site
            .cluster
            .kubectl(&["delete", "pod", "plain", "-n", namespace, "--force", "--grace-period=0"])
            .ok();
    }
    assert_eq!(calls(), before, "the API server called the webhook for pods that are not ours");

    // Ours wait, and whoever looks is told why.
    let refused = site.create(NAMESPACE, &load::skeleton()).unwrap_err();
    assert!(refused.contains("pods.inject.llmisvc.io"), "{refused}");
    let mut labels = load::skeleton()["metadata"]["labels"].clone();
    labels["load"] = json!("waiting");
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "waiting"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"load": "waiting"}},
            "template": {"metadata": {"labels": labels}, "spec": load::skeleton()["spec"]},
        },
    });
    site.cluster.apply(NAMESPACE, &deployment.to_string());
    eventually(PATIENCE, "the ReplicaSet says why there is no pod", || {
        let failed = ["events", "-n", NAMESPACE, "--field-selector=reason=FailedCreate"];
        let events = site.cluster.get(&failed)["items"].to_string();
        let told = events.contains("waiting-") && events.contains("inject.llmisvc.io");
        if told { Ok(()) } else { Err(events) }
    });
    let pods = || site.cluster.pods(NAMESPACE, "load=waiting");
    assert!(pods().is_empty(), "a skeleton was let through");

    let returned = Instant::now();
    let _replica = site.replica();
    // The ReplicaSet waits longer after each failure.
    let made = eventually(PATIENCE, "the pods are created", || {
        let pods = pods();
        if pods.len() == 2 { Ok(pods) } else { Err(format!("{} pods", pods.len())) }
    });
    println!(
        "all replicas down: 2 pods of a ReplicaSet {:.1?} after the return",
        returned.elapsed()
    );
    for pod in made {
        assert!(pod.to_string().contains("--kv-transfer-config"), "{pod}");
    }
    let _ = site.cluster.kubectl(&["delete", "deployment", "waiting", "-n", NAMESPACE]).ok();
    let _ = site.cluster.kubectl(&["delete", "events", "-n", NAMESPACE, "--all"]).ok();
}

/// What the namespace of the webhook asks of every pod.
fn restricted(mut pod: Value) -> Value {
    pod["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    pod["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    pod
}

/// How often the API server has called our webhooks for pods, or tried to.
fn called(site: &Site) -> Vec<String> {
    let metrics = site.cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
    let ours = |line: &&str| {
        line.starts_with("apiserver_admission_webhook_request_total")
            && line.contains("pods.inject.llmisvc.io")
    };
    metrics.lines().filter(ours).map(str::to_owned).collect()
}
