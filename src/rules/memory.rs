//! Shared memory and volumes.

mod shared;
mod table;

use std::collections::BTreeSet;

use serde_json::Value;

use super::case::{Case, containers, get, is_true, is_within, items, text};
use super::effective::{Engine, pods};
use super::report::Report;
use super::resources::{Need, granted, memory_limit};
use crate::json::{FieldPath, list};
use crate::quantity;
use crate::vllm::Change;
use shared::{DEV_SHM, cpu_tier, is_in_memory, mounts, trimmed};

pub(super) use shared::shared_memory;
pub(super) use table::RULES;

const MIB: i64 = 1 << 20;
/// What a container has at /dev/shm where nothing is mounted there.
const RUNTIMES: i64 = 64 * MIB;
const CHUNK: &str = "VLLM_MQ_MAX_CHUNK_BYTES_MB";

fn nothing_mounted(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let Some(need) = Need::of(engine).filter(|need| need.count > 1) else { continue };
        if shared_memory(engine).is_some() || is_true(&engine.pod, &["hostIPC"]) {
            continue;
        }
        let place = engine.field_place(case, &["volumeMounts"]);
        let message = format!(
            "nothing is mounted at {DEV_SHM}, and the engine has {} processes ({})",
            need.count, need.factors
        );
        let help = "mount an emptyDir with medium: Memory there";
        if ring(engine, &need).is_some_and(|ring| ring > RUNTIMES) {
            report.required(place, message, help);
        } else {
            report.unsure(place, message, help);
        }
    }
}

fn too_small(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let Some(shared) = shared_memory(engine) else { continue };
        let (Some(size), Some(volume)) = (shared.size, shared.volume) else { continue };
        let Some(need) = Need::of(engine).filter(|need| need.count > 1) else { continue };
        // The size of a preset goes with the preset's image, unless that is known to want more.
        let of_preset = || checks_size(engine).then(|| engine.pod_place(case, &["volumes"]));
        let place = own_size(case, engine, volume).or_else(of_preset);
        let (Some(place), Some(chunk)) = (place, chunk(engine)) else { continue };
        // A ring for each of them, and what the engine keeps there besides.
        let wanted = need.count.saturating_mul(10 * chunk).saturating_add(240 * MIB);
        if size >= wanted {
            continue;
        }
        let message = format!(
            "{DEV_SHM} holds {}, and the queues of {} processes take {}",
            quantity::bytes(size),
            need.count,
            quantity::bytes(wanted)
        );
        let help = format!("write at least {}", quantity::bytes(wanted.max(1 << 30)));
        if ring(engine, &need).is_some_and(|ring| ring > size) {
            report.invalid(place, message, help);
        } else {
            report.unsure(place, message, help);
        }
    }
}

/// The largest message of the engine's processes to each other, in bytes.
fn chunk(engine: &Engine) -> Option<i64> {
    let mib = match engine.variable(CHUNK) {
        None => Some(16),
        Some(_) => engine.env(CHUNK).and_then(|chunk| chunk.trim().parse::<i64>().ok()),
    };
    Some(mib.filter(|mib| (1..=1 << 20).contains(mib))? * MIB)
}

/// The one ring that an engine of several processes has in any case, in bytes, where its release
/// does not start without the room for it.
fn ring(engine: &Engine, need: &Need) -> Option<i64> {
    let is_certain = need.is_certain && need.has_workers && checks_size(engine);
    chunk(engine).filter(|_| is_certain).map(|chunk| 10 * chunk)
}

fn checks_size(engine: &Engine) -> bool {
    engine.has(Change::SharedMemoryChecked) == Some(true)
}

/// Where the author himself says how large a volume is.
fn own_size(case: &Case<'_>, engine: &Engine, volume: &str) -> Option<FieldPath> {
    let (path, volume) = items(engine.author(case), &["volumes"], &engine.pod_path)
        .into_iter()
        .find(|(_, item)| text(item, &["name"]) == Some(volume))?;
    get(volume, &["emptyDir", "sizeLimit"])?;
    Some(path.field("emptyDir").field("sizeLimit"))
}

