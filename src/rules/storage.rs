//! Where the model's files come from, and the token that opens them.

use serde_json::Value;

use super::case::{Case, at, containers, get, is_subdomain, text};
use super::effective::{Engine, engines};
use super::report::Report;
use super::{Check, Rule, written};
use crate::catalog::{Severity, nearest};
use crate::decision::quoted;
use crate::inject::DOWNLOADER;
use crate::json::{list, named};

const FAMILY: &str = "storage";

/// Schemes that KServe's controller knows (`workload_storage.go`, v0.20).
const SCHEMES: [&str; 5] = ["hf", "s3", "pvc", "oci", "oci+native"];

/// Variables that hold a token of Hugging Face.
const HF_TOKENS: [&str; 2] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
/// Other variables that hold a secret of the storage.
const SECRETS: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Beginnings of the names of models that are given only to who has accepted their licence.
const GATED: [&str; 7] = [
    "meta-llama/",
    "google/gemma-2",
    "google/gemma-3",
    "google/codegemma",
    "google/paligemma",
    "google/shieldgemma",
    "google/medgemma",
];

/// Where the presets' engine reads the model.
const MODELS: &str = "/mnt/models";

/// Billions of parameters from which on a model does not fit beside others on a usual node's disk.
const LARGE: f64 = 200.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "V116",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a model from where KServe cannot take it",
        why: "KServe's controller stops with \"unsupported schema in model URI\" in the status (workload_storage.go), \
              and the webhook has no other sources. Where somebody mounts the model himself, the pods can be \
              made and it is a warning; storageInitializer.enabled: false says so.",
        accepted: "spec: {model: {uri: s3://models/opt-125m}}",
        reported: "spec: {model: {uri: gs://models/opt-125m}}",
        symptom_of: &["K112"],
        check: Check::Service(scheme),
    },
    Rule {
        code: "V117",
        family: FAMILY,
        severity: Severity::Reject,
        title: "pvc:// without a claim that can be",
        why: "What stands behind pvc:// is the name of a PersistentVolumeClaim, then a folder in it. A name that \
              no claim can have, and a folder that leads out of the claim, are refused by the API server when the \
              pods are made. Whether the claim exists is not looked at.",
        accepted: "spec: {model: {uri: pvc://models/opt-125m}}",
        reported: "spec: {model: {uri: pvc://My_Models/opt-125m}}",
        symptom_of: &["K112"],
        check: Check::Service(claim),
    },
    Rule {
        code: "V119",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a gated model without a token",
        why: "Hugging Face gives some models only to who has accepted their licence: without a token the download \
              ends with 401 and the pod restarts for ever. A token may also come from the Secrets of a service \
              account, the default one among them, so that it is a warning.",
        accepted: "
spec:
  model: {uri: hf://meta-llama/Llama-3.1-8B-Instruct, name: llama}
  template: {containers: [{name: main, env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}]}]}
",
        reported: "spec: {model: {uri: hf://meta-llama/Llama-3.1-8B-Instruct, name: llama}}",
        symptom_of: &[],
        check: Check::Service(gated),
    },
    Rule {
        code: "V120",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a token that everybody can read",
        why: "Who may read the service, its pods or a backup of either has the token, and with it everything that \
              its owner may do. A value that is no token by its looks is a warning.",
        accepted: "spec: {template: {containers: [{name: main, env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}]}]}}",
        reported: "spec: {template: {containers: [{name: main, env: [{name: HF_TOKEN, value: hf_abcdefghijklmnop}]}]}}",
        symptom_of: &[],
        check: Check::Any(plain_token),
    },
    Rule {
        code: "V126",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a large model on a disk that nobody reserved",
        why: "The download goes to the node's own disk. Without ephemeral-storage the scheduler does not know of \
              hundreds of gigabytes, and the kubelet evicts the pod, or others, when the disk is full; llm-d's \
              guides ask for 1Ti. Said where the model's name tells of 200 billion parameters or more.",
        accepted: "
spec:
  model: {uri: hf://Qwen/Qwen3-235B-A22B, name: qwen}
  template: {containers: [{name: main, resources: {requests: {ephemeral-storage: 600Gi}, limits: {ephemeral-storage: 600Gi}}}]}
",
        reported: "spec: {model: {uri: hf://Qwen/Qwen3-235B-A22B, name: qwen}}",
        symptom_of: &[],
        check: Check::Pods(disk),
    },
    Rule {
        code: "V129",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a download that may not go online",
        why: "HF_HUB_OFFLINE makes Hugging Face's library look into its cache alone, and the container that \
              downloads the model begins with an empty one: the pod stays in Init:Error. On the engine itself it \
              does no harm.",
        accepted: "spec: {template: {containers: [{name: main, env: [{name: HF_HUB_OFFLINE, value: \"1\"}]}]}}",
        reported: "spec: {template: {containers: [{name: main}], initContainers: [{name: storage-initializer, env: [{name: HF_HUB_OFFLINE, value: \"1\"}]}]}}",
        symptom_of: &[],
        check: Check::Pods(offline),
    },
];

