//! Names that rules of more than one family look for: the engine's flags, and its variables.

pub(super) const TENSOR: &str = "--tensor-parallel-size";
pub(super) const PIPELINE: &str = "--pipeline-parallel-size";
pub(super) const PREFILL_CONTEXT: &str = "--prefill-context-parallel-size";
pub(super) const DATA: &str = "--data-parallel-size";
pub(super) const DATA_LOCAL: &str = "--data-parallel-size-local";
/// Each rank of a pod has a port of its own.
pub(super) const MULTI_PORT: &str = "--data-parallel-multi-port-external-lb";
pub(super) const ALL_TO_ALL: &str = "--all2all-backend";
pub(super) const API_SERVERS: &str = "--api-server-count";
/// Without an HTTP server.
pub(super) const HEADLESS: &str = "--headless";
/// With `--no-` in front, the hybrid KV cache manager is forced.
pub(super) const NO_HYBRID: &str = "--disable-hybrid-kv-cache-manager";

/// Variable with the port of NIXL's side channel.
pub(super) const SIDE_CHANNEL_PORT: &str = "VLLM_NIXL_SIDE_CHANNEL_PORT";
