//! What must hold for every pod, whoever wrote it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

use std::path::Path;
use std::sync::LazyLock;

use llmisvc_webhook::catalog::files::load;
use llmisvc_webhook::catalog::{Settings, Snapshot};
use llmisvc_webhook::inject::{Decision, Mode, PodRequest, Refusal, decide};
use llmisvc_webhook::json;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/objects.yaml");
    let folder = tempfile::tempdir().unwrap();
    let particular = folder.path().join("particular.json");
    std::fs::write(&particular, particular_service().to_string()).unwrap();
    let loaded = load(&[objects, particular], Settings::default());
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.snapshot
});

/// A service that has an opinion on everything that the API server has a default for, and on what a
/// pod is recognised by.
fn particular_service() -> Value {
    json!({
        "apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService",
        "metadata": {"name": "particular", "annotations": {"inject.llmisvc.io/fabric": "roce-multus"}},
        "spec": {
            "model": {"uri": "hf://a/b"},
            "labels": {"inject.llmisvc.io/service": "other", "llm-d.ai/role": "prefill", "a": "b"},
            "annotations": {"inject.llmisvc.io/container": "nope", "k8s.v1.cni.cncf.io/networks": "x"},
            "template": {
                "terminationGracePeriodSeconds": 77, "dnsPolicy": "Default", "serviceAccountName": "sa",
                "securityContext": {"fsGroup": 1}, "priorityClassName": "high",
                "tolerations": [toleration(10), {"key": "gpu", "operator": "Exists"}],
                "containers": [{
                    "name": "main", "terminationMessagePolicy": "FallbackToLogsOnError",
                    "args": ["--port", "8100", "--seed", "9"],
                    "env": [{"name": "VLLM_ADDITIONAL_ARGS", "value": "--max-num-seqs 4 --seed 8"}],
                    "livenessProbe": {"timeoutSeconds": 7, "periodSeconds": 8, "failureThreshold": 9},
                }],
            },
        },
    })
}

fn toleration(seconds: u32) -> Value {
    json!({
        "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": seconds
    })
}

fn decided(pod: &Value) -> Result<Decision, Refusal> {
    decide(&SNAPSHOT, PodRequest { namespace: "default", pod, mode: Mode::Admission })
}

