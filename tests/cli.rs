//! The built program, run as a user runs it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use llmisvc_webhook::yaml;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How a run ended and what it printed.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn documents(&self) -> Vec<Value> {
        yaml::documents(&self.out).into_iter().map(|document| document.value.unwrap()).collect()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }

    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.err.contains(words), "{words:?} is missing: {self:#?}");
        self
    }
}

fn run(args: &[&str]) -> Run {
    run_with(args, "")
}

fn run_with(args: &[&str], stdin: &str) -> Run {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends without reading closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmisvc-webhook"));
    command.args(args).env_remove("NO_COLOR");
    command
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

const SERVICE: &str = "\
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata:
  name: tiny
spec:
  model:
    uri: hf://acme/tiny
    name: acme/tiny
  replicas: 1
  template:
    containers:
    - name: main
      image: example.com/vllm:1
      command: [vllm, serve]
";

fn review(labels: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0f0f",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default",
            "operation": "CREATE",
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "p", "labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
            },
        },
    })
}

mod general {
    use super::*;

    #[test]
    fn help_and_version_are_no_errors() {
        assert!(run(&["--version"]).ends(0).out.starts_with("llmisvc-webhook "));
        for command in ["review", "inject", "compose", "render", "presets", "completions"] {
            let help = run(&[command, "--help"]).ends(0).out;
            assert!(help.contains("Example") && help.contains("Exit codes"), "{help}");
            assert!(run(&["--help"]).ends(0).out.contains(command));
        }
    }

    #[test]
    fn wrong_use_ends_with_two() {
        run(&[]).ends(2);
        run(&["nonsense"]).ends(2);
        run(&["inject"]).ends(2);
        run(&["inject", "-", "--presets", "v9"]).ends(2).says("v0.17");
        run(&["compose", "-", "-o", "xml"]).ends(2);
        run(&["completions", "tcsh"]).ends(2);
        run(&["review", "-", "--url", "https://localhost/mutate"]).ends(2).says("--ca-file");
        run(&["review", "-", "--ca-file", "x"]).ends(2).says("--url");
    }

    #[test]
    fn a_missing_file_ends_with_two() {
        for command in ["review", "inject", "compose", "render"] {
            run(&[command, "/nowhere/at/all.yaml"])
                .ends(2)
                .says("error: ")
                .says("/nowhere/at/all.yaml");
            run_with(&[command, "-", "--objects", "/nowhere/at/all.yaml"], SERVICE)
                .ends(2)
                .says("--objects /nowhere/at/all.yaml: no such file or directory");
        }
    }

    #[test]
    fn unreadable_input_ends_with_two() {
        let broken: [(&str, &[u8]); 4] = [
            ("not-yaml.yaml", b"a: [1\nb: 2\n"),
            ("binary.yaml", b"\x7fELF\x02\x01\x01\x00\xff\xfe\x00"),
            ("empty.yaml", b""),
            ("scalar.yaml", b"just words\n"),
        ];
        let folder = folder(&broken);
        for command in ["review", "inject", "compose", "render"] {
            for (name, _) in broken {
                let run = run(&[command, &path(&folder, name)]).ends(2).says("error: ");
                assert_eq!(run.out.replace("[]", ""), run.out, "{command} {name}");
            }
        }
        run(&["inject", &path(&folder, "not-yaml.yaml")]).says("not-yaml.yaml:2:");
        run(&["inject", &path(&folder, "binary.yaml")]).says("UTF-8");
    }

