//! Cuts a stream into documents before it is parsed, so that a broken one ends at its own border.

use std::borrow::Cow;

/// A part of a stream that holds one document, and more only if it is a stream of JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// Line of the stream on which it starts, from 1.
    pub(super) line: usize,
    /// Byte of the stream at which it starts.
    pub(super) offset: usize,
    pub(super) text: &'a str,
}

/// The text without its byte order mark, each line ended by a newline alone.
pub(super) fn normalized(text: &str) -> Cow<'_, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Cuts at the lines that start with `---` or `...`.
///
/// YAML forbids both at the start of a line inside any scalar, so no content is cut. A chunk that
/// holds nothing but blank lines and comments is dropped.
pub(super) fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let mut start = (0, 1);
    let mut holds = Holds::Nothing;
    let mut offset = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let marker = marker(line);
        if marker.is_some() && (holds == Holds::Content || marker == Some("...")) {
            push(&mut chunks, text.get(start.0..offset), start, holds);
            holds = Holds::Nothing;
        }
        match marker {
            // Directives belong to the document that the marker opens.
            Some("---") => {
                if holds == Holds::Nothing {
                    start = (offset, number);
                }
                holds = Holds::Content;
            }
            Some(_) => start = (offset + line.len(), number + 1),
            None if holds == Holds::Content || blank(line) => {}
            None if line.starts_with('%') => holds = Holds::Directives,
            None => holds = Holds::Content,
        }
        offset += line.len();
    }
    push(&mut chunks, text.get(start.0..), start, holds);
    chunks
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Directives,
    Content,
}

fn push<'a>(
    chunks: &mut Vec<Chunk<'a>>,
    text: Option<&'a str>,
    (offset, line): (usize, usize),
    holds: Holds,
) {
    if let Some(text) = text
        && holds != Holds::Nothing
    {
        chunks.push(Chunk { line, offset, text });
    }
}

fn marker(line: &str) -> Option<&str> {
    let (marker, rest) = line.split_at_checked(3)?;
    ((marker == "---" || marker == "...")
        && (rest.is_empty() || rest.starts_with([' ', '\t', '\n'])))
    .then_some(marker)
}

fn blank(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '\n']);
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(usize, &str)> {
        chunks(text).into_iter().map(|c| (c.line, c.text)).collect()
    }

    #[test]
    fn cuts_at_markers_only() {
        assert_eq!(cut("a\n---\nb\n"), [(1, "a\n"), (2, "---\nb\n")]);
        assert_eq!(cut("a\n...\nb"), [(1, "a\n"), (3, "b")]);
        assert_eq!(cut("a: |\n  ---\n  b\n"), [(1, "a: |\n  ---\n  b\n")]);
        assert_eq!(cut("----\n---b\n"), [(1, "----\n---b\n")]);
        assert_eq!(cut("--- # one\na\n---\t{b: 1}"), [(1, "--- # one\na\n"), (3, "---\t{b: 1}")]);
    }

    #[test]
    fn drops_what_holds_nothing() {
        assert!(cut("").is_empty());
        assert!(cut("# only\n\n  # comments\n").is_empty());
        assert!(cut("...\n...\n").is_empty());
        assert_eq!(cut("# c\n---\na\n"), [(2, "---\na\n")]);
        assert_eq!(cut("# c\na\n"), [(1, "# c\na\n")]);
    }

    #[test]
    fn a_directive_stays_with_its_document() {
        assert_eq!(
            cut("%YAML 1.1\n---\na\n...\n%TAG ! x\n---\nb"),
            [(1, "%YAML 1.1\n---\na\n"), (5, "%TAG ! x\n---\nb")]
        );
    }

    #[test]
    fn line_ends_become_newlines() {
        assert_eq!(normalized("\u{feff}a\r\nb\rc\n"), "a\nb\nc\n");
        assert!(matches!(normalized("a\n"), Cow::Borrowed("a\n")));
    }
}
