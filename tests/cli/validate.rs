//! `validate`, and that what it prints stays as it is.

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/validate");

const BAD: &str = "\
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: bad}
spec:
  model: {uri: hf://acme/tiny, name: acme/tiny}
  replicas: -1
";

/// Nothing to report but a config that is not there, a warning.
const WARNED: &str = "\
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: warned}
spec:
  model: {uri: hf://acme/tiny, name: acme/tiny}
  baseRefs: [{name: later}]
";

const LATER: &str = "\
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceServiceConfig
metadata: {name: later, namespace: default}
spec: {replicas: 1}
";

/// Code and line of each finding.
fn found(run: &Run) -> Vec<(String, Option<u64>)> {
    let value = run.json();
    let findings = value["findings"].as_array().unwrap().iter();
    findings.map(|it| (it["code"].as_str().unwrap().to_owned(), it["line"].as_u64())).collect()
}

fn on(text: &str, more: &[&str]) -> Run {
    run_with(&[&["validate", "-", "-o", "json"], more].concat(), text)
}

#[test]
fn what_is_printed_stays_as_it_is() {
    for (form, file) in [
        ("human", "human.txt"),
        ("json", "findings.json"),
        ("github", "github.txt"),
        ("sarif", "findings.sarif"),
    ] {
        let output = command(&["validate", "services.yaml", "-o", form])
            .current_dir(FOLDER)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "7 errors, 1 warning in 5 objects\n");
        let printed = String::from_utf8(output.stdout).unwrap();
        let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
        let printed = printed.replace(&version, "\"version\": \"…\"");
        let kept = fs::read_to_string(Path::new(FOLDER).join(file)).unwrap_or_default();
        assert!(
            printed == kept,
            "-o {form} prints something else than {FOLDER}/{file}. When it should, run there\n  \
             llmisvc-webhook validate services.yaml -o {form} > {file}\n(the version of the tool \
             is … in it); it prints\n{printed}"
        );
    }
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let good = BAD.replace("-1", "1");
    on(&good, &[]).ends(0).says("nothing to report in 1 object");
    on(&good, &["--strict"]).ends(0);
    assert_eq!(
        found(&on(BAD, &[]).ends(1).says("1 error in 1 object")),
        [("K111".into(), Some(6))]
    );
    let warned = on(WARNED, &[]).ends(0).says("1 warning in 1 object");
    assert_eq!(found(&warned), [("C001".into(), Some(6))]);
    on(WARNED, &["--strict"]).ends(1);
    // A document that cannot be read is worse, and keeps nothing else from being read.
    let broken = format!("{WARNED}---\na: [\n---\n{BAD}---\nwords\n---\n{{a: 1}}\n");
    assert_eq!(
        found(&on(&broken, &[]).ends(2)),
        [
            ("C001".into(), Some(6)),
            ("unreadable".into(), Some(8)),
            ("K111".into(), Some(15)),
            ("unreadable".into(), Some(17)),
            ("unreadable".into(), Some(19)),
        ]
    );
    // Other kinds are passed over.
    on("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", &["--strict"]).ends(0);
}

#[test]
fn objects_are_checked_against_each_other_and_the_catalog() {
    on(&format!("{WARNED}---\n{LATER}"), &["--strict"]).ends(0);
    let folder = folder(&[("a.yaml", WARNED.as_bytes()), ("b.yaml", LATER.as_bytes())]);
    on(WARNED, &["--strict", "--objects", &path(&folder, "b.yaml")]).ends(0);
    on(WARNED, &["--strict", "--objects", &path(&folder, "b.yaml"), "-n", "lab"]).ends(1);
    // A config of that name in the file itself counts, and is told where it differs.
    let other = LATER.replace("replicas: 1", "replicas: 2");
    on(&other, &["--objects", &path(&folder, "b.yaml")]).ends(0).says("is also in");
    run(&["validate", folder.path().to_str().unwrap(), "--strict"]).ends(0);
}

#[test]
fn severities_are_those_of_the_settings() {
    let folder = folder(&[(
        "settings.yaml",
        b"rules: {cluster: {K111: warn, C001: reject, C006: off}, namespaces: {lab: {K111: off}}}",
    )]);
    let settings = path(&folder, "settings.yaml");
    on(BAD, &["--settings", &settings]).ends(0).says("1 warning");
    on(BAD, &["--settings", &settings, "-n", "lab"]).ends(0).says("nothing to report");
    on(WARNED, &["--settings", &settings]).ends(1).says("1 error");
    let unread = BAD.replace("v1alpha2", "v7");
    assert_eq!(found(&on(&unread, &[]).ends(1)), [("C006".into(), Some(1))]);
    // That nobody refuses it does not make it readable.
    let run = on(&unread, &["--settings", &settings]).ends(2);
    assert_eq!(found(&run), [("unreadable".into(), Some(1))]);
}

#[test]
fn a_name_that_is_generated_is_no_defect() {
    let generated = BAD.replace("name: bad", "generateName: bad-");
    let run = on(&generated, &[]).ends(1);
    assert_eq!(found(&run), [("K111".into(), Some(6))]);
    assert_eq!(run.json()["findings"][0]["object"]["name"], json!("bad-"));
    on(&generated.replace("-1", "1"), &[]).ends(0);
}

#[test]
fn a_directory_is_read_as_elsewhere_and_what_cannot_be_read_is_told() {
    let folder = folder(&[
        ("a.yaml", BAD.as_bytes()),
        ("b.yml", b"\xff\xfe"),
        ("c.json", b"{\"apiVersion\": \"serving.kserve.io/v1alpha2\", \"kind\": \"LLMInferenceService\",\n\"spec\": {}}"),
        ("d.txt", BAD.as_bytes()),
    ]);
    let directory = folder.path().to_str().unwrap();
    let json = run(&["validate", directory, "-o", "json"]).ends(2).says("3 errors in 2 objects");
    assert_eq!(
        found(&json),
        [("K111".into(), Some(6)), ("unreadable".into(), None), ("C006".into(), Some(1))]
    );
    let human = run(&["validate", directory]).ends(2).out;
    assert!(human.contains("a.yaml:6:13\n") && human.contains("UTF-16"), "{human}");
    let github = run(&["validate", directory, "-o", "github"]).ends(2).out;
    assert!(github.contains("b.yml,title=unreadable::cannot read "), "{github}");
    let sarif = run(&["validate", directory, "-o", "sarif"]).ends(2).json();
    assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], json!(false));
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 3);
    run(&["validate", &path(&folder, "b.yml")]).ends(2).says("error: cannot read ");
    let empty = TempDir::new().unwrap();
    run(&["validate", empty.path().to_str().unwrap()]).ends(2).says("there is no object in ");
}

