//! The KV configuration of one engine.

use serde_json::{Map, Value};

use super::arguments::report_lacking;
use super::case::{Case, below, containers, declared_ports, get, is_true, text};
use super::effective::{Engine, NIXL, engines, held, pods};
use super::flags::{ALL_TO_ALL, DATA, DATA_LOCAL, NO_HYBRID, PIPELINE, SIDE_CHANNEL_PORT};
use super::report::Report;
use crate::decision::quoted;
use crate::inject::is_accelerator;
use crate::vllm::{
    Arguments, Change, FlagStatus, KV_TRANSFER_CONFIG, all2all_status, connector_status,
};
use crate::workload::Role;

mod table;

pub(super) use table::RULES;

/// Connectors that keep the hybrid KV cache manager (`SupportsHMA` in vLLM).
const HYBRID: [&str; 7] = [
    "NixlConnector",
    "NixlPushConnector",
    "MooncakeConnector",
    "MooncakeStoreConnector",
    "OffloadingConnector",
    "SimpleCPUOffloadConnector",
    "MultiConnector",
];

/// Parts of the names of models whose layers differ in what they cache.
const HYBRID_MODELS: [&str; 8] =
    ["gpt-oss", "qwen3.5", "qwen3-next", "nemotron-3", "nemotron-h", "jamba", "bamba", "falcon-h1"];
/// Parts of the names of models with an encoder of their own.
const ENCODER_DECODERS: [&str; 4] =
    ["openai/whisper", "google/flan-t5", "google-t5/", "facebook/bart"];

const ROLES: [&str; 3] = ["kv_producer", "kv_consumer", "kv_both"];
const PUSHING: &str = "NixlPushConnector";
const SIDE_CHANNEL: &str = "VLLM_NIXL_SIDE_CHANNEL_HOST";
const HOSTNAME: &str = "kubernetes.io/hostname";
const ALLOCATOR: &str = "PYTORCH_CUDA_ALLOC_CONF";
const ALLOCATORS: [&str; 2] = [ALLOCATOR, "PYTORCH_ALLOC_CONF"];

/// The engines that are given a KV configuration, with it.
fn configured<'a>(
    case: &'a Case<'_>,
) -> impl Iterator<Item = (&'a Engine, &'a Map<String, Value>)> {
    engines(case).iter().filter_map(|engine| Some((engine, &engine.given_kv.as_ref()?.config)))
}

fn unreadable(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        if engine.given_kv.as_ref().is_none_or(|kv| !kv.unreadable) {
            continue;
        }
        let Some(value) = engine.arguments.value(KV_TRANSFER_CONFIG) else { continue };
        // A variable's value is not known here.
        if value.contains('$') {
            continue;
        }
        let place = engine.place(case, KV_TRANSFER_CONFIG);
        let error = match serde_json::from_str::<Map<String, Value>>(value) {
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        let message = format!("{} is no JSON object: {error}", quoted(value));
        if engine.is_shell() {
            report.unsure(
                place,
                message,
                "a shell reads this first: put the JSON in single quotes",
            );
        } else {
            report.invalid(place, message, "write {\"kv_connector\":…,\"kv_role\":…}");
        }
    }
}

fn taken_apart(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let arguments = Arguments::parse(&engine.evaluated);
        for flag in arguments.flags() {
            if report.is_full() {
                break;
            }
            let is_json = |value: &String| {
                serde_json::from_str::<Map<String, Value>>(value).is_ok_and(|json| !json.is_empty())
            };
            if let Some(value) = flag.values.iter().find(|value| is_json(value)) {
                report.invalid(
                    engine.place(case, &flag.name),
                    format!("{} {value}: eval takes this JSON apart", flag.spelling),
                    format!("write it in single quotes: \"'{value}'\""),
                );
            }
        }
    }
}

fn role(case: &Case<'_>, report: &mut Report) {
    for (engine, config) in configured(case) {
        if engine.given_kv.as_ref().is_none_or(|kv| kv.unreadable) {
            continue;
        }
        let Some(connector) = member(config, "kv_connector") else { continue };
        let place = engine.place(case, KV_TRANSFER_CONFIG);
        let help = format!("write one of {}", ROLES.join(", "));
        match config.get("kv_role").and_then(Value::as_str) {
            None => report.required(place, format!("{connector} without kv_role"), help),
            Some(role) if !ROLES.contains(&role) => {
                report.unsupported(place, format!("kv_role is {}", quoted(role)), help);
            }
            Some(_) => {}
        }
    }
}