    #[test]
    fn an_objects_path_of_which_nothing_can_be_read_ends_with_two() {
        let folder = folder(&[("a.yaml", b"a: [\n"), ("b.yaml", b"\xff")]);
        run_with(&["compose", "-", "--objects", folder.path().to_str().unwrap()], SERVICE)
            .ends(2)
            .says("a.yaml:")
            .says("b.yaml: ")
            .says("nothing that --objects names could be read");
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        let many = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n---\n".repeat(20_000);
        let mut child = command(&["inject", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        child.stdin.take().unwrap().write_all(many.as_bytes()).unwrap();
        let mut first = [0; 16];
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }

    #[test]
    fn completions_are_scripts() {
        assert!(run(&["completions", "bash"]).ends(0).out.contains("complete -F"));
        assert!(run(&["completions", "zsh"]).ends(0).out.starts_with("#compdef llmisvc-webhook"));
        assert!(run(&["completions", "fish"]).ends(0).out.contains("complete -c llmisvc-webhook"));
    }
}

mod presets {
    use super::*;

    #[test]
    fn each_listed_config_can_be_shown() {
        for set in ["v0.17", "v0.20"] {
            let names = run(&["presets", "list", "--presets", set]).ends(0).out;
            assert!(names.lines().count() >= 6, "{names}");
            for name in names.lines() {
                let shown = run(&["presets", "show", name, "--presets", set]).ends(0);
                assert_eq!(shown.documents()[0]["kind"], json!("LLMInferenceServiceConfig"));
                let as_json =
                    run(&["presets", "show", name, "--presets", set, "-o", "json"]).ends(0);
                assert_eq!(as_json.json(), shown.documents()[0]);
            }
            let list = run(&["presets", "list", "--presets", set, "-o", "json"]).ends(0).json();
            assert_eq!(list["items"].as_array().unwrap().len(), names.lines().count());
            let documents =
                run(&["presets", "list", "--presets", set, "-o", "yaml"]).ends(0).documents();
            assert_eq!(json!(documents), list["items"]);
        }
        assert_eq!(run(&["presets", "list", "--presets", "none"]).ends(0).out, "");
    }

    #[test]
    fn an_unknown_name_gets_a_hint_and_the_list() {
        run(&["presets", "show", "kserve-config-llm-decode-templat"])
            .ends(2)
            .says("did you mean kserve-config-llm-decode-template?")
            .says("\n  kserve-config-llm-template");
        let run = run(&["presets", "show", "zzz"]).ends(2);
        assert!(!run.err.contains("did you mean"), "{run:?}");
        super::run(&["presets", "show", "x", "--presets", "none"]).ends(2).says("empty");
    }
}

mod inject {
    use super::*;

    /// Objects of every kind that has pods, none of which opts in, and some that have none.
    fn objects() -> Vec<Value> {
        let template = json!({
            "metadata": {"labels": {"app": "x"}, "annotations": null},
            "spec": {"containers": [{"name": "c", "image": "i:1", "args": ["yes", "0644", "1e3", ""]}]},
        });
        let workload = |api_version: &str, kind: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        let templated = json!({"replicas": 2, "template": template});
        vec![
            workload("v1", "Pod", template["spec"].clone()),
            workload("apps/v1", "Deployment", templated.clone()),
            workload("apps/v1", "StatefulSet", templated.clone()),
            workload("apps/v1", "DaemonSet", templated.clone()),
            workload("apps/v1", "ReplicaSet", templated.clone()),
            workload("v1", "ReplicationController", templated.clone()),
            workload("batch/v1", "Job", templated.clone()),
            workload("batch/v1", "CronJob", json!({"jobTemplate": {"spec": templated}})),
            workload(
                "leaderworkerset.x-k8s.io/v1",
                "LeaderWorkerSet",
                json!({"leaderWorkerTemplate": {"leaderTemplate": template, "workerTemplate": template}}),
            ),
            workload(
                "leaderworkerset.x-k8s.io/v1",
                "LeaderWorkerSet",
                json!({"leaderWorkerTemplate": {"workerTemplate": template, "size": 2}}),
            ),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"},
                "data": {"on": "a\nb\n", "tricky": "#!/bin/sh\n\techo \"$X\"\n \n", "f": "1.0"}}),
            json!({"apiVersion": "example.com/v1", "kind": "Deployment", "spec": {"template": 1}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": "odd"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
            json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [
                {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod"}]},
                {"apiVersion": "v1", "kind": "PodList", "items": [{"spec": {"containers": []}}]},
                {"apiVersion": "v1", "kind": "List", "items": []},
            ]}),
        ]
    }

    fn stream(objects: &[Value]) -> String {
        objects.iter().map(yaml::to_string).collect::<Vec<_>>().join("---\n")
    }

    #[test]
    fn what_did_not_opt_in_comes_out_as_it_went_in() {
        let objects = objects();
        let run = run_with(&["inject", "-"], &stream(&objects)).ends(0);
        assert_eq!(run.documents(), objects);
        let as_json = run_with(&["inject", "-", "-o", "json"], &stream(&objects)).ends(0);
        assert_eq!(as_json.json()["items"], json!(objects));
        let one = run_with(&["inject", "-", "-o", "json"], &objects[1].to_string()).ends(0);
        assert_eq!(one.json(), objects[1]);
        // What was printed is read again, and nothing more happens to it.
        assert_eq!(run_with(&["inject", "-"], &run.out).ends(0).out, run.out);
    }

    #[test]
    fn each_decision_is_said_by_name() {
        let run = run_with(&["inject", "-", "-n", "prod"], &stream(&objects())).ends(0);
        for name in [
            "pod/prod/x: ",
            "deployment/prod/x: ",
            "cronjob/prod/x: ",
            "leaderworkerset/prod/x leader: ",
            "leaderworkerset/prod/x worker: ",
        ] {
            assert!(run.err.contains(name), "{name} {}", run.err);
        }
        assert!(!run.err.contains("configmap"), "{}", run.err);
        let named = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: y-, namespace: own}\n";
        run_with(&["inject", "-", "-n", "prod"], named).ends(0).says("pod/own/y-: ");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let named = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\u001b[2Jx"}}"#;
        let run = run_with(&["inject", "-"], named).ends(0);
        assert!(!run.err.contains('\u{1b}') && !run.out.contains('\u{1b}'), "{run:?}");
    }

    #[test]
    fn a_directory_is_read_in_order_and_a_broken_file_costs_only_itself() {
        let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
        let folder = folder(&[
            ("2.yml", pod("two").as_bytes()),
            ("1.yaml", format!("{}---\n{}", pod("one"), pod("more")).as_bytes()),
            ("3.yaml", b"kind: [\n"),
            ("4.json", br#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "four"}}"#),
            ("5.txt", b"not read"),
        ]);
        let run = run(&["inject", folder.path().to_str().unwrap()]).ends(2).says("3.yaml:");
        let names: Vec<Value> =
            run.documents().iter().map(|object| object["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["one", "more", "two", "four"]);
    }

    #[test]
    fn a_broken_document_costs_only_itself() {
        let text = "kind: A\n---\nkind: [\n---\nkind: B\n";
        let run = run_with(&["inject", "-"], text).ends(2).says("error: standard input:");
        assert_eq!(run.documents(), [json!({"kind": "A"}), json!({"kind": "B"})]);
    }

    #[test]
    fn refused_objects_are_left_out() {
        let pod = |name: &str, labels: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
                "spec": {"containers": [{"name": "main", "image": "auto"}]}})
        };
        let wrong = pod("wrong", json!({"inject.llmisvc.io/service": "no-such-service"}));
        let right = pod("right", json!({}));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [wrong, right]});
        let run = run_with(&["inject", "-"], &stream(&[wrong.clone(), list, right.clone()]));
        // As long as nothing is refused, nothing is left out.
        if run.code == 0 {
            assert_eq!(run.documents().len(), 3);
            return;
        }
        let run = run.ends(1).says("error: -:1: pod/default/wrong: ").says("no-such-service");
        let left = json!({"apiVersion": "v1", "kind": "List", "items": [right]});
        assert_eq!(run.documents(), [left, right]);
    }
}

