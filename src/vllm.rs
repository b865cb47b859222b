//! The command line of the engine, vLLM: how a container starts it, what its arguments say, and what
//! each release accepts.

mod flags;
mod kv;
mod launch;
mod release;
mod script;

use crate::arguments::{self, Dialect, Spelling, Takes};

pub use crate::arguments::{Argument, Flag, SplitError, quote, split};
pub use crate::release::{FlagStatus, Version};
pub use kv::{KvTransfer, kv_transfer};
pub use launch::{Launch, engine_arguments, launch};
pub use release::{Change, Release, all2all_status, connector_status, flag_status};
pub(crate) use script::code as script_code;
pub use script::script_mentions_connector;

/// The environment variable whose words the engine's arguments are extended with, an agreement of
/// KServe's presets: their shell scripts expand it.
pub const ADDITIONAL_ARGS: &str = "VLLM_ADDITIONAL_ARGS";

/// The flag that configures how KV blocks move between engines.
pub const KV_TRANSFER_CONFIG: &str = "--kv-transfer-config";

/// The port that the engine listens on where no argument says so.
pub const DEFAULT_PORT: u16 = 8000;

/// The flags that make the engine's HTTP server speak TLS: either does (uvicorn's `Config.is_ssl`).
pub const TLS_FILES: [&str; 2] = ["--ssl-certfile", "--ssl-keyfile"];

/// An engine's arguments: the words behind `vllm serve`.
pub type Arguments = arguments::Arguments<Engine>;

/// How vLLM spells its flags: see [`Arguments::parse`].
///
/// - `--a-b`, `--a_b` and `--a-b=value` are one flag, `-tp 4` and `-tp=4` are `--tensor-parallel-size`.
/// - `--no-x` turns a switch off.
/// - `--x.key value` sets one key of a flag whose value is a JSON object, `--x.list+ value` appends.
/// - Shortened names (`--tensor-parallel-s`), which argparse takes too, are flags of their own.
///
/// Source: `FlexibleArgumentParser` in vLLM's `vllm/utils/argparse_utils.py`, August 2026.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine;

impl Dialect for Engine {
    // `vllm serve` moves the value of `--model` to the front, where its one positional word is.
    const POSITIONAL: Option<&'static str> = Some("--model");

    fn spell(word: &str, next: Option<&str>) -> Spelling {
        flags::spell(word, next)
    }

    fn takes(name: &str) -> Takes {
        flags::takes(name)
    }
}

/// An engine's arguments of two layers, a template's below and an author's above: see
/// [`arguments::merge`].
#[must_use]
pub fn merge(lower: &[String], upper: &[String]) -> Vec<String> {
    arguments::merge::<Engine>(lower, upper)
}

/// The port the engine listens on, if its arguments say so; the last one wins. `None` for a value
/// that is no port (`$(PORT)`, `0`).
#[must_use]
pub fn port(arguments: &Arguments) -> Option<u16> {
    let port = arguments.value("--port")?.parse().ok()?;
    (port != 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    pub(super) use crate::shared::shared;

    pub(super) fn parse(line: &str) -> Arguments {
        Arguments::parse(&split(line).unwrap())
    }

    #[test]
    fn the_last_port_wins() {
        assert_eq!(port(&parse("/m --port 8000 --port=9001")), Some(9001));
        assert_eq!(port(&parse("/m --seed 1")), None);
        for value in ["$(PORT)", "0", "65536", "-1", "", "80 80"] {
            let words = ["--port".to_owned(), value.to_owned()];
            assert_eq!(port(&Arguments::parse(&words)), None, "{value}");
        }
        assert_eq!(port(&parse("--port")), None);
    }

    #[test]
    fn the_authors_flags_beat_a_templates() {
        let words = |line: &str| split(line).unwrap();
        let merged = merge(
            &words("--served-model-name m --port 8001 --kv-transfer-config '{\"kv_role\":\"x\"}'"),
            &words("-tp 2 --kv_transfer_config '{\"kv_connector\":\"NixlConnector\"}'"),
        );
        assert_eq!(
            quote(&merged),
            "--served-model-name m --port 8001 -tp 2 \
             --kv_transfer_config '{\"kv_connector\":\"NixlConnector\"}'"
        );
    }
}