fn unknown(case: &Case<'_>, report: &mut Report) {
    for (engine, config) in configured(case) {
        if member(config, "kv_connector_module_path").is_some() {
            continue;
        }
        let Some(name) = member(config, "kv_connector") else { continue };
        let status = connector_status(name, engine.release());
        let what = format!("connector {}", quoted(name));
        let place = engine.place(case, KV_TRANSFER_CONFIG);
        if let FlagStatus::Unknown { nearest: None } = status {
            report.unsure(
                place,
                format!("{} has no {what}", engine.title()),
                "for one of your own add kv_connector_module_path",
            );
        } else {
            report_lacking(report, engine, place, status, &what);
        }
    }
}

fn side_channel(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.uses_nixl()) {
        let Some(variable) = engine.variable(SIDE_CHANNEL) else { continue };
        // A script may write its own.
        if engine.script.as_deref().is_some_and(|script| script.contains(SIDE_CHANNEL)) {
            continue;
        }
        let host = text(variable, &["value"]);
        let field = text(variable, &["valueFrom", "fieldRef", "fieldPath"]);
        let found = match (host, field) {
            // The kubelet puts another variable's value in.
            (Some(host), _) if host.contains("$(") => continue,
            (Some(host), _) => quoted(host),
            // On the node's network they are the same.
            (None, Some("status.podIP" | "status.hostIP") | None) => continue,
            (None, Some(field)) => field.to_owned(),
        };
        let place = engine.env_place(case, SIDE_CHANNEL);
        let help = "remove it: the pod's own address is filled in";
        if host.is_some_and(is_local) {
            let message =
                format!("{SIDE_CHANNEL} is {found}, which no other pod finds this one by");
            report.invalid(place, message, help);
        } else {
            // A name may be that of a Service in front of this one pod.
            let message = format!("{SIDE_CHANNEL} is {found}, which is not the pod's address");
            report.unsure(place, message, help);
        }
    }
}

/// Whether a host is every machine's own.
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(|c| matches!(c, '[' | ']') || char::is_whitespace(c));
    let address = host.parse::<std::net::IpAddr>();
    address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
        || host.eq_ignore_ascii_case("localhost")
        || host == "*"
}

/// A variable that is there and says nothing: it is not filled in, and vLLM takes the empty text.
fn empty_side_channel(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.uses_nixl()) {
        let Some(variable) = engine.variable(SIDE_CHANNEL) else { continue };
        let is_written = engine.script.as_deref().is_some_and(|it| it.contains(SIDE_CHANNEL));
        let is_given = is_written
            || text(variable, &["value"]).is_some()
            || get(variable, &["valueFrom"]).is_some();
        if !is_given {
            report.invalid(
                engine.env_place(case, SIDE_CHANNEL),
                format!("{SIDE_CHANNEL} is empty, and no other pod finds this one"),
                "remove it: the pod's own address is filled in",
            );
        }
    }
}

fn side_channel_port(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.uses_nixl()) {
        let base = match engine.variable(SIDE_CHANNEL_PORT) {
            None => Some(5600),
            Some(_) => engine.env(SIDE_CHANNEL_PORT).and_then(|port| port.trim().parse().ok()),
        };
        let Some(base): Option<i64> = base else { continue };
        // A rank has the port of its number.
        let ranks = engine.number(DATA_LOCAL).unwrap_or(1).clamp(1, 64);
        let Some((port, owner)) = taken_ports(engine)
            .into_iter()
            .find(|(port, _)| (base..base + ranks).contains(&i64::from(*port)))
        else {
            continue;
        };
        let range = if ranks == 1 {
            format!("port {base}")
        } else {
            format!("ports {base} to {}", base + ranks - 1)
        };
        report.invalid(
            engine.env_place(case, SIDE_CHANNEL_PORT),
            format!("NIXL's side channel has {range}, and {port} is {owner}"),
            format!("write another {SIDE_CHANNEL_PORT}, or move the other to another port"),
        );
    }
}

