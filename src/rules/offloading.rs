//! KV cache beyond the accelerator's memory.

use serde_json::Value;

use super::case::{Case, get, items, text};
use super::report::Report;
use super::{Check, Rule};
use crate::catalog::Severity;
use crate::json::FieldPath;

const FAMILY: &str = "KV offloading";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K071",
        family: FAMILY,
        severity: Severity::Reject,
        title: "secondary tiers without a CPU tier",
        why: "Blocks reach a disk through the CPU tier's memory. KServe's validator asks for its size where \
              there are secondary tiers.",
        accepted: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {emptyDir: {size: 50Gi}}}]}}",
        reported: "spec: {kvCacheOffloading: {secondary: [{fileSystem: {emptyDir: {size: 50Gi}}}]}}",
        symptom_of: &[],
        check: Check::Service(cpu),
    },
    Rule {
        code: "K072",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a secondary tier that is no file system",
        why: "fileSystem is the one kind of secondary tier that there is. KServe's validator asks for it.",
        accepted: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {emptyDir: {size: 50Gi}}}]}}",
        reported: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{}]}}",
        symptom_of: &[],
        check: Check::Service(file_system),
    },
    Rule {
        code: "K073",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a tier with no volume, or with two",
        why: "A tier lies on an emptyDir or on a claim (pvc). KServe's validator asks for exactly one.",
        accepted: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {pvc: {ref: {name: kv}}}}]}}",
        reported: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {}}]}}",
        symptom_of: &[],
        check: Check::Service(one_volume),
    },
    Rule {
        code: "K074",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a tier's claim from nowhere, or from two places",
        why: "A claim is made for each pod (spec) or is there already (ref). KServe's validator asks for \
              exactly one.",
        accepted: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {pvc: {spec: {accessModes: [ReadWriteOnce]}}}}]}}",
        reported: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {pvc: {}}}]}}",
        symptom_of: &[],
        check: Check::Service(one_claim),
    },
    Rule {
        code: "K075",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a tier's claim without a name",
        why: "Nothing can be mounted by it. KServe's validator asks for the name.",
        accepted: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {pvc: {ref: {name: kv}}}}]}}",
        reported: "spec: {kvCacheOffloading: {cpu: 10Gi, secondary: [{fileSystem: {pvc: {ref: {path: a}}}}]}}",
        symptom_of: &[],
        check: Check::Service(nameless_claim),
    },
];

/// The secondary tiers of all pools.
fn tiers<'a>(case: &Case<'a>) -> Vec<(FieldPath, &'a Value)> {
    case.pools()
        .iter()
        .flat_map(|pool| items(pool.spec, &["kvCacheOffloading", "secondary"], &pool.path))
        .collect()
}

fn cpu(case: &Case<'_>, report: &mut Report) {
    for pool in case.pools() {
        if items(pool.spec, &["kvCacheOffloading", "secondary"], &pool.path).is_empty() {
            continue;
        }
        let is_set = match pool.get(&["kvCacheOffloading", "cpu"]) {
            None => false,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            // A quantity is zero when all of its digits are.
            Some(Value::String(quantity)) => quantity.contains(|c: char| matches!(c, '1'..='9')),
            Some(_) => true,
        };
        if !is_set {
            report.required(
                pool.at(&["kvCacheOffloading", "cpu"]),
                "missing, and there are secondary tiers",
                "write how much memory the CPU tier has, e.g. 10Gi",
            );
        }
    }
}

fn file_system(case: &Case<'_>, report: &mut Report) {
    for (path, tier) in tiers(case) {
        if get(tier, &["fileSystem"]).is_none() {
            report.required(
                path.field("fileSystem"),
                "missing, and there is no other kind of tier",
                "write fileSystem with emptyDir or pvc under it",
            );
        }
    }
}

fn one_volume(case: &Case<'_>, report: &mut Report) {
    for (path, tier) in tiers(case) {
        let Some(files) = get(tier, &["fileSystem"]) else { continue };
        let path = path.field("fileSystem");
        match (get(files, &["emptyDir"]), get(files, &["pvc"])) {
            (None, None) => report.required(
                path,
                "neither emptyDir nor pvc is set",
                "write emptyDir with a size, or pvc with spec or ref",
            ),
            (Some(_), Some(_)) => {
                report.invalid(path, "emptyDir and pvc are both set", "keep one of them");
            }
            _ => {}
        }
    }
}

fn one_claim(case: &Case<'_>, report: &mut Report) {
    for (path, claim) in claims(case) {
        match (get(claim, &["spec"]), get(claim, &["ref"])) {
            (None, None) => report.required(
                path,
                "neither spec nor ref is set",
                "write spec for a claim that each pod gets, or ref for one that is there",
            ),
            (Some(_), Some(_)) => {
                report.invalid(path, "spec and ref are both set", "keep one of them");
            }
            _ => {}
        }
    }
}

fn nameless_claim(case: &Case<'_>, report: &mut Report) {
    for (path, claim) in claims(case) {
        if let (Some(reference), None) = (get(claim, &["ref"]), get(claim, &["spec"]))
            && text(reference, &["name"]).is_none()
        {
            report.required(
                path.field("ref").field("name"),
                "missing",
                "write the name of the PersistentVolumeClaim",
            );
        }
    }
}

/// The claims of tiers that have no other volume.
fn claims<'a>(case: &Case<'a>) -> Vec<(FieldPath, &'a Value)> {
    tiers(case)
        .into_iter()
        .filter_map(|(path, tier)| {
            let files = get(tier, &["fileSystem"])?;
            let claim = get(files, &["pvc"])?;
            let alone = get(files, &["emptyDir"]).is_none();
            alone.then(|| (path.field("fileSystem").field("pvc"), claim))
        })
        .collect()
}
