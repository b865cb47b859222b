//! Routes, gateways and traffic groups.

use serde_json::Value;

use super::case::{Case, at, text};
use super::report::{Report, shown};
use super::{Check, Rule};
use crate::catalog::Severity;

const FAMILY: &str = "router";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K001",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an HTTPRoute of your own and a managed one",
        why: "route.http.refs says that you bring the HTTPRoute, route.http.spec that the controller is \
              to make one. It can do only one of the two; KServe's validator refuses both together.",
        accepted: "spec: {router: {route: {http: {refs: [{name: mine}]}}}}",
        reported: "spec: {router: {route: {http: {refs: [{name: mine}], spec: {}}}}}",
        symptom_of: &[],
        check: Check::Service(refs_and_spec),
    },
    Rule {
        code: "K002",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an HTTPRoute of your own on a managed gateway",
        why: "A gateway without refs is the cluster's default one, which the controller attaches its own \
              routes to. A route of yours names its gateway itself, so that gateway must be named here \
              too; KServe's validator refuses the mix.",
        accepted: "spec: {router: {gateway: {refs: [{name: gw, namespace: infra}]}, route: {http: {refs: [{name: mine}]}}}}",
        reported: "spec: {router: {gateway: {}, route: {http: {refs: [{name: mine}]}}}}",
        symptom_of: &[],
        check: Check::Service(refs_on_managed_gateway),
    },
    Rule {
        code: "K003",
        family: FAMILY,
        severity: Severity::Reject,
        title: "parentRefs that contradict gateway.refs",
        why: "The controller writes gateway.refs into the route as its parentRefs. Where parentRefs name \
              other gateways, one of the two would be ignored; KServe's validator refuses it.",
        accepted: "spec: {router: {gateway: {refs: [{name: gw}]}, route: {http: {spec: {rules: []}}}}}",
        reported: "spec: {router: {gateway: {refs: [{name: gw}]}, route: {http: {spec: {parentRefs: [{name: other}]}}}}}",
        symptom_of: &["K001"],
        check: Check::Service(conflicting_parents),
    },
    Rule {
        code: "K004",
        family: FAMILY,
        severity: Severity::Warn,
        title: "parentRefs that repeat gateway.refs",
        why: "The controller derives parentRefs from gateway.refs. Written twice they have to be changed \
              twice. KServe's validator warns of it, too.",
        accepted: "spec: {router: {gateway: {refs: [{name: gw}]}, route: {http: {}}}}",
        reported: "spec: {router: {gateway: {refs: [{name: gw}]}, route: {http: {spec: {parentRefs: [{name: gw}]}}}}}",
        symptom_of: &["K001"],
        check: Check::Service(repeated_parents),
    },
    Rule {
        code: "K011",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a traffic group behind an Ingress",
        why: "Traffic is split by weights in an HTTPRoute; an Ingress has none, and the controller would \
              split nothing. KServe's validator refuses it.",
        accepted: "spec: {router: {route: {group: chat, weight: 10, http: {}}}}",
        reported: "spec: {router: {ingress: {}, route: {group: chat, weight: 10}}}",
        symptom_of: &[],
        check: Check::Service(group_with_ingress),
    },
    Rule {
        code: "K012",
        family: FAMILY,
        severity: Severity::Reject,
        title: "group and weight, one without the other",
        why: "A group's members share its traffic by their weights: a group without a weight has no share, \
              and a weight without a group is a share of nothing. KServe's validator asks for both.",
        accepted: "spec: {router: {route: {group: chat, weight: 10}}}",
        reported: "spec: {router: {route: {weight: 10}}}",
        symptom_of: &["K011"],
        check: Check::Service(group_without_weight),
    },
    Rule {
        code: "K013",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a traffic group over an HTTPRoute of your own",
        why: "The weights of a group are written into the route that the controller makes. It does not \
              write into yours; KServe's validator refuses it.",
        accepted: "spec: {router: {route: {group: chat, weight: 10, http: {}}}}",
        reported: "spec: {router: {route: {group: chat, weight: 10, http: {refs: [{name: mine}]}}}}",
        symptom_of: &["K011", "K012"],
        check: Check::Service(group_over_refs),
    },
];

const HTTP: [&str; 3] = ["router", "route", "http"];
const GATEWAY_REFS: [&str; 3] = ["router", "gateway", "refs"];

fn route_refs<'a>(case: &Case<'a>) -> Option<&'a Vec<Value>> {
    let refs = case.get(&["router", "route", "http", "refs"])?.as_array()?;
    (!refs.is_empty()).then_some(refs)
}

