//! The pod that its author wrote, over a blueprint.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{MergeError, Side, list, without_nulls};
use crate::json::path::{Step, Trail};
use crate::json::schema::{Keyed, Kind, PodRule, Schema};

/// Fills `upper` from `lower`; see [`super::Layer::Pod`].
pub(super) fn merge(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
) -> Result<Value, MergeError> {
    let lower = without_nulls(lower);
    if upper.is_null() {
        return Ok(lower);
    }
    value(&lower, upper, schema, &Trail::ROOT)
}

fn value(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => match schema.kind() {
            Kind::Object(object_kind) if object_kind.resources => {
                object(&without_named(lower, upper), upper, schema, trail)
            }
            _ => object(lower, upper, schema, trail),
        },
        (Value::Array(lower), Value::Array(upper)) => match schema.kind() {
            Kind::Keyed(keyed) => items(lower, upper, keyed, trail),
            Kind::Set | Kind::Additive => Ok(union(lower, upper)),
            _ => Ok(Value::Array(upper.clone())),
        },
        _ => Ok(upper.clone()),
    }
}

fn object(
    lower: &Map<String, Value>,
    upper: &Map<String, Value>,
    schema: &'static Schema,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    let chosen = upper.iter().any(|(name, member)| schema.is_one_of(name) && !member.is_null());
    let mut merged = Map::new();
    for (name, above) in upper {
        let member = match lower.get(name) {
            None => above.clone(),
            Some(below) => {
                value(below, above, schema.member(name), &trail.then(schema.step(name)))?
            }
        };
        merged.insert(name.clone(), member);
    }
    for (name, below) in lower {
        let displaced = chosen && schema.is_one_of(name);
        if !displaced && !upper.contains_key(name) {
            merged.insert(name.clone(), below.clone());
        }
    }
    Ok(Value::Object(merged))
}

/// The author's items, each filled, then the blueprint's others. Of several items with one key the
/// author's first is filled, from the blueprint's first. An item of the author's without a key
/// stays as it is.
fn items(
    lower: &[Value],
    upper: &[Value],
    keyed: &'static Keyed,
    trail: &Trail<'_>,
) -> Result<Value, MergeError> {
    list::keys(lower, Some(keyed), trail, Side::Lower)?;
    let mut fillings: HashMap<Identity<'_>, &Value> = HashMap::new();
    for item in lower {
        if let Some(identity) = Identity::of(item, keyed) {
            fillings.entry(identity).or_insert(item);
        }
    }

    let mut merged = Vec::with_capacity(upper.len() + lower.len());
    let mut present: HashSet<Identity<'_>> = HashSet::new();
    for (index, item) in upper.iter().enumerate() {
        let filling = Identity::of(item, keyed)
            .filter(|identity| present.insert(*identity))
            .and_then(|identity| fillings.get(&identity))
            .filter(|filling| fills(filling, item, keyed.pod));
        merged.push(match filling {
            None => item.clone(),
            Some(filling) => value(filling, item, keyed.item, &trail.then(Step::Index(index)))?,
        });
    }
    for item in lower {
        if !Identity::of(item, keyed).is_some_and(|identity| present.contains(&identity)) {
            merged.push(item.clone());
        }
    }
    Ok(Value::Array(merged))
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
fn union(lower: &[Value], upper: &[Value]) -> Value {
    let present: HashSet<&Value> = upper.iter().collect();
    let added = lower.iter().filter(|item| !present.contains(item));
    Value::Array(upper.iter().chain(added).cloned().collect())
}

/// The blueprint's resources without those that the author names in `limits` or `requests`: with
/// a limit of his and a request of the blueprint's, the request might exceed the limit.
fn without_named(lower: &Map<String, Value>, upper: &Map<String, Value>) -> Map<String, Value> {
    const AMOUNTS: [&str; 2] = ["limits", "requests"];
    let named: HashSet<&String> = AMOUNTS
        .iter()
        .filter_map(|amounts| upper.get(*amounts)?.as_object())
        .flat_map(Map::keys)
        .collect();
    let mut rest = lower.clone();
    if named.is_empty() {
        return rest;
    }
    for amounts in AMOUNTS {
        if let Some(Value::Object(left)) = rest.get_mut(amounts) {
            left.retain(|name, _| !named.contains(name));
            if left.is_empty() {
                rest.shift_remove(amounts);
            }
        }
    }
    rest
}
