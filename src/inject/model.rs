//! Where the model comes from: downloaded, claimed, or an image; always at /mnt/models.

use serde_json::{Value, json};

use super::container::{
    default_pull_policy, is_placeholder, list, mount_path, mounts, name, named, named_mut, push,
};
use crate::catalog::Settings;
use crate::decision::Refusal;
use crate::presets::ReleaseSet;
use crate::workload::keys;

/// Where the presets' engine reads the model.
const PATH: &str = "/mnt/models";
/// Name of the init container that downloads, as KServe calls it: an author who writes one of that
/// name adds to ours.
pub(crate) const DOWNLOADER: &str = "storage-initializer";
/// The volume it fills, as KServe calls it.
const VOLUME: &str = "kserve-provision-location";

/// Gives the engine's container of the pod spec the model at `uri`.
///
/// # Errors
/// [`Refusal`] for a URI that says nothing this knows.
pub(super) fn complete(
    spec: &mut Value,
    engine: &str,
    service: &str,
    uri: &str,
    settings: &Settings,
) -> Result<(), Refusal> {
    let Some(container) = named(spec, "containers", engine) else { return Ok(()) };
    if mounts(container, PATH) {
        return Ok(());
    }
    let (volume, sub_path) = match Source::parse(uri) {
        Some(Source::Download) if named(spec, "containers", DOWNLOADER).is_some() => {
            return Err(Refusal::at(
                "name-taken",
                format!("spec.containers[{DOWNLOADER}].name"),
                format!(
                    "\"{DOWNLOADER}\" is the init container that downloads the model; give this one \
                     another name"
                ),
            ));
        }
        Some(Source::Download) => {
            let volume = add_downloader(spec, uri, settings);
            (json!({"name": volume, "emptyDir": {}}), None)
        }
        Some(Source::Claim { claim, path }) => (
            json!({
                "name": "kserve-pvc-source",
                "persistentVolumeClaim": {"claimName": claim}
            }),
            path,
        ),
        // A model's image holds it in /models: KServe's convention of modelcars.
        Some(Source::Image(reference)) => (
            json!({"name": "kserve-oci-model", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}),
            Some("models"),
        ),
        None => {
            return Err(Refusal::at(
                "bad-model-uri",
                format!("metadata.labels[{}]", keys::SERVICE),
                format!(
                    "LLMInferenceService {service}: spec.model.uri: \"{uri}\" is not a model source; \
                     write hf://ORG/MODEL, s3://BUCKET/PATH, pvc://CLAIM/PATH or oci://IMAGE, or set \
                     spec.storageInitializer.enabled: false and mount {PATH} yourself"
                ),
            ));
        }
    };
    let mut mount = json!({"name": volume.get("name"), "mountPath": PATH, "readOnly": true});
    if let (Some(path), Some(members)) = (sub_path, mount.as_object_mut()) {
        members.insert("subPath".to_owned(), json!(path));
    }
    let known = name(&volume).is_some_and(|name| named(spec, "volumes", name).is_some());
    if !known {
        push(spec, "volumes", volume);
    }
    if let Some(container) = named_mut(spec, "containers", engine) {
        push(container, "volumeMounts", mount);
    }
    Ok(())
}

/// A model URI, read.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    Download,
    Claim { claim: &'a str, path: Option<&'a str> },
    Image(&'a str),
}

impl<'a> Source<'a> {
    fn parse(uri: &'a str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let rest = rest.trim_matches('/');
        if rest.is_empty() {
            return None;
        }
        Some(match scheme {
            "hf" | "s3" => Self::Download,
            "pvc" => match rest.split_once('/') {
                // The API server refuses a way out of the claim.
                Some((_, path)) if path.split('/').any(|part| part == "..") => return None,
                Some((claim, path)) => Self::Claim { claim, path: Some(path.trim_matches('/')) },
                None => Self::Claim { claim: rest, path: None },
            },
            "oci" | "oci+native" => Self::Image(rest),
            _ => return None,
        })
    }
}

