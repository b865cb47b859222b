//! What a pod asks its node for.

mod need;

use serde_json::Value;

use super::case::{Case, containers, get, is_privileged, text};
use super::effective::{EFA, Engine, pods};
use super::flags::TENSOR;
use super::report::Report;
use super::{Check, Rule};
use crate::catalog::Severity;
use crate::inject::accelerators;
use crate::json::{list, named};
use crate::quantity;
use crate::workload::Position;

pub(super) use need::Need;

const FAMILY: &str = "resources";

/// One of these is one device to the engine. Of the others (a slice, a card of two tiles, a chip of
/// two cores) that is not certain.
const WHOLE_DEVICES: [&str; 2] = ["nvidia.com/gpu", "amd.com/gpu"];

/// The devices that a container gets by DRA.
const CLAIMS: &[&str] = &["resources", "claims"];

/// Where the group's pods have to be near to each other, LeaderWorkerSet sees to it.
const EXCLUSIVE: &str = "leaderworkerset.sigs.k8s.io/exclusive-topology";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "V78",
        family: FAMILY,
        severity: Severity::Reject,
        title: "accelerators that are too few, or idle",
        why: "An engine takes tensor × pipeline × prefill context parallelism accelerators for each \
              data-parallel rank in its pod. With fewer vLLM ends at once, since the world size is larger than \
              the number of devices; those that are more are paid for and idle (kserve#6044). Where the \
              arguments are not all seen, or a device may be less or more than one to the engine, it is a \
              warning. DRA claims are not counted, and a pod without accelerators is not looked at.",
        accepted: "
spec:
  parallelism: {tensor: 4}
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"4\"}}}]}
",
        reported: "
spec:
  parallelism: {tensor: 4}
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: \"2\"}}}]}
",
        symptom_of: &[],
        check: Check::Pods(accelerator_count),
    },
    Rule {
        code: "V88",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a device whose request is not its limit",
        why: "Devices and huge pages cannot be overcommitted: the API server asks for a limit, for a request \
              equal to it, and for whole devices (ValidateResourceRequirements in kubernetes). It does so when \
              the controller creates the Deployment, so that the error stands in a status, late.",
        accepted: "
spec: {template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 1}, requests: {nvidia.com/gpu: \"1\"}}}]}}
",
        reported: "
spec: {template: {containers: [{name: main, resources: {requests: {nvidia.com/gpu: \"1\"}}}]}}
",
        symptom_of: &[],
        check: Check::Pods(overcommitted),
    },
    Rule {
        code: "V90",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a group on EFA that may spread over zones",
        why: "EFA reaches no other availability zone: where nothing keeps the pods of a group together, ranks \
              in two zones never find each other. llm-d's guide for AWS pins them to one zone by affinity.",
        accepted: "
spec:
  parallelism: {data: 2, dataLocal: 1, tensor: 1, expert: false}
  template:
    nodeSelector: {topology.kubernetes.io/zone: us-east-1a}
    containers: [{name: main, resources: {limits: {vpc.amazonaws.com/efa: 1}}}]
  worker:
    nodeSelector: {topology.kubernetes.io/zone: us-east-1a}
    containers: [{name: main, resources: {limits: {vpc.amazonaws.com/efa: 1}}}]
",
        reported: "
spec:
  parallelism: {data: 2, dataLocal: 1, tensor: 1, expert: false}
  template: {containers: [{name: main, resources: {limits: {vpc.amazonaws.com/efa: 1}}}]}
  worker: {containers: [{name: main, resources: {limits: {vpc.amazonaws.com/efa: 1}}}]}
",
        symptom_of: &[],
        check: Check::Pods(apart),
    },
    Rule {
        code: "V91",
        family: FAMILY,
        severity: Severity::Warn,
        title: "accelerators that are asked for twice",
        why: "A MIG slice, or a DRA claim for GPUs, comes beside nvidia.com/gpu, not in its place: the pod waits \
              for both, and one of them is idle. llm-d's guide for DRA on GKE removes nvidia.com/gpu. What a \
              claim holds is not seen here: one is taken to be for GPUs where it is called so.",
        accepted: "
spec: {template: {containers: [{name: main, resources: {limits: {nvidia.com/mig-3g.40gb: 1}}}]}}
",
        reported: "
spec: {template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 1, nvidia.com/mig-3g.40gb: 1}}}]}}
",
        symptom_of: &[],
        check: Check::Pods(twice),
    },
    Rule {
        code: "V92",
        family: FAMILY,
        severity: Severity::Warn,
        title: "shared memory that is larger than the memory limit",
        why: "What is written to /dev/shm counts as the memory of the container that writes it: where the volume \
              is larger than the limit, filling it ends in OOMKilled.",
        accepted: "
spec:
  template:
    containers: [{name: main, resources: {limits: {memory: 32Gi}}}]
    volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 16Gi}}]
