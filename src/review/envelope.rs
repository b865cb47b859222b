//! The AdmissionReview around an object: what is read of it, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Answer;
use super::record::Record;
use super::response::{Target, Verdict, write};

/// Versions of AdmissionReview that differ in nothing that is read or written here.
const VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];

/// A label's value that is longer than this is no label's value.
const SHOWN: usize = 80;

/// Why a body cannot be answered with an AdmissionReview. The text goes to the client as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Nothing was sent.
    #[error("the body is empty; send an AdmissionReview as JSON")]
    Empty,
    /// Not JSON, or with bytes behind it, or with a key twice; the text has the line and column.
    #[error("the body is not a readable AdmissionReview: {0}")]
    Syntax(String),
    /// Another type stands where something is needed.
    #[error("{path} is {found}; it must be {expected}")]
    Type {
        /// Where, from the root of the review.
        path: &'static str,
        /// What stands there.
        found: &'static str,
        /// What must.
        expected: &'static str,
    },
    /// Something that every review has is not there.
    #[error("{path} is missing; the API server sends it with every review")]
    Missing {
        /// Where, from the root of the review.
        path: &'static str,
    },
    /// Another kind or version than one of AdmissionReview.
    #[error("{path} is {found:?}; it must be {expected}")]
    Unknown {
        /// `kind` or `apiVersion`.
        path: &'static str,
        /// Its value, cut.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

/// Why a request's object cannot be handed to a decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ObjectError {
    #[error("request.object is {0}; a JSON object was expected")]
    NotAnObject(&'static str),
    #[error("request.object cannot be read: {message} at line {line} column {column}")]
    Unreadable { message: String, line: usize, column: usize },
}

impl ObjectError {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NotAnObject(_) => "no-object",
            Self::Unreadable { .. } => "unreadable-object",
        }
    }
}

/// A review whose uid and type are known, so that it can be answered.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    body: &'a [u8],
    version: &'static str,
    pub(super) request: Request,
    object: Option<&'a RawValue>,
    old_object: Option<&'a RawValue>,
}

/// What is read of the request, its objects aside.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) uid: String,
    pub(super) operation: String,
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) dry_run: bool,
}

#[derive(Deserialize)]
struct RawReview<'a> {
    #[serde(borrow, rename = "apiVersion")]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
}

// Each member raw: one of the wrong type is then named by its path, and never hides the uid.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest<'a> {
    #[serde(borrow)]
    uid: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    operation: Option<&'a RawValue>,
    #[serde(borrow)]
    sub_resource: Option<&'a RawValue>,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    dry_run: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawKind<'a> {
    #[serde(borrow)]
    group: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        match first {
            None => return Err(Malformed::Empty),
            Some(b'{') => {}
            // Serde would read a struct from an array too, member by member.
            Some(_) => {
                let raw: &RawValue = serde_json::from_slice(body).map_err(syntax)?;
                return Err(Malformed::Type {
                    path: "the body",
                    found: kind_of(raw),
                    expected: "an AdmissionReview object",
                });
            }
        }
        let review: RawReview<'_> = serde_json::from_slice(body).map_err(syntax)?;
        let version = one_of(
            text(review.api_version, "apiVersion")?,
            "apiVersion",
            &VERSIONS,
            "admission.k8s.io/v1 or admission.k8s.io/v1beta1",
        )?;
        one_of(text(review.kind, "kind")?, "kind", &["AdmissionReview"], "AdmissionReview")?;

        let raw = object_of(review.request, "request")?;
        let request: RawRequest<'_> = serde_json::from_str(raw.get())
            .map_err(|error| Malformed::Syntax(told(body, raw, &error)))?;
        let uid = required(text(request.uid, "request.uid")?, "request.uid")?;
        if uid.is_empty() {
            return Err(Malformed::Missing { path: "request.uid" });
        }
        let raw = object_of(request.kind, "request.kind")?;
        let kind: RawKind<'_> = serde_json::from_str(raw.get())
            .map_err(|error| Malformed::Syntax(told(body, raw, &error)))?;
        let operation = text(request.operation, "request.operation")?;
        Ok(Self {
            body,
            version,
            request: Request {
                uid,
                operation: required(operation, "request.operation")?,
                group: text(kind.group, "request.kind.group")?.unwrap_or_default(),
                kind: required(text(kind.kind, "request.kind.kind")?, "request.kind.kind")?,
                subresource: text(request.sub_resource, "request.subResource")?.unwrap_or_default(),
                namespace: text(request.namespace, "request.namespace")?.unwrap_or_default(),
                name: text(request.name, "request.name")?.unwrap_or_default(),
                dry_run: truth(request.dry_run, "request.dryRun")?,
            },
            object: request.object,
            old_object: request.old_object,
        })
    }

    /// The object, whole. Nesting deeper than 128 is refused here, so that nothing behind it need
    /// bound its own recursion.
    pub(super) fn object(&self) -> Result<Value, ObjectError> {
        let Some(raw) = self.object else {
            return Err(ObjectError::NotAnObject("null"));
        };
        if !raw.get().starts_with('{') {
            return Err(ObjectError::NotAnObject(kind_of(raw)));
        }
        serde_json::from_str(raw.get()).map_err(|error| {
            let (line, column) = position(self.body, raw, &error);
            ObjectError::Unreadable { message: reason(&error), line, column }
        })
    }

    /// What the object was before; `None` where that cannot be read: it only ever makes an answer
    /// milder.
    pub(super) fn old_object(&self) -> Option<Value> {
        let old: Value = serde_json::from_str(self.old_object?.get()).ok()?;
        old.is_object().then_some(old)
    }

    /// The object's labels and annotations and nothing else, for an object that could not be
    /// decided upon: they can be read where the rest cannot.
    pub(super) fn labelled(&self) -> Value {
        let metadata = members(self.object).remove("metadata");
        let mut metadata = members(metadata);
        let mut texts = |name: &str| -> Map<String, Value> {
            members(metadata.remove(name))
                .into_iter()
                .filter_map(|(key, raw)| {
                    let text: String = serde_json::from_str(raw.get()).ok()?;
                    Some((key, Value::String(text)))
                })
                .collect()
        };
        json!({"metadata": {"labels": texts("labels"), "annotations": texts("annotations")}})
    }

    /// The answer, with nothing known of the object but what the request says.
    pub(super) fn answer(&self, verdict: Verdict) -> Result<Answer, Malformed> {
        self.answer_for(&Value::Null, verdict)
    }

    /// The answer for an object that was read: its name is in the log line and in a refusal.
    pub(super) fn answer_for(&self, object: &Value, verdict: Verdict) -> Result<Answer, Malformed> {
        let request = &self.request;
        let named = |field: &str| object.pointer(field).and_then(Value::as_str);
        let name = Some(request.name.as_str())
            .filter(|name| !name.is_empty())
            .or_else(|| named("/metadata/name").filter(|name| !name.is_empty()))
            .or_else(|| named("/metadata/generateName"))
            .unwrap_or_default();
        let target = Target {
            version: self.version,
            uid: &request.uid,
            group: &request.group,
            kind: &request.kind,
            name,
        };
        let code = verdict.code();
        let allowed = verdict.allowed();
        let record = Record::of(request, object, &verdict);
        let body = write(&target, verdict).map_err(|error| Malformed::Syntax(error.to_string()))?;
        Ok(Answer {
            body,
            code,
            allowed,
            dry_run: request.dry_run,
            uid: request.uid.clone(),
            namespace: request.namespace.clone(),
            name: name.to_owned(),
            record,
        })
    }
}

