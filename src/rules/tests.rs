use serde_json::json;

use super::*;

#[test]
fn findings_stand_in_the_order_of_the_fields() {
    let object = json!({"spec": {"b": [0, {"x": 1}], "a": 1}});
    let order = |path: &str| place(&object, &FieldPath::parse(path).unwrap());
    let mut paths =
        ["spec.zz", "spec.a", "spec.b[1].x", "spec.b[1]", "spec.b[0]", "metadata", "spec"];
    paths.sort_by_key(|path| order(path));
    assert_eq!(
        paths,
        ["spec", "spec.b[0]", "spec.b[1]", "spec.b[1].x", "spec.a", "spec.zz", "metadata"]
    );
}

#[test]
fn causes_that_are_named_exist() {
    for rule in catalogue() {
        for cause in rule.symptom_of {
            assert!(super::rule(cause).is_some(), "{}: {cause}", rule.code);
        }
    }
}

#[test]
fn a_rule_that_panics_finds_nothing_and_stops_no_other() {
    static BROKEN: Rule = Rule {
        code: "V999",
        family: "test",
        severity: Severity::Reject,
        title: "",
        why: "",
        accepted: "",
        reported: "",
        symptom_of: &[],
        check: Check::Both(|_, _| panic!("as asked")),
    };
    let snapshot = Snapshot::default();
    let object = read_example("spec: {replicas: -1}").unwrap().object;
    let request = Request { snapshot: &snapshot, namespace: "ns", object: &object, old: None };
    let findings = run(request, std::iter::once(&BROKEN).chain(catalogue()));
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["K111"]);
}

#[test]
fn what_is_no_service_has_no_findings() {
    let snapshot = Snapshot::default();
    for object in [
        json!(null),
        json!([]),
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}}),
        json!({"kind": "LLMInferenceService", "apiVersion": "serving.kserve.io/v9", "metadata": {"name": "s"}, "spec": {"replicas": -1}}),
        json!({"kind": "LLMInferenceService", "apiVersion": "serving.kserve.io/v1alpha2", "metadata": [], "spec": []}),
    ] {
        let request = Request { snapshot: &snapshot, namespace: "ns", object: &object, old: None };
        assert_eq!(check(request), []);
    }
}
