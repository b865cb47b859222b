//! The presets against what they are specified to hold, field by field.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{File, ReleaseSet, V0_17, V0_20, parse};

mod kserve;

const SETS: [ReleaseSet; 2] = [ReleaseSet::V0_17, ReleaseSet::V0_20];

/// A pod spec of a preset, with where it is used.
struct Pod {
    set: ReleaseSet,
    config: String,
    /// Below `spec`.
    pointer: &'static str,
    role: Role,
    data_parallel: bool,
    worker: bool,
    spec: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Both,
    Decode,
    Prefill,
}

impl Pod {
    fn label(&self) -> String {
        format!("{:?} {} spec{}", self.set, self.config, self.pointer)
    }

    fn main(&self) -> &Value {
        let containers = self.spec["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1, "{}", self.label());
        &containers[0]
    }

    fn sidecar(&self) -> Option<&Value> {
        self.spec.get("initContainers").map(|containers| {
            assert_eq!(containers.as_array().unwrap().len(), 1, "{}", self.label());
            &containers[0]
        })
    }

    fn containers(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(self.main()).chain(self.sidecar())
    }

    fn args(&self) -> Vec<&str> {
        strings(&self.main()["args"])
    }

    fn port(&self) -> u64 {
        if self.role == Role::Decode { 8001 } else { 8000 }
    }
}

/// All pod specs of all sets: 2 sets of 3 single ones and 3 pairs of leader and worker.
fn pods() -> Vec<Pod> {
    let mut pods = Vec::new();
    for set in SETS {
        for config in set.configs() {
            for pointer in ["/template", "/worker", "/prefill/template", "/prefill/worker"] {
                if let Some(spec) = config.object["spec"].pointer(pointer) {
                    let name = &config.key.name;
                    pods.push(Pod {
                        set,
                        config: name.clone(),
                        pointer,
                        role: match name {
                            _ if name.contains("-decode-") => Role::Decode,
                            _ if name.contains("-prefill-") => Role::Prefill,
                            _ => Role::Both,
                        },
                        data_parallel: name.ends_with("-data-parallel"),
                        worker: pointer.ends_with("worker"),
                        spec: spec.clone(),
                    });
                }
            }
        }
    }
    assert_eq!(pods.len(), 18);
    pods
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().expect("arguments are strings"))
        .collect()
}

/// Every string of a value, with its path.
fn all_strings<'a>(value: &'a Value, path: &str, found: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                all_strings(item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                all_strings(field, &format!("{path}.{name}"), found);
            }
        }
        _ => {}
    }
}

fn by_name<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|item| item["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

/// The value that follows a flag.
fn value_of<'a>(args: &[&'a str], flag: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| *arg == flag)?;
    args.get(at + 1).copied()
}

/// What the two templates with an `else` print where TLS is off.
fn without_tls(text: &str) -> String {
    text.replace("{{ if .GlobalConfig.EnableTLS }}HTTPS{{ else }}HTTP{{ end }}", "HTTP")
        .replace("{{ if .GlobalConfig.EnableTLS }}true{{ else }}false{{ end }}", "false")
}

#[test]
fn every_file_parses_under_its_own_name() {
    for (set, files) in [(ReleaseSet::V0_17, &V0_17), (ReleaseSet::V0_20, &V0_20)] {
        let names: Vec<&str> = files.iter().map(|file| file.name).collect();
        assert_eq!(
            names,
            [
                "kserve-config-llm-decode-template",
                "kserve-config-llm-decode-worker-data-parallel",
                "kserve-config-llm-prefill-template",
                "kserve-config-llm-prefill-worker-data-parallel",
                "kserve-config-llm-template",
                "kserve-config-llm-worker-data-parallel",
            ]
        );
        for file in files {
            let config = parse(file).unwrap_or_else(|error| panic!("{}: {error}", file.name));
            assert_eq!(config.object["apiVersion"], "serving.kserve.io/v1alpha2", "{}", file.name);
            assert_eq!(config.object["kind"], "LLMInferenceServiceConfig");
            assert_eq!(config.object["metadata"], json!({"name": file.name}));
        }
        let parsed: Vec<String> =
            set.configs().iter().map(|config| config.key.to_string()).collect();
        assert_eq!(parsed, names);
    }
}

