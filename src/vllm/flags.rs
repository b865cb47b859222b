//! vLLM's flags: how they are spelled and how many words each takes.
//!
//! The lists hold the flags of all releases together, removed ones included: they only part flags
//! from values. What a given release accepts is the table of `release`.
//!
//! Source: `vllm/engine/arg_utils.py`, `vllm/config/*.py` and
//! `vllm/entrypoints/openai/cli_args.py` of vLLM 0.11 to August 2026.

use crate::arguments::{Spelling, Takes};

/// Reads a word that starts a flag.
pub(super) fn spell(word: &str, next: Option<&str>) -> Spelling {
    let (key, value) = match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    };
    if key.starts_with("-O") {
        return spell_optimization(word, key, value, next);
    }
    let (head, dotted) = match key.find('.') {
        Some(at) => key.split_at(at),
        None => (key, ""),
    };
    let long = if head.starts_with("--") { head.replace('_', "-") } else { head.to_owned() };
    // All of a name's `no-` and all of its `+`, so that a canonical name spells itself.
    let positive = long
        .strip_prefix("--no-")
        .map(|rest| rest.trim_start_matches("no-"))
        .filter(|rest| !rest.is_empty());
    match positive {
        Some(rest) if dotted.is_empty() => {
            Spelling { negated: true, ..named(&format!("--{rest}"), "", value) }
        }
        _ => named(&long, dotted, value),
    }
}

/// How many of the words behind it belong to a flag. An unknown one takes all words up to the
/// next flag: to part its values from it would make stray words of them, and a model's name is
/// written in front.
pub(super) fn takes(name: &str) -> Takes {
    if name.contains('.') || ONE.contains(&name) {
        Takes::One
    } else if SWITCHES.contains(&name)
        || (name.starts_with("--enable-") || name.starts_with("--disable-"))
    {
        Takes::Nothing
    } else {
        Takes::Several
    }
}

fn named(head: &str, dotted: &str, value: Option<&str>) -> Spelling {
    let head = ALIASES.iter().find(|(alias, _)| *alias == head).map_or(head, |(_, name)| name);
    let key = dotted.trim_end_matches('+');
    Spelling {
        name: format!("{head}{key}"),
        negated: false,
        append: key != dotted,
        value: value.map(str::to_owned),
    }
}

/// `-O3`, `-O=3` and `-O 3` are the optimization level; `-O {…}` and `-O.key` are the older short
/// form of `--compilation-config`.
fn spell_optimization(word: &str, key: &str, value: Option<&str>, next: Option<&str>) -> Spelling {
    const CONFIG: &str = "--compilation-config";
    const LEVEL: &str = "--optimization-level";
    let glued = word.strip_prefix("-O").unwrap_or_default();
    if let Some(dotted) = key.strip_prefix("-O").filter(|rest| rest.starts_with('.')) {
        return named(CONFIG, dotted, value);
    }
    let value = value.filter(|_| key == "-O").or(Some(glued));
    match value.filter(|value| !value.is_empty()) {
        Some(value) if value.starts_with('{') => named(CONFIG, "", Some(value)),
        Some(value) => named(LEVEL, "", Some(value)),
        None if glued == "=" => named(LEVEL, "", Some("")),
        None if next.is_some_and(|next| matches!(next, "0" | "1" | "2" | "3")) => {
            named(LEVEL, "", None)
        }
        None => named(CONFIG, "", None),
    }
}

/// Short names, and older ones of the same setting.
const ALIASES: &[(&str, &str)] = &[
    ("-ac", "--attention-config"),
    ("-asc", "--api-server-count"),
    ("-cc", "--compilation-config"),
    ("-dcp", "--decode-context-parallel-size"),
    ("-dp", "--data-parallel-size"),
    ("-dpa", "--data-parallel-address"),
    ("-dpb", "--data-parallel-backend"),
    ("-dpe", "--data-parallel-external-lb"),
    ("-dph", "--data-parallel-hybrid-lb"),
    ("-dpl", "--data-parallel-size-local"),
    ("-dpm", "--data-parallel-multi-port-external-lb"),
    ("-dpn", "--data-parallel-rank"),
    ("-dpp", "--data-parallel-rpc-port"),
    ("-dpr", "--data-parallel-start-rank"),
    ("-ep", "--enable-expert-parallel"),
    ("-n", "--nnodes"),
    ("-pcp", "--prefill-context-parallel-size"),
    ("-pp", "--pipeline-parallel-size"),
    ("-q", "--quantization"),
    ("-r", "--node-rank"),
    ("-sc", "--speculative-config"),
    ("-tp", "--tensor-parallel-size"),
    ("--cuda-graph-sizes", "--cudagraph-capture-sizes"),
];

