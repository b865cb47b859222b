//! The catalog of a real cluster: what a watch brings, and what it survives.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails says where"
)]

#[path = "watch/cluster.rs"]
mod cluster;

use std::net::SocketAddr;
use std::sync::Arc;

use cluster::{Cluster, PATIENCE, Way, definition, eventually, object};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use llmisvc_webhook::api::ObjectKey;
use llmisvc_webhook::catalog::{Catalog as _, Settings, Snapshot};
use llmisvc_webhook::cluster::{Events, WatchedCatalog};
use llmisvc_webhook::server::{Decisions, Limits, Options, Server, Stop};
use llmisvc_webhook::tls::{Authority, Certificates, service_names};
use serde_json::{Value, json};
use tokio::time::timeout;

const SERVICE: &str = "LLMInferenceService";
const CONFIG: &str = "LLMInferenceServiceConfig";

fn watched(client: &kube::Client) -> Arc<WatchedCatalog> {
    WatchedCatalog::start(client, Settings::default(), Events::start(client.clone()))
}

async fn ready(catalog: &WatchedCatalog) {
    let mut condition = catalog.condition();
    let result = timeout(PATIENCE, condition.wait_for(Result::is_ok)).await;
    assert!(result.is_ok(), "{:?}", catalog.condition().borrow());
}

/// Polls until a snapshot is as it should be.
async fn becomes(catalog: &WatchedCatalog, what: &str, is_so: impl Fn(&Snapshot) -> bool) {
    eventually(what, async || {
        let snapshot = catalog.snapshot();
        if is_so(&snapshot) { Ok(()) } else { Err(format!("{snapshot:?}")) }
    })
    .await;
}

