use serde_json::json;

use super::*;

/// Codes and severities of what all rules find in an example, in the order of the fields.
pub(super) fn found(text: &str) -> Vec<(&'static str, Severity)> {
    found_with(Settings::default(), text)
}

/// As [`found`], where the operator has set that.
pub(super) fn found_with(settings: Settings, text: &str) -> Vec<(&'static str, Severity)> {
    let example = read_example(text).unwrap();
    let mut loader = crate::catalog::files::Loader::new("default");
    for other in example.others {
        loader.document(std::path::Path::new("example"), 1, other);
    }
    let read = loader.finish(settings);
    let request = Request {
        snapshot: &read.snapshot,
        namespace: "default",
        object: &example.object,
        old: example.old.as_ref(),
    };
    check(request).into_iter().map(|finding| (finding.code, finding.severity)).collect()
}

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
        json!({"kind": "InferenceService", "apiVersion": "serving.kserve.io/v1beta1", "spec": []}),
    ] {
        let request = Request { snapshot: &snapshot, namespace: "ns", object: &object, old: None };
        assert_eq!(check(request), []);
    }
}

#[test]
fn what_cannot_be_read_is_one_finding() {
    let snapshot = Snapshot::default();
    for (version, metadata, spec, field) in [
        ("v9", json!({"name": "s"}), json!({"replicas": -1}), "apiVersion"),
        ("v1alpha2", json!({"name": "s"}), json!([]), "spec"),
        ("v1alpha2", json!([]), json!({"replicas": -1}), "metadata.name"),
    ] {
        let object = json!({
            "kind": "LLMInferenceService", "apiVersion": format!("serving.kserve.io/{version}"),
            "metadata": metadata, "spec": spec,
        });
        let request = Request { snapshot: &snapshot, namespace: "ns", object: &object, old: None };
        let findings = check(request);
        let told: Vec<_> = findings.iter().map(|it| (it.code, it.field.to_string())).collect();
        assert_eq!(told, [("C006", field.to_owned())]);
        assert_eq!(findings[0].severity, Severity::Reject);
        assert!(!findings[0].message.starts_with(field), "{:?}", findings[0]);
    }
}

/// What is found in an example with nothing else in the cluster.
pub(super) fn findings(text: &str) -> Vec<Finding> {
    let object = read_example(text).unwrap().object;
    let snapshot = Snapshot::default();
    check(Request { snapshot: &snapshot, namespace: "default", object: &object, old: None })
}
