//! Annotations by which KServe manages accelerators as resource claims (DRA).

use super::case::{Case, is_label, is_subdomain};
use super::report::Report;
use super::{Check, Rule};
use crate::catalog::Severity;
use crate::decision::quoted;
use crate::json::FieldPath;

const FAMILY: &str = "managed DRA";

const CLASS: &str = "serving.kserve.io/exp-dra-device-class";
const COUNT: &str = "serving.kserve.io/exp-dra-device-count";
const SELECTOR: &str = "serving.kserve.io/exp-dra-cel-selector";
const CONTAINER: &str = "serving.kserve.io/exp-dra-container-name";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K121",
        family: FAMILY,
        severity: Severity::Reject,
        title: "managed DRA without a device class",
        why: "The device class is what turns managed DRA on; count, selector and container mean nothing \
              without it. KServe's validator (v0.20) refuses them alone.",
        accepted: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com, serving.kserve.io/exp-dra-device-count: \"2\"}}}",
        reported: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-count: \"2\"}}}",
        symptom_of: &[],
        check: Check::Service(no_class),
    },
    Rule {
        code: "K122",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a device class that cannot exist",
        why: "A DeviceClass is an object of the cluster, and its name a DNS subdomain. KServe's validator \
              (v0.20) refuses anything else.",
        accepted: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com}}}",
        reported: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: \"GPU nvidia\"}}}",
        symptom_of: &[],
        check: Check::Service(class),
    },
    Rule {
        code: "K123",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a device count that is none",
        why: "It is the number of devices of a pod. KServe's validator (v0.20) asks for 1 or more.",
        accepted: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com, serving.kserve.io/exp-dra-device-count: \"2\"}}}",
        reported: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com, serving.kserve.io/exp-dra-device-count: all}}}",
        symptom_of: &[],
        check: Check::Service(count),
    },
    Rule {
        code: "K124",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a device selector that is empty",
        why: "A selector is one CEL expression a line. KServe's validator (v0.20) asks for at least one \
              where the annotation is there.",
        accepted: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com, serving.kserve.io/exp-dra-cel-selector: \"device.driver == 'gpu.nvidia.com'\"}}}",
        reported: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com, serving.kserve.io/exp-dra-cel-selector: \" \"}}}",
        symptom_of: &[],
        check: Check::Service(selector),
    },
    Rule {
        code: "K125",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a container that cannot exist",
        why: "The claim goes to the container of this name, and a container's name is a DNS label. KServe's \
              validator (v0.20) refuses anything else.",
        accepted: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com, serving.kserve.io/exp-dra-container-name: main}}}",
        reported: "{metadata: {annotations: {serving.kserve.io/exp-dra-device-class: gpu.nvidia.com, serving.kserve.io/exp-dra-container-name: Main!}}}",
        symptom_of: &[],
        check: Check::Service(container),
    },
];

fn at(key: &str) -> FieldPath {
    FieldPath::root().field("metadata").field("annotations").field(key)
}

fn no_class(case: &Case<'_>, report: &mut Report) {
    if case.annotation(CLASS).is_some() {
        return;
    }
    let others = [COUNT, SELECTOR, CONTAINER];
    if let Some(other) = others.into_iter().find(|key| case.annotation(key).is_some()) {
        report.required(
            at(CLASS),
            format!("missing, and {other} is set"),
            "write the DeviceClass, e.g. gpu.nvidia.com, or remove the other annotations",
        );
    }
}

fn class(case: &Case<'_>, report: &mut Report) {
    let Some(found) = case.annotation(CLASS) else { return };
    let class = found.trim();
    if !is_subdomain(class) {
        report.invalid(
            at(CLASS),
            format!("found {}", quoted(found)),
            "write the name of a DeviceClass: lower-case letters, digits, `-` and `.`",
        );
    }
}

fn count(case: &Case<'_>, report: &mut Report) {
    let Some(found) = case.annotation(COUNT) else { return };
    let count = found.trim();
    if !count.is_empty() && !count.parse::<i64>().is_ok_and(|count| count >= 1) {
        report.invalid(
            at(COUNT),
            format!("found {}", quoted(found)),
            "write a number in quotes, 1 or more",
        );
    }
}

fn selector(case: &Case<'_>, report: &mut Report) {
    if case.annotation(SELECTOR).is_some_and(|found| found.trim().is_empty()) {
        report.invalid(at(SELECTOR), "empty", "write a CEL expression, or remove the annotation");
    }
}

fn container(case: &Case<'_>, report: &mut Report) {
    let Some(found) = case.annotation(CONTAINER) else { return };
    let name = found.trim();
    if name.len() > 63 || !is_label(name) {
        report.invalid(
            at(CONTAINER),
            format!("found {}", quoted(found)),
            "write a container's name: lower-case letters, digits and `-`",
        );
    }
}
