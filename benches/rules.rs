//! How long the rules take over a whole service, prefill and decode composed and completed.
//!
//! `cargo bench --bench rules`. The aim is under one millisecond.
#![expect(clippy::print_stdout, reason = "a bench prints what it found")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use llmisvc_webhook::catalog::{Settings, files};
use llmisvc_webhook::review::validate;
use serde_json::json;

const OBJECTS: &str = "examples/qwen2-7b-pd.yaml";

fn main() -> anyhow::Result<()> {
    // Without `--bench` it is run as a test: does it work at all?
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 2_000 } else { 20 };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(OBJECTS);
    let snapshot = files::load(&[path], Settings::default()).snapshot;
    let service = snapshot.services.values().next().context("no service in the example")?;
    let body = serde_json::to_vec(&json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0a1b",
            "kind": {"group": "serving.kserve.io", "version": "v1alpha2", "kind": "LLMInferenceService"},
            "operation": "CREATE",
            "namespace": service.key.namespace,
            "object": service.object.to_value(),
        },
    }))?;
    let mut took: Vec<Duration> = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        let answer = black_box(validate(black_box(&body), &snapshot)?);
        took.push(start.elapsed());
        ensure!(answer.allowed, "{OBJECTS} is refused");
    }
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{OBJECTS}: {rounds} validations, median {:?}, 90 % under {:?}, fastest {:?}",
        at(50),
        at(90),
        at(0)
    );
    Ok(())
}
