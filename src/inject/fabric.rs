//! The secondary network over which prefill and decode exchange the KV cache.

use serde_json::{Map, Value, json};

use super::container::{add_env, named_mut, object};
use super::{Refusal, Site};
use crate::catalog::{FabricSettings, hint};
use crate::decision::Warning;
use crate::workload::keys;

mod networks;

/// What a profile puts into a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    None,
    RoceMultus,
    Sriov,
    Infiniband,
    Efa,
    GkeRdma,
}

const PROFILES: [(&str, Profile); 6] = [
    ("none", Profile::None),
    ("roce-multus", Profile::RoceMultus),
    ("sriov", Profile::Sriov),
    ("infiniband", Profile::Infiniband),
    ("efa", Profile::Efa),
    ("gke-rdma", Profile::GkeRdma),
];

/// Resources that count accelerators: whole names, and prefixes of families of them.
const ACCELERATORS: [&str; 4] =
    ["nvidia.com/gpu", "amd.com/gpu", "google.com/tpu", "habana.ai/gaudi"];
const ACCELERATOR_PREFIXES: [&str; 2] = ["nvidia.com/mig-", "gpu.intel.com/"];

/// Who named the profile. What was asked for is completed or refused; what was inferred only warns.
struct Choice<'a> {
    name: &'a str,
    field: String,
    asked: bool,
}

/// Completes the pod (`metadata` and `spec`) with the profile that applies.
///
/// # Errors
/// [`Refusal`] for an unknown profile, or one that cannot be completed, where pod or service asked
/// for it; and for a networks annotation that cannot be read.
pub(super) fn complete(
    site: &Site<'_>,
    pod: &mut Value,
    engine: &str,
    warnings: &mut Vec<Warning>,
) -> Result<(), Refusal> {
    let choice = choose(site, pod);
    let outcome = apply(site, &choice, pod.clone(), engine);
    match outcome {
        Ok(completed) => *pod = completed,
        Err((code, message)) if choice.asked => {
            return Err(Refusal::at(code, choice.field, message));
        }
        Err((code, message)) => {
            warnings.push(Warning::new(code, format!("{}: {message}", choice.field)));
        }
    }
    Ok(())
}

/// The pod's annotation, then the service's, then the namespace's label, then the settings.
fn choose<'a>(site: &Site<'a>, pod: &'a Value) -> Choice<'a> {
    let annotation = format!("annotations[{}]", keys::FABRIC);
    let of_pod = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.get(keys::FABRIC)?.as_str());
    if let Some(name) = of_pod {
        return Choice { name, field: format!("metadata.{annotation}"), asked: true };
    }
    if let Some(name) = site.blueprint.fabric.as_deref() {
        let field =
            format!("LLMInferenceService {}: metadata.{annotation}", site.blueprint.service);
        return Choice { name, field, asked: true };
    }
    if let Some(name) = site.namespace_fabric {
        let field = format!("Namespace: metadata.labels[{}]", keys::FABRIC);
        return Choice { name, field, asked: false };
    }
    let name = site.settings.fabric.profile.as_str();
    Choice { name, field: "settings: fabric.profile".to_owned(), asked: false }
}

