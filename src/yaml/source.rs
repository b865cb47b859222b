//! A text together with the documents in it and where their values stand.

use std::ops::Range;

use super::position::{self, Node};
use super::split::{chunks, normalized};
use super::{Document, Form, holds_something, read_chunk};
use crate::json::FieldPath;

/// A text that was read, and can be pointed into.
#[derive(Debug)]
pub struct Source {
    text: String,
    /// Byte at which each line starts.
    lines: Vec<usize>,
    documents: Vec<Document>,
    /// One for each document, behind the byte at which its chunk starts.
    nodes: Vec<(usize, Node)>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Bytes of [`Source::text`]. It may be empty.
    pub span: Range<usize>,
    /// Line of the text, from 1.
    pub line: usize,
    /// Column of its start in characters, from 1.
    pub column: usize,
    /// Column behind its end in characters, from 1.
    pub end_column: usize,
    /// Whether this is what was asked for, rather than what is nearest to where it belongs.
    pub exact: bool,
}

impl Source {
    /// Reads a text. The documents are those of [`documents`](super::documents).
    #[must_use]
    pub fn read(text: &str) -> Self {
        let text = normalized(text).into_owned();
        let (mut documents, mut nodes) = (Vec::new(), Vec::new());
        for chunk in chunks(&text) {
            let (form, read) = read_chunk(&chunk);
            let found = match form {
                Form::Json => position::json(chunk.text),
                Form::Yaml => position::yaml(chunk.text),
            };
            let unknown = std::iter::repeat_with(Node::default);
            for (document, node) in read.into_iter().zip(found.into_iter().chain(unknown)) {
                if holds_something(&document) {
                    documents.push(document);
                    nodes.push((chunk.offset, node));
                }
            }
        }
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { text, lines, documents, nodes }
    }

    /// The text without its byte order mark, each line ended by a newline alone.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The documents in it, in order.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// What to point at for a value of a document, which is counted from 0.
    ///
    /// That is the value where it is a scalar on one line, the first line of a longer one, and the key
    /// of a list or a map. For a value that is not written there (it is missing, or an alias or a merge
    /// key brings it) it is the key of the nearest list or map around it.
    #[must_use]
    pub fn find(&self, document: usize, path: &FieldPath) -> Mark {
        self.located(document, path, Node::value)
    }

    /// As [`Source::find`], but the key of what is there.
    #[must_use]
    pub fn find_key(&self, document: usize, path: &FieldPath) -> Mark {
        self.located(document, path, Node::key)
    }

    fn located(&self, document: usize, path: &FieldPath, of: fn(&Node) -> Range<usize>) -> Mark {
        let Some((offset, root)) = self.nodes.get(document) else {
            return self.mark(0..0, false);
        };
        let (node, exact) = root.find(path);
        let span = if exact { of(node) } else { node.key() };
        self.mark(offset + span.start..offset + span.end, exact)
    }

    /// The character at a place of which only line and column are known, both from 1.
    #[must_use]
    pub fn at(&self, line: usize, column: usize) -> Mark {
        let text = self.line(line);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let at = |column: usize| text.char_indices().nth(column).map_or(text.len(), |it| it.0);
        let column = column.saturating_sub(1);
        self.mark(start + at(column)..start + at(column + 1), true)
    }

    /// A line's text, without its end.
    #[must_use]
    pub fn line(&self, line: usize) -> &str {
        let start = line.checked_sub(1).and_then(|index| self.lines.get(index));
        let rest = start.and_then(|start| self.text.get(*start..)).unwrap_or_default();
        rest.split('\n').next().unwrap_or_default()
    }

