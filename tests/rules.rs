//! Every rule on its own examples, through the webhook's path; and good manifests, which stay good.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

#[path = "support/shared.rs"]
mod data;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use data::shared;
use llmisvc_webhook::catalog::files::{Loader, flattened, manifests};
use llmisvc_webhook::catalog::{RuleSettings, Settings, Severity, Snapshot};
use llmisvc_webhook::cli::validate::check;
use llmisvc_webhook::presets::ReleaseSet;
use llmisvc_webhook::review::validate;
use llmisvc_webhook::rules::{self, Example, Finding, Rule, catalogue, read_example};
use llmisvc_webhook::yaml;
use serde_json::{Value, json};

/// What the webhook answers for an object, and what it was before.
fn review(snapshot: &Snapshot, object: &Value, old: Option<&Value>) -> Value {
    let body = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0a1b",
            "kind": {"group": "serving.kserve.io", "version": "v1alpha2", "kind": object["kind"]},
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "namespace": object["metadata"]["namespace"],
            "name": object["metadata"]["name"],
            "object": object,
            "oldObject": old,
        },
    });
    let answer = validate(&serde_json::to_vec(&body).unwrap(), snapshot).unwrap();
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["response"]["allowed"], answer.allowed);
    value["response"].clone()
}

/// The codes of an answer's causes, and those of its warnings.
fn told(response: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let causes = response["status"]["details"]["causes"].as_array().into_iter().flatten();
    let causes = causes.map(|cause| {
        let message = cause["message"].as_str().unwrap();
        let code = message.rsplit_once('(').unwrap().1;
        code.strip_suffix(')').unwrap().to_owned()
    });
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let warnings =
        warnings.map(|warning| warning.as_str().unwrap().split_once(':').unwrap().0.to_owned());
    (causes.collect(), warnings.collect())
}

/// The codes of an answer's causes and warnings.
fn codes(response: &Value) -> BTreeSet<String> {
    let (causes, warnings) = told(response);
    causes.into_iter().chain(warnings).collect()
}

fn snapshot(objects: &[Value], settings: Settings) -> Snapshot {
    let mut loader = Loader::new("default");
    for object in objects {
        loader.document(Path::new("example"), 1, object.clone());
    }
    let read = loader.finish(settings);
    assert_eq!(read.problems, []);
    read.snapshot
}

/// What is found in an example.
struct Found {
    example: Example,
    /// Codes, and whether each refuses the object.
    findings: BTreeSet<(String, bool)>,
    /// All of it, for a failure.
    shown: String,
}

impl Found {
    fn codes(&self) -> BTreeSet<&str> {
        self.findings.iter().map(|(code, _)| code.as_str()).collect()
    }

    fn allowed(&self) -> bool {
        self.findings.iter().all(|(_, refuses)| !refuses)
    }
}

