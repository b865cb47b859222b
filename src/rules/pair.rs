//! Prefill and decode, held against each other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::case::{Case, below, get};
use super::effective::{Engine, NIXL};
use super::flags::{NO_HYBRID, TENSOR};
use super::report::Report;
use crate::decision::quoted;
use crate::json::FieldPath;
use crate::vllm::{Change, KV_TRANSFER_CONFIG};

mod table;

pub(super) use table::RULES;

const BLOCK: &str = "--block-size";
const LAYOUT: &str = "VLLM_SSM_CONV_STATE_LAYOUT";

fn no_connector(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    if [prefill, decode].into_iter().all(lacks_connector) {
        report.required(
            prefill.place(case, KV_TRANSFER_CONFIG),
            "neither prefill nor decode has a KV connector: decode reads every prompt again",
            "add \"kv_connector\":\"NixlConnector\" to --kv-transfer-config of both, or remove the \
             flag from both to have it filled in",
        );
    }
}

fn one_connector(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for (engine, other) in [(prefill, decode), (decode, prefill)] {
        if lacks_connector(engine) && other.connectors().is_some() {
            report.required(
                engine.place(case, KV_TRANSFER_CONFIG),
                format!(
                    "{} has no KV connector, and {} has {}",
                    engine.role.as_str(),
                    other.role.as_str(),
                    other.connectors().unwrap_or_default().join(", ")
                ),
                "give both the same connector in --kv-transfer-config",
            );
        }
    }
}

/// Whether it is certain that the engine starts without a connector.
fn lacks_connector(engine: &Engine) -> bool {
    engine.is_complete && engine.kv.as_ref().is_none_or(|kv| !kv.gives_connector())
}

fn other_connector(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    if let (Some(there), Some(here)) = (transfers(decode), transfers(prefill))
        && !here.iter().any(|name| there.contains(name))
    {
        // Point at one that somebody wrote.
        let engine = if prefill.given_kv.is_some() { prefill } else { decode };
        let place = engine.place(case, KV_TRANSFER_CONFIG);
        let message = format!("prefill uses {}, decode uses {}", here.join(", "), there.join(", "));
        let help = "write the same kv_connector in both";
        // What is not known may speak to the other, and two may keep blocks in one store.
        let moves = here.iter().chain(&there).any(|name| MOVERS.contains(name));
        report.invalid_if(moves && !has_module(case), place, message, help);
    }
}

/// Whether prefill or decode takes its connector from a module of its own.
fn has_module(case: &Case<'_>) -> bool {
    let has = |engine: &Engine| {
        engine.kv.as_ref().is_some_and(|kv| kv.config.contains_key("kv_connector_module_path"))
    };
    case.pair().is_some_and(|(prefill, decode)| has(prefill) || has(decode))
}

/// Connectors that speak to one of their own kind alone.
const MOVERS: [&str; 4] =
    ["NixlConnector", "NixlPushConnector", "MooncakeConnector", "MoRIIOConnector"];

/// The connectors that blocks are moved by from pod to pod: those for a tier of the pod's own say
/// nothing to the other side, unless there are no others.
fn transfers(engine: &Engine) -> Option<Vec<&str>> {
    const TIERS: [&str; 2] = ["OffloadingConnector", "SimpleCPUOffloadConnector"];
    let all: Vec<&str> = engine.connectors()?.iter().map(String::as_str).collect();
    let moving: Vec<&str> = all.iter().filter(|name| !TIERS.contains(name)).copied().collect();
    Some(if moving.is_empty() { all } else { moving })
}

fn reversed_roles(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for (engine, wrong, right) in
        [(prefill, "kv_consumer", "kv_producer"), (decode, "kv_producer", "kv_consumer")]
    {
        let role = engine.kv.as_ref().and_then(|kv| kv.role.as_deref());
        if role == Some(wrong) {
            let place = engine.place(case, KV_TRANSFER_CONFIG);
            let message = format!("{} has kv_role {wrong}", engine.role.as_str());
            let help = format!("write {right}");
            // To older releases of NIXL's connector the role says nothing.
            let is_read =
                engine.nixl().is_none() || engine.has(Change::NixlKvBothDeprecated) == Some(true);
            report.invalid_if(is_read, place, message, help);
        }
    }
}

