//! Where a value stands in a document.

use std::fmt;
use std::str::FromStr;

/// The place of a value, printed as Kubernetes prints field paths:
/// `spec.containers[0].env[2].value`, `metadata.annotations[k8s.v1.cni.cncf.io/networks]`.
///
/// The empty path is the document itself and prints as nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A member whose name can be printed behind a dot.
    Field(String),
    /// A map's key, printed in brackets.
    Key(String),
    /// An item of a list, counted from 0.
    Index(usize),
}

/// Why a text is no field path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePathError {
    /// Two dots in a row, a dot at the end, or empty brackets.
    #[error(
        "field path {text:?} has an empty name at byte {at}; write it like `spec.containers[0].image`"
    )]
    EmptyName {
        /// The whole text.
        text: String,
        /// Byte offset of the missing name.
        at: usize,
    },
    /// `[` without its `]`.
    #[error("field path {text:?} opens a bracket at byte {at} and never closes it; add a `]`")]
    Unclosed {
        /// The whole text.
        text: String,
        /// Byte offset of the bracket.
        at: usize,
    },
    /// A name directly behind a bracket, or a `]` that nothing opened.
    #[error("field path {text:?} has {found:?} at byte {at} where a `.` or `[` belongs")]
    Unexpected {
        /// The whole text.
        text: String,
        /// The character there.
        found: char,
        /// Its byte offset.
        at: usize,
    },
}

impl FieldPath {
    /// The document itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Whether this is the document itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// A member. A name that cannot stand behind a dot (`prometheus.io/port`) becomes a key.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name))
    }

    /// An item of a list, counted from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// A map's key, always printed in brackets.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key))
    }

    /// This path with `tail` behind it.
    #[must_use]
    pub fn join(&self, tail: &Self) -> Self {
        Self(self.0.iter().chain(&tail.0).cloned().collect())
    }

    /// The steps from the document to the value.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path as a JSON pointer (RFC 6901), `~` and `/` escaped.
    #[must_use]
    pub fn pointer(&self) -> String {
        let mut out = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Field(name) | Segment::Key(name) => push_token(&mut out, name),
                Segment::Index(index) => push_token(&mut out, &index.to_string()),
            }
        }
        out
    }

    /// Reads what [`Display`](fmt::Display) prints. Digits in brackets are an index; any other
    /// text in brackets is a key, which ends at the first `]` that a `.`, a `[` or the end follows.
    ///
    /// # Errors
    /// [`ParsePathError`] with the byte at fault.
    pub fn parse(text: &str) -> Result<Self, ParsePathError> {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            rest = if let Some(inner) = rest.strip_prefix('[') {
                let (key, rest) = bracketed(inner)
                    .ok_or_else(|| ParsePathError::Unclosed { text: text.to_owned(), at })?;
                segments.push(match key.parse::<usize>() {
                    _ if key.is_empty() => return Err(empty_name(text, at + 1)),
                    Ok(index) if index.to_string() == key => Segment::Index(index),
                    _ => Segment::Key(key.to_owned()),
                });
                rest
            } else {
                let first = segments.is_empty();
                let (name, rest) = match (rest.strip_prefix('.'), rest.chars().next()) {
                    (Some(rest), _) if !first => dotted(rest),
                    (None, found) if !first => {
                        return Err(ParsePathError::Unexpected {
                            text: text.to_owned(),
                            found: found.unwrap_or_default(),
                            at,
                        });
                    }
                    _ => dotted(rest),
                };
                if name.is_empty() {
                    return Err(empty_name(text, text.len() - rest.len()));
                }
                if let Some(offset) = name.find(']') {
                    return Err(ParsePathError::Unexpected {
                        text: text.to_owned(),
                        found: ']',
                        at: text.len() - rest.len() - name.len() + offset,
                    });
                }
                segments.push(Step::Field(name).to_segment());
                rest
            };
        }
        Ok(Self(segments))
    }

    fn with(&self, step: Step<'_>) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(step.to_segment());
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for FieldPath {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A step that borrows its name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl Step<'_> {
    fn to_segment(self) -> Segment {
        match self {
            Self::Field(name) if is_plain(name) => Segment::Field(name.to_owned()),
            Self::Field(name) | Self::Key(name) => Segment::Key(name.to_owned()),
            Self::Index(index) => Segment::Index(index),
        }
    }
}

impl<'a> FromIterator<Step<'a>> for FieldPath {
    fn from_iter<I: IntoIterator<Item = Step<'a>>>(steps: I) -> Self {
        Self(steps.into_iter().map(Step::to_segment).collect())
    }
}

/// The way down to the value at hand, kept on the stack: a path is only built for a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trail<'a>(Option<(&'a Trail<'a>, Step<'a>)>);