/// The pod after admission.
fn injected(pod: &Value) -> Value {
    let decision = decided(pod).unwrap_or_else(|refusal| panic!("{refusal}\n{pod:#}"));
    decision.pod.unwrap_or_else(|| pod.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn injecting_twice_changes_nothing(pod in pods()) {
        let once = injected(&pod);
        let again = decided(&once).unwrap();
        prop_assert_eq!(again.pod, None, "injected again: {}", once);
    }

    #[test]
    fn another_webhook_in_between_keeps_what_it_did(pod in pods(), foreign in foreign_changes()) {
        let mut between = injected(&pod);
        for change in &foreign {
            change.apply(&mut between);
        }
        let once = injected(&between);
        prop_assert!(contains(&between, &once, "").is_ok(), "{:?}", contains(&between, &once, ""));
        let again = decided(&once).unwrap();
        prop_assert_eq!(again.pod, None, "injected again: {}", once);
    }

    #[test]
    fn the_patch_applied_to_the_input_is_the_output(pod in pods()) {
        let after = injected(&pod);
        let operations = json::patch(&pod, after.clone(), json::pod()).unwrap();
        let patch: json_patch::Patch =
            serde_json::from_value(serde_json::to_value(&operations).unwrap()).unwrap();
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        prop_assert_eq!(patched, after);
    }

    #[test]
    fn nothing_the_author_wrote_is_removed_reordered_or_changed(pod in pods()) {
        let after = injected(&pod);
        prop_assert!(contains(&pod, &after, "").is_ok(), "{:?}", contains(&pod, &after, ""));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(pod in pods()) {
        let text = |pod: &Value| serde_json::to_string(&injected(pod)).unwrap();
        prop_assert_eq!(text(&pod), text(&pod));
    }

    #[test]
    fn a_pod_that_did_not_opt_in_is_never_touched(
        mut pod in prop_oneof![pods(), any_json()],
        metadata in any_json(),
        keep_metadata in any::<bool>(),
    ) {
        if let Some(labels) = pod.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.shift_remove("inject.llmisvc.io/service");
        }
        if let (false, Some(members)) = (keep_metadata, pod.as_object_mut()) {
            members.insert("metadata".to_owned(), metadata);
        }
        let decision = decided(&pod).unwrap();
        prop_assert_eq!(decision.code, "not-opted-in");
        prop_assert_eq!(decision.pod, None);
    }

    #[test]
    fn whatever_a_pod_holds_it_gets_an_answer(mut pod in any_json(), spec in any_json(), role in select(vec!["prefill", "decode", "?"])) {
        if let Some(members) = pod.as_object_mut() {
            members.insert("metadata".to_owned(), json!({"labels": {
                "inject.llmisvc.io/service": "pd", "inject.llmisvc.io/role": role
            }}));
            members.insert("spec".to_owned(), spec);
        }
        // A refusal is an answer; a panic or a patch that cannot be written is none.
        if let Ok(Decision { pod: Some(after), .. }) = decided(&pod) {
            let written = json::patch(&pod, after.clone(), json::pod());
            prop_assert!(written.is_ok(), "{:?} for {} from {}", written, after, pod);
        }
    }
}

/// Whoever may create pods may send lists as long as a request can be: the work grows with them, not
/// with their square. Doubling a list doubles the time; a square would quadruple it.
#[test]
fn long_lists_take_time_in_proportion() {
    let pod = |length: usize| {
        let many = |item: &dyn Fn(usize) -> Value| (0..length).map(item).collect::<Vec<_>>();
        let mut containers = many(&|i| json!({"name": format!("c{i}"), "image": "x"}));
        containers.push(json!({
            "name": "main", "image": "auto",
            "env": many(&|i| json!({"name": format!("E{i}"), "value": "x"})),
            "ports": many(&|i| json!({"containerPort": i})),
            "volumeMounts": many(&|i| json!({"name": format!("v{i}"), "mountPath": format!("/m{i}")})),
            "args": many(&|i| json!(format!("--a{i}=1"))),
        }));
        let labels: serde_json::Map<String, Value> = (0..length)
            .map(|i| (format!("l{i}"), json!("x")))
            .chain([
                ("inject.llmisvc.io/service".to_owned(), json!("pd")),
                ("inject.llmisvc.io/role".to_owned(), json!("decode")),
            ])
            .collect();
        json!({
            "metadata": {"labels": labels, "annotations": {"k8s.v1.cni.cncf.io/networks": "n,".repeat(length)}},
            "spec": {
                "containers": containers,
                "volumes": many(&|i| json!({"name": format!("v{i}"), "emptyDir": {}})),
                "tolerations": many(&|i| json!({"key": format!("t{i}"), "operator": "Exists"})),
            }
        })
    };
    let time = |length: usize| {
        let pod = pod(length);
        let best = (0..3).map(|_| {
            let start = std::time::Instant::now();
            let after = injected(&pod);
            json::patch(&pod, after, json::pod()).unwrap();
            start.elapsed()
        });
        best.min().unwrap()
    };
    let (short, long) = (time(1_000), time(8_000));
    // Eight times the length: 8 in proportion, 64 as a square.
    let ratio = long.as_secs_f64() / short.as_secs_f64();
    assert!(ratio < 30.0, "8 times the length takes {ratio:.0} times as long: {short:?}, {long:?}");
}

/// A change that another webhook or controller makes to an injected pod.
#[derive(Debug, Clone)]
enum Foreign {
    Label(String),
    FirstContainer,
    LastContainer,
    Volume,
    EnvOfEveryContainer,
    Toleration,
    Annotation,
    Unknown(Value),
}

impl Foreign {
    fn apply(&self, pod: &mut Value) {
        let sidecar = json!({"name": "istio-proxy", "image": "auto", "args": ["proxy"]});
        let list = |value: &mut Value, member: &str, item: Value, first: bool| {
            let items = value.as_object_mut().unwrap().entry(member).or_insert_with(|| json!([]));
            let items = items.as_array_mut().unwrap();
            if !items
                .iter()
                .any(|other| other.get("name").is_some() && other.get("name") == item.get("name"))
            {
                items.insert(if first { 0 } else { items.len() }, item);
            }
        };
        match self {
            Self::Label(key) => pod["metadata"]["labels"][key] = json!("theirs"),
            Self::Annotation => {
                let metadata = pod["metadata"].as_object_mut().unwrap();
                let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
                annotations["theirs.io/x"] = json!("y");
            }
            Self::FirstContainer => list(&mut pod["spec"], "containers", sidecar, true),
            Self::LastContainer => list(&mut pod["spec"], "containers", sidecar, false),
            Self::Volume => {
                list(&mut pod["spec"], "volumes", json!({"name": "theirs", "emptyDir": {}}), false);
            }
            Self::EnvOfEveryContainer => {
                for container in pod["spec"]["containers"].as_array_mut().unwrap() {
                    list(container, "env", json!({"name": "LWS_GROUP_SIZE", "value": "2"}), true);
                }
            }
            Self::Toleration => {
                list(&mut pod["spec"], "tolerations", json!({"operator": "Exists"}), false);
            }
            Self::Unknown(value) => pod["spec"]["theirs"] = value.clone(),
        }
    }
}

fn foreign_changes() -> impl Strategy<Value = Vec<Foreign>> {
    vec(
        prop_oneof![
            "[a-z]{1,5}".prop_map(Foreign::Label),
            Just(Foreign::FirstContainer),
            Just(Foreign::LastContainer),
            Just(Foreign::Volume),
            Just(Foreign::EnvOfEveryContainer),
            Just(Foreign::Toleration),
            Just(Foreign::Annotation),
            any_json().prop_map(Foreign::Unknown),
        ],
        1..5,
    )
}

/// Whether everything that `before` holds stands in `after`, lists in their order and first.
/// Exempt are an image that stands for "the blueprint's" with the pull policy chosen for it, and
/// the API server's defaults.
fn contains(before: &Value, after: &Value, path: &str) -> Result<(), String> {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let placeholder = a.get("image").is_some_and(|image| image == "auto");
            for (key, a) in a {
                let path = format!("{path}.{key}");
                let Some(b) = b.get(key) else { return Err(format!("{path} is gone")) };
                let exempt = (placeholder && (key == "image" || key == "imagePullPolicy"))
                    || is_default(key, a);
                if !exempt {
                    contains(a, b, &path)?;
                }
            }
            Ok(())
        }
        (Value::Array(a), Value::Array(b)) if path.rsplit('.').next() == Some("args") => {
            let mut after = b.iter();
            if a.iter().all(|word| after.any(|other| other == word)) {
                Ok(())
            } else {
                Err(format!("{path}: {a:?} do not stand in this order in {b:?}"))
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for (index, a) in a.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let Some(b) = b.get(index) else { return Err(format!("{path} is gone")) };
                contains(a, b, &path)?;
            }
            Ok(())
        }
        // The annotation of secondary networks is added to, in the author's form.
        (Value::String(a), Value::String(b)) if path.ends_with("k8s.v1.cni.cncf.io/networks") => {
            if b.contains(a.trim_end_matches(']')) {
                Ok(())
            } else {
                Err(format!("{path}: {b} lacks {a}"))
            }
        }
        (a, b) if a == b => Ok(()),
        (a, b) => Err(format!("{path}: {a} became {b}")),
    }
}

