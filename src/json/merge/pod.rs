//! The pod that its author wrote, over a blueprint.

use std::collections::HashSet;
use std::mem::take;

use serde_json::{Map, Value};

use super::{MergeError, Side, list};
use crate::json::path::{Step, Trail};
use crate::json::schema::{Keyed, Kind, PodRule, Schema};

/// Fills `upper` from `lower`; see [`super::Layer::Pod`]. Both are taken apart: this is what every
/// pod that is created pays for.
pub(super) fn merge(
    mut lower: Value,
    upper: Value,
    schema: &'static Schema,
) -> Result<Value, MergeError> {
    drop_nulls(&mut lower);
    if upper.is_null() {
        return Ok(lower);
    }
    value(lower, upper, schema, &Trail::ROOT)
}

/// Kubernetes reads a null member as absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn value(
    lower: Value,
    upper: Value,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    match (lower, upper) {
        (Value::Object(mut lower), Value::Object(upper)) => {
            if let Kind::Object(kind) = schema.kind()
                && kind.resources
            {
                drop_named(&mut lower, &upper);
            }
            object(lower, upper, schema, trail)
        }
        (Value::Array(lower), Value::Array(upper)) => match schema.kind() {
            Kind::Keyed(keyed) => items(lower, upper, keyed, trail),
            Kind::Set | Kind::Additive => Ok(union(lower, upper)),
            // The API server keeps no empty list: the author said nothing.
            _ if upper.is_empty() => Ok(Value::Array(lower)),
            _ => Ok(Value::Array(upper)),
        },
        // Nor a null.
        (lower, Value::Null) => Ok(lower),
        (_, upper) => Ok(upper),
    }
}

fn object(
    lower: Map<String, Value>,
    mut upper: Map<String, Value>,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    let chosen = upper.iter().any(|(name, member)| schema.is_one_of(name) && !member.is_null());
    for (name, below) in lower {
        if let Some(above) = upper.get_mut(&name) {
            let trail = trail.then(schema.step(&name));
            *above = value(below, take(above), schema.member(&name), &trail)?;
        } else if !(chosen && schema.is_one_of(&name)) {
            upper.insert(name, below);
        }
    }
    Ok(Value::Object(upper))
}

/// The author's items, each filled, then the blueprint's others. Of several items with one key the
/// author's first is filled, from the blueprint's first. An item of the author's without a key
/// stays as it is.
fn items(
    lower: Vec<Value>,
    mut upper: Vec<Value>,
    keyed: &'static Keyed,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    list::keys(&lower, Some(keyed), trail, Side::Lower)?;
    let own = upper.len();
    // Where the author has the blueprint's item; a blueprint's list is short.
    let places: Vec<Option<usize>> = lower
        .iter()
        .map(|item| {
            let identity = Identity::of(item, keyed)?;
            upper.iter().position(|other| Identity::of(other, keyed) == Some(identity))
        })
        .collect();
    let mut filled: HashSet<usize> = HashSet::new();
    for (below, place) in lower.into_iter().zip(places) {
        let Some(index) = place else {
            upper.push(below);
            continue;
        };
        if let Some(above) = upper.get_mut(index).filter(|_| index < own)
            && filled.insert(index)
            && fills(&below, above, keyed.pod)
        {
            let trail = trail.then(Step::Index(index));
            *above = value(below, take(above), keyed.item, &trail)?;
        }
    }
    Ok(Value::Array(upper))
}

/// What makes an item of the blueprint the same as one of the author's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Identity<'v> {
    Key(&'v Value),
    /// A path, without slashes at its end.
    Path(&'v str),
    /// A port's number and protocol.
    Port(&'v Value, &'v str),
}

impl<'v> Identity<'v> {
    fn of(item: &'v Value, keyed: &Keyed) -> Option<Self> {
        let key = item.get(keyed.key).filter(|key| !key.is_null())?;
        Some(match (keyed.pod, key) {
            (PodRule::SameVolume, Value::String(path)) => Self::Path(path.trim_end_matches('/')),
            (PodRule::Port, key) => {
                // The API server's default for a protocol left out.
                let protocol = item.get("protocol").and_then(Value::as_str);
                Self::Port(key, protocol.unwrap_or("TCP"))
            }
            (_, key) => Self::Key(key),
        })
    }
}

/// Whether an item of the blueprint may fill the author's item with the same identity.
fn fills(filling: &Value, item: &Value, rule: PodRule) -> bool {
    match rule {
        PodRule::Fill | PodRule::Port => true,
        PodRule::Whole => false,
        PodRule::SameVolume => filling.get("name") == item.get("name"),
    }
}

/// The upper's items and, behind them, the lower's that it lacks.
fn union(lower: Vec<Value>, mut upper: Vec<Value>) -> Value {
    let present: HashSet<&Value> = upper.iter().collect();
    let added: Vec<Value> = lower.into_iter().filter(|item| !present.contains(item)).collect();
    upper.extend(added);
    Value::Array(upper)
}

/// Takes from the blueprint's resources those that the author names in `limits` or `requests`: with
/// a limit of his and a request of the blueprint's, the request might exceed the limit.
fn drop_named(lower: &mut Map<String, Value>, upper: &Map<String, Value>) {
    const AMOUNTS: [&str; 2] = ["limits", "requests"];
    let is_named = |name: &String| {
        AMOUNTS
            .iter()
            .any(|amounts| upper.get(*amounts).is_some_and(|list| list.get(name).is_some()))
    };
    for amounts in AMOUNTS {
        let Some(Value::Object(left)) = lower.get_mut(amounts) else { continue };
        let before = left.len();
        left.retain(|name, _| !is_named(name));
        if left.is_empty() && before > 0 {
            lower.shift_remove(amounts);
        }
    }
}
