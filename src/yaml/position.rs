//! Where the values of a document stand in its text.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, options};

use super::{MAX_DEPTH, json, read};
use crate::json::{FieldPath, Segment};

/// A value: what to point at when it is meant, and the values in it. Places are bytes of the chunk.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The key in front of it.
    key: Option<Range<usize>>,
    /// A part of one line: a scalar itself, of a longer one the first line, of a list or map the key
    /// in front of it or the first thing in it.
    mark: Range<usize>,
    below: Below,
}

#[derive(Debug, Default)]
enum Below {
    #[default]
    Nothing,
    Members(BTreeMap<String, Node>),
    Items(Vec<Node>),
}

impl Node {
    /// The value at a path, or else the nearest around it, and whether it is that one.
    pub(super) fn find(&self, path: &FieldPath) -> (&Self, bool) {
        let mut node = self;
        for segment in path.segments() {
            let next = match (&node.below, segment) {
                (Below::Members(members), Segment::Field(name) | Segment::Key(name)) => {
                    members.get(name)
                }
                (Below::Items(items), Segment::Index(index)) => items.get(*index),
                _ => None,
            };
            let Some(next) = next else { return (node, false) };
            node = next;
        }
        (node, true)
    }

    /// What to point at when the value is meant.
    pub(super) fn value(&self) -> Range<usize> {
        self.mark.clone()
    }

    /// What to point at when its name is meant, or something that is not in it.
    pub(super) fn key(&self) -> Range<usize> {
        self.key.clone().unwrap_or_else(|| self.value())
    }

    fn scalar(text: &str, key: Option<Range<usize>>, value: Range<usize>) -> Self {
        let written = text.get(value.clone()).unwrap_or_default();
        let first = written.lines().next().unwrap_or_default().trim_end();
        let mark = match (&key, first.is_empty()) {
            (Some(key), true) => key.clone(),
            _ => value.start..value.start + first.len(),
        };
        Self { key, mark, below: Below::Nothing }
    }

    fn map(key: Option<Range<usize>>, start: usize, members: BTreeMap<String, Self>) -> Self {
        // By where they stand, not by their names.
        let first = members.values().filter_map(|it| it.key.clone()).min_by_key(|it| it.start);
        let mark = key.clone().or(first).unwrap_or(start..start + 1);
        Self { key, mark, below: Below::Members(members) }
    }

    fn list(key: Option<Range<usize>>, start: usize, items: Vec<Self>) -> Self {
        let first = items.first().map(|it| it.mark.clone());
        let mark = key.clone().or(first).unwrap_or(start..start + 1);
        Self { key, mark, below: Below::Items(items) }
    }
}

/// The documents of a chunk that is YAML, as far as it can be read.
pub(super) fn yaml(text: &str) -> Vec<Node> {
    let options = options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut events = Events { parser, text };
    let mut nodes = Vec::new();
    while let Some((event, _)) = events.next() {
        if matches!(event, Event::DocumentStart(..)) {
            let node = events.next().and_then(|(event, span)| events.node(&event, &span, None, 0));
            let Some(node) = node else { break };
            nodes.push(node);
        }
    }
    nodes
}

/// The documents of a chunk that is JSON, as far as it can be read.
pub(super) fn json(text: &str) -> Vec<Node> {
    let text = json::unmarked(text);
    let mut tokens = Tokens { text: &text, at: 0 };
    std::iter::from_fn(|| tokens.node(None, 0)).collect()
}

struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
}

impl<'a> Events<'a> {
    /// None at the end, and where the text is no YAML.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        self.parser.next_event()?.ok()
    }

    fn node(
        &mut self,
        event: &Event<'a>,
        span: &Span,
        key: Option<Range<usize>>,
        depth: usize,
    ) -> Option<Node> {
        let range = self.range(span);
        if depth > MAX_DEPTH {
            return None;
        }
        match event {
            Event::Scalar(_, style, ..) => {
                Some(Node::scalar(self.text, key, self.content(range, *style)))
            }
            Event::Alias(_) => Some(Node::scalar(self.text, key, range)),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        return Some(Node::list(key, range.start, items));
                    }
                    items.push(self.node(&event, &span, None, depth + 1)?);
                }
            }
            Event::MappingStart(..) => self.mapping(range.start, key, depth),
            _ => None,
        }
    }

    fn mapping(&mut self, start: usize, key: Option<Range<usize>>, depth: usize) -> Option<Node> {
        let mut members = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            let name = match &event {
                Event::MappingEnd => return Some(Node::map(key, start, members)),
                // What is merged stands elsewhere.
                _ if read::is_merge(&event) => None,
                Event::Scalar(text, style, _, tag) => {
                    let scalar = read::scalar(text, *style, tag.as_deref(), &span).ok()?;
                    Some(scalar.into_key().ok()?)
                }
                Event::Alias(_) => None,
                _ => return None,
            };
            let key = self.range(&span);
            let (event, span) = self.next()?;
            let node = self.node(&event, &span, Some(key), depth + 1)?;
            if let Some(name) = name {
                members.entry(name).or_insert(node);
            }
        }
    }

    /// Bytes of the text.
    fn range(&self, span: &Span) -> Range<usize> {
        let end = self.text.len();
        let start = span.start.byte_offset().unwrap_or(end).min(end);
        start..span.end.byte_offset().unwrap_or(start).clamp(start, end)
    }

    /// Of a block scalar the text behind the blank lines that it may start with.
    fn content(&self, range: Range<usize>, style: ScalarStyle) -> Range<usize> {
        let written = self.text.get(range.clone()).unwrap_or_default();
        let blank = written.len() - written.trim_start().len();
        match style {
            ScalarStyle::Literal | ScalarStyle::Folded if blank < written.len() => {
                range.start + blank..range.end
            }
            _ => range,
        }
    }
}

/// Text that is known to be JSON, or its beginning is.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn node(&mut self, key: Option<Range<usize>>, depth: usize) -> Option<Node> {
        let start = self.skip_blanks();
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'{' => {
                self.at += 1;
                let mut members = BTreeMap::new();
                while !self.ends_with(b'}')? {
                    let key = self.scalar()?;
                    let name = self.text.get(key.clone())?;
                    let name: String = serde_json::from_str(name).ok()?;
                    self.skip_blanks();
                    self.at += usize::from(self.peek()? == b':');
                    let node = self.node(Some(key), depth + 1)?;
                    members.entry(name).or_insert(node);
                }
                Some(Node::map(key, start, members))
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.ends_with(b']')? {
                    items.push(self.node(None, depth + 1)?);
                }
                Some(Node::list(key, start, items))
            }
            _ => {
                let value = self.scalar()?;
                Some(Node::scalar(self.text, key, value))
            }
        }
    }

    /// Whether the list or map ends here; the comma in front of the next item is skipped.
    fn ends_with(&mut self, end: u8) -> Option<bool> {
        self.skip_blanks();
        if self.peek()? == b',' {
            self.at += 1;
            self.skip_blanks();
        }
        let ends = self.peek()? == end;
        self.at += usize::from(ends);
        Some(ends)
    }

    /// A string, a number or a word. Never an empty one, so that reading goes on.
    fn scalar(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..)?;
        let length = if rest.first()? == &b'"' {
            let mut escaped = false;
            let close = rest.iter().skip(1).position(|byte| {
                let closes = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                closes
            });
            close? + 2
        } else {
            let ends = |byte: &u8| b",]}:[{\" \t\n\r".contains(byte);
            rest.iter().position(ends).unwrap_or(rest.len())
        };
        self.at = start + length;
        (length > 0).then_some(start..self.at)
    }

    fn skip_blanks(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
