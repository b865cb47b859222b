//! How a pool is replaced by its next version.

use serde_json::Value;

use super::case::{Case, Pool};
use super::report::{Report, shown};
use super::{Check, Rule};
use crate::catalog::Severity;

const FAMILY: &str = "rollout";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K081",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a rollout bound that is no number and no percentage",
        why: "maxUnavailable and maxSurge are a number of replicas or a percentage of them, like 1 or \"25%\", \
              and a percentage is at most 100. KServe's validator refuses anything else, in the releases \
              that have the field (after 0.20); the API server would, when the workload is created.",
        accepted: "spec: {rolloutStrategy: {maxUnavailable: 1, maxSurge: \"25%\"}}",
        reported: "spec: {rolloutStrategy: {maxUnavailable: \"150%\"}}",
        symptom_of: &[],
        check: Check::Service(amounts),
    },
    Rule {
        code: "K082",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a rollout that can neither remove nor add",
        why: "With maxUnavailable and maxSurge both zero no replica may go before another comes, and none may \
              come: the rollout never starts. Kubernetes refuses such a Deployment.",
        accepted: "spec: {rolloutStrategy: {maxUnavailable: 0, maxSurge: 1}}",
        reported: "spec: {rolloutStrategy: {maxUnavailable: 0, maxSurge: 0}}",
        symptom_of: &["K081"],
        check: Check::Service(both_zero),
    },
    Rule {
        code: "K083",
        family: FAMILY,
        severity: Severity::Reject,
        title: "groups of pods with maxUnavailable 0 and no maxSurge",
        why: "A LeaderWorkerSet adds no group beyond its replicas unless maxSurge says so: with \
              maxUnavailable 0 its rollout never starts. A Deployment's maxSurge is 25 % where none is \
              given, so this concerns pools with a worker.",
        accepted: "spec: {worker: {}, parallelism: {data: 16, dataLocal: 8, tensor: 1}, rolloutStrategy: {maxUnavailable: 0, maxSurge: 1}}",
        reported: "spec: {worker: {}, parallelism: {data: 16, dataLocal: 8, tensor: 1}, rolloutStrategy: {maxUnavailable: 0}}",
        symptom_of: &["K081"],
        check: Check::Service(no_surge),
    },
];

const MEMBERS: [&str; 2] = ["maxUnavailable", "maxSurge"];

/// An amount, as far as it is zero or more and can be read.
enum Amount {
    Zero,
    Some,
}

fn amount(pool: &Pool<'_>, member: &str) -> Option<Result<Amount, String>> {
    let value = pool.get(&["rolloutStrategy", member])?;
    let number = match value {
        Value::Number(number) => number.as_i64().filter(|number| *number >= 0),
        Value::String(text) => text
            .strip_suffix('%')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|percent| *percent <= 100),
        _ => None,
    };
    Some(match number {
        None => Err(shown(value)),
        Some(0) => Ok(Amount::Zero),
        Some(_) => Ok(Amount::Some),
    })
}

fn amounts(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        for member in MEMBERS {
            if let Some(Err(found)) = amount(&pool, member) {
                report.invalid(
                    pool.at(&["rolloutStrategy", member]),
                    format!("found {found}"),
                    "write a number of replicas like 1, or a percentage from \"0%\" to \"100%\"",
                );
            }
        }
    }
}

fn both_zero(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        let zero = |member| matches!(amount(&pool, member), Some(Ok(Amount::Zero)));
        if MEMBERS.into_iter().all(zero) {
            report.invalid(
                pool.at(&["rolloutStrategy"]),
                "maxUnavailable and maxSurge are both zero: no replica can be replaced",
                "write maxSurge: 1 to add a replica first, or maxUnavailable: 1 to remove one first",
            );
        }
    }
}

fn no_surge(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        let is_zero = matches!(amount(&pool, "maxUnavailable"), Some(Ok(Amount::Zero)));
        if pool.has(&["worker"]) && is_zero && amount(&pool, "maxSurge").is_none() {
            report.required(
                pool.at(&["rolloutStrategy", "maxSurge"]),
                "missing, and maxUnavailable is 0: no group of pods can be replaced",
                "write maxSurge: 1, or a maxUnavailable of 1 or more",
            );
        }
    }
}