mod compose {
    use super::*;

    #[test]
    fn a_file_without_a_service_ends_with_two() {
        for command in ["compose", "render"] {
            run_with(&[command, "-"], "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n")
                .ends(2)
                .says("no LLMInferenceService");
        }
    }

    #[test]
    fn a_service_that_cannot_be_read_is_named() {
        let nameless = SERVICE.replace("name: tiny\n", "labels: {}\n");
        for command in ["compose", "render"] {
            run_with(&[command, "-"], &format!("---\n{nameless}")).ends(2).says("error: -:2: ");
        }
    }

    #[test]
    fn a_service_that_cannot_be_composed_is_a_finding() {
        let service = SERVICE.replace("spec:\n", "spec:\n  baseRefs: [{name: nowhere}]\n");
        let run = run_with(&["compose", "-"], &service)
            .ends(1)
            .says("error: LLMInferenceService default/tiny: ");
        assert_eq!(run.out, "");
    }
}

mod review {
    use super::*;

    #[test]
    fn a_pod_that_did_not_opt_in_is_allowed_in_every_form() {
        let text = review(&json!({})).to_string();
        let line = run_with(&["review", "-"], &text).ends(0);
        assert_eq!(line.out.lines().count(), 1);
        let answer = line.json();
        assert_eq!(answer["kind"], json!("AdmissionReview"));
        assert_eq!(answer["response"]["uid"], json!("0f0f"));
        assert_eq!(answer["response"]["allowed"], json!(true));
        assert_eq!(run_with(&["review", "-", "-o", "json"], &text).ends(0).json(), answer);
        assert_eq!(
            run_with(&["review", "-", "-o", "yaml"], &text).ends(0).documents(),
            std::slice::from_ref(&answer)
        );
        let as_yaml = yaml::to_string(&review(&json!({})));
        assert_eq!(run_with(&["review", "-"], &as_yaml).ends(0).json(), answer);
    }