/// The members of an object, the last of a name winning, as everywhere else in Kubernetes; none of
/// what is no object.
fn members(raw: Option<&RawValue>) -> BTreeMap<String, &RawValue> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn object_of<'a>(raw: Option<&'a RawValue>, path: &'static str) -> Result<&'a RawValue, Malformed> {
    let raw = required(raw, path)?;
    if raw.get().starts_with('{') {
        return Ok(raw);
    }
    Err(Malformed::Type { path, found: kind_of(raw), expected: "an object" })
}

fn text(raw: Option<&RawValue>, path: &'static str) -> Result<Option<String>, Malformed> {
    raw.map(|raw| {
        serde_json::from_str(raw.get()).map_err(|_| Malformed::Type {
            path,
            found: kind_of(raw),
            expected: "a string of Unicode text",
        })
    })
    .transpose()
}

fn truth(raw: Option<&RawValue>, path: &'static str) -> Result<bool, Malformed> {
    match raw.map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Malformed::Type {
            path,
            found: raw.map_or("missing", kind_of),
            expected: "true or false",
        }),
    }
}

fn required<T>(value: Option<T>, path: &'static str) -> Result<T, Malformed> {
    value.ok_or(Malformed::Missing { path })
}

fn one_of(
    value: Option<String>,
    path: &'static str,
    known: &[&'static str],
    expected: &'static str,
) -> Result<&'static str, Malformed> {
    let value = required(value, path)?;
    known.iter().find(|known| **known == value).copied().ok_or_else(|| Malformed::Unknown {
        path,
        found: value.chars().take(SHOWN).collect(),
        expected,
    })
}

fn kind_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

// By value, to be handed to `map_err`.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn syntax(error: serde_json::Error) -> Malformed {
    Malformed::Syntax(error.to_string())
}

fn told(body: &[u8], raw: &RawValue, error: &serde_json::Error) -> String {
    let (line, column) = position(body, raw, error);
    format!("{} at line {line} column {column}", reason(error))
}

/// What an error says, without the position, which is counted from the start of `raw`.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Line and column in the body of an error met while reading `raw`, a part of it.
fn position(body: &[u8], raw: &RawValue, error: &serde_json::Error) -> (usize, usize) {
    let offset = (raw.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let before = body.get(..offset).unwrap_or_default();
    let lines = before.split(|byte| *byte == b'\n');
    let column = lines.clone().next_back().map_or(0, <[u8]>::len);
    let line = error.line();
    let shift = if line == 1 { column } else { 0 };
    (lines.count().saturating_sub(1) + line, shift + error.column())
}