    fn mark(&self, span: Range<usize>, exact: bool) -> Mark {
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let column =
            |byte: usize| 1 + self.text.get(start..byte).map_or(0, |before| before.chars().count());
        let (column, end_column) = (column(span.start), column(span.end));
        Mark { span, line, column, end_column, exact }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::yaml::documents;

    /// What is marked for a path of the first document, behind its line and column; in brackets when
    /// it is not the value itself.
    fn marked(text: &str, path: &str) -> String {
        marked_in(text, 0, path)
    }

    fn marked_in(text: &str, document: usize, path: &str) -> String {
        let source = Source::read(text);
        let mark = source.find(document, &FieldPath::parse(path).unwrap());
        let words = &source.text()[mark.span.clone()];
        assert_eq!(mark.end_column - mark.column, words.chars().count());
        let (line, column) = (mark.line, mark.column);
        assert!(source.line(line).contains(words));
        if mark.exact {
            format!("{line}:{column} {words}")
        } else {
            format!("{line}:{column} [{words}]")
        }
    }

    const POD: &str = "\
# a comment
metadata: {name: x, labels: {a/b: \"ü\", c: d}}
spec:
  containers:
  - name: main
    args:
    - --port=1
    -   'two words'
    - |

      # a script
      exec vllm
    - >-
      folded
      further
    - plain
      goes on
    - \"é\" # said
    empty:
    none: []
  -
    name: second
    on: 1
  - [1, 2]
";

    #[test]
    fn values_of_block_and_flow_style_are_found() {
        for (path, expected) in [
            ("metadata.name", "2:18 x"),
            ("metadata.labels[a/b]", "2:35 \"ü\""),
            ("metadata.labels.c", "2:43 d"),
            ("metadata", "2:1 metadata"),
            ("spec.containers", "4:3 containers"),
            ("spec.containers[0]", "5:5 name"),
            ("spec.containers[0].name", "5:11 main"),
            ("spec.containers[0].args[0]", "7:7 --port=1"),
            ("spec.containers[0].args[1]", "8:9 'two words'"),
            ("spec.containers[0].args[2]", "11:7 # a script"),
            ("spec.containers[0].args[3]", "14:7 folded"),
            ("spec.containers[0].args[4]", "16:7 plain"),
            ("spec.containers[0].args[5]", "18:7 \"é\""),
            ("spec.containers[0].empty", "19:5 empty"),
            ("spec.containers[0].none", "20:5 none"),
            ("spec.containers[1].name", "22:11 second"),
            ("spec.containers[1].true", "23:9 1"),
            ("spec.containers[2]", "24:6 1"),
            ("spec.containers[2][1]", "24:9 2"),
        ] {
            assert_eq!(marked(POD, path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_marked_at_what_is_around_it() {
        for (path, expected) in [
            ("spec.containers[0].image", "5:5 [name]"),
            ("spec.containers[0].args[9]", "6:5 [args]"),
            ("spec.containers[7].image", "4:3 [containers]"),
            ("spec.model.uri", "3:1 [spec]"),
            ("metadata.name.first", "2:12 [name]"),
            ("status", "2:1 [metadata]"),
        ] {
            assert_eq!(marked(POD, path), expected, "{path}");
        }
        assert_eq!(marked("", "a.b"), "1:1 []");
        assert_eq!(marked("{}", "a.b"), "1:1 [{]");
        assert_eq!(marked("a: [", "a"), "1:1 []");
    }

    #[test]
    fn aliases_and_merge_keys_are_marked_where_they_stand() {
        let text = "a: &x\n  b: 1\nc: *x\nd:\n  <<: *x\n  e: 2\n";
        assert_eq!(marked(text, "a.b"), "2:6 1");
        assert_eq!(marked(text, "c"), "3:4 *x");
        assert_eq!(marked(text, "c.b"), "3:1 [c]");
        assert_eq!(marked(text, "d.b"), "4:1 [d]");
        assert_eq!(marked(text, "d.e"), "6:6 2");
    }

    #[test]
    fn a_key_is_found_where_its_name_is_meant() {
        let source = Source::read(POD);
        for (path, expected) in [
            ("metadata.name", "name"),
            ("metadata.labels[a/b]", "a/b"),
            ("spec.containers[0].args", "args"),
            ("spec.containers[0].args[0]", "--port=1"),
            ("spec.containers[0].image", "name"),
        ] {
            let mark = source.find_key(0, &FieldPath::parse(path).unwrap());
            assert_eq!(&source.text()[mark.span], expected, "{path}");
        }
    }

    #[test]
    fn each_document_has_its_places() {
        let text = "---\n# none\n---\na: 1\n---\n{\"a\": 2}\n---\nb: [\n--- {a: 3}\n...\na: 4\n";
        let source = Source::read(text);
        assert_eq!(source.documents().len(), 5);
        for (document, expected) in [(0, "4:4 1"), (1, "6:7 2"), (3, "9:9 3"), (4, "11:4 4")] {
            assert_eq!(marked_in(text, document, "a"), expected);
        }
    }

    #[test]
    fn json_is_found_with_its_escapes() {
        let text = r#"{"a": [1, -2.5e3, "x\"]y", {"b\u0063": {"d": null}}, [], {}], "e":true}
            {"a":"second"}"#;
        for (path, expected) in [
            ("a[1]", "1:11 -2.5e3"),
            ("a[2]", r#"1:19 "x\"]y""#),
            ("a[3].bc.d", "1:46 null"),
            ("a[4]", "1:54 ["),
            ("a[5].x", "1:58 [{]"),
            ("e", "1:67 true"),
        ] {
            assert_eq!(marked(text, path), expected, "{path}");
        }
        assert_eq!(marked_in(text, 1, "a"), r#"2:18 "second""#);
    }

    #[test]
    fn windows_ends_and_a_byte_order_mark_move_nothing() {
        let text = "\u{feff}a: 1\r\nb:\r\n- |\r\n  first\r\n  second\r\n- x\r\n";
        assert_eq!(marked(text, "a"), "1:4 1");
        assert_eq!(marked(text, "b[0]"), "4:3 first");
        assert_eq!(marked(text, "b[1]"), "6:3 x");
    }

    #[test]
    fn a_key_that_is_written_twice_is_an_error_with_its_place() {
        let source = Source::read("a: 1\nb: 2\na: 3\n");
        let error = source.documents()[0].value.clone().unwrap_err();
        let mark = source.at(error.line, error.column);
        assert_eq!((mark.line, mark.column, mark.end_column), (3, 1, 2));
        assert_eq!(source.at(99, 1).span, 15..15);
        assert_eq!(source.at(1, 99).span, 4..4);
    }

    fn paths(value: &Value, path: &FieldPath, all: &mut Vec<(FieldPath, Value)>) {
        all.push((path.clone(), value.clone()));
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    paths(item, &path.index(index), all);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    paths(member, &path.field(name), all);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(
            text in r#"([ \n\r\t:,&*!|>'"{}\[\]<>?%#-]|--- |\.\.\.|<<: |a|b: |0|é|\u{feff}|\\){0,40}"#
        ) {
            let source = Source::read(&text);
            prop_assert_eq!(source.documents(), documents(&text));
            for document in 0..=source.documents().len() {
                let value = source.documents().get(document).map(|it| it.value.clone());
                let mut all = vec![(FieldPath::parse("a.b[0].c").unwrap(), Value::Null)];
                paths(&value.and_then(Result::ok).unwrap_or_default(), &FieldPath::root(), &mut all);
                for (path, _) in all {
                    let mark = source.find(document, &path);
                    prop_assert!(source.text().get(mark.span.clone()).is_some(), "{:?}", mark);
                    prop_assert!(source.at(mark.line, mark.column).line == mark.line);
                }
            }
        }

        #[test]
        fn what_is_printed_is_found(values in proptest::collection::vec(crate::yaml::tests::values(), 1..3)) {
            let yaml = values.iter().map(crate::yaml::to_string).collect::<Vec<_>>().join("---\n");
            let json = values.iter().map(|it| format!("{it:#}")).collect::<Vec<_>>().join("\n---\n");
            for text in [yaml, json] {
                let source = Source::read(&text);
                for (number, document) in source.documents().iter().enumerate() {
                    // A bare string of JSON is read as YAML, which forbids some characters.
                    let Ok(value) = &document.value else { continue };
                    let mut all = Vec::new();
                    paths(value, &FieldPath::root(), &mut all);
                    for (path, value) in all {
                        let mark = source.find(number, &path);
                        prop_assert!(mark.exact, "{path} of {text}");
                        let words = &source.text()[mark.span];
                        if value.is_number() || value.is_boolean() {
                            let read = documents(words).remove(0).value.unwrap();
                            prop_assert_eq!((read.as_f64(), read.as_bool()), (value.as_f64(), value.as_bool()));
                        }
                    }
                }
            }
        }
    }
}
