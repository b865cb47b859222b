use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::shared::shared;

struct NoFunctions;

impl Functions for NoFunctions {
    fn call(&self, _: &str, _: &[Data]) -> Option<Result<Data, String>> {
        None
    }

    fn names(&self) -> &[&str] {
        &[]
    }
}

/// Gives back its arguments as a list.
struct Echo;

impl Functions for Echo {
    fn call(&self, name: &str, args: &[Data]) -> Option<Result<Data, String>> {
        match name {
            "list" => Some(Ok(Data::List(args.to_vec()))),
            "fail" => Some(Err("on purpose".to_owned())),
            _ => None,
        }
    }

    fn names(&self) -> &[&str] {
        &["fail", "list", "missing"]
    }
}

/// What Go 1.26 makes of templates over `input.json`, with `missingkey=error` and whole numbers
/// as `int64`: `ok` is the output, `err` the message of a refusal.
const GO_ANSWERS: &str = include_str!("testdata/go-answers.jsonl");
const INPUT: &str = include_str!("testdata/input.json");

/// A file of the shared vectors, or nothing where they are not at hand.
fn read(name: &str) -> Option<String> {
    shared(name).map(|path| fs::read_to_string(path).unwrap())
}

/// Renders each case of `vectors` over `input` and compares with what Go said.
fn compare(vectors: &str, input: &str) -> usize {
    let data = Data::from(&serde_json::from_str::<serde_json::Value>(input).unwrap());
    let mut differences = Vec::new();
    let mut count = 0;
    for line in vectors.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let source = case["src"].as_str().unwrap();
        let ours = render(source, &data, &NoFunctions, Options::default());
        let agrees = match (&ours, case["ok"].as_str()) {
            (Ok(ours), Some(go)) => ours == go,
            (Err(_), None) => case["err"].is_string(),
            _ => false,
        };
        if !agrees {
            differences.push(format!("{line}\n  ours: {ours:?}"));
        }
        count += 1;
    }
    assert!(
        differences.is_empty(),
        "{} of {count} differ from Go:\n{}",
        differences.len(),
        differences.join("\n")
    );
    count
}

fn go(source: &str, data: &serde_json::Value) -> Result<String, Error> {
    let data = Data::from(data);
    render(source, &data, &KserveFunctions, Options::default())
}

fn fails(source: &str, data: &serde_json::Value) -> (String, ErrorKind) {
    let error = go(source, data).unwrap_err();
    (error.to_string(), error.kind)
}

#[test]
fn the_shared_vectors_agree_with_go() {
    let (Some(vectors), Some(input)) =
        (read("vectors/go-template.jsonl"), read("vectors/go-template-input.json"))
    else {
        return;
    };
    assert!(compare(&vectors, &input) >= 70);
}

#[test]
fn our_own_cases_agree_with_go() {
    assert!(compare(GO_ANSWERS, INPUT) >= 400);
}

#[test]
fn kserve_functions_in_templates() {
    let data = json!({
        "ObjectMeta": {"Name": "svc"},
        "Spec": {
            "Worker": {"TerminationGracePeriodSeconds": 100},
            "Prefill": null,
            "KVCacheOffloading": {"CPU": "1Ki"}
        }
    });
    for (source, want) in [
        ("{{ ChildName .ObjectMeta.Name `-certs` }}", "svc-certs"),
        ("{{ \"-x\" | ChildName \"y\" }}", "y-x"),
        ("{{ shutdownTimeout .Spec.Worker 15 }}", "80"),
        ("{{ shutdownTimeout .Spec.Prefill 15 }}", "40"),
        ("{{ shutdownTimeout nil 15 | printf \"%d\" }}", "40"),
        ("[{{ kvTransferConfig .Spec.Prefill }}]", "[]"),
        (
            "{{ slice (kvTransferConfig .Spec.KVCacheOffloading) 0 37 }}",
            "--kv-transfer-config '{\\\"kv_connector",
        ),
    ] {
        assert_eq!(go(source, &data).as_deref(), Ok(want), "{source}");
    }
}

