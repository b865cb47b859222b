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

use llmisvc_webhook::yaml;
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
        for command in
            ["review", "inject", "validate", "rules", "compose", "render", "presets", "completions"]
        {
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
        for command in ["review", "inject", "validate", "compose", "render"] {
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
        for (name, _) in broken {
            run(&["validate", &path(&folder, name)]).ends(2);
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

#[path = "cli/inject.rs"]
mod inject;

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
    fn services_come_out_in_order_and_a_failure_costs_only_itself() {
        let broken = SERVICE
            .replace("name: tiny\n", "name: broken\n")
            .replace("spec:\n", "spec:\n  baseRefs: [{name: nowhere}]\n");
        let other = SERVICE.replace("name: tiny\n", "name: other\n");
        let text = format!("{other}---\n{broken}---\n{SERVICE}");
        for command in ["compose", "render"] {
            let run = run_with(&[command, "-"], &text)
                .ends(1)
                .says("error: LLMInferenceService default/broken: ");
            let names: Vec<String> = run
                .documents()
                .iter()
                .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(names.len(), 2, "{run:?}");
            assert!(names[0].starts_with("other") && names[1].starts_with("tiny"), "{names:?}");
            let as_json = run_with(&[command, "-", "-o", "json"], &text).ends(1).json();
            assert_eq!(as_json["items"], json!(run.documents()));
        }
    }

    #[test]
    fn configs_are_taken_from_the_file_and_from_objects() {
        let config = "apiVersion: serving.kserve.io/v1alpha2\nkind: LLMInferenceServiceConfig\n\
                      metadata: {name: mine}\nspec: {replicas: 7}\n";
        let service = SERVICE
            .replace("spec:\n", "spec:\n  baseRefs: [{name: mine}]\n")
            .replace("  replicas: 1\n", "");
        let folder = folder(&[("config.yaml", config.as_bytes())]);
        let beside = run_with(&["compose", "-"], &format!("{config}---\n{service}")).ends(0);
        assert_eq!(beside.documents()[0]["spec"]["replicas"], json!(7));
        let named =
            run_with(&["compose", "-", "--objects", &path(&folder, "config.yaml")], &service)
                .ends(0);
        assert_eq!(named.out, beside.out);
        run_with(&["compose", "-"], &service).ends(1).says("mine");
    }

    #[test]
    fn a_skeleton_asks_for_the_webhook() {
        let complete = run_with(&["render", "-"], SERVICE).ends(0);
        let skeleton = run_with(&["render", "-", "--skeleton"], SERVICE).ends(0);
        assert!(skeleton.out.contains("inject.llmisvc.io/service: tiny"), "{}", skeleton.out);
        assert!(skeleton.out.len() < complete.out.len());
        // What the skeleton is completed to by the same rules is no longer one.
        let injected =
            run_with(&["inject", "-"], &format!("{SERVICE}---\n{}", skeleton.out)).ends(0);
        assert!(!injected.out.contains("image: auto"), "{}", injected.out);
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
            "kind": "LLMInferenceService", "metadata": {"name": "s"},
            "spec": {"model": {"uri": "hf://a/b"}, "replicas": -1}});
        let run = run_with(&["review", "-"], &review.to_string()).ends(1);
        let response = &run.json()["response"];
        assert_eq!(response["uid"], json!("0f0f"));
        assert_eq!(response["status"]["details"]["causes"][0]["field"], json!("spec.replicas"));
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

#[path = "cli/validate.rs"]
mod validate;

#[path = "cli/rules.rs"]
mod rules;

#[path = "cli/remote.rs"]
mod remote;

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
