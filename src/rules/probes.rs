//! Probes of the engine, its port, its end, and its certificate.

use serde_json::Value;

use super::case::{Case, Kind, declared_ports, get, is_within, text};
use super::effective::{Engine, Probe, Sidecar, engines, number, patience, pods, probes};
use super::flags::{HEADLESS, MULTI_PORT, SIDE_CHANNEL_PORT};
use super::report::Report;
use crate::decision::quoted;
use crate::json::{FieldPath, Segment, list};
use crate::sidecar;
use crate::vllm::TLS_FILES;
use crate::workload::Role;

mod table;

pub(super) use table::RULES;

const SUPERVISOR_PORT: &str = "--data-parallel-supervisor-port";
const VLLM_PORT: &str = "VLLM_PORT";
const KEEP_ALIVE: &str = "VLLM_HTTP_TIMEOUT_KEEP_ALIVE";
/// For how long the sidecar keeps a connection that nobody uses (its transport's `IdleConnTimeout`).
const IDLE_SECONDS: i64 = 90;
/// What the smallest model takes: to import, compile and capture graphs.
const SHORTEST_START: u64 = 120;
/// Failing for less than this is load, not death.
const SHORTEST_LIVENESS: u64 = 60;

fn of_the_sidecar(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let sidecars = engine.sidecars();
        for probe in probes(engine.container()) {
            let Ok(port) = probe.port else { continue };
            if is_sidecars(&sidecars, port).is_some() && engine.port().is_some_and(|it| it != port)
            {
                report.invalid(
                    engine.field_place(case, &probe.port_field()),
                    format!("{}: port {port} is the sidecar's, not the engine's", probe.name),
                    match engine.port() {
                        Some(port) => format!("write {port}, the engine's"),
                        None => "write the engine's".to_owned(),
                    },
                );
            }
        }
    }
}

/// The sidecar that listens on a port.
fn is_sidecars<'s, 'p>(sidecars: &'s [Sidecar<'p>], port: u16) -> Option<&'s Sidecar<'p>> {
    sidecars.iter().find(|it| it.ports().is_some_and(|ports| ports.contains(&u32::from(port))))
}

fn nobody_listens(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let is_known = !engine.arguments.gives(HEADLESS) && !engine.arguments.gives(MULTI_PORT);
        let Some(own) = engine.port().filter(|_| is_known) else { continue };
        let sidecars = engine.sidecars();
        if sidecars.iter().any(|sidecar| sidecar.ports().is_none()) {
            continue;
        }
        let containers = std::iter::once(("containers", engine.name.as_str(), engine.container()))
            .chain(sidecars.iter().map(|it| (it.list, it.name, it.container)));
        for (list, name, container) in containers {
            for probe in probes(container) {
                let place = || engine.container_place(case, list, name, &probe.port_field());
                let port = match probe.port {
                    Ok(port) => port,
                    Err(unknown) => {
                        report.invalid(
                            place(),
                            format!(
                                "{} asks the port {}, and the container declares none of that name",
                                probe.name,
                                quoted(unknown)
                            ),
                            format!("write {own}, or name the port in the container's ports"),
                        );
                        continue;
                    }
                };
                let is_served = port == own
                    || is_sidecars(&sidecars, port).is_some()
                    || sidecars.iter().any(|it| metrics_port(it) == Some(port))
                    || engine.env(SIDE_CHANNEL_PORT) == Some(port.to_string().as_str());
                if is_served || declares_elsewhere(engine, &sidecars, port) {
                    continue;
                }
                let message = format!("{} asks port {port}, where nobody listens", probe.name);
                let help = format!("write {own}, the engine's port");
                if may_listen(engine, &sidecars, port) {
                    report.unsure(place(), message, help);
                } else {
                    report.invalid(place(), message, help);
                }
            }
        }
    }
}

fn metrics_port(sidecar: &Sidecar<'_>) -> Option<u16> {
    sidecar.value("--metrics-port")?.parse().ok()
}

fn declares(container: &Value, port: u16) -> bool {
    declared_ports(container).any(|declared| declared == port)
}