#[test]
fn a_file_that_does_not_parse_is_an_error_and_no_panic() {
    let file = File { name: "kserve-config-llm-template", text: "spec: [" };
    assert!(parse(&file).is_err());
    assert!(super::parse_all(&[file]).is_empty());
}

#[test]
fn configs_and_sources_are_found_by_name() {
    let name = "kserve-config-llm-decode-template";
    for set in SETS {
        let config = set.config(name).unwrap();
        assert_eq!(config.object["metadata"]["name"], name);
        let source = set.source(name).unwrap();
        assert!(source.starts_with("# "), "the comments are part of it");
        assert_eq!(serde_saphyr::from_str::<Value>(source).unwrap(), config.object);
        assert!(set.config("config-llm-decode-template").is_none());
        assert!(set.source("").is_none());
    }
    assert!(ReleaseSet::None.configs().is_empty());
    assert!(ReleaseSet::None.config(name).is_none());
    assert!(ReleaseSet::None.source(name).is_none());
    assert_ne!(ReleaseSet::V0_17.source(name), ReleaseSet::V0_20.source(name));
}

#[test]
fn each_config_holds_the_workloads_it_is_chosen_for() {
    for set in SETS {
        for config in set.configs() {
            let spec = config.object["spec"].as_object().unwrap();
            let name = &config.key.name;
            let within = if name.contains("-prefill-") {
                assert_eq!(spec.len(), 1, "{name}");
                spec["prefill"].as_object().unwrap()
            } else {
                spec
            };
            let fields: Vec<&str> = within.keys().map(String::as_str).collect();
            let expected: &[&str] = if name.ends_with("-data-parallel") {
                &["template", "worker"]
            } else {
                &["template"]
            };
            assert_eq!(fields, expected, "{name}");
        }
    }
}

#[test]
fn images_are_those_of_the_release() {
    for pod in pods() {
        let (engine, sidecar) = match pod.set {
            ReleaseSet::V0_17 => {
                ("ghcr.io/llm-d/llm-d-cuda:v0.4.0", "ghcr.io/llm-d/llm-d-routing-sidecar:v0.4.0")
            }
            _ => (
                "ghcr.io/llm-d/llm-d-cuda:v0.8.0",
                "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.9.0",
            ),
        };
        assert_eq!(pod.main()["name"], "main");
        assert_eq!(pod.main()["image"], engine, "{}", pod.label());
        if let Some(container) = pod.sidecar() {
            assert_eq!(container["image"], sidecar, "{}", pod.label());
        }
        for container in pod.containers() {
            assert_eq!(container["imagePullPolicy"], "IfNotPresent");
        }
    }
}

#[test]
fn the_engine_is_a_plain_argument_list() {
    for pod in pods() {
        let label = pod.label();
        assert_eq!(strings(&pod.main()["command"]), ["vllm", "serve", "/mnt/models"], "{label}");
        let args = pod.args();
        assert_eq!(
            args[..3],
            ["--served-model-name", "{{ .Spec.Model.Name }}", "--port"],
            "{label}"
        );
        assert_eq!(args[3], pod.port().to_string(), "{label}");
        for arg in args {
            // A flag and its value are two items, or joined by `=`: never two words in one item.
            let outside = outside_of_templates(arg);
            assert!(!outside.contains(char::is_whitespace), "{label}: {arg}");
        }
    }
}

/// The text that a template prints whatever the data.
fn outside_of_templates(text: &str) -> String {
    text.split("{{")
        .enumerate()
        .map(|(index, part)| match (index, part.split_once("}}")) {
            (0, _) => part,
            (_, Some((_, rest))) => rest,
            (_, None) => panic!("unclosed template in {text}"),
        })
        .collect()
}