#[test]
fn what_a_function_returns_is_a_value() {
    let render = |source| render(source, &Data::Nil, &Echo, Options::default());
    for (source, want) in [
        ("{{ list 1 \"a\" nil }}", "[1 a <nil>]"),
        ("{{ range list 1 2 }}{{ . }};{{ end }}", "1;2;"),
        ("{{ index (list 1 (list \"x\")) 1 0 }}", "x"),
        ("{{ slice (list 1 2 3) 1 }}", "[2 3]"),
    ] {
        assert_eq!(render(source).as_deref(), Ok(want), "{source}");
    }
    let error = render("{{ fail 1 }}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Function);
    assert_eq!(error.to_string(), "line 1, column 4: fail: on purpose");
    assert_eq!(render("{{ missing }}").unwrap_err().kind, ErrorKind::UnknownFunction);
    assert_eq!(render("{{ list 1i }}").unwrap_err().kind, ErrorKind::Function);
}

#[test]
fn a_pointer_is_true_and_else_its_value() {
    let pointer = |data| Data::Pointer(Box::new(data));
    let data = Data::Map(
        [
            ("Zero", pointer(Data::Int(0))),
            ("Empty", pointer(Data::Str(String::new()))),
            ("No", pointer(Data::Bool(false))),
            ("Name", pointer(pointer(Data::Str("qwen".into())))),
            ("List", pointer(Data::List(vec![pointer(Data::Int(7))]))),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
    );
    for (source, want) in [
        ("{{ if .Zero }}set {{ .Zero }}{{ end }}", "set 0"),
        ("{{ if .Empty }}set{{ end }}{{ if .No }} set{{ end }}", "set set"),
        ("{{ or .Zero 1 }} {{ and .No 2 }} {{ not .Empty }}", "0 2 false"),
        ("{{ with .Zero }}{{ . }}{{ end }}", "0"),
        ("{{ eq .Zero 0 }} {{ eq .Name \"qwen\" }} {{ lt .Zero 1 }}", "true true true"),
        ("{{ eq .Zero nil }}", "false"),
        ("{{ printf \"%s %d %T %v\" .Name .Zero .Zero .List }}", "qwen 0 int64 [7]"),
        ("{{ len .Name }} {{ slice .Name 1 }} {{ index .List 0 }}", "4 wen 7"),
        ("{{ range .List }}{{ . }}{{ end }}", "7"),
        ("{{ .Name }}-{{ print .Name }}-{{ html .Name }}", "qwen-qwen-qwen"),
    ] {
        let got = render(source, &data, &NoFunctions, Options::default());
        assert_eq!(got.as_deref(), Ok(want), "{source}");
    }
}

#[test]
fn trimming_of_spaces_keeps_newlines() {
    let trim = Trim::Spaces;
    for (source, want) in [
        ("a \n  {{- 1 -}}  \n b", "a \n1\n b"),
        ("a\t {{- 1 -}} \t", "a\t1\t"),
        ("a  {{- /* c */ -}}  b", "ab"),
        ("a {{-\n1\n-}} b", "a1b"),
    ] {
        let got = render(source, &Data::Nil, &NoFunctions, Options { trim });
        assert_eq!(got.as_deref(), Ok(want), "{source:?}");
    }
}

#[test]
fn errors_say_where_and_what_to_do() {
    let data = json!({
        "Spec": {"Model": {"Name": "m"}, "Prefill": null, "Items": [1]},
        "Empty": {}
    });
    for (source, kind, want) in ERRORS {
        assert_eq!(fails(source, &data), ((*want).to_owned(), *kind), "{source}");
    }
}

#[test]
fn nothing_runs_or_grows_without_end() {
    let data = json!({"Long": "x".repeat(100_000), "Many": vec![1; 1000]});
    let nested = |open: &str, close: &str, n| format!("{}1{}", open.repeat(n), close.repeat(n));
    for source in [
        "{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}",
        "{{ define \"a\" }}{{ range 2 }}{{ template \"a\" }}{{ end }}{{ end }}{{ template \"a\" }}",
        "{{ range 1000000000000 }}{{ end }}",
        "{{ range 100 }}{{ range 100 }}{{ range 100 }}{{ end }}{{ end }}{{ end }}",
        "{{ range .Many }}{{ range $.Many }}{{ . }}{{ end }}{{ end }}",
        "{{ range .Many }}{{ $.Long }}{{ end }}",
        "{{ range 50000 }}{{ $x := html $.Long }}{{ end }}",
        "{{ range 50000 }}{{ if eq $.Long $.Long }}{{ end }}{{ end }}",
        "{{ $x := .Long }}{{ range 64 }}{{ $x = print $x $x }}{{ end }}",
        "{{ printf \"%999999d%999999d\" 1 2 }}",
        "{{ printf \"%.999999f %.999999e\" 1.5 1.5 }}",
        &format!("{{{{ {} }}}}", nested("(", ")", 101)),
        &format!("{{{{ {} }}}}", nested("(", ")", 100_000)),
        &nested("{{ if 1 }}", "{{ end }}", 101),
        &nested("{{ range 1 }}", "{{ end }}", 50_000),
        &nested("{{ block `b` 1 }}", "{{ end }}", 50_000),
        &"{{ $x := 1 }}".repeat(1001),
        &"x".repeat(MAX_BYTES + 1),
    ] {
        let shown: String = source.chars().take(60).collect();
        assert_eq!(fails(source, &data).1, ErrorKind::Limit, "{shown}");
    }
}

#[test]
fn what_is_within_the_bounds_works() {
    let nested = |open: &str, close: &str, n| format!("{}1{}", open.repeat(n), close.repeat(n));
    for (source, length) in [
        (format!("{{{{ {} }}}}", nested("(", ")", 99)), 1),
        (nested("{{ if 1 }}", "{{ end }}", 100), 1),
        (format!("{{{{ if 0 }}}}{}{{{{ end }}}}", "{{ else if 0 }}".repeat(5000)), 0),
        ("{{ range 30000 }}x{{ end }}".to_owned(), 30_000),
        ("{{ printf \"%999999d\" 1 }}".to_owned(), 999_999),
        ("x".repeat(MAX_BYTES), MAX_BYTES),
    ] {
        let got = go(&source, &json!({})).map(|text| text.len());
        let shown: String = source.chars().take(60).collect();
        assert_eq!(got, Ok(length), "{shown}");
    }
}

#[test]
fn deep_data_prints_or_is_refused() {
    let deep = |levels| (0..levels).fold(Data::Int(1), |data, _| Data::List(vec![data]));
    let print = |data| render("{{ . }}", &data, &NoFunctions, Options::default());
    assert_eq!(print(deep(150)).map(|text| text.len()), Ok(301));
    assert_eq!(print(deep(300)).unwrap_err().kind, ErrorKind::Limit);
}

/// A parsed template may be kept and used by many threads at once.
#[test]
fn a_template_is_reusable_and_shareable() {
    fn shareable<T: Send + Sync>(_: &T) {}
    let template = Template::parse("{{ . }}!", &NoFunctions, Options::default()).unwrap();
    shareable(&template);
    for n in 0..3 {
        let got = template.render(&Data::Int(n), &NoFunctions);
        assert_eq!(got, Ok(format!("{n}!")));
    }
}

proptest! {
    #[test]
    fn any_text_gives_an_answer(source in any::<String>(), inside in any::<String>()) {
        let _ = go(&source, &json!({"a": 1}));
        let _ = go(&format!("{{{{ {inside} }}}}"), &json!({"a": 1}));
    }

    /// Pieces of templates in any order; an error's place lies within the source.
    #[test]
    fn any_pieces_give_an_answer(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..30)
    ) {
        let source = pieces.concat();
        let data: serde_json::Value = serde_json::from_str(INPUT).unwrap();
        for trim in [Trim::Whitespace, Trim::Spaces] {
            let got = render(&source, &Data::from(&data), &KserveFunctions, Options { trim });
            if let Err(error) = got {
                let line = source.lines().nth(error.line - 1).unwrap_or_default();
                prop_assert!(error.line <= source.matches('\n').count() + 1);
                prop_assert!(error.column <= line.chars().count() + 2, "{error}");
            }
        }
    }

    #[test]
    fn any_format_gives_an_answer(layout in "[%#0+\\- .*\\[\\]1-9a-zA-Zé]{0,12}") {
        let source = format!("{{{{ printf {layout:?} 1 -2.5 .a .b 'x' 1i }}}}");
        let _ = go(&source, &json!({"a": "é\u{1}", "b": [1, null, {"k": 1.5}]}));
    }

    /// Text without `{{` stays as it is.
    #[test]
    fn plain_text_stays(text in "[^{]*") {
        prop_assert_eq!(go(&text, &json!({})), Ok(text));
    }

    /// A string survives being quoted by `%q` and read as a literal.
    #[test]
    fn a_quoted_string_reads_back(text in any::<String>()) {
        let quoted = go("{{ printf \"%q\" . }}", &json!(text)).unwrap();
        prop_assert_eq!(go(&format!("{{{{ {quoted} }}}}"), &json!({})), Ok(text));
    }
}

const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    " ",
    "\n",
    "if ",
    "else ",
    "else if ",
    "end",
    "range ",
    "with ",
    "define ",
    "template ",
    "block ",
    "break",
    "continue",
    "nil",
    "true",
    ".",
    ".Spec",
    ".Model",
    ".Name",
    ".Items",
    ".Mixed",
    "$",
    "$x",
    " := ",
    " = ",
    ", ",
    "|",
    "(",
    ")",
    "\"T\"",
    "`r`",
    "'a'",
    "1",
    "-2",
    "0x1F",
    "1.5e3",
    "2i",
    "print ",
    "printf ",
    "\"%v %d\" ",
    "len ",
    "index ",
    "slice ",
    "eq ",
    "lt ",
    "and ",
    "or ",
    "not ",
    "html ",
    "js ",
    "urlquery ",
    "ChildName ",
    "shutdownTimeout ",
    "kvTransferConfig ",
    "text",
    "é",
    "/*",
    "*/",
    "{{ end }}",
    "{{ if 1 }}",
    "{{ range .Spec.Items }}",
    "{{ else }}",
    "{{ break }}",
];