fn deprecated_role(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for (engine, right) in [(prefill, "kv_producer"), (decode, "kv_consumer")] {
        let Some(kv) = &engine.given_kv else { continue };
        let is_nixl = kv.connector.as_deref().is_some_and(|name| name.starts_with(NIXL));
        let is_deprecated = engine.has(Change::NixlKvBothDeprecated) == Some(true);
        if is_nixl && is_deprecated && kv.role.as_deref() == Some("kv_both") {
            report.invalid(
                engine.place(case, KV_TRANSFER_CONFIG),
                "kv_role kv_both is deprecated with NIXL",
                format!("write {right} here"),
            );
        }
    }
}

/// Tensor parallel sizes of prefill and decode, as far as both are known.
fn tensors(case: &Case<'_>) -> Option<(i64, i64)> {
    let (prefill, decode) = case.pair()?;
    let size = |engine: &Engine| {
        let default = engine.certainly_lacks(TENSOR).then_some(1);
        engine.number(TENSOR).or(default).filter(|size| *size > 0)
    };
    Some((size(prefill)?, size(decode)?))
}

/// Whether NIXL moves the blocks, whose limits these rules know.
fn are_nixl(case: &Case<'_>) -> bool {
    case.pair().is_some_and(|(prefill, decode)| prefill.nixl().and(decode.nixl()).is_some())
}

/// Whether what prefill and decode have to agree on is certain to be compared: NIXL does, where
/// nobody turned that off.
fn are_compared(case: &Case<'_>) -> bool {
    let is_off =
        |engine: &Engine| engine.extra("enforce_handshake_compat") == Some(&Value::Bool(false));
    are_nixl(case)
        && !case.pair().is_some_and(|(prefill, decode)| is_off(prefill) || is_off(decode))
}

fn tensors_divide(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, _)) = case.pair() else { return };
    let Some((ours, theirs)) = tensors(case) else { return };
    if ours.max(theirs) % ours.min(theirs) != 0 {
        report.invalid_if(
            are_nixl(case),
            tensor_place(case, prefill),
            format!("prefill has tensor parallel size {ours}, decode {theirs}"),
            "one must be a multiple of the other",
        );
    }
}

fn larger_prefill(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, _)) = case.pair() else { return };
    let Some((ours, theirs)) = tensors(case) else { return };
    if ours > theirs && are_nixl(case) {
        report.invalid(
            tensor_place(case, prefill),
            format!("prefill has tensor parallel size {ours}, decode {theirs}"),
            "make decode's as large, unless the model has at least that many KV heads",
        );
    }
}

fn hybrid_tensors(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let Some((ours, theirs)) = tensors(case) else { return };
    let is_hybrid = [prefill, decode].into_iter().any(|engine| engine.env(LAYOUT).is_some());
    if is_hybrid && ours != theirs {
        report.invalid_if(
            are_nixl(case),
            tensor_place(case, prefill),
            format!(
                "prefill has tensor parallel size {ours}, decode {theirs}, and {LAYOUT} says that \
                 the model is a hybrid one"
            ),
            "write the same size in both",
        );
    }
}

fn tensor_place(case: &Case<'_>, engine: &Engine) -> FieldPath {
    let field = below(&engine.pool, &["parallelism", "tensor"]);
    if case.written(&field) == field { field } else { engine.place(case, TENSOR) }
}

fn blocks_divide(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let Some((ours, theirs)) = blocks(prefill, decode) else { return };
    if theirs % ours != 0 {
        report.invalid_if(
            are_nixl(case),
            prefill.place(case, BLOCK),
            format!("prefill has block size {ours}, decode {theirs}"),
            "make decode's a multiple of prefill's, or write the same in both",
        );
    }
}

