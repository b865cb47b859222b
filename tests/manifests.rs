//! The manifests as kustomize renders them, without a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use llmisvc_webhook::catalog::Settings;
use llmisvc_webhook::presets::ReleaseSet;
use llmisvc_webhook::workload::{self, By, Claim, keys};
use llmisvc_webhook::{api, yaml};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_llmisvc-webhook");
const NAMESPACE: &str = "llmisvc-system";
const NAME: &str = "llmisvc-webhook";

/// Every installation, as a folder below `manifests`.
const INSTALLATIONS: [&str; 4] =
    [".", "overlays/beside-kserve", "overlays/cert-manager", "overlays/development"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    yaml::documents(&text).into_iter().map(|it| it.value.unwrap()).collect()
}

/// kubectl: where the test cluster's programs are, else the one that is installed.
fn kubectl() -> Option<PathBuf> {
    let ready = std::env::var_os("KUBEBUILDER_ASSETS").map(|it| PathBuf::from(it).join("kubectl"));
    let built = root().join("tests/cluster/bin/kubectl");
    let found = ready.into_iter().chain([built, PathBuf::from("kubectl")]).find(|it| {
        Command::new(it).args(["version", "--client"]).output().is_ok_and(|it| it.status.success())
    });
    if found.is_none() {
        eprintln!("skipped: kubectl is not installed, and not built (`make cluster-binaries`)");
    }
    found
}

/// The objects of an installation; each is rendered once.
fn rendered(installation: &str) -> Option<&'static [Value]> {
    static RENDERED: LazyLock<Option<Vec<Vec<Value>>>> = LazyLock::new(|| {
        let kubectl = kubectl()?;
        Some(INSTALLATIONS.iter().map(|it| render(&kubectl, it)).collect())
    });
    let at = INSTALLATIONS.iter().position(|it| *it == installation).unwrap();
    RENDERED.as_ref().map(|all| &*all[at])
}

fn render(kubectl: &Path, installation: &str) -> Vec<Value> {
    let output = Command::new(kubectl)
        .args(["kustomize", &format!("manifests/{installation}")])
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{installation}: {errors}");
    assert!(errors.is_empty(), "{installation}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    yaml::documents(&text).into_iter().map(|it| it.value.unwrap()).collect()
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|it| it["kind"] == kind).collect()
}

fn only<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn the_definitions_are_what_the_program_prints() {
    for kind in ["llminferenceservices", "llminferenceserviceconfigs"] {
        let output = Command::new(BINARY).args(["crds", kind]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let file = format!("manifests/crds/{kind}.yaml");
        assert!(
            std::fs::read_to_string(root().join(&file)).unwrap() == printed,
            "{file} is out of date: run `cargo run -- crds {kind} > {file}`"
        );
    }
}

#[test]
fn the_settings_are_all_there_with_their_defaults() {
    let file = read(&root().join("manifests/base/settings.yaml")).remove(0);
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    let names = |value: &Value| -> BTreeSet<String> {
        let fabric = value["fabric"].as_object().unwrap().keys().map(|it| format!("fabric.{it}"));
        value.as_object().unwrap().keys().cloned().chain(fabric).collect()
    };
    assert_eq!(names(&file), names(&defaults));
    let read: Settings = serde_json::from_value(file).unwrap();
    assert_eq!(read, Settings::default());
}

/// Every right of an installation, as (kind of role, rule).
fn rules(objects: &[Value]) -> Vec<(&str, &Value)> {
    objects
        .iter()
        .filter(|it| it["kind"] == "Role" || it["kind"] == "ClusterRole")
        .flat_map(|it| {
            let kind = it["kind"].as_str().unwrap();
            it["rules"].as_array().unwrap().iter().map(move |rule| (kind, rule))
        })
        .collect()
}

#[test]
fn no_installation_has_a_right_too_many() {
    for installation in INSTALLATIONS {
        let Some(objects) = rendered(installation) else { return };
        let mut allowed = BTreeSet::new();
        for (kind, rule) in rules(objects) {
            assert_eq!(rule["nonResourceURLs"], Value::Null);
            let names = texts(&rule["resourceNames"]).join(",");
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        allowed.insert(format!("{kind} {verb} {group}/{resource} {names}"));
                    }
                }
            }
        }
        let mut expected = BTreeSet::new();
        let mut allow = |kind: &str, verbs: &[&str], what: &str| {
            expected.extend(verbs.iter().map(|verb| format!("{kind} {verb} {what}")));
        };
        let read = &["get", "list", "watch"];
        allow("ClusterRole", read, "serving.kserve.io/llminferenceservices ");
        allow("ClusterRole", read, "serving.kserve.io/llminferenceserviceconfigs ");
        allow("ClusterRole", read, "/namespaces ");
        allow("ClusterRole", &["create", "patch"], "events.k8s.io/events ");
        for (resource, name) in [
            ("mutatingwebhookconfigurations", "mutate.inject.llmisvc.io"),
            ("validatingwebhookconfigurations", "validate.inject.llmisvc.io"),
        ] {
            let what = format!("admissionregistration.k8s.io/{resource} {name}");
            allow("ClusterRole", read, &what);
            if installation != "overlays/cert-manager" {
                allow("ClusterRole", &["patch"], &what);
            }
        }
        if installation != "overlays/cert-manager" {
            allow("Role", &["get", "list", "watch", "update"], "/secrets llmisvc-webhook-ca");
        }
        assert_eq!(allowed, expected, "{installation}");
        for binding in objects.iter().filter(|it| it["roleRef"].is_object()) {
            let account = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]);
            assert_eq!(binding["subjects"], account, "{installation}");
        }
    }
}

