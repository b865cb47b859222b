//! The parser's events become values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag, options};

use super::scalar::{self, Scalar};
use super::{Document, Error, MAX_DEPTH};

/// What anchors and aliases may add up to in one document, in bytes of [`weight`]. An API server
/// takes 3 MiB at most, so nothing that could be applied is refused.
const MAX_ALIASED: usize = 8 << 20;

/// Reads a chunk: its one document, or what keeps it from being read.
pub(super) fn read(text: &str) -> Vec<Document> {
    let options = options! { emit_comments: false };
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        aliased: 0,
    };
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(Some((line, value))) => documents.push(Document { line, value: Ok(value) }),
            Ok(None) => return documents,
            // Text behind a complete value spoils the document: half of it is not what was meant.
            Err(error) => {
                return vec![Document {
                    line: first_line(text).min(error.line),
                    value: Err(error),
                }];
            }
        }
    }
}

/// The line on which content starts, from 1, as well as it can be told from broken text.
fn first_line(text: &str) -> usize {
    let before = |line: &&str| {
        let bare = line.trim_start();
        bare.is_empty() || bare.starts_with('#') || line.starts_with('%') || bare == "---"
    };
    1 + text.lines().map(str::trim_end).take_while(before).count()
}

/// The message for a key that is written twice in one map.
pub(super) fn duplicate(key: &str) -> String {
    format!("key {key:?} is written twice; keep one of the two")
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Anchor>,
    aliased: usize,
}

#[derive(Clone)]
struct Anchor {
    value: Value,
    /// Levels of lists and maps in it.
    height: usize,
    weight: usize,
}

impl<'a> Reader<'a> {
    /// The next document and the line of its first node; none at the end of the text.
    fn document(&mut self) -> Result<Option<(usize, Value)>, Error> {
        loop {
            let (event, _) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(..) => {
                    self.anchors.clear();
                    self.aliased = 0;
                    let (event, span) = self.next()?;
                    let line = span.start.line();
                    return Ok(Some((line, self.node(event, &span, 0)?)));
                }
                // Starts of streams, ends of documents.
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Error> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Error {
                line: error.marker().line(),
                column: error.marker().col() + 1,
                message: error.info(),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The value of a node, `depth` lists and maps below the root.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Value, Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = scalar(&text, style, tag.as_deref(), span)?;
                let value = scalar.into_value().map_err(|why| error(span, why))?;
                self.keep(anchor, &value, span)?;
                Ok(value)
            }
            Event::SequenceStart(_, anchor, _) => {
                below(depth, 1, span)?;
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, &span, depth + 1)?);
                }
                let value = Value::Array(items);
                self.keep(anchor, &value, span)?;
                Ok(value)
            }
            Event::MappingStart(_, anchor, _) => {
                below(depth, 1, span)?;
                let value = Value::Object(self.mapping(depth)?);
                self.keep(anchor, &value, span)?;
                Ok(value)
            }
            Event::Alias(id) => {
                let anchor = self.alias(id, span)?;
                below(depth, anchor.height, span)?;
                Ok(anchor.value)
            }
            _ => Err(error(span, "the document ends inside a value")),
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Map<String, Value>, Error> {
        let mut map = Map::new();
        let mut written = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(map);
            }
            if is_merge(&event) {
                self.merge(&mut map, depth)?;
                continue;
            }
            let key = self.key(event, &span)?;
            if !written.insert(key.clone()) {
                return Err(error(&span, duplicate(&key)));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?;
            map.insert(key, value);
        }
    }

    fn key(&mut self, event: Event<'a>, span: &Span) -> Result<String, Error> {
        let scalar = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = scalar(&text, style, tag.as_deref(), span)?;
                if anchor != 0 {
                    let value = scalar.clone().into_value();
                    self.keep(anchor, &value.map_err(|why| error(span, why))?, span)?;
                }
                scalar
            }
            Event::Alias(id) => Scalar::from(&self.alias(id, span)?.value),
            _ => return Err(error(span, "a list or a map cannot be a key; quote it")),
        };
        scalar.into_key().map_err(|why| error(span, why))
    }

    /// Merges in order of writing, as kubectl does: what stands below `<<` wins over what stands
    /// in front of it, and is overridden by what follows.
    fn merge(&mut self, map: &mut Map<String, Value>, depth: usize) -> Result<(), Error> {
        let (event, span) = self.next()?;
        let from_list = matches!(event, Event::SequenceStart(..));
        let maps = match self.node(event, &span, depth + 1)? {
            Value::Object(merged) => vec![merged],
            Value::Array(items) if from_list => items
                .into_iter()
                .map(|item| match item {
                    Value::Object(merged) => Some(merged),
                    _ => None,
                })
                .collect::<Option<_>>()
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        if maps.is_empty() {
            return Err(error(&span, "`<<` needs a map or a list of maps"));
        }
        // The first of a list wins.
        for merged in maps.into_iter().rev() {
            map.extend(merged);
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Anchor, Error> {
        let anchor = self
            .anchors
            .get(&id)
            .ok_or_else(|| error(span, "the anchor's value contains itself"))?
            .clone();
        self.spend(anchor.weight, span)?;
        Ok(anchor)
    }

    fn keep(&mut self, id: usize, value: &Value, span: &Span) -> Result<(), Error> {
        if id != 0 {
            let (height, weight) = measure(value);
            self.spend(weight, span)?;
            let value = value.clone();
            self.anchors.insert(id, Anchor { value, height, weight });
        }
        Ok(())
    }

    /// Counts before anything is copied.
    fn spend(&mut self, weight: usize, span: &Span) -> Result<(), Error> {
        self.aliased = self.aliased.saturating_add(weight);
        if self.aliased > MAX_ALIASED {
            let limit = MAX_ALIASED >> 20;
            return Err(error(
                span,
                format!("aliases expand to more than {limit} MiB; write the values out"),
            ));
        }
        Ok(())
    }
}

pub(super) fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Scalar, Error> {
    let tag = tag.map(full_tag);
    scalar::resolve(text, style == ScalarStyle::Plain, tag.as_deref())
        .map_err(|why| error(span, why))
}

fn full_tag(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

pub(super) fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, style, _, tag) if text == "<<" => match tag.as_deref().map(full_tag) {
            None => *style == ScalarStyle::Plain,
            Some(tag) => tag == "!" || tag == "tag:yaml.org,2002:merge",
        },
        _ => false,
    }
}

fn below(depth: usize, height: usize, span: &Span) -> Result<(), Error> {
    if depth + height > MAX_DEPTH {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        return Err(error(span, message));
    }
    Ok(())
}

/// Levels of lists and maps, and a size in bytes. Recursion ends at [`MAX_DEPTH`].
fn measure(value: &Value) -> (usize, usize) {
    const NODE: usize = 16;
    let deepest = |(height, weight): (usize, usize), item: (usize, usize)| {
        (height.max(item.0), weight.saturating_add(item.1))
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => (0, NODE),
        Value::String(text) => (0, NODE + text.len()),
        Value::Array(items) => {
            let (height, weight) = items.iter().map(measure).fold((0, NODE), deepest);
            (height + 1, weight)
        }
        Value::Object(map) => {
            let (height, weight) = map
                .iter()
                .map(|(key, value)| {
                    let (height, weight) = measure(value);
                    (height, weight + NODE + key.len())
                })
                .fold((0, NODE), deepest);
            (height + 1, weight)
        }
    }
}

fn error(span: &Span, message: impl Into<String>) -> Error {
    Error { line: span.start.line(), column: span.start.col() + 1, message: message.into() }
}