    #[test]
    fn a_diff_of_nothing_prints_nothing() {
        let run = run_with(&["review", "-", "--diff"], &review(&json!({})).to_string()).ends(0);
        assert_eq!(run.out, "");
        run.says("allowed: ");
    }

    #[test]
    fn an_object_of_ours_is_checked_rather_than_completed() {
        let mut review = review(&json!({}));
        review["request"]["kind"] = json!({"group": "serving.kserve.io", "version": "v1alpha2", "kind": "LLMInferenceService"});
        review["request"]["object"] = json!({"apiVersion": "serving.kserve.io/v1alpha2",
            "kind": "LLMInferenceService", "metadata": {"name": 7}});
        let run = run_with(&["review", "-"], &review.to_string()).ends(1);
        assert_eq!(run.json()["response"]["uid"], json!("0f0f"));
    }

    #[test]
    fn what_is_no_review_ends_with_two() {
        for text in
            ["{}", "{\"kind\": \"AdmissionReview\"}", "{\"request\": 1}", "[]", "a: 1\n---\nb: 2\n"]
        {
            let run = run_with(&["review", "-"], text).ends(2).says("error: ");
            assert_eq!(run.out, "");
        }
    }
}

/// A webhook that gives one answer, over TLS.
mod remote {
    use super::*;

    struct Webhook {
        url: String,
        ca: TempDir,
        asked: std::thread::JoinHandle<String>,
    }

    /// Answers the first request with `answer` and hands out what it was asked.
    fn webhook(answer: String) -> Webhook {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["webhook.test".to_owned(), "127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &ca)
            .unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/mutate?timeout=10s", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut socket);
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !complete(&asked) {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => asked.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.flush();
            String::from_utf8(asked).unwrap()
        });
        Webhook { url, ca: folder(&[("ca.crt", ca.pem().as_bytes())]), asked }
    }

    fn complete(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.to_lowercase().lines().find_map(|line| {
            line.strip_prefix("content-length:").and_then(|length| length.trim().parse().ok())
        });
        length.is_some_and(|length: usize| body.len() >= length)
    }