#[test]
fn the_parts_fit_together() {
    for installation in INSTALLATIONS {
        let Some(objects) = rendered(installation) else { return };
        for object in objects {
            let cluster_wide = ["Namespace", "CustomResourceDefinition"]
                .map(Value::from)
                .contains(&object["kind"])
                || object["kind"].as_str().unwrap().starts_with("Cluster")
                || object["kind"].as_str().unwrap().ends_with("WebhookConfiguration");
            let namespace = if cluster_wide { Value::Null } else { NAMESPACE.into() };
            assert_eq!(
                object["metadata"]["namespace"], namespace,
                "{}",
                object["metadata"]["name"]
            );
        }
        let definitions = of_kind(objects, "CustomResourceDefinition").len();
        assert_eq!(definitions, if installation.ends_with("beside-kserve") { 0 } else { 2 });
        let clients = webhooks(objects).map(|it| &it["clientConfig"]);
        if installation.ends_with("development") {
            assert!(of_kind(objects, "Deployment").is_empty());
            assert!(of_kind(objects, "Service").is_empty());
            for client in clients {
                let members: Vec<_> = client.as_object().unwrap().keys().collect();
                assert_eq!(members, ["url"]);
            }
            continue;
        }
        let deployment = only(objects, "Deployment");
        let pod = &deployment["spec"]["template"];
        let selects = |selector: &Value| {
            let selector = selector.as_object().unwrap();
            !selector.is_empty()
                && selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
        };
        let service = only(objects, "Service");
        assert!(selects(&service["spec"]["selector"]));
        assert!(selects(&deployment["spec"]["selector"]["matchLabels"]));
        assert!(selects(&only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]));
        let container = &pod["spec"]["containers"][0];
        let ports = container["ports"].as_array().unwrap();
        for port in service["spec"]["ports"].as_array().unwrap() {
            assert!(ports.iter().any(|it| it["name"] == port["targetPort"]), "{port}");
        }
        for client in clients {
            let target = &client["service"];
            assert_eq!(target["name"], service["metadata"]["name"]);
            assert_eq!(target["namespace"], NAMESPACE);
            assert_eq!(target["port"], service["spec"]["ports"][0]["port"]);
        }
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert!(volumes.iter().any(|it| it["name"] == mount["name"]), "{mount}");
        }
        let settings = only(objects, "ConfigMap");
        assert_eq!(volumes[0]["configMap"]["name"], settings["metadata"]["name"]);
        assert_eq!(
            pod["spec"]["serviceAccountName"],
            only(objects, "ServiceAccount")["metadata"]["name"]
        );
    }
}

#[test]
fn the_program_takes_the_arguments_of_its_deployment() {
    for installation in [".", "overlays/cert-manager"] {
        let Some(objects) = rendered(installation) else { return };
        let container = &only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let hook = texts(&container["lifecycle"]["preStop"]["exec"]["command"]);
        assert_eq!(hook[0], "/llmisvc-webhook");
        for arguments in [texts(&container["args"]), hook[1..].to_vec()] {
            // Arguments before this one are read first, and refused when they are not known.
            let help = Command::new(BINARY).args(&arguments).arg("--help").output().unwrap();
            assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
        }
    }
}