fn tier(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let Some(tier) = cpu_tier(engine) else { continue };
        let shared = shared_memory(engine).and_then(|shared| shared.size);
        let limit = memory_limit(engine);
        let place = tier.place(case, engine);
        let bytes = quantity::bytes(tier.bytes);
        if let Some(limit) = limit.filter(|limit| tier.bytes > *limit) {
            report.unsure(
                place,
                format!(
                    "a CPU tier of {bytes}, and the engine's memory limit is {}",
                    quantity::bytes(limit)
                ),
                "write a smaller tier, or more memory under resources.limits",
            );
        } else if let Some(shared) = shared.filter(|size| tier.is_shared && tier.bytes > *size) {
            report.unsure(
                place,
                format!(
                    "a CPU tier of {bytes}, and {DEV_SHM}, where it lies, holds {}",
                    quantity::bytes(shared)
                ),
                format!("give the volume at {DEV_SHM} a sizeLimit over {bytes}"),
            );
        }
    }
}

fn unmounted(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let mounted: BTreeSet<&str> =
            mounts(&engine.pod).filter_map(|mount| text(mount, &["name"])).collect();
        for (path, volume) in items(engine.author(case), &["volumes"], &engine.pod_path) {
            let Some(name) = text(volume, &["name"]) else { continue };
            if !is_in_memory(volume) || mounted.contains(name) {
                continue;
            }
            let there = match shared_memory(engine).map(|shared| shared.size) {
                Some(Some(size)) => format!("{DEV_SHM} stays at {}", quantity::bytes(size)),
                Some(None) => format!("{DEV_SHM} is another one"),
                None => format!("{DEV_SHM} has none"),
            };
            report.invalid(
                path,
                format!("no container mounts this volume in memory, and {there}"),
                "call it dshm, as the presets' is, or mount it at /dev/shm",
            );
        }
    }
}

fn same_path(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        // What the author mounts twice at one path is one mount once it is merged.
        let own = containers(engine.author(case));
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for (list, container) in own.chain(containers(&engine.pod)) {
            let Some(name) = text(container, &["name"]) else { continue };
            for (path, first, second) in doubled(container) {
                if seen.contains(&(name, path)) {
                    continue;
                }
                seen.push((name, path));
                report.invalid(
                    engine.container_place(case, list, name, &["volumeMounts"]),
                    format!("{first} and {second} are both mounted at {path}"),
                    "remove one of the mounts",
                );
            }
        }
    }
}

/// Paths that are mounted twice, with both volumes' names.
fn doubled<'c>(container: &'c Value) -> Vec<(&'c str, &'c str, &'c str)> {
    let read = |mount| Some((trimmed(text(mount, &["mountPath"])?), text(mount, &["name"])?));
    let mounts = list(container, &["volumeMounts"]).iter();
    let mut sorted: Vec<(&str, &str)> = mounts.filter_map(read).collect();
    sorted.sort_by_key(|(path, _)| *path);
    let same = |pair: &[(&'c str, &'c str)]| match pair {
        [(path, first), (other, second)] if path == other => Some((*path, *first, *second)),
        _ => None,
    };
    sorted.windows(2).filter_map(same).collect()
}

fn stale(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        // A tier that a preset's script makes is not the author's to start otherwise.
        let tier = cpu_tier(engine).filter(|tier| tier.is_shared && !tier.of_script);
        let Some(tier) = tier.filter(|_| shared_memory(engine).is_some()) else { continue };
        let mut words =
            ["command", "args"].into_iter().flat_map(|it| list(engine.container(), &[it]));
        if words.any(|word| word.as_str().is_some_and(|word| word.contains(DEV_SHM))) {
            continue;
        }
        report.unsure(
            tier.place(case, engine),
            format!(
                "a CPU tier of {}: after a crash its old files are still in {DEV_SHM}",
                quantity::bytes(tier.bytes)
            ),
            format!("start the engine by a script that first removes {DEV_SHM}/vllm_offload_*"),
        );
    }
}

