use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::inject::{Decision, Mode, PodRequest, Refusal, decide};

fn object(kind: Kind, name: &str, spec: &Value) -> Item {
    item(json!({
        "apiVersion": "serving.kserve.io/v1alpha2", "kind": kind.name(),
        "metadata": {"name": name, "namespace": "ns", "uid": "1"}, "spec": spec,
    }))
}

fn item(object: Value) -> Item {
    let Value::Object(members) = object else { panic!("not an object") };
    Item::of(members)
}

fn config(value: &str) -> Item {
    object(Kind::Configs, "base", &json!({"template": {"containers": [{"name": value}]}}))
}

fn namespace(name: &str, labels: &Value) -> Item {
    let metadata = json!({"name": name, "labels": labels});
    item(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
}

const BROKEN: &str = "{{ .Spec.Model.Name ";

/// A store that knows its kinds, with the first snapshot taken.
fn listed() -> Store {
    let mut store = Store::new();
    for kind in Kind::ALL {
        store.apply(Change::Listed(kind, Vec::new()));
    }
    store.changed(&Settings::default()).unwrap();
    store
}

fn base(snapshot: &Snapshot) -> &Value {
    let config = &snapshot.configs[&ObjectKey::new("ns", "base")];
    &config.object["spec"]["template"]["containers"][0]["name"]
}

fn snapshot(store: &mut Store) -> Snapshot {
    store.changed(&Settings::default()).expect("something has changed")
}

fn is_unchanged(store: &mut Store) -> bool {
    store.changed(&Settings::default()).is_none()
}

#[test]
fn what_decides_nothing_is_not_kept() {
    let full = json!({
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {
            "name": "s", "namespace": "ns", "uid": "1", "resourceVersion": "7", "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "labels": {"team": "a"},
        },
        "spec": {"model": {"name": "m"}, "newer": {"than": "this"}},
        "status": {"conditions": []},
    });
    let Value::Object(members) = full.clone() else { panic!("not an object") };
    let kept = stripped(members);
    assert_eq!(kept["spec"], full["spec"]);
    let metadata = json!({"name": "s", "namespace": "ns", "uid": "1", "labels": {"team": "a"}});
    assert_eq!(kept["metadata"], metadata);
    assert_eq!(kept.get("status"), None);

    let mut annotated = full;
    annotated["metadata"]["annotations"]["mine"] = json!("x");
    let Value::Object(members) = annotated else { panic!("not an object") };
    assert_eq!(stripped(members)["metadata"]["annotations"], json!({"mine": "x"}));
}

#[test]
fn nothing_is_known_before_it_was_listed_or_found_missing() {
    let mut store = Store::new();
    let waiting = snapshot(&mut store).waiting.unwrap();
    assert!(waiting.starts_with("waiting for LLMInferenceServices to be listed, "), "{waiting}");

    store.apply(Change::Listed(Kind::Services, Vec::new()));
    let trouble = Trouble::Refused("forbidden".to_owned());
    store.apply(Change::Failing(Kind::Configs, trouble.clone()));
    let waiting = snapshot(&mut store).waiting.unwrap();
    assert_eq!(
        waiting,
        "waiting for LLMInferenceServiceConfigs to be listed (forbidden), Namespaces to be listed"
    );
    store.apply(Change::Failing(Kind::Configs, trouble.clone()));
    assert!(is_unchanged(&mut store));

    store.apply(Change::NotInstalled(Kind::Configs));
    store.apply(Change::Listed(Kind::Namespaces, Vec::new()));
    let complete = snapshot(&mut store);
    assert_eq!((complete.waiting, complete.no_such_kind), (None, false));

    // Once known, it stays known, whatever becomes of the API server.
    for kind in Kind::ALL {
        store.apply(Change::Failing(kind, trouble.clone()));
    }
    assert!(is_unchanged(&mut store));
}

#[test]
fn a_kind_that_is_uninstalled_takes_its_objects_along() {
    let mut store = listed();
    let service = object(Kind::Services, "s", &json!({}));
    store.apply(Change::Applied(Kind::Services, service.clone()));
    assert_eq!(snapshot(&mut store).services.len(), 1);
    store.apply(Change::NotInstalled(Kind::Services));
    let gone = snapshot(&mut store);
    assert_eq!((gone.services.len(), gone.no_such_kind), (0, true));
    store.apply(Change::NotInstalled(Kind::Services));
    assert!(is_unchanged(&mut store));
    store.apply(Change::Listed(Kind::Services, vec![service]));
    let back = snapshot(&mut store);
    assert_eq!((back.services.len(), back.no_such_kind), (1, false));
}

#[test]
fn a_config_that_breaks_keeps_its_last_good_version_and_says_so_once() {
    let mut store = listed();
    let key = ObjectKey::new("ns", "base");
    store.apply(Change::Applied(Kind::Configs, config("good")));
    assert!(snapshot(&mut store).stale.is_empty());

    store.apply(Change::Applied(Kind::Configs, config(BROKEN)));
    let stale = snapshot(&mut store);
    assert_eq!(base(&stale), "good");
    let reason = &stale.stale[&key];
    assert!(reason.starts_with("spec.template.containers[0].name: line 1"), "{reason}");
    let found = store.found();
    let [Found::Broken(broken)] = found.as_slice() else { panic!("{found:?}") };
    assert!(broken.has_good && broken.key == key && config(BROKEN).object == broken.object);

    // The same again, by a watch or by a list, is nothing new.
    store.apply(Change::Applied(Kind::Configs, config(BROKEN)));
    store.apply(Change::Listed(Kind::Configs, vec![config(BROKEN)]));
    assert!(is_unchanged(&mut store) && store.found().is_empty());

    // Broken otherwise: told, and still the last good one.
    store.apply(Change::Applied(Kind::Configs, config("{{ end }}")));
    assert_eq!(base(&snapshot(&mut store)), "good");
    assert_eq!(store.found().len(), 1);

    for mended in ["good", "better"] {
        store.apply(Change::Applied(Kind::Configs, config(mended)));
        let fresh = snapshot(&mut store);
        assert_eq!((base(&fresh), fresh.stale.len()), (&json!(mended), 0));
        assert_eq!(store.found(), [Found::Mended(key.clone())]);
        store.apply(Change::Applied(Kind::Configs, config(BROKEN)));
        assert_eq!(base(&snapshot(&mut store)), mended);
        store.found();
    }

    store.apply(Change::Deleted(Kind::Configs, key.clone()));
    let gone = snapshot(&mut store);
    assert!(gone.configs.is_empty() && gone.stale.is_empty());
    assert_eq!(store.found(), [Found::Mended(key)]);
}

#[test]
fn a_config_that_was_never_good_is_taken_as_it_is() {
    let mut store = listed();
    store.apply(Change::Applied(Kind::Configs, config(BROKEN)));
    let taken = snapshot(&mut store);
    assert_eq!(base(&taken), BROKEN);
    assert!(taken.stale.is_empty(), "there is no last good version");
    let found = store.found();
    let [Found::Broken(broken)] = found.as_slice() else { panic!("{found:?}") };
    assert!(!broken.has_good);

    store.apply(Change::Applied(Kind::Configs, config("{{ end }}")));
    let taken = snapshot(&mut store);
    assert_eq!((base(&taken), taken.stale.len()), (&json!("{{ end }}"), 0));
    store.apply(Change::Applied(Kind::Configs, config("good")));
    assert_eq!(base(&snapshot(&mut store)), "good");
}

#[test]
fn a_namespace_counts_while_it_has_the_label() {
    let mut store = listed();
    let labelled = |fabric: &str| namespace("ns", &json!({FABRIC: fabric}));
    store.apply(Change::Applied(Kind::Namespaces, namespace("other", &json!({}))));
    assert!(is_unchanged(&mut store));
    store.apply(Change::Applied(Kind::Namespaces, labelled("efa")));
    assert_eq!(snapshot(&mut store).fabrics["ns"], "efa");
    store.apply(Change::Applied(Kind::Namespaces, labelled("efa")));
    assert!(is_unchanged(&mut store));
    store.apply(Change::Applied(Kind::Namespaces, namespace("ns", &json!({}))));
    assert!(snapshot(&mut store).fabrics.is_empty());
}

#[test]
fn a_service_that_cannot_be_read_leaves_the_one_that_could() {
    let mut store = listed();
    store.apply(Change::Applied(Kind::Services, object(Kind::Services, "s", &json!({"a": 1}))));
    snapshot(&mut store);
    store.apply(Change::Applied(Kind::Services, object(Kind::Services, "s", &json!([]))));
    assert!(is_unchanged(&mut store));
}

/// What becomes of a pod that asks for a service.
fn decided(snapshot: &Snapshot, service: &str) -> Result<Decision, Refusal> {
    let pod = json!({
        "metadata": {"labels": {"inject.llmisvc.io/service": service}},
        "spec": {"containers": [{"name": "main", "image": "auto"}]},
    });
    decide(snapshot, PodRequest { namespace: "ns", pod: &pod, mode: Mode::Admission })
}

#[test]
fn a_pod_is_told_that_a_last_good_version_is_used() {
    let mut store = listed();
    let spec = json!({"model": {"uri": "hf://a/b"}, "baseRefs": [{"name": "base"}]});
    store.apply(Change::Applied(Kind::Services, object(Kind::Services, "s", &spec)));
    store.apply(Change::Applied(Kind::Configs, config("main")));
    assert_eq!(decided(&snapshot(&mut store), "s").unwrap().warnings, []);

    store.apply(Change::Applied(Kind::Configs, config(BROKEN)));
    let warnings = decided(&snapshot(&mut store), "s").unwrap().warnings;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    let start = "LLMInferenceServiceConfig ns/base: its last good version is used: spec.template.";
    assert_eq!(warning.code, "stale-config");
    assert!(warning.message.starts_with(start), "{}", warning.message);

    store.apply(Change::Applied(Kind::Configs, config("main")));
    assert_eq!(decided(&snapshot(&mut store), "s").unwrap().warnings, []);
}

#[test]
fn a_refusal_says_what_the_cluster_lacks() {
    let mut store = Store::new();
    store.apply(Change::NotInstalled(Kind::Services));
    let refusal = decided(&snapshot(&mut store), "s").unwrap_err();
    assert_eq!(refusal.code, "catalog-not-ready");
    assert!(refusal.message.contains("waiting for LLMInferenceServiceConfigs to be listed"));

    store.apply(Change::Listed(Kind::Configs, Vec::new()));
    store.apply(Change::Listed(Kind::Namespaces, Vec::new()));
    let refusal = decided(&snapshot(&mut store), "s").unwrap_err();
    assert_eq!(refusal.code, "unknown-service");
    assert!(refusal.message.contains("CustomResourceDefinitions"), "{}", refusal.message);

    store.apply(Change::Listed(Kind::Services, Vec::new()));
    let refusal = decided(&snapshot(&mut store), "s").unwrap_err();
    assert!(refusal.message.ends_with("there are no services"), "{}", refusal.message);
}

/// An event of a watch: which of a few objects, and what becomes of it; none deletes it.
type Step = (bool, u8, Option<u8>);

fn step() -> impl Strategy<Value = Step> {
    (any::<bool>(), 0..3_u8, proptest::option::weighted(0.8, 0..3_u8))
}

fn change((is_service, name, spec): Step) -> Change {
    let kind = if is_service { Kind::Services } else { Kind::Configs };
    let name = format!("o{name}");
    match spec {
        Some(spec) => Change::Applied(kind, object(kind, &name, &json!({"n": spec}))),
        None => Change::Deleted(kind, ObjectKey::new("ns", name)),
    }
}

fn lists(steps: &[Step]) -> Vec<Change> {
    [true, false]
        .into_iter()
        .map(|is_service| {
            let kind = if is_service { Kind::Services } else { Kind::Configs };
            let last: BTreeMap<u8, Option<u8>> = steps
                .iter()
                .filter(|step| step.0 == is_service)
                .map(|(_, name, spec)| (*name, *spec))
                .collect();
            let objects = last.into_iter().filter_map(|(name, spec)| {
                Some(object(kind, &format!("o{name}"), &json!({"n": spec?})))
            });
            Change::Listed(kind, objects.collect())
        })
        .collect()
}

proptest! {
    /// However they were told of, the same objects make the same snapshot; and one is made exactly
    /// when it differs from the last.
    #[test]
    fn a_snapshot_is_what_there_is_now(steps in prop::collection::vec(step(), 0..40)) {
        let (mut told, mut last) = (listed(), Snapshot::default());
        for step in &steps {
            told.apply(change(*step));
            let now = told.snapshot(&Settings::default());
            let differs = now.services != last.services || now.configs != last.configs;
            prop_assert_eq!(told.changed(&Settings::default()).is_some(), differs);
            last = now;
        }
        let mut relisted = listed();
        for list in lists(&steps) {
            relisted.apply(list.clone());
            told.apply(list);
        }
        prop_assert!(told.changed(&Settings::default()).is_none());
        let relisted = relisted.snapshot(&Settings::default());
        prop_assert_eq!(relisted.services, last.services);
        prop_assert_eq!(relisted.configs, last.configs);
    }
}
