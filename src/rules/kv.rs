//! The KV configuration of one engine.

use serde_json::{Map, Value};

use super::case::{Case, get};
use super::effective::{Effective, Engine};
use super::report::Report;
use super::{Check, Rule};
use crate::catalog::{Severity, nearest};
use crate::decision::quoted;
use crate::vllm::{Arguments, KV_TRANSFER_CONFIG};
use crate::workload::Role;

const FAMILY: &str = "KV configuration";

/// Names that vLLM registers, August 2026 (`vllm/distributed/kv_transfer/kv_connector/factory.py`).
const CONNECTORS: [&str; 16] = [
    "NixlConnector",
    "NixlPullConnector",
    "NixlPushConnector",
    "LMCacheConnectorV1",
    "LMCacheMPConnector",
    "MultiConnector",
    "OffloadingConnector",
    "MooncakeConnector",
    "MooncakeStoreConnector",
    "MoRIIOConnector",
    "FlexKVConnectorV1",
    "SimpleCPUOffloadConnector",
    "HF3FSKVConnector",
    "DecodeBenchConnector",
    "ExampleConnector",
    "ExampleHiddenStatesConnector",
];

/// Names that older releases register, and what came in their place.
const REMOVED: [(&str, &str); 2] = [
    ("P2pNcclConnector", "vLLM removed it in June 2026 (vllm#44854); use NixlConnector"),
    ("SharedStorageConnector", "vLLM renamed it to ExampleConnector"),
];

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

const ROLES: [&str; 3] = ["kv_producer", "kv_consumer", "kv_both"];
const SIDE_CHANNEL: &str = "VLLM_NIXL_SIDE_CHANNEL_HOST";
const ALLOCATORS: [&str; 2] = ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"];

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "V26",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a --kv-transfer-config that is no JSON object",
        why: "vLLM parses the value before anything else and ends with a usage error: the container restarts for \
              ever (kserve#5880). Where a shell reads the value first, quotes may be lost in a way that is not \
              seen from here, and it is a warning.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",}']