fn read_only(case: &Case<'_>, report: &mut Report) {
    const FIELD: [&str; 2] = ["securityContext", "readOnlyRootFilesystem"];
    for engine in pods(case) {
        if !is_true(engine.container(), &FIELD) {
            continue;
        }
        let place = engine.field_place(case, &FIELD);
        if granted(engine).iter().any(|(resource, _)| resource.starts_with("nvidia.com/")) {
            report.unsure(
                place,
                "true, and NVIDIA's CDI hook writes to the root file system when it adds GPUs",
                "write false",
            );
        } else if !has_writable_home(engine) {
            let home = engine.env("HOME").unwrap_or("/");
            report.unsure(
                place,
                format!(
                    "true, and no volume is mounted at HOME ({home}), where vLLM and Triton write"
                ),
                "write false, or mount an emptyDir there",
            );
        }
    }
}

/// Whether a volume is mounted at the home folder, or above it. One that is not known is taken to
/// be writable.
fn has_writable_home(engine: &Engine) -> bool {
    let home = match (engine.env("HOME"), engine.variable("HOME")) {
        (Some(home), _) => trimmed(home),
        (None, Some(_)) => return true,
        (None, None) => "/",
    };
    list(engine.container(), &["volumeMounts"]).iter().any(|mount| {
        !is_true(mount, &["readOnly"])
            && text(mount, &["mountPath"]).is_some_and(|path| is_within(home, path))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::catalog::Settings;
    use crate::catalog::files::Loader;
    use crate::presets::ReleaseSet;
    use crate::rules::{Request, check, read_example};
    use crate::shared::shared;

    /// The tier is then in the script of KServe's preset, which has 1Gi of shared memory.
    #[test]
    fn the_tier_of_a_presets_script_is_held_against_its_shared_memory() {
        let Some(kserve) = shared("kserve") else { return };
        let mut loader = Loader::new("default");
        let preset = kserve.join("v0.20.0/presets/config-llm-template.yaml");
        let text = std::fs::read_to_string(preset).unwrap();
        loader.document(Path::new("preset"), 1, read_example(&text).unwrap().object);
        let settings = Settings { presets: ReleaseSet::None, ..Settings::default() };
        let read = loader.finish(settings);
        let tier = |bytes: &str| {
            let text = format!("spec: {{kvCacheOffloading: {{cpu: {bytes}}}}}");
            let object = read_example(&text).unwrap().object;
            let request = Request {
                snapshot: &read.snapshot,
                namespace: "default",
                object: &object,
                old: None,
            };
            let findings = check(request).into_iter();
            findings.map(|it| format!("{} {}", it.code, it.field)).collect::<Vec<_>>()
        };
        assert_eq!(tier("10Gi"), ["V95 spec.kvCacheOffloading.cpu"]);
        assert!(tier("512Mi").is_empty());
    }

    #[test]
    fn older_releases_keep_the_tier_elsewhere() {
        let of = |version: &str| {
            let config = r#"{"kv_connector":"OffloadingConnector","kv_role":"kv_both","kv_connector_extra_config":{"cpu_bytes_to_use":10737418240}}"#;
            crate::rules::tests::found(&format!(
                "spec: {{template: {{containers: [{{name: main, image: \"vllm/vllm-openai:v{version}\", args: ['--kv-transfer-config={config}']}}]}}}}"
            ))
        };
        assert_eq!(of("0.14.0"), []);
        assert_eq!(of("0.24.0"), [("V95", crate::catalog::Severity::Warn)]);
    }

    #[test]
    fn a_path_is_the_same_with_a_slash_at_its_end() {
        let container = json!({"volumeMounts": [
            {"name": "a", "mountPath": "/dev/shm"},
            {"name": "b", "mountPath": "/tmp"},
            {"name": "c", "mountPath": "/dev/shm/"},
        ]});
        assert_eq!(doubled(&container), [("/dev/shm", "a", "c")]);
        assert_eq!(doubled(&json!({})), []);
    }
}