fn is_default(key: &str, value: &Value) -> bool {
    matches!(
        (key, value.to_string().as_str()),
        ("terminationGracePeriodSeconds", "30")
            | ("terminationMessagePolicy", "\"File\"")
            | ("imagePullPolicy", "\"Always\"" | "\"IfNotPresent\"")
            | ("timeoutSeconds" | "successThreshold", "1")
            | ("periodSeconds", "10")
            | ("failureThreshold", "3")
            | ("path", "\"/\"")
            | ("tolerationSeconds", "300")
            | ("dnsPolicy", "\"ClusterFirst\"")
            | ("serviceAccountName" | "serviceAccount", "\"default\"")
            // Nor does the API server keep a null.
            | (_, "null")
    )
}

fn pods() -> impl Strategy<Value = Value> {
    let member = select(vec![
        ("pd", Some("decode")),
        ("pd", Some("prefill")),
        ("general", None),
        ("dp", Some("decode")),
        ("dp", Some("prefill")),
        ("particular", None),
    ]);
    let index = option::of(select(vec!["0", "1", "3"]));
    let fabric = option::of(select(vec!["none", "roce-multus", "infiniband", "gke-rdma"]));
    let networks = option::of(select(vec!["a", "a, b@net1", "roce-p2", r#"[{"name":"x"}]"#]));
    (
        (member, index, fabric, networks),
        (vec(container(), 0..3), vec(container(), 0..2), volumes(), btree_map("[a-z]{1,4}", any_json(), 0..3)),
        (option::of(Just(30)), option::of(select(vec!["default", "mine"])), any::<bool>()),
    )
        .prop_map(|((member, index, fabric, networks), (containers, inits, volumes, unknown), (grace, account, defaults))| {
            let mut labels = json!({"inject.llmisvc.io/service": member.0});
            if let Some(role) = member.1 {
                labels["inject.llmisvc.io/role"] = json!(role);
            }
            if let Some(index) = index {
                labels["leaderworkerset.sigs.k8s.io/worker-index"] = json!(index);
            }
            let mut annotations = Map::new();
            if let Some(fabric) = fabric {
                annotations.insert("inject.llmisvc.io/fabric".to_owned(), json!(fabric));
            }
            if let Some(networks) = networks {
                annotations.insert("k8s.v1.cni.cncf.io/networks".to_owned(), json!(networks));
            }
            let mut spec: Map<String, Value> =
                unknown.into_iter().map(|(key, value)| (format!("x-{key}"), value)).collect();
            spec.insert("containers".to_owned(), named_once(containers, &["main", "logs", "vllm"]));
            let inits = named_once(inits, &["llm-d-routing-sidecar", "setup"]);
            if inits != json!([]) {
                spec.insert("initContainers".to_owned(), inits);
            }
            if volumes != json!([]) {
                spec.insert("volumes".to_owned(), volumes);
            }
            if let Some(grace) = grace {
                spec.insert("terminationGracePeriodSeconds".to_owned(), json!(grace));
            }
            if let Some(account) = account {
                spec.insert("serviceAccountName".to_owned(), json!(account));
                spec.insert("serviceAccount".to_owned(), json!(account));
            }
            if defaults {
                spec.insert("tolerations".to_owned(), json!([toleration(300)]));
                spec.insert("imagePullSecrets".to_owned(), Value::Null);
                spec.insert("securityContext".to_owned(), json!({}));
                spec.insert("dnsPolicy".to_owned(), json!("ClusterFirst"));
                spec.insert("restartPolicy".to_owned(), json!("Always"));
            }
            let mut metadata = json!({"generateName": "p-", "labels": labels});
            if !annotations.is_empty() {
                metadata["annotations"] = Value::Object(annotations);
            }
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {}})
        })
}

/// Containers have one name each: the API server sees to that.
fn named_once(mut containers: Vec<Value>, names: &[&str]) -> Value {
    containers.truncate(names.len());
    for (container, name) in containers.iter_mut().zip(names) {
        container["name"] = json!(name);
    }
    Value::Array(containers)
}

#[expect(clippy::too_many_lines, reason = "one table of what a container may hold")]
fn container() -> impl Strategy<Value = Value> {
    let args = vec(
        select(vec![
            "--seed=1",
            "--enforce-eager",
            "--max-model-len",
            "8192",
            "-tp",
            "2",
            "--port",
            "9000",
            "--served-model-name",
            "a",
            "b",
            "--kv_transfer_config",
            "{\"kv_connector\":\"X\"}",
            "--",
            "--kv-transfer-config.kv_role",
            "kv_both",
            "--no-x",
            "-O3",
            "{}",
        ]),
        0..6,
    );
    let env = vec(
        (
            select(vec![
                "HOME",
                "VLLM_ADDITIONAL_ARGS",
                "UCX_TLS",
                "VLLM_NIXL_SIDE_CHANNEL_PORT",
                "MINE",
            ]),
            option::of(select(vec!["", "5700", "--seed 7 --max-num-seqs 3", "--x 'open"])),
        ),
        0..4,
    );
    let mounts =
        vec(select(vec!["/dev/shm", "/dev/shm/", "/models", "/mnt/models", "/data"]), 0..3);
    let probe = option::of(select(vec![
        json!({"httpGet": {"path": "/", "port": 1, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10}),
        json!({"exec": {"command": ["true"]}, "failureThreshold": 3}),
        json!({"tcpSocket": {"port": 2}, "periodSeconds": 7}),
    ]));
    let command = option::of(select(vec![
        json!(["vllm", "serve", "/mnt/models"]),
        json!(["/bin/bash", "-c", "exec vllm serve $VLLM_ADDITIONAL_ARGS \"$@\"", "--"]),
        json!(["sleep", "infinity"]),
        json!(["python3", "-m", "vllm.entrypoints.openai.api_server", "--port", "8000"]),
    ]));
    let resources = option::of(select(vec![
        json!({}),
        json!({"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1", "memory": "1Gi"}}),
        json!({"limits": {"rdma/ib": 2}}),
    ]));
    (
        select(vec!["auto", "mine:1", "mine"]),
        (args, env, mounts),
        (probe, command, resources),
        any_json(),
    )
        .prop_map(|(image, (args, env, mounts), (probe, command, resources), unknown)| {
            let mut container = json!({
                "name": "", "image": image, "x-unknown": unknown,
                "terminationMessagePolicy": "File",
                "imagePullPolicy": if image == "mine:1" { "IfNotPresent" } else { "Always" },
            });
            if !args.is_empty() {
                container["args"] = json!(args);
            }
            if !env.is_empty() {
                container["env"] = env
                    .into_iter()
                    .map(|(name, value)| match value {
                        Some(value) => json!({"name": name, "value": value}),
                        None => json!({"name": name}),
                    })
                    .collect();
            }
            // Two mounts on one path are refused by the API server.
            let mut paths: Vec<&str> = Vec::new();
            for path in mounts {
                if !paths
                    .iter()
                    .any(|other| other.trim_end_matches('/') == path.trim_end_matches('/'))
                {
                    paths.push(path);
                }
            }
            if !paths.is_empty() {
                container["volumeMounts"] =
                    paths.iter().map(|path| json!({"name": "data", "mountPath": path})).collect();
            }
            for (member, value) in
                [("livenessProbe", probe), ("command", command), ("resources", resources)]
            {
                if let Some(value) = value {
                    container[member] = value;
                }
            }
            container
        })
}

fn volumes() -> impl Strategy<Value = Value> {
    option::of(select(vec![
        json!([{"name": "data", "emptyDir": {}}]),
        json!([{"name": "dshm", "emptyDir": {}}, {"name": "data", "hostPath": {"path": "/d", "type": ""}}]),
        json!([{"name": "home", "secret": {"secretName": "s", "defaultMode": 420}}]),
    ]))
    .prop_map(|volumes| volumes.unwrap_or_else(|| json!([])))
}

/// Any JSON, not deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("a JSON number", |number| number.is_finite())
            .prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let keys = prop_oneof![
            ".{0,4}",
            select(vec![
                "name",
                "spec",
                "containers",
                "metadata",
                "labels",
                "image",
                "env",
                "args",
                "volumes"
            ])
            .prop_map(str::to_owned),
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((keys, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
