//! Prefill and decode, held against each other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::case::{Case, get, text};
use super::effective::Engine;
use super::report::Report;
use crate::decision::quoted;
use crate::vllm::KV_TRANSFER_CONFIG;

mod table;

pub(super) use table::RULES;

const TENSOR: &str = "--tensor-parallel-size";
const BLOCK: &str = "--block-size";
const HYBRID: &str = "--disable-hybrid-kv-cache-manager";
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
    if let (Some(there), Some(here)) = (decode.connectors(), prefill.connectors())
        && there != here
    {
        // Point at one that somebody wrote.
        let engine = if prefill.given_kv.is_some() { prefill } else { decode };
        report.invalid(
            engine.place(case, KV_TRANSFER_CONFIG),
            format!("prefill uses {}, decode uses {}", here.join(", "), there.join(", ")),
            "write the same kv_connector in both",
        );
    }
}

fn reversed_roles(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for (engine, wrong, right) in
        [(prefill, "kv_consumer", "kv_producer"), (decode, "kv_producer", "kv_consumer")]
    {
        let role = engine.kv.as_ref().and_then(|kv| kv.role.as_deref());
        if role == Some(wrong) {
            report.invalid(
                engine.place(case, KV_TRANSFER_CONFIG),
                format!("{} has kv_role {wrong}", engine.role.as_str()),
                format!("write {right}"),
            );
        }
    }
}

fn deprecated_role(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for (engine, right) in [(prefill, "kv_producer"), (decode, "kv_consumer")] {
        let Some(kv) = &engine.given_kv else { continue };
        let is_nixl = kv.connector.as_deref().is_some_and(|name| name.starts_with("Nixl"));
        if is_nixl && kv.role.as_deref() == Some("kv_both") {
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

fn tensors_divide(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, _)) = case.pair() else { return };
    let Some((ours, theirs)) = tensors(case) else { return };
    if ours.max(theirs) % ours.min(theirs) != 0 {
        report.invalid(
            tensor_place(case, prefill),
            format!("prefill has tensor parallel size {ours}, decode {theirs}"),
            "one must be a multiple of the other",
        );
    }
}

fn larger_prefill(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, _)) = case.pair() else { return };
    let Some((ours, theirs)) = tensors(case) else { return };
    if ours > theirs {
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
        report.invalid(
            tensor_place(case, prefill),
            format!(
                "prefill has tensor parallel size {ours}, decode {theirs}, and {LAYOUT} says that \
                 the model is a hybrid one"
            ),
            "write the same size in both",
        );
    }
}

fn tensor_place(case: &Case<'_>, engine: &Engine) -> crate::json::FieldPath {
    let field = super::case::below(&engine.pool, &["parallelism", "tensor"]);
    let is_there = case.object.pointer(&field.pointer()).is_some_and(|value| !value.is_null());
    if is_there { field } else { engine.place(case, TENSOR) }
}

fn blocks_divide(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let Some((ours, theirs)) = blocks(prefill, decode) else { return };
    if theirs % ours != 0 {
        report.invalid(
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
    report.invalid(
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
    let last = engine.arguments.last(HYBRID).and_then(|argument| argument.flag.as_ref());
    last.is_some_and(|flag| flag.negated)
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
            report.invalid(
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
    let image = |engine: &Engine| text(engine.container(), &["image"]).map(str::to_owned);
    if let (Some(ours), Some(theirs)) = (image(prefill), image(decode))
        && ours != theirs
    {
        report.invalid(
            image_place(case, prefill).unwrap_or_else(|| prefill.place(case, "")),
            format!("prefill runs {}, decode {}", quoted(&ours), quoted(&theirs)),
            "run the same image in both",
        );
    }
}

fn image_place(case: &Case<'_>, engine: &Engine) -> Option<crate::json::FieldPath> {
    let container = engine.place(case, "");
    let is_there = case.object.pointer(&container.field("image").pointer()).is_some();
    is_there.then(|| container.field("image"))
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
        report.invalid(
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
                    report.invalid(
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
                engine.place(case, HYBRID),
                "the hybrid KV cache manager cannot permute (enable_permute_local_kv)",
                "remove one of the two",
            );
        }
    }
}

fn backends(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    let is_nixl = |engine: &Engine| {
        engine.connectors().is_some_and(|names| names.iter().any(|name| name.starts_with("Nixl")))
    };
    let backends = |engine: &Engine| -> BTreeSet<String> {
        let list = engine.extra("backends").and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(Value::as_str);
        let names: BTreeSet<String> = names.map(str::to_ascii_uppercase).collect();
        if names.is_empty() { BTreeSet::from(["UCX".to_owned()]) } else { names }
    };
    let joined = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let (ours, theirs) = (backends(prefill), backends(decode));
    if is_nixl(prefill) && is_nixl(decode) && ours != theirs {
        let engine = if prefill.extra("backends").is_some() { prefill } else { decode };
        report.invalid(
            engine.place(case, KV_TRANSFER_CONFIG),
            format!("prefill has NIXL backends {}, decode {}", joined(&ours), joined(&theirs)),
            "write the same backends in both",
        );
    }
}

fn fabrics(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    // A claim may be for a network card: what it brings is not known here.
    let claims = |engine: &Engine| get(&engine.pod, &["resourceClaims"]).is_some();
    if claims(prefill) || claims(decode) {
        return;
    }
    for (engine, other) in [(prefill, decode), (decode, prefill)] {
        if let (Some(resource), None) = (rdma(engine), rdma(other)) {
            report.invalid(
                super::case::below(&other.pool, &["template"]),
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

/// The engine's RDMA resource, by the names that device plugins give them.
fn rdma(engine: &Engine) -> Option<&str> {
    let is_rdma = |name: &&str| {
        name.starts_with("rdma/")
            || name.starts_with("networking.gke.io.networks/rdma")
            || name.contains("sriov")
            || *name == "vpc.amazonaws.com/efa"
    };
    let limits = get(engine.container(), &["resources", "limits"])?.as_object()?;
    limits.keys().map(String::as_str).find(is_rdma)
}

fn bidirectional(engine: &Engine) -> bool {
    engine.extra("bidirectional_kv_xfer") == Some(&Value::Bool(true))
}

fn bidirectional_push(case: &Case<'_>, report: &mut Report) {
    let Some((prefill, decode)) = case.pair() else { return };
    for engine in [decode, prefill] {
        let pushes = engine
            .connectors()
            .is_some_and(|names| names.iter().any(|it| it == "NixlPushConnector"));
        if bidirectional(engine) && pushes {
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
