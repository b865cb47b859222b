//! The cluster that tests run on, and what stands in for a Service there.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails says where"
)]

#[path = "support/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod client;
#[path = "support/cluster.rs"]
mod cluster;

use std::fs;

use client::{Client, Protocol};
use cluster::{Cluster, Forwarder, PATIENCE, Replica, With, eventually, shared};

#[test]
fn the_pods_of_a_deployment_appear() {
    let cluster = shared(With::Kubernetes);
    let namespace = cluster.namespace("pods");
    let create = ["create", "deployment", "web", "--image=web:1", "--replicas=2", "-n", &namespace];
    let _ = cluster.kubectl(&create).ok();
    let pods = eventually(PATIENCE, "two pods", || {
        let pods = cluster.pods(&namespace, "app=web");
        if pods.len() == 2 { Ok(pods) } else { Err(format!("{pods:#?}")) }
    });
    for pod in &pods {
        assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet", "{pod:#}");
        // A controller made the account, and the API server mounted its token.
        assert_eq!(pod["spec"]["serviceAccountName"], "default", "{pod:#}");
        assert_eq!(pod["status"]["phase"], "Pending", "{pod:#}");
    }
}

#[test]
fn a_service_account_may_do_what_it_was_given() {
    let cluster = shared(With::Kubernetes);
    let namespace = cluster.namespace("account");
    let _ = cluster.kubectl(&["create", "serviceaccount", "reader", "-n", &namespace]).ok();
    let kubeconfig = cluster.service_account_kubeconfig(&namespace, "reader");
    let list = ["get", "configmaps", "-n", &namespace];
    let told = cluster.kubectl_as(&kubeconfig, &list, "").fails();
    assert!(told.contains(&format!("system:serviceaccount:{namespace}:reader")), "{told}");

    let account = format!("--serviceaccount={namespace}:reader");
    let bind =
        ["create", "rolebinding", "reader", "--clusterrole=view", &account, "-n", &namespace];
    let _ = cluster.kubectl(&bind).ok();
    eventually(PATIENCE, "right to list", || {
        let ran = cluster.kubectl_as(&kubeconfig, &list, "");
        if ran.stdout.contains("kube-root-ca.crt") { Ok(()) } else { Err(ran.to_string()) }
    });
}

#[test]
fn a_cluster_whose_script_is_killed_leaves_nothing() {
    let cluster = Cluster::start(With::Kubernetes);
    let folder = cluster.folder().to_owned();
    let numbers = fs::read_to_string(folder.join("pids")).unwrap();
    let processes: Vec<_> = numbers.lines().collect();
    assert!(processes.len() >= 3, "{processes:?}");
    let living = || {
        let ask = |number: &&str| {
            let command = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(folder.to_str().unwrap())
        };
        processes.iter().copied().filter(ask).collect::<Vec<_>>()
    };
    assert!(living().len() >= 3, "{:?}", living());

    cluster.kill();
    eventually(PATIENCE, "end of all", || {
        let living = living();
        if living.is_empty() && !folder.exists() {
            Ok(())
        } else {
            Err(format!("{living:?} live, {} exists: {}", folder.display(), folder.exists()))
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_hands_connections_to_ready_replicas_alone() {
    let folder = tempfile::tempdir().unwrap();
    let replica = |name: &str| {
        let ca = folder.path().join(name);
        let ca = ca.to_str().unwrap();
        let replica = Replica::start(
            None,
            &["--objects", "examples", "--write-ca", ca, "--drain-delay", "600"],
        );
        (replica, fs::read_to_string(ca).unwrap())
    };
    let forwarder = Forwarder::start();
    let connect = async |ca: &str| Client::connect(forwarder.address(), ca, Protocol::Http1).await;

    let (mut first, first_ca) = replica("first.crt");
    assert!(connect(&first_ca).await.is_err(), "nobody is there");
    forwarder.add(&first);
    eventually(PATIENCE, "ready replica", || ready(&forwarder, 1));
    let mut kept = connect(&first_ca).await.unwrap();

    let (mut second, second_ca) = replica("second.crt");
    forwarder.add(&second);
    eventually(PATIENCE, "two ready replicas", || ready(&forwarder, 2));
    // In turn: each has a CA of its own, so a handshake shows who answers.
    for _ in 0..2 {
        let (one, other) = (connect(&first_ca).await, connect(&first_ca).await);
        assert_ne!(one.is_ok(), other.is_ok());
    }

    // It drains: new connections go to the other, and the one it has stays.
    first.ask_to_end();
    eventually(PATIENCE, "replica that drains", || ready(&forwarder, 1));
    let handed = forwarder.handed(&first);
    for _ in 0..3 {
        connect(&second_ca).await.unwrap();
    }
    assert_eq!(forwarder.handed(&first), handed);
    assert_eq!(kept.get("/healthz").await.unwrap().status, 200);

    // It dies, and its connection with it.
    first.kill();
    assert!(kept.get("/healthz").await.is_err());
    connect(&second_ca).await.unwrap();
    second.kill();
    eventually(PATIENCE, "no ready replica", || ready(&forwarder, 0));
    assert!(connect(&second_ca).await.is_err());
}

fn ready(forwarder: &Forwarder, wanted: usize) -> Result<(), String> {
    let ready = forwarder.ready();
    if ready == wanted { Ok(()) } else { Err(format!("{ready} are ready")) }
}
