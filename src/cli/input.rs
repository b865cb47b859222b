//! What is read: the documents of a file, of a directory, or of standard input.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::output::{Outcome, say};
use crate::catalog::files::{manifests, read_text};
use crate::yaml;

/// A document and where it was read.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// `-` for standard input.
    pub(super) file: PathBuf,
    /// Line on which it starts, from 1.
    pub(super) line: usize,
    /// An object of JSON.
    pub(super) value: Value,
}

/// The text of a file, or of standard input for `-`.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let read = if is_stdin(path) {
        read_text(io::stdin().lock())
    } else {
        File::open(path).and_then(read_text)
    };
    read.with_context(|| format!("cannot read {}", shown(path)))
}

/// The texts of a file or of the manifests in a directory, in order, each with the name of its file.
/// Of a directory one that cannot be read is there with the reason.
///
/// # Errors
/// For a file or directory that cannot be read.
pub(super) fn texts(path: &Path) -> anyhow::Result<Vec<(PathBuf, Result<String, String>)>> {
    let files = if is_stdin(path) {
        vec![path.to_owned()]
    } else {
        manifests(path).with_context(|| format!("cannot read {}", shown(path)))?
    };
    let read = |file: PathBuf| match text(&file) {
        Ok(text) => Ok((file, Ok(text))),
        Err(error) if file.as_path() != path => Ok((file, Err(format!("{error:#}")))),
        Err(error) => Err(error),
    };
    files.into_iter().map(read).collect()
}

/// The objects of a file or of the manifests in a directory, in order.
///
/// A document that cannot be read is said on standard error, and makes the outcome incomplete.
///
/// # Errors
/// For a file or directory that cannot be read, and when there is no document at all.
pub(super) fn documents(path: &Path) -> anyhow::Result<(Vec<Input>, Outcome)> {
    let mut inputs = Vec::new();
    let mut outcome = Outcome::Fine;
    let mut complain = |what: String| {
        outcome = Outcome::Incomplete;
        say(&format!("error: {what}"));
    };
    for (file, text) in texts(path)? {
        let text = match text {
            Ok(text) => text,
            Err(reason) => {
                complain(reason);
                continue;
            }
        };
        for document in yaml::documents(&text) {
            let at = |line: usize| format!("{}:{line}", shown(&file));
            match document.value {
                Ok(value) if value.is_object() => {
                    inputs.push(Input { file: file.clone(), line: document.line, value });
                }
                Ok(_) => complain(format!(
                    "{}: not an object; every document has apiVersion, kind and metadata",
                    at(document.line)
                )),
                Err(error) => {
                    complain(format!("{}:{}: {}", at(error.line), error.column, error.message));
                }
            }
        }
    }
    if inputs.is_empty() && outcome == Outcome::Fine {
        anyhow::bail!("there is no object in {}", shown(path));
    }
    Ok((inputs, outcome))
}

pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// How a file is called.
pub(super) fn shown(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}
