//! A pod at its creation: what its author adds to what its service says.

use serde_json::Value;

use super::case::{Case, get, is_true, text};
use super::{catalogue, run_on, settle};
use crate::catalog::Snapshot;
use crate::decision::{Decision, INJECTED, Refusal, Warning};
use crate::inject::{self, PodRequest, is_placeholder};
use crate::json::list;
use crate::workload::keys;

/// What the API server fills in before any webhook is called.
const SERVICE_ACCOUNT: &str = "kube-api-access-";
/// What LeaderWorkerSet's webhook writes.
const LWS: &str = "LWS_";

/// What completing a pod warns of, and the rule that says it better.
const SAID: [(&str, &str); 1] = [("port-conflict", "V62")];

/// Decides as [`inject::decide`] does; among the warnings is what the rules find in the complete
/// pod, if its author added something to it. What the service says was judged when it was applied.
///
/// A finding never denies a pod, however certain it is: the pods of what runs today have to come
/// back tomorrow, with a rule more.
///
/// # Errors
/// As [`inject::decide`].
pub fn decide(snapshot: &Snapshot, request: PodRequest<'_>) -> Result<Decision, Refusal> {
    let mut decision = inject::decide(snapshot, request)?;
    if decision.code == INJECTED && asks(request.pod) && adds(request.pod) {
        let warnings = judge(snapshot, request, &decision);
        let is_said = |warning: &Warning| {
            SAID.iter().any(|(code, rule)| {
                warning.code == *code && warnings.iter().any(|found| found.code == *rule)
            })
        };
        decision.warnings.retain(|warning| !is_said(warning));
        decision.warnings.extend(warnings);
    }
    Ok(decision)
}

/// KServe's controller writes whole pods, from a service that was judged.
fn asks(pod: &Value) -> bool {
    text(pod, &["metadata", "labels", keys::SERVICE]).is_some()
}

/// Whether there is something of the author's own that a rule may look at.
fn adds(pod: &Value) -> bool {
    let Some(spec) = get(pod, &["spec"]) else { return false };
    list(spec, &["containers"]).iter().any(has_its_own)
        || !list(spec, &["initContainers"]).is_empty()
        || list(spec, &["volumes"]).iter().any(|volume| !is_named(volume, SERVICE_ACCOUNT))
        || is_true(spec, &["hostNetwork"])
}

fn has_its_own(container: &Value) -> bool {
    const FIELDS: [&str; 8] = [
        "args",
        "command",
        "ports",
        "securityContext",
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ];
    let resources = get(container, &["resources"]).and_then(Value::as_object);
    !is_placeholder(container)
        || FIELDS.iter().any(|field| get(container, &[field]).is_some())
        || resources.is_some_and(|resources| !resources.is_empty())
        || list(container, &["env"]).iter().any(|variable| !is_named(variable, LWS))
        || list(container, &["volumeMounts"]).iter().any(|mount| !is_named(mount, SERVICE_ACCOUNT))
}

fn is_named(item: &Value, start: &str) -> bool {
    text(item, &["name"]).is_some_and(|name| name.starts_with(start))
}

fn judge(snapshot: &Snapshot, request: PodRequest<'_>, decision: &Decision) -> Vec<Warning> {
    let case = Case::pod(snapshot, request, decision);
    let rules: Vec<_> = catalogue().collect();
    let findings = settle(run_on(&case, &rules), request.pod).into_iter();
    findings.map(|it| Warning::new(it.code, format!("{}: {}", it.field, it.text()))).collect()
}
