//! The presets against KServe's own of the same release, which lie beside the project where they
//! are there at all.

use serde_json::Value;

use super::{Role, by_name, pods};
use crate::presets::ReleaseSet;
use crate::shared::shared;

/// Facts on which the presets follow KServe's own of the same release.
#[test]
fn facts_left_open_are_those_of_kserve() {
    let Some(kserve) = shared("kserve") else { return };
    for pod in pods() {
        let release = match pod.set {
            ReleaseSet::V0_17 => "v0.17.0",
            _ => "v0.20.0",
        };
        let file = pod.config.trim_start_matches("kserve-");
        let path = kserve.join(format!("{release}/presets/{file}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let theirs: Value = serde_saphyr::from_str(&text).unwrap();
        let theirs = theirs["spec"].pointer(pod.pointer).unwrap();
        let label = pod.label();

        let mut facts = vec![
            "/ports",
            "/terminationMessagePolicy",
            "/imagePullPolicy",
            "/securityContext/runAsNonRoot",
            "/securityContext/readOnlyRootFilesystem",
            "/startupProbe/periodSeconds",
            "/startupProbe/failureThreshold",
            "/startupProbe/httpGet/port",
        ];
        if pod.data_parallel && pod.role == Role::Prefill {
            facts.extend(["/livenessProbe", "/readinessProbe"]);
        }
        for fact in facts {
            let pairs = ["containers", "initContainers"].map(|list| {
                let of = |spec: &Value| {
                    let mut found = spec.pointer(&format!("/{list}/0{fact}")).cloned();
                    // The scheme is TLS's matter, and HTTP where none is named.
                    if let Some(http) = found.as_mut().and_then(|at| at.get_mut("httpGet")) {
                        http.as_object_mut().unwrap().remove("scheme");
                    }
                    found
                };
                (of(&pod.spec), of(theirs))
            });
            for (ours, theirs) in pairs {
                assert_eq!(ours, theirs, "{label} {fact}");
            }
        }
        assert_eq!(
            by_name(&pod.spec["volumes"], "dshm"),
            by_name(&theirs["volumes"], "dshm"),
            "{label}"
        );
        let script = theirs["containers"][0]["command"].to_string();
        if pod.data_parallel && !pod.worker {
            assert!(script.contains("VLLM_API_SERVER_COUNT:-8}"), "{label}");
        }
    }
}