fn blocks_equal(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let Some((ours, theirs)) = blocks(prefill, decode) else { return };
    if ours == theirs {
        return;
    }
    let on_cpu = |engine: &Engine| {
        let kv = engine.kv.as_ref().map(|kv| &kv.config);
        kv.and_then(|config| config.get("kv_buffer_device")?.as_str()) == Some("cpu")
    };
    let reason = if on_cpu(prefill) || on_cpu(decode) {
        "kv_buffer_device cpu"
    } else if tensors(case).is_some_and(|(prefill, decode)| prefill > decode) {
        "a larger tensor parallel size on prefill"
    } else if forces_hybrid(prefill) || forces_hybrid(decode) {
        "the hybrid KV cache manager"
    } else {
        return;
    };
    report.invalid_if(
        are_nixl(case),
        prefill.place(case, BLOCK),
        format!("prefill has block size {ours}, decode {theirs}, which {reason} cannot have"),
        "write the same block size in both",
    );
}

fn blocks(prefill: &Engine, decode: &Engine) -> Option<(i64, i64)> {
    let size = |engine: &Engine| engine.number(BLOCK).filter(|size| *size > 0);
    Some((size(prefill)?, size(decode)?))
}

/// Whether `--no-disable-hybrid-kv-cache-manager` is given.
fn forces_hybrid(engine: &Engine) -> bool {
    engine.switch(NO_HYBRID) == Some(false)
}

/// Reports a flag that prefill and decode have to agree on. What only one of them gives is a
/// warning: the engine's own choice on the other side may be the same.
fn agree(
    case: &Case<'_>,
    report: &mut Report,
    (flag, variable): (&str, Option<&str>),
    why: &str,
    normal: fn(&str) -> String,
) {
    let Some((prefill, decode)) = case.pair() else { return };
    let said = |engine: &Engine| {
        engine.value(flag).or_else(|| engine.env(variable?)).map(normal).filter(|it| it != "auto")
    };
    let help = format!("write the same {flag} in both");
    let place = |engine: &Engine| match variable.filter(|_| engine.value(flag).is_none()) {
        Some(variable) => engine.env_place(case, variable),
        None => engine.place(case, flag),
    };
    match (said(prefill), said(decode)) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            report.invalid_if(
                are_compared(case),
                place(prefill),
                format!("prefill has {ours}, decode {theirs}: {why}"),
                help,
            );
        }
        (Some(ours), None) => {
            report.unsure(
                place(prefill),
                format!("prefill has {ours}, decode no {flag}: {why}"),
                help,
            );
        }
        (None, Some(theirs)) => {
            report.unsure(
                place(decode),
                format!("decode has {theirs}, prefill no {flag}: {why}"),
                help,
            );
        }
        _ => {}
    }
}

const HANDSHAKE: &str = "every transfer is refused";

fn cache_dtype(case: &Case<'_>, report: &mut Report) {
    agree(case, report, ("--kv-cache-dtype", None), HANDSHAKE, |value| {
        if value == "fp8" { "fp8_e4m3".to_owned() } else { value.to_ascii_lowercase() }
    });
}

fn attention(case: &Case<'_>, report: &mut Report) {
    let names = ("--attention-backend", Some("VLLM_ATTENTION_BACKEND"));
    agree(case, report, names, HANDSHAKE, str::to_ascii_uppercase);
}

fn dtype(case: &Case<'_>, report: &mut Report) {
    const QUANTIZATION: &str = "--quantization";
    agree(case, report, ("--dtype", None), HANDSHAKE, |value| {
        match value {
            "half" => "float16",
            "float" => "float32",
            other => other,
        }
        .to_owned()
    });
    let Some((prefill, decode)) = case.pair() else { return };
    if let (Some(ours), Some(theirs)) = (prefill.value(QUANTIZATION), decode.value(QUANTIZATION))
        && ours != theirs
    {
        report.unsure(
            prefill.place(case, QUANTIZATION),
            format!("prefill has {ours}, decode {theirs}: the KV blocks differ in their numbers"),
            "write the same --quantization in both",
        );
    }
}

