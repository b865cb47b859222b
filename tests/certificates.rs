//! Certificates in a real cluster: a real API server holds the Secret and the registrations, kubectl
//! is what people use, and the webhook has a ServiceAccount with nothing but its rights.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmisvc_webhook::cluster::certificates::{Manager, Options, Registrations};
use llmisvc_webhook::cluster::{self, Condition};
use llmisvc_webhook::tls::{Anchors, Authority, Certificates, verify};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, block_in_place};
use tokio_rustls::TlsAcceptor;

/// What has to happen happens much sooner; a machine would have to stand still for this long.
const PATIENCE: Duration = Duration::from_mins(2);

const SERVER: &str = "llmisvc-webhook.llmisvc-system.svc";
const EMPTY: &str = r#"[{"op":"remove","path":"/data"}]"#;

/// What the manifests have, as far as certificates are concerned.
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: llmisvc-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: llmisvc-webhook, namespace: llmisvc-system}
---
apiVersion: v1
kind: Secret
metadata: {name: llmisvc-webhook-ca, namespace: llmisvc-system}
type: Opaque
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: llmisvc-webhook, namespace: llmisvc-system}
rules:
  - apiGroups: ['']
    resources: [secrets]
    resourceNames: [llmisvc-webhook-ca]
    verbs: [get, list, watch, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: llmisvc-webhook, namespace: llmisvc-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: llmisvc-webhook}
subjects: [{kind: ServiceAccount, name: llmisvc-webhook, namespace: llmisvc-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: llmisvc-webhook}
rules:
  - apiGroups: [admissionregistration.k8s.io]
    resources: [mutatingwebhookconfigurations]
    resourceNames: [mutate.inject.llmisvc.io]
    verbs: [get, list, watch, patch]
  - apiGroups: [admissionregistration.k8s.io]
    resources: [validatingwebhookconfigurations]
    resourceNames: [validate.inject.llmisvc.io]
    verbs: [get, list, watch, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: llmisvc-webhook}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: llmisvc-webhook}
subjects: [{kind: ServiceAccount, name: llmisvc-webhook, namespace: llmisvc-system}]
";

fn registrations(mutating: &[&str]) -> String {
    let webhook = |name: &str| {
        format!(
            "
  - name: {name}
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Ignore
    objectSelector: {{matchLabels: {{nobody: has-it}}}}
    clientConfig: {{service: {{name: llmisvc-webhook, namespace: llmisvc-system, path: /mutate}}}}
    rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: '*'}}]"
        )
    };
    let head = "apiVersion: admissionregistration.k8s.io/v1\nkind:";
    format!(
        "{head} MutatingWebhookConfiguration\nmetadata: {{name: mutate.inject.llmisvc.io}}\n\
         webhooks:{}\n---\n\
         {head} ValidatingWebhookConfiguration\nmetadata: {{name: validate.inject.llmisvc.io}}\n\
         webhooks:{}\n",
        mutating.iter().map(|name| webhook(name)).collect::<String>(),
        webhook("services.inject.llmisvc.io"),
    )
}

const BOTH: [&str; 2] = ["pods.inject.llmisvc.io", "kserve-pods.inject.llmisvc.io"];