impl<'a> Trail<'a> {
    pub(super) const ROOT: Trail<'static> = Trail(None);

    pub(super) fn then(&'a self, step: Step<'a>) -> Trail<'a> {
        Trail(Some((self, step)))
    }

    /// The way as a JSON pointer: see [`FieldPath::pointer`].
    pub(super) fn pointer(&self) -> String {
        let mut pointer = String::with_capacity(48);
        self.write_pointer(&mut pointer);
        pointer
    }

    /// As deep as the value at hand, whose depth is bounded where its walk begins.
    fn write_pointer(&self, pointer: &mut String) {
        let Trail(Some((parent, step))) = self else { return };
        parent.write_pointer(pointer);
        match step {
            Step::Field(name) | Step::Key(name) => push_token(pointer, name),
            Step::Index(index) => push_token(pointer, &index.to_string()),
        }
    }

    pub(super) fn path(&self) -> FieldPath {
        let mut steps = Vec::new();
        let mut at = self;
        while let Trail(Some((parent, step))) = at {
            steps.push(*step);
            at = parent;
        }
        steps.into_iter().rev().collect()
    }
}

/// Adds one token to a JSON pointer.
fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    if !token.contains(['~', '/']) {
        pointer.push_str(token);
        return;
    }
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// Whether a name can stand behind a dot and be read back.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|c: char| {
            matches!(c, '.' | '/' | '[' | ']') || c.is_whitespace() || c.is_control()
        })
}

/// Splits behind a name that a dot or a bracket ends.
fn dotted(text: &str) -> (&str, &str) {
    text.split_at(text.find(['.', '[']).unwrap_or(text.len()))
}

/// Splits behind the `]` that closes a key.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    text.match_indices(']').find_map(|(at, _)| {
        let (key, rest) = (text.get(..at)?, text.get(at + 1..)?);
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some((key, rest))
    })
}

fn empty_name(text: &str, at: usize) -> ParsePathError {
    ParsePathError::EmptyName { text: text.to_owned(), at }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_as_kubernetes_does() {
        let spec = FieldPath::root().field("spec");
        let env = spec.field("containers").index(0).field("env").index(2);
        assert_eq!(env.field("value").to_string(), "spec.containers[0].env[2].value");
        let annotations = FieldPath::root().field("metadata").field("annotations");
        assert_eq!(
            annotations.field("k8s.v1.cni.cncf.io/networks").to_string(),
            "metadata.annotations[k8s.v1.cni.cncf.io/networks]"
        );
        assert_eq!(annotations.key("team").to_string(), "metadata.annotations[team]");
        assert_eq!(FieldPath::root().to_string(), "");
        assert_eq!(spec.join(&FieldPath::root().field("os")).to_string(), "spec.os");
    }

    #[test]
    fn pointers_are_escaped() {
        let path = FieldPath::root().field("a").key("x~1/y").index(3).field("");
        assert_eq!(path.pointer(), "/a/x~01~1y/3/");
        assert_eq!(FieldPath::root().pointer(), "");
        let document = serde_json::json!({"a": {"x~1/y": [0, 0, 0, {"": "found"}]}});
        assert_eq!(document.pointer(&path.pointer()), Some(&serde_json::json!("found")));
    }

    #[test]
    fn refuses_what_is_no_path() {
        let problem = |text| FieldPath::parse(text).unwrap_err().to_string();
        assert!(problem("spec..image").contains("empty name at byte 5"));
        assert!(problem("spec.").contains("empty name at byte 5"));
        assert!(problem(".spec").contains("empty name at byte 0"));
        assert!(problem("a[]").contains("empty name at byte 2"));
        assert!(problem("a[0").contains("byte 1"));
        assert!(problem("a[0]b").contains("never closes"));
        assert!(problem("a]b").contains("']' at byte 1"));
        assert!(problem("a[0]é].b]").contains("empty") || problem("a[0]é].b]").contains("']'"));
    }

    proptest! {
        #[test]
        fn reads_what_it_prints(
            names in proptest::collection::vec(("[a-z$][a-zA-Z/.0-9]{0,5}", 0usize..9, any::<bool>()), 0..6),
        ) {
            let mut path = FieldPath::root();
            for (name, index, list) in names {
                path = path.field(&name);
                if list {
                    path = path.index(index);
                }
            }
            prop_assert_eq!(FieldPath::parse(&path.to_string()), Ok(path));
        }

        #[test]
        fn never_panics(text in "\\PC{0,20}|[a.\\[\\]0]{0,12}") {
            if let Ok(path) = FieldPath::parse(&text) {
                prop_assert_eq!(FieldPath::parse(&path.to_string()), Ok(path));
            }
        }
    }
}