fn images(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    // A mirror's has the same in it.
    let name = |image: &str| image.rsplit('/').next().unwrap_or(image).to_owned();
    let is_tagged = |image: &str| name(image).contains(':');
    if let (Some(ours), Some(theirs)) = (prefill.image(), decode.image())
        && ours != theirs
        && !(is_tagged(ours) && name(ours) == name(theirs))
    {
        report.invalid(
            prefill.field_place(case, &["image"]),
            format!("prefill runs {}, decode {}", quoted(ours), quoted(theirs)),
            "run the same image in both",
        );
    }
}

fn models(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let model = |engine: &Engine| {
        let given = engine.value("--model").map(str::to_owned);
        let word = || engine.arguments.positional().next().map(str::to_owned);
        given.or_else(word).filter(|model| !model.contains('$'))
    };
    if let (Some(ours), Some(theirs)) = (model(prefill), model(decode))
        && ours != theirs
    {
        // Behind a script's `vllm serve` may be the shell's own words.
        report.invalid_if(
            !prefill.is_shell() && !decode.is_shell(),
            prefill.place(case, "--model"),
            format!("prefill serves {}, decode {}", quoted(&ours), quoted(&theirs)),
            "serve the same model in both: leave it out, it is spec.model",
        );
    }
    let adapters = |engine: &Engine| flag_values(engine, "--lora-modules");
    if let (Some(ours), Some(theirs)) = (adapters(prefill), adapters(decode))
        && ours != theirs
    {
        report.unsure(
            prefill.place(case, "--lora-modules"),
            "prefill and decode load different adapters",
            "write the same --lora-modules in both, or spec.model.lora",
        );
    }
}

fn flag_values(engine: &Engine, name: &str) -> Option<BTreeSet<String>> {
    let flag = engine.arguments.last(name)?.flag.as_ref()?;
    Some(flag.values.iter().cloned().collect())
}

fn speculation(case: &Case<'_>, report: &mut Report) {
    const FLAG: &str = "--speculative-config";
    let Some((prefill, decode)) = case.pair() else { return };
    let config = |engine: &Engine| serde_json::from_str::<Value>(engine.value(FLAG)?).ok();
    let (ours, theirs) = (config(prefill), config(decode));
    match (&ours, &theirs) {
        (Some(ours), Some(theirs)) => {
            for member in ["method", "model"] {
                let (ours, theirs) = (get(ours, &[member]), get(theirs, &[member]));
                if let (Some(ours), Some(theirs)) = (ours, theirs)
                    && ours != theirs
                {
                    report.invalid_if(
                        are_compared(case),
                        prefill.place(case, FLAG),
                        format!("prefill has {member} {ours}, decode {theirs}: {HANDSHAKE}"),
                        "speculate with the same method and model in both",
                    );
                }
            }
        }
        (Some(_), None) if decode.certainly_lacks(FLAG) => one_sided(case, report, prefill, FLAG),
        (None, Some(_)) if prefill.certainly_lacks(FLAG) => one_sided(case, report, decode, FLAG),
        _ => {}
    }
}

/// Methods that share no layers with the model (n-gram) change nothing in the handshake.
fn one_sided(case: &Case<'_>, report: &mut Report, engine: &Engine, flag: &str) {
    report.unsure(
        engine.place(case, flag),
        format!("only {} speculates", engine.role.as_str()),
        format!("write the same {flag} in both: a draft that has layers of its own changes the handshake"),
    );
}

fn unchecked_handshake(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for engine in [decode, prefill] {
        if engine.extra("enforce_handshake_compat") == Some(&Value::Bool(false)) {
            report.invalid(
                engine.place(case, KV_TRANSFER_CONFIG),
                "enforce_handshake_compat is off: what does not fit corrupts the answers",
                "remove it",
            );
        }
    }
}

fn permuted_hybrid(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for engine in [decode, prefill] {
        let permutes = engine
            .kv
            .as_ref()
            .and_then(|kv| kv.config.get("enable_permute_local_kv"))
            .is_some_and(|value| *value == Value::Bool(true) || value == "True");
        if permutes && forces_hybrid(engine) {
            report.invalid(
                engine.place(case, NO_HYBRID),
                "the hybrid KV cache manager cannot permute (enable_permute_local_kv)",
                "remove one of the two",
            );
        }
    }
}

