//! What lies in a pod's shared memory.

use serde_json::Value;

use crate::json::{FieldPath, list, named};
use crate::quantity;
use crate::rules::case::{Case, containers, get, text};
use crate::rules::effective::{Engine, extra};
use crate::vllm::{Change, KV_TRANSFER_CONFIG};

pub(super) const DEV_SHM: &str = "/dev/shm";

/// What a container has at /dev/shm.
#[derive(Debug, Clone, Copy)]
pub(in crate::rules) struct SharedMemory<'p> {
    /// The volume's name.
    pub(in crate::rules) volume: Option<&'p str>,
    /// Bytes; `None` where only the node or the memory limit bounds it, or it is not known.
    pub(in crate::rules) size: Option<i64>,
}

/// The volume at the engine's /dev/shm; `None` where there is none, and the container runtime's 64
/// MiB are all it has.
pub(in crate::rules) fn shared_memory(engine: &Engine) -> Option<SharedMemory<'_>> {
    // Of two at one path the later one is on top.
    let mount = list(engine.container(), &["volumeMounts"]).iter().rfind(|mount| {
        text(mount, &["mountPath"]).is_some_and(|path| ["/dev", DEV_SHM].contains(&trimmed(path)))
    })?;
    let volume = text(mount, &["name"]);
    let size = volume
        .and_then(|name| named(engine.pod.get("volumes")?, name))
        .filter(|volume| is_in_memory(volume))
        .and_then(|volume| quantity::of(get(volume, &["emptyDir", "sizeLimit"])?))
        // Kubernetes reads 0 as no limit.
        .filter(|size| *size > 0);
    Some(SharedMemory { volume, size })
}

/// A volume whose files are in memory.
pub(super) fn is_in_memory(volume: &Value) -> bool {
    text(volume, &["emptyDir", "medium"]) == Some("Memory")
}

/// The mounts of all containers of a pod.
pub(super) fn mounts(pod: &Value) -> impl Iterator<Item = &Value> {
    containers(pod).flat_map(|(_, container)| list(container, &["volumeMounts"]))
}

/// A path without the slashes at its end.
pub(super) fn trimmed(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() && !path.is_empty() { "/" } else { trimmed }
}

/// KV cache that an engine keeps in the node's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuTier {
    pub(super) bytes: i64,
    /// It lies in /dev/shm; other connectors allocate memory of their own.
    pub(super) is_shared: bool,
    /// A preset's script asks for it, by the pool's `kvCacheOffloading`.
    pub(super) of_script: bool,
}

impl CpuTier {
    /// Where the author says how large it is.
    pub(super) fn place(self, case: &Case<'_>, engine: &Engine) -> FieldPath {
        if self.of_script {
            case.written(&engine.pool.field("kvCacheOffloading").field("cpu"))
        } else {
            engine.place(case, KV_TRANSFER_CONFIG)
        }
    }
}

/// The CPU tier of an engine, if its size is known.
///
/// Source: `vllm/v1/kv_offload/…/shared_offload_region.py`: the tier of the `OffloadingConnector` is a
/// file in /dev/shm since vllm#40020 (0.22); `SimpleCPUOffloadConnector` pins memory.
pub(super) fn cpu_tier(engine: &Engine) -> Option<CpuTier> {
    if engine.kv.is_none() {
        return Some(CpuTier { bytes: of_script(engine)?, is_shared: true, of_script: true });
    }
    engine.connector_configs().into_iter().find_map(|(name, config)| {
        let is_shared = match name {
            "OffloadingConnector" => engine.has(Change::OffloadingInSharedMemory) != Some(false),
            "SimpleCPUOffloadConnector" => false,
            _ => return None,
        };
        let bytes = quantity::of(get(extra(config)?, &["cpu_bytes_to_use"])?);
        let bytes = bytes.filter(|bytes| *bytes > 0)?;
        Some(CpuTier { bytes, is_shared, of_script: false })
    })
}

/// The size that KServe's presets write into their script (`kvTransferConfig`).
fn of_script(engine: &Engine) -> Option<i64> {
    const KEY: &str = "cpu_bytes_to_use";
    let script = engine.script.as_deref()?;
    let behind = script.get(script.find(KEY)? + KEY.len()..)?;
    let number = behind.trim_start_matches(['\\', '"', '\'', ':', ' ']);
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number.get(..end)?.parse().ok().filter(|bytes| *bytes > 0)
}
