//! A JSON value that is packed as text until somebody looks into it.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use serde_json::Value;

/// A JSON value: read where it was made of one, else read from its text when it is first looked
/// into, and kept from then on. A value takes some twenty times the memory of its text, and most of
/// a cluster's services are not looked into for days.
#[derive(Clone)]
pub struct Document {
    /// Empty where the value was given.
    text: Box<str>,
    value: OnceLock<Value>,
}

impl Document {
    /// The value, as text alone.
    #[must_use]
    pub fn packed(value: &Value) -> Self {
        Self { text: value.to_string().into_boxed_str(), value: OnceLock::new() }
    }

    /// A copy of the value, which leaves this packed where it is.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.value.get().cloned().unwrap_or_else(|| self.read())
    }

    /// The text was written from a value, so it reads.
    fn read(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self { text: Box::default(), value: OnceLock::from(value) }
    }
}

impl Deref for Document {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.value.get_or_init(|| self.read())
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        let packed = !self.text.is_empty() && self.text == other.text;
        // The order of members may differ.
        packed || self.to_value() == other.to_value()
    }
}

impl PartialEq<Value> for Document {
    fn eq(&self, other: &Value) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packed_or_not_it_is_the_same_value() {
        let value = json!({"b": [1, 2.5, null], "a": {"é": "\u{0}"}});
        let (packed, given) = (Document::packed(&value), Document::from(value.clone()));
        assert_eq!(packed.to_value(), value);
        assert!(packed.value.get().is_none(), "a copy leaves it packed");
        assert_eq!((&packed, &given), (&given, &packed.clone()));
        assert_eq!(packed, Document::packed(&json!({"a": {"é": "\u{0}"}, "b": [1, 2.5, null]})));
        assert_ne!(packed, Document::packed(&json!({})));
        assert_eq!(*packed, value);
        assert!(packed.value.get().is_some());
    }
}
