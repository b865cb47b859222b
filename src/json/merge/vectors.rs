//! Answers of the real apimachinery, over pod specs.

use serde::Deserialize;
use serde_json::Value;
use similar::TextDiff;

use super::{Layer, MergeError, merge};
use crate::json::schema::pod_spec;
use crate::json::walk::find_directive;
use crate::shared::shared;

#[derive(Deserialize)]
struct Vector {
    name: String,
    base: Value,
    patch: Value,
    /// The merged spec, or `{"ERROR": …}`.
    merged: Value,
}

/// What is wrong with our answer, if anything.
fn disagreement(vector: &Vector) -> Option<String> {
    let Vector { base, patch, merged, .. } = vector;
    let ours = merge(base, patch, pod_spec(), Layer::Plain);
    if let Some(wanted) = find_directive(patch) {
        return match ours {
            Err(MergeError::Directive { path, .. }) if path == wanted => None,
            other => Some(format!("the directive {wanted} was not refused: {other:?}")),
        };
    }
    match (ours, merged.get("ERROR")) {
        (Ok(ours), None) if ours == *merged => None,
        (Ok(ours), None) => Some(difference(merged, &ours)),
        (Ok(ours), Some(error)) => Some(format!("not refused ({error}): {ours}")),
        (Err(error), None) => Some(format!("refused: {error}")),
        (Err(MergeError::MissingMergeKey { .. } | MergeError::WrongType { .. }), Some(_)) => None,
        (Err(error), Some(wanted)) => Some(format!("refused as {error}, and not as {wanted}")),
    }
}

fn difference(wanted: &Value, ours: &Value) -> String {
    let [wanted, ours] = [wanted, ours].map(|value| {
        let mut value = value.clone();
        value.sort_all_objects();
        serde_json::to_string_pretty(&value).unwrap()
    });
    let diff = TextDiff::from_lines(&wanted, &ours);
    diff.unified_diff().header("wanted", "ours").to_string()
}

#[test]
fn agrees_with_apimachinery() {
    let Some(path) = shared("vectors/strategic-merge.jsonl") else { return };
    let lines = std::fs::read_to_string(&path).unwrap();
    let vectors: Vec<Vector> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!vectors.is_empty(), "{} is empty", path.display());
    let wrong: Vec<String> = vectors
        .iter()
        .filter_map(|vector| Some(format!("{}: {}", vector.name, disagreement(vector)?)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} disagree\n{}",
        wrong.len(),
        vectors.len(),
        wrong.join("\n")
    );
}
