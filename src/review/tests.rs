use crate::decision::Warning;
use serde_json::{Value, json};

use super::*;
use crate::decision::Cause;
use crate::shared::shared;

fn review(object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0a1b",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "namespace": "llm",
            "object": object,
            "oldObject": null,
            "dryRun": true,
        },
    })
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"}, "spec": {"containers": []}})
}

fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut review = review(&pod());
    *review.pointer_mut(pointer).unwrap() = value;
    serde_json::to_vec(&review).unwrap()
}

fn without(parent: &str, name: &str) -> Vec<u8> {
    let mut review = review(&pod());
    let parent = review.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().remove(name).unwrap();
    serde_json::to_vec(&review).unwrap()
}

fn mutated(body: &[u8]) -> (Answer, Value) {
    let answer = mutate(body, &Snapshot::default()).unwrap();
    let value = serde_json::from_slice(&answer.body).unwrap();
    (answer, value)
}

fn refused(body: &[u8]) -> String {
    mutate(body, &Snapshot::default()).unwrap_err().to_string()
}

/// A body whose object is `text`, which need not be readable.
fn with_object_text(text: &str) -> String {
    let review = review(&json!("OBJECT")).to_string();
    review.replacen("\"OBJECT\"", text, 1)
}

#[test]
fn a_pod_that_is_not_ours_is_let_through() {
    let (answer, value) = mutated(&serde_json::to_vec(&review(&pod())).unwrap());
    assert_eq!(
        value,
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {
                "uid": "0a1b",
                "allowed": true,
                "auditAnnotations": {"decision": "not-opted-in"},
            },
        })
    );
    assert_eq!(answer.code, "not-opted-in");
    assert!(answer.dry_run);
    assert_eq!((answer.namespace.as_str(), answer.name.as_str()), ("llm", "web-"));
}

#[test]
fn the_version_is_echoed() {
    let (_, value) = mutated(&with("/apiVersion", json!("admission.k8s.io/v1beta1")));
    assert_eq!(value["apiVersion"], "admission.k8s.io/v1beta1");
}

#[test]
fn what_is_no_pod_being_created_is_left_alone() {
    let (answer, _) = mutated(&with("/request/operation", json!("UPDATE")));
    assert_eq!(answer.code, "not-create");
    let (answer, _) = mutated(&with("/request/kind/kind", json!("Binding")));
    assert_eq!(answer.code, "not-a-pod");
    let (answer, _) = mutated(&with("/request/kind/group", json!("example.com")));
    assert_eq!(answer.code, "not-a-pod");
    let mut body = review(&pod());
    body["request"]["subResource"] = json!("eviction");
    let (answer, _) = mutated(&serde_json::to_vec(&body).unwrap());
    assert_eq!(answer.code, "subresource");
}

#[test]
fn an_object_that_is_none_is_left_alone() {
    for object in [json!(null), json!([]), json!("x"), json!(1), json!(true)] {
        let (answer, value) = mutated(&with("/request/object", object));
        assert_eq!(answer.code, "no-object");
        assert_eq!(value["response"]["allowed"], true);
    }
    let (answer, _) = mutated(&without("/request", "object"));
    assert_eq!(answer.code, "no-object");
}