/// A control plane that ends with its standard input.
struct Cluster {
    run: Child,
    dir: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.run.stdin.take());
        let _ = self.run.wait();
    }
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/run.sh");
        let mut run = Command::new("bash")
            .arg(script)
            .arg(dir.path().join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(run.stdout.take().unwrap());
        block_in_place(|| output.read_line(&mut line)).unwrap();
        assert!(line.starts_with("ready "), "run.sh says why on standard error: {line:?}");
        let cluster = Self { run, dir };
        cluster.apply(OBJECTS, &[]);
        cluster
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("state/kubeconfig")
    }

    /// kubectl, as it is; what it prints, or what it complains of.
    fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let output = block_in_place(|| {
            let mut kubectl = Command::new(self.dir.path().join("state/kubectl"))
                .arg("--kubeconfig")
                .arg(self.kubeconfig())
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            kubectl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            kubectl.wait_with_output().unwrap()
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments, "").unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    fn apply(&self, text: &str, more: &[&str]) -> String {
        let arguments = [&["apply", "-f", "-"], more].concat();
        self.try_kubectl(&arguments, text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A kubeconfig of the webhook's ServiceAccount.
    fn account(&self) -> PathBuf {
        let token = self.kubectl(&["create", "token", "llmisvc-webhook", "-n", "llmisvc-system"]);
        let admin = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let user = admin.lines().find(|line| line.contains("token:")).unwrap();
        let path = self.dir.path().join("account");
        let user = admin.replace(user, &format!("    user: {{ token: {} }}", token.trim()));
        std::fs::write(&path, user).unwrap();
        path
    }

    /// The caBundle of every webhook.
    fn bundles(&self) -> Vec<Vec<u8>> {
        let path =
            "-o=jsonpath={range .items[*].webhooks[*]}{.clientConfig.caBundle}{\"\\n\"}{end}";
        let kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
        let text = self.kubectl(&["get", kinds, path]);
        text.lines().map(|line| STANDARD.decode(line).unwrap()).collect()
    }

    /// How many CAs the registrations trust, when all of them trust the same.
    fn trusted(&self) -> Option<usize> {
        let bundles = self.bundles();
        let first = bundles.first()?;
        bundles.iter().all(|b| b == first).then(|| Anchors::read(first).trusted.len())
    }
}

/// A replica: a listener with what its manager serves.
struct Replica {
    address: SocketAddr,
    condition: Condition,
    tasks: [JoinHandle<()>; 2],
}

impl Replica {
    async fn start(kubeconfig: &Path, options: Options) -> Self {
        let client = cluster::connect(Some(kubeconfig)).await.unwrap();
        let manager = Manager::new(client, Registrations::default(), options).unwrap();
        let certificates = manager.certificates();
        Self::run(manager, &certificates).await
    }

    async fn run(manager: Manager, certificates: &Certificates) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
            }
        });
        let condition = manager.condition();
        let task = manager.run(address);
        Self { address, condition, tasks: [served, task] }
    }

    fn state(&self) -> Result<(), String> {
        self.condition.borrow().clone()
    }

    async fn ready(&mut self) {
        let ready = tokio::time::timeout(PATIENCE, self.condition.wait_for(Result::is_ok)).await;
        let ready = ready.map(|state| state.map(drop));
        assert!(matches!(ready, Ok(Ok(()))), "not ready: {:?}", self.state());
    }

    /// Waits until it says so.
    async fn says(&mut self, part: &str) {
        let says = |state: &Result<(), String>| matches!(state, Err(why) if why.contains(part));
        let told = tokio::time::timeout(PATIENCE, self.condition.wait_for(says)).await;
        let told = told.map(|state| state.map(drop));
        assert!(matches!(told, Ok(Ok(()))), "not {part:?} but {:?}", self.state());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Short, but for what a slow machine must not meet.
fn options() -> Options {
    Options { settle: Duration::from_millis(500), ..Options::default() }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(seen) = holds().await {
        assert!(Instant::now() < deadline, "{what}: seen last: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn wanted<T: PartialEq + std::fmt::Debug>(seen: &T, wanted: &T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
}

/// One story on one cluster: starting one costs more than all that is tried on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_kept_in_certificates() {
    let cluster = Cluster::start();
    let account = cluster.account();

    // Two race for an empty Secret before anything is registered.
    let mut one = Replica::start(&account, options()).await;
    let mut two = Replica::start(&account, options()).await;
    one.says("waiting for MutatingWebhookConfiguration mutate.inject.llmisvc.io").await;
    two.says("waiting for MutatingWebhookConfiguration mutate.inject.llmisvc.io").await;
    cluster.apply(&registrations(&BOTH), &[]);
    one.ready().await;
    two.ready().await;
    assert_eq!(cluster.trusted(), Some(1));

    the_bundle_is_repaired(&cluster, &one).await;
    applying_again_is_no_conflict(&cluster).await;
    rotation_by_hand_overlaps(&cluster, &one, &two).await;
    a_broken_secret_is_filled(&cluster, &one).await;
    the_secret_is_missed(&cluster, &mut one).await;
    nothing_more_is_allowed(&cluster, &account);
    drop(two);

    // Somebody else's certificate: only looked at.
    let authority = Authority::generate(1).unwrap();
    let issued = authority.issue(&[SERVER.to_owned()], 1).unwrap();
    let certificates =
        Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
    let client = cluster::connect(Some(&account)).await.unwrap();
    let manager = Manager::observe(client, Registrations::default());
    let mut observer = Replica::run(manager, &certificates).await;
    observer.says("none of the CAs in it signed").await;
    drop(one);
    write_bundle(&cluster, &authority.pem());
    observer.ready().await;
    cluster.kubectl(&["delete", "validatingwebhookconfiguration", "validate.inject.llmisvc.io"]);
    observer.says("waiting for ValidatingWebhookConfiguration").await;
}

/// As somebody would who wants another CA there.
fn write_bundle(cluster: &Cluster, pem: &str) {
    let bundle = STANDARD.encode(pem);
    let change = |index: usize| {
        format!(
            r#"{{"op":"replace","path":"/webhooks/{index}/clientConfig/caBundle","value":"{bundle}"}}"#
        )
    };
    for (kind, name, changes) in [
        ("mutating", "mutate", format!("[{},{}]", change(0), change(1))),
        ("validating", "validate", format!("[{}]", change(0))),
    ] {
        let kind = format!("{kind}webhookconfiguration");
        let name = format!("{name}.inject.llmisvc.io");
        cluster.kubectl(&["patch", &kind, &name, "--type=json", "-p", &changes]);
    }
}

async fn the_bundle_is_repaired(cluster: &Cluster, one: &Replica) {
    let before = cluster.bundles();
    write_bundle(cluster, &Authority::generate(1).unwrap().pem());
    eventually("the bundle is repaired", async || wanted(&cluster.bundles(), &before)).await;
    verify(one.address, SERVER, &before[0]).await.unwrap();
}

/// A manifest without caBundle leaves it alone, and may lose a webhook.
async fn applying_again_is_no_conflict(cluster: &Cluster) {
    let before = cluster.bundles();
    cluster.apply(&registrations(&BOTH), &[]);
    assert_eq!(cluster.bundles(), before);
    cluster.apply(&registrations(&BOTH), &["--server-side"]);
    assert_eq!(cluster.bundles(), before);

    let path = "-o=jsonpath={.metadata.managedFields}";
    let get = ["get", "validatingwebhookconfiguration", "validate.inject.llmisvc.io", path];
    let fields: serde_json::Value =
        serde_json::from_str(&cluster.kubectl(&[&get[..], &["--show-managed-fields"]].concat()))
            .unwrap();
    let ours: Vec<_> =
        fields.as_array().unwrap().iter().filter(|f| f["manager"] == "llmisvc-webhook").collect();
    assert_eq!(ours.len(), 1, "{fields}");
    assert_eq!(
        ours[0]["fieldsV1"],
        serde_json::json!({"f:webhooks": {r#"k:{"name":"services.inject.llmisvc.io"}"#:
            {"f:clientConfig": {"f:caBundle": {}}}}})
    );

    // From nothing: kubectl has marked what it applied the first way.
    let delete = ["delete", "mutatingwebhookconfiguration", "mutate.inject.llmisvc.io"];
    cluster.kubectl(&delete);
    cluster.apply(&registrations(&BOTH), &["--server-side"]);
    eventually("a new registration is filled", async || wanted(&cluster.bundles(), &before)).await;
    cluster.apply(&registrations(&BOTH[..1]), &["--server-side"]);
    eventually("a webhook is gone", async || wanted(&cluster.bundles().len(), &2)).await;
    cluster.apply(&registrations(&BOTH), &["--server-side"]);
    eventually("it is back", async || wanted(&cluster.bundles(), &before)).await;
}

async fn rotation_by_hand_overlaps(cluster: &Cluster, one: &Replica, two: &Replica) {
    let old = cluster.bundles().remove(0);
    let secret = ["-n", "llmisvc-system", "secret", "llmisvc-webhook-ca"];
    cluster.kubectl(&[&["patch"], &secret[..], &["--type=json", "-p", EMPTY]].concat());
    eventually("the old CA is trusted beside the new one", async || {
        wanted(&cluster.trusted(), &Some(2))
    })
    .await;
    let both = cluster.bundles().remove(0);
    let anchors = Anchors::read(&both).trusted;
    assert_eq!(anchors.last(), Anchors::read(&old).trusted.first());
    // Until it switches a replica verifies with the old bundle, and always with the new one.
    let new = llmisvc_webhook::tls::encode(anchors.first());
    for replica in [one, two] {
        eventually("the leaf is of the new CA", async || {
            verify(replica.address, SERVER, &both).await.expect("it verifies all the time");
            assert_eq!(replica.state(), Ok(()));
            verify(replica.address, SERVER, new.as_bytes()).await.map_err(|e| e.to_string())
        })
        .await;
    }
}

async fn a_broken_secret_is_filled(cluster: &Cluster, one: &Replica) {
    let before = cluster.bundles().remove(0);
    let broken = r#"{"stringData":{"tls.key":"broken"}}"#;
    let patch = ["patch", "-n", "llmisvc-system", "secret", "llmisvc-webhook-ca", "-p", broken];
    cluster.kubectl(&patch);
    eventually("a new CA beside those of before", async || {
        wanted(&cluster.trusted(), &Some(Anchors::read(&before).trusted.len() + 1))
    })
    .await;
    assert_eq!(one.state(), Ok(()));
}

/// Without its Secret it goes on serving, and takes a new empty one.
async fn the_secret_is_missed(cluster: &Cluster, one: &mut Replica) {
    let before = cluster.bundles().remove(0);
    cluster.kubectl(&["delete", "-n", "llmisvc-system", "secret", "llmisvc-webhook-ca"]);
    verify(one.address, SERVER, &before).await.unwrap();
    assert_eq!(one.state(), Ok(()));
    cluster.apply(OBJECTS, &[]);
    eventually("the new Secret is used and the CAs of before are trusted", async || {
        wanted(&cluster.trusted(), &Some(Anchors::read(&before).trusted.len() + 1))
    })
    .await;
    one.ready().await;
}

fn nothing_more_is_allowed(cluster: &Cluster, account: &Path) {
    let account = account.to_str().unwrap();
    let can = |arguments: &[&str]| {
        let all = [&["auth", "can-i", "--kubeconfig", account], arguments].concat();
        cluster.try_kubectl(&all, "").is_ok()
    };
    assert!(can(&["update", "secret/llmisvc-webhook-ca", "-n", "llmisvc-system"]));
    for refused in [
        &["create", "secrets", "-n", "llmisvc-system"][..],
        &["get", "secret/another", "-n", "llmisvc-system"],
        &["list", "secrets", "-n", "llmisvc-system"],
        &["delete", "secret/llmisvc-webhook-ca", "-n", "llmisvc-system"],
        &["create", "mutatingwebhookconfigurations"],
        &["delete", "mutatingwebhookconfiguration/mutate.inject.llmisvc.io"],
        &["patch", "mutatingwebhookconfiguration/another"],
        &["list", "pods", "-A"],
    ] {
        assert!(!can(refused), "{refused:?}");
    }
}

/// Lives of seconds: certificates of the whole chain end, and the replica stays ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_lives_are_renewed_in_time() {
    let cluster = Cluster::start();
    let account = cluster.account();
    cluster.apply(&registrations(&BOTH), &[]);
    let options = Options {
        ca_validity: Duration::from_mins(1),
        leaf_validity: Duration::from_secs(30),
        overlap: Duration::from_secs(6),
        settle: Duration::from_secs(1),
        ..Options::default()
    };
    let mut one = Replica::start(&account, options).await;
    one.ready().await;
    let first = cluster.bundles().remove(0);
    let ca = Anchors::read(&first).trusted.remove(0);
    eventually("the first CA is dropped", async || {
        assert_eq!(one.state(), Ok(()));
        let trusted = Anchors::read(&cluster.bundles().remove(0)).trusted;
        if trusted.contains(&ca) { Err(format!("{trusted:?}")) } else { Ok(()) }
    })
    .await;
    one.ready().await;
    assert!(verify(one.address, SERVER, &first).await.is_err());
}
