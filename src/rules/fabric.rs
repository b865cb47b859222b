//! The network that carries the KV cache: RDMA devices, UCX, secondary networks.

use std::collections::BTreeSet;

use serde_json::Value;

mod table;
mod ucx;

use super::case::{Case, get, is_label, is_privileged, is_true, text};
use super::effective::{EFA, Engine, pods};
use super::flags::ALL_TO_ALL;
use super::report::Report;
use super::resources::is_device;
use super::written;
use crate::catalog::nearest;
use crate::decision::quoted;
use crate::inject::{is_accelerator, networks};
use crate::json::{FieldPath, list};
use crate::quantity;
use crate::vllm::KV_TRANSFER_CONFIG;
use crate::workload::{Position, keys};
use ucx::Transports;

pub(super) use table::RULES;

const TLS: &str = "UCX_TLS";
const DEVICES: &str = "UCX_NET_DEVICES";
const INFER_ROCE: &str = "KSERVE_INFER_ROCE";
const UCX: &str = "UCX";
const LIBFABRIC: &str = "LIBFABRIC";
const GKE: &str = "networking.gke.io/";
const GKE_INTERFACES: &str = "networking.gke.io/interfaces";

/// What is seen of a way from the pod to an RDMA device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    /// There may be one: a resource, a claim, the node's own devices.
    Possible,
    /// Only a secondary network is named; something in the cluster may add a device to it.
    Network,
    None,
}

impl Device {
    fn of(engine: &Engine) -> Self {
        let container = engine.container();
        // Who shares the node's memory may reach the other pod without a network.
        let is_of_node = is_privileged(container)
            || is_true(&engine.pod, &["hostIPC"])
            || list(&engine.pod, &["volumes"]).iter().any(|volume| {
                text(volume, &["hostPath", "path"]).is_some_and(|it| it.starts_with("/dev"))
            });
        let annotations = get(&engine.metadata, &["annotations"]).and_then(Value::as_object);
        let annotated =
            |start: &str| annotations.is_some_and(|it| it.keys().any(|key| key.starts_with(start)));
        if is_of_node
            || engine.has_claims()
            || resources(engine).any(|(name, _)| is_foreign(name))
            || annotated("cdi.k8s.io/")
        {
            Self::Possible
        } else if annotated(keys::NETWORKS) || annotated(GKE) {
            Self::Network
        } else {
            Self::None
        }
    }
}

/// Limits and requests of the engine's container.
fn resources(engine: &Engine) -> impl Iterator<Item = (&str, &Value)> {
    ["limits", "requests"]
        .into_iter()
        .filter_map(|list| get(engine.container(), &["resources", list])?.as_object())
        .flatten()
        .map(|(name, amount)| (name.as_str(), amount))
}

/// Whether a resource is a device plugin's, and no accelerator: administrators choose the names.
fn is_foreign(resource: &str) -> bool {
    is_device(resource) && !is_accelerator(resource)
}

fn has_resource(engine: &Engine, name: &str) -> bool {
    resources(engine).any(|(it, _)| it == name)
}

/// Whether NIXL moves the KV cache over UCX.
fn is_over_ucx(engine: &Engine) -> bool {
    engine.nixl_backends().is_some_and(|names| names.contains(UCX))
}

/// The transports that UCX may use, where the environment says so.
fn transports(engine: &Engine) -> Option<(&str, Transports<'_>)> {
    let value = engine.env(TLS)?;
    // A script may write its own.
    if engine.script.as_deref().is_some_and(|script| script.contains(TLS)) {
        return None;
    }
    Some((value, Transports::parse(value)?))
}

fn no_device(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| is_over_ucx(engine)) {
        let Some((value, transports)) = transports(engine) else { continue };
        if !transports.needs_rdma() {
            continue;
        }
        let place = engine.env_place(case, TLS);
        let message = format!(
            "{TLS}={value} reaches other pods by RDMA alone, and the pod is given no RDMA device"
        );
        let help =
            "add tcp, or give the container its device, e.g. resources.limits rdma/ib: \"1\"";
        match Device::of(engine) {
            Device::Possible => {}
            Device::Network => report.unsure(place, message, help),
            Device::None => report.invalid(place, message, help),
        }
    }
}

fn unused_device(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| is_over_ucx(engine)) {
        let Some(resource) = engine.rdma().filter(|resource| *resource != EFA) else { continue };
        let tls = transports(engine).filter(|(_, transports)| transports.leaves_rdma_out());
        let devices = engine.env(DEVICES).filter(|devices| ucx::only_interfaces(devices));
        let (name, value, instead) = match (tls, devices) {
            (Some((value, _)), _) => (TLS, value, "add rc, or remove it"),
            (None, Some(value)) => (DEVICES, value, "name RDMA devices (mlx5_0:1), or remove it"),
            (None, None) => continue,
        };
        report.invalid(
            engine.env_place(case, name),
            format!("{name}={value} keeps the KV cache on TCP, and {resource} is reserved"),
            instead,
        );
    }
}

