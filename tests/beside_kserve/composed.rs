//! What KServe's controller adds to what it has composed, by name.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::tree::{Added, Difference, differences, is_default};

/// Something that KServe's controller does to a pod template after composing.
pub(crate) struct Step {
    /// What it is.
    pub(crate) what: &'static str,
    path: String,
    makes: Makes,
}

enum Makes {
    /// The value is there, and composing gives none.
    This(Value),
    /// The list ends with items that templates rendered to nothing; composing drops them.
    Blanks,
    /// A list that begins so, where composing gives none: the rest is the scheduler's configuration,
    /// which is made for the service.
    Begins(Value),
    /// What composing gives is taken away.
    Nothing,
}

/// Where a pool's model comes from.
pub(crate) enum Model<'a> {
    /// An init container downloads this address.
    Downloaded(&'a str),
    /// It lies on a claim, in a folder.
    Claim(&'a str, &'a str),
}

/// The model, mounted into `containers[main]` of a pool.
pub(crate) fn model(model: &Model<'_>) -> Vec<Step> {
    match model {
        Model::Downloaded(address) => {
            let volume = "kserve-provision-location";
            vec![
                added(
                    "the init container that downloads the model",
                    "initContainers[storage-initializer]",
                    storage_initializer(address, &[]),
                ),
                added(
                    "the volume that it downloads to",
                    &format!("volumes[{volume}]"),
                    json!({"name": volume, "emptyDir": {}}),
                ),
                added(
                    "the model, where the engine reads it",
                    "containers[main].volumeMounts[/mnt/models]",
                    json!({"name": volume, "mountPath": "/mnt/models", "readOnly": true}),
                ),
            ]
        }
        Model::Claim(claim, folder) => {
            let volume = "kserve-pvc-source";
            vec![
                added(
                    "the volume that the model lies on",
                    &format!("volumes[{volume}]"),
                    json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}),
                ),
                added(
                    "the model, where the engine reads it",
                    "containers[main].volumeMounts[/mnt/models]",
                    json!({"name": volume, "mountPath": "/mnt/models", "readOnly": true,
                        "subPath": folder}),
                ),
            ]
        }
    }
}

/// The account of pods whose sidecar may read the pool, and of every group.
pub(crate) fn account(name: &str) -> Step {
    added("the ServiceAccount made for the pool", "serviceAccountName", json!(name))
}

/// The API server's copy of [`account`] in Deployments, under the name it had once.
pub(crate) fn account_copy(name: &str) -> Step {
    added("the API server's copy of serviceAccountName", "serviceAccount", json!(name))
}

/// The routing sidecar's, of decode pods.
pub(crate) fn sidecar(service: &str) -> Vec<Step> {
    let sidecar = "initContainers[llm-d-routing-sidecar]";
    vec![
        added(
            "the pool whose pods the sidecar may call",
            &format!("{sidecar}.env[INFERENCE_POOL_NAME]"),
            json!({"name": "INFERENCE_POOL_NAME", "value": format!("{service}-inference-pool")}),
        ),
        blanks("TLS arguments, which render to nothing without TLS", &format!("{sidecar}.command")),
    ]
}

/// The scheduler's, beside its account, for the model that its tokenizer would read.
pub(crate) fn scheduler(model: &Model<'_>) -> Vec<Step> {
    let mut steps = vec![
        Step {
            what: "the configuration of the scheduler's plug-ins",
            path: "containers[main].args".to_owned(),
            makes: Makes::Begins(json!(["--config-text"])),
        },
        blanks("TLS arguments, which render to nothing without TLS", "containers[main].command"),
        Step {
            what: "the tokenizer, left out where no plug-in asks for it",
            path: "containers[tokenizer]".to_owned(),
            makes: Makes::Nothing,
        },
    ];
    match model {
        Model::Downloaded(address) => {
            let files = r#"["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt", "config.json", "generation_config.json"]"#;
            let only = json!({"name": "STORAGE_ALLOW_PATTERNS", "value": files});
            steps.push(added(
                "the init container that downloads what the tokenizer reads",
                "initContainers[storage-initializer]",
                storage_initializer(address, &[only]),
            ));
            steps.push(added(
                "the volume that it downloads to",
                "volumes[kserve-provision-location]",
                json!({"name": "kserve-provision-location", "emptyDir": {}}),
            ));
        }
        Model::Claim(claim, _) => steps.push(added(
            "the volume that the model lies on",
            "volumes[kserve-pvc-source]",
            json!({"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": claim}}),
        )),
    }
    steps
}

fn storage_initializer(address: &str, more: &[Value]) -> Value {
    let mut env = vec![
        json!({"name": "HF_HUB_ENABLE_HF_TRANSFER", "value": "1"}),
        json!({"name": "HF_XET_HIGH_PERFORMANCE", "value": "1"}),
        json!({"name": "HF_XET_NUM_CONCURRENT_RANGE_GETS", "value": "8"}),
    ];
    env.extend(more.iter().cloned());
    json!({
        "name": "storage-initializer",
        "image": "kserve/storage-initializer:latest",
        "imagePullPolicy": "Always",
        "args": [address, "/mnt/models"],
        "env": env,
        "resources": {
            "limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "100m", "memory": "100Mi"},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "kserve-provision-location", "mountPath": "/mnt/models"}],
    })
}

fn added(what: &'static str, path: &str, value: Value) -> Step {
    Step { what, path: path.to_owned(), makes: Makes::This(value) }
}

fn blanks(what: &'static str, path: &str) -> Step {
    Step { what, path: path.to_owned(), makes: Makes::Blanks }
}

impl Step {
    fn explains(&self, difference: &Difference) -> bool {
        if difference.path != self.path {
            return false;
        }
        let list = |value: &Option<Value>| value.as_ref().and_then(Value::as_array).cloned();
        match &self.makes {
            Makes::This(value) => {
                difference.below.is_none() && difference.above.as_ref() == Some(value)
            }
            Makes::Blanks => {
                let Some(mut items) = list(&difference.above) else { return false };
                while items.last().is_some_and(|item| item == "") {
                    items.pop();
                }
                Some(items) == list(&difference.below)
            }
            Makes::Begins(beginning) => {
                let (Some(items), Some(beginning)) =
                    (list(&difference.above), beginning.as_array())
                else {
                    return false;
                };
                difference.below.is_none() && items.starts_with(beginning)
            }
            Makes::Nothing => difference.above.is_none(),
        }
    }
}

/// Every difference between a pod spec that `compose` printed and the one in a workload that KServe's
/// controller made is a default of the API server or one of `steps`, and each of those is there.
pub(crate) fn check(title: &str, composed: &Value, made: &Value, steps: &[Step]) {
    let mut wrong = String::new();
    let mut met = vec![false; steps.len()];
    for difference in differences(composed, made, Added::Anywhere) {
        if let Some(index) = steps.iter().position(|step| step.explains(&difference)) {
            met[index] = true;
            continue;
        }
        let default = difference.below.is_none()
            && difference
                .above
                .as_ref()
                .is_some_and(|value| is_default(&format!(".{}", difference.path), value));
        if !default {
            let _ = writeln!(wrong, "  {difference}");
        }
    }
    assert!(wrong.is_empty(), "{title}: composed, then KServe's:\n{wrong}");
    for (step, met) in steps.iter().zip(met) {
        assert!(met, "{title}: KServe did not do this: {} ({})", step.what, step.path);
    }
}
