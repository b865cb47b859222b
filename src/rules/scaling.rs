//! Replicas that follow the load.

use serde_json::Value;

use super::case::{Case, Pool, get, text};
use super::report::{Report, shown};
use super::{Check, Rule};
use crate::catalog::Severity;

const FAMILY: &str = "scaling";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K051",
        family: FAMILY,
        severity: Severity::Reject,
        title: "replicas and scaling together",
        why: "A number that is fixed here and changed by an autoscaler there makes the pool go up and down \
              with every reconciliation. KServe's validator refuses both together.",
        accepted: "spec: {scaling: {minReplicas: 1, maxReplicas: 4, wva: {hpa: {}}}}",
        reported: "spec: {replicas: 2, scaling: {maxReplicas: 4, wva: {hpa: {}}}}",
        symptom_of: &[],
        check: Check::Service(replicas),
    },
    Rule {
        code: "K052",
        family: FAMILY,
        severity: Severity::Reject,
        title: "minReplicas over maxReplicas",
        why: "The autoscaler is created with both and refused by the API server. KServe's validator says \
              so at once.",
        accepted: "spec: {scaling: {minReplicas: 2, maxReplicas: 4, wva: {hpa: {}}}}",
        reported: "spec: {scaling: {minReplicas: 5, maxReplicas: 4, wva: {hpa: {}}}}",
        symptom_of: &[],
        check: Check::Service(bounds),
    },
    Rule {
        code: "K053",
        family: FAMILY,
        severity: Severity::Reject,
        title: "scaling that nothing does, or two do",
        why: "scaling names bounds; wva (by the workload's own metrics) or, in releases after 0.20, keda (by \
              triggers of yours) moves the replicas between them. KServe's validator asks for exactly one.",
        accepted: "spec: {scaling: {maxReplicas: 4, wva: {keda: {}}}}",
        reported: "spec: {scaling: {maxReplicas: 4}}",
        symptom_of: &[],
        check: Check::Service(mode),
    },
    Rule {
        code: "K054",
        family: FAMILY,
        severity: Severity::Reject,
        title: "scaling.wva without its actuator, or with two",
        why: "wva computes how many replicas there should be; hpa or keda makes it so. KServe's validator \
              asks for exactly one.",
        accepted: "spec: {scaling: {maxReplicas: 4, wva: {hpa: {}}}}",
        reported: "spec: {scaling: {maxReplicas: 4, wva: {hpa: {}, keda: {}}}}",
        symptom_of: &["K053"],
        check: Check::Service(actuator),
    },
    Rule {
        code: "K055",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a variantCost that is no number",
        why: "Variants are compared by this number, which is written as text: digits, and decimals behind a \
              dot. KServe's validator refuses anything else.",
        accepted: "spec: {scaling: {maxReplicas: 4, wva: {hpa: {}, variantCost: \"0.5\"}}}",
        reported: "spec: {scaling: {maxReplicas: 4, wva: {hpa: {}, variantCost: cheap}}}",
        symptom_of: &[],
        check: Check::Service(variant_cost),
    },
    Rule {
        code: "K056",
        family: FAMILY,
        severity: Severity::Reject,
        title: "scaling.keda without triggers",
        why: "Without a trigger nothing ever scales the pool, and KEDA refuses the ScaledObject. KServe's \
              validator asks for one in releases after 0.20, which have this field.",
        accepted: "spec: {scaling: {maxReplicas: 4, keda: {triggers: [{type: prometheus, metadata: {}}]}}}",
        reported: "spec: {scaling: {maxReplicas: 4, keda: {}}}",
        symptom_of: &["K053"],
        check: Check::Service(triggers),
    },
    Rule {
        code: "K057",
        family: FAMILY,
        severity: Severity::Reject,
        title: "idleReplicaCount that is not under minReplicas",
        why: "KEDA keeps idleReplicaCount replicas while no trigger is active and minReplicas from then on; it \
              refuses a ScaledObject in which the first is not the smaller. KServe's validator asks for both, \
              in that order.",
        accepted: "spec: {scaling: {minReplicas: 1, maxReplicas: 4, wva: {keda: {idleReplicaCount: 0}}}}",
        reported: "spec: {scaling: {minReplicas: 1, maxReplicas: 4, wva: {keda: {idleReplicaCount: 1}}}}",
        symptom_of: &["K053", "K054"],
        check: Check::Service(idle),
    },
    Rule {
        code: "K058",
        family: FAMILY,
        severity: Severity::Reject,
        title: "scalingModifiers under scaling.wva.keda",
        why: "wva decides the metric that KEDA scales by. A formula of yours would take its place; KServe's \
              validator refuses it.",
        accepted: "spec: {scaling: {maxReplicas: 4, wva: {keda: {advanced: {restoreToOriginalReplicaCount: true}}}}}",
        reported: "spec: {scaling: {maxReplicas: 4, wva: {keda: {advanced: {scalingModifiers: {formula: a + b}}}}}}",
        symptom_of: &[],
        check: Check::Service(modifiers),
    },
    Rule {
        code: "K059",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a name for the HPA that KEDA makes",
        why: "The controller finds its autoscaler by the name that it gave it. KServe's validator refuses \
              another one.",
        accepted: "spec: {scaling: {maxReplicas: 4, wva: {keda: {advanced: {horizontalPodAutoscalerConfig: {behavior: {}}}}}}}",
        reported: "spec: {scaling: {maxReplicas: 4, wva: {keda: {advanced: {horizontalPodAutoscalerConfig: {name: mine}}}}}}",
        symptom_of: &[],
        check: Check::Service(hpa_name),
    },
    Rule {
        code: "K060",
        family: FAMILY,
        severity: Severity::Reject,
        title: "prefill and decode scaled by different means",
        why: "An HPA reads its metrics from the metrics API, KEDA from Prometheus: the two pools would follow \
              two measurements of one load, and drift apart. KServe's validator refuses it (kserve#5211).",
        accepted: "spec: {scaling: {maxReplicas: 4, wva: {hpa: {}}}, prefill: {scaling: {maxReplicas: 2, wva: {hpa: {}}}}}",
        reported: "spec: {scaling: {maxReplicas: 4, wva: {hpa: {}}}, prefill: {scaling: {maxReplicas: 2, wva: {keda: {}}}}}",
        symptom_of: &["K053", "K054"],
        check: Check::Service(same_means),
    },
];

