//! The routing sidecar: its flags, its release, and the engine behind it.

use std::slice;

use super::case::{Case, containers, declared_ports, get, text};
use super::effective::{Engine, Sidecar, engines, probes};
use super::flags::{DATA, DATA_LOCAL, MULTI_PORT};
use super::report::{self, Report};
use crate::arguments::{Dialect, Flag, Takes};
use crate::decision::quoted;
use crate::inject::SIDECARS;
use crate::json::{Segment, list};
use crate::release::Image;
use crate::sidecar::{self, FlagStatus, KV_CONNECTOR, MODEL_SERVER_PORT, Release, SECURE_SERVING};
use crate::workload::Role;

mod pool;
mod table;
mod values;

pub(super) use table::RULES;

const P2P_PULL: &str = "--enable-p2p-pull";

/// Names of `--secure-serving` and others that were seen in what comes behind the newest release
/// that is known.
const NEWER: [&str; 5] = [
    SECURE_SERVING,
    "--tls-min-version",
    "--tls-cipher-suites",
    "--metrics-cert-dir",
    "--enable-speculative-prefill",
];

/// Engines and the sidecars in front of them, those whose words are a shell's left out.
fn fronts<'e>(case: &'e Case<'_>) -> impl Iterator<Item = (&'e Engine, Sidecar<'e>)> {
    engines(case)
        .iter()
        .flat_map(|engine| engine.sidecars().into_iter().map(move |sidecar| (engine, sidecar)))
        .filter(|(_, sidecar)| sidecar.is_its_program())
}

fn flags(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        for flag in sidecar.arguments.flags() {
            if report.is_full() {
                break;
            }
            let place = || sidecar.place(engine, case, &flag.name);
            let name = flag.spelling.as_str();
            let Some(release) = sidecar.release() else {
                if let Some(near) = misspelt(flag) {
                    report.unsure(
                        place(),
                        format!("no release of the sidecar that is known has {}", quoted(name)),
                        format!("did you mean {near}?"),
                    );
                }
                continue;
            };
            let status = release.flag(name);
            let message = match status {
                FlagStatus::Known | FlagStatus::Deprecated { .. } => continue,
                FlagStatus::Removed { since, .. } => {
                    format!("release {since} of the sidecar removed {name}; its image is {release}")
                }
                FlagStatus::NotYet { since, .. } => format!(
                    "{name} comes with release {since} of the sidecar; its image is {release}"
                ),
                FlagStatus::Unknown { .. } => {
                    format!("release {release} of the sidecar has no flag {}", quoted(name))
                }
            };
            report.invalid(place(), message, report::instead_of(status));
        }
    }
}

/// The flag that was probably meant, where no release has the one that is there.
fn misspelt(flag: &Flag) -> Option<&'static str> {
    if NEWER.contains(&flag.name.as_str()) {
        return None;
    }
    let mut nearest = None;
    for release in Release::all() {
        match release.flag(&flag.spelling) {
            FlagStatus::Unknown { nearest: near } => nearest = near.or(nearest),
            _ => return None,
        }
    }
    nearest
}

fn model_server_port(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let (Some(port), Some((asked, is_default))) = (engine.port(), asked_port(&sidecar)) else {
            continue;
        };
        if port == asked || engine.arguments.gives("--uds") {
            continue;
        }
        let flag = sidecar.release().map_or(MODEL_SERVER_PORT, Release::model_server_port_flag);
        let place = sidecar.place(engine, case, MODEL_SERVER_PORT);
        let because = if is_default { ", its default," } else { "" };
        let message =
            format!("the sidecar asks port {asked}{because} and the engine listens on {port}");
        let help = format!("write {flag}={port}");
        // Somebody else may listen there and hand it on.
        if is_alone(engine, &sidecar) {
            report.invalid(place, message, help);
        } else {
            report.unsure(place, message, help);
        }
    }
}

/// The port on which the sidecar expects the engine, and whether nobody wrote it.
fn asked_port(sidecar: &Sidecar<'_>) -> Option<(u16, bool)> {
    if let Some(port) = sidecar::vllm_port(sidecar.arguments) {
        return Some((port, false));
    }
    let default = sidecar.release()?.default_model_server_port();
    sidecar.certainly_lacks(MODEL_SERVER_PORT).then_some((default, true))
}