    fn ok(body: &Value) -> String {
        let body = body.to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn ask(webhook: &Webhook, more: &[&str]) -> Run {
        let ca = path(&webhook.ca, "ca.crt");
        let mut args = vec!["review", "-", "--url", &webhook.url, "--ca-file", &ca];
        args.extend(more);
        run_with(&args, &review(&json!({})).to_string())
    }

    fn denial() -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": "0f0f", "allowed": false, "auditAnnotations": {"decision": "unknown-service"},
            "status": {"code": 403, "message": "no such service", "details": {"causes": [
                {"field": "metadata.labels[x]", "message": "write another"}]}}}})
    }

    #[test]
    fn the_answer_is_that_of_the_webhook() {
        let webhook = webhook(ok(&denial()));
        assert_eq!(ask(&webhook, &[]).ends(1).json(), denial());
        let asked = webhook.asked.join().unwrap();
        assert!(asked.starts_with("POST /mutate?timeout=10s HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/json"), "{asked}");
        assert!(asked.ends_with(&review(&json!({})).to_string()), "{asked}");
    }

    #[test]
    fn a_denial_is_said_in_full() {
        let webhook = webhook(ok(&denial()));
        let run = ask(&webhook, &["--diff"]).ends(1).says(
            "denied: no such service (unknown-service)\n  metadata.labels[x]: write another\n",
        );
        assert_eq!(run.out, "");
    }

    fn patched() -> Value {
        // [{"op":"add","path":"/spec/hostNetwork","value":true}]
        let patch = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL3NwZWMvaG9zdE5ldHdvcmsiLCJ2YWx1ZSI6dHJ1ZX1d";
        json!({"response": {"uid": "0f0f", "allowed": true, "patchType": "JSONPatch", "patch": patch,
            "auditAnnotations": {"decision": "injected", "configs": "a,b"}, "warnings": ["mind the gap"]}})
    }

    #[test]
    fn a_diff_shows_what_the_patch_does() {
        let hook = webhook(ok(&patched()));
        let run = ask(&hook, &["--diff"]).ends(0);
        assert!(run.out.starts_with("--- before\n+++ after\n@@"), "{}", run.out);
        assert!(run.out.contains("\n+  hostNetwork: true\n"), "{}", run.out);
        assert_eq!(run.err, "allowed: injected (configs: a, b)\nwarning: mind the gap\n");
        let hook = webhook(ok(&patched()));
        let colored = ask(&hook, &["--diff", "--color=always"]).ends(0).out;
        assert!(colored.contains("\u{1b}[32m+  hostNetwork: true\u{1b}[0m\n"), "{colored:?}");
    }

    #[test]
    fn the_certificate_must_fit_the_name() {
        let hook = webhook(ok(&patched()));
        ask(&hook, &["--server-name", "webhook.test"]).ends(0);
        let hook = webhook(ok(&patched()));
        ask(&hook, &["--server-name", "other.test"]).ends(2).says("certificate");
        let hook = webhook(ok(&patched()));
        let stranger = webhook(ok(&patched()));
        let ca = path(&stranger.ca, "ca.crt");
        run_with(
            &["review", "-", "--url", &hook.url, "--ca-file", &ca],
            &review(&json!({})).to_string(),
        )
        .ends(2)
        .says("certificate");
    }

    #[test]
    fn an_answer_that_is_none_ends_with_two() {
        for (answer, said) in [
            ("HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nno: \n", "413"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "no response"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n<>", "not JSON"),
            ("garbage\r\n\r\n", "cannot ask"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "cannot ask"),
        ] {
            let hook = webhook(answer.to_owned());
            let run = ask(&hook, &[]).ends(2).says(said);
            assert_eq!(run.out, "");
        }
        let folder =
            folder(&[("empty.crt", b""), ("broken.crt", b"-----BEGIN CERTIFICATE-----\n!\n")]);
        for file in ["empty.crt", "broken.crt", "missing.crt"] {
            let ca = path(&folder, file);
            run_with(
                &["review", "-", "--url", "https://localhost:1/x", "--ca-file", &ca],
                &review(&json!({})).to_string(),
            )
            .ends(2)
            .says(&ca);
        }
        run_with(&["review", "-", "--url", "http://localhost/x", "--ca-file", "x"], "{}")
            .ends(2)
            .says("https://");
    }
}

#[test]
fn the_examples_are_read() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut objects = 0;
    for entry in fs::read_dir(&examples).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            objects += yaml::documents(&fs::read_to_string(file).unwrap()).len();
        }
    }
    let run = run(&["inject", examples.to_str().unwrap()]);
    assert!(run.code < 2 && objects > 0, "{run:?}");
    // Something is printed or said of each.
    let refused = run.err.lines().filter(|line| line.starts_with("error: ")).count();
    assert!(run.documents().len() + refused >= objects, "{run:?}");
}
