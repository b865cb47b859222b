//! `rules`, and the document that it makes.

use super::*;

#[test]
fn the_document_is_that_of_the_code() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
    let kept = fs::read_to_string(file).unwrap();
    let made = run(&["rules", "--output", "markdown"]).ends(0).out;
    // The whole text as a difference would help nobody.
    let differs = kept.lines().zip(made.lines()).find(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "docs/rules.md is not what the code says: {differs:?}\nrun\n  \
         cargo run -- rules --output markdown > docs/rules.md"
    );
}

#[test]
fn a_list_has_every_rule_and_its_severity() {
    let table = run(&["rules"]).ends(0).out;
    let rules = run(&["rules", "-o", "json"]).ends(0).json();
    let rules = rules.as_array().unwrap();
    assert_eq!(table.lines().count(), rules.len());
    let severity = |run: &Run| {
        let line = run.out.lines().find(|line| line.starts_with("K111 ")).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(severity(&run(&["rules"])), "reject");
    let folder =
        folder(&[("s.yaml", b"rules: {cluster: {K111: warn}, namespaces: {lab: {K111: off}}}")]);
    let settings = path(&folder, "s.yaml");
    assert_eq!(severity(&run(&["rules", "--settings", &settings])), "warn");
    assert_eq!(severity(&run(&["rules", "--settings", &settings, "-n", "lab"])), "off");
    let page = run(&["rules", "K111", "--settings", &settings]).ends(0).out;
    assert!(page.contains("warn (set; by itself reject)"), "{page}");
}

#[test]
fn a_rule_is_explained_with_what_it_really_says() {
    let page = run(&["rules", "k111"]).ends(0).out;
    for words in
        ["K111: fewer", "\nAccepted:\n", "\nReported:\n", "error[K111]: spec.replicas: found"]
    {
        assert!(page.contains(words), "{words:?} is missing: {page}");
    }
    assert_eq!(run(&["explain", "K111"]).ends(0).out, page);
    let object = run(&["rules", "K111", "-o", "json"]).ends(0).json();
    assert_eq!((&object["code"], &object["severity"]), (&json!("K111"), &json!("reject")));
}

#[test]
fn an_unknown_code_gets_those_near_it() {
    run(&["rules", "V6"]).ends(2).says("no rule has the code \"V6\"").says("V06");
    run(&["rules", &"x".repeat(100_000)]).ends(2);
}