/// The scheme of `spec.model.uri` and what stands behind it, where the model is got for the pods. A
/// template, and what is no URL at all, have none.
fn source<'a>(case: &Case<'a>) -> Option<(&'a str, &'a str)> {
    let spec = case.effective_spec().unwrap_or(case.spec());
    if get(spec, &["storageInitializer", "enabled"]) == Some(&Value::Bool(false)) {
        return None;
    }
    let uri = text(case.spec(), &["model", "uri"])?;
    uri.split_once("://").filter(|_| !uri.contains("{{"))
}

fn scheme(case: &Case<'_>, report: &mut Report) {
    let Some((scheme, _)) = source(case) else { return };
    if SCHEMES.contains(&scheme) {
        return;
    }
    let message = format!("{} is no source of models", quoted(&format!("{scheme}://")));
    let help = nearest(scheme, SCHEMES).map_or_else(
        || "write hf://, s3://, pvc:// or oci://".to_owned(),
        |near| format!("did you mean {near}://?"),
    );
    let place = at(&["model", "uri"]);
    if matches!(case.effective(), Some(Ok(_))) {
        report.unsure(place, message, help);
    } else {
        report.unsupported(place, message, help);
    }
}

fn claim(case: &Case<'_>, report: &mut Report) {
    let Some(("pvc", rest)) = source(case) else { return };
    let (claim, folder) = rest.split_once('/').unwrap_or((rest, ""));
    let place = at(&["model", "uri"]);
    // What is not there at all is told of by another rule.
    if claim.is_empty() && !rest.is_empty() {
        report.invalid(place, "names no claim", "write pvc://CLAIM/FOLDER");
    } else if !claim.is_empty() && !is_subdomain(claim) {
        report.invalid(
            place,
            format!("{} cannot be the name of a claim", quoted(claim)),
            "write lower-case letters, digits, `-` and `.`",
        );
    } else if folder.split('/').any(|part| part == "..") {
        report.invalid(
            place,
            format!("{} leads out of the claim", quoted(folder)),
            "write a folder without `..`",
        );
    }
}

fn gated(case: &Case<'_>, report: &mut Report) {
    let Some(("hf", model)) = source(case) else { return };
    if !GATED.iter().any(|start| model.starts_with(start)) {
        return;
    }
    if engines(case).iter().any(|engine| !may_have_token(engine)) {
        report.invalid(
            at(&["model", "uri"]),
            format!("{} is gated, and the pods are given no token", quoted(model)),
            "give the engine's container HF_TOKEN from a Secret",
        );
    }
}

fn may_have_token(engine: &Engine) -> bool {
    let account = text(&engine.pod, &["serviceAccountName"]);
    account.is_some_and(|account| account != "default")
        || containers(&engine.pod).any(|(_, container)| {
            let variables = list(container, &["env"]).iter();
            let mut names = variables.filter_map(|variable| text(variable, &["name"]));
            get(container, &["envFrom"]).is_some()
                || names.any(|it| HF_TOKENS.contains(&it) || it == "HF_TOKEN_PATH")
        })
}

fn plain_token(case: &Case<'_>, report: &mut Report) {
    for (_, path, variable) in written::variables(case) {
        let name = text(variable, &["name"]).unwrap_or_default();
        let Some(value) = text(variable, &["value"]) else { continue };
        // It refers to what stands elsewhere.
        if value.contains("$(") || value.contains("{{") {
            continue;
        }
        let is_token = HF_TOKENS.contains(&name);
        // The value is a secret: it is not shown.
        let message = format!("{name} is written out");
        let help = "write valueFrom.secretKeyRef, and take the token back: it has been seen";
        if is_token && value.starts_with("hf_") {
            report.forbidden(path.field("value"), message, help);
        } else if is_token || SECRETS.contains(&name) {
            report.unsure(path.field("value"), message, "write valueFrom.secretKeyRef");
        }
    }
}