fn backends(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let joined = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    if let (Some(ours), Some(theirs)) = (prefill.nixl_backends(), decode.nixl_backends())
        && ours != theirs
    {
        let engine = if prefill.extra("backends").is_some() { prefill } else { decode };
        // One that both have may do.
        report.invalid_if(
            ours.is_disjoint(&theirs),
            engine.place(case, KV_TRANSFER_CONFIG),
            format!("prefill has NIXL backends {}, decode {}", joined(&ours), joined(&theirs)),
            "write the same backends in both",
        );
    }
}

fn fabrics(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    // A claim may be for a network card.
    if prefill.has_claims() || decode.has_claims() {
        return;
    }
    for (engine, other) in [(prefill, decode), (decode, prefill)] {
        if let (Some(resource), None) = (engine.rdma(), other.rdma()) {
            report.invalid(
                below(&other.pool, &["template"]),
                format!(
                    "{} has no RDMA resource, and {} has {resource}: KV goes over TCP",
                    other.role.as_str(),
                    engine.role.as_str()
                ),
                format!("give both {resource}"),
            );
        }
    }
}

fn bidirectional(engine: &Engine) -> bool {
    engine.extra("bidirectional_kv_xfer") == Some(&Value::Bool(true))
}

fn bidirectional_push(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for engine in [decode, prefill] {
        if bidirectional(engine) && engine.has_connector("NixlPushConnector") {
            report.invalid(
                engine.place(case, KV_TRANSFER_CONFIG),
                "NixlPushConnector cannot transfer both ways (bidirectional_kv_xfer)",
                "use NixlConnector, or remove bidirectional_kv_xfer",
            );
        }
    }
}

fn bidirectional_alone(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let message = match (bidirectional(prefill), bidirectional(decode)) {
        (false, false) => return,
        (true, true) => "needs a proxy that keeps state, and the routing sidecar keeps none",
        _ => "is on for one of prefill and decode only",
    };
    let engine = if bidirectional(prefill) { prefill } else { decode };
    report.invalid(
        engine.place(case, KV_TRANSFER_CONFIG),
        format!("bidirectional_kv_xfer {message}"),
        "remove it",
    );
}

fn lengths(case: &Case<'_>, report: &mut Report) {
    const FLAG: &str = "--max-model-len";
    let Some((prefill, decode)) = case.pair() else { return };
    match (prefill.number(FLAG), decode.number(FLAG)) {
        (Some(ours), Some(theirs)) if theirs < ours => report.invalid(
            decode.place(case, FLAG),
            format!(
                "decode takes {theirs} tokens, prefill {ours}: longer prompts fail after prefill"
            ),
            format!("write {ours} or more"),
        ),
        (Some(ours), None) if decode.certainly_lacks(FLAG) => report.invalid(
            prefill.place(case, FLAG),
            format!("prefill takes {ours} tokens, decode what the model takes"),
            "write the same --max-model-len in both",
        ),
        (None, Some(theirs)) if prefill.certainly_lacks(FLAG) => report.invalid(
            decode.place(case, FLAG),
            format!("decode takes {theirs} tokens, prefill what the model takes"),
            "write the same --max-model-len in both",
        ),
        _ => {}
    }
}

fn served_names(case: &Case<'_>, report: &mut Report) {
    const FLAG: &str = "--served-model-name";
    let Some((prefill, decode)) = case.pair() else { return };
    let names = |engine: &Engine| {
        let names = flag_values(engine, FLAG)?;
        // KServe's own presets give this alias to decode alone; nobody can change that here.
        let own = names.into_iter().filter(|name| !name.starts_with("publishers/"));
        Some(own.collect::<BTreeSet<_>>())
    };
    if let (Some(ours), Some(theirs)) = (names(prefill), names(decode))
        && ours != theirs
    {
        let engine = if ours.len() < theirs.len() { decode } else { prefill };
        report.invalid(
            engine.place(case, FLAG),
            "prefill and decode serve the model under different names",
            "write the same names in both: a request that decode takes is answered with 404 by prefill",
        );
    }
}

#[cfg(test)]
mod tests;