/// Switches whose name says nothing of it; `--enable-…` and `--disable-…` are switches too.
const SWITCHES: &[&str] = &[
    "--aggregate-engine-logging",
    "--allow-credentials",
    "--allow-deprecated-quantization",
    "--async-scheduling",
    "--calculate-kv-scales",
    "--cohere-is-reasoning-model",
    "--cudagraph-metrics",
    "--data-parallel-external-lb",
    "--data-parallel-hybrid-lb",
    "--data-parallel-multi-port-external-lb",
    "--enforce-eager",
    "--eplb-log-balancedness",
    "--exclude-tools-when-tool-choice-none",
    "--fail-on-environ-validation",
    "--fully-sharded-loras",
    "--grpc",
    "--headless",
    "--help",
    "--interleave-mm-strings",
    "--kv-cache-metrics",
    "--kv-sharing-fast-prefill",
    "--language-model-only",
    "--log-error-stack",
    "--mm-encoder-only",
    "--numa-bind",
    "--ray-workers-use-nsight",
    "--return-tokens-as-token-ids",
    "--scheduler-reserve-full-isl",
    "--skip-mm-profiling",
    "--skip-tokenizer-init",
    "--specialize-active-lora",
    "--tokens-only",
    "--trust-remote-code",
    "--trust-request-chat-template",
    "--use-tqdm-on-load",
    "--version",
];

/// Flags with exactly one value. Those with several (`--served-model-name`, `--lora-modules`,
/// `--api-key`, `--allowed-media-domains`, `--cudagraph-capture-sizes`, …) are read like unknown
/// ones.
const ONE: &[&str] = &[
    "--additional-config",
    "--all2all-backend",
    "--allowed-headers",
    "--allowed-local-media-path",
    "--allowed-methods",
    "--allowed-origins",
    "--api-server-count",
    "--attention-backend",
    "--attention-config",
    "--block-size",
    "--chat-template",
    "--chat-template-content-format",
    "--code-revision",
    "--compilation-config",
    "--config",
    "--config-format",
    "--convert",
    "--cp-kv-cache-interleave-size",
    "--cpu-offload-gb",
    "--data-parallel-address",
    "--data-parallel-backend",
    "--data-parallel-rank",
    "--data-parallel-rpc-port",
    "--data-parallel-size",
    "--data-parallel-size-local",
    "--data-parallel-start-rank",
    "--data-parallel-supervisor-port",
    "--dbo-decode-token-threshold",
    "--dbo-prefill-token-threshold",
    "--dcp-comm-backend",
    "--dcp-kv-cache-interleave-size",
    "--decode-context-parallel-size",
    "--default-chat-template-kwargs",
    "--default-mm-loras",
    "--disable-access-log-for-endpoints",
    "--distributed-executor-backend",
    "--distributed-timeout-seconds",
    "--download-dir",
    "--dtype",
    "--ec-transfer-config",
    "--eplb-config",
    "--eplb-step-interval",
    "--eplb-window-size",
    "--expert-placement-strategy",
    "--generation-config",
    "--gpu-memory-utilization",
    "--guided-decoding-backend",
    "--h11-max-header-count",
    "--h11-max-incomplete-event-size",
    "--hf-config-path",
    "--hf-overrides",
    "--hf-token",
    "--host",
    "--io-processor-plugin",
    "--kernel-config",
    "--kv-cache-dtype",
    "--kv-cache-memory-bytes",
    "--kv-cache-metrics-sample",
    "--kv-events-config",
    "--kv-offloading-backend",
    "--kv-offloading-size",
    "--kv-transfer-config",
    "--limit-mm-per-prompt",
    "--load-format",
    "--log-config-file",
    "--logits-processor-pattern",
    "--logprobs-mode",
    "--long-prefill-token-threshold",
    "--lora-dtype",
    "--lora-extra-vocab-size",
    "--mamba-block-size",
    "--mamba-cache-dtype",
    "--mamba-cache-mode",
    "--mamba-ssm-cache-dtype",
    "--master-addr",
    "--master-port",
    "--max-cpu-loras",
    "--max-cudagraph-capture-size",
    "--max-log-len",
    "--max-logprobs",
    "--max-long-partial-prefills",
    "--max-lora-rank",
    "--max-loras",
    "--max-model-len",
    "--max-num-batched-tokens",
    "--max-num-partial-prefills",
    "--max-num-seqs",
    "--max-parallel-loading-workers",
    "--media-io-kwargs",
    "--middleware",
    "--mm-encoder-attn-backend",
    "--mm-encoder-tp-mode",
    "--mm-processor-cache-gb",
    "--mm-processor-cache-type",
    "--mm-processor-kwargs",
    "--mm-shm-cache-max-object-size-mb",
    "--model",
    "--model-impl",
    "--model-loader-extra-config",
    "--moe-backend",
    "--nnodes",
    "--node-rank",
    "--num-gpu-blocks-override",
    "--num-lookahead-slots",
    "--num-redundant-experts",
    "--offload-backend",
    "--optimization-level",
    "--otlp-traces-endpoint",
    "--override-attention-dtype",
    "--override-generation-config",
    "--override-pooler-config",
    "--performance-mode",
    "--pipeline-parallel-size",
    "--pooler-config",
    "--port",
    "--prefill-context-parallel-size",
    "--prefix-caching-hash-algo",
    "--profiler-config",
    "--pt-load-map-location",
    "--quantization",
    "--reasoning-config",
    "--reasoning-parser",
    "--reasoning-parser-plugin",
    "--response-role",
    "--revision",
    "--root-path",
    "--rope-scaling",
    "--rope-theta",
    "--runner",
    "--safetensors-load-strategy",
    "--scheduler-cls",
    "--scheduling-policy",
    "--seed",
    "--show-hidden-metrics-for-version",
    "--shutdown-timeout",
    "--speculative-config",
    "--ssl-ca-certs",
    "--ssl-cert-reqs",
    "--ssl-certfile",
    "--ssl-ciphers",
    "--ssl-keyfile",
    "--stream-interval",
    "--structured-outputs-config",
    "--swap-space",
    "--task",
    "--tensor-parallel-size",
    "--tokenizer",
    "--tokenizer-mode",
    "--tokenizer-revision",
    "--tool-call-parser",
    "--tool-parser-plugin",
    "--tool-server",
    "--ubatch-size",
    "--uds",
    "--uvicorn-log-level",
    "--video-pruning-rate",
    "--weight-transfer-config",
    "--worker-cls",
    "--worker-extension-cls",
];

