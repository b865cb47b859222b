//! A real cluster without nodes, `tests/cluster/run.sh`, and what a test does with it.
#![allow(dead_code, reason = "a test program uses a part of it")]

#[path = "cluster/forwarder.rs"]
mod forwarder;
#[path = "cluster/installation.rs"]
mod installation;
#[path = "cluster/replica.rs"]
mod replica;

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) use forwarder::Forwarder;
pub(crate) use replica::Replica;

/// What has to happen on a cluster happens much sooner; a machine would have to stand still for this
/// long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// How long a start may take: run.sh itself gives up earlier, and says why.
const START: Duration = Duration::from_mins(15);

/// How often a poll asks.
const POLL: Duration = Duration::from_millis(100);

/// What runs on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// Kubernetes' own controllers.
    Kubernetes,
    /// And `LeaderWorkerSet`'s.
    LeaderWorkerSet,
    /// And KServe's, with its kinds and its configs.
    KServe,
}

/// A running cluster. It stops when this is dropped, and when this process ends in any way: run.sh
/// runs until its standard input closes.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    run: Child,
    errors: Option<JoinHandle<String>>,
    made: AtomicUsize,
}

/// What kubectl said.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ran {
    pub(crate) command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The cluster of this test program, held: no other test uses it meanwhile.
pub(crate) struct Shared(MutexGuard<'static, State>);

enum State {
    New,
    Failed,
    Running(Cluster, With),
}

/// The cluster that the tests of this program share, started by the first that asks.
///
/// # Panics
/// When it does not start, and when another test started it with something else.
pub(crate) fn shared(with: With) -> Shared {
    static STATE: Mutex<State> = Mutex::new(State::New);
    // A test that failed while it held the cluster leaves it running.
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(*state, State::New) {
        // Should it not start, one test says so at length.
        *state = State::Failed;
        *state = State::Running(Cluster::start(with), with);
    }
    match &*state {
        State::Running(_, started) => assert_eq!(*started, with, "one cluster a test program"),
        State::New | State::Failed => panic!("the cluster did not start: another test says why"),
    }
    Shared(state)
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        match &*self.0 {
            State::Running(cluster, _) => cluster,
            State::New | State::Failed => panic!("held only while it runs"),
        }
    }
}

impl Cluster {
    /// Starts a cluster of its own, empty but for what `with` names.
    ///
    /// # Panics
    /// When it does not start, with what run.sh said.
    pub(crate) fn start(with: With) -> Self {
        // run.sh removes the folder, even when this process is killed.
        let folder = tempfile::Builder::new().prefix("cluster-").tempdir().unwrap().keep();
        let mut command = Command::new("bash");
        command.arg(in_crate("tests/cluster/run.sh"));
        match with {
            With::Kubernetes => &mut command,
            With::LeaderWorkerSet => command.args(["--with", "lws"]),
            With::KServe => command.args(["--with", "kserve"]),
        };
        command.arg("--remove").arg(&folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = command.spawn().expect("bash runs tests/cluster/run.sh");
        let errors = collected(run.stderr.take().unwrap());
        let stdout = run.stdout.take().unwrap();
        let mut cluster = Self { folder, run, errors: Some(errors), made: AtomicUsize::new(0) };
        let (sender, first) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let told = first.recv_timeout(START);
        if !told.as_ref().is_ok_and(|line| line.starts_with("ready ")) {
            let what = match told {
                Err(RecvTimeoutError::Timeout) => format!("is not ready after {START:?}"),
                _ => "did not start".to_owned(),
            };
            panic!("the cluster {what}:\n{}", cluster.stop());
        }
        cluster
    }

    /// Stops it, waits for that, and returns what it said on standard error.
    fn stop(&mut self) -> String {
        drop(self.run.stdin.take());
        let _ = self.run.wait();
        self.errors.take().map_or_else(String::new, |errors| errors.join().unwrap())
    }

    /// The folder of its state; what a test writes there goes with it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Kills the script that runs it, as whoever ends a test program for good would.
    pub(crate) fn kill(mut self) {
        self.run.kill().unwrap();
    }

    /// Runs the real kubectl as administrator.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Ran {
        self.kubectl_with(args, "")
    }

