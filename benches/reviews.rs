//! How many reviews a server answers, and how long each takes.
//!
//! `cargo bench --bench reviews` starts the release binary and, beside it, the same server stack
//! with a handler that answers a constant of the same size. The ratio of the two is what reading,
//! deciding and writing cost on top of TLS and HTTP. Everything is on loopback, with a fixed number
//! of requests; client and servers share the machine, so the rates are those of all of them
//! together.
#![expect(clippy::print_stdout, reason = "a bench prints what it found")]

#[path = "../tests/support/client.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod client;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use client::{Client, Protocol};
use llmisvc_webhook::catalog::{Settings, Snapshot, files};
use llmisvc_webhook::review::{Answer, Malformed, mutate};
use llmisvc_webhook::server::{Limits, Options, Reviewer, Server, Stop};
use llmisvc_webhook::tls::{Authority, Certificates, service_names};
use serde_json::Value;

/// Kept-alive connections, each with one request at a time.
const CONNECTIONS: usize = 8;
/// Requests to each server that count, after the warm-up, in all rounds together.
const REQUESTS: usize = 20_000;
/// Requests to each server that do not.
const WARM_UP: usize = 2_000;
/// The servers are measured in turn, so that a machine that slows down slows both.
const ROUNDS: usize = 4;
/// Whatever happens, it ends.
const PATIENCE: Duration = Duration::from_mins(5);

/// Tells the copy of this program that is the constant server where the review is.
const CONSTANT: &str = "LLMISVC_BENCH_CONSTANT";

const REVIEW: &str = "examples/reviews/deployment-decode.json";
const OBJECTS: &str = "examples/qwen2-7b-pd.yaml";

fn main() -> anyhow::Result<()> {
    if let Some(ca) = std::env::var_os(CONSTANT) {
        return serve_constant(Path::new(&ca));
    }
    // Without `--bench` it is run as a test: does it work at all?
    let scale = if std::env::args().any(|argument| argument == "--bench") { 1 } else { 100 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, bench(scale)).await.context("took too long")?
    })
}

async fn bench(scale: usize) -> anyhow::Result<()> {
    let body = Bytes::from(review()?);
    let answer = mutate(&body, &snapshot())?;
    ensure!(answer.code == "injected", "{REVIEW} is answered with {}", answer.code);

    let folder = tempfile::tempdir()?;
    let mut injected = Measured::start("review", served(folder.path())?);
    let mut constant = Measured::start("constant", served_constant(folder.path())?);
    for server in [&mut injected, &mut constant] {
        server.round(&body, &answer, WARM_UP / scale).await?;
        server.forget();
    }
    for _ in 0..ROUNDS {
        for server in [&mut injected, &mut constant] {
            server.round(&body, &answer, REQUESTS / ROUNDS / scale).await?;
        }
    }

    println!(
        "{REVIEW}: {} bytes in, {} bytes out, {} requests each, {CONNECTIONS} connections",
        body.len(),
        answer.body.len(),
        REQUESTS / scale,
    );
    println!("             per second      p50 ms      p99 ms     VmRSS MiB");
    for server in [&mut injected, &mut constant] {
        server.report()?;
    }
    println!("ratio      {:>12.2}", injected.rate() / constant.rate());
    println!("decision   {:>12.1} µs, without a server", alone(&body, 2_000 / scale)?);
    Ok(())
}

