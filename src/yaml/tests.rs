use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn one(text: &str) -> Value {
    let mut all = documents(text);
    assert_eq!(all.len(), 1, "{text:?}: {all:?}");
    all.remove(0).value.unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn refused(text: &str) -> Error {
    let mut all = documents(text);
    assert_eq!(all.len(), 1, "{text:?}: {all:?}");
    all.remove(0).value.expect_err(text)
}

/// The value of `a: <text>`.
fn scalar(text: &str) -> Value {
    one(&format!("a: {text}\n"))["a"].clone()
}

#[test]
fn reads_words_as_kubectl_does() {
    for text in ["true", "True", "TRUE", "yes", "Yes", "y", "Y", "on", "ON", "!!bool 'on'"] {
        assert_eq!(scalar(text), json!(true), "{text}");
    }
    for text in ["false", "no", "NO", "n", "N", "off", "Off"] {
        assert_eq!(scalar(text), json!(false), "{text}");
    }
    for text in ["", "~", "null", "Null", "NULL", "!!null ''"] {
        assert_eq!(scalar(text), Value::Null, "{text}");
    }
    for text in [
        "tRue",
        "oN",
        "nil",
        "nULL",
        "'yes'",
        "\"no\"",
        "!!str yes",
        "! yes",
        "!custom yes",
        "=",
        "2001-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "1:30",
        "10.0.0.1",
        "16Gi",
        "100m",
        ".",
        "+",
        "0x",
        "0o8",
        "0b2",
        "1e",
        "1e400",
        "_1",
        "._5",
        "0xg",
        "<<",
    ] {
        assert!(scalar(text).is_string(), "{text}: {}", scalar(text));
    }
}

#[test]
fn reads_numbers_as_kubectl_does() {
    for (text, number) in [
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("-0777", json!(-511)),
        ("08", json!(8)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("0b-1", json!(-1)),
        ("1_000", json!(1000)),
        ("+5", json!(5)),
        ("1e3", json!(1000)),
        ("1.0", json!(1)),
        ("1.", json!(1)),
        (".5", json!(0.5)),
        (".5_0", json!(0.5)),
        ("-1.5e-3", json!(-0.0015)),
        ("9223372036854775807", json!(i64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551615", json!(u64::MAX)),
        ("18446744073709551616", json!(18_446_744_073_709_551_616.0_f64)),
        ("1.8446744073709550e19", json!(18_446_744_073_709_550_000_u64)),
        ("1e22", json!(1e22)),
        ("!!int '12'", json!(12)),
        ("!!float 3", json!(3)),
    ] {
        assert_eq!(scalar(text), number, "{text}");
    }
    for text in [".inf", "-.Inf", ".nan", "!!int 1.5", "!!float x", "!!bool 1"] {
        refused(&format!("a: {text}\n"));
    }
}

#[test]
fn reads_scalars_of_every_style() {
    assert_eq!(scalar("|\n  x\n   y\n"), json!("x\n y\n"));
    assert_eq!(scalar("|-\n  x\n"), json!("x"));
    assert_eq!(scalar("|+\n  x\n\n"), json!("x\n\n\n"));
    assert_eq!(scalar(">-\n  x\n  y\n\n  z\n"), json!("x y\nz"));
    assert_eq!(scalar("|2\n    x\n"), json!("  x\n"));
    assert_eq!(scalar("'it''s'"), json!("it's"));
    assert_eq!(scalar(r#""\x41\u00e9\t\/""#), json!("Aé\t/"));
    assert_eq!(scalar("!!binary aGVsbG8="), json!("hello"));
    refused("a: !!binary /w==\n");
}

#[test]
fn reads_keys_as_kubectl_does() {
    assert_eq!(
        one("yes: 1\n2: 1\n0x1F: 1\n1.5: 1\n1e6: 1\n1e5: 1\n0.00001: 1\n.inf: 1\n2001-01-01: 1\n"),
        json!({"true": 1, "2": 1, "31": 1, "1.5": 1, "1e+06": 1, "100000": 1, "1e-05": 1,
            ".inf": 1, "2001-01-01": 1})
    );
    for text in ["~: 1\n", ": 1\n", "[a]: 1\n", "? {a: b}\n: 1\n", "18446744073709551615: 1\n"] {
        refused(text);
    }
}

#[test]
fn a_key_written_twice_is_refused_with_its_place() {
    let error = refused("a:\n  b: 1\n  c: 2\n  b: 3\n");
    assert_eq!((error.line, error.column), (4, 3));
    assert!(error.message.contains("\"b\""), "{error}");
    refused("1: a\n'1': b\n");
    refused("{\"a\": {\"b\": 1, \"b\": 2}}");
    // The same key in two maps is none.
    assert_eq!(one("- a: 1\n- a: 2\n"), json!([{"a": 1}, {"a": 2}]));
}

#[test]
fn merge_keys_follow_the_order_of_writing() {
    let base = "base: &b {x: 1, z: 2}\n";
    let merged = |text: &str| one(&format!("{base}{text}"))["c"].clone();
    assert_eq!(merged("c: {<<: *b, z: 3}\n"), json!({"x": 1, "z": 3}));
    assert_eq!(merged("c: {z: 3, <<: *b}\n"), json!({"x": 1, "z": 2}));
    assert_eq!(merged("c: {<<: [{x: 9}, *b]}\n"), json!({"x": 9, "z": 2}));
    assert_eq!(merged("c: {'<<': 1}\n"), json!({"<<": 1}));
    for text in ["c: {<<: 1}\n", "c: {<<: }\n", "c: {<<: [1]}\n", "b: &x [{a: 1}]\nc: {<<: *x}\n"] {
        refused(text);
    }
}

#[test]
fn aliases_are_copies_and_bounded() {
    assert_eq!(one("a: &x [1, {b: 2}]\nc: *x\n")["c"], json!([1, {"b": 2}]));
    assert_eq!(one("&k a: 1\nb: {*k : 2}\n"), json!({"a": 1, "b": {"a": 2}}));
    refused("a: *nowhere\n");
    refused("a: &x [*x]\n");
    // An anchor of an earlier document is gone.
    assert!(documents("a: &x 1\n---\nb: *x\n")[1].value.is_err());

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.extend([format!("a{n}: &a{n} [{aliases}]\n")]);
    }
    assert!(refused(&bomb).message.contains("aliases expand"));

    let long = format!("a: &x {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*x"; 20].join(", "));
    assert!(refused(&long).message.contains("aliases expand"));
}

#[test]
fn depth_is_bounded_through_aliases_as_well() {
    let nested =
        |levels: usize, inner: &str| format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(one(&nested(MAX_DEPTH, "x")).is_array());
    assert!(refused(&nested(MAX_DEPTH + 1, "x")).message.contains("deeper"));
    assert!(!documents(&nested(100_000, "x")).is_empty());
    assert!(!documents(&"- ".repeat(100_000)).is_empty());
    assert!(!documents(&"{\"a\":".repeat(100_000)).is_empty());
    let text = format!("- &a {}\n- {}\n", nested(70, "x"), nested(70, "*a"));
    assert!(refused(&text).message.contains("deeper"));
}

#[test]
fn a_broken_document_does_not_take_others_along() {
    let text = "a: 1\n---\nb: [1\n---\n# nothing\n---\nc: 'x\n---\n\nd: 4\n...\ne: 5\n";
    let read = documents(text);
    let lines: Vec<usize> = read.iter().map(|document| document.line).collect();
    assert_eq!(lines, [1, 3, 7, 10, 12]);
    let values: Vec<Option<Value>> = read.into_iter().map(|document| document.value.ok()).collect();
    assert_eq!(
        values,
        [Some(json!({"a": 1})), None, None, Some(json!({"d": 4})), Some(json!({"e": 5}))]
    );
}

#[test]
fn errors_carry_the_line_of_the_stream() {
    let read = documents("a: 1\n---\nb: 1\nc: 2\nc: 3\n");
    let error = read[1].value.clone().unwrap_err();
    assert_eq!((error.line, error.column), (5, 1));
    let read = documents("a: 1\r\n---\r\nb: \"\\q\"\r\n");
    assert_eq!(read[1].value.clone().unwrap_err().line, 3);
    // Half a document is none.
    assert_eq!(documents(" a: 1\nb: 2\n").len(), 1);
    refused(" a: 1\nb: 2\n");
}

#[test]
fn what_holds_nothing_is_no_document() {
    for text in ["", "\n", "\u{feff}", "# only\n", "---\n", "---\n---\n...\n", "null\n", "--- ~\n"]
    {
        assert_eq!(documents(text), [], "{text:?}");
    }
}

#[test]
fn reads_marks_and_directives() {
    assert_eq!(one("\u{feff}%YAML 1.1\r\n--- # c\r\na: 1\r\n"), json!({"a": 1}));
    assert_eq!(one("--- {a: 1}\n"), json!({"a": 1}));
    assert_eq!(documents("--- {a: 1}\n---\nb: 1\n---").len(), 2);
}

#[test]
fn reads_json_streams() {
    let read = documents("{\"a\": 1.0}\n{\"b\": \"\\/\"} [1]\n");
    let lines: Vec<usize> = read.iter().map(|document| document.line).collect();
    assert_eq!(lines, [1, 2, 2]);
    assert_eq!(read[1].value, Ok(json!({"b": "/"})));
    assert_eq!(one("---\n{\n\t\"a\": 1\n}\n"), json!({"a": 1}));
    // YAML that starts like JSON.
    assert_eq!(one("{a: b}\n"), json!({"a": "b"}));
    assert_eq!(one("{\"a\": 1} # c\n"), json!({"a": 1}));
    let broken = documents("{\"a\": 1}\n{\"b\": }\n");
    assert_eq!(broken[0].value, Ok(json!({"a": 1})));
    assert_eq!(broken[1].value.clone().unwrap_err().line, 2);
}

#[test]
fn garbage_is_refused_in_words() {
    for text in ["a: [", "a: 'x", "\0", "a: \u{1}", "}", "@", "a: b: c", "\tx: 1\n\ty: 2\n"] {
        let error = refused(text);
        assert!(!error.message.is_empty(), "{text:?}");
        assert!(error.line >= 1 && error.column >= 1);
    }
}

#[test]
fn prints_as_kubectl_lays_out() {
    let value = json!({
        "kind": "Pod",
        "empty": {"map": {}, "list": [], "null": null, "text": ""},
        "containers": [
            {"name": "main", "args": ["--port=8000", "-v", "{{ .Name }}", "yes", "8000"], "on": true},
            {"command": ["sh", "-c", "set -e\necho 'x'\n"]}
        ],
        "matrix": [[1, 2], [], [[3]]],
    });
    let text = "\
kind: Pod
empty:
  map: {}
  list: []
  \"null\": null
  text: \"\"
containers:
- name: main
  args:
  - --port=8000
  - -v
  - '{{ .Name }}'
  - \"yes\"
  - \"8000\"
  \"on\": true
- command:
  - sh
  - -c
  - |
    set -e
    echo 'x'
matrix:
- - 1
  - 2
- []
- - - 3
";
    assert_eq!(to_string(&value), text);
    assert_eq!(one(text), value);
}

#[test]
fn quotes_whatever_a_reader_could_mistake() {
    for text in [
        "",
        "~",
        "null",
        "NULL",
        "y",
        "Y",
        "n",
        "yes",
        "No",
        "ON",
        "off",
        "True",
        "=",
        "<<",
        "1",
        "-1",
        "+1",
        "0x1F",
        "0o17",
        "012",
        "0b1",
        "1_000",
        "1.5",
        ".5",
        "1.",
        "1e3",
        "1E+3",
        "-.5e3",
        "1:30",
        "190:20:30.15",
        "2001-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "2001-1-1 1:00",
        ".inf",
        "-.INF",
        ".NaN",
        "nan",
        " x",
        "x ",
        "x: y",
        "x:",
        "x #y",
        "#x",
        "- x",
        "-",
        "---",
        "...",
        "?",
        "? x",
        ": x",
        "[x",
        "]x",
        "{x",
        "}",
        ",x",
        "&x",
        "*x",
        "!x",
        "|",
        ">",
        "'x",
        "\"x",
        "%x",
        "@x",
        "`x",
        "a\tb",
        "\u{85}",
        "a\u{2028}b",
        "\u{feff}",
        "\u{0}",
        "\u{7f}",
        "x\r",
        "\u{200b}",
        "\u{202e}",
    ] {
        let printed = to_string(&json!([text]));
        assert!(
            printed.starts_with("- '") || printed.starts_with("- \""),
            "{text:?} is printed as {printed}"
        );
        assert!(printed.chars().all(|c| c == '\n' || !c.is_control()), "{printed:?}");
        assert_eq!(one(&printed), json!([text]));
    }
    for text in [
        "x",
        "a b",
        "a:b",
        "http://x/y?z=1",
        "--flag",
        "vllm serve",
        "100m",
        "v1",
        "e3",
        "é",
        "a,b",
        "/mnt",
    ] {
        assert_eq!(to_string(&json!([text])), format!("- {text}\n"));
    }
}

#[test]
fn prints_blocks_for_lines() {
    for text in
        ["a\nb", "a\nb\n", "a\n\n", "a\n\nb\n\n\n", " a\nb", "\na\n", "a\n  b\n\tc", "# x\n---\n"]
    {
        let printed = to_string(&json!({"k": [{"t": text}], "z": 1}));
        assert!(printed.contains("t: |"), "{printed}");
        assert_eq!(one(&printed)["k"][0]["t"], json!(text), "{printed}");
    }
    for text in ["\n", "\ta\nb", "a\r\nb", "a\n \nb", "a\u{85}\nb"] {
        let printed = to_string(&json!({"t": text}));
        assert!(printed.starts_with("t: \""), "{printed}");
    }
}

#[test]
fn prints_numbers_that_old_readers_take_for_numbers() {
    assert_eq!(to_string(&json!(1e300)), "1.0e+300\n");
    assert_eq!(to_string(&json!(1.5e-7)), "1.5e-7\n");
    assert_eq!(to_string(&json!(-3)), "-3\n");
    assert_eq!(to_string(&json!(0.5)), "0.5\n");
}

#[test]
fn a_very_long_key_is_written_out() {
    let key = "k".repeat(2000);
    for value in [json!({ &key: {"a": 1} }), json!([{ &key: [1] }]), json!({ &key: "x\ny\n" })] {
        assert_eq!(one(&to_string(&value)), value);
    }
}

/// Texts that readers differ over, as well as arbitrary ones.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just(" ".to_owned()),
        Just(": ".to_owned()),
        Just(" #".to_owned()),
        Just("- ".to_owned()),
        Just("\t".to_owned()),
        "[0-9_.:eExX+-]{1,6}",
        "[a-zA-Z]{1,3}",
        "[\\[\\]{}&*!|>'\"%@`,?~=<\\\\]",
        "[\u{80}-\u{a0}\u{2027}-\u{2030}\u{feff}\u{fffe}\u{0}-\u{1f}]",
        any::<String>(),
    ];
    prop_oneof![
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat()),
        any::<String>(),
        proptest::sample::select(vec!["yes", "NULL", "0o7", "1e3", "<<", "2001-01-01", "---"])
            .prop_map(str::to_owned),
    ]
}

pub(super) fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((texts(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The value with whole floats as integers, which JSON does not tell apart.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let text = number.as_f64().map(|float| float.to_string());
            match text.and_then(|text| text.parse::<i64>().ok()) {
                Some(integer) if number.to_string() != "-0.0" => integer.into(),
                _ => Value::Number(number),
            }
        }
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, whole(v))).collect(),
        other => other,
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(value in values()) {
        let text = to_string(&value);
        let read = documents(&text);
        if value.is_null() {
            prop_assert!(read.is_empty());
        } else {
            prop_assert_eq!(read.len(), 1, "{}", text);
            let read = read[0].value.clone();
            prop_assert_eq!(read.map(whole), Ok(whole(value)), "{}", text);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in texts()) {
        for document in documents(&text) {
            prop_assert!(document.line >= 1);
        }
    }

    #[test]
    fn printed_documents_stay_apart(values in proptest::collection::vec(values(), 0..4)) {
        let texts: Vec<String> = values.iter().map(to_string).collect();
        let stream = format!("---\n{}", texts.join("---\n"));
        let filled = values.iter().filter(|value| !value.is_null()).count();
        prop_assert_eq!(documents(&stream).len(), filled, "{}", stream);
    }
}