    /// The same with a standard input, for `-f -`.
    pub(crate) fn kubectl_with(&self, args: &[&str], stdin: &str) -> Ran {
        self.kubectl_as(&self.kubeconfig(), args, stdin)
    }

    /// The same as whom a kubeconfig says.
    pub(crate) fn kubectl_as(&self, kubeconfig: &Path, args: &[&str], stdin: &str) -> Ran {
        let mut child = Command::new(self.folder.join("kubectl"))
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            // Its cache.
            .env("HOME", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            scope.spawn(move || {
                // A program that ends without reading closes the pipe.
                let _ = input.write_all(stdin.as_bytes());
            });
            child.wait_with_output().unwrap()
        });
        Ran {
            command: format!("kubectl {}", args.join(" ")),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Applies YAML or JSON.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub(crate) fn apply(&self, namespace: &str, manifests: &str) {
        let _ = self.kubectl_with(&["apply", "-n", namespace, "-f", "-"], manifests).ok();
    }

    /// `kubectl get` with `-o json`.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        let args = [&["get", "-o", "json"], args].concat();
        serde_json::from_str(&self.kubectl(&args).ok()).unwrap()
    }

    /// The pods of a namespace that a label selector (or an empty text) selects.
    ///
    /// # Panics
    /// When kubectl fails.
    #[track_caller]
    pub(crate) fn pods(&self, namespace: &str, selector: &str) -> Vec<Value> {
        let mut list = self.get(&["pods", "-n", namespace, "-l", selector]);
        list["items"].as_array_mut().map(std::mem::take).unwrap()
    }

    /// A namespace that no other test has, ready for pods.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub(crate) fn namespace(&self, name: &str) -> String {
        let namespace = format!("{name}-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let _ = self.kubectl(&["create", "namespace", &namespace]).ok();
        // Pods are refused until a controller has made it.
        self.eventually_exists(&["serviceaccount/default", "-n", &namespace]);
        namespace
    }

    /// Waits until `kubectl get` finds something.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub(crate) fn eventually_exists(&self, what: &[&str]) {
        eventually(PATIENCE, &what.join(" "), || {
            let ran = self.kubectl(&[&["get"], what].concat());
            if ran.status.success() { Ok(()) } else { Err(ran.stderr) }
        });
    }

    /// A kubeconfig with a token of a `ServiceAccount`, in the cluster's folder.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub(crate) fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        let token =
            self.kubectl(&["create", "token", "--duration=24h", "-n", namespace, name]).ok();
        let view = self.kubectl(&["config", "view", "--raw", "-o", "json"]).ok();
        let mut config: Value = serde_json::from_str(&view).unwrap();
        config["users"][0]["user"] = json!({"token": token.trim()});
        let path = self.folder.join(format!("{namespace}.{name}.kubeconfig"));
        // JSON is YAML.
        fs::write(&path, config.to_string()).unwrap();
        path
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ran {
    /// What it said on standard output.
    ///
    /// # Panics
    /// When it failed, with all that it said.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// What it said on standard error.
    ///
    /// # Panics
    /// When it did not fail.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        assert!(!self.status.success(), "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "{command}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Asks until the answer is `Ok`.
///
/// # Panics
/// When the deadline passes, with the last `Err`: what was seen instead.
#[track_caller]
pub(crate) fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) => {
                assert!(start.elapsed() < deadline, "no {what} in {deadline:?}; last seen: {seen}");
            }
        }
        sleep(POLL);
    }
}

/// A path in this repository.
fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Reads to the end in the background: a full pipe would hold the writer up.
fn collected(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Lines that a thread adds to and a test reads.
type Lines = Arc<Mutex<Vec<String>>>;
