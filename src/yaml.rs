//! YAML in and out, with the values that kubectl would take from the same text.
//!
//! kubectl reads through `sigs.k8s.io/yaml`, which resolves scalars by YAML 1.1 with exceptions of
//! its own (`on` is true, `0644` is octal, `1:30` and dates are strings). A generic YAML 1.2 reader
//! would disagree with the API server about what an author wrote, so the parser's events are turned
//! into values here.

mod emit;
mod json;
mod position;
mod read;
mod scalar;
mod source;
mod split;

use serde_json::Value;

pub use emit::to_string;
pub use source::{Mark, Source};

/// Deepest nesting that is read, in lists and maps. One below the limit of `serde_json`, so that
/// what is read here can be sent on as JSON.
pub const MAX_DEPTH: usize = 127;

/// One document of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Line of the text on which its content starts, from 1.
    pub line: usize,
    /// What it holds. Never null: empty documents are not listed.
    pub value: Result<Value, Error>,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub struct Error {
    /// Line of the text, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, lower-case, without the place.
    pub message: String,
}

/// Reads a stream of YAML or JSON documents, in order.
///
/// Documents are separated by `---` or `...` lines, JSON ones by nothing at all. Empty ones and
/// those that only hold comments or `null` are left out. A document that cannot be read is listed
/// with its [`Error`] and does not keep the others from being read.
///
/// Scalars, merge keys and keys that are no strings come out as they do from `sigs.k8s.io/yaml`
/// 1.6. Otherwise than there, a key that is written twice is an error.
#[must_use]
pub fn documents(text: &str) -> Vec<Document> {
    let text = split::normalized(text);
    let chunks = split::chunks(&text);
    chunks.iter().flat_map(|chunk| read_chunk(chunk).1).filter(holds_something).collect()
}

/// How a chunk was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Yaml,
}

/// The documents of a chunk with their places in the stream, the empty ones as well.
fn read_chunk(chunk: &split::Chunk<'_>) -> (Form, Vec<Document>) {
    let (form, mut documents) = match json::read(chunk.text) {
        Ok(read) => (Form::Json, read),
        Err(json) => {
            let yaml = read::read(chunk.text);
            // Only a stream of JSON objects gets this far as JSON and fails as YAML.
            if json.len() > 1 && yaml.iter().any(|document| document.value.is_err()) {
                (Form::Json, json)
            } else {
                (Form::Yaml, yaml)
            }
        }
    };
    let offset = chunk.line - 1;
    for document in &mut documents {
        document.line += offset;
        if let Err(error) = &mut document.value {
            error.line += offset;
        }
    }
    (form, documents)
}

fn holds_something(document: &Document) -> bool {
    document.value != Ok(Value::Null)
}

#[cfg(test)]
mod tests;
