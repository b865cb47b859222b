//! The cases of `tests/golden`, each through the webhook over TLS and through the command line.
//!
//! A case is one YAML document: `case` names it, `objects` stand in the catalog beside
//! `objects.yaml`, `settings` are the operator's, `pod` is the pod's labels, annotations and spec. What becomes of it is `decision`
//! with all its `warnings`, or the code of `refused` with what its message `says`; `expect` names
//! fields of the pod that comes out (items of lists by name, mount path or port; null for absent).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

#[path = "support/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod client;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use client::{Client, Protocol};
use llmisvc_webhook::catalog::files::load;
use llmisvc_webhook::catalog::{Catalog, Settings, Snapshot};
use llmisvc_webhook::presets::ReleaseSet;
use llmisvc_webhook::server::{Decisions, Limits, Options, Server, Stop};
use llmisvc_webhook::tls::{Authority, Certificates, service_names};
use llmisvc_webhook::yaml;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

#[tokio::test(flavor = "multi_thread")]
async fn which_pods() {
    run("1-which-pods.yaml", 32).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presets() {
    run("2-presets.yaml", 28).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_merge() {
    run("3-merge.yaml", 53).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_merge() {
    run("4-after-the-merge.yaml", 45).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules() {
    run("5-rules.yaml", 7).await;
}

async fn run(file: &str, at_least: usize) {
    let webhook = Webhook::start().await;
    let text = std::fs::read_to_string(golden(file)).unwrap();
    let mut failures = Vec::new();
    let mut cases = 0;
    for document in yaml::documents(&text) {
        let value = document.value.unwrap_or_else(|error| panic!("{file}: {error:?}"));
        let case = Case::read(value);
        cases += 1;
        if let Err(reason) = case.check(&webhook).await {
            failures.push(format!("{file}:{}: {}\n    {reason}", document.line, case.name));
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= at_least, "{file} has {cases} cases; were some lost?");
}

struct Case {
    name: String,
    members: Map<String, Value>,
    /// Holds the objects of the case, and the pod as a file.
    folder: tempfile::TempDir,
}

impl Case {
    fn read(value: Value) -> Self {
        let Value::Object(members) = value else { panic!("{value} is not a case") };
        let known = [
            "case",
            "objects",
            "presets",
            "namespace",
            "pod",
            "again",
            "settings",
            "decision",
            "warnings",
            "refused",
            "says",
            "expect",
            "offline-differs",
        ];
        for key in members.keys() {
            assert!(known.contains(&key.as_str()), "{key} means nothing in a case");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(golden("objects.yaml"), folder.path().join("objects.yaml")).unwrap();
        if let Some(objects) = members.get("objects") {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            std::fs::write(folder.path().join("own.json"), list.to_string()).unwrap();
        }
        let settings = members.get("settings").cloned().unwrap_or(json!({}));
        std::fs::write(folder.path().join("settings"), settings.to_string()).unwrap();
        Self { name: members["case"].as_str().unwrap().to_owned(), members, folder }
    }

    fn text<'a>(&'a self, member: &str, otherwise: &'a str) -> &'a str {
        self.members.get(member).map_or(otherwise, |value| value.as_str().unwrap())
    }

    fn pod(&self) -> Value {
        let mut metadata = json!({"name": "p", "namespace": self.text("namespace", "default")});
        let mut spec = json!({"containers": []});
        for (key, value) in self.members["pod"].as_object().unwrap() {
            if key == "spec" {
                spec = value.clone();
            } else {
                metadata[key] = value.clone();
            }
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }

    async fn check(&self, webhook: &Webhook) -> Result<(), String> {
        webhook.load(self);
        let mut pod = self.pod();
        if let Some(again) = self.members.get("again") {
            let first = self.answer(webhook, &pod).await?;
            pod = first.pod.ok_or("the first call refused the pod")?;
            for (path, value) in again.as_object().unwrap() {
                *pod.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = value.clone();
            }
        }
        let answer = self.answer(webhook, &pod).await?;
        if let Some(code) = self.members.get("refused") {
            let Some(refusal) = &answer.refusal else {
                return Err(format!("let through as {}", answer.decision));
            };
            if *code != answer.decision {
                return Err(format!("refused as {}, not {code}: {refusal}", answer.decision));
            }
            let says = self.members.get("says").and_then(Value::as_array);
            for part in
                says.expect("a refusal says something").iter().map(|part| part.as_str().unwrap())
            {
                if !refusal.contains(part) {
                    return Err(format!("the refusal does not say {part}: {refusal}"));
                }
            }
            return self.is_refused_offline(&pod, refusal);
        }
        if let Some(refusal) = answer.refusal {
            return Err(format!("refused as {}: {refusal}", answer.decision));
        }
        let decision = self.text("decision", "");
        if decision != answer.decision {
            return Err(format!("decided {}, not {decision}", answer.decision));
        }
        let expected = self.members.get("warnings").cloned().unwrap_or(json!([]));
        if json!(
            answer.warnings.iter().map(|warning| warning.split(':').next()).collect::<Vec<_>>()
        ) != expected
        {
            return Err(format!("warned {:?}, not {expected}", answer.warnings));
        }
        let after = answer.pod.unwrap_or_else(|| pod.clone());
        let offline = self.inject(&pod)?;
        if offline != after && !self.members.contains_key("offline-differs") {
            return Err(format!("the command line says {offline}\n    the webhook {after}"));
        }
        for (path, expected) in
            self.members.get("expect").and_then(Value::as_object).into_iter().flatten()
        {
            let found = resolve(&after, path);
            if !fits(found, expected) {
                let found = found.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                return Err(format!("{path}: {found}, not {expected}"));
            }
        }
        Ok(())
    }

    /// What the webhook answers, after the command line's `review` has answered the same.
    async fn answer(&self, webhook: &Webhook, pod: &Value) -> Result<Answer, String> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "a-b-c", "operation": "CREATE", "name": "p",
                "namespace": self.text("namespace", "default"),
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "object": pod, "dryRun": false,
            }
        });
        let mut client =
            Client::connect(webhook.address, &webhook.ca, Protocol::Http1).await.unwrap();
        let answered = client.post("/mutate", review.to_string()).await.unwrap();
        if answered.status != 200 {
            return Err(format!("HTTP {}: {:?}", answered.status, answered.body));
        }
        let online: Value = serde_json::from_slice(&answered.body).unwrap();
        let output = self.cli(&["review", "-", "-o", "json"], &review.to_string());
        let offline: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("review printed no JSON: {error}: {}", said(&output)))?;
        if offline != online {
            return Err(format!("review says {offline}\n    the webhook {online}"));
        }
        let response = &online["response"];
        let allowed = response["allowed"] == true;
        if output.status.code() != Some(i32::from(!allowed)) {
            return Err(format!("review exits with {:?}", output.status.code()));
        }
        let warnings = response.get("warnings").cloned().unwrap_or(json!([]));
        let code = &response["auditAnnotations"]["decision"];
        let message = response["status"]["message"].as_str().unwrap_or_default();
        let message = message.strip_prefix(&format!("{}: ", code.as_str().unwrap_or_default()));
        Ok(Answer {
            decision: code.as_str().unwrap_or_default().to_owned(),
            warnings: serde_json::from_value(warnings).unwrap(),
            refusal: (!allowed).then(|| message.unwrap_or_default().to_owned()),
            pod: allowed.then(|| patched(pod, response)),
        })
    }

    /// The pod that `inject` prints.
    fn inject(&self, pod: &Value) -> Result<Value, String> {
        let output = self.cli(&["inject", "-"], &yaml::to_string(pod));
        if !output.status.success() {
            return Err(format!("inject exits with {:?}: {}", output.status.code(), said(&output)));
        }
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let mut documents = yaml::documents(&text);
        assert_eq!(documents.len(), 1, "{text}");
        Ok(documents.remove(0).value.unwrap())
    }

    fn is_refused_offline(&self, pod: &Value, refusal: &str) -> Result<(), String> {
        let output = self.cli(&["inject", "-"], &yaml::to_string(pod));
        let said = said(&output);
        if output.status.code() != Some(1) {
            return Err(format!("inject exits with {:?}: {said}", output.status.code()));
        }
        if said.contains(refusal) {
            Ok(())
        } else {
            Err(format!("inject says {said}, not {refusal}"))
        }
    }

    fn cli(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_llmisvc-webhook"))
            .args(arguments)
            .args(["--presets", self.text("presets", "v0.17"), "--objects"])
            .arg(self.folder.path())
            .arg("--settings")
            .arg(self.folder.path().join("settings"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

struct Answer {
    decision: String,
    warnings: Vec<String>,
    refusal: Option<String>,
    pod: Option<Value>,
}

fn patched(pod: &Value, response: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(patch) = response.get("patch") {
        let bytes = base64::prelude::BASE64_STANDARD.decode(patch.as_str().unwrap()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&bytes).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    pod
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `a.b[name].c`: an item of a list by index, name, mount path or port; a member of a map by key.
fn resolve<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = value;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('[') {
            let (key, tail) = tail.split_once(']').unwrap();
            value = match value {
                Value::Array(items) => {
                    let is_it = |item: &&Value| {
                        item.get("name").is_some_and(|name| name == key)
                            || item.get("mountPath").is_some_and(|path| path == key)
                            || item
                                .get("containerPort")
                                .and_then(Value::as_u64)
                                .is_some_and(|port| key.parse() == Ok(port))
                    };
                    // A port is a number, too.
                    let by_identity = items.iter().find(is_it);
                    by_identity.or_else(|| items.get(key.parse::<usize>().ok()?))?
                }
                other => other.get(key)?,
            };
            rest = tail.strip_prefix('.').unwrap_or(tail);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            value = value.get(&rest[..end])?;
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
    }
    Some(value)
}

fn fits(found: Option<&Value>, expected: &Value) -> bool {
    if expected.is_null() {
        return found.is_none();
    }
    let Some(found) = found else { return false };
    match expected.get("contains") {
        // These words, next to each other or not, in this order.
        Some(Value::Array(words)) => {
            let mut items = found.as_array().unwrap().iter();
            words.iter().all(|word| items.any(|item| item == word))
        }
        _ => found == expected,
    }
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// The webhook over TLS, with a catalog that each case replaces.
struct Webhook {
    address: SocketAddr,
    ca: String,
    catalog: Arc<Replaceable>,
    _stop: oneshot::Sender<Stop>,
}

#[derive(Default)]
struct Replaceable(Mutex<Arc<Snapshot>>);

impl Catalog for Replaceable {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

impl Webhook {
    async fn start() -> Self {
        let authority = Authority::generate(1).unwrap();
        let issued = authority.issue(&service_names("web", "ns", &[]), 1).unwrap();
        let certificates =
            Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
        let options = Options { bind: loopback, metrics_bind: loopback, limits: Limits::default() };
        let catalog = Arc::new(Replaceable::default());
        let decisions = Arc::new(Decisions::new(Arc::clone(&catalog) as Arc<dyn Catalog>));
        let server = Server::bind(options, decisions, &certificates, Vec::new()).await.unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server.serve(async { stopped.await.unwrap_or(Stop::Now) }));
        Self { address, ca: authority.pem(), catalog, _stop: stop }
    }

    fn load(&self, case: &Case) {
        let presets = match case.text("presets", "v0.17") {
            "v0.17" => ReleaseSet::V0_17,
            "v0.20" => ReleaseSet::V0_20,
            _ => ReleaseSet::None,
        };
        let settings = case.members.get("settings").cloned().unwrap_or(json!({}));
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let loaded = load(&[case.folder.path().to_owned()], Settings { presets, ..settings });
        assert!(loaded.problems.is_empty(), "{}: {:?}", case.name, loaded.problems);
        *self.catalog.0.lock().unwrap() = Arc::new(loaded.snapshot);
    }
}