#[test]
fn data_parallel_flags_read_the_parallelism_of_their_own_pool() {
    for pod in pods() {
        let label = pod.label();
        let args = pod.args();
        let parallelism = if pod.role == Role::Prefill {
            ".Spec.Prefill.Parallelism"
        } else {
            ".Spec.Parallelism"
        };
        let of =
            |field: &str, default: u32| format!("{{{{ or {parallelism}.{field} {default} }}}}");
        let flags = [
            ("--data-parallel-size", of("Data", 1)),
            ("--data-parallel-size-local", of("DataLocal", 1)),
            ("--data-parallel-address", "$(LWS_LEADER_ADDRESS)".to_owned()),
            ("--data-parallel-rpc-port", of("DataRPCPort", 5555)),
        ];
        for (flag, value) in flags {
            let expected = pod.data_parallel.then_some(value.as_str());
            assert_eq!(value_of(&args, flag), expected, "{label} {flag}");
        }
        let leader = pod.data_parallel && !pod.worker;
        assert_eq!(value_of(&args, "--api-server-count"), leader.then_some("8"), "{label}");
        assert_eq!(args.contains(&"--headless"), pod.worker, "{label}");
        let expert =
            format!("{{{{ if {parallelism}.Expert }}}}--enable-expert-parallel{{{{ end }}}}");
        assert_eq!(args.contains(&expert.as_str()), pod.data_parallel, "{label}");
        let tensor =
            args.iter().filter(|arg| arg.contains("--tensor-parallel-size={{ . }}")).count();
        assert_eq!(tensor, 1, "{label}");
        assert!(
            !args.iter().any(|arg| arg.contains("start-rank")),
            "{label}: computed at admission"
        );
        for arg in args {
            assert_eq!(
                arg.contains(".Prefill"),
                pod.role == Role::Prefill && arg.contains("arallelism"),
                "{label}: {arg}"
            );
        }
    }
}

#[test]
fn decode_leaders_and_only_they_have_the_sidecar() {
    for pod in pods() {
        let label = pod.label();
        let Some(sidecar) = pod.sidecar() else {
            assert!(pod.role != Role::Decode || pod.worker, "{label}");
            continue;
        };
        assert!(pod.role == Role::Decode && !pod.worker, "{label}");
        assert_eq!(sidecar["name"], "llm-d-routing-sidecar");
        assert_eq!(sidecar["restartPolicy"], "Always");
        assert_eq!(sidecar["ports"], json!([{"containerPort": 8000, "protocol": "TCP"}]));
        assert!(sidecar.get("command").is_none(), "{label}: the image's own");
        let rendered: Vec<String> = strings(&sidecar["args"])
            .into_iter()
            .map(without_tls)
            .filter(|arg| !arg.starts_with("{{ if .GlobalConfig.EnableTLS }}"))
            .collect();
        let connector = match pod.set {
            ReleaseSet::V0_17 => "--connector=nixlv2",
            _ => "--kv-connector=nixlv2",
        };
        assert_eq!(
            rendered,
            ["--port=8000", "--vllm-port=8001", connector, "--secure-proxy=false"],
            "{label}"
        );
        assert_eq!(
            by_name(&sidecar["env"], "INFERENCE_POOL_NAMESPACE")["valueFrom"],
            json!({"fieldRef": {"fieldPath": "metadata.namespace"}})
        );
        assert_probe(&label, sidecar, "livenessProbe", 8000, [10, 10, 10, 3]);
        assert_probe(&label, sidecar, "readinessProbe", 8000, [10, 10, 5, 10]);
        assert!(sidecar.get("startupProbe").is_none());
    }
}