",
        reported: "
spec:
  template:
    containers: [{name: main, resources: {limits: {memory: 8Gi}}}]
    volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 16Gi}}]
",
        symptom_of: &[],
        check: Check::Pods(memory),
    },
];

/// The engine's accelerators that it is sure to get, by resource; none that are zero.
pub(super) fn granted(engine: &Engine) -> Vec<(&str, i64)> {
    let whole = |(name, written)| Some((name, quantity::of(written).filter(|count| *count > 0)?));
    accelerators(engine.container(), "limits").into_iter().filter_map(whole).collect()
}

/// The limit of the engine's memory, in bytes.
pub(super) fn memory_limit(engine: &Engine) -> Option<i64> {
    quantity::of(get(engine.container(), &["resources", "limits", "memory"])?)
}

fn accelerator_count(case: &Case<'_>, report: &mut Report) {
    let pools = case.effective_pools();
    for engine in pods(case) {
        let (granted, Some(need)) = (granted(engine), Need::of(engine)) else { continue };
        let [(resource, count)] = granted.as_slice() else { continue };
        if !list(engine.container(), CLAIMS).is_empty()
            || engine.variable("NVIDIA_VISIBLE_DEVICES").is_some()
        {
            continue;
        }
        // Which of the two numbers is meant is not known.
        if wrong_devices(engine.container()).iter().any(|(_, wrong, ..)| wrong == resource) {
            continue;
        }
        let place = engine.field_place(case, &["resources", "limits", resource]);
        let Need { count: needed, factors, .. } = &need;
        let said = pools.iter().find(|pool| pool.path == engine.pool);
        let said = said.and_then(|pool| pool.get(&["parallelism", "tensor"])?.as_i64());
        let of = if factors.is_empty() { String::new() } else { format!(" ({factors})") };
        if needed > count {
            let message = format!("{resource} is {count}, and the engine needs {needed}{of}");
            let help = format!("write {needed}, or spread the engine over {count}");
            let is_certain = need.is_certain && !is_privileged(engine.container());
            if is_certain && WHOLE_DEVICES.contains(resource) {
                report.invalid(place, message, help);
            } else {
                report.unsure(place, message, help);
            }
        } else if needed < count
            && WHOLE_DEVICES.contains(resource)
            && super::spread::ignored_stages(case, engine).is_none()
        {
            report.unsure(
                place,
                format!(
                    "{resource} is {count}, and the engine uses {needed}{of}: the rest is idle"
                ),
                // KServe's older presets do not render it, and a config's is not seen by the presets.
                match said.filter(|said| *said > 1 && !engine.arguments.gives(TENSOR)) {
                    Some(said) => format!(
                        "parallelism.tensor is {said}, and nothing hands it to the engine: write \
                         {TENSOR}={said} in args"
                    ),
                    None => format!("write {needed}, or set parallelism.tensor"),
                },
            );
        }
    }
}

fn overcommitted(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        for (list, container) in containers(&engine.pod) {
            let Some(name) = text(container, &["name"]) else { continue };
            for (kind, resource, what, help) in wrong_devices(container) {
                let field = ["resources", kind, resource];
                report.invalid(engine.container_place(case, list, name, &field), what, help);
            }
        }
    }
}

type Wrong<'c> = (&'static str, &'c str, String, String);

/// List, resource, what is wrong with it, and what to write instead.
fn wrong_devices(container: &Value) -> Vec<Wrong<'_>> {
    let list = |kind| get(container, &["resources", kind]).and_then(Value::as_object);
    let (limits, requests) = (list("limits"), list("requests"));
    let mut wrong: Vec<Wrong<'_>> = Vec::new();
    for (kind, listed) in [("limits", limits), ("requests", requests)] {
        for (resource, written) in listed.into_iter().flatten() {
            let (Some(milli), Some(shown)) =
                (quantity::milli_of(written), quantity::written(written))
            else {
                continue;
            };
            if is_device(resource) && milli % 1000 != 0 {
                let message = format!("{resource} is {shown}, and a device cannot be divided");
                wrong.push((kind, resource, message, "write a whole number".to_owned()));
            }
        }
    }
    if !wrong.is_empty() {
        return wrong;
    }
    for (resource, written) in requests.into_iter().flatten() {
        let Some(shown) = quantity::written(written)
            .filter(|_| is_device(resource) || resource.starts_with("hugepages-"))
        else {
            continue;
        };
        let help = format!("write the same under limits: {resource}: \"{shown}\"");
        match limits.and_then(|limits| limits.get(resource)).and_then(quantity::written) {
            None => {
                let message = format!("{resource} is requested ({shown}), and has no limit");
                wrong.push(("requests", resource, message, help));
            }
            Some(limit) if quantity::value(&limit).ok() != quantity::value(&shown).ok() => {
                let message = format!("{resource} is {shown}, and its limit is {limit}");
                wrong.push(("requests", resource, message, help));
            }
            Some(_) => {}
        }
    }
    wrong
}