/// Whether engine and sidecar are all that listens in the pod.
fn is_alone(engine: &Engine, sidecar: &Sidecar<'_>) -> bool {
    !engine.is_shell() && engine.others(slice::from_ref(sidecar)).next().is_none()
}

fn ranges(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let (Some(own), Some((asked, _))) = (sidecar.ports(), asked_port(&sidecar)) else {
            continue;
        };
        let (asked, size) = (u32::from(asked), own.end - own.start);
        let overlap =
            own.contains(&asked) || (asked..asked.saturating_add(size)).contains(&own.start);
        if size > 1 && overlap && own.start != asked {
            report.invalid(
                sidecar.place(engine, case, sidecar::DATA_PARALLEL_SIZE),
                format!(
                    "{size} ranks: the sidecar listens on {} to {} and the engines on {asked} to {}",
                    own.start,
                    own.end.saturating_sub(1),
                    asked.saturating_add(size).saturating_sub(1),
                ),
                format!("move the engines, for example to {}", own.start.saturating_add(200)),
            );
        }
    }
}

fn other_connector(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let has_module =
            engine.kv.as_ref().is_some_and(|kv| kv.config.contains_key("kv_connector_module_path"));
        let (Some(names), Some(spoken)) = (engine.connectors(), connector(&sidecar)) else {
            continue;
        };
        if has_module || engine.role != Role::Decode {
            continue;
        }
        let Some(spoken_to) = names.iter().map(|name| protocols(name)).collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        if spoken_to.iter().any(|protocols| protocols.contains(&spoken.as_str())) {
            continue;
        }
        let is_there = |protocol: &&&str| {
            sidecar.release().is_none_or(|it| it.value(KV_CONNECTOR, protocol).is_accepted())
        };
        let right = spoken_to.iter().copied().flatten().find(is_there);
        let flag = sidecar.release().map_or(KV_CONNECTOR, Release::connector_flag);
        let place = sidecar.place(engine, case, KV_CONNECTOR);
        let message = format!(
            "the sidecar speaks {}, and the engine has {}: decode reads every prompt again",
            quoted(&spoken),
            names.join(", ")
        );
        let help = match right {
            Some(right) => format!("write {flag}={right}"),
            None => format!("give the engine the connector of {spoken}, or take a newer sidecar"),
        };
        // A store that both reach works without a word between them.
        if names.iter().all(|name| is_store(name)) {
            report.unsure(place, message, help);
        } else {
            report.invalid(place, message, help);
        }
    }
}

/// The protocol that a sidecar speaks; `None` where it is not known, or another rule refuses it.
fn connector(sidecar: &Sidecar<'_>) -> Option<String> {
    let value = match sidecar.value(KV_CONNECTOR) {
        Some(value) => value.to_owned(),
        None if sidecar.certainly_lacks(KV_CONNECTOR) => {
            let release = sidecar.release()?;
            release.default(release.connector_flag())?.to_owned()
        }
        None => return None,
    };
    let is_known = Release::all().any(|it| it.value(KV_CONNECTOR, &value).is_accepted());
    is_known.then_some(value)
}

/// The sidecar's protocols for a connector of vLLM; `None` for one that is not known.
fn protocols(connector: &str) -> Option<&'static [&'static str]> {
    Some(match connector {
        "NixlConnector" | "NixlPushConnector" => &["nixlv2", "nixl"],
        "MooncakeConnector" => &["mooncake"],
        "OffloadingConnector" => &["offloading", "shared-storage", "lmcache"],
        "LMCacheConnectorV1" | "LMCacheMPConnector" | "HF3FSKVConnector" | "ExampleConnector" => {
            &["shared-storage", "lmcache"]
        }
        _ => return None,
    })
}

fn is_store(connector: &str) -> bool {
    protocols(connector).is_some_and(|protocols| protocols.contains(&"shared-storage"))
}

fn offloading(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let Some(connector) = connector(&sidecar) else { continue };
        let ranks = sidecar.ranks().unwrap_or(1);
        if connector == "offloading" && ranks > 1 {
            report.invalid(
                sidecar.place(engine, case, sidecar::DATA_PARALLEL_SIZE),
                format!("connector offloading with {ranks} ranks"),
                "write --data-parallel-size=1, or --kv-connector=nixlv2",
            );
        }
        if sidecar.switch(P2P_PULL) == Some(true) && connector != "nixlv2" {
            report.invalid(
                sidecar.place(engine, case, P2P_PULL),
                format!("{P2P_PULL} with connector {}", quoted(&connector)),
                format!("write --kv-connector=nixlv2, or remove {P2P_PULL}"),
            );
        }
    }
}