fn declares_elsewhere(engine: &Engine, sidecars: &[Sidecar<'_>], port: u16) -> bool {
    engine.others(sidecars).any(|container| declares(container, port))
}

/// Whether something that is not seen may listen on a port.
fn may_listen(engine: &Engine, sidecars: &[Sidecar<'_>], port: u16) -> bool {
    engine.is_shell()
        || !engine.is_complete
        || declares(engine.container(), port)
        || sidecars.iter().any(|sidecar| declares(sidecar.container, port))
        || engine.others(sidecars).next().is_some()
}

fn scheme(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let sidecars = engine.sidecars();
        // What the sidecar's own probes ask of it is another rule's.
        let of_sidecars = sidecars.iter().flat_map(|sidecar| {
            let own = probes(sidecar.container)
                .filter(|probe| probe.port.is_ok_and(|port| engine.port() == Some(port)));
            own.map(move |probe| (sidecar.list, sidecar.name, probe))
        });
        let own = probes(engine.container()).map(|it| ("containers", engine.name.as_str(), it));
        // Those of a preset stand at one place: one finding for them.
        let mut found: Vec<(FieldPath, Vec<&str>, bool, &str)> = Vec::new();
        for (list, container, probe) in own.chain(of_sidecars) {
            let Some((serves_tls, who)) = listener(engine, &sidecars, &probe) else { continue };
            if probe.is_https().is_none_or(|https| https == serves_tls) {
                continue;
            }
            let scheme = [probe.name, probe.handler, "scheme"];
            let place = engine.container_place(case, list, container, &scheme);
            match found.iter_mut().find(|(there, ..)| *there == place) {
                Some((_, names, ..)) => names.push(probe.name),
                None => found.push((place, vec![probe.name], serves_tls, who)),
            }
        }
        for (place, names, serves_tls, who) in found {
            let (spoken, asked, right) =
                if serves_tls { ("TLS", "HTTP", "HTTPS") } else { ("plain HTTP", "HTTPS", "HTTP") };
            report.invalid(
                place,
                format!("{} by {asked}, and the {who} serves {spoken}", names.join(", ")),
                format!("write scheme: {right}, or change the TLS of the {who} (enableTls)"),
            );
        }
    }
}

/// Whether who answers a probe speaks TLS, and who that is.
fn listener(
    engine: &Engine,
    sidecars: &[Sidecar<'_>],
    probe: &Probe<'_>,
) -> Option<(bool, &'static str)> {
    let port = probe.port.ok()?;
    if engine.port()? == port {
        return Some((engine.serves_tls()?, "engine"));
    }
    Some((is_sidecars(sidecars, port)?.serves_tls()?, "sidecar"))
}

fn budget(case: &Case<'_>, report: &mut Report) {
    // A simulator loads nothing.
    let loads = |engine: &&Engine| !engine.arguments.gives(HEADLESS) && !engine.is_other;
    for engine in engines(case).iter().filter(loads) {
        let probe = |name: &str| get(engine.container(), &[name]);
        let liveness = probe("livenessProbe");
        if let Some(startup) = probe("startupProbe") {
            let seconds = patience(startup);
            let wanted = liveness.map_or(0, |probe| number(probe, "initialDelaySeconds"));
            if seconds < SHORTEST_START {
                report.invalid(
                    engine.field_place(case, &["startupProbe", "failureThreshold"]),
                    format!("gives up after {seconds} s: the engine is still loading"),
                    "raise failureThreshold: 60 with a period of 10 s are ten minutes",
                );
            } else if wanted > seconds {
                report.invalid(
                    engine.field_place(case, &["livenessProbe", "initialDelaySeconds"]),
                    format!("waits {wanted} s, and startupProbe gives up after {seconds} s"),
                    "give startupProbe a failureThreshold for that long; it comes first",
                );
            }
        } else if let Some(liveness) = liveness {
            let seconds = patience(liveness);
            if seconds < SHORTEST_START {
                report.invalid(
                    engine.field_place(case, &["livenessProbe", "initialDelaySeconds"]),
                    format!(
                        "livenessProbe gives up after {seconds} s, and there is no startupProbe"
                    ),
                    "add a startupProbe with failureThreshold: 60",
                );
            }
        }
    }
}

fn impatient(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let Some(probe) = get(engine.container(), &["livenessProbe"]) else { continue };
        let field = ["livenessProbe", "timeoutSeconds"];
        let place = engine.field_place(case, &field);
        let seconds =
            number(probe, "periodSeconds").saturating_mul(number(probe, "failureThreshold"));
        // One that comes whole from a preset is the preset's.
        let is_own = place.segments().contains(&Segment::Field("livenessProbe".to_owned()));
        if is_own && number(probe, "timeoutSeconds") <= 1 && seconds < SHORTEST_LIVENESS {
            report.invalid(
                place,
                format!("1 s for an answer, and gives up after {seconds} s"),
                "write timeoutSeconds: 5 or more",
            );
        }
    }
}

fn supervisor(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case).iter().filter(|engine| engine.arguments.gives(MULTI_PORT)) {
        let Some(probe) = probes(engine.container()).find(|it| it.name == "readinessProbe") else {
            continue;
        };
        let asks_it = text(probe.value, &["httpGet", "path"]) == Some("/readyz")
            || probe.port.is_ok_and(|port| engine.number(SUPERVISOR_PORT) == Some(port.into()));
        if !asks_it {
            report.invalid(
                engine.field_place(case, &probe.port_field()),
                "readinessProbe asks one rank of several: the pod is ready before the others are",
                format!("ask /readyz on the port of {SUPERVISOR_PORT}"),
            );
        }
    }
}