/// All names of the lists, the short and the older ones too.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let aliases = ALIASES.iter().flat_map(|(alias, name)| [*alias, *name]);
    aliases.chain(SWITCHES.iter().chain(ONE).copied())
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[track_caller]
    fn spelled(word: &str, name: &str, value: Option<&str>) {
        let spelling = spell(word, None);
        assert_eq!((spelling.name.as_str(), spelling.value.as_deref()), (name, value), "{word}");
    }

    #[test]
    fn spellings_have_one_name() {
        spelled("-tp", "--tensor-parallel-size", None);
        spelled("-tp=4", "--tensor-parallel-size", Some("4"));
        spelled("--tensor_parallel_size=a_b", "--tensor-parallel-size", Some("a_b"));
        spelled("--max_model-len", "--max-model-len", None);
        spelled("-cc.mode=3", "--compilation-config.mode", Some("3"));
        spelled("--kv_transfer_config.kv_role", "--kv-transfer-config.kv_role", None);
        spelled("--x_y.a_b.c_d=e.f", "--x-y.a_b.c_d", Some("e.f"));
        spelled("--x=a.b=c", "--x", Some("a.b=c"));
        spelled("-O3", "--optimization-level", Some("3"));
        spelled("-O=3", "--optimization-level", Some("3"));
        spelled("-Odecode", "--optimization-level", Some("decode"));
        spelled("-O.mode", "--compilation-config.mode", None);
        spelled("-O.mode=3", "--compilation-config.mode", Some("3"));
        spelled("-O", "--compilation-config", None);
        assert_eq!(spell("-O", Some("3")).name, "--optimization-level");
        assert_eq!(spell("-O", Some("{}")).name, "--compilation-config");
    }

    #[test]
    fn a_switch_can_be_turned_off() {
        for word in ["--no-enable-prefix-caching", "--no_enable_prefix_caching"] {
            let spelling = spell(word, None);
            assert_eq!(
                (spelling.name.as_str(), spelling.negated),
                ("--enable-prefix-caching", true)
            );
        }
        assert!(!spell("--nnodes", None).negated);
        assert!(!spell("--no-", None).negated);
    }

    #[test]
    fn a_plus_appends() {
        let spelling = spell("--x.extra.backends+=UCX", None);
        assert_eq!(spelling.name, "--x.extra.backends");
        assert!(spelling.append);
        assert!(!spell("--x+", None).append);
    }

    #[test]
    fn each_flag_takes_its_words() {
        let arguments = parse(
            "/m --served-model-name a b --enforce-eager --lora-modules x=/1 y=/2 --enable-lora \
             --disable-access-log-for-endpoints /health --hf-token --no-enable-x --new a b -ep",
        );
        let values: Vec<_> = arguments.flags().map(|f| (f.name.as_str(), f.values.len())).collect();
        assert_eq!(
            values,
            [
                ("--served-model-name", 2),
                ("--enforce-eager", 0),
                ("--lora-modules", 2),
                ("--enable-lora", 0),
                ("--disable-access-log-for-endpoints", 1),
                ("--hf-token", 0),
                ("--enable-x", 0),
                ("--new", 2),
                ("--enable-expert-parallel", 0),
            ]
        );
        let arguments = parse("--port 8000 /m");
        assert_eq!(arguments.positional().collect::<Vec<_>>(), ["/m"]);
    }

    #[test]
    fn the_lists_are_sorted_and_apart() {
        for list in [SWITCHES, ONE] {
            assert!(list.is_sorted() && list.windows(2).all(|pair| pair[0] != pair[1]));
        }
        assert!(SWITCHES.iter().all(|name| !ONE.contains(name)));
        for name in SWITCHES.iter().chain(ONE) {
            assert_eq!(spell(name, None).name, *name, "a canonical name spells itself");
        }
    }
}
