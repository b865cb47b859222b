//! What a container may do.

use serde_json::Value;

use super::case::{Case, get, is_privileged, text};
use super::report::Report;
use super::{Check, Rule, written};
use crate::catalog::Severity;
use crate::json::{list, named};

const FAMILY: &str = "security";

const PIN: &str = "IPC_LOCK";

/// Capabilities that may be added at Pod Security level baseline
/// (`policy/check_capabilities_baseline.go` of kubernetes/pod-security-admission).
const BASELINE: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "V109",
        family: FAMILY,
        severity: Severity::Warn,
        title: "IPC_LOCK for a user who does not get it",
        why: "A capability that is added reaches a process of root alone: Kubernetes has no ambient capabilities \
              (kubernetes#56374, KEP-2763). Another user pins no more memory than the node's limit lets him, and \
              where that is finite, RDMA fails with it and without it. Said of what the author of a service, a \
              config or a workload wrote himself.",
        accepted: "spec: {template: {containers: [{name: main, securityContext: {runAsUser: 0, runAsNonRoot: false, capabilities: {add: [IPC_LOCK]}}}]}}",
        reported: "spec: {template: {containers: [{name: main, securityContext: {runAsNonRoot: true, capabilities: {add: [IPC_LOCK]}}}]}}",
        symptom_of: &[],
        check: Check::Any(pinned_by_nobody),
    },
    Rule {
        code: "V110",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a config whose pods only a privileged namespace takes",
        why: "Pod Security lets a capability outside of its list, and a privileged container, into namespaces of \
              level privileged alone: anywhere else the pods of every service that uses the config are turned \
              away when a controller creates them. KServe's presets for data parallelism are such configs.",
        accepted: "{kind: LLMInferenceServiceConfig, spec: {template: {containers: [{name: main, securityContext: {capabilities: {add: [CHOWN], drop: [ALL]}}}]}}}",
        reported: "{kind: LLMInferenceServiceConfig, spec: {template: {containers: [{name: main, securityContext: {capabilities: {add: [SYS_RAWIO], drop: [ALL]}}}]}}}",
        symptom_of: &[],
        check: Check::Config(needs_privileged),
    },
];

fn pinned_by_nobody(case: &Case<'_>, report: &mut Report) {
    for (pod, spec) in written::pod_specs(case) {
        let complete = written::engine(case, &pod).map_or(spec, |engine| &engine.pod);
        for (path, container) in written::containers(spec, &pod) {
            let added = added(container);
            let Some(index) = added.iter().position(|name| *name == PIN) else { continue };
            let name = text(container, &["name"]).unwrap_or_default();
            let lists = ["containers", "initContainers"];
            let whole = lists.into_iter().find_map(|list| named(complete.get(list)?, name));
            let whole = whole.unwrap_or(container);
            if is_privileged(whole) || !is_other_than_root(complete, whole) {
                continue;
            }
            let path = path.field("securityContext").field("capabilities").field("add");
            report.invalid(
                path.index(index),
                format!("{PIN} has no effect: the container does not run as root"),
                "remove it and raise the node's memlock limit, or run as root (runAsUser: 0)",
            );
        }
    }
}

fn needs_privileged(case: &Case<'_>, report: &mut Report) {
    for (pod, spec) in written::pod_specs(case) {
        for (path, container) in written::containers(spec, &pod) {
            let path = path.field("securityContext");
            if is_privileged(container) {
                report.invalid(
                    path.field("privileged"),
                    "a namespace at Pod Security level baseline or restricted turns the pods away",
                    "use it in namespaces of level privileged alone",
                );
                continue;
            }
            let beyond: Vec<&str> =
                added(container).into_iter().filter(|name| !BASELINE.contains(name)).collect();
            if !beyond.is_empty() {
                report.invalid(
                    path.field("capabilities").field("add"),
                    format!(
                        "a namespace at Pod Security level baseline or restricted turns pods with {} away",
                        beyond.join(", ")
                    ),
                    "remove them, or use the config in namespaces of level privileged alone",
                );
            }
        }
    }
}

fn added(container: &Value) -> Vec<&str> {
    let added = list(container, &["securityContext", "capabilities", "add"]);
    added.iter().filter_map(Value::as_str).collect()
}

/// Whether a container certainly runs as another user than root: its own context counts before the
/// pod's.
fn is_other_than_root(pod: &Value, container: &Value) -> bool {
    let said =
        |name| [container, pod].into_iter().find_map(|it| get(it, &["securityContext", name]));
    match said("runAsUser").and_then(Value::as_i64) {
        Some(user) => user != 0,
        None => said("runAsNonRoot") == Some(&Value::Bool(true)),
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::Severity::Warn;
    use crate::rules::tests::found;

    #[test]
    fn what_a_config_adds_is_the_configs() {
        // KServe's 0.20 presets for data parallelism add it for a user; not the author's to change.
        let service = "
spec:
  parallelism: {tensor: 1, data: 2, dataLocal: 1}
  worker: {containers: [{name: main}]}
";
        assert_eq!(found(service), []);
        let config = "
kind: LLMInferenceServiceConfig
spec:
  template:
    securityContext: {runAsUser: 1000}
    containers: [{name: main, securityContext: {capabilities: {add: [IPC_LOCK]}}}]
";
        assert_eq!(found(config), [("V110", Warn), ("V109", Warn)]);
        // A container's own context counts before the pod's.
        let root = config.replace("securityContext: {cap", "securityContext: {runAsUser: 0, cap");
        assert_eq!(found(&root), [("V110", Warn)]);
        let privileged = config.replace("{capabilities", "{privileged: true, capabilities");
        assert_eq!(found(&privileged), [("V110", Warn)]);
    }
}
