//! The values a template is rendered with.

use std::collections::BTreeMap;

/// A value a template can reach.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Go's nil: prints `<no value>`, is false, and has no fields.
    Nil,
    /// A bool.
    Bool(bool),
    /// A whole number, Go's `int64`.
    Int(i64),
    /// Any other number, Go's `float64`.
    Float(f64),
    /// A string.
    Str(String),
    /// A list.
    List(Vec<Data>),
    /// A map or struct; its keys are the names after the dot.
    Map(BTreeMap<String, Data>),
    /// A set pointer, such as a `*int32` field of a Go struct. It acts as what it points to,
    /// save that it is true even when that is 0, `""` or false.
    Pointer(Box<Data>),
}

impl Data {
    /// What a chain of pointers ends at, or the value itself.
    #[must_use]
    pub fn pointee(&self) -> &Self {
        let mut data = self;
        while let Self::Pointer(inner) = data {
            data = inner;
        }
        data
    }
}

impl From<&serde_json::Value> for Data {
    /// Whole numbers that fit `i64` become [`Data::Int`], also when written as `1.0`; others
    /// [`Data::Float`].
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(b) => Self::Bool(*b),
            serde_json::Value::Number(n) => number(n),
            serde_json::Value::String(s) => Self::Str(s.clone()),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(fields) => Self::Map(
                fields.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect(),
            ),
        }
    }
}

fn number(n: &serde_json::Number) -> Data {
    n.as_i64().map_or_else(|| Data::Float(n.as_f64().unwrap_or(f64::NAN)), Data::Int)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_becomes_data() {
        let data =
            Data::from(&json!({"a": [1, 1.5, null, true, "x", 18_446_744_073_709_551_615_u64]}));
        let items = vec![
            Data::Int(1),
            Data::Float(1.5),
            Data::Nil,
            Data::Bool(true),
            Data::Str("x".into()),
            Data::Float(18_446_744_073_709_551_615.0),
        ];
        assert_eq!(data, Data::Map(BTreeMap::from([("a".to_owned(), Data::List(items))])));
    }

    #[test]
    fn a_pointer_ends_at_its_value() {
        let data = Data::Pointer(Box::new(Data::Pointer(Box::new(Data::Int(0)))));
        assert_eq!(data.pointee(), &Data::Int(0));
    }
}