/// Ports of a pod that are not the side channel's, and whose they are.
fn taken_ports(engine: &Engine) -> Vec<(u16, String)> {
    let mut taken: Vec<(u16, String)> = Vec::new();
    let mut take = |port: Option<u16>, owner: &str| {
        taken.extend(port.map(|port| (port, owner.to_owned())));
    };
    take(engine.port(), "the engine's own");
    let number = |flag| engine.value(flag).and_then(|value| value.parse().ok());
    if engine.arguments.gives(DATA) {
        take(number("--data-parallel-rpc-port"), "that of --data-parallel-rpc-port");
    }
    take(events_port(engine), "that of --kv-events-config");
    for sidecar in engine.sidecars() {
        take(crate::sidecar::port(sidecar.arguments), "the sidecar's");
    }
    for (_, container) in containers(&engine.pod) {
        let name = text(container, &["name"]).unwrap_or_default();
        for port in declared_ports(container).filter(|_| name != engine.name) {
            take(Some(port), &format!("container {name}'s"));
        }
    }
    taken
}

/// The port that KV events are published on, `tcp://*:5557`.
fn events_port(engine: &Engine) -> Option<u16> {
    let config: Value = serde_json::from_str(engine.value("--kv-events-config")?).ok()?;
    text(&config, &["endpoint"])?.rsplit_once(':')?.1.parse().ok()
}

fn host_network(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let is_shared = is_true(&engine.pod, &["hostNetwork"]);
        let ranks = engine.number(DATA).unwrap_or(1);
        let is_apart = get(&engine.pod, &["affinity", "podAntiAffinity"]).is_some();
        if is_shared && !is_apart && (engine.uses_nixl() || ranks > 1) {
            report.invalid(
                engine.pod_place(case, &["hostNetwork"]),
                "true: a second pod on the node finds the ports of NIXL and the engine taken",
                "remove it, or let anti-affinity keep these pods on nodes of their own",
            );
        }
    }
}

fn buffer_device(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.uses_nixl()) {
        let device = engine.kv.as_ref().and_then(|kv| kv.config.get("kv_buffer_device")?.as_str());
        let (Some(device), Some((resource, allowed))) = (device, buffers(engine)) else { continue };
        if !allowed.contains(&device) {
            report.unsupported(
                engine.place(case, KV_TRANSFER_CONFIG),
                format!("kv_buffer_device is {}, and the engine has {resource}", quoted(device)),
                format!("write {}", allowed.join(" or ")),
            );
        }
    }
}

/// What NIXL can keep its buffers in with the accelerator that the engine asks for; `None` where
/// that is not known.
fn buffers(engine: &Engine) -> Option<(&str, &'static [&'static str])> {
    let limits = get(engine.container(), &["resources", "limits"])?.as_object()?;
    // NVIDIA's network cards stand there as well.
    limits.keys().filter(|name| is_accelerator(name)).find_map(|name| {
        let (vendor, _) = name.split_once('/')?;
        let allowed: &[&str] = match vendor {
            // AMD's GPUs are `cuda` to PyTorch.
            "nvidia.com" | "amd.com" => &["cuda", "cpu"],
            "gpu.intel.com" => &["cpu", "xpu"],
            "google.com" => &["cpu"],
            _ => return None,
        };
        Some((name.as_str(), allowed))
    })
}

fn expandable(case: &Case<'_>, report: &mut Report) {
    const SAFE: [&str; 2] = ["--enable-cumem-allocator", "--enable-sleep-mode"];
    for engine in pods(case) {
        let has_connector = engine.kv.as_ref().is_some_and(|kv| kv.connector.is_some());
        if !has_connector || SAFE.into_iter().any(|flag| engine.arguments.gives(flag)) {
            continue;
        }
        for variable in ALLOCATORS {
            let value = engine.env(variable).unwrap_or_default().replace(' ', "");
            if !value.to_ascii_lowercase().contains("expandable_segments:true") {
                continue;
            }
            let place = engine.env_place(case, variable);
            // The engine looks at the older variable alone.
            let looks = variable == ALLOCATOR && engine.is_complete;
            match engine.has(Change::ExpandableSegmentsRefused).filter(|_| looks) {
                Some(true) => report.invalid(
                    place,
                    format!(
                        "expandable_segments:True, with which {} has no KV connector",
                        engine.title()
                    ),
                    "remove it",
                ),
                _ => report.unsure(
                    place,
                    "expandable_segments:True with a KV connector: vLLM refuses it, or RDMA fails",
                    "remove it",
                ),
            }
        }
    }
}