/// Times are initial delay, period and timeout in seconds, then the failure threshold.
fn assert_probe(label: &str, container: &Value, kind: &str, port: u64, times: [u64; 4]) {
    let mut probe = container[kind].clone();
    if let Some(scheme) = probe["httpGet"].as_object_mut().unwrap().remove("scheme") {
        assert_eq!(without_tls(scheme.as_str().unwrap()), "HTTP", "{label}");
    }
    let [initial, period, timeout, failures] = times;
    let mut expected = json!({
        "httpGet": {"path": "/health", "port": port},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    });
    if initial > 0 {
        expected["initialDelaySeconds"] = json!(initial);
    }
    assert_eq!(probe, expected, "{label} {kind}");
}

#[test]
fn probes_ask_the_engine_and_leave_headless_workers_alone() {
    for pod in pods() {
        let label = pod.label();
        let main = pod.main();
        if pod.worker {
            for kind in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert!(main.get(kind).is_none(), "{label} {kind}");
            }
            continue;
        }
        let (liveness, readiness) = match (pod.data_parallel, pod.role, pod.set) {
            (false, ..) => ([120, 10, 10, 3], [10, 10, 5, 60]),
            (true, Role::Both | Role::Decode, _) => ([300, 10, 10, 3], [200, 30, 5, 60]),
            (true, Role::Prefill, ReleaseSet::V0_17) => ([0, 10, 10, 3], [0, 30, 5, 60]),
            (true, Role::Prefill, _) => ([0, 10, 1, 10], [0, 1, 1, 2]),
        };
        assert_probe(&label, main, "livenessProbe", pod.port(), liveness);
        assert_probe(&label, main, "readinessProbe", pod.port(), readiness);
        assert_eq!(main["startupProbe"]["httpGet"]["port"], pod.port());
        assert_eq!(main["startupProbe"]["httpGet"]["path"], "/health");
        assert_eq!(main["startupProbe"]["periodSeconds"], 10);
        assert_eq!(main["startupProbe"]["failureThreshold"], 60);
    }
}

#[test]
fn ports_environment_and_grace() {
    for pod in pods() {
        let label = pod.label();
        assert_eq!(
            pod.main()["ports"],
            json!([{"containerPort": pod.port(), "protocol": "TCP"}]),
            "{label}"
        );
        assert_eq!(
            pod.main()["env"],
            json!([
                {"name": "HOME", "value": "/home"},
                {"name": "VLLM_LOGGING_LEVEL", "value": "INFO"},
                {"name": "HF_HUB_CACHE", "value": "/models"},
            ]),
            "{label}"
        );
        assert_eq!(pod.spec["terminationGracePeriodSeconds"], 30, "{label}");
        for container in pod.containers() {
            assert!(container.get("lifecycle").is_none(), "{label}");
        }
    }
}

