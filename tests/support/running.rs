//! A server in this process, to be tried.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use llmisvc_webhook::catalog::{Catalog, Snapshot};
use llmisvc_webhook::review::{Answer, Malformed};
use llmisvc_webhook::server::{Decisions, Limits, Named, Options, Reviewer, Server, Stop};
use llmisvc_webhook::tls::{Authority, Certificates, service_names};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{sleep, timeout};

use super::client::{Client, Protocol};

pub(crate) const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// What has to happen happens much sooner; a machine would have to stand still for this long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A limit that a test does not want to meet.
pub(crate) const NEVER: Duration = Duration::from_hours(1);

/// A limit that a test wants to meet, and that a good request on a busy machine does not.
pub(crate) const SHORT: Duration = Duration::from_secs(2);

struct Empty(Arc<Snapshot>);

impl Catalog for Empty {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }
}

/// Closed, it keeps the reviews whose body is `wait` from being answered.
#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    /// Hands the runtime's thread back first: it may be the one that was waiting for sockets and
    /// timers, and nothing else would be woken while it stands here.
    fn pass(&self) {
        block_in_place(|| {
            let open = self.open.lock().unwrap();
            let _open = self.opened.wait_while(open, |open| !*open).unwrap();
        });
    }
}

/// The real decisions, and two bodies that stand for a slow one and for a defect.
struct Tried {
    decisions: Decisions,
    gate: Arc<Gate>,
}

impl Reviewer for Tried {
    fn mutate(&self, body: &[u8]) -> Result<Answer, Malformed> {
        match body {
            b"wait" => {
                self.gate.pass();
                self.decisions.mutate(&good_review())
            }
            b"panic" => panic!("as asked"),
            _ => self.decisions.mutate(body),
        }
    }

    fn validate(&self, body: &[u8]) -> Result<Answer, Malformed> {
        self.decisions.validate(body)
    }
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) ca: String,
    pub(crate) gate: Arc<Gate>,
    stop: Option<oneshot::Sender<Stop>>,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

pub(crate) async fn start() -> Running {
    start_with(|_| ()).await
}

/// Starts with limits that are not met, but for those that the test sets.
pub(crate) async fn start_with(set: impl FnOnce(&mut Limits)) -> Running {
    let (certificates, ca) = issued();
    start_on(&certificates, ca, set).await
}

pub(crate) async fn start_on(
    certificates: &Certificates,
    ca: String,
    set: impl FnOnce(&mut Limits),
) -> Running {
    let gate = Arc::new(Gate::default());
    let decisions = Decisions::new(Arc::new(Empty(Arc::default())));
    let reviewer = Arc::new(Tried { decisions, gate: Arc::clone(&gate) });
    start_as(reviewer, Vec::new(), gate, (certificates, ca), set).await
}

/// Starts over a catalog that changes, with conditions of readiness.
pub(crate) async fn start_over(
    decisions: Decisions,
    conditions: Vec<Named>,
    set: impl FnOnce(&mut Limits),
) -> Running {
    let (certificates, ca) = issued();
    let reviewer = Arc::new(decisions);
    start_as(reviewer, conditions, Arc::default(), (&certificates, ca), set).await
}

async fn start_as(
    reviewer: Arc<dyn Reviewer>,
    conditions: Vec<Named>,
    gate: Arc<Gate>,
    (certificates, ca): (&Certificates, String),
    set: impl FnOnce(&mut Limits),
) -> Running {
    let mut limits = Limits {
        connection_wait: NEVER,
        handshake: NEVER,
        head: NEVER,
        body: NEVER,
        idle: NEVER,
        deadline: NEVER,
        drain_delay: Duration::ZERO,
        drain: PATIENCE,
        ..Limits::default()
    };
    set(&mut limits);
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    let options = Options { bind: loopback, metrics_bind: loopback, limits };
    let server = Server::bind(options, reviewer, certificates, conditions).await.unwrap();
    let (stop, stopped) = oneshot::channel();
    Running {
        address: server.address().unwrap(),
        metrics: server.metrics_address().unwrap(),
        ca,
        gate,
        stop: Some(stop),
        task: tokio::spawn(server.serve(async { stopped.await.unwrap_or(Stop::Now) })),
    }
}

fn issued() -> (Certificates, String) {
    let authority = Authority::generate(1).unwrap();
    let issued = authority.issue(&service_names("web", "ns", &[]), 1).unwrap();
    let certificates =
        Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
    (certificates, authority.pem())
}

impl Running {
    pub(crate) async fn connect(&self, protocol: Protocol) -> Client {
        Client::connect(self.address, &self.ca, protocol).await.unwrap()
    }

    /// A review on a connection of its own is answered as ever.
    pub(crate) async fn serves(&self) {
        for protocol in BOTH {
            answers(&mut self.connect(protocol).await).await;
        }
    }

    pub(crate) async fn scrape(&self) -> String {
        let answered = Client::plain(self.metrics).await.unwrap().get("/metrics").await.unwrap();
        assert_eq!(answered.status, StatusCode::OK);
        String::from_utf8(answered.body.to_vec()).unwrap()
    }

    /// A metric's value, by its whole name with labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = self.scrape().await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or("0").parse().unwrap()
    }

    pub(crate) async fn eventually(&self, name: &str, least: u64) {
        let reached = async {
            while self.metric(name).await < least {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect(name);
    }

    pub(crate) fn stop(&mut self, how: Stop) {
        self.stop.take().unwrap().send(how).unwrap();
    }

    pub(crate) async fn ends(self) {
        timeout(PATIENCE, self.task).await.expect("ends").unwrap().unwrap();
    }
}

pub(crate) fn good_review() -> Vec<u8> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-"},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "5f1c",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "namespace": "default",
            "object": pod,
        },
    });
    serde_json::to_vec(&review).unwrap()
}

/// A good review of exactly so many bytes.
pub(crate) fn review_of(bytes: usize) -> Vec<u8> {
    let mut review = good_review();
    review.resize(bytes, b' ');
    review
}

pub(crate) async fn answers(client: &mut Client) {
    let answered = client.post("/mutate?timeout=60s", good_review()).await.unwrap();
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(answered.headers["content-type"], "application/json");
    let value: Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!(value["response"]["uid"], "5f1c");
    assert_eq!(value["response"]["allowed"], true);
}

/// Reads until the server closes.
pub(crate) async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}