fn headless(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.arguments.gives(HEADLESS)) {
        let names: Vec<&str> = probes(engine.container()).map(|probe| probe.name).collect();
        let [first, ..] = names.as_slice() else { continue };
        report.invalid(
            engine.field_place(case, &[first]),
            format!("{} of an engine that is {HEADLESS}: nobody answers", names.join(", ")),
            format!("remove it, or {HEADLESS}"),
        );
    }
}

fn grace(case: &Case<'_>, report: &mut Report) {
    const FIELD: &str = "terminationGracePeriodSeconds";
    const FLAG: &str = "--shutdown-timeout";
    for engine in pods(case) {
        let grace = get(&engine.pod, &[FIELD]).map_or(Some(30), Value::as_i64);
        let Some(grace) = grace else { continue };
        let pre_stop = pre_stop(engine.container());
        let shutdown = engine.number(FLAG).unwrap_or(0).max(0);
        let needed = pre_stop.saturating_add(shutdown);
        if needed > grace {
            let parts = [(pre_stop, "preStop"), (shutdown, FLAG)];
            let parts: Vec<String> = parts
                .into_iter()
                .filter(|(seconds, _)| *seconds > 0)
                .map(|(seconds, name)| format!("{name} {seconds} s"))
                .collect();
            report.invalid(
                engine.pod_place(case, &[FIELD]),
                format!("{FIELD} is {grace}, less than {}", parts.join(" and ")),
                format!("write {} or more", needed.saturating_add(15)),
            );
        }
    }
}

/// For how many seconds a container's `preStop` sleeps; 0 for one that does something else.
fn pre_stop(container: &Value) -> i64 {
    let Some(hook) = get(container, &["lifecycle", "preStop"]) else { return 0 };
    if let Some(seconds) = get(hook, &["sleep", "seconds"]) {
        return seconds.as_i64().unwrap_or(0);
    }
    let words: Vec<&str> = list(hook, &["exec", "command"])
        .iter()
        .filter_map(Value::as_str)
        .flat_map(str::split_whitespace)
        .collect();
    let sleep = words.iter().position(|word| word.rsplit('/').next() == Some("sleep"));
    let seconds = sleep.and_then(|at| words.get(at + 1)?.trim_end_matches([';', 's']).parse().ok());
    seconds.unwrap_or(0)
}

fn port_variable(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let Some(value) = engine.env(VLLM_PORT) else { continue };
        if !value.contains("$(") && value.trim().parse::<i64>().is_err() {
            report.invalid(
                engine.env_place(case, VLLM_PORT),
                format!("{VLLM_PORT} is {}", quoted(value)),
                "write a number, or remove it",
            );
        }
    }
    let Some(first) = pods(case).next().filter(|_| case.kind == Kind::Workload) else { return };
    let has_links =
        get(&first.pod, &["enableServiceLinks"]).is_none_or(|it| it.as_bool() == Some(true));
    if case.key.name == "vllm" && has_links && first.variable(VLLM_PORT).is_none() {
        report.unsure(
            first.pod_place(case, &["enableServiceLinks"]),
            "a Service of this workload's name, \"vllm\", gives its pods VLLM_PORT=tcp://…",
            "write enableServiceLinks: false, or call the Service otherwise",
        );
    }
}

fn keep_alive(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case).iter().filter(|engine| engine.role == Role::Prefill) {
        let seconds = engine.env(KEEP_ALIVE).and_then(|value| value.trim().parse::<i64>().ok());
        if let Some(seconds) = seconds.filter(|seconds| *seconds < IDLE_SECONDS) {
            report.invalid(
                engine.env_place(case, KEEP_ALIVE),
                format!("{KEEP_ALIVE} is {seconds} s, and the sidecar keeps connections for 90 s"),
                "write 120",
            );
        }
    }
}

fn certificate(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        for flag in TLS_FILES {
            let missing = engine.value(flag).filter(|file| is_unmounted(engine.container(), file));
            if let Some(file) = missing {
                report.invalid(
                    engine.place(case, flag),
                    format!("nothing is mounted where {flag} {} lies", quoted(file)),
                    "mount the Secret with the certificate there",
                );
            }
        }
        for sidecar in engine.sidecars() {
            let missing = sidecar
                .value(sidecar::CERT_PATH)
                .filter(|path| is_unmounted(sidecar.container, path));
            if let Some(path) = missing {
                report.invalid(
                    sidecar.place(engine, case, sidecar::CERT_PATH),
                    format!(
                        "nothing is mounted where {} {} lies",
                        sidecar::CERT_PATH,
                        quoted(path)
                    ),
                    "mount the Secret with the certificate there",
                );
            }
        }
    }
}

/// Whether an absolute path is in none of a container's mounts.
fn is_unmounted(container: &Value, path: &str) -> bool {
    let mut mounts = list(container, &["volumeMounts"]).iter();
    path.starts_with('/')
        && !mounts.any(|it| text(it, &["mountPath"]).is_some_and(|it| is_within(path, it)))
}

#[cfg(test)]
mod tests;