/// Of a service or config, the webhook's answer; it does not look at workloads.
fn found(rule: &Rule, text: &str) -> Found {
    let example =
        read_example(text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", rule.code));
    let snapshot = snapshot(&example.others, Settings::default());
    let kind = example.object["kind"].as_str().unwrap();
    if kind.starts_with("LLMInferenceService") {
        let response = review(&snapshot, &example.object, example.old.as_ref());
        let (causes, warnings) = told(&response);
        let refused = causes.into_iter().map(|code| (code, true));
        let findings = refused.chain(warnings.into_iter().map(|code| (code, false))).collect();
        return Found { example, findings, shown: format!("{response:#}") };
    }
    let findings = rules::check(rules::Request {
        snapshot: &snapshot,
        namespace: "default",
        object: &example.object,
        old: None,
    });
    let shown = format!("{findings:#?}");
    let refuses = |finding: &Finding| finding.severity == Severity::Reject;
    let findings = findings.iter().map(|it| (it.code.to_owned(), refuses(it))).collect();
    Found { example, findings, shown }
}

#[test]
fn every_rule_accepts_and_reports_its_examples() {
    let mut failures = Vec::new();
    for rule in catalogue() {
        let accepted = found(rule, rule.accepted);
        if accepted.codes().contains(rule.code) {
            failures.push(format!("{} reports what it accepts: {}", rule.code, accepted.shown));
        }
        let reported = found(rule, rule.reported);
        let expected = BTreeSet::from([(rule.code.to_owned(), rule.severity == Severity::Reject)]);
        if reported.findings != expected {
            let shown = reported.shown;
            failures.push(format!("{} does not report its example alone: {shown}", rule.code));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Rules about an update, whose example has what the object was before: a file cannot show that.
const UPDATES: [&str; 2] = ["K031", "K093"];

#[test]
fn the_command_line_says_what_the_webhook_says() {
    let mut updates = BTreeSet::new();
    let mut failures = Vec::new();
    for rule in catalogue() {
        for text in [rule.accepted, rule.reported] {
            let Found { example, findings: expected, shown } = found(rule, text);
            if example.old.is_some() {
                updates.insert(rule.code);
                continue;
            }
            let mut loader = Loader::new("default");
            for other in example.others {
                loader.document(Path::new("other"), 1, other);
            }
            let text = yaml::to_string(&example.object);
            let file = (PathBuf::from("example.yaml"), Ok(text.clone()));
            let checked = check(vec![file], loader, Settings::default(), "default");
            let found: BTreeSet<(String, bool)> = checked
                .findings
                .iter()
                .map(|it| (it.finding.code.to_owned(), it.is_error()))
                .collect();
            if found != expected {
                failures.push(format!("{}: {found:?} for {shown}\n{text}", rule.code));
            }
            let source = &checked.files[0].source;
            for located in &checked.findings {
                let mark = located.mark.as_ref().unwrap();
                assert!(!source.text()[mark.span.clone()].is_empty(), "{}: {mark:?}", rule.code);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(updates, BTreeSet::from(UPDATES));
}

#[test]
fn an_accepted_example_is_good_for_all_rules() {
    for rule in catalogue() {
        let found = found(rule, rule.accepted);
        assert!(found.allowed(), "{}: {}", rule.code, found.shown);
    }
}

#[test]
fn the_catalogue_is_complete() {
    let mut seen = BTreeSet::new();
    for rule in catalogue() {
        let Rule { code, family, severity, title, why, .. } = rule;
        assert!(seen.insert(*code), "{code} is there twice");
        let (letter, digits) = code.split_at(1);
        assert!(["C", "K", "V"].contains(&letter), "{code}");
        assert!(digits.len() >= 2 && digits.bytes().all(|b| b.is_ascii_digit()), "{code}");
        assert!(!family.is_empty() && *severity != Severity::Off);
        assert!(title.len() <= 80 && !title.ends_with('.'), "{code}: {title}");
        assert!(why.ends_with(['.', ')']) && !why.contains("  "), "{code}: {why}");
    }
    assert_eq!(rules::rule("K051").unwrap().code, "K051");
    assert!(rules::rule("K000").is_none());
}

/// The shape from which kubectl prints one cause a line.
#[test]
fn a_refusal_has_a_cause_for_each_finding_in_the_order_of_the_fields() {
    let object = read_example(
        "
spec:
  replicas: 2
  scaling: {maxReplicas: 4, wva: {hpa: {}, keda: {}}}
  router: {scheduler: {replicas: 0}, gateway: {refs: [{name: gw}]}, route: {http: {spec: {parentRefs: [{name: gw}]}}}}
  prefill: {parallelism: {tensor: -1}}
",
    )
    .unwrap()
    .object;
    let response = review(&Snapshot::default(), &object, None);
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    assert_eq!(
        status["details"],
        json!({
            "name": "example", "group": "serving.kserve.io", "kind": "LLMInferenceService",
            "causes": [
                {"reason": "FieldValueInvalid", "field": "spec.scaling",
                 "message": "set, and replicas is 2; remove replicas to scale by load, or scaling for a fixed number (K051)"},
                {"reason": "FieldValueInvalid", "field": "spec.scaling.wva",
                 "message": "hpa and keda are both set; keep one of them (K054)"},
                {"reason": "FieldValueInvalid", "field": "spec.router.scheduler.replicas",
                 "message": "found 0; write 1 or more; to have no scheduler, remove spec.router.scheduler (K041)"},
                {"reason": "FieldValueInvalid", "field": "spec.prefill.parallelism.tensor",
                 "message": "found -1; write 1 or more, or leave it out (K024)"},
            ],
        })
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "LLMInferenceService.serving.kserve.io \"example\" is invalid: [spec.scaling: set, and"
        ),
        "{message}"
    );
    // What is no reason to refuse it is still said.
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
    assert!(response["warnings"][0].as_str().unwrap().starts_with("K004: spec.router.route.http"));
    assert_eq!(
        response["auditAnnotations"],
        json!({"decision": "invalid", "rules": "K024,K041,K051,K054"})
    );
}

#[test]
fn severities_are_the_operators() {
    let object = read_example("spec: {replicas: -1, router: {scheduler: {replicas: 0}}}").unwrap();
    let answered = |rules: RuleSettings| {
        let snapshot =
            Snapshot { settings: Settings { rules, ..Settings::default() }, ..Snapshot::default() };
        let response = review(&snapshot, &object.object, None);
        (response["allowed"] == true, codes(&response))
    };
    let cluster = |pairs: &[(&str, Severity)]| {
        pairs.iter().map(|(code, severity)| ((*code).to_owned(), *severity)).collect()
    };
    let both = ["K041", "K111"].map(str::to_owned);
    let rules =
        RuleSettings { cluster: cluster(&[("K111", Severity::Warn)]), ..RuleSettings::default() };
    assert_eq!(answered(rules), (false, BTreeSet::from(both.clone())));
    let rules = RuleSettings {
        cluster: cluster(&[("K111", Severity::Warn), ("K041", Severity::Warn)]),
        ..RuleSettings::default()
    };
    assert_eq!(answered(rules.clone()), (true, BTreeSet::from(both)));
    let namespaces = [("default".to_owned(), cluster(&[("K111", Severity::Off)]))].into();
    let rules = RuleSettings { namespaces, ..rules };
    assert_eq!(answered(rules), (true, BTreeSet::from(["K041".to_owned()])));
    let settings = Settings {
        rules: RuleSettings {
            cluster: cluster(&[("K111", Severity::Off), ("K999", Severity::Off)]),
            ..RuleSettings::default()
        },
        ..Settings::default()
    };
    assert_eq!(rules::unknown_codes(&settings), ["K999"]);
}

#[test]
fn what_was_invalid_before_can_still_be_changed() {
    let before = read_example("spec: {replicas: -1}").unwrap().object;
    let snapshot = Snapshot::default();

    // Another field: the old defect is a warning.
    let mut after = before.clone();
    after["spec"]["annotations"] = json!({"a": "b"});
    let response = review(&snapshot, &after, Some(&before));
    assert_eq!(response["allowed"], true);
    assert_eq!(codes(&response), BTreeSet::from(["K111".to_owned()]));

    // The same field, another wrong value: a new defect.
    after["spec"]["replicas"] = json!(-2);
    assert_eq!(review(&snapshot, &after, Some(&before))["allowed"], false);

    // A second defect beside it.
    after["spec"]["replicas"] = json!(-1);
    after["spec"]["router"] = json!({"scheduler": {"replicas": 0}});
    let response = review(&snapshot, &after, Some(&before));
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["details"]["causes"].as_array().unwrap().len(), 1);
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn controllers_are_not_stopped() {
    let mut before = read_example("spec: {replicas: -1}").unwrap().object;
    before["metadata"]["finalizers"] = json!(["a"]);
    let mut after = before.clone();
    after["metadata"]["finalizers"] = json!([]);
    let response = review(&Snapshot::default(), &after, Some(&before));
    assert_eq!((response["allowed"] == true, codes(&response).len()), (true, 0));

    // While it is being deleted, whatever changes.
    after["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    after["spec"]["replicas"] = json!(-2);
    let response = review(&Snapshot::default(), &after, Some(&before));
    assert_eq!((response["allowed"] == true, codes(&response).len()), (true, 0));
}

#[test]
fn a_service_that_has_its_name_generated_is_checked() {
    let mut object = read_example("spec: {replicas: -1}").unwrap().object;
    object["metadata"] = json!({"generateName": "chat-", "namespace": "default"});
    let response = review(&Snapshot::default(), &object, None);
    assert_eq!(codes(&response), BTreeSet::from(["K111".to_owned()]));
}

/// A config is tried with services that are not there yet: what is wrong with all of them is told
/// where the config says it, what depends on the service is not.
#[test]
fn a_config_is_refused_for_what_is_wrong_with_every_service_that_uses_it() {
    let config = |spec: &str| {
        let text = format!("kind: LLMInferenceServiceConfig\nspec:\n  {spec}");
        review(&Snapshot::default(), &read_example(&text).unwrap().object, None)
    };
    let response = config(
        "template: {containers: [{name: main, args: [--seed=1, '--kv-transfer-config={\"a\":}']}]}",
    );
    assert_eq!(codes(&response), BTreeSet::from(["V26".to_owned()]));
    assert_eq!(response["allowed"], false);
    let cause = &response["status"]["details"]["causes"][0];
    assert_eq!(cause["field"], "spec.template.containers[0].args[1]");

    // For a decode pool it is right, for a service without prefill it is not.
    let response = config(
        r#"template: {containers: [{name: main, args: ['--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer"}']}]}"#,
    );
    assert_eq!((response["allowed"] == true, codes(&response)), (true, BTreeSet::new()));

    // Both pools come from the config.
    let response = config(
        "template: {containers: [{name: main, args: [--dtype=half]}]}\n  \
         prefill: {template: {containers: [{name: main, args: [--dtype=bfloat16]}]}}",
    );
    assert_eq!(codes(&response), BTreeSet::from(["V13".to_owned()]), "{response:#}");
    assert_eq!(response["allowed"], true, "a later layer may write another");

    // What is missing may come from another config, or from the service.
    let response = config(
        "template: {containers: [{name: main, resources: {requests: {nvidia.com/gpu: 1}}}]}",
    );
    assert_eq!((response["allowed"] == true, codes(&response).len()), (true, 1));
}

/// Every service and config in the files of a folder.
fn objects(folder: &Path) -> Vec<(PathBuf, Value)> {
    let mut objects = Vec::new();
    for file in manifests(folder).unwrap() {
        for document in yaml::documents(&std::fs::read_to_string(&file).unwrap()) {
            for object in flattened(document.value.unwrap()) {
                let kind = object["kind"].as_str().unwrap_or_default();
                if kind.starts_with("LLMInferenceService") {
                    objects.push((file.clone(), object));
                }
            }
        }
    }
    objects
}

/// Published samples that do not work, and the rule that says why.
const REFUSED: [(&str, &str); 2] = [
    ("llm-inference-service-dp-ep-deepseek-r1-pd-gpu-p-deepep-ht-d-deepep-ht.yaml", "(V34)"),
    ("llm-inference-service-dp-ep-deepseek-r1-pd-gpu-p-deepep-ht-d-pplx.yaml", "(V34)"),
];

fn refuses_nothing(settings: &Settings, others: &[Value], checked: &[(PathBuf, Value)]) {
    let snapshot = snapshot(others, settings.clone());
    for (file, object) in checked {
        let mut object = object.clone();
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.entry("namespace").or_insert(json!("default"));
        let response = review(&snapshot, &object, None);
        let causes = response["status"]["details"]["causes"].as_array().into_iter().flatten();
        let refused = causes.map(|cause| cause["message"].as_str().unwrap());
        let is_known = |message: &str| {
            REFUSED.iter().any(|(name, code)| file.ends_with(name) && message.ends_with(code))
        };
        let refused: Vec<&str> = refused.filter(|message| !is_known(message)).collect();
        assert!(refused.is_empty(), "{}: {refused:#?}", file.display());
        println!("{}: {:?}", file.display(), response["warnings"]);
    }
}

#[test]
fn the_examples_are_not_refused() {
    let examples = objects(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"));
    assert!(examples.len() >= 4);
    let others: Vec<Value> = examples.iter().map(|(_, object)| object.clone()).collect();
    for presets in [ReleaseSet::V0_17, ReleaseSet::V0_20] {
        let settings = Settings { presets, ..Settings::default() };
        refuses_nothing(&settings, &others, &examples);
    }
}

#[test]
fn the_built_in_presets_are_not_refused() {
    for presets in [ReleaseSet::V0_17, ReleaseSet::V0_20] {
        let configs = presets.configs();
        assert!(!configs.is_empty());
        let checked: Vec<_> = configs
            .iter()
            .map(|config| (PathBuf::from(&config.key.name), config.object.clone()))
            .collect();
        refuses_nothing(&Settings { presets, ..Settings::default() }, &[], &checked);
    }
}

#[test]
fn the_published_samples_and_presets_are_not_refused() {
    let Some(kserve) = shared("kserve") else { return };
    for (release, built_in) in [("v0.17.0", ReleaseSet::V0_17), ("v0.20.0", ReleaseSet::V0_20)] {
        let samples = objects(&kserve.join(release).join("samples"));
        let presets = objects(&kserve.join(release).join("presets"));
        assert!(samples.len() >= 10 && presets.len() >= 8);
        let others: Vec<Value> = presets.iter().map(|(_, object)| object.clone()).collect();
        for (presets, others) in [(ReleaseSet::None, others.as_slice()), (built_in, &[])] {
            let settings = Settings { presets, ..Settings::default() };
            refuses_nothing(&settings, others, &samples);
        }
        let settings = Settings { presets: ReleaseSet::None, ..Settings::default() };
        refuses_nothing(&settings, &others, &presets);
    }
}

/// A cluster with the presets and the TLS that KServe's own samples are written for.
fn as_kserve() -> Snapshot {
    let settings = Settings { presets: ReleaseSet::V0_20, enable_tls: true, ..Settings::default() };
    Snapshot { settings, ..Snapshot::default() }
}

/// The rules of that list that say nothing of the object.
fn silent<'c>(object: &Value, expected: impl Iterator<Item = &'c str>) -> (Vec<&'c str>, Value) {
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!("default");
    let response = review(&as_kserve(), &object, None);
    let found = codes(&response);
    (expected.filter(|code| !found.contains(*code)).collect(), response)
}

/// Each says on its first line what it is known for.
#[test]
fn the_known_bad_manifests_are_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/known-bad");
    let known = objects(&folder);
    assert!(known.len() >= 7);
    for (file, object) in known {
        let text = std::fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("# finds: ").unwrap();
        let (silent, response) = silent(&object, expected.split(' '));
        assert!(silent.is_empty(), "{}: no {silent:?} in {response:#}", file.display());
    }
}

/// Published samples, and what is wrong with them.
#[test]
fn the_known_bad_samples_are_found() {
    // The newer one has the roles apart.
    const WIDE: &[&str] = &["V67", "V34", "V40"];
    const WIDE_BEFORE: &[&str] = &["V67", "V34", "V40", "V05"];
    const DEEPEP: &str =
        "llm-inference-service-dp-ep-deepseek-r1-pd-gpu-p-deepep-ht-d-deepep-ht.yaml";
    const PPLX: &str = "llm-inference-service-dp-ep-deepseek-r1-pd-gpu-p-deepep-ht-d-pplx.yaml";
    const SMALL: &str = "llm-inference-service-pd-qwen2-7b-gpu.yaml";
    const KNOWN: [(&str, &str, &[&str]); 6] = [
        ("v0.17.0", SMALL, &["V67"]),
        ("v0.17.0", DEEPEP, WIDE_BEFORE),
        ("v0.17.0", PPLX, WIDE_BEFORE),
        ("v0.20.0", SMALL, &["V67"]),
        ("v0.20.0", DEEPEP, WIDE),
        ("v0.20.0", PPLX, WIDE),
    ];
    let Some(kserve) = shared("kserve") else { return };
    for (release, name, expected) in KNOWN {
        let samples = objects(&kserve.join(release).join("samples"));
        let (_, object) = samples.iter().find(|(file, _)| file.ends_with(name)).unwrap();
        let (silent, response) = silent(object, expected.iter().copied());
        assert!(silent.is_empty(), "{release} {name}: no {silent:?} in {response:#}");
    }
}
