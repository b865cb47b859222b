//! A pod that is here before its service, and a server that is not ready yet.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use llmisvc_webhook::api::{Config, Object, ObjectKey};
use llmisvc_webhook::catalog::{Catalog, Snapshot};
use llmisvc_webhook::cluster::Condition;
use llmisvc_webhook::server::{Decisions, Limits, Stop};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::{Client, Protocol};
use crate::running::{NEVER, PATIENCE, Running, good_review, start_over};

/// A catalog that a test changes.
struct Changing {
    snapshot: Mutex<Arc<Snapshot>>,
    changes: watch::Sender<()>,
}

impl Catalog for Changing {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap())
    }
}

impl Changing {
    fn new() -> Arc<Self> {
        Arc::new(Self { snapshot: Mutex::default(), changes: watch::Sender::new(()) })
    }

    fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap() = Arc::new(snapshot);
        self.changes.send_replace(());
    }

    async fn serve(self: &Arc<Self>, set: impl FnOnce(&mut Limits)) -> Running {
        let catalog = Arc::clone(self) as Arc<dyn Catalog>;
        start_over(Decisions::changing(catalog, self.changes.subscribe()), Vec::new(), set).await
    }
}

/// A service with one baseRef, and whether that is there.
fn snapshot(has_config: bool) -> Snapshot {
    let service = json!({
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {"model": {"uri": "hf://a/b"}, "baseRefs": [{"name": "base"}]},
    });
    let Ok(Object::Service(service)) = Object::read(service) else { panic!("not a service") };
    let mut snapshot = Snapshot::default();
    snapshot.services.insert(service.key.clone(), Arc::new(service));
    if has_config {
        let key = ObjectKey::new("default", "base");
        let config = Config { key: key.clone(), object: json!({"spec": {}}) };
        snapshot.configs.insert(key, Arc::new(config));
    }
    snapshot
}

fn review(labels: Value) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&good_review()).unwrap();
    review["request"]["object"]["metadata"]["labels"] = labels;
    review["request"]["object"]["spec"]["containers"] = json!([{"name": "main", "image": "auto"}]);
    serde_json::to_vec(&review).unwrap()
}

fn ours() -> Vec<u8> {
    review(json!({"inject.llmisvc.io/service": "s"}))
}

/// The decision's code, which the audit annotation has.
async fn decision(client: &mut Client, path: &str, body: Vec<u8>) -> String {
    let answered = timeout(PATIENCE, client.post(path, body)).await.expect("an answer").unwrap();
    assert_eq!(answered.status, StatusCode::OK);
    let value: Value = serde_json::from_slice(&answered.body).unwrap();
    value["response"]["auditAnnotations"]["decision"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_its_service_and_config_without_keeping_others_waiting() {
    let catalog = Changing::new();
    let server = catalog
        .serve(|limits| {
            limits.catch_up = NEVER;
            limits.reviews = 1;
        })
        .await;
    let mut client = server.connect(Protocol::Http1).await;
    let waiting = tokio::spawn(async move { decision(&mut client, "/mutate", ours()).await });
    server.eventually("llmisvc_webhook_reviews_in_flight", 1).await;
    // It holds no room, the only one there is, and a pod that did not opt in is never kept waiting.
    server.serves().await;
    let mut client = server.connect(Protocol::Http2).await;
    let kserve = review(json!({
        "app.kubernetes.io/part-of": "llminferenceservice",
        "app.kubernetes.io/name": "s",
        "app.kubernetes.io/component": "llminferenceservice-workload",
    }));
    assert_eq!(decision(&mut client, "/mutate", kserve).await, "unknown-service");

    // Neither something else, nor the half of it, is enough.
    catalog.publish(Snapshot::default());
    catalog.publish(snapshot(false));
    server.serves().await;
    assert!(!waiting.is_finished());
    catalog.publish(snapshot(true));
    assert_eq!(timeout(PATIENCE, waiting).await.expect("an answer").unwrap(), "injected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_service_does_not_come_is_refused_within_its_deadline() {
    let catalog = Changing::new();
    let server = catalog.serve(|limits| limits.catch_up = NEVER).await;
    let mut client = server.connect(Protocol::Http2).await;
    // Half of the deadline is waited, so that the refusal is heard: no 504.
    assert_eq!(decision(&mut client, "/mutate?timeout=2s", ours()).await, "unknown-service");

    let server = catalog.serve(|limits| limits.catch_up = Duration::from_millis(10)).await;
    let mut client = server.connect(Protocol::Http2).await;
    assert_eq!(decision(&mut client, "/mutate", ours()).await, "unknown-service");
    // What cannot be mended by another object is refused at once.
    let server = catalog.serve(|limits| limits.catch_up = NEVER).await;
    let mut client = server.connect(Protocol::Http2).await;
    let labels = json!({"inject.llmisvc.io/service": "s", "inject.llmisvc.io/role": "x"});
    assert_eq!(decision(&mut client, "/mutate", review(labels)).await, "unknown-role");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_does_not_change_keeps_nobody_waiting() {
    let catalog = Changing::new();
    let decisions = Decisions::new(catalog);
    let server = start_over(decisions, Vec::new(), |limits| limits.catch_up = NEVER).await;
    let mut client = server.connect(Protocol::Http1).await;
    assert_eq!(decision(&mut client, "/mutate", ours()).await, "unknown-service");
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_means_that_every_condition_holds() {
    let waiting = |what: &str| watch::channel(Err(format!("waiting for {what}")));
    let ((catalog, first), (tls, second)) = (waiting("a\nlist"), waiting("a CA"));
    let conditions: Vec<(&str, Condition)> = vec![("catalog", first), ("certificate", second)];
    let decisions = Decisions::new(Changing::new());
    let mut server = start_over(decisions, conditions, |limits| limits.drain_delay = NEVER).await;
    let mut client = Client::plain(server.metrics).await.unwrap();
    let mut ready = async |expected: &str| {
        let answered = client.get("/readyz").await.unwrap();
        let is_ready = answered.status == StatusCode::OK;
        assert_eq!(String::from_utf8(answered.body.to_vec()).unwrap(), expected);
        assert_eq!(is_ready, expected == "ok\n");
        assert_eq!(client.get("/healthz").await.unwrap().status, StatusCode::OK);
    };
    ready("catalog: waiting for a list\ncertificate: waiting for a CA\n").await;
    catalog.send(Ok(())).unwrap();
    ready("certificate: waiting for a CA\n").await;
    tls.send(Ok(())).unwrap();
    ready("ok\n").await;
    tls.send(Err("lost".to_owned())).unwrap();
    ready("certificate: lost\n").await;
    assert_eq!(server.metric(r#"llmisvc_webhook_ready{condition="catalog"}"#).await, 1);
    assert_eq!(server.metric(r#"llmisvc_webhook_ready{condition="certificate"}"#).await, 0);
    tls.send(Ok(())).unwrap();
    server.stop(Stop::Gradually);
    let unready = async {
        while server.metric(r#"llmisvc_webhook_ready{condition="certificate"}"#).await != 1 {}
        let mut client = Client::plain(server.metrics).await.unwrap();
        while client.get("/readyz").await.unwrap().body != "shutting down\n" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, unready).await.expect("shutting down is said");
    server.task.abort();
}