",
        symptom_of: &["V27"],
        check: Check::Service(unreadable),
    },
    Rule {
        code: "V27",
        family: FAMILY,
        severity: Severity::Reject,
        title: "JSON that a shell takes apart",
        why: "KServe's presets hand the arguments to `eval`, which reads them as a shell does: {\"a\":\"b\",\"c\":\"d\"} \
              becomes the two words a:b and c:d, and the engine ends with a usage error. Found by trying; single \
              quotes inside of the value keep it.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        command: [/bin/bash, -c]
        args: ['eval \"exec vllm serve /mnt/models $@\"', --, --kv-transfer-config, \"'{\\\"kv_connector\\\":\\\"OffloadingConnector\\\",\\\"kv_role\\\":\\\"kv_both\\\"}'\"]
",
        reported: "
spec:
  template:
    containers:
      - name: main
        command: [/bin/bash, -c]
        args: ['eval \"exec vllm serve /mnt/models $@\"', --, --kv-transfer-config, '{\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &[],
        check: Check::Service(taken_apart),
    },
    Rule {
        code: "V28",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a connector without its role",
        why: "vLLM asks for kv_role where kv_connector is set, and knows kv_producer, kv_consumer and kv_both \
              (config/kv_transfer.py): the engine does not start.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"both\"}']
",
        symptom_of: &["V26"],
        check: Check::Service(role),
    },
    Rule {
        code: "V29",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a connector that vLLM does not have",
        why: "A name that is not registered is looked up in kv_connector_module_path; without one the engine does \
              not start. A name that is near to a known one is misspelt; another may be newer than this \
              program, and one that a release removed may be right for an older image: both are warnings.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"MyConnector\",\"kv_role\":\"kv_both\",\"kv_connector_module_path\":\"my.module\"}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OfloadingConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &["V26"],
        check: Check::Service(unknown),
    },
    Rule {
        code: "V31",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a NIXL side channel that others cannot reach",
        why: "The other side is told this very address and connects to it: localhost is itself, 0.0.0.0 is no \
              address to connect to, and a fixed one is not this pod's (kthena#1781). Where the variable is not \
              written, it is filled in.",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, env: [{name: VLLM_NIXL_SIDE_CHANNEL_HOST, value: 0.0.0.0}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Service(side_channel),
    },
    Rule {
        code: "V34",
        family: FAMILY,
        severity: Severity::Warn,
        title: "expandable segments with a KV connector",
        why: "Memory that PyTorch moves cannot be registered for RDMA. vLLM refuses the pair since 2026-05-09 \
              (vllm#41237) and failed or crawled before (nixl#1754). A warning as long as the image's release is \
              not known.",
        accepted: "
spec:
  template: {containers: [{name: main, env: [{name: PYTORCH_CUDA_ALLOC_CONF, value: \"max_split_size_mb:512\"}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, env: [{name: PYTORCH_CUDA_ALLOC_CONF, value: \"expandable_segments:True\"}]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Service(expandable),
    },
    Rule {
        code: "V36",
        family: FAMILY,
        severity: Severity::Reject,
        title: "pipeline parallelism with NIXL",
        why: "vLLM's nixl/base_worker.py has it for the producer of a NixlPushConnector alone; any other engine \
              ends with NotImplementedError.",
        accepted: "
spec:
  template: {containers: [{name: main, args: [--pipeline-parallel-size=1]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template: {containers: [{name: main, args: [--pipeline-parallel-size=2]}]}
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Service(pipeline),
    },
    Rule {
        code: "V37",
        family: FAMILY,
        severity: Severity::Reject,
        title: "the hybrid KV cache manager with a connector that cannot",
        why: "--no-disable-hybrid-kv-cache-manager asks for the manager, and vLLM's configuration refuses it with a \
              connector that does not support it.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}', --no-disable-hybrid-kv-cache-manager]
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_both\"}', --no-disable-hybrid-kv-cache-manager]
",
        symptom_of: &["V29"],
        check: Check::Service(no_hybrid),
    },
    Rule {
        code: "V39",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a variable that vLLM no longer reads",
        why: "VLLM_NIXL_ABORT_REQUEST_TIMEOUT was removed on 2026-05-11 (vllm#41383). It is ignored, and blocks are \
              kept for kv_lease_duration.",
        accepted: "spec: {template: {containers: [{name: main, env: [{name: A, value: \"1\"}]}]}}",
        reported: "spec: {template: {containers: [{name: main, env: [{name: VLLM_NIXL_ABORT_REQUEST_TIMEOUT, value: \"300\"}]}]}}",
        symptom_of: &[],
        check: Check::Service(abort_timeout),
    },
    Rule {
        code: "V40",
        family: FAMILY,
        severity: Severity::Warn,
        title: "an all-to-all backend that vLLM no longer has",
        why: "VLLM_ALL2ALL_BACKEND was removed on 2026-02-03 (vllm#33535) and is ignored; the backends pplx and naive \
              went the same month (vllm#33724). The engine falls back to the slowest one.",
        accepted: "spec: {template: {containers: [{name: main, args: [--all2all-backend=deepep_low_latency]}]}}",
        reported: "spec: {template: {containers: [{name: main, env: [{name: VLLM_ALL2ALL_BACKEND, value: pplx}]}]}}",
        symptom_of: &[],
        check: Check::Service(all_to_all),
    },
    Rule {
        code: "V42",
        family: FAMILY,
        severity: Severity::Warn,
        title: "decode that computes prompts when a transfer fails",
        why: "kv_load_failure_policy recompute makes one failed transfer stall every other answer of the decode pod \
              for as long as its prompt takes. vLLM's default is fail since 2026-02-21 (vllm#34896), and llm-d's \
              guide writes it.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_consumer\",\"kv_load_failure_policy\":\"fail\"}']
  prefill: {template: {containers: [{name: main}]}}
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_consumer\",\"kv_load_failure_policy\":\"recompute\"}']
  prefill: {template: {containers: [{name: main}]}}
",
        symptom_of: &[],
        check: Check::Service(recompute),
    },
    Rule {
        code: "V43",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a MultiConnector without connectors",
        why: "It takes its connectors from kv_connector_extra_config.connectors, each a configuration of its own with \
              a role (vLLM's multi_connector.py): without them the engine does not start.",
        accepted: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"MultiConnector\",\"kv_role\":\"kv_both\",\"kv_connector_extra_config\":{\"connectors\":[{\"kv_connector\":\"OffloadingConnector\",\"kv_role\":\"kv_both\"}]}}']
",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"MultiConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &["V26", "V28"],
        check: Check::Service(multi),
    },
    Rule {
        code: "V45",
        family: FAMILY,
        severity: Severity::Warn,
        title: "LMCacheConnectorV1 between prefill and decode",
        why: "On recent releases of vLLM decode was reported to diverge at the first token (vllm#52617).",
        accepted: "spec: {template: {containers: [{name: main}]}, prefill: {template: {containers: [{name: main}]}}}",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_consumer\"}']
  prefill:
    template:
      containers:
        - name: main
          args: ['--kv-transfer-config={\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_producer\"}']
",
        symptom_of: &[],
        check: Check::Service(lm_cache),
    },
    Rule {
        code: "V46",
        family: FAMILY,
        severity: Severity::Warn,
        title: "NIXL without prefill and decode",
        why: "There is nobody to transfer to: memory is registered and ports are opened for nothing (kserve#5883).",
        accepted: "spec: {template: {containers: [{name: main}]}}",
        reported: "
spec:
  template:
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_both\"}']
",
        symptom_of: &[],
        check: Check::Service(nobody_there),
    },
];

fn engines<'a>(case: &'a Case<'_>) -> &'a [Engine] {
    match case.effective() {
        Some(Ok(Effective { engines })) => engines,
        _ => &[],
    }
}

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
        if engine.is_shell {
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
        if CONNECTORS.contains(&name) {
            continue;
        }
        let place = engine.place(case, KV_TRANSFER_CONFIG);
        let message = format!("vLLM has no connector {}", quoted(name));
        if let Some((_, instead)) = REMOVED.iter().find(|(removed, _)| *removed == name) {
            report.unsure(place, message, *instead);
        } else if let Some(near) = nearest(name, CONNECTORS).filter(|near| is_typo(name, near)) {
            report.unsupported(place, message, format!("did you mean {near}?"));
        } else {
            report.unsure(place, message, "for one of your own add kv_connector_module_path");
        }
    }
}

/// Two edits at most: many names end alike.
fn is_typo(name: &str, near: &str) -> bool {
    strsim::damerau_levenshtein(name, near) <= 2
}

fn uses_nixl(engine: &Engine) -> bool {
    engine.connectors().is_some_and(|names| names.iter().any(|name| name.starts_with("Nixl")))
}

fn side_channel(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case).iter().filter(|engine| uses_nixl(engine)) {
        let Some(host) = engine.env(SIDE_CHANNEL) else { continue };
        // The kubelet puts another variable's value in.
        if host.contains("$(") {
            continue;
        }
        report.invalid(
            engine.env_place(case, SIDE_CHANNEL),
            format!("{SIDE_CHANNEL} is {}, which no other pod finds this one by", quoted(host)),
            "remove it: the pod's own address is filled in",
        );
    }
}

fn expandable(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let has_connector = engine.kv.as_ref().is_some_and(|kv| kv.connector.is_some());
        if !has_connector || engine.arguments.gives("--enable-cumem-allocator") {
            continue;
        }
        for variable in ALLOCATORS {
            let value = engine.env(variable).unwrap_or_default().replace(' ', "");
            if value.to_ascii_lowercase().contains("expandable_segments:true") {
                report.invalid(
                    engine.env_place(case, variable),
                    "expandable_segments:True with a KV connector: vLLM refuses it, or RDMA fails",
                    "remove it",
                );
            }
        }
    }
}

fn pipeline(case: &Case<'_>, report: &mut Report) {
    const FLAG: &str = "--pipeline-parallel-size";
    for engine in engines(case).iter().filter(|engine| uses_nixl(engine)) {
        let Some(stages) = engine.number(FLAG).filter(|stages| *stages > 1) else { continue };
        let pushes = engine
            .connectors()
            .is_some_and(|names| names.iter().any(|it| it == "NixlPushConnector"));
        if !(pushes && engine.role == Role::Prefill) {
            report.invalid(
                engine.place(case, FLAG),
                format!("{stages} stages, and NIXL has no pipeline parallelism here"),
                "use tensor parallelism",
            );
        }
    }
}

fn no_hybrid(case: &Case<'_>, report: &mut Report) {
    const FLAG: &str = "--disable-hybrid-kv-cache-manager";
    for engine in engines(case) {
        let flag = engine.arguments.last(FLAG).and_then(|argument| argument.flag.as_ref());
        if !flag.is_some_and(|flag| flag.negated) {
            continue;
        }
        for name in engine.connectors().unwrap_or_default() {
            // What is not known may support it.
            if CONNECTORS.contains(&name.as_str()) && !HYBRID.contains(&name.as_str()) {
                report.invalid(
                    engine.place(case, FLAG),
                    format!("{name} does not support the hybrid KV cache manager"),
                    "remove --no-disable-hybrid-kv-cache-manager, or use another connector",
                );
            }
        }
    }
}

fn abort_timeout(case: &Case<'_>, report: &mut Report) {
    const NAME: &str = "VLLM_NIXL_ABORT_REQUEST_TIMEOUT";
    for engine in engines(case) {
        if engine.env(NAME).is_some() {
            report.invalid(
                engine.env_place(case, NAME),
                format!("{NAME} is no longer read by vLLM"),
                "write kv_lease_duration in kv_connector_extra_config",
            );
        }
    }
}

fn all_to_all(case: &Case<'_>, report: &mut Report) {
    const NAME: &str = "VLLM_ALL2ALL_BACKEND";
    const FLAG: &str = "--all2all-backend";
    for engine in engines(case) {
        if let Some(value) = engine.env(NAME) {
            report.invalid(
                engine.env_place(case, NAME),
                format!("{NAME}={value} is no longer read by vLLM"),
                format!("write {FLAG} in args"),
            );
        }
        if let Some(value) = engine.value(FLAG).filter(|it| ["pplx", "naive"].contains(it)) {
            report.invalid(
                engine.place(case, FLAG),
                format!("vLLM no longer has the backend {value}"),
                "write deepep_low_latency for decode, deepep_high_throughput for prefill",
            );
        }
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
        let children = config
            .get("kv_connector_extra_config")
            .and_then(|extra| get(extra, &["connectors"])?.as_array())
            .map(Vec::as_slice)
            .unwrap_or_default();
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
                .find(|member| super::case::text(child, &[member]).is_none());
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
            engine.connectors().is_some_and(|names| names.iter().all(|it| it.starts_with("Nixl")));
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