fn pipeline(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case).iter().filter(|engine| engine.uses_nixl()) {
        let Some(stages) = engine.number(PIPELINE).filter(|stages| *stages > 1) else { continue };
        if !(engine.has_connector(PUSHING) && engine.role == Role::Prefill) {
            report.invalid(
                engine.place(case, PIPELINE),
                format!("{stages} stages, and NIXL has no pipeline parallelism here"),
                "use tensor parallelism",
            );
        }
    }
}

fn no_hybrid(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case).iter().filter(|it| it.switch(NO_HYBRID) == Some(false)) {
        for name in engine.connectors().unwrap_or_default() {
            if lacks_hybrid(name) {
                report.invalid(
                    engine.place(case, NO_HYBRID),
                    format!("{name} does not support the hybrid KV cache manager"),
                    "remove --no-disable-hybrid-kv-cache-manager, or use another connector",
                );
            }
        }
    }
}

/// What is not known may support it.
fn lacks_hybrid(connector: &str) -> bool {
    connector_status(connector, None) == FlagStatus::Known && !HYBRID.contains(&connector)
}

fn silent_hybrid(case: &Case<'_>, report: &mut Report) {
    let Some(model) = model_like(case, &HYBRID_MODELS) else { return };
    for engine in engines(case).iter().filter(|engine| engine.certainly_lacks(NO_HYBRID)) {
        for name in engine.connectors().unwrap_or_default() {
            if lacks_hybrid(name) {
                report.unsure(
                    engine.place(case, KV_TRANSFER_CONFIG),
                    format!("{name} turns off the hybrid KV cache manager, which {model} wants"),
                    "use NixlConnector or OffloadingConnector, or say so yourself: \
                     --disable-hybrid-kv-cache-manager",
                );
            }
        }
    }
}

/// What the service's model is called, if that holds one of these.
fn model_like<'c>(case: &Case<'c>, known: &[&str]) -> Option<&'c str> {
    let names = [case.get(&["model", "uri"]), case.get(&["model", "name"])];
    names.into_iter().flatten().filter_map(Value::as_str).find(|name| {
        let name = name.to_ascii_lowercase();
        known.iter().any(|it| name.contains(it))
    })
}

fn unsupported_model(case: &Case<'_>, report: &mut Report) {
    const SCALES: &str = "--calculate-kv-scales";
    let encodes = model_like(case, &ENCODER_DECODERS);
    for engine in engines(case).iter().filter(|engine| engine.uses_nixl()) {
        if let Some(model) = encodes {
            report.unsure(
                engine.place(case, KV_TRANSFER_CONFIG),
                format!("{model} has an encoder and a decoder, which NIXL does not transfer"),
                "remove spec.prefill, and --kv-transfer-config where you wrote it",
            );
        }
        if engine.switch(SCALES) == Some(true) {
            report.invalid(
                engine.place(case, SCALES),
                "KV scales that are computed while serving, which NIXL does not transfer",
                format!("remove {SCALES}"),
            );
        }
    }
}

fn abort_timeout(case: &Case<'_>, report: &mut Report) {
    const NAME: &str = "VLLM_NIXL_ABORT_REQUEST_TIMEOUT";
    for engine in pods(case) {
        if engine.env(NAME).is_some()
            && let Some(unread) = unread(engine, Change::NixlLease)
        {
            report.invalid(
                engine.env_place(case, NAME),
                format!("{NAME} is no longer read {unread}"),
                "write kv_lease_duration in kv_connector_extra_config",
            );
        }
    }
}

/// By whom a variable is no longer read; `None` where it is.
fn unread(engine: &Engine, change: Change) -> Option<String> {
    match (engine.has(change), change.since()) {
        (Some(false), _) => None,
        (None, Some(since)) => Some(format!("from vLLM {since} on")),
        _ => Some(format!("by {}", engine.title())),
    }
}

fn all_to_all(case: &Case<'_>, report: &mut Report) {
    const NAME: &str = "VLLM_ALL2ALL_BACKEND";
    for engine in pods(case) {
        if let Some(value) = engine.env(NAME)
            && let Some(unread) = unread(engine, Change::All2allVariableIgnored)
        {
            report.invalid(
                engine.env_place(case, NAME),
                format!("{NAME}={value} is no longer read {unread}"),
                format!("write {ALL_TO_ALL} in args"),
            );
        }
        let Some(value) = engine.value(ALL_TO_ALL) else { continue };
        let is_known = engine.release().is_some();
        if let FlagStatus::Deprecated { instead, .. } = all2all_status(value, engine.release())
            && is_known
        {
            report.invalid(
                engine.place(case, ALL_TO_ALL),
                format!("{} no longer has the backend {value}, and takes another", engine.title()),
                format!("write {}", instead.unwrap_or("another")),
            );
        }
    }
}

