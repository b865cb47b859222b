//! How many accelerators an engine spreads over.

use crate::rules::effective::Engine;
use crate::rules::flags::{DATA, DATA_LOCAL, MULTI_PORT, PIPELINE, PREFILL_CONTEXT, TENSOR};
use crate::workload::Position;

/// More than any node has.
const MOST: i64 = 1 << 16;

/// The accelerators of one pod's engine: tensor × pipeline × prefill context × local data ranks.
///
/// Source: `parallel_config.world_size` and `data_parallel_size_local` in vLLM's
/// `vllm/engine/arg_utils.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) struct Need {
    /// How many there are.
    pub(in crate::rules) count: i64,
    /// What they are made of: `tensor 4 × data 2`; empty for a single one.
    pub(in crate::rules) factors: String,
    /// A single data-parallel rank has several processes, which talk to each other.
    pub(in crate::rules) has_workers: bool,
    /// Every argument is seen, and nothing reads them before the engine does.
    pub(in crate::rules) is_certain: bool,
}

impl Need {
    /// `None` where it is not known, or where the engine spreads over more than its own pod.
    pub(in crate::rules) fn of(engine: &Engine) -> Option<Self> {
        if spreads_over_pods(engine) {
            return None;
        }
        let is_complete = engine.is_complete && !engine.arguments.gives("--config");
        // A script that gives no tensor parallelism may still come to one.
        if !is_complete && engine.number(TENSOR).is_none() {
            return None;
        }
        let ranks = local_ranks(engine)?;
        let sizes = [
            ("tensor", size(engine, TENSOR)?),
            ("pipeline", size(engine, PIPELINE)?),
            ("prefill context", size(engine, PREFILL_CONTEXT)?),
            ("local data ranks", ranks),
        ];
        let count = sizes.iter().map(|(_, size)| *size).fold(1, i64::saturating_mul);
        let factors: Vec<String> = sizes
            .iter()
            .filter(|(_, size)| *size > 1)
            .map(|(name, size)| format!("{name} {size}"))
            .collect();
        let is_certain = is_complete && !engine.is_shell();
        (1..=MOST).contains(&count).then(|| Self {
            count,
            factors: factors.join(" × "),
            has_workers: count > ranks,
            is_certain,
        })
    }
}

/// Ray and several nodes of one engine bring accelerators of other pods.
fn spreads_over_pods(engine: &Engine) -> bool {
    let arguments = &engine.arguments;
    let backend = arguments.value("--distributed-executor-backend");
    backend.is_some_and(|backend| backend != "mp")
        || ["--nnodes", "--master-addr"].iter().any(|flag| arguments.gives(flag))
        || arguments.value("--data-parallel-backend").is_some_and(|backend| backend != "mp")
        || engine.variable("RAY_ADDRESS").is_some()
        || engine.position != Position::Single && !arguments.gives(DATA_LOCAL)
}

/// `None` for a size that is given and not known.
fn size(engine: &Engine, flag: &str) -> Option<i64> {
    if !engine.arguments.gives(flag) {
        return Some(1);
    }
    engine.number(flag).filter(|size| (1..=MOST).contains(size))
}

/// Data-parallel ranks that this pod's engine starts.
fn local_ranks(engine: &Engine) -> Option<i64> {
    let gives = |flag: &str| engine.arguments.gives(flag);
    // Someone else starts the other ranks.
    if gives("--data-parallel-rank") || gives("--data-parallel-external-lb") {
        return Some(1);
    }
    if gives(DATA_LOCAL) {
        return size(engine, DATA_LOCAL);
    }
    let elsewhere = ["--data-parallel-hybrid-lb", MULTI_PORT];
    if elsewhere.into_iter().any(gives) || gives("--data-parallel-start-rank") {
        return None;
    }
    size(engine, DATA)
}
