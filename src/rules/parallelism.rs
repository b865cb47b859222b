//! How a replica spreads over accelerators and pods.

use serde_json::Value;

use super::case::{Case, Pool, pools};
use super::report::{Report, shown};
use super::{Check, Rule};
use crate::api::{Parallelism, Topology};
use crate::catalog::Severity;

const FAMILY: &str = "parallelism";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K021",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a worker that nothing is spread over",
        why: "worker makes a replica a group of pods. How many, and what each of them does, comes from data \
              or pipeline parallelism; without either no preset applies and the group has no size. KServe's \
              validator refuses it.",
        accepted: "spec: {worker: {containers: []}, parallelism: {data: 16, dataLocal: 8, tensor: 1, expert: true}}",
        reported: "spec: {worker: {containers: []}, parallelism: {tensor: 8}}",
        symptom_of: &[],
        check: Check::Service(worker_alone),
    },
    Rule {
        code: "K022",
        family: FAMILY,
        severity: Severity::Reject,
        title: "pipeline and data parallelism together",
        why: "Each of them decides how many pods a replica has. KServe's validator refuses both together.",
        accepted: "spec: {parallelism: {pipeline: 2, tensor: 8}}",
        reported: "spec: {parallelism: {pipeline: 2, data: 2, dataLocal: 1}}",
        symptom_of: &["K024"],
        check: Check::Service(pipeline_and_data),
    },
    Rule {
        code: "K023",
        family: FAMILY,
        severity: Severity::Reject,
        title: "data and dataLocal, one without the other",
        why: "data is the number of ranks in a replica, dataLocal those in one of its pods; a replica has \
              data ÷ dataLocal pods. KServe's validator asks for both.",
        accepted: "spec: {parallelism: {data: 16, dataLocal: 8, tensor: 1, expert: true}}",
        reported: "spec: {parallelism: {data: 16}}",
        symptom_of: &["K024"],
        check: Check::Service(data_without_local),
    },
    Rule {
        code: "K024",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a parallelism under 1",
        why: "A size counts ranks or stages, of which there is at least one. The schema of KServe's CRD and \
              its validator ask for 1 or more.",
        accepted: "spec: {parallelism: {tensor: 4}}",
        reported: "spec: {parallelism: {tensor: 0}}",
        symptom_of: &[],
        check: Check::Service(under_one),
    },
    Rule {
        code: "K025",
        family: FAMILY,
        severity: Severity::Reject,
        title: "dataRPCPort that is no port",
        why: "The ranks of a replica meet at this port. The schema of KServe's CRD asks for 1 to 65535.",
        accepted: "spec: {parallelism: {dataRPCPort: 5555}}",
        reported: "spec: {parallelism: {dataRPCPort: 70000}}",
        symptom_of: &[],
        check: Check::Service(rpc_port),
    },
    Rule {
        code: "K031",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a replica's number of pods cannot change",
        why: "A replica of several pods is a group of a LeaderWorkerSet, and groups of two sizes would serve \
              side by side during the rollout, with ranks that do not find each other. KServe's validator \
              refuses a change of data ÷ dataLocal or of pipeline.",
        accepted: "
spec: {parallelism: {data: 16, dataLocal: 8, tensor: 1, expert: true}}
---
spec: {parallelism: {data: 8, dataLocal: 4, tensor: 1, expert: true}}
",
        reported: "
spec: {parallelism: {data: 16, dataLocal: 8, tensor: 1, expert: true}}
---
spec: {parallelism: {data: 32, dataLocal: 8, tensor: 1, expert: true}}
",
        symptom_of: &["K023", "K024"],
        check: Check::Service(size_changed),
    },
];

fn worker_alone(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        let spread = parallelism(&pool);
        if pool.has(&["worker"]) && !spread.is_data_parallel() && !spread.is_pipeline_parallel() {
            report.invalid(
                pool.at(&["worker"]),
                "set, and neither data nor pipeline parallelism is",
                format!(
                    "write {path}.data and {path}.dataLocal, or {path}.pipeline, or remove worker",
                    path = pool.at(&["parallelism"])
                ),
            );
        }
    }
}

fn pipeline_and_data(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        let spread = parallelism(&pool);
        if spread.is_pipeline_parallel() && spread.is_data_parallel() {
            report.invalid(
                pool.at(&["parallelism"]),
                format!(
                    "pipeline is {} and data is {}",
                    spread.pipeline.unwrap_or_default(),
                    spread.data.or(spread.data_local).unwrap_or_default()
                ),
                "keep pipeline, or data and dataLocal",
            );
        }
    }
}

fn data_without_local(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        let value = |name| pool.get(&["parallelism", name]);
        let (missing, there, found, help) = match (value("data"), value("dataLocal")) {
            (Some(data), None) => {
                ("dataLocal", "data", data, "write how many of the ranks run in one pod")
            }
            (None, Some(local)) => {
                ("data", "dataLocal", local, "write how many ranks a replica has in all its pods")
            }
            _ => continue,
        };
        report.required(
            pool.at(&["parallelism", missing]),
            format!("missing, and {there} is {}", shown(found)),
            help,
        );
    }
}

fn under_one(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        for name in ["tensor", "pipeline", "data", "dataLocal"] {
            let found = pool.get(&["parallelism", name]);
            if let Some(value) = found.and_then(Value::as_i64).filter(|value| *value < 1) {
                report.invalid(
                    pool.at(&["parallelism", name]),
                    format!("found {value}"),
                    "write 1 or more, or leave it out",
                );
            }
        }
    }
}

fn rpc_port(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        let found = pool.get(&["parallelism", "dataRPCPort"]).and_then(Value::as_i64);
        if let Some(port) = found.filter(|port| !(1..=65535).contains(port)) {
            report.invalid(
                pool.at(&["parallelism", "dataRPCPort"]),
                format!("found {port}"),
                "write a port from 1 to 65535",
            );
        }
    }
}

fn size_changed(case: &Case<'_>, report: &mut Report) {
    let Some(old) = case.old.and_then(|old| old.get("spec")) else { return };
    // A prefill pool that comes or goes changes no group.
    for (now, before) in case.pools().iter().zip(&pools(old)) {
        let [now_size, size] = [now, before].map(|pool| parallelism(pool).size().unwrap_or(1));
        if now_size != size {
            report.unsupported(
                now.at(&["parallelism"]),
                format!("makes a replica {now_size} pods, and it has {size}"),
                format!(
                    "keep data ÷ dataLocal (or pipeline) at {size}, or create a service of another \
                     name and delete this one"
                ),
            );
        }
    }
}

fn parallelism(pool: &Pool<'_>) -> Parallelism {
    Topology::of(pool.spec).parallelism
}
