use serde_json::json;
use tempfile::TempDir;

use super::*;

const SERVICE: &str = "\
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: qwen}
spec: {model: {uri: hf://a/b}}
";
const CONFIG: &str = "\
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceServiceConfig
metadata: {name: fast, namespace: kserve}
spec: {replicas: 2}
";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load_folder(files: &[(&str, &str)]) -> Loaded {
    let folder = folder(files);
    load(&[folder.path().to_owned()], Settings::default())
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

#[test]
fn reads_a_directory_as_kubectl_does() {
    let loaded = load_folder(&[
        ("b.yml", CONFIG),
        ("a.yaml", SERVICE),
        ("c.json", r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}"#),
        ("notes.txt", "not: [read"),
        ("d.yaml.bak", "not: [read"),
    ]);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.objects, 2);
    assert!(loaded.snapshot.services.contains_key(&key("default", "qwen")));
    assert!(loaded.snapshot.configs.contains_key(&key("kserve", "fast")));
}

#[test]
fn subdirectories_are_not_read() {
    let folder = folder(&[("a.yaml", SERVICE)]);
    fs::create_dir(folder.path().join("more.yaml")).unwrap();
    fs::create_dir(folder.path().join("deep")).unwrap();
    fs::write(folder.path().join("deep/b.yaml"), CONFIG).unwrap();
    let loaded = load(&[folder.path().to_owned()], Settings::default());
    assert_eq!((loaded.objects, loaded.problems), (1, vec![]));
}

#[test]
fn an_unreadable_object_is_named_and_the_others_are_read() {
    let text = format!("{SERVICE}---\nkind: [\n---\n{CONFIG}---\n- 1\n---\nmetadata: {{}}\n");
    let loaded = load_folder(&[("a.yaml", &text), ("b.yaml", "\u{0}\u{1}")]);
    assert_eq!(loaded.objects, 2);
    let lines: Vec<Option<usize>> = loaded.problems.iter().map(|it| it.line).collect();
    assert_eq!(lines.len(), 4, "{:?}", loaded.problems);
    assert!((6..=7).contains(&lines[0].unwrap()));
    assert_eq!(&lines[1..3], [Some(13), Some(15)]);
    assert!(loaded.problems[3].file.ends_with("b.yaml"));
    assert!(loaded.problems[2].reason.contains("kind"));
}

#[test]
fn an_object_of_ours_without_a_name_is_a_problem() {
    let loaded = load_folder(&[("a.yaml", &SERVICE.replace("name: qwen", "labels: {}"))]);
    assert_eq!(loaded.objects, 0);
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].line, Some(1));
    assert!(loaded.problems[0].reason.contains("metadata.name"), "{:?}", loaded.problems);
}

#[test]
fn lists_are_flattened() {
    let item = "{metadata: {name: one}, spec: {}}";
    let loaded = load_folder(&[(
        "a.yaml",
        &format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: serving.kserve.io/v1alpha1\n  \
             kind: LLMInferenceServiceList\n  items: [{item}]\n- {{apiVersion: v1, kind: Secret}}\n"
        ),
    )]);
    assert_eq!(loaded.problems, []);
    let service = &loaded.snapshot.services[&key("default", "one")];
    assert_eq!(service.object["kind"], json!("LLMInferenceService"));
    assert_eq!(flattened(json!({"kind": "List", "items": null})), Vec::<Value>::new());
    // Not a list: a kind that only ends like one.
    let blacklist = json!({"kind": "DenyList", "spec": {}});
    assert_eq!(flattened(blacklist.clone()), [blacklist]);
}

#[test]
fn the_later_of_two_is_used_and_named() {
    let other = SERVICE.replace("a/b", "c/d");
    let loaded = load_folder(&[("a.yaml", SERVICE), ("b.yaml", &other)]);
    assert_eq!((loaded.objects, loaded.problems.len()), (1, 1));
    assert!(loaded.problems[0].file.ends_with("b.yaml"));
    assert!(loaded.problems[0].reason.contains("a.yaml:1"), "{:?}", loaded.problems);
    let service = &loaded.snapshot.services[&key("default", "qwen")];
    assert_eq!(service.object["spec"]["model"]["uri"], json!("hf://c/d"));
}

#[test]
fn the_same_object_twice_is_no_problem() {
    let folder = folder(&[("a.yaml", SERVICE)]);
    let paths = [folder.path().to_owned(), folder.path().join("a.yaml")];
    let loaded = load(&paths, Settings::default());
    assert_eq!((loaded.objects, loaded.problems), (1, vec![]));
}

#[test]
fn a_namespace_brings_its_fabric() {
    let namespace = |fabric: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: gpu\n  labels: {{{FABRIC}: {fabric}}}\n"
        )
    };
    let loaded = load_folder(&[("a.yaml", &namespace("sriov"))]);
    assert_eq!(loaded.snapshot.fabrics, BTreeMap::from([("gpu".to_owned(), "sriov".to_owned())]));
    assert_eq!((loaded.objects, loaded.problems), (1, vec![]));
    let loaded = load_folder(&[("a.yaml", &namespace("yes"))]);
    assert!(loaded.problems[0].reason.contains("quote it"), "{:?}", loaded.problems);
    let loaded =
        load_folder(&[("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n")]);
    assert_eq!((loaded.objects, loaded.problems), (0, vec![]));
}

#[test]
fn what_is_no_text_is_named() {
    let folder = folder(&[]);
    for (bytes, said) in [
        (&b"a: \xc3\x28"[..], "UTF-8 (byte 3)"),
        (&b"\xff\xfea\0"[..], "UTF-16"),
        (&b"\x7fELF\x02\x01\x01\0\0\xff"[..], "UTF-8"),
    ] {
        fs::write(folder.path().join("x.yaml"), bytes).unwrap();
        let loaded = load(&[folder.path().to_owned()], Settings::default());
        assert_eq!(loaded.problems.len(), 1);
        assert_eq!(loaded.problems[0].line, None);
        assert!(loaded.problems[0].reason.contains(said), "{:?}", loaded.problems);
    }
    let loaded = load(&[folder.path().join("missing.yaml")], Settings::default());
    assert_eq!(loaded.problems[0].reason, "no such file or directory");
    assert!(read_text(io::repeat(b'a')).is_err());
}

#[test]
fn a_catalog_hands_out_what_was_loaded() {
    let catalog = FileCatalog::new(load_folder(&[("a.yaml", SERVICE)]).snapshot);
    assert!(catalog.snapshot().services.contains_key(&key("default", "qwen")));
}