/// Mean microseconds of one decision in this process, over a catalog that has seen the service.
fn alone(body: &[u8], times: usize) -> anyhow::Result<f64> {
    let snapshot = snapshot();
    mutate(body, &snapshot)?;
    let started = Instant::now();
    for _ in 0..times {
        std::hint::black_box(mutate(std::hint::black_box(body), &snapshot)?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / as_f64(times))
}

/// One server and what was measured of it.
struct Measured {
    name: &'static str,
    server: Running,
    latencies: Vec<Duration>,
    took: Duration,
}

impl Measured {
    fn start(name: &'static str, server: Running) -> Self {
        Self { name, server, latencies: Vec::new(), took: Duration::ZERO }
    }

    /// Sends that many requests over all connections, and checks each answer.
    async fn round(
        &mut self,
        body: &Bytes,
        answer: &Answer,
        requests: usize,
    ) -> anyhow::Result<()> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let Running { address, ca, .. } = &self.server;
            clients.push(Client::connect(*address, ca, Protocol::Http1).await?);
        }
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for mut client in clients {
            let body = body.clone();
            let expected = answer.body.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(requests / CONNECTIONS);
                for _ in 0..requests / CONNECTIONS {
                    let sent = Instant::now();
                    let answered = client.post("/mutate?timeout=10s", body.clone()).await?;
                    latencies.push(sent.elapsed());
                    ensure!(answered.body == expected, "another answer than expected");
                }
                Ok(latencies)
            });
        }
        while let Some(latencies) = tasks.join_next().await {
            self.latencies.extend(latencies??);
        }
        self.took += started.elapsed();
        Ok(())
    }

    fn forget(&mut self) {
        self.latencies.clear();
        self.took = Duration::ZERO;
    }

    fn rate(&self) -> f64 {
        as_f64(self.latencies.len()) / self.took.as_secs_f64()
    }

    fn report(&mut self) -> anyhow::Result<()> {
        self.latencies.sort_unstable();
        let percentile = |percent: usize| {
            let at = self.latencies.len() * percent / 100;
            self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        let name = self.name;
        let (p50, p99) = (percentile(50), percentile(99));
        let memory = self.server.resident_mib()?;
        println!("{name:<11}{:>12.0}{p50:>12.3}{p99:>12.3}{memory:>14.1}", self.rate());
        Ok(())
    }
}

/// A server in a process of its own, which ends with this value.
struct Running {
    child: Child,
    address: SocketAddr,
    ca: String,
}

impl Running {
    fn start(command: &mut Command, ca: &Path) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = Self { child, address: loopback, ca: String::new() };
        let stderr = running.child.stderr.take().context("no standard error")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Its log is read to the end: a full pipe would hold the server up.
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        running.address = listening(&lines)?;
        running.ca = std::fs::read_to_string(ca)?;
        Ok(running)
    }

    fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB"));
        Ok(kibibytes.context("no VmRSS")?.trim().parse::<f64>()? / 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is ours, and it is alone: nothing is lost by it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that the server says it listens on.
fn listening(lines: &Receiver<String>) -> anyhow::Result<SocketAddr> {
    loop {
        let line =
            lines.recv_timeout(Duration::from_secs(30)).context("the server did not start")?;
        let told: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        if told.get("message").and_then(Value::as_str) == Some("listening") {
            let address = told.get("address").and_then(Value::as_str);
            return Ok(address.context("no address")?.parse()?);
        }
    }
}

/// The release binary.
fn served(folder: &Path) -> anyhow::Result<Running> {
    let ca = folder.join("served.crt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmisvc-webhook"));
    command
        .args(["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"])
        .args(["--log-format", "json", "--log-level", "info"])
        .arg("--objects")
        .arg(in_crate(OBJECTS))
        .arg("--write-ca")
        .arg(&ca);
    Running::start(&mut command, &ca)
}

/// This program again, as the constant server.
fn served_constant(folder: &Path) -> anyhow::Result<Running> {
    let ca = folder.join("constant.crt");
    let mut command = Command::new(std::env::current_exe()?);
    command.env(CONSTANT, &ca);
    Running::start(&mut command, &ca)
}

/// The same stack and the same log, and nothing read or decided.
fn serve_constant(ca: &Path) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let log = log
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_max_level(tracing::Level::INFO);
    log.init();
    let constant = Constant(mutate(&review()?, &snapshot())?);
    let authority = Authority::generate(1)?;
    let issued = authority.issue(&service_names("bench", "bench", &[]), 1)?;
    let certificates = Certificates::from_pem(issued.chain.as_bytes(), issued.key.as_bytes())?;
    std::fs::write(ca, authority.pem())?;
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    let options = Options { bind: loopback, metrics_bind: loopback, limits: Limits::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::bind(options, Arc::new(constant), &certificates, Vec::new()).await?;
        // Should its parent not come to end it.
        let stop = async {
            tokio::time::sleep(PATIENCE).await;
            Stop::Now
        };
        server.serve(stop).await
    })
}

struct Constant(Answer);

impl Reviewer for Constant {
    fn mutate(&self, _: &[u8]) -> Result<Answer, Malformed> {
        Ok(self.0.clone())
    }

    fn validate(&self, _: &[u8]) -> Result<Answer, Malformed> {
        Ok(self.0.clone())
    }
}

fn review() -> anyhow::Result<Vec<u8>> {
    std::fs::read(in_crate(REVIEW)).with_context(|| format!("failed to read {REVIEW}"))
}

fn snapshot() -> Snapshot {
    files::load(&[in_crate(OBJECTS)], Settings::default()).snapshot
}

fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}