#[test]
fn an_unreadable_pod_is_refused_only_if_it_opted_in() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for bad in [deep.as_str(), "1e999", r#""\ud800""#] {
        let (answer, value) = mutated(with_object_text(&format!(r#"{{"x": {bad}}}"#)).as_bytes());
        assert_eq!((answer.code, answer.allowed), ("unreadable-object", true), "{value}");

        let ours = format!(
            r#"{{"metadata": {{"labels": {{"inject.llmisvc.io/service": "s"}}}}, "x": {bad}}}"#
        );
        let (answer, value) = mutated(with_object_text(&ours).as_bytes());
        assert_eq!((answer.code, answer.allowed), ("unreadable-object", false), "{value}");
        let message = value["response"]["status"]["message"].as_str().unwrap();
        assert!(message.contains("at line 1 column "), "{message}");

        let out = ours.replace("\"s\"", r#""s", "inject.llmisvc.io/inject": "false""#);
        let (answer, _) = mutated(with_object_text(&out).as_bytes());
        assert!(answer.allowed);
    }
}

#[test]
fn the_position_counts_from_the_start_of_the_body() {
    let text = with_object_text(
        "{\n\"metadata\": {\"labels\": {\"inject.llmisvc.io/service\": \"s\"}},\n  \"x\": 1e999}",
    );
    let body = format!("\n\n{text}");
    let (_, value) = mutated(body.as_bytes());
    let message = value["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("number out of range at line 5 column"), "{message}");

    // On the object's first line, what stands before it on that line counts too.
    let text = with_object_text(
        r#"{"metadata": {"labels": {"inject.llmisvc.io/service": "s"}}, "x": 1e999}"#,
    );
    let (_, value) = mutated(text.as_bytes());
    let message = value["response"]["status"]["message"].as_str().unwrap();
    let column: usize = message.rsplit(' ').next().unwrap().parse().unwrap();
    let expected = text.find("1e999").unwrap();
    assert!(column.abs_diff(expected) <= 6, "{message}, {expected}");
}

#[test]
fn what_is_malformed_is_told_with_its_place() {
    for (body, told) in [
        ("", "the body is empty"),
        (" \n", "the body is empty"),
        ("null", "the body is null"),
        ("[]", "the body is an array"),
        ("7", "the body is a number"),
        ("pod", "at line 1 column 1"),
        ("{", "at line 1 column 1"),
        ("{}", "apiVersion is missing"),
        ("{}{}", "trailing characters at line 1 column 3"),
        ("{\"kind\": 1,\n\"kind\": 2}", "duplicate field `kind` at line 2"),
    ] {
        let text = refused(body.as_bytes());
        assert!(text.contains(told), "{body:?}: {text}");
    }
    assert!(refused(b"{\"kind\": \"\xff\"}").contains("at line 1 column"));
    for (body, told) in [
        (without("", "request"), "request is missing"),
        (without("/request", "uid"), "request.uid is missing"),
        (without("/request", "kind"), "request.kind is missing"),
        (without("/request", "operation"), "request.operation is missing"),
        (with("/request", json!([])), "request is an array; it must be an object"),
        (with("/request/uid", json!("")), "request.uid is missing"),
        (with("/request/uid", json!(7)), "request.uid is a number"),
        (with("/request/uid", json!(null)), "request.uid is missing"),
        (with("/request/dryRun", json!("yes")), "request.dryRun is a string"),
        (with("/request/namespace", json!({})), "request.namespace is an object"),
        (with("/kind", json!("Review")), "kind is \"Review\"; it must be AdmissionReview"),
        (with("/apiVersion", json!("v1")), "apiVersion is \"v1\"; it must be admission"),
        (with("/apiVersion", json!(1)), "apiVersion is a number"),
    ] {
        let text = refused(&body);
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn deep_nesting_outside_of_the_object_does_not_matter() {
    let mut body = review(&pod()).to_string();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    body.insert_str(1, &format!("\"x\": {deep},"));
    assert_eq!(mutated(body.as_bytes()).0.code, "not-opted-in");
}

#[test]
fn a_refusal_reads_as_the_api_servers_own() {
    let body = serde_json::to_vec(&review(&pod())).unwrap();
    let envelope = Envelope::read(&body).unwrap();
    let refusal = Refusal {
        code: "unknown-service",
        message: "there is no service llm/x".to_owned(),
        causes: vec![Cause {
            field: "metadata.labels[inject.llmisvc.io/service]".to_owned(),
            message: "there is no service llm/x".to_owned(),
        }],
    };
    let answer = envelope.answer_for(&pod(), Verdict::Refused(refusal.clone())).unwrap();
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        value["response"],
        json!({
            "uid": "0a1b",
            "allowed": false,
            "status": {
                "status": "Failure",
                "message": "unknown-service: there is no service llm/x",
                "reason": "Invalid",
                "details": {
                    "name": "web-",
                    "kind": "Pod",
                    "causes": [{
                        "reason": "FieldValueInvalid",
                        "message": "there is no service llm/x (unknown-service)",
                        "field": "metadata.labels[inject.llmisvc.io/service]",
                    }],
                },
                "code": 422,
            },
            "auditAnnotations": {"decision": "unknown-service"},
        })
    );

    let causeless = Refusal { causes: Vec::new(), ..refusal };
    let answer = envelope.answer_for(&pod(), Verdict::Refused(causeless)).unwrap();
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["response"]["status"]["code"], 403);
    assert_eq!(value["response"]["status"]["reason"], "Forbidden");
}

#[test]
fn an_injection_has_its_patch_warnings_and_annotations() {
    use base64::Engine as _;

    let body = serde_json::to_vec(&review(&pod())).unwrap();
    let envelope = Envelope::read(&body).unwrap();
    let mut after = pod();
    after["spec"]["dnsPolicy"] = json!("None");
    let verdict = Verdict::Allowed {
        code: "injected",
        patch: json::patch(&pod(), after.clone(), json::pod()).unwrap(),
        warnings: vec![Warning { code: "w", message: "m".to_owned() }],
        blueprint: Some("sha256:1".to_owned()),
        configs: vec!["a".to_owned(), "b".to_owned()],
        added: None,
    };
    let answer = envelope.answer_for(&pod(), verdict).unwrap();
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    let response = &value["response"];
    assert_eq!(response["patchType"], "JSONPatch");
    assert_eq!(response["warnings"], json!(["w: m"]));
    assert_eq!(
        response["auditAnnotations"],
        json!({"decision": "injected", "blueprint": "sha256:1", "configs": "a,b"})
    );
    let patch = base64::engine::general_purpose::STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut patched = pod();
    json_patch::patch(&mut patched, &patch).unwrap();
    assert_eq!(patched, after);
}

#[test]
fn validation_looks_only_at_our_kinds_being_written() {
    let check = |body: &[u8]| validate(body, &Snapshot::default()).unwrap();
    assert_eq!(check(&serde_json::to_vec(&review(&pod())).unwrap()).code, "other-kind");

    let mut ours = review(&json!(null));
    ours["request"]["kind"] =
        json!({"group": GROUP, "version": "v1alpha2", "kind": "LLMInferenceService"});
    let answer = check(&serde_json::to_vec(&ours).unwrap());
    assert_eq!((answer.code, answer.allowed), ("no-object", false));
    ours["request"]["operation"] = json!("DELETE");
    assert_eq!(check(&serde_json::to_vec(&ours).unwrap()).code, "not-a-write");
    ours["request"]["subResource"] = json!("status");
    assert_eq!(check(&serde_json::to_vec(&ours).unwrap()).code, "subresource");
}

fn example(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn services() -> Snapshot {
    let paths = ["qwen2-7b-pd.yaml", "deepseek-r1-data-parallel.yaml"]
        .map(|name| format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR")).into());
    let loaded = crate::catalog::files::load(&paths, crate::catalog::Settings::default());
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.snapshot
}

/// The object of a review with the answer's patch applied, and whether there was one.
fn patched(review: &Value, answer: &Answer) -> (Value, bool) {
    use base64::Engine as _;

    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    let mut object = review["request"]["object"].clone();
    let Some(patch) = value["response"]["patch"].as_str() else {
        assert!(value["response"].get("patchType").is_none());
        return (object, false);
    };
    assert_eq!(value["response"]["patchType"], "JSONPatch");
    let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    (object, true)
}

#[test]
fn the_patch_of_an_example_gives_the_pod_that_was_decided_and_then_nothing() {
    let snapshot = services();
    for name in ["deployment-decode", "deployment-prefill", "lws-leader", "lws-worker"] {
        let body = example(&format!("reviews/{name}.json"));
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        let answer = mutate(&body, &snapshot).unwrap();
        assert_eq!((answer.code, answer.allowed), (crate::decision::INJECTED, true), "{name}");

        let pod = &review["request"]["object"];
        let namespace = review["request"]["namespace"].as_str().unwrap();
        let request = PodRequest { namespace, pod, mode: Mode::Admission };
        let decided = rules::decide(&snapshot, request).unwrap().pod.unwrap();
        let (after, changed) = patched(&review, &answer);
        assert!(changed);
        assert_eq!(after, decided, "{name}");

        review["request"]["object"] = after;
        let again = mutate(&serde_json::to_vec(&review).unwrap(), &snapshot).unwrap();
        assert!(again.allowed);
        assert!(!patched(&review, &again).1, "{name}");
    }
}

#[test]
fn the_wrong_type_anywhere_in_a_pod_is_answered_and_never_a_denial_unasked() {
    let snapshot = services();
    let review: Value = serde_json::from_slice(&example("reviews/deployment-decode.json")).unwrap();
    let mut unasked = review.clone();
    let labels = &mut unasked["request"]["object"]["metadata"]["labels"];
    labels.as_object_mut().unwrap().retain(|label, _| !label.contains("llmisvc"));
    let mut answered = 0;
    for (review, asked) in [(review, true), (unasked, false)] {
        for pointer in pointers(&review["request"]["object"]) {
            for wrong in
                [json!(null), json!(7), json!(-1.5), json!("x"), json!([]), json!({}), json!([[]])]
            {
                let mut review = review.clone();
                *review["request"]["object"].pointer_mut(&pointer).unwrap() = wrong.clone();
                let answer = mutate(&serde_json::to_vec(&review).unwrap(), &snapshot).unwrap();
                assert_ne!(answer.code, "internal-error", "{pointer}: {wrong}");
                assert!(asked || answer.allowed, "{pointer}: {wrong}");
                if answer.allowed {
                    patched(&review, &answer);
                }
                answered += 1;
            }
        }
    }
    assert!(answered > 500, "{answered}");
}

/// Every place in a document, as JSON pointers.
fn pointers(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
            map.iter().map(|(key, value)| (escape(key), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    let below = children.iter().flat_map(|(key, value)| {
        pointers(value).into_iter().map(move |rest| format!("/{key}{rest}"))
    });
    std::iter::once(String::new()).chain(below).collect()
}

/// Reviews that a real API server sent, where they are at hand.
#[test]
fn recorded_reviews_are_read() {
    let Some(reviews) = shared("reviews") else {
        eprintln!("skipped: no recorded reviews here");
        return;
    };
    let mut read = 0;
    for entry in std::fs::read_dir(reviews).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let body = std::fs::read(&path).unwrap();
        let sent: Value = serde_json::from_slice(&body).unwrap();
        let (answer, value) = mutated(&body);
        assert_eq!(value["response"]["uid"], sent["request"]["uid"], "{}", path.display());
        assert_eq!(value["apiVersion"], sent["apiVersion"]);
        assert_eq!(answer.namespace, sent["request"]["namespace"].as_str().unwrap());
        assert_eq!(answer.dry_run, path.ends_with("bare-pod-dry-run.json"));
        assert!(!answer.name.is_empty());
        read += 1;
    }
    assert!(read > 0);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_answered_or_told(bytes: Vec<u8>) {
        let _ = mutate(&bytes, &Snapshot::default());
        let _ = validate(&bytes, &Snapshot::default());
    }

    #[test]
    fn any_cut_or_broken_review_is_answered_or_told(at in 0_usize..400, byte: u8, cut: bool) {
        let mut body = serde_json::to_vec(&review(&pod())).unwrap();
        let at = at % body.len();
        if cut {
            body.truncate(at);
        } else {
            body[at] = byte;
        }
        let _ = mutate(&body, &Snapshot::default());
    }
}
