//! The merge of apimachinery, without its directives.

use serde_json::{Map, Value};

use super::list::{self, Duplicates};
use super::{MergeError, without_nulls};
use crate::json::path::Trail;
use crate::json::schema::Schema;

/// Applies `upper` to `lower` as a patch.
pub(super) fn merge(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
) -> Result<Value, MergeError> {
    if upper.is_null() {
        return Ok(lower.clone());
    }
    value(lower, upper, schema, &Trail::ROOT)
}

fn value(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => object(lower, upper, schema, trail),
        (Value::Array(lower), Value::Array(upper)) => {
            list::merge(lower, upper, schema, trail, Duplicates::Collapse, value)
        }
        _ => Ok(without_nulls(upper)),
    }
}

fn object(
    lower: &Map<String, Value>,
    upper: &Map<String, Value>,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    let mut merged = Map::new();
    for (name, below) in lower {
        let member = match upper.get(name) {
            None => below.clone(),
            Some(Value::Null) => continue,
            Some(above) => {
                value(below, above, schema.member(name), &trail.then(schema.step(name)))?
            }
        };
        merged.insert(name.clone(), member);
    }
    for (name, above) in upper {
        if !lower.contains_key(name) && !above.is_null() {
            merged.insert(name.clone(), without_nulls(above));
        }
    }
    Ok(Value::Object(merged))
}
