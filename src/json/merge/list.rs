//! Merged lists in the order that apimachinery gives them.

use std::collections::HashMap;

use serde_json::Value;

use super::{MergeError, Side, describe, wrong_type};
use crate::json::path::{Step, Trail};
use crate::json::schema::{Keyed, Kind, Schema};

/// What becomes of several items with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// As apimachinery: all of the upper's are merged into the lower's first.
    Collapse,
    /// The upper's first into the lower's first, its second into the lower's second; what is left
    /// over into the last. Unlike [`Duplicates::Collapse`], merging the result again changes nothing.
    Pair,
}

/// Which item of its list this is: its key, and how many with that key go before it.
type Identity<'v> = (&'v Value, usize);

/// Merges one item over another with the same key.
pub(super) type MergeItem =
    fn(&Value, &Value, &'static Schema, &Trail<'_>) -> Result<Value, MergeError>;

/// Merges two lists at one place; a list without a key is replaced.
pub(super) fn merge(
    lower: &[Value],
    upper: &[Value],
    schema: &'static Schema,
    trail: &Trail<'_>,
    duplicates: Duplicates,
    merge_item: MergeItem,
) -> Result<Value, MergeError> {
    let keyed = match schema.kind() {
        Kind::Keyed(keyed) => Some(keyed),
        Kind::Set => None,
        _ => return Ok(Value::Array(upper.to_vec())),
    };
    let lower_keys = keys(lower, keyed, trail, Side::Lower)?;
    let upper_keys = keys(upper, keyed, trail, Side::Upper)?;
    let (lower_ids, upper_ids) = identities(&lower_keys, &upper_keys, duplicates);

    let places = positions(&upper_ids);
    let over = |below: &Value, above: &Value, id| match keyed {
        Some(keyed) => {
            let index = places.get(&id).copied().unwrap_or_default();
            merge_item(below, above, keyed.item, &trail.then(Step::Index(index)))
        }
        // An item of a set is its own key: both are the same.
        None => Ok(above.clone()),
    };
    let lower_items = lower_ids.iter().copied().zip(lower.iter().cloned());
    let upper_items = upper_ids.iter().copied().zip(upper.iter().cloned());
    let mut merged = Items::default();
    match (duplicates, keyed) {
        (Duplicates::Collapse, None) => merged.merge(lower_items.chain(upper_items), over)?,
        (Duplicates::Collapse, _) => {
            merged.extend(lower_items);
            merged.merge(upper_items, over)?;
        }
        (Duplicates::Pair, _) => {
            // The upper's among themselves first: of two that choose differently in a one-of
            // group, the second must not undo what the first did to the lower's.
            let mut above = Items::default();
            above.merge(upper_items, over)?;
            merged.extend(lower_items);
            merged.merge(above.items, over)?;
        }
    }
    Ok(Value::Array(in_order(merged.items, &lower_ids, &upper_ids)))
}

/// Items and where each of them stands.
#[derive(Default)]
struct Items<'v> {
    items: Vec<(Identity<'v>, Value)>,
    places: HashMap<Identity<'v>, usize>,
}

