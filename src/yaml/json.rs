//! JSON documents: one, or several one after the other, as kubectl takes both.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{Document, Error};

/// Reads a chunk as JSON.
///
/// # Errors
/// What there is before the first error, and that error as the last document; nothing when the
/// chunk does not even look like JSON.
pub(super) fn read(text: &str) -> Result<Vec<Document>, Vec<Document>> {
    let text = &*unmarked(text);
    if !text.trim_start().starts_with(['{', '[']) {
        return Err(Vec::new());
    }
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    loop {
        let from = stream.byte_offset();
        let line = line_of(text, from);
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(Strict(value))) => documents.push(Document { line, value: Ok(value) }),
            Some(Err(error)) => {
                let (at, column) = (error.line().max(1), error.column().max(1));
                let mut message = error.to_string();
                if let Some(end) = message.rfind(" at line ") {
                    message.truncate(end);
                }
                documents.push(Document { line, value: Err(Error { line: at, column, message }) });
                return Err(documents);
            }
        }
    }
}

/// The text without the marker that opens it, if that stands alone on its line: as many blanks keep
/// the places right.
pub(super) fn unmarked(text: &str) -> Cow<'_, str> {
    match text.split_once('\n').filter(|(marker, _)| marker.trim_end() == "---") {
        Some((marker, rest)) => Cow::Owned(format!("{}\n{rest}", " ".repeat(marker.len()))),
        None => Cow::Borrowed(text),
    }
}

/// Line of the first character after `offset` that is no white space, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
    let blank = after.len() - after.trim_start().len();
    let skipped = after.get(..blank).unwrap_or_default();
    1 + before.matches('\n').count() + skipped.matches('\n').count()
}

/// A value in which no key is written twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(super::read::duplicate(&key)));
            }
            let Strict(value) = access.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