#[test]
fn nothing_in_the_pod_is_privileged() {
    let Some(objects) = rendered(".") else { return };
    let spec = &only(objects, "Deployment")["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(
        pod["containers"][0]["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    // The preStop hook, the delay before the listener closes and the drain fit in.
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 5 + 3 + 15);
}

fn webhooks(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().flat_map(|it| it["webhooks"].as_array().into_iter().flatten())
}

/// Whether a pod with these labels is sent to a webhook, by its objectSelector.
fn is_selected(webhook: &Value, labels: &Value) -> bool {
    let selector = webhook["objectSelector"].as_object().unwrap();
    assert_eq!(selector.keys().collect::<Vec<_>>(), ["matchExpressions"]);
    selector["matchExpressions"].as_array().unwrap().iter().all(|it| {
        let value = labels.get(it["key"].as_str().unwrap());
        let is_listed = value.is_some_and(|value| {
            it["values"].as_array().into_iter().flatten().any(|it| it == value)
        });
        match it["operator"].as_str().unwrap() {
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "In" => is_listed,
            "NotIn" => !is_listed,
            other => panic!("{other}"),
        }
    })
}

/// The API server sends what the program would look at, and nothing else: those that opted in to the
/// three of which the last refuses while nobody answers, KServe's to the one that does not.
#[test]
fn the_registration_selects_what_the_program_takes() {
    let Some(objects) = rendered(".") else { return };
    let registration = only(objects, "MutatingWebhookConfiguration");
    let webhooks = registration["webhooks"].as_array().unwrap();
    let components = [
        keys::COMPONENT_WORKLOAD,
        keys::COMPONENT_PREFILL,
        keys::COMPONENT_LEADER,
        keys::COMPONENT_WORKER,
        keys::COMPONENT_LEADER_PREFILL,
        keys::COMPONENT_WORKER_PREFILL,
        "llminferenceservice-prefill",
        "llminferenceservice-router",
        "llminferenceservice-router-scheduler",
        "other",
    ];
    let mut counts = [0; 3];
    for component in components.map(Some).into_iter().chain([None]) {
        for part_of in [Some(keys::LLM_INFERENCE_SERVICE), Some("other"), None] {
            for service in [Some("s"), None] {
                for inject in [Some("true"), Some("false"), Some("disabled"), None] {
                    let labels: serde_json::Map<String, Value> = [
                        (keys::COMPONENT, component),
                        (keys::PART_OF, part_of),
                        (keys::SERVICE, service),
                        (keys::INJECT, inject),
                        (keys::NAME, Some("s")),
                    ]
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.to_owned(), value?.into())))
                    .collect();
                    let labels = Value::from(labels);
                    let pod = json!({"metadata": {"labels": labels}});
                    let expected = match workload::claim(&pod).unwrap() {
                        Claim::Member(member) if member.by == By::Label => 0,
                        Claim::Member(_) => 1,
                        Claim::LeaveAlone(_) => 2,
                    };
                    let selected: Vec<usize> =
                        (0..4).filter(|it| is_selected(&webhooks[*it], &labels)).collect();
                    // Who asked has three attempts.
                    let wanted: &[usize] = [&[0, 1, 2][..], &[3], &[]][expected];
                    assert_eq!(selected, wanted, "{labels}");
                    counts[expected] += 1;
                }
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

#[test]
fn the_registrations_say_what_happens_while_nobody_answers() {
    for installation in INSTALLATIONS {
        let Some(objects) = rendered(installation) else { return };
        let said: Vec<_> = webhooks(objects)
            .map(|it| {
                assert_eq!(it["sideEffects"], "None");
                let last = it["name"].as_str().unwrap().matches('.').count() == 3;
                assert_eq!(it["timeoutSeconds"], if last { 5 } else { 2 });
                assert_eq!(it["matchPolicy"], "Equivalent");
                assert_eq!(it["admissionReviewVersions"], json!(["v1"]));
                assert_eq!(
                    it["clientConfig"].get("caBundle"),
                    None,
                    "it is the field of another manager"
                );
                (it["name"].as_str().unwrap(), it["failurePolicy"].as_str().unwrap())
            })
            .collect();
        assert_eq!(
            said,
            [
                ("first.pods.inject.llmisvc.io", "Ignore"),
                ("second.pods.inject.llmisvc.io", "Ignore"),
                ("pods.inject.llmisvc.io", "Fail"),
                ("kserve-pods.inject.llmisvc.io", "Ignore"),
                ("services.inject.llmisvc.io", "Fail"),
            ]
        );
        let registration = only(objects, "MutatingWebhookConfiguration");
        let name = registration["metadata"]["name"].as_str().unwrap();
        assert!(name > "lws-mutating-webhook-configuration", "called before LeaderWorkerSet's");
        for webhook in registration["webhooks"].as_array().unwrap() {
            assert_eq!(webhook["reinvocationPolicy"], "IfNeeded");
            assert_eq!(
                webhook["namespaceSelector"]["matchExpressions"],
                json!([{
                    "key": "kubernetes.io/metadata.name", "operator": "NotIn",
                    "values": ["kube-system", NAMESPACE],
                }])
            );
            assert_eq!(
                webhook["rules"],
                json!([{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["pods"], "scope": "Namespaced",
                }])
            );
        }
    }
}

#[test]
fn presets_and_examples_have_known_fields_only() {
    let mut objects: Vec<Value> = [ReleaseSet::V0_17, ReleaseSet::V0_20]
        .into_iter()
        .flat_map(|set| set.configs().iter().map(|it| it.object.clone()).collect::<Vec<_>>())
        .collect();
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "yaml") {
            objects
                .extend(read(&path).into_iter().filter(|it| api::Object::read(it.clone()).is_ok()));
        }
    }
    assert!(objects.len() > 12, "{}", objects.len());
    for object in objects {
        let unknown = api::unknown_fields(&object);
        assert!(unknown.is_empty(), "{}: {unknown:?}", object["metadata"]["name"]);
    }
}