impl<'v> Items<'v> {
    /// Adds items, whatever is there already.
    fn extend(&mut self, items: impl IntoIterator<Item = (Identity<'v>, Value)>) {
        for (id, item) in items {
            self.places.entry(id).or_insert(self.items.len());
            self.items.push((id, item));
        }
    }

    /// Adds items, each merged over the one with its identity.
    fn merge(
        &mut self,
        items: impl IntoIterator<Item = (Identity<'v>, Value)>,
        over: impl Fn(&Value, &Value, Identity<'v>) -> Result<Value, MergeError>,
    ) -> Result<(), MergeError> {
        for (id, item) in items {
            let place = *self.places.entry(id).or_insert(self.items.len());
            match self.items.get_mut(place) {
                Some((_, below)) => *below = over(below, &item, id)?,
                None => self.items.push((id, item)),
            }
        }
        Ok(())
    }
}

/// For each item of the upper list, the item of the lower list that it merges into.
///
/// # Errors
/// The first item of either list without a usable key.
pub(super) fn partners<'v>(
    lower: &'v [Value],
    upper: &[Value],
    keyed: &Keyed,
    trail: &Trail<'_>,
    duplicates: Duplicates,
) -> Result<Vec<Option<&'v Value>>, MergeError> {
    let lower_keys = keys(lower, Some(keyed), trail, Side::Lower)?;
    let upper_keys = keys(upper, Some(keyed), trail, Side::Upper)?;
    let (lower_ids, upper_ids) = identities(&lower_keys, &upper_keys, duplicates);
    let places = positions(&lower_ids);
    Ok(upper_ids.iter().map(|id| lower.get(*places.get(id)?)).collect())
}

/// The key of each item; for a set, the item itself.
///
/// # Errors
/// The first item without a usable key.
pub(super) fn keys<'v>(
    items: &'v [Value],
    keyed: Option<&Keyed>,
    trail: &Trail<'_>,
    side: Side,
) -> Result<Vec<&'v Value>, MergeError> {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let trail = trail.then(Step::Index(index));
            let Some(Keyed { key, .. }) = keyed else {
                return if is_scalar(item) {
                    Ok(item)
                } else {
                    Err(wrong_type(&trail, side, "a string", item))
                };
            };
            let Value::Object(members) = item else {
                return Err(wrong_type(&trail, side, "an object", item));
            };
            match members.get(*key) {
                Some(value) if is_scalar(value) => Ok(value),
                None | Some(Value::Null) => Err(MergeError::MissingMergeKey {
                    path: trail.path(),
                    key,
                    found: describe(item),
                    side,
                }),
                Some(value) => {
                    let trail = trail.then(Step::Field(key));
                    Err(wrong_type(&trail, side, "a string or a number", value))
                }
            }
        })
        .collect()
}

/// Tells the items of both lists apart, so that those with the same identity are merged.
fn identities<'v>(
    lower: &[&'v Value],
    upper: &[&'v Value],
    duplicates: Duplicates,
) -> (Vec<Identity<'v>>, Vec<Identity<'v>>) {
    if duplicates == Duplicates::Collapse {
        let plain = |keys: &[&'v Value]| keys.iter().map(|key| (*key, 0)).collect();
        return (plain(lower), plain(upper));
    }
    let mut counts: HashMap<&Value, usize> = HashMap::new();
    let lower_ids = lower.iter().map(|key| (*key, next(&mut counts, key))).collect();
    let mut seen: HashMap<&Value, usize> = HashMap::new();
    let upper_ids = upper
        .iter()
        .map(|key| {
            let last = counts.get(key).map_or(0, |count| count - 1);
            (*key, next(&mut seen, key).min(last))
        })
        .collect();
    (lower_ids, upper_ids)
}

/// How often a key was asked for before.
fn next<'v>(counts: &mut HashMap<&'v Value, usize>, key: &'v Value) -> usize {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count - 1
}

/// apimachinery's order: the upper's items in the upper's order, the lower's others in the lower's
/// order, and the two interleaved, an item of the lower going first only where the lower list has
/// it before the upper's next item. An item that only the upper has compares with none and so
/// goes before all that are left (`mergeSortedSlice` in `patch.go`). More items of a key than the
/// upper list has stand behind its last.
fn in_order(
    merged: Vec<(Identity<'_>, Value)>,
    lower: &[Identity<'_>],
    upper: &[Identity<'_>],
) -> Vec<Value> {
    let mut last = HashMap::new();
    for (key, count) in upper {
        last.insert(*key, *count);
    }
    let (lower, upper) = (positions(lower), positions(upper));
    let rank = |(key, count): &Identity<'_>| {
        let last = last.get(key)?;
        upper.get(&(*key, *count.min(last))).copied()
    };
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|((key, _), _)| last.contains_key(key));
    // Both sorts are stable.
    ours.sort_by_key(|(id, _)| rank(id));
    others.sort_by_key(|(id, _)| lower.get(id).copied());

    let goes_before = |left: &Identity<'_>, right: &Identity<'_>| {
        lower.get(left).zip(lower.get(right)).is_some_and(|(left, right)| left < right)
    };
    let mut ordered = Vec::with_capacity(ours.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (id, item) in ours {
        while let Some((_, other)) = others.next_if(|(other, _)| goes_before(other, &id)) {
            ordered.push(other);
        }
        ordered.push(item);
    }
    ordered.extend(others.map(|(_, other)| other));
    ordered
}

/// Where each item stands first.
fn positions<'v>(ids: &[Identity<'v>]) -> HashMap<Identity<'v>, usize> {
    let mut positions = HashMap::new();
    for (index, id) in ids.iter().enumerate() {
        positions.entry(*id).or_insert(index);
    }
    positions
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
}
