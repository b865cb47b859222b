//! KV transfer between prefill and decode: NIXL's side channel and a connector on both sides.

use serde_json::{Value, json};

use super::container::{add_env, env, list, push};
use super::launch::{Additional, Start, append_flags};
use crate::compose::arguments::{set, words};
use crate::decision::Warning;
use crate::vllm::{self, Launch, kv_transfer, script_mentions_connector};

const HOST: &str = "VLLM_NIXL_SIDE_CHANNEL_HOST";
const PORT: &str = "VLLM_NIXL_SIDE_CHANNEL_PORT";
/// vLLM's own default of [`PORT`].
const DEFAULT_PORT: &str = "5600";
/// The connector that is given where nobody gave one.
const CONNECTOR: &str = r#"{"kv_connector":"NixlConnector","kv_role":"kv_both"}"#;

/// Completes the engine's container.
pub(super) fn complete(container: &mut Value, warnings: &mut Vec<Warning>) {
    // Without it the other side is told `localhost`.
    add_env(
        container,
        json!({"name": HOST, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}),
    );
    add_env(container, json!({"name": PORT, "value": DEFAULT_PORT}));
    declare_port(container);
    give_connector(container, warnings);
}

/// Declares the side channel's port, where its number is known.
fn declare_port(container: &mut Value) {
    let number = env(container, PORT)
        .and_then(|variable| variable.get("value")?.as_str()?.parse::<u16>().ok())
        .filter(|port| *port > 0);
    let Some(number) = number else { return };
    let declared = list(Some(container), "ports")
        .iter()
        .any(|port| port.get("containerPort").and_then(Value::as_u64) == Some(number.into()));
    if !declared {
        push(container, "ports", json!({"containerPort": number, "protocol": "TCP"}));
    }
}

fn give_connector(container: &mut Value, warnings: &mut Vec<Warning>) {
    let start = Start::of(container);
    let flag = vllm::KV_TRANSFER_CONFIG;
    let given = [
        kv_transfer(&start.arguments),
        match &start.additional {
            Additional::Words(words) => kv_transfer(&vllm::Arguments::parse(words)),
            Additional::Absent => None,
            // It may hold one: whoever wrote it knows.
            Additional::Unknown(_) => return,
        },
    ];
    let mut given = given.iter().flatten().peekable();
    let other_settings = given.peek().is_some();
    if given.any(vllm::KvTransfer::gives_connector) {
        return;
    }
    let mut missing = |advice: String| {
        warnings.push(Warning::new("no-connector", advice));
    };
    match &start.launch {
        // vLLM reads one of the two and forgets the other.
        _ if other_settings => {
            missing(format!(
                "{flag} is there without one; add to it: \"kv_connector\":\"NixlConnector\""
            ));
        }
        Launch::Exec { .. } => {
            let mut args = words(container, "args");
            append_flags(&mut args, [flag.to_owned(), CONNECTOR.to_owned()]);
            set(container, "args", args);
        }
        Launch::Shell { script, .. } if script_mentions_connector(script) => {}
        Launch::Shell { expands_additional_args: true, script, .. } => {
            // An `eval` takes a layer of quotes away; a mere expansion takes quotes as they are.
            let mut words = script.split(|c: char| !c.is_ascii_alphanumeric());
            let quote = if words.any(|word| word == "eval") { "'" } else { "" };
            let value = format!("{flag} {quote}{CONNECTOR}{quote}");
            match start.additional {
                Additional::Absent => {
                    add_env(container, json!({"name": vllm::ADDITIONAL_ARGS, "value": value}));
                }
                _ => missing(format!("add to {}: {value}", vllm::ADDITIONAL_ARGS)),
            }
        }
        Launch::Shell { .. } => missing(format!("add to the script: {flag} '{CONNECTOR}'")),
        Launch::Other => missing(format!("add to the engine's arguments: {flag} {CONNECTOR}")),
    }
}
