//! Kubernetes' strategic merge of one layer over another.

mod config;
mod kubernetes;
mod list;
mod pod;

#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod vectors;

use std::fmt;

use serde_json::Value;

use super::path::{FieldPath, Trail};
use super::schema::Schema;
use super::walk::{MAX_DEPTH, find_directive, find_too_deep};

pub use config::ignored_empties;

/// What the upper document is, which decides how far it may overrule the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A patch, as apimachinery applies it (`pkg/util/strategicpatch`): null deletes, and the items
    /// of a merged list are interleaved by their order in the lower one.
    Plain,
    /// A service or a config over another. As [`Layer::Plain`], but an empty value (null, `""`, `[]`,
    /// `{}`, and false where Go cannot tell it from absent) changes nothing that the lower one set,
    /// and the member of a one-of group takes the place of the lower one's other member.
    Config,
    /// The pod as its author wrote it, over a blueprint. Nothing of the author's is changed, removed
    /// or moved: his list items come first, in his order and number, then the blueprint's others.
    /// Env items are complete as they stand; a resource that he names in `limits` or `requests`
    /// is his in both; one-of groups are his; the blueprint's tolerations are added to his.
    Pod,
}

/// One of the two documents of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The document that is merged into.
    Lower,
    /// The document whose values win.
    Upper,
}

/// Why two documents do not merge. Paths start at the documents' root; [`MergeError::under`] moves them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A key that tells Kubernetes' strategic merge what to do.
    #[error(
        "{path} is a merge directive, which is not read here; remove it and write the values wanted"
    )]
    Directive {
        /// The directive key itself.
        path: FieldPath,
        /// Whose it is.
        side: Side,
    },
    /// An item of a merged list that cannot be told from its neighbours.
    #[error("{path} is {found} without `{key}`, by which this list merges; add `{key}`")]
    MissingMergeKey {
        /// The item.
        path: FieldPath,
        /// The member that it lacks.
        key: &'static str,
        /// What the item is, in a few words.
        found: String,
        /// Whose it is.
        side: Side,
    },
    /// A value of another shape than its place, or than the other layer, has.
    #[error("{} is {found}, where {expected} belongs; write {expected}", place(path))]
    WrongType {
        /// The value.
        path: FieldPath,
        /// The shape wanted, with its article.
        expected: &'static str,
        /// What is there, in a few words.
        found: String,
        /// Whose it is.
        side: Side,
    },
    /// Nesting beyond [`MAX_DEPTH`].
    #[error("{} is nested deeper than {MAX_DEPTH} levels; flatten it", place(path))]
    TooDeep {
        /// The first value that is too deep.
        path: FieldPath,
        /// Whose it is.
        side: Side,
    },
}

/// Merges `upper` over `lower`, both documents of the kind that `schema` describes.
///
/// # Errors
/// [`MergeError`], with the path of the value at fault. [`Layer::Pod`] finds fault with `lower` only,
/// save for nesting: what the author wrote is for the API server to judge.
pub fn merge(
    lower: &Value,
    upper: &Value,
    schema: &'static Schema,
    layer: Layer,
) -> Result<Value, MergeError> {
    check_depth(lower, Side::Lower)?;
    check_depth(upper, Side::Upper)?;
    check_directives(lower, Side::Lower)?;
    let merge = match layer {
        Layer::Plain => kubernetes::merge,
        Layer::Config => config::merge,
        // A pod's unknown fields are its author's, whatever they are called.
        Layer::Pod => return fill(lower.clone(), upper.clone(), schema),
    };
    check_directives(upper, Side::Upper)?;
    merge(lower, upper, schema)
}

/// [`merge`] in [`Layer::Pod`] for documents that are not needed any more. Neither is walked for its
/// nesting or for directives: `lower` is one that [`merge`] has made, `upper` one that was parsed,
/// and so no deeper than [`super::MAX_DEPTH`].
///
/// # Errors
/// [`MergeError::MissingMergeKey`] and [`MergeError::WrongType`] for a list of `lower`.
pub fn fill(lower: Value, upper: Value, schema: &'static Schema) -> Result<Value, MergeError> {
    pod::merge(lower, upper, schema)
}

/// First, for everything after it recurses.
fn check_depth(value: &Value, side: Side) -> Result<(), MergeError> {
    find_too_deep(value).map_or(Ok(()), |path| Err(MergeError::TooDeep { path, side }))
}

fn check_directives(value: &Value, side: Side) -> Result<(), MergeError> {
    find_directive(value).map_or(Ok(()), |path| Err(MergeError::Directive { path, side }))
}

impl MergeError {
    /// The same error with its path below `prefix`, for a document that is part of a larger one.
    #[must_use]
    pub fn under(mut self, prefix: &FieldPath) -> Self {
        let (Self::Directive { path, .. }
        | Self::MissingMergeKey { path, .. }
        | Self::WrongType { path, .. }
        | Self::TooDeep { path, .. }) = &mut self;
        *path = prefix.join(path);
        self
    }

    /// The place at fault.
    #[must_use]
    pub fn path(&self) -> &FieldPath {
        let (Self::Directive { path, .. }
        | Self::MissingMergeKey { path, .. }
        | Self::WrongType { path, .. }
        | Self::TooDeep { path, .. }) = self;
        path
    }

    /// The document at fault.
    #[must_use]
    pub fn side(&self) -> Side {
        let (Self::Directive { side, .. }
        | Self::MissingMergeKey { side, .. }
        | Self::WrongType { side, .. }
        | Self::TooDeep { side, .. }) = self;
        *side
    }
}

/// A path as a sentence's subject.
pub(super) fn place(path: &FieldPath) -> impl fmt::Display {
    if path.is_root() { "the document".to_owned() } else { path.to_string() }
}

/// The same value without the null members of its objects, at any depth: Kubernetes reads them
/// as absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(name, member)| (name.clone(), without_nulls(member)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        scalar => scalar.clone(),
    }
}

fn wrong_type(trail: &Trail<'_>, side: Side, expected: &'static str, found: &Value) -> MergeError {
    MergeError::WrongType { path: trail.path(), expected, found: describe(found), side }
}

/// A value in a few words, never longer than a line.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string \"{}\"", clip(text)),
        Value::Array(items) => format!("a list of {} items", items.len()),
        Value::Object(members) => {
            let names: Vec<String> = members.keys().take(3).map(|name| clip(name)).collect();
            let dots = if names.len() < members.len() { ", …" } else { "" };
            format!("an object {{{}{dots}}}", names.join(", "))
        }
    }
}

/// The first 40 characters of a text, none of them a control character.
fn clip(text: &str) -> String {
    let mut cut: String = text.chars().take(40).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut.escape_debug().to_string()
}