fn no_gpu_memory(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| is_over_ucx(engine)) {
        let Some((value, transports)) = transports(engine) else { continue };
        let buffer = engine.nixl().and_then(|config| config.get("kv_buffer_device"));
        let buffer = buffer.and_then(Value::as_str);
        if !transports.leaves_gpu_out() || buffer.is_some_and(|it| it == "cpu") {
            continue;
        }
        let vendors = [("nvidia.com/", "cuda"), ("amd.com/", "rocm"), ("gpu.intel.com/", "ze")];
        let member = vendors.into_iter().find_map(|(start, member)| {
            let is_gpu = |name: &str| name.starts_with(start) && is_accelerator(name);
            resources(engine).any(|(name, _)| is_gpu(name)).then_some(member)
        });
        if let Some(member) = member {
            report.invalid(
                engine.env_place(case, TLS),
                format!("{TLS}={value} has no transport for the memory of GPUs"),
                format!("add {member}"),
            );
        }
    }
}

fn unknown_transport(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let Some((value, transports)) = transports(engine) else { continue };
        for name in transports.unknown() {
            let near = nearest(name, ucx::known());
            report.invalid(
                engine.env_place(case, TLS),
                format!("{TLS}: UCX has no transport {}", quoted(name)),
                near.map_or_else(
                    || "remove it, or leave the variable out: UCX chooses itself".to_owned(),
                    |near| format!("did you mean {near}?"),
                ),
            );
        }
        if let Some(name) = transports.bare() {
            report.invalid(
                engine.env_place(case, TLS),
                format!("{TLS}={value}: {name} has nothing that sets its connections up"),
                "write rc, or add ud",
            );
        }
    }
}

fn only_nccl(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        // Between the pods of a group NCCL does use them.
        if engine.position != Position::Single || !is_over_ucx(engine) {
            continue;
        }
        let variables = list(engine.container(), &["env"]).iter();
        let names: Vec<&str> = variables.filter_map(|it| text(it, &["name"])).collect();
        // One that switches RDMA off steers nothing.
        let nccl = names.iter().find(|it| ["NCCL_IB_HCA", "NCCL_IB_GID_INDEX"].contains(*it));
        let is_steered = engine.env(INFER_ROCE) == Some("true")
            || names.iter().any(|it| {
                [DEVICES, TLS, "UCX_IB_GID_INDEX", "UCX_IB_PREFER_NEAREST_DEVICE"].contains(it)
            });
        if let Some(name) = nccl.filter(|_| !is_steered) {
            let instead = if *name == "NCCL_IB_HCA" { DEVICES } else { "UCX_IB_GID_INDEX" };
            report.invalid(
                engine.env_place(case, name),
                format!(
                    "{name} is NCCL's: NIXL moves the KV cache with UCX, which does not read it"
                ),
                format!("write {instead} for the KV cache"),
            );
        }
    }
}

fn bad_networks(case: &Case<'_>, report: &mut Report) {
    for (path, annotations) in written::annotations(case) {
        let Some(value) = annotations.get(keys::NETWORKS) else { continue };
        let path = path.field(keys::NETWORKS);
        let Some(value) = value.as_str().filter(|value| !value.contains("{{")) else { continue };
        let networks = match networks::parse(value) {
            Ok(networks) => networks,
            Err(reason) => {
                report.invalid(path, reason, "write NAME, NAMESPACE/NAME or NAME@INTERFACE");
                continue;
            }
        };
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (index, network) in networks.iter().enumerate() {
            if !network.name.split(['/', '.']).all(is_label) {
                report.invalid(
                    path.clone(),
                    format!("{} cannot be the name of a network", quoted(&network.name)),
                    "write lower-case letters, digits, `-` and `.`",
                );
            }
            let is_given = network.interface.is_some();
            // Multus counts the others by their place in the list.
            let interface =
                network.interface.clone().unwrap_or_else(|| format!("net{}", index + 1));
            if interface.len() > 15 || interface.contains(|c: char| c == '/' || c.is_whitespace()) {
                report.invalid(
                    path.clone(),
                    format!("{} cannot be the name of an interface", quoted(&interface)),
                    "write up to 15 characters without blanks and `/`",
                );
            } else if names.contains(&interface) {
                let message = format!("two networks have the interface {interface}");
                let help = "give each its own, or leave the names out";
                if is_given {
                    report.invalid(path.clone(), message, help);
                } else {
                    report.unsure(path.clone(), message, help);
                }
            }
            names.insert(interface);
        }
    }
}