#[test]
fn windows_line_ends_move_nothing() {
    let windows = format!("\u{feff}{}", BAD.replace('\n', "\r\n"));
    let (windows, plain) = (on(&windows, &[]).ends(1), on(BAD, &[]).ends(1));
    assert_eq!(windows.out, plain.out);
    assert_eq!(plain.json()["findings"][0]["column"], json!(13));
}

#[test]
fn a_line_of_a_megabyte_is_cut_around_the_finding() {
    let mut object: Value = yaml::documents(BAD).remove(0).value.unwrap();
    object["metadata"]["annotations"] = json!({"a": "ü".repeat(500_000)});
    let text = object.to_string();
    assert!(text.len() > 1_000_000 && !text.contains('\n'));
    let column = text.split("-1").next().unwrap().chars().count() + 1;
    let run = run_with(&["validate", "-"], &text).ends(1);
    assert!(run.out.len() < 1000, "{}", run.out);
    assert!(run.out.contains(&format!("--> standard input:1:{column}\n")), "{}", run.out);
    let [line, under]: [&str; 2] =
        run.out.lines().skip(3).take(2).collect::<Vec<_>>().try_into().unwrap();
    let at = under.find("^^").unwrap();
    assert_eq!(line.chars().skip(at).take(2).collect::<String>(), "-1");
}

#[test]
fn what_is_in_a_file_cannot_steer_a_terminal() {
    let text =
        BAD.replace("-1", "\"\u{1b}[31m\u{9b}\u{202e}\"").replace("name: bad", "name: \"b\\ead\"");
    for form in ["human", "json", "github", "sarif"] {
        let run = run_with(&["validate", "-", "-o", form, "--color", "never"], &text);
        assert!(run.code > 0 && !run.out.is_empty(), "{run:?}");
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!run.out.contains(steers), "{form}: {:?}", run.out);
    }
}

#[test]
fn colour_is_asked_for() {
    assert!(run_with(&["validate", "-", "--color", "always"], BAD).out.contains("\u{1b}["));
    assert!(!run_with(&["validate", "-"], BAD).out.contains('\u{1b}'));
}
