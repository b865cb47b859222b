//! The real binary, as a replica of the Deployment would run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Lines, PATIENCE, eventually};

/// Runs a program until it ends or standard input closes: a replica must not outlive this process,
/// and nobody drops what a static holds.
const LEASH: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
echo "$program"
(read -r _; kill -KILL "$program") <&3 >/dev/null 2>&1 &
watch=$!
wait "$program"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
"#;

/// A process that serves.
#[derive(Debug)]
pub(crate) struct Replica {
    child: Child,
    /// Of the program itself; the child is a shell around it.
    number: u32,
    /// Where reviews go, over TLS.
    pub(crate) address: SocketAddr,
    /// Metrics and health, over plain HTTP.
    pub(crate) metrics: SocketAddr,
    log: Lines,
}

impl Replica {
    /// Starts `serve` on free ports of loopback, with a kubeconfig where one is given.
    ///
    /// # Panics
    /// When it does not listen, with its log.
    #[track_caller]
    pub(crate) fn start(kubeconfig: Option<&Path>, args: &[&str]) -> Self {
        Self::start_with(kubeconfig, args, &[])
    }

    /// The same with variables in its environment.
    ///
    /// # Panics
    /// When it does not listen, with its log.
    #[track_caller]
    pub(crate) fn start_with(
        kubeconfig: Option<&Path>,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new("bash");
        command
            .args(["-c", LEASH, "leash", env!("CARGO_BIN_EXE_llmisvc-webhook")])
            .args(["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"])
            .args(["--log-format", "json"]);
        if let Some(kubeconfig) = kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        command.args(args).env_remove("KUBECONFIG").envs(environment.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut number = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let number = number.trim().parse().unwrap();
        let log = Lines::default();
        let stderr = child.stderr.take().unwrap();
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut replica = Self { child, number, address: nowhere, metrics: nowhere, log };
        (replica.address, replica.metrics) = eventually(PATIENCE, "replica that listens", || {
            let log = replica.log();
            if let Ok(Some(status)) = replica.child.try_wait() {
                panic!("the replica has ended, {status}:\n{log}");
            }
            log.lines().find_map(listening).ok_or(log)
        });
        replica
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// What its `/readyz` says.
    pub(crate) fn is_ready(&self) -> bool {
        is_ready(self.metrics)
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not, with its log.
    #[track_caller]
    pub(crate) fn until_ready(&self) {
        eventually(PATIENCE, "ready replica", || self.is_ready().then_some(()).ok_or(self.log()));
    }

    /// Sends SIGTERM and does not wait.
    pub(crate) fn ask_to_end(&self) {
        signal("TERM", self.number);
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end, with its log.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        eventually(PATIENCE, "end of a replica", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Err(self.log()),
        })
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            signal("KILL", self.number);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process.
fn signal(name: &str, number: u32) {
    let script = format!("kill -{name} {number}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "{script}");
}

/// The two addresses that the line `listening` tells.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let told: Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| told.get(name)?.as_str()?.parse().ok();
    (told.get("message")? == "listening").then_some((address("address")?, address("metrics")?))
}

/// Whether `/readyz` answers 200 over plain HTTP.
pub(super) fn is_ready(address: SocketAddr) -> bool {
    // A probe's time limit in a cluster: one second.
    let limit = Duration::from_secs(1);
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    };
    answer().is_ok_and(|head| head == "HTTP/1.1 200")
}