fn secure(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let (Some(is_secure), Some(ports)) = (sidecar.serves_tls(), sidecar.ports()) else {
            continue;
        };
        let asks_otherwise = |probe: &super::effective::Probe<'_>| {
            probe.port.is_ok_and(|port| ports.contains(&u32::from(port)))
                && probe.is_https().is_some_and(|https| https != is_secure)
        };
        let Some(probe) = probes(sidecar.container).find(asks_otherwise) else { continue };
        let scheme = [probe.name, probe.handler, "scheme"];
        let of_probe = engine.container_place(case, sidecar.list, sidecar.name, &scheme);
        let place = if of_probe.segments().last() == Some(&Segment::Field("scheme".to_owned())) {
            of_probe
        } else {
            sidecar.place(engine, case, SECURE_SERVING)
        };
        let name = probe.name;
        if is_secure {
            let is_default = !sidecar.arguments.gives(SECURE_SERVING);
            let because = if is_default { ", as it does by default," } else { "" };
            report.invalid(
                place,
                format!("the sidecar serves TLS{because} and its {name} asks by HTTP"),
                "write --secure-proxy=false, in one word, or scheme: HTTPS in its probes",
            );
        } else {
            report.invalid(
                place,
                format!("the sidecar serves plain HTTP and its {name} asks by HTTPS"),
                "write --secure-proxy=true, or scheme: HTTP in its probes",
            );
        }
    }
}

fn tls_stages(case: &Case<'_>, report: &mut Report) {
    let prefill = case.pair().map(|(prefill, _)| prefill);
    for (engine, sidecar) in fronts(case) {
        let stages = [("decoder", Some(engine)), ("prefiller", prefill)];
        for (stage, asked) in stages {
            let older = format!("--{stage}-use-tls");
            let (Some(by_tls), Some(serves)) =
                (dials_tls(&sidecar, stage, &older), asked.and_then(Engine::serves_tls))
            else {
                continue;
            };
            let has_stages =
                sidecar.release().is_none_or(|it| it.flag("--enable-tls").is_accepted());
            let flag = if has_stages { format!("--enable-tls={stage}") } else { older.clone() };
            let gives_older = sidecar.arguments.gives(&older);
            let place =
                sidecar.place(engine, case, if gives_older { &older } else { "--enable-tls" });
            if by_tls && !serves {
                report.invalid(
                    place,
                    format!(
                        "the sidecar asks the {stage} by TLS, and its engine serves plain HTTP"
                    ),
                    format!("remove {flag}, or give that engine --ssl-certfile and --ssl-keyfile"),
                );
            } else if !by_tls && serves {
                report.invalid(
                    place,
                    format!(
                        "the sidecar asks the {stage} by plain HTTP, and its engine serves TLS"
                    ),
                    format!("add {flag}"),
                );
            }
        }
    }
}

/// Whether a sidecar speaks TLS with the engine of that stage, `prefiller` or `decoder`.
fn dials_tls(sidecar: &Sidecar<'_>, stage: &str, older: &str) -> Option<bool> {
    const STAGES: &str = "--enable-tls";
    let given = || sidecar.arguments.flags().filter(|flag| flag.name == STAGES);
    let is_named =
        |flag: &Flag| flag.value().is_some_and(|value| value.split(',').any(|it| it == stage));
    if given().any(is_named) {
        return Some(true);
    }
    if sidecar.arguments.gives(older) {
        return sidecar.switch(older);
    }
    let is_unknown = given().any(|flag| flag.value().is_some_and(|value| value.contains("$(")));
    (sidecar.is_complete() && !is_unknown).then_some(false)
}

fn same_port(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let (Some(port), Some(own)) = (engine.port(), sidecar.ports()) else { continue };
        if own.start == u32::from(port) {
            let place = if engine.arguments.gives("--port") {
                engine.place(case, "--port")
            } else {
                sidecar.place(engine, case, sidecar::PORT)
            };
            report.invalid(
                place,
                format!("engine and sidecar both listen on {port}"),
                "write another --port for the engine, 8001 is usual",
            );
        }
    }
}

