//! What an expression evaluates to: Go's value with its type, borrowed from the data if it can be.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use super::Data;
use super::quote;

/// A value while a template runs.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64, IntType),
    Float(f64),
    Complex(f64, f64),
    Str(Bytes<'a>),
    List(List<'a>),
    Map(Map<'a>),
    /// See [`Data::Pointer`]; never to another pointer.
    Pointer(Box<Value<'a>>),
}

/// The Go type of a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntType {
    /// A constant or a length.
    Int,
    /// From the data.
    Int64,
    /// A byte of a string.
    Uint8,
}

/// A string: any bytes, as in Go.
#[derive(Debug, Clone)]
pub(super) enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Shared(Rc<[u8]>),
}

/// A list, or the part of one that `slice` cut out.
#[derive(Debug, Clone)]
pub(super) struct List<'a> {
    items: Items<'a>,
    start: usize,
    end: usize,
    /// How far a slice of this one may reach: Go lets it grow back over what was cut off.
    limit: usize,
}

#[derive(Debug, Clone)]
enum Items<'a> {
    Borrowed(&'a [Data]),
    Shared(Rc<[Data]>),
}

/// A map with string keys.
#[derive(Debug, Clone)]
pub(super) enum Map<'a> {
    Borrowed(&'a BTreeMap<String, Data>),
    Shared(Rc<BTreeMap<String, Data>>),
}

impl<'a> Value<'a> {
    pub(super) const fn int(value: i64) -> Self {
        Self::Int(value, IntType::Int)
    }

    /// A length or an index.
    pub(super) fn count(count: usize) -> Self {
        Self::int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(super) fn text(bytes: Vec<u8>) -> Self {
        Self::Str(Bytes::Shared(bytes.into()))
    }

    /// The value of `data` without copying it.
    pub(super) fn borrowed(data: &'a Data) -> Self {
        match data {
            Data::Nil => Self::Nil,
            Data::Bool(b) => Self::Bool(*b),
            Data::Int(i) => Self::Int(*i, IntType::Int64),
            Data::Float(f) => Self::Float(*f),
            Data::Str(s) => Self::Str(Bytes::Borrowed(s.as_bytes())),
            Data::List(items) => Self::List(List::new(Items::Borrowed(items))),
            Data::Map(fields) => Self::Map(Map::Borrowed(fields)),
            Data::Pointer(_) => Self::Pointer(Box::new(Self::borrowed(data.pointee()))),
        }
    }

    /// The value of what a function returned.
    pub(super) fn owned(data: Data) -> Self {
        match data {
            Data::Nil => Self::Nil,
            Data::Bool(b) => Self::Bool(b),
            Data::Int(i) => Self::Int(i, IntType::Int64),
            Data::Float(f) => Self::Float(f),
            Data::Str(s) => Self::text(s.into_bytes()),
            Data::List(items) => Self::List(List::new(Items::Shared(items.into()))),
            Data::Map(fields) => Self::Map(Map::Shared(fields.into())),
            Data::Pointer(inner) => {
                let mut inner = *inner;
                while let Data::Pointer(next) = inner {
                    inner = *next;
                }
                Self::Pointer(Box::new(Self::owned(inner)))
            }
        }
    }

    /// The data to hand to a function; a pointer is handed over as what it points to. A complex
    /// number, which data cannot hold, gives `None`.
    pub(super) fn to_data(&self) -> Option<Data> {
        Some(match self.pointee() {
            Self::Bool(b) => Data::Bool(*b),
            Self::Int(i, _) => Data::Int(*i),
            Self::Float(f) => Data::Float(*f),
            Self::Str(s) => Data::Str(quote::to_text(s)),
            Self::List(list) => Data::List(list.as_slice().to_vec()),
            Self::Map(map) => Data::Map(map.fields().clone()),
            Self::Complex(..) => return None,
            Self::Nil | Self::Pointer(_) => Data::Nil,
        })
    }

    /// What a pointer points to, or the value itself.
    pub(super) fn pointee(&self) -> &Self {
        match self {
            Self::Pointer(inner) => inner,
            _ => self,
        }
    }

    /// What `if` makes of the value.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(i, _) => *i != 0,
            Self::Float(f) => *f != 0.0,
            Self::Complex(re, im) => *re != 0.0 || *im != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::List(list) => list.len() > 0,
            Self::Map(map) => !map.fields().is_empty(),
            Self::Pointer(_) => true,
        }
    }

    /// The name Go has for the type.
    pub(super) fn go_type(&self) -> &'static str {
        match self.pointee() {
            Self::Bool(_) => "bool",
            Self::Int(_, IntType::Int) => "int",
            Self::Int(_, IntType::Int64) => "int64",
            Self::Int(_, IntType::Uint8) => "uint8",
            Self::Float(_) => "float64",
            Self::Complex(..) => "complex128",
            Self::Str(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Nil | Self::Pointer(_) => "<nil>",
        }
    }

    /// The type in words, for messages.
    pub(super) fn describe(&self) -> &'static str {
        match self.pointee() {
            Self::Bool(_) => "a bool",
            Self::Int(..) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Complex(..) => "a complex number",
            Self::Str(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Nil | Self::Pointer(_) => "nil",
        }
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Bytes<'_> {
    /// The bytes from `start` to `end`, which lie within.
    pub(super) fn cut(&self, start: usize, end: usize) -> Self {
        match self {
            Self::Borrowed(bytes) => Self::Borrowed(bytes.get(start..end).unwrap_or_default()),
            Self::Shared(bytes) => Self::Shared(bytes.get(start..end).unwrap_or_default().into()),
        }
    }
}

impl<'a> List<'a> {
    fn new(items: Items<'a>) -> Self {
        let end = match &items {
            Items::Borrowed(items) => items.len(),
            Items::Shared(items) => items.len(),
        };
        Self { items, start: 0, end, limit: end }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// The largest end [`List::cut`] takes.
    pub(super) fn capacity(&self) -> usize {
        self.limit - self.start
    }

    pub(super) fn at(&self, index: usize) -> Option<Value<'a>> {
        if index >= self.len() {
            return None;
        }
        let index = self.start + index;
        match &self.items {
            Items::Borrowed(items) => items.get(index).map(Value::borrowed),
            Items::Shared(items) => items.get(index).cloned().map(Value::owned),
        }
    }

    /// The items from `start` to `end`, and a capacity that reaches to `limit`. The three are in
    /// order and within this list's capacity.
    pub(super) fn cut(&self, start: usize, end: usize, limit: usize) -> Self {
        let limit = (self.start + limit).min(self.limit);
        let end = (self.start + end).min(limit);
        Self { items: self.items.clone(), start: (self.start + start).min(end), end, limit }
    }

    pub(super) fn as_slice(&self) -> &[Data] {
        let all: &[Data] = match &self.items {
            Items::Borrowed(items) => items,
            Items::Shared(items) => items,
        };
        all.get(self.start..self.end).unwrap_or_default()
    }
}

impl<'a> Map<'a> {
    pub(super) fn fields(&self) -> &BTreeMap<String, Data> {
        match self {
            Self::Borrowed(fields) => fields,
            Self::Shared(fields) => fields,
        }
    }

    pub(super) fn at(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Borrowed(fields) => fields.get(key).map(Value::borrowed),
            Self::Shared(fields) => fields.get(key).cloned().map(Value::owned),
        }
    }
}
