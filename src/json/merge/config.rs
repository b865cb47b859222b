//! One config, or the service, over another.

use serde_json::{Map, Value};

use super::list::{self, Duplicates};
use super::{MergeError, Side, without_nulls, wrong_type};
use crate::json::path::{FieldPath, Step, Trail};
use crate::json::schema::{Kind, Schema};
use crate::json::walk::find_too_deep;

/// Merges `upper` over `lower`; see [`super::Layer::Config`].
pub(super) fn merge(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
) -> Result<Value, MergeError> {
    let (lower, upper) = (without_nulls(lower), without_nulls(upper));
    if lower.is_null() {
        return Ok(upper);
    }
    value(&lower, &upper, schema, &Trail::ROOT)
}

/// The fields of `upper` that [`super::Layer::Config`] ignores because they are empty while `lower`
/// has a value there, so that their author can be told. An empty object over an object is not
/// among them: Kubernetes' own merge takes nothing away for it. No field at all for a document
/// that [`super::merge`] refuses as too deep.
#[must_use]
pub fn ignored_empties(lower: &Value, upper: &Value, schema: &'static Schema) -> Vec<FieldPath> {
    let mut ignored = Vec::new();
    if find_too_deep(lower).is_none() && find_too_deep(upper).is_none() {
        collect_ignored(lower, upper, schema, &Trail::ROOT, &mut ignored);
    }
    ignored
}

fn value(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    match (lower, upper) {
        // Always member by member: `gateway: {}` beside members that the lower has says a lot.
        (Value::Object(lower), Value::Object(upper)) => object(lower, upper, schema, trail),
        _ if is_empty(lower, schema) => Ok(upper.clone()),
        _ if is_empty(upper, schema) => Ok(lower.clone()),
        (Value::Array(lower), Value::Array(upper)) => {
            list::merge(lower, upper, schema, trail, Duplicates::Pair, value)
        }
        (Value::Object(_), _) => Err(wrong_type(trail, Side::Upper, "an object", upper)),
        (Value::Array(_), _) => Err(wrong_type(trail, Side::Upper, "a list", upper)),
        (_, Value::Object(_) | Value::Array(_)) => {
            Err(wrong_type(trail, Side::Upper, "a single value", upper))
        }
        _ => Ok(upper.clone()),
    }
}

fn object(
    lower: &Map<String, Value>,
    upper: &Map<String, Value>,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    let upper_chooses = upper.iter().any(|(name, v)| chooses(schema, name, v));
    let lower_chooses = lower.keys().any(|name| schema.is_one_of(name));

    let mut merged = Map::new();
    for (name, below) in lower {
        let above = upper.get(name);
        let chosen = above.is_some_and(|above| chooses(schema, name, above));
        if upper_chooses && !chosen && schema.is_one_of(name) {
            continue;
        }
        let member = match above {
            None => below.clone(),
            Some(above) => {
                value(below, above, schema.member(name), &trail.then(schema.step(name)))?
            }
        };
        merged.insert(name.clone(), member);
    }
    for (name, above) in upper {
        let idle = lower_chooses && schema.is_one_of(name) && !chooses(schema, name, above);
        if !lower.contains_key(name) && !idle {
            merged.insert(name.clone(), above.clone());
        }
    }
    Ok(Value::Object(merged))
}

/// Whether a member decides its one-of group. `emptyDir: {}` does, `value: ""` does not.
fn chooses(schema: &Schema, name: &str, member: &Value) -> bool {
    schema.is_one_of(name) && !is_blank(member)
}

/// Null, `""` or `[]`.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Whether a value says nothing: blank, false or 0 where Go cannot tell it from absent, or an object of
/// nothing but such members.
fn is_empty(value: &Value, schema: &'static Schema) -> bool {
    match value {
        Value::Bool(value) => !value && matches!(schema.kind(), Kind::Flag),
        Value::Number(number) => number.as_i64() == Some(0) && matches!(schema.kind(), Kind::Flag),
        Value::Object(members) => members.iter().all(|(name, member)| {
            !chooses(schema, name, member) && is_empty(member, schema.member(name))
        }),
        value => is_blank(value),
    }
}

fn collect_ignored(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
    trail: &Trail<'_>,
    ignored: &mut Vec<FieldPath>,
) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            collect_members(lower, upper, schema, trail, ignored);
        }
        (Value::Array(lower), Value::Array(upper)) if !upper.is_empty() => {
            collect_items(lower, upper, schema, trail, ignored);
        }
        _ if is_empty(upper, schema) && !is_empty(lower, schema) => ignored.push(trail.path()),
        _ => {}
    }
}

fn collect_members(
    lower: &Map<String, Value>,
    upper: &Map<String, Value>,
    schema: &'static Schema,
    trail: &Trail<'_>,
    ignored: &mut Vec<FieldPath>,
) {
    let upper_chooses = upper.iter().any(|(name, v)| chooses(schema, name, v));
    let lower_chooses = lower.iter().any(|(name, v)| chooses(schema, name, v));
    for (name, above) in upper {
        let trail = trail.then(schema.step(name));
        if schema.is_one_of(name) && !chooses(schema, name, above) {
            // Beside a member that does choose, it had no say to begin with. A null takes away
            // its own member only; `value: ""` stands against the lower's `valueFrom` as well.
            let stands_against = if above.is_null() {
                lower.get(name).is_some_and(|below| !is_blank(below))
            } else {
                lower_chooses
            };
            if !upper_chooses && stands_against {
                ignored.push(trail.path());
            }
        } else if let Some(below) = lower.get(name) {
            collect_ignored(below, above, schema.member(name), &trail, ignored);
        }
    }
}

fn collect_items(
    lower: &[Value],
    upper: &[Value],
    schema: &'static Schema,
    trail: &Trail<'_>,
    ignored: &mut Vec<FieldPath>,
) {
    let Kind::Keyed(keyed) = schema.kind() else {
        return;
    };
    // A list without its keys does not merge at all.
    let Ok(partners) = list::partners(lower, upper, keyed, trail, Duplicates::Pair) else {
        return;
    };
    for (index, (above, partner)) in upper.iter().zip(partners).enumerate() {
        if let Some(below) = partner {
            let trail = trail.then(Step::Index(index));
            collect_ignored(below, above, keyed.item, &trail, ignored);
        }
    }
}