fn where_it_stands(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let mut sidecars = engine.sidecars();
        sidecars.retain(may_stay);
        match (engine.role, sidecars.as_slice()) {
            (Role::Decode, []) if !has_other_proxy(engine) => report.required(
                engine.pod_place(case, &["initContainers"]),
                "a decode pod without a routing sidecar: it reads its prompts itself",
                "add the init container llm-d-routing-sidecar, or a preset that has it",
            ),
            (Role::Prefill, [sidecar, ..]) => report.forbidden(
                engine.item_place(case, sidecar.list, sidecar.name),
                format!("a routing sidecar, {}, in a prefill pod", quoted(sidecar.name)),
                "remove it: the decode pod's asks prefill",
            ),
            (_, [first, second, ..]) => report.duplicate(
                engine.item_place(case, second.list, second.name),
                format!("two routing sidecars, {} and {}", quoted(first.name), quoted(second.name)),
                "keep one; the presets' is called llm-d-routing-sidecar",
            ),
            _ => {}
        }
    }
}

/// Whether another container listens where requests arrive.
fn has_other_proxy(engine: &Engine) -> bool {
    containers(&engine.pod)
        .filter(|(_, container)| text(container, &["name"]) != Some(engine.name.as_str()))
        .flat_map(|(_, container)| declared_ports(container))
        .any(|port| port == sidecar::DEFAULT_PORT)
}

fn order(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in
        engines(case).iter().flat_map(|it| it.sidecars().into_iter().map(move |s| (it, s)))
    {
        let policy = text(sidecar.container, &["restartPolicy"]);
        if sidecar.list == "containers" {
            report.unsure(
                engine.item_place(case, sidecar.list, sidecar.name),
                "the sidecar is a container like the engine: it may end first, with requests open",
                "make it an init container with restartPolicy: Always",
            );
        } else if policy != Some("Always") && may_stay(&sidecar) {
            report.invalid_if(
                sidecar.is_its_program(),
                engine.container_place(case, sidecar.list, sidecar.name, &["restartPolicy"]),
                match policy {
                    Some(policy) => format!("restartPolicy {}", quoted(policy)),
                    None => "an init container that never ends, without restartPolicy".to_owned(),
                },
                "write restartPolicy: Always",
            );
        }
    }
}

fn ranks(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let flags = [DATA_LOCAL, DATA];
        let local = flags.into_iter().find_map(|flag| engine.number(flag));
        let (Some(local), Some(ranks), true) =
            (local, sidecar.ranks(), engine.arguments.gives(MULTI_PORT))
        else {
            continue;
        };
        if local != i64::from(ranks) {
            report.invalid(
                sidecar.place(engine, case, sidecar::DATA_PARALLEL_SIZE),
                format!("{local} ranks with a port each, and a sidecar for {ranks}"),
                format!("write {}={local}", sidecar::DATA_PARALLEL_SIZE),
            );
        }
    }
}

/// Whether a container of the sidecar's image is the sidecar, and none that takes something from the
/// image and ends.
fn may_stay(sidecar: &Sidecar<'_>) -> bool {
    let is_init = sidecar.list == "initContainers";
    let stays = text(sidecar.container, &["restartPolicy"]) == Some("Always");
    sidecar.is_its_program() || !is_init || stays || SIDECARS.contains(&sidecar.name)
}

/// Whether a flag of the sidecar is a switch.
fn is_switch(flag: &Flag) -> bool {
    sidecar::Sidecar::takes(&flag.name) == Takes::Nothing
}

/// Whether the image is of a release that came behind those that are known.
fn is_newer(sidecar: &Sidecar<'_>) -> bool {
    let version = sidecar.image().and_then(|image| Image::parse(image).version());
    let newest = Release::all().next_back().map(Release::version);
    sidecar.release().is_none() && version > newest
}

/// Whether the pod's spec says no to a token of its ServiceAccount.
fn has_no_token(engine: &Engine, sidecar: &Sidecar<'_>) -> bool {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mounted = list(sidecar.container, &["volumeMounts"])
        .iter()
        .filter_map(|mount| text(mount, &["mountPath"]))
        .any(|path| path.trim_end_matches('/') == PATH);
    let is_off = get(&engine.pod, &["automountServiceAccountToken"])
        .is_some_and(|value| value.as_bool() == Some(false));
    is_off && !mounted && sidecar.variable("KUBECONFIG").is_none()
}

#[cfg(test)]
mod tests;