fn disk(case: &Case<'_>, report: &mut Report) {
    let uri = case.effective_spec().and_then(|spec| text(spec, &["model", "uri"]));
    let Some(uri) = uri else { return };
    let Some(billions) = billions(uri).filter(|billions| *billions >= LARGE) else { return };
    for engine in engines(case) {
        let mut mounts = list(engine.container(), &["volumeMounts"]).iter();
        let volume = mounts
            .find(|mount| text(mount, &["mountPath"]) == Some(MODELS))
            .and_then(|mount| named(get(&engine.pod, &["volumes"])?, text(mount, &["name"])?));
        let disk = volume.and_then(|volume| get(volume, &["emptyDir"]));
        let is_reserved = containers(&engine.pod).any(|(_, it)| {
            ["limits", "requests"]
                .iter()
                .any(|list| get(it, &["resources", list, "ephemeral-storage"]).is_some())
        });
        if disk.is_some_and(|disk| get(disk, &["medium"]).is_none()) && !is_reserved {
            report.invalid(
                engine.field_place(case, &["resources"]),
                format!(
                    "{billions} billion parameters are downloaded to the node's disk, and no \
                     ephemeral-storage is requested"
                ),
                "request ephemeral-storage for the weights, or keep them on a claim (pvc://)",
            );
        }
    }
}

/// Parameters that a model's name tells of, in billions: `235B`, `8x22B`.
fn billions(uri: &str) -> Option<f64> {
    let words = uri.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let size = |word: &str| {
        let number = word.strip_suffix(['b', 'B'])?;
        number.split('x').map(|factor| factor.parse::<f64>().ok()).product::<Option<f64>>()
    };
    words.filter_map(size).filter(|size| size.is_finite()).max_by(f64::total_cmp)
}

fn offline(case: &Case<'_>, report: &mut Report) {
    const OFFLINE: &str = "HF_HUB_OFFLINE";
    let uri = case.effective_spec().and_then(|spec| text(spec, &["model", "uri"]));
    if !uri.is_some_and(|uri| uri.starts_with("hf://")) {
        return;
    }
    for engine in engines(case) {
        let downloader = get(&engine.pod, &["initContainers"]).and_then(|it| named(it, DOWNLOADER));
        let variables = downloader.and_then(|it| get(it, &["env"]));
        let value = variables.and_then(|it| text(named(it, OFFLINE)?, &["value"]));
        if let Some(value) = value
            && ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
        {
            report.invalid(
                engine.container_place(case, "initContainers", DOWNLOADER, &["env"]),
                format!("{OFFLINE}={value}: the model is downloaded here"),
                "remove it; the engine may have it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Severity::{Reject, Warn};
    use crate::rules::tests::{findings, found};

    #[test]
    fn a_name_tells_of_its_parameters() {
        for (uri, expected) in [
            ("hf://Qwen/Qwen3-235B-A22B", Some(235.0)),
            ("hf://mistralai/Mixtral-8x22B-v0.1", Some(176.0)),
            ("hf://Qwen/Qwen2.5-7B-Instruct", Some(7.0)),
            ("hf://a/1.5b", Some(1.5)),
            ("hf://deepseek-ai/DeepSeek-R1", None),
            ("hf://facebook/opt-125m", None),
        ] {
            assert_eq!(billions(uri), expected, "{uri}");
        }
    }
    #[test]
    fn a_token_is_never_shown() {
        for (value, severity) in [("hf_secretsecret", Reject), ("secretsecret", Warn)] {
            let service = format!(
                "spec: {{template: {{containers: [{{name: main, env: [{{name: HF_TOKEN, value: {value}}}]}}]}}}}"
            );
            let findings = findings(&service);
            assert_eq!(findings.iter().map(|it| it.severity).collect::<Vec<_>>(), [severity]);
            assert!(findings.iter().all(|it| !it.text().contains("secretsecret")), "{findings:?}");
        }
        let refers = "spec: {template: {containers: [{name: main, env: [{name: HF_TOKEN, value: $(OTHER)}]}]}}";
        assert_eq!(found(refers), []);
    }

    #[test]
    fn a_source_is_told_of_once() {
        let service =
            |uri: &str, more: &str| format!("spec: {{model: {{uri: \"{uri}\", name: a}}{more}}}");
        for (uri, expected) in [
            ("gs://a/b", vec![("V116", Reject)]),
            ("pvc:///a", vec![("V117", Reject)]),
            ("pvc://a/../b", vec![("V117", Reject)]),
            ("pvc://", vec![("K112", Reject)]),
            ("nowhere", vec![("K112", Reject)]),
            ("oci+native://host/model:v1", vec![]),
        ] {
            assert_eq!(found(&service(uri, "")), expected, "{uri}");
        }
        let mounted = ", template: {containers: [{name: main, volumeMounts: [{name: m, mountPath: /mnt/models}]}], volumes: [{name: m, emptyDir: {}}]}";
        assert_eq!(found(&service("gs://a/b", mounted)), [("V116", Warn)]);
        let own = ", storageInitializer: {enabled: false}";
        assert_eq!(found(&service("gs://a/b", own)), []);
    }
}