fn gateway_refs<'a>(case: &Case<'a>) -> &'a [Value] {
    case.get(&GATEWAY_REFS).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn refs_and_spec(case: &Case<'_>, report: &mut Report) {
    if route_refs(case).is_some() && case.get(&["router", "route", "http", "spec"]).is_some() {
        report.invalid(
            at(&HTTP),
            "refs and spec are both set",
            "keep refs for HTTPRoutes of your own, or spec for one that the controller makes",
        );
    }
}

fn refs_on_managed_gateway(case: &Case<'_>, report: &mut Report) {
    let is_managed = case.get(&["router", "gateway"]).is_some() && gateway_refs(case).is_empty();
    if is_managed && let Some(refs) = route_refs(case) {
        let names: Vec<&str> = refs.iter().filter_map(|item| text(item, &["name"])).collect();
        report.invalid(
            at(&HTTP).field("refs"),
            format!(
                "HTTPRoute {} is your own, and spec.router.gateway is a managed one",
                names.join(", ")
            ),
            "name your gateway in spec.router.gateway.refs, or remove these refs",
        );
    }
}

/// The gateways of both lists, if both are there, as sorted (namespace, name, section).
fn parents<'a>(case: &Case<'a>) -> Option<[Vec<[&'a str; 3]>; 2]> {
    let parents = case.get(&["router", "route", "http", "spec", "parentRefs"])?.as_array()?;
    let gateways = gateway_refs(case);
    if parents.is_empty() || gateways.is_empty() {
        return None;
    }
    Some([parents, gateways].map(|refs| {
        let mut keys: Vec<[&str; 3]> = refs
            .iter()
            .map(|item| {
                ["namespace", "name", "sectionName"]
                    .map(|member| text(item, &[member]).unwrap_or_default())
            })
            .collect();
        keys.sort_unstable();
        keys
    }))
}

fn printed(gateways: &[[&str; 3]]) -> String {
    let one = |[namespace, name, section]: &[&str; 3]| {
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let section = if section.is_empty() { String::new() } else { format!("#{section}") };
        format!("{namespace}{name}{section}")
    };
    gateways.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn conflicting_parents(case: &Case<'_>, report: &mut Report) {
    if let Some([parents, gateways]) = parents(case)
        && parents != gateways
    {
        report.invalid(
            at(&["router", "route", "http", "spec", "parentRefs"]),
            format!(
                "names {}, and spec.router.gateway.refs names {}",
                printed(&parents),
                printed(&gateways)
            ),
            "remove parentRefs: they follow from gateway.refs",
        );
    }
}

fn repeated_parents(case: &Case<'_>, report: &mut Report) {
    if let Some([parents, gateways]) = parents(case)
        && parents == gateways
    {
        report.invalid(
            at(&["router", "route", "http", "spec", "parentRefs"]),
            "repeats gateway.refs",
            "leave it out",
        );
    }
}

const GROUP: [&str; 3] = ["router", "route", "group"];
const WEIGHT: [&str; 3] = ["router", "route", "weight"];

fn group_with_ingress(case: &Case<'_>, report: &mut Report) {
    let set = [GROUP, WEIGHT].into_iter().find(|path| case.get(path).is_some());
    if let Some(path) = set
        && case.get(&["router", "ingress"]).is_some()
    {
        report.forbidden(
            at(&path),
            "an Ingress cannot split traffic",
            "remove spec.router.ingress, or group and weight",
        );
    }
}

fn group_without_weight(case: &Case<'_>, report: &mut Report) {
    match (case.get(&GROUP), case.get(&WEIGHT)) {
        (Some(group), None) => report.required(
            at(&WEIGHT),
            format!("missing, and group is {}", shown(group)),
            "write this service's share of the group's traffic, e.g. 100",
        ),
        (None, Some(weight)) => report.required(
            at(&GROUP),
            format!("missing, and weight is {}", shown(weight)),
            "write the name of the group that shares the traffic, or remove weight",
        ),
        _ => {}
    }
}

fn group_over_refs(case: &Case<'_>, report: &mut Report) {
    if let Some(group) = case.get(&GROUP)
        && route_refs(case).is_some()
    {
        report.forbidden(
            at(&GROUP),
            format!("{}: the controller cannot split traffic in an HTTPRoute of yours", shown(group)),
            "remove route.http.refs and let the controller make the route, or remove group and weight",
        );
    }
}
