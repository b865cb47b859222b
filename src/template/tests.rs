use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;

struct NoFunctions;

impl Functions for NoFunctions {
    fn call(&self, _: &str, _: &[Data]) -> Option<Result<Data, String>> {
        None
    }

    fn names(&self) -> &[&str] {
        &[]
    }
}

/// A file of the shared vectors, or nothing where they are not at hand.
fn shared(name: &str) -> Option<String> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_owned();
    let root = std::env::var("LLMISVC_SHARED").unwrap_or(beside);
    let path = PathBuf::from(root).join(name);
    let text = fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("skipped: {} is not here", path.display());
    }
    text
}

fn try_render(source: &str, data: &serde_json::Value) -> Result<String, Error> {
    render(source, &Data::from(data), &KserveFunctions, Options::default())
}

/// Renders each case of `vectors` and compares with what Go said of it.
fn compare(vectors: &str, input: &str) -> usize {
    let data = Data::from(&serde_json::from_str::<serde_json::Value>(input).unwrap());
    let mut differences = Vec::new();
    let mut count = 0;
    for line in vectors.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let source = case["src"].as_str().unwrap();
        let ours = render(source, &data, &NoFunctions, Options::default());
        let agrees = match (&ours, case["ok"].as_str()) {
            (Ok(ours), Some(go)) => ours == go,
            (Err(_), None) => case["err"].is_string(),
            _ => false,
        };
        if !agrees {
            differences.push(format!("{line}\n  ours: {ours:?}"));
        }
        count += 1;
    }
    assert!(
        differences.is_empty(),
        "{} of {count} differ from Go:\n{}",
        differences.len(),
        differences.join("\n")
    );
    count
}

#[test]
fn the_shared_vectors_agree_with_go() {
    let (Some(vectors), Some(input)) =
        (shared("vectors/go-template.jsonl"), shared("vectors/go-template-input.json"))
    else {
        return;
    };
    assert!(compare(&vectors, &input) >= 70);
}