/// Source, kind and message.
const ERRORS: &[(&str, ErrorKind, &str)] = &[
    (
        "{{ m.role }}",
        ErrorKind::UnknownFunction,
        "line 1, column 4: function \"m\" is not defined; to write a literal {{ use {{ `{{` }}",
    ),
    (
        "a\n  {{ Childname 1 2 }}",
        ErrorKind::UnknownFunction,
        "line 2, column 6: function \"Childname\" is not defined (did you mean \"ChildName\"?); to write a literal {{ use {{ `{{` }}",
    ),
    (
        "é {{ messages[0]['role'] }}",
        ErrorKind::Parse,
        "line 1, column 14: '[' cannot follow \"messages\"; to write a literal {{ use {{ `{{` }}",
    ),
    (
        "{{ .Spec.Dash.a-b }}",
        ErrorKind::Parse,
        "line 1, column 16: '-' cannot follow \".a\"; reach a key with a dash by {{ index . \"a-b\" }}",
    ),
    (
        "{{ if .Spec }}x",
        ErrorKind::Unbalanced,
        "line 1, column 1: unclosed {{ if }} opened at line 1, column 1: write {{ end }} after its body",
    ),
    (
        "\n x{{- range .Spec.Items }}{{ if . }}{{ end }}",
        ErrorKind::Unbalanced,
        "line 2, column 3: unclosed {{ range }} opened at line 2, column 3: write {{ end }} after its body",
    ),
    ("{{ end }}", ErrorKind::Unbalanced, "line 1, column 4: {{ end }} closes nothing that is open"),
    (
        "x {{ .Spec",
        ErrorKind::Unbalanced,
        "line 1, column 3: {{ is not closed by }}; to write a literal {{ use {{ `{{` }}",
    ),
    ("{{ (1 }}", ErrorKind::Unbalanced, "line 1, column 4: ( is not closed by )"),
    (
        "{{ .Spec.Modl }}",
        ErrorKind::MissingKey,
        "line 1, column 4: .Spec.Modl is not a field here (did you mean .Spec.Model?)",
    ),
    (
        "{{ with .Spec }}{{ .Other }}{{ end }}",
        ErrorKind::MissingKey,
        "line 1, column 20: .Other is not a field here (the fields are Items, Model, Prefill)",
    ),
    (
        "{{ $x := .Empty }}{{ $x.A }}",
        ErrorKind::MissingKey,
        "line 1, column 22: $x.A is not a field here (there are none)",
    ),
    (
        "{{ .Spec.Prefill.Template }}",
        ErrorKind::NilField,
        "line 1, column 4: .Spec.Prefill is nil, so it has no field .Template; guard it with {{ if .Spec.Prefill }}",
    ),
    (
        "{{ .Spec.Model.Name.Foo }}",
        ErrorKind::Type,
        "line 1, column 4: .Spec.Model.Name is a string, so it has no field .Foo",
    ),
    (
        "{{ range true }}{{ end }}",
        ErrorKind::Type,
        "line 1, column 10: range needs a list, a map or a whole number, not a bool",
    ),
    (
        "{{ $x := 1 }}{{ $X }}",
        ErrorKind::Undefined,
        "line 1, column 17: variable \"$X\" is not defined (did you mean $x?); declare it with {{ $x := ... }}",
    ),
    (
        "{{ template \"b\" }}{{ define \"a\" }}{{ end }}",
        ErrorKind::Undefined,
        "line 1, column 13: no template \"b\" is defined",
    ),
    (
        "{{ index .Spec.Items 1 }}",
        ErrorKind::Function,
        "line 1, column 4: index: 1 is out of range: there are 1 items, from 0",
    ),
    (
        "{{ eq .Spec.Items 1 }}",
        ErrorKind::Function,
        "line 1, column 4: eq: a list and a whole number cannot be compared",
    ),
    ("{{ not 1 2 }}", ErrorKind::Function, "line 1, column 4: not takes 1 argument, not 2"),
    ("{{ \"a", ErrorKind::Parse, "line 1, column 4: the string is not closed by \""),
    (
        "{{ printf \"%p\" .Spec }}",
        ErrorKind::Function,
        "line 1, column 4: printf: %p prints an address, which a configuration has no use for; use %v",
    ),
];