fn config(image: &str) -> Value {
    object(CONFIG, "base", json!({"template": {"containers": [{"name": "main", "image": image}]}}))
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn image(snapshot: &Snapshot) -> Option<&str> {
    let config = snapshot.configs.get(&key("base"))?;
    config.object.pointer("/spec/template/containers/0/image")?.as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_follows_the_cluster() {
    let cluster = Cluster::start().await;
    let way = Way::to(&cluster.server()).await;
    let catalog = watched(&cluster.client(Some(way.address), None).await);

    // Kinds that are not installed are waited for, and are no reason not to be ready.
    ready(&catalog).await;
    assert!(catalog.snapshot().no_such_kind);
    cluster.install_kinds().await;
    cluster.apply(object(SERVICE, "s", json!({"model": {"uri": "hf://a/b"}}))).await;
    cluster.apply(config("one")).await;
    becomes(&catalog, "both are there", |it| {
        !it.no_such_kind && it.services.contains_key(&key("s")) && image(it) == Some("one")
    })
    .await;

    // What decides nothing changes nothing.
    let before = catalog.snapshot();
    let services = cluster.api(&object(SERVICE, "s", json!({})));
    let status = Patch::Merge(json!({"status": {"ready": true}}));
    services.patch_status("s", &PatchParams::default(), &status).await.unwrap();
    cluster.apply(object(SERVICE, "later", json!({}))).await;
    becomes(&catalog, "the later one is there", |it| it.services.contains_key(&key("later"))).await;
    let after = catalog.snapshot();
    assert!(Arc::ptr_eq(&before.services[&key("s")], &after.services[&key("s")]));
    assert_eq!(after.services[&key("s")].object.get("status"), None);

    // An edit, a broken one, a mended one.
    cluster.apply(config("two")).await;
    becomes(&catalog, "the edit is there", |it| image(it) == Some("two")).await;
    cluster.apply(config("{{ .Spec.Model.Name ")).await;
    becomes(&catalog, "the break is known", |it| it.stale.contains_key(&key("base"))).await;
    assert_eq!(image(&catalog.snapshot()), Some("two"));
    let events = Api::<Event>::namespaced(cluster.client.clone(), "default");
    eventually("the break is told", async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let found = events.iter().find(|it| it.reason.as_deref() == Some("InvalidTemplate"));
        let note = found.and_then(|it| it.note.as_deref()).ok_or(format!("{events:?}"))?;
        assert!(note.contains("spec.template.containers[0].image: line 1"), "{note}");
        Ok(())
    })
    .await;
    cluster.apply(config("three")).await;
    becomes(&catalog, "it is mended", |it| it.stale.is_empty() && image(it) == Some("three")).await;

    // A namespace's label, and that it goes.
    let namespace = |labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels}});
    cluster.apply(namespace(json!({"inject.llmisvc.io/fabric": "efa"}))).await;
    becomes(&catalog, "the label is there", |it| it.fabrics.contains_key("default")).await;
    cluster.apply(namespace(json!({}))).await;
    becomes(&catalog, "the label is gone", |it| it.fabrics.is_empty()).await;

    // Without the API server everything stays; with it, what was missed is caught up with.
    way.cut();
    cluster.apply(config("four")).await;
    services.delete("later", &DeleteParams::default()).await.unwrap();
    assert_eq!(image(&catalog.snapshot()), Some("three"));
    assert_eq!(*catalog.condition().borrow(), Ok(()));
    way.mend();
    becomes(&catalog, "it has caught up", |it| {
        image(it) == Some("four") && !it.services.contains_key(&key("later"))
    })
    .await;

    // A kind that is uninstalled takes its objects along.
    let definitions = cluster.api(&definition(SERVICE));
    let name = "llminferenceservices.serving.kserve.io";
    definitions.delete(name, &DeleteParams::default()).await.unwrap();
    becomes(&catalog, "the kind is gone", |it| it.no_such_kind && it.services.is_empty()).await;
    assert_eq!(image(&catalog.snapshot()), Some("four"));
    cluster.install_kinds().await;
    cluster.apply(object(SERVICE, "again", json!({}))).await;
    becomes(&catalog, "the kind is back", |it| it.services.contains_key(&key("again"))).await;
    assert_eq!(*catalog.condition().borrow(), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_and_taken_up_once_granted() {
    let cluster = Cluster::start().await;
    cluster.install_kinds().await;
    let catalog = watched(&cluster.client(None, Some("weak")).await);
    eventually("the condition names it", async || {
        let state = catalog.condition().borrow().clone();
        let reason = state.expect_err("nothing may be listed");
        let named = ["llminferenceservices", "llminferenceserviceconfigs", "namespaces"]
            .iter()
            .all(|it| reason.contains(&format!("cannot list resource \"{it}\"")));
        if named { Ok(()) } else { Err(reason) }
    })
    .await;
    let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]});
    let kinds = ["llminferenceservices", "llminferenceserviceconfigs"];
    cluster
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "watch"},
            "rules": [rule("serving.kserve.io", &kinds), rule("", &["namespaces"])],
        }))
        .await;
    cluster
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "watch"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "watch"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "weak"}],
        }))
        .await;
    ready(&catalog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_apply_of_everything_is_admitted_and_told_to_the_owner() {
    let cluster = Cluster::start().await;
    cluster.install_kinds().await;
    let events = Events::start(cluster.client.clone());
    let catalog = WatchedCatalog::start(&cluster.client, Settings::default(), events.clone());
    ready(&catalog).await;
    let authority = Authority::generate(1).unwrap();
    let issued = authority.issue(&service_names("web", "ns", &[]), 1).unwrap();
    let certificates =
        Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    // A busy machine may bring a watch late; the pod's review waits for it.
    let limits = Limits { catch_up: PATIENCE, ..Limits::default() };
    let options = Options { bind: loopback, metrics_bind: loopback, limits };
    let decisions = Arc::new(Decisions::in_cluster(Arc::clone(&catalog), events));
    let conditions = vec![("catalog", catalog.condition())];
    let server = Server::bind(options, decisions, &certificates, conditions).await.unwrap();
    let address = server.address().unwrap();
    tokio::spawn(server.serve(std::future::pending::<Stop>()));
    register(&cluster, address, &authority.pem()).await;

    let pod = |name: &str, service: &str| {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("owner-{service}"), "uid": "0a1b", "controller": true});
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "ownerReferences": [owner],
                         "labels": {"inject.llmisvc.io/service": service}},
            "spec": {"containers": [{"name": "main", "image": "auto"}]},
        })
    };
    let pods = cluster.api(&pod("any", "any"));
    let create = async |pod: Value, is_dry: bool| {
        let parameters = PostParams { dry_run: is_dry, ..PostParams::default() };
        pods.create(&parameters, &serde_json::from_value(pod).unwrap()).await
    };
    // Registrations take a moment to be heeded.
    eventually("the registration is heeded", async || match create(pod("early", ""), true).await {
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    for round in 0..20 {
        let (service, base) = (format!("s{round}"), format!("base{round}"));
        let spec = json!({"model": {"uri": "hf://a/b"}, "baseRefs": [{"name": base}]});
        cluster.apply(object(SERVICE, &service, spec)).await;
        cluster.apply(object(CONFIG, &base, json!({}))).await;
        let created = create(pod(&service, &service), round % 2 == 0).await.unwrap();
        assert!(created.data.to_string().contains("storage-initializer"), "{created:?}");
    }

    // Each owner is told once, however many pods it has, and nothing of a dry run.
    for index in 0..20 {
        create(pod(&format!("s1-{index}"), "s1"), false).await.unwrap();
    }
    let events = Api::<Event>::namespaced(cluster.client.clone(), "default");
    eventually("the owners are told", async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let injected = events.iter().filter(|it| it.reason.as_deref() == Some("Injected"));
        let mut told: Vec<(String, i32)> = injected
            .map(|it| {
                let owner = it.regarding.as_ref().and_then(|it| it.name.clone()).unwrap();
                (owner, it.series.as_ref().map_or(1, |series| series.count))
            })
            .collect();
        told.sort();
        let mut expected: Vec<(String, i32)> = (1..20)
            .step_by(2)
            .map(|round| (format!("owner-s{round}"), if round == 1 { 21 } else { 1 }))
            .collect();
        expected.sort();
        if told == expected { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}

async fn register(cluster: &Cluster, address: SocketAddr, ca: &str) {
    use base64::Engine as _;
    let bundle = base64::prelude::BASE64_STANDARD.encode(ca);
    cluster
        .apply(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "mutate.inject.llmisvc.io"},
            "webhooks": [{
                "name": "pods.inject.llmisvc.io",
                "clientConfig": {"url": format!("https://{address}/mutate"), "caBundle": bundle},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "objectSelector": {"matchExpressions": [{"key": "inject.llmisvc.io/service", "operator": "Exists"}]},
                "sideEffects": "NoneOnDryRun",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 10,
            }],
        }))
        .await;
}
