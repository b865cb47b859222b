//! The secondary network over which prefill and decode exchange the KV cache.

use serde_json::{Value, json};

use super::container::{add_env, named, named_mut};
use super::{Refusal, Site};
use crate::catalog::{FabricSettings, hint};
use crate::decision::{Warning, quoted};
use crate::json;
use crate::quantity;
use crate::workload::{By, keys};

pub(crate) mod networks;

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
const ACCELERATORS: [&str; 6] = [
    "nvidia.com/gpu",
    "amd.com/gpu",
    "google.com/tpu",
    "habana.ai/gaudi",
    "gpu.intel.com/xe",
    "gpu.intel.com/i915",
];
const ACCELERATOR_PREFIXES: [&str; 1] = ["nvidia.com/mig-"];

/// More than any node has, and few enough to write a network for each.
const MOST_ACCELERATORS: u64 = 256;

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
    match plan(site, choice.name.trim(), pod, engine) {
        Ok(parts) => parts.add_to(pod, engine),
        // A pod of KServe's is never refused, and need not lose the rest for its fabric.
        Err((code, message)) if choice.asked && site.by == By::Label => {
            return Err(Refusal::at(code, choice.field, message));
        }
        Err((code, message)) => {
            warnings.push(Warning::new(code, format!("{message} ({})", choice.field)));
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

/// What a profile adds to a pod.
#[derive(Default)]
struct Parts {
    /// The networks annotation as it should be.
    networks: Option<String>,
    /// Other annotations, each only where absent.
    annotations: Vec<(&'static str, String)>,
    resource: Option<(String, u64)>,
    env: &'static [(&'static str, &'static str)],
}

/// Works out what the profile adds, before anything is changed: a profile is added whole or not.
fn plan(
    site: &Site<'_>,
    name: &str,
    pod: &Value,
    engine: &str,
) -> Result<Parts, (&'static str, String)> {
    let settings = &site.settings.fabric;
    let networks = |count| networks_with(site.namespace, pod, &settings.network, count);
    let Some((_, profile)) = PROFILES.iter().find(|(known, _)| *known == name) else {
        let names = PROFILES.map(|(name, _)| name);
        return Err((
            "unknown-fabric",
            format!("{} is not a fabric profile; {}", quoted(name), hint(name, "profiles", &names)),
        ));
    };
    let accelerators = || match count_accelerators(pod, engine) {
        count @ 1..=MOST_ACCELERATORS => Ok(count),
        0 => Err((
            "no-accelerator",
            format!(
                "profile {name} counts by accelerator, and container {engine} has no limit for one; \
                 write resources.limits, e.g. nvidia.com/gpu: \"8\""
            ),
        )),
        count => Err((
            "too-many-accelerators",
            format!(
                "profile {name} counts by accelerator, and container {engine} has a limit of {count}; \
                 no node has more than {MOST_ACCELERATORS}"
            ),
        )),
    };
    Ok(match profile {
        Profile::None => Parts::default(),
        Profile::RoceMultus => Parts {
            networks: Some(networks(1)?),
            resource: Some((settings.roce_resource.clone(), 1)),
            env: &[("KSERVE_INFER_ROCE", "true"), ("UCX_TLS", "rc,sm,self,cuda_copy,cuda_ipc")],
            ..Parts::default()
        },
        Profile::Sriov => {
            let count = accelerators()?;
            Parts {
                networks: Some(networks(count)?),
                resource: Some((settings.vf_resource.clone(), count)),
                env: &[("UCX_IB_GID_INDEX", "3")],
                ..Parts::default()
            }
        }
        Profile::Infiniband => {
            Parts { resource: Some((settings.infiniband_resource.clone(), 1)), ..Parts::default() }
        }
        Profile::Efa => {
            let count = accelerators()?.saturating_mul(u64::from(settings.efa_per_accelerator));
            Parts {
                resource: Some((settings.efa_resource.clone(), count)),
                env: &[("FI_PROVIDER", "efa")],
                ..Parts::default()
            }
        }
        Profile::GkeRdma => Parts {
            annotations: vec![
                ("networking.gke.io/default-interface", "eth0".to_owned()),
                ("networking.gke.io/interfaces", gke_interfaces(settings)),
            ],
            env: &[("NCCL_TUNER_PLUGIN", "none"), ("GLOO_SOCKET_IFNAME", "eth0")],
            ..Parts::default()
        },
    })
}

impl Parts {
    fn add_to(self, pod: &mut Value, engine: &str) {
        let Self { networks, annotations, resource, env } = self;
        if (networks.is_some() || !annotations.is_empty())
            && let Some(own) = json::at_mut_or_insert(pod, &["metadata", "annotations"])
        {
            for (key, value) in annotations {
                own.entry(key).or_insert(Value::String(value));
            }
            if let Some(networks) = networks {
                own.insert(keys::NETWORKS.to_owned(), Value::String(networks));
            }
        }
        let container = pod.get_mut("spec").and_then(|spec| named_mut(spec, "containers", engine));
        let Some(container) = container else { return };
        if let Some((resource, count)) = resource {
            add_resource(container, &resource, count);
        }
        for (name, value) in env {
            add_env(container, json!({"name": name, "value": value}));
        }
    }
}

/// The networks annotation with `network` in it `count` times.
fn networks_with(
    namespace: &str,
    pod: &Value,
    network: &str,
    count: u64,
) -> Result<String, (&'static str, String)> {
    let written = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.get(keys::NETWORKS)?.as_str())
        .unwrap_or_default();
    networks::add(written, network, count, namespace).map_err(|reason| {
        ("bad-networks", format!("metadata.annotations[{}]: {reason}", keys::NETWORKS))
    })
}

/// A resource that the author named in limits or requests is his.
fn add_resource(container: &mut Value, resource: &str, count: u64) {
    let Some(resources) = json::at_mut_or_insert(container, &["resources"]) else { return };
    let named = |list: &str| resources.get(list).is_some_and(|list| list.get(resource).is_some());
    if named("limits") || named("requests") {
        return;
    }
    for list in ["limits", "requests"] {
        if let Some(list) = json::at_mut_or_insert(container, &["resources", list]) {
            list.insert(resource.to_owned(), json!(count.to_string()));
        }
    }
}

/// Accelerators of the engine's container.
fn count_accelerators(pod: &Value, engine: &str) -> u64 {
    let container = pod.get("spec").and_then(|spec| named(spec, "containers", engine));
    let counts = container.map(|container| accelerators(container, "limits")).unwrap_or_default();
    counts
        .into_iter()
        .filter_map(|(_, quantity)| u64::try_from(quantity::of(quantity)?).ok())
        .fold(0, u64::saturating_add)
}

/// The accelerators that a container asks for in a list of its resources (`limits`, `requests`): the
/// resource's name and the quantity as it is written.
pub(crate) fn accelerators<'c>(container: &'c Value, list: &str) -> Vec<(&'c str, &'c Value)> {
    let listed = json::at(container, &["resources", list]).and_then(Value::as_object);
    listed
        .into_iter()
        .flatten()
        .map(|(name, quantity)| (name.as_str(), quantity))
        .filter(|(name, _)| is_accelerator(name))
        .collect()
}

/// Whether a resource counts accelerators.
pub(crate) fn is_accelerator(resource: &str) -> bool {
    ACCELERATORS.contains(&resource)
        || ACCELERATOR_PREFIXES.iter().any(|prefix| resource.starts_with(prefix))
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