#[test]
fn volumes_and_mounts_belong_together() {
    for pod in pods() {
        let label = pod.label();
        let volumes = &pod.spec["volumes"];
        let large = pod.data_parallel && pod.set == ReleaseSet::V0_20;
        assert_eq!(
            by_name(volumes, "dshm")["emptyDir"],
            json!({"medium": "Memory", "sizeLimit": if large { "8Gi" } else { "1Gi" }}),
            "{label}"
        );
        assert_eq!(by_name(volumes, "home")["emptyDir"], json!({}));
        assert_eq!(by_name(volumes, "model-cache")["emptyDir"], json!({}));
        assert_eq!(
            by_name(volumes, "tls-certs")["secret"],
            json!({
                "secretName": "{{ ChildName .ObjectMeta.Name `-kserve-self-signed-certs` }}",
                "optional": true,
            }),
            "{label}"
        );

        let tls =
            json!({"name": "tls-certs", "mountPath": "/var/run/kserve/tls", "readOnly": true});
        let mut mounts = vec![
            json!({"name": "home", "mountPath": "/home"}),
            json!({"name": "dshm", "mountPath": "/dev/shm"}),
            json!({"name": "model-cache", "mountPath": "/models"}),
            tls.clone(),
        ];
        if pod.set == ReleaseSet::V0_20 {
            mounts.insert(1, json!({"name": "tmp-dir", "mountPath": "/tmp"}));
        }
        assert_eq!(pod.main()["volumeMounts"], json!(mounts), "{label}");
        if let Some(sidecar) = pod.sidecar() {
            assert_eq!(sidecar["volumeMounts"], json!([tls]), "{label}");
        }

        let named = |list: &Value| -> BTreeSet<String> {
            list.as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let mounted: BTreeSet<String> =
            pod.containers().flat_map(|container| named(&container["volumeMounts"])).collect();
        assert_eq!(mounted, named(volumes), "{label}");
    }
}

#[test]
fn every_container_has_the_security_context() {
    for pod in pods() {
        let label = pod.label();
        for container in pod.containers() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{label}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{label}");
            assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}), "{label}");
            assert_eq!(context["runAsNonRoot"], pod.set == ReleaseSet::V0_20, "{label}");
            assert!(context.get("privileged").is_none(), "{label}");
            let added = context["capabilities"].get("add");
            if pod.data_parallel && container["name"] == "main" {
                let expected = json!(["IPC_LOCK", "SYS_RAWIO", "NET_RAW"]);
                assert_eq!(added, Some(&expected), "{label}");
            } else {
                assert_eq!(added, None, "{label}");
            }
        }
    }
}

#[test]
fn what_admission_adds_is_not_in_the_presets() {
    for pod in pods() {
        let text = pod.spec.to_string();
        for absent in [
            "storage-initializer",
            "NIXL_SIDE_CHANNEL",
            "kv-transfer-config",
            "5600",
            "rdma/",
            "UCX_",
            "\"mountPath\":\"/mnt/models\"",
        ] {
            assert!(!text.contains(absent), "{}: {absent}", pod.label());
        }
    }
}

#[test]
fn no_shell_no_hidden_system_certificates_and_balanced_templates() {
    for set in SETS {
        for config in set.configs() {
            let mut found = Vec::new();
            all_strings(&config.object, "", &mut found);
            for (path, text) in found {
                let label = format!("{set:?} {}{path}", config.key.name);
                assert!(!text.contains("/etc/ssl/certs"), "{label}");
                let words: Vec<&str> = text.split(['/', ' ', '"']).collect();
                for shell in ["bash", "sh", "eval", "exec"] {
                    assert!(!words.contains(&shell), "{label}: {text}");
                }
                assert!(!text.contains('\n'), "{label}: a script?");
                assert_eq!(
                    text.matches("{{").count(),
                    text.matches("}}").count(),
                    "{label}: {text}"
                );
                // KServe's own renderer works on JSON text, where a `"` would be `\"`.
                let inside = text.split("{{").skip(1).filter_map(|part| part.split("}}").next());
                for action in inside {
                    assert!(!action.contains('"'), "{label}: {text}");
                    assert!(action.starts_with(' ') && action.ends_with(' '), "{label}");
                }
                let opened = ["{{ if ", "{{ with "]
                    .iter()
                    .map(|word| text.matches(word).count())
                    .sum::<usize>();
                assert_eq!(text.matches("{{ end }}").count(), opened, "{label}: {text}");
            }
        }
    }
}

#[test]
fn without_tls_in_the_settings_nothing_of_it_remains() {
    for pod in pods() {
        for container in pod.containers() {
            for arg in strings(&container["args"]) {
                let names_tls = ["ssl", "tls", "cert"].iter().any(|word| arg.contains(word));
                let dropped = arg.starts_with("{{ if .GlobalConfig.EnableTLS }}")
                    && arg.ends_with("{{ end }}")
                    && !arg.contains("{{ else }}");
                assert_eq!(names_tls, dropped, "{}: {arg}", pod.label());
                assert!(!dropped || pod.set == ReleaseSet::V0_20, "{}", pod.label());
            }
        }
    }
}
