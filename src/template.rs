//! Go's `text/template` for one string value.
//!
//! A configuration is rendered string by string, so an error can name the field it stands in. The
//! engine follows Go's `text/template` with `missingkey=error`
//! (<https://pkg.go.dev/text/template>) and Go's `fmt` verbs, and adds bounds on output, steps
//! and nesting: a template is untrusted input.
//!
//! Known differences from Go, all on purpose: a pointer prints and compares as what it points to;
//! a list ends at its last item, while a Go slice may be cut up to its hidden capacity; `slice`
//! takes a number out of a map as an index; `%p` is an error, as addresses differ from run to
//! run; the outermost template has no name; at most 1000 variables are in sight at once; what is
//! printable follows Rust's newer tables of Unicode; and a name may hold any letter of Unicode's
//! `Alphabetic`, slightly more than Go's.

mod ast;
mod builtins;
mod data;
mod escape;
mod eval;
mod float;
mod format;
mod kserve;
mod lex;
mod number;
mod parse;
mod quote;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

pub use data::Data;
pub use kserve::{KserveFunctions, child_name};

/// The longest source read and the longest text produced, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// What to append to an error that a stray `{{` may have caused.
const LITERAL_HINT: &str = "to write a literal {{ use {{ `{{` }}";

/// A parsed template, ready to be rendered any number of times.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    tree: ast::Tree,
}

/// Functions a template may call besides Go's own.
pub trait Functions {
    /// Calls `name`. `None` says that there is no such function, `Some(Err(_))` why it failed.
    fn call(&self, name: &str, args: &[Data]) -> Option<Result<Data, String>>;

    /// The names [`Functions::call`] knows. Any other name is an error when a template is parsed.
    fn names(&self) -> &[&str];
}

/// How a template is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What `{{-` and `-}}` remove.
    pub trim: Trim,
}

/// What the trim markers `{{-` and `-}}` remove from the text around an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trim {
    /// Go's own: space, tab, carriage return and newline.
    #[default]
    Whitespace,
    /// Spaces only. KServe renders a configuration as JSON text, where a newline is the two
    /// characters `\n`, which a trim marker leaves alone; this gives the same result.
    Spaces,
}

/// Why a template was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Error {
    /// The line in the template's source, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What went wrong, for code.
    pub kind: ErrorKind,
    /// What went wrong, for people.
    pub message: String,
}

/// The sorts of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The source is not a template.
    Parse,
    /// `{{ if }}` without `{{ end }}`, `{{` without `}}`, and the like.
    Unbalanced,
    /// No function has this name.
    UnknownFunction,
    /// No variable or template has this name.
    Undefined,
    /// A map has no such key.
    MissingKey,
    /// A field of something that is nil.
    NilField,
    /// A value of the wrong type, as in a field of a string or a range over a bool.
    Type,
    /// A function refused its arguments or failed.
    Function,
    /// The template or its output is too large, too deep or too long-running.
    Limit,
}

/// Parses and renders `source` in one go.
///
/// # Errors
///
/// Those of [`Template::parse`] and [`Template::render`].
pub fn render(
    source: &str,
    data: &Data,
    functions: &dyn Functions,
    options: Options,
) -> Result<String, Error> {
    Template::parse(source, functions, options)?.render(data, functions)
}

impl Template {
    /// Parses `source`; `functions` is asked for its names only.
    ///
    /// # Errors
    ///
    /// When `source` is not a template, calls an unknown function, is longer than 1 MiB or
    /// nested deeper than 100 levels.
    pub fn parse(source: &str, functions: &dyn Functions, options: Options) -> Result<Self, Error> {
        parse::parse(source, functions.names(), options.trim)
            .map(|tree| Self { source: source.to_owned(), tree })
            .map_err(|fault| fault.locate(source))
    }

    /// Renders the template with `data` as its dot.
    ///
    /// Bytes that are not UTF-8, which `slice` can cut out of a string, become U+FFFD.
    ///
    /// # Errors
    ///
    /// When a field is missing or nil, a function fails, or a bound is passed: 1 MiB of output,
    /// 100 000 steps, 200 levels of nesting.
    pub fn render(&self, data: &Data, functions: &dyn Functions) -> Result<String, Error> {
        eval::render(&self.tree, data, functions)
            .map(|bytes| quote::to_text(&bytes))
            .map_err(|fault| fault.locate(&self.source))
    }
}

/// An [`Error`] whose place is still a byte offset into the source.
#[derive(Debug)]
struct Fault {
    at: usize,
    kind: ErrorKind,
    message: String,
}

impl Fault {
    fn new(at: usize, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { at, kind, message: message.into() }
    }

    fn locate(self, source: &str) -> Error {
        let (line, column) = place(source, self.at);
        Error { line, column, kind: self.kind, message: self.message }
    }
}

/// Line and column, both from 1, of the byte at `at`.
fn place(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(line_start..).map_or(0, |s| s.chars().count()) + 1;
    (line, column)
}

/// The candidate a reader most likely meant by `name`.
fn nearest<'n>(name: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // They may be the keys of an author's map, and comparing takes time.
    const MOST: usize = 1000;
    crate::nearest::nearest(name, candidates.take(MOST), crate::nearest::WORDS)
}

/// Writes `text` for a message: quoted, on one line, and not much of it.
struct Excerpt<'t>(&'t str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 40;
        let cut: String = self.0.chars().take(LONGEST).collect();
        let dots = if cut.len() < self.0.len() { "..." } else { "" };
        write!(f, "{cut:?}{dots}")
    }
}