fn apply(
    site: &Site<'_>,
    choice: &Choice<'_>,
    mut pod: Value,
    engine: &str,
) -> Result<Value, (&'static str, String)> {
    let name = choice.name.trim();
    let Some((_, profile)) = PROFILES.iter().find(|(known, _)| *known == name) else {
        let names = PROFILES.map(|(name, _)| name);
        return Err((
            "unknown-fabric",
            format!("\"{name}\" is not a fabric profile; {}", hint(name, "profiles", &names)),
        ));
    };
    let settings = &site.settings.fabric;
    let accelerators = || {
        count_accelerators(&pod, engine).ok_or_else(|| {
            (
                "no-accelerator",
                format!(
                    "profile {name} counts by accelerator, and container {engine} has no limit for \
                     one; write resources.limits, e.g. nvidia.com/gpu: \"8\""
                ),
            )
        })
    };
    let parts = match profile {
        Profile::None => return Ok(pod),
        Profile::RoceMultus => Parts {
            networks: 1,
            resource: Some((&settings.roce_resource, 1)),
            env: &[("KSERVE_INFER_ROCE", "true"), ("UCX_TLS", "rc,sm,self,cuda_copy,cuda_ipc")],
        },
        Profile::Sriov => {
            let count = accelerators()?;
            Parts {
                networks: count,
                resource: Some((&settings.vf_resource, count)),
                env: &[("UCX_IB_GID_INDEX", "3")],
            }
        }
        Profile::Infiniband => {
            Parts { networks: 0, resource: Some((&settings.infiniband_resource, 1)), env: &[] }
        }
        Profile::Efa => {
            let count = accelerators()?.saturating_mul(u64::from(settings.efa_per_accelerator));
            Parts {
                networks: 0,
                resource: Some((&settings.efa_resource, count)),
                env: &[("FI_PROVIDER", "efa")],
            }
        }
        Profile::GkeRdma => Parts {
            networks: 0,
            resource: None,
            env: &[("NCCL_TUNER_PLUGIN", "none"), ("GLOO_SOCKET_IFNAME", "eth0")],
        },
    };
    if parts.networks > 0 {
        add_networks(&mut pod, &settings.network, parts.networks)?;
    }
    if *profile == Profile::GkeRdma {
        annotate(&mut pod, "networking.gke.io/default-interface", "eth0".to_owned());
        annotate(&mut pod, "networking.gke.io/interfaces", gke_interfaces(settings));
    }
    let container = pod.get_mut("spec").and_then(|spec| named_mut(spec, "containers", engine));
    if let Some(container) = container {
        if let Some((resource, count)) = parts.resource {
            add_resource(container, resource, count);
        }
        for (name, value) in parts.env {
            add_env(container, json!({"name": name, "value": value}));
        }
    }
    Ok(pod)
}

struct Parts<'a> {
    /// How often the pod is attached to the network.
    networks: u64,
    resource: Option<(&'a String, u64)>,
    env: &'static [(&'static str, &'static str)],
}

fn add_networks(pod: &mut Value, network: &str, count: u64) -> Result<(), (&'static str, String)> {
    let written = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.get(keys::NETWORKS)?.as_str())
        .unwrap_or_default();
    let merged = networks::add(written, network, count).map_err(|reason| {
        ("bad-networks", format!("metadata.annotations[{}]: {reason}", keys::NETWORKS))
    })?;
    if let Some(annotations) = annotations(pod) {
        annotations.insert(keys::NETWORKS.to_owned(), Value::String(merged));
    }
    Ok(())
}

/// A resource that the author named in limits or requests is his.
fn add_resource(container: &mut Value, resource: &str, count: u64) {
    let Some(resources) = object(container, "resources") else { return };
    let named = |list: &str| resources.get(list).is_some_and(|list| list.get(resource).is_some());
    if named("limits") || named("requests") {
        return;
    }
    for list in ["limits", "requests"] {
        let list = resources.entry(list).or_insert_with(|| json!({}));
        if let Some(list) = list.as_object_mut() {
            list.insert(resource.to_owned(), json!(count.to_string()));
        }
    }
}

/// Accelerators of the engine's container; `None` for none.
fn count_accelerators(pod: &Value, engine: &str) -> Option<u64> {
    let container = super::container::named(pod.get("spec")?, "containers", engine)?;
    let limits = container.get("resources")?.get("limits")?.as_object()?;
    let count = limits
        .iter()
        .filter(|(name, _)| {
            ACCELERATORS.contains(&name.as_str())
                || ACCELERATOR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .filter_map(|(_, quantity)| {
            quantity.as_u64().or_else(|| quantity.as_str()?.trim().parse::<u64>().ok())
        })
        .sum();
    (count > 0).then_some(count)
}

fn gke_interfaces(settings: &FabricSettings) -> String {
    let rails = settings
        .gke_networks
        .iter()
        .enumerate()
        // eth1 is the second host interface of these machines.
        .map(|(rail, network)| json!({"interfaceName": format!("eth{}", rail + 2), "network": network}));
    let first = json!({"interfaceName": "eth0", "network": "default"});
    Value::Array(std::iter::once(first).chain(rails).collect()).to_string()
}

fn annotate(pod: &mut Value, key: &str, value: String) {
    if let Some(annotations) = annotations(pod) {
        annotations.entry(key).or_insert(Value::String(value));
    }
}

fn annotations(pod: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = pod.as_object_mut()?.entry("metadata").or_insert_with(|| json!({}));
    object(metadata, "annotations")
}