fn unknown_all_to_all(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let Some(value) = engine.value(ALL_TO_ALL) else { continue };
        let status = all2all_status(value, engine.release());
        let place = engine.place(case, ALL_TO_ALL);
        report_lacking(report, engine, place, status, &format!("backend {}", quoted(value)));
    }
}

fn offloading_and_nixl(case: &Case<'_>, report: &mut Report) {
    if case.pair().is_none() {
        return;
    }
    for engine in engines(case).iter().filter(|engine| engine.given_kv.is_none()) {
        let field = below(&engine.pool, &["kvCacheOffloading"]);
        if case.object.pointer(&field.pointer()).is_some_and(Value::is_object) {
            report.invalid(
                field,
                format!(
                    "KServe gives the {} engine an OffloadingConnector for this, in the place of \
                     NIXL",
                    engine.role.as_str()
                ),
                "write a MultiConnector of both in --kv-transfer-config",
            );
        }
    }
}

fn same_node(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let could_push = |engine: &Engine| connector_status(PUSHING, engine.release()).is_accepted();
    let pulls = |engine: &Engine| could_push(engine) && engine.has_connector("NixlConnector");
    let node = |engine: &Engine| {
        let named = text(&engine.pod, &["nodeName"]);
        named.or_else(|| text(&engine.pod, &["nodeSelector", HOSTNAME])).map(str::to_owned)
    };
    if let (Some(ours), Some(theirs)) = (node(prefill), node(decode))
        && ours == theirs
        && pulls(prefill)
        && pulls(decode)
    {
        report.invalid(
            prefill.place(case, KV_TRANSFER_CONFIG),
            format!("prefill and decode both run on node {}, and decode pulls", quoted(&ours)),
            format!("write {PUSHING} in both"),
        );
    }
}

fn recompute(case: &Case<'_>, report: &mut Report) {
    for (engine, config) in configured(case) {
        let policy = member(config, "kv_load_failure_policy");
        if engine.role == Role::Decode && policy == Some("recompute") {
            report.invalid(
                engine.place(case, KV_TRANSFER_CONFIG),
                "kv_load_failure_policy recompute: one failed transfer stalls all answers",
                "write fail, or remove it",
            );
        }
    }
}

fn multi(case: &Case<'_>, report: &mut Report) {
    for (engine, config) in configured(case) {
        if member(config, "kv_connector") != Some("MultiConnector") {
            continue;
        }
        let place = engine.place(case, KV_TRANSFER_CONFIG);
        let children = held(config);
        if children.is_empty() {
            report.required(
                place,
                "MultiConnector without kv_connector_extra_config.connectors",
                "write the configuration of each connector there",
            );
            continue;
        }
        for (index, child) in children.iter().enumerate() {
            let missing = ["kv_connector", "kv_role"]
                .into_iter()
                .find(|member| text(child, &[member]).is_none());
            if let Some(member) = missing {
                report.required(
                    place.clone(),
                    format!("connectors[{index}] of MultiConnector has no {member}"),
                    "write kv_connector and kv_role for each",
                );
            }
        }
    }
}

fn lm_cache(case: &Case<'_>, report: &mut Report) {
    if case.pair().is_none() {
        return;
    }
    for (engine, config) in configured(case) {
        if member(config, "kv_connector") == Some("LMCacheConnectorV1") {
            report.invalid(
                engine.place(case, KV_TRANSFER_CONFIG),
                "LMCacheConnectorV1 was reported to give wrong answers between prefill and decode",
                "use NixlConnector",
            );
        }
    }
}

fn nobody_there(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let is_given = engine.given_kv.is_some();
        let is_nixl =
            engine.connectors().is_some_and(|names| names.iter().all(|it| it.starts_with(NIXL)));
        if engine.role == Role::Both && is_given && is_nixl {
            report.invalid(
                engine.place(case, KV_TRANSFER_CONFIG),
                "NIXL without spec.prefill: there is nobody to transfer to",
                "remove --kv-transfer-config, or add spec.prefill",
            );
        }
    }
}

/// A text member of a configuration, the empty one read as absent.
fn member<'v>(config: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    config.get(name)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