/// A resource that a device plugin counts: `IsExtendedResourceName` in kubernetes.
pub(super) fn is_device(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/")
}

fn apart(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.position == Position::Leader) {
        let uses_efa = get(engine.container(), &["resources", "limits", EFA])
            .and_then(quantity::of)
            .is_some_and(|count| count > 0);
        let is_set = |member: &&str| {
            get(&engine.pod, &[member]).is_some_and(|it| {
                it.as_object().is_some_and(|it| !it.is_empty())
                    || it.as_array().is_some_and(|it| !it.is_empty())
            })
        };
        let is_pinned =
            ["nodeSelector", "affinity", "topologySpreadConstraints"].iter().any(is_set)
                || get(&engine.metadata, &["annotations", EXCLUSIVE]).is_some()
                || case.annotation(EXCLUSIVE).is_some();
        if uses_efa && !is_pinned {
            report.unsure(
                engine.field_place(case, &["resources", "limits", EFA]),
                format!("{EFA} in a group of pods that nothing keeps in one zone"),
                "write nodeSelector or affinity for one zone in template and worker",
            );
        }
    }
}

fn twice(case: &Case<'_>, report: &mut Report) {
    const GPU: &str = "nvidia.com/gpu";
    for engine in pods(case) {
        let granted = granted(engine);
        if granted.iter().all(|(resource, _)| *resource != GPU) {
            continue;
        }
        let slice = granted.iter().find(|(resource, _)| resource.starts_with("nvidia.com/mig-"));
        let other = match slice {
            Some((slice, _)) => (*slice).to_owned(),
            None => match gpu_claim(engine) {
                Some(claim) => format!("the claim {claim}"),
                None => continue,
            },
        };
        report.unsure(
            engine.field_place(case, &["resources", "limits", GPU]),
            format!("{GPU} beside {other}"),
            format!("remove {GPU}, or the other"),
        );
    }
}

/// A claim of the engine's container that is called after GPUs.
fn gpu_claim(engine: &Engine) -> Option<&str> {
    let of_pod = get(&engine.pod, &["resourceClaims"])?;
    list(engine.container(), CLAIMS).iter().find_map(|claim| {
        let name = text(claim, &["name"])?;
        let claim = named(of_pod, name)?;
        let sources = ["resourceClaimTemplateName", "resourceClaimName"];
        let mut names = sources.iter().filter_map(|source| text(claim, &[source])).chain([name]);
        // A claim may bring GPUs and NICs, or NICs that are near to GPUs.
        let is_for_gpus = |name: &str| {
            let has = |word: &str| name.split(['-', '.', '_']).any(|part| part == word);
            (has("gpu") || has("gpus")) && !["nic", "nics", "rdma"].iter().any(|nic| has(nic))
        };
        names.any(is_for_gpus).then_some(name)
    })
}

fn memory(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let limit = memory_limit(engine);
        let shared = super::memory::shared_memory(engine).and_then(|shared| shared.size);
        if let (Some(limit), Some(shared)) = (limit, shared)
            && shared > limit
        {
            report.invalid(
                engine.field_place(case, &["resources", "limits", "memory"]),
                format!(
                    "the memory limit is {}, and /dev/shm, which counts to it, holds {}",
                    quantity::bytes(limit),
                    quantity::bytes(shared)
                ),
                "write a limit that is larger than /dev/shm and the engine together",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_whole_and_requested_as_they_are_limited() {
        let wrong = |resources: Value| {
            let container = json!({"name": "main", "resources": resources});
            let wrong = wrong_devices(&container);
            wrong.into_iter().map(|(_, _, what, _)| what).collect::<Vec<_>>()
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(wrong(json!({"limits": {"nvidia.com/gpu": 1}})), none);
        assert_eq!(wrong(json!({"requests": {"cpu": "100m", "memory": "1Gi"}})), none);
        assert_eq!(
            wrong(json!({"limits": {"a.b/c": "1k"}, "requests": {"a.b/c": "1000"}})),
            none,
            "two spellings of one quantity"
        );
        assert_eq!(
            wrong(json!({"limits": {"nvidia.com/gpu": "0.5"}})),
            ["nvidia.com/gpu is 0.5, and a device cannot be divided"]
        );
        assert_eq!(
            wrong(json!({"limits": {"rdma/ib": 1}, "requests": {"rdma/ib": 2}})),
            ["rdma/ib is 2, and its limit is 1"]
        );
        assert_eq!(
            wrong(json!({"requests": {"hugepages-2Mi": "4Mi"}})),
            ["hugepages-2Mi is requested (4Mi), and has no limit"]
        );
        assert_eq!(wrong(json!({"requests": {"x.kubernetes.io/y": "1"}})), none);
    }
}