/// The pools that scale themselves.
fn scaled<'a>(case: &Case<'a>) -> Vec<Pool<'a>> {
    case.pools().into_iter().filter(|pool| pool.has(&["scaling"])).collect()
}

/// The two places where KEDA is configured, as far as they are there.
fn kedas<'a>(pool: &Pool<'a>) -> Vec<(&'static [&'static str], &'a Value)> {
    const PLACES: [&[&str]; 2] = [&["scaling", "wva", "keda"], &["scaling", "keda"]];
    PLACES.into_iter().filter_map(|place| Some((place, pool.get(place)?))).collect()
}

fn replicas(case: &Case<'_>, report: &mut Report) {
    for pool in scaled(case) {
        if let Some(replicas) = pool.get(&["replicas"]) {
            report.invalid(
                pool.at(&["scaling"]),
                format!("set, and replicas is {}", shown(replicas)),
                "remove replicas to scale by load, or scaling for a fixed number",
            );
        }
    }
}

fn bounds(case: &Case<'_>, report: &mut Report) {
    for pool in scaled(case) {
        let number = |name| pool.get(&["scaling", name]).and_then(Value::as_i64);
        // A maximum that is missing is 0 to the controller, and the CRD's schema asks for it.
        if let (Some(min), Some(max)) = (number("minReplicas"), number("maxReplicas"))
            && min > max
        {
            report.invalid(
                pool.at(&["scaling", "minReplicas"]),
                format!("found {min}, and maxReplicas is {max}"),
                "write a minimum that is not over the maximum",
            );
        }
    }
}

fn mode(case: &Case<'_>, report: &mut Report) {
    for pool in scaled(case) {
        match (pool.has(&["scaling", "wva"]), pool.has(&["scaling", "keda"])) {
            (false, false) => report.required(
                pool.at(&["scaling", "wva"]),
                "missing: nothing scales this pool",
                "write wva with hpa or keda under it",
            ),
            (true, true) => report.invalid(
                pool.at(&["scaling"]),
                "wva and keda are both set",
                "keep one of them",
            ),
            _ => {}
        }
    }
}