/// Adds the downloading init container behind the others, or completes the author's of that name.
/// Returns the volume that it fills.
fn add_downloader(spec: &mut Value, uri: &str, settings: &Settings) -> String {
    let ours = json!({
        "name": DOWNLOADER,
        "image": image(settings),
        "args": [uri, PATH],
        "resources": {
            "limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "100m", "memory": "100Mi"}
        },
        "volumeMounts": [{"name": VOLUME, "mountPath": PATH}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}
        }
    });
    let Some(own) = named_mut(spec, "initContainers", DOWNLOADER) else {
        push(spec, "initContainers", ours);
        return VOLUME.to_owned();
    };
    let filled = list(Some(own), "volumeMounts")
        .iter()
        .find(|mount| mount_path(mount) == Some(PATH))
        .and_then(|mount| name(mount).map(str::to_owned));
    let mut above = own.take();
    if is_placeholder(&above)
        && let Some(members) = above.as_object_mut()
    {
        members.insert("image".to_owned(), json!(image(settings)));
        // The API server chose it for the placeholder.
        if let Some(policy) =
            members.get_mut("imagePullPolicy").filter(|policy| *policy == "Always")
        {
            *policy = json!(default_pull_policy(&image(settings)));
        }
    }
    let lists = [ours, above].map(|container| json!({"initContainers": [container]}));
    let [below, above] = lists;
    let merged = crate::json::fill(below, above, crate::json::pod_spec()).unwrap_or_default();
    *own = list(Some(&merged), "initContainers").first().cloned().unwrap_or_default();
    filled.unwrap_or_else(|| VOLUME.to_owned())
}

fn image(settings: &Settings) -> String {
    settings.storage_initializer_image.clone().unwrap_or_else(|| {
        let release = match settings.presets {
            ReleaseSet::V0_17 | ReleaseSet::None => "v0.17.0",
            ReleaseSet::V0_20 => "v0.20.0",
        };
        format!("kserve/storage-initializer:{release}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(uri: &str, spec: &Value) -> Value {
        let mut spec = spec.clone();
        complete(&mut spec, "main", "s", uri, &Settings::default()).unwrap();
        spec
    }

    fn bare() -> Value {
        json!({"initContainers": [{"name": "first"}, {"name": "second"}], "containers": [{"name": "main"}]})
    }

    #[test]
    fn a_download_is_the_last_init_container_and_the_engine_reads_only() {
        for uri in ["hf://org/model", "s3://bucket/path"] {
            let spec = completed(uri, &bare());
            assert_eq!(spec["initContainers"][2]["name"], DOWNLOADER);
            assert_eq!(spec["initContainers"][2]["args"], json!([uri, PATH]));
            assert_eq!(spec["initContainers"][2]["image"], "kserve/storage-initializer:v0.17.0");
            assert_eq!(
                spec["containers"][0]["volumeMounts"],
                json!([{"name": "kserve-provision-location", "mountPath": PATH, "readOnly": true}])
            );
            assert_eq!(
                spec["volumes"],
                json!([{"name": "kserve-provision-location", "emptyDir": {}}])
            );
        }
    }

    #[test]
    fn a_claim_is_mounted_at_its_path() {
        let spec = completed("pvc://claim/a/b", &bare());
        assert_eq!(
            spec["volumes"],
            json!([{"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": "claim"}}])
        );
        assert_eq!(
            spec["containers"][0]["volumeMounts"],
            json!([{"name": "kserve-pvc-source", "mountPath": PATH, "readOnly": true, "subPath": "a/b"}])
        );
        assert_eq!(spec["initContainers"], bare()["initContainers"]);
        assert!(
            completed("pvc://claim", &bare())["containers"][0]["volumeMounts"][0]
                .get("subPath")
                .is_none()
        );
    }

    #[test]
    fn an_image_is_a_volume() {
        let spec = completed("oci://host/model:v1", &bare());
        assert_eq!(spec["volumes"][0]["image"]["reference"], "host/model:v1");
    }

    #[test]
    fn what_is_mounted_there_already_stays() {
        let spec = json!({"containers": [{"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/mnt/models/"}]}]});
        assert_eq!(completed("hf://a/b", &spec), spec);
    }

    #[test]
    fn an_author_adds_to_the_downloader() {
        let mut spec = bare();
        spec["initContainers"] = json!([{"name": DOWNLOADER, "image": "mine:1", "env": [{"name": "HF_TOKEN", "value": "x"}]}]);
        let spec = completed("hf://a/b", &spec);
        assert_eq!(spec["initContainers"][0]["image"], "mine:1");
        assert_eq!(spec["initContainers"][0]["env"][0]["name"], "HF_TOKEN");
        assert_eq!(spec["initContainers"][0]["args"], json!(["hf://a/b", PATH]));
    }

    #[test]
    fn another_scheme_is_refused_with_those_there_are() {
        for uri in ["gs://b/m", "/local", "hf://", "pvc://c/../x", "pvc:///x/"] {
            let outcome = complete(&mut bare(), "main", "s", uri, &Settings::default())
                .map_err(|refusal| refusal.code);
            assert_eq!(
                outcome,
                if uri == "pvc:///x/" { Ok(()) } else { Err("bad-model-uri") },
                "{uri}"
            );
        }
    }
}