fn lost_annotation(case: &Case<'_>, report: &mut Report) {
    let annotations = get(case.object, &["metadata", "annotations"]).and_then(Value::as_object);
    let has = |key: &str| case.get(&["annotations"]).is_some_and(|it| it.get(key).is_some());
    let keys = annotations.into_iter().flatten().map(|(key, _)| key.as_str());
    let lost: Vec<&str> = keys.filter(|key| key.starts_with(GKE) && !has(key)).collect();
    if let Some(first) = lost.first() {
        report.invalid(
            FieldPath::root().field("metadata").field("annotations").field(first),
            format!("KServe does not give {} to the pods", lost.join(" and ")),
            "write it in spec.annotations, and in spec.prefill.annotations",
        );
    }
}

fn efa_backend(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let Some(backends) = engine.nixl_backends() else { continue };
        let (has_efa, is_fabric) = (has_resource(engine, EFA), backends.contains(LIBFABRIC));
        let place = || engine.place(case, KV_TRANSFER_CONFIG);
        if has_efa && !is_fabric && backends.contains(UCX) {
            report.invalid(
                place(),
                format!("{EFA} is reserved, and NIXL's backend is UCX, which emulates RDMA there"),
                "write \"kv_connector_extra_config\":{\"backends\":[\"LIBFABRIC\"]}",
            );
        } else if is_fabric && !has_efa && Device::of(engine) == Device::None {
            report.invalid(
                place(),
                format!("NIXL's backend is {LIBFABRIC}, and the pod is given no network card"),
                format!("give the container {EFA}, or leave the backend to UCX"),
            );
        }
    }
}

fn expert_network(case: &Case<'_>, report: &mut Report) {
    const IBGDA: &str = "NVSHMEM_IB_ENABLE_IBGDA";
    const TRANSPORT: &str = "NVSHMEM_REMOTE_TRANSPORT";
    for engine in pods(case) {
        let is_group = engine.position != Position::Single;
        let is_on = engine.env(IBGDA).is_some_and(|it| ["1", "true", "y"].contains(&it));
        let ibgda = if is_on { Some(IBGDA) } else { None };
        let ibgda =
            ibgda.or_else(|| engine.env(TRANSPORT).filter(|it| *it == "ibgda").map(|_| TRANSPORT));
        if let Some(name) = ibgda.filter(|_| engine.annotation(GKE_INTERFACES).is_some())
            && !is_privileged(engine.container())
        {
            report.invalid(
                engine.env_place(case, name),
                format!(
                    "{name}: a GPU that drives the network card itself needs a privileged container \
                     on GKE, or a driver with PeerMappingOverride=1"
                ),
                "set securityContext.privileged: true, or see that the driver has it",
            );
        }
        let deep_ep = engine.value(ALL_TO_ALL).filter(|it| it.starts_with("deepep_"));
        if let Some(backend) = deep_ep.filter(|_| is_group && Device::of(engine) == Device::None) {
            report.invalid(
                engine.place(case, ALL_TO_ALL),
                format!(
                    "{backend} reaches other nodes by RDMA, and the pod is given no RDMA device"
                ),
                "give the container its device, or write --all2all-backend=allgather_reducescatter",
            );
        }
    }
}

fn not_roce(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.env(INFER_ROCE) == Some("true")) {
        let is_other = |name: &&str| {
            *name == EFA || *name == "rdma/ib" || name.contains("ionic") || name.contains("bnxt")
        };
        if let Some(name) = resources(engine).map(|(name, _)| name).find(is_other) {
            report.invalid(
                engine.env_place(case, INFER_ROCE),
                format!("{INFER_ROCE} finds RoCE on mlx5 devices alone, and the pod has {name}"),
                "remove it; name the devices in UCX_NET_DEVICES and NCCL_IB_HCA where needed",
            );
        }
    }
}

fn functions_and_networks(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let limits = get(engine.container(), &["resources", "limits"]).and_then(Value::as_object);
        let functions: u64 = limits
            .into_iter()
            .flatten()
            .filter(|(name, _)| name.contains("sriov"))
            .filter_map(|(_, written)| u64::try_from(quantity::of(written)?).ok())
            .fold(0, u64::saturating_add);
        let written = engine.annotation(keys::NETWORKS).unwrap_or_default();
        let Ok(networks) = networks::parse(written) else { continue };
        if functions > networks.len() as u64 {
            report.invalid(
                engine.field_place(case, &["resources", "limits"]),
                format!(
                    "{functions} virtual functions, and {} names {} networks: a function without a \
                     network has no interface in the pod",
                    keys::NETWORKS,
                    networks.len()
                ),
                "name the network once for each of them",
            );
        }
    }
}

#[cfg(test)]
mod tests;