fn actuator(case: &Case<'_>, report: &mut Report) {
    for pool in scaled(case) {
        let Some(wva) = pool.get(&["scaling", "wva"]) else { continue };
        match (get(wva, &["hpa"]), get(wva, &["keda"])) {
            (None, None) => report.required(
                pool.at(&["scaling", "wva"]),
                "neither hpa nor keda is set",
                "write `hpa: {}` or `keda: {}` under it",
            ),
            (Some(_), Some(_)) => report.invalid(
                pool.at(&["scaling", "wva"]),
                "hpa and keda are both set",
                "keep one of them",
            ),
            _ => {}
        }
    }
}

fn variant_cost(case: &Case<'_>, report: &mut Report) {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    for pool in scaled(case) {
        let Some(cost) = text(pool.spec, &["scaling", "wva", "variantCost"]) else { continue };
        let is_number = match cost.split_once('.') {
            Some((whole, decimals)) => is_digits(whole) && is_digits(decimals),
            None => is_digits(cost),
        };
        if !is_number {
            report.invalid(
                pool.at(&["scaling", "wva", "variantCost"]),
                format!("found {}", shown(&Value::from(cost))),
                "write a number in quotes, like \"10\" or \"0.5\"",
            );
        }
    }
}

fn triggers(case: &Case<'_>, report: &mut Report) {
    for pool in scaled(case) {
        let Some(keda) = pool.get(&["scaling", "keda"]) else { continue };
        let triggers = get(keda, &["triggers"]).and_then(Value::as_array);
        if triggers.is_none_or(Vec::is_empty) {
            report.required(
                pool.at(&["scaling", "keda", "triggers"]),
                "there are none",
                "write at least one trigger of KEDA, or use wva",
            );
        }
    }
}

fn idle(case: &Case<'_>, report: &mut Report) {
    for pool in scaled(case) {
        for (place, keda) in kedas(&pool) {
            let Some(idle) = get(keda, &["idleReplicaCount"]).and_then(Value::as_i64) else {
                continue;
            };
            match pool.get(&["scaling", "minReplicas"]).and_then(Value::as_i64) {
                None => report.required(
                    pool.at(&["scaling", "minReplicas"]),
                    format!("missing, and idleReplicaCount is {idle}"),
                    format!("write {} or more", idle.saturating_add(1)),
                ),
                Some(min) if idle >= min => report.invalid(
                    pool.at(place).field("idleReplicaCount"),
                    format!("found {idle}, and minReplicas is {min}"),
                    "write fewer than minReplicas, e.g. 0, or remove it",
                ),
                Some(_) => {}
            }
        }
    }
}

fn modifiers(case: &Case<'_>, report: &mut Report) {
    const MODIFIERS: [&str; 5] = ["scaling", "wva", "keda", "advanced", "scalingModifiers"];
    for pool in scaled(case) {
        let Some(modifiers) = pool.get(&MODIFIERS) else { continue };
        let set = ["formula", "target", "activationTarget", "metricType"]
            .into_iter()
            .find(|member| text(modifiers, &[member]).is_some());
        if let Some(member) = set {
            report.forbidden(
                pool.at(&MODIFIERS),
                format!("{member} is set, and wva decides what KEDA scales by"),
                "remove scalingModifiers",
            );
        }
    }
}

fn hpa_name(case: &Case<'_>, report: &mut Report) {
    for pool in scaled(case) {
        for (place, keda) in kedas(&pool) {
            let name = ["advanced", "horizontalPodAutoscalerConfig", "name"];
            if let Some(found) = text(keda, &name) {
                report.forbidden(
                    super::case::below(&pool.at(place), &name),
                    format!("found {}, and the controller names the HPA", shown(&found.into())),
                    "remove it",
                );
            }
        }
    }
}

fn same_means(case: &Case<'_>, report: &mut Report) {
    let pools = scaled(case);
    let [decode, prefill] = pools.as_slice() else { return };
    let means = |pool: &Pool<'_>| {
        const MEANS: [(&[&str], &str); 3] = [
            (&["scaling", "wva", "hpa"], "wva.hpa"),
            (&["scaling", "wva", "keda"], "wva.keda"),
            (&["scaling", "keda"], "keda"),
        ];
        MEANS.into_iter().find(|(place, _)| pool.has(place)).map(|(_, name)| name)
    };
    if let (Some(decode), Some(means)) = (means(decode), means(prefill))
        && decode != means
    {
        report.invalid(
            prefill.at(&["scaling"]),
            format!("scales by {means}, and spec.scaling by {decode}"),
            "write the same in both",
        );
    }
}
