//! The findings of files, each at its place.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::catalog::files::{Loader, Problem, placed};
use crate::catalog::{Settings, Severity};
use crate::json::FieldPath;
use crate::rules::{self, Finding, Reason};
use crate::yaml::{Mark, Source};

/// Code of what keeps a file, a document or an object from being read. No rule has it.
pub const UNREADABLE: &str = "unreadable";

/// The rule about names that no field has: what is wrong is the key.
const MISSPELT: &str = "V100";

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// The files, in order.
    pub files: Vec<CheckedFile>,
    /// The findings, in the order of their places.
    pub findings: Vec<Located>,
    /// What is wrong with the objects as a catalog: two of one name.
    pub problems: Vec<Problem>,
    /// How many objects there are, of whatever kind.
    pub objects: usize,
}

/// A file.
#[derive(Debug)]
pub struct CheckedFile {
    /// As it was named or found; `-` for standard input.
    pub path: PathBuf,
    /// What is in it; nothing when it cannot be read.
    pub source: Source,
}

/// A finding and where it belongs.
#[derive(Debug)]
pub struct Located {
    /// Which of the files.
    pub file: usize,
    /// Where in it; none when it is the whole file.
    pub mark: Option<Mark>,
    /// In which object; none when it is about more than one.
    pub object: Option<Identity>,
    /// What is wrong there. Its field is a path in the object.
    pub finding: Finding,
}

impl Located {
    /// Whether the webhook would refuse the object.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.finding.severity == Severity::Reject
    }

    /// `error` or `warning`.
    #[must_use]
    pub fn level(&self) -> &'static str {
        if self.is_error() { "error" } else { "warning" }
    }

    /// The field, what is wrong with it and what to write instead.
    #[must_use]
    pub fn sentence(&self) -> String {
        labelled(&self.finding.field, &self.finding.text())
    }

    /// Whether something could not be read at all.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.finding.code == UNREADABLE
    }
}

/// What is said of a field, behind its path.
pub(super) fn labelled(field: &FieldPath, said: &str) -> String {
    if field.is_root() { said.to_owned() } else { format!("{field}: {said}") }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `kind`
    pub kind: String,
    /// Its namespace, or that of objects which name none.
    pub namespace: String,
    /// Its name, or the beginning of the one that it is going to have.
    pub name: String,
}

impl Identity {
    pub(in crate::cli) fn of(object: &Value, namespace: &str) -> Self {
        let text = |pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
        Self {
            kind: text("/kind").unwrap_or_default().to_owned(),
            namespace: text("/metadata/namespace").unwrap_or(namespace).to_owned(),
            name: name.unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Checks every object of some texts, by the same call as the webhook does when it is created.
///
/// They are checked against what `loader` holds and against each other; those without a namespace are
/// in `namespace`. A text is given with the name of its file, or with the reason why there is none.
#[must_use]
pub fn check(
    texts: Vec<(PathBuf, Result<String, String>)>,
    mut loader: Loader,
    settings: Settings,
    namespace: &str,
) -> Checked {
    let mut files = Vec::new();
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for (file, (path, text)) in texts.into_iter().enumerate() {
        let source = match text {
            Ok(text) => Source::read(&text),
            Err(reason) => {
                entries.push(Entry::Unreadable(Located::unreadable(file, None, reason)));
                Source::read("")
            }
        };
        for (number, document) in source.documents().iter().enumerate() {
            match &document.value {
                Err(error) => {
                    let mark = source.at(error.line, error.column);
                    let reason = error.message.clone();
                    entries.push(Entry::Unreadable(Located::unreadable(file, Some(mark), reason)));
                }
                Ok(value) => {
                    for (place, value) in placed(value.clone()) {
                        let at = (path.as_path(), document.line);
                        let unread = take_up(&mut loader, at, &value, &mut problems);
                        entries.push(Entry::Object(Object {
                            file,
                            document: number,
                            path: place,
                            value,
                            unread,
                        }));
                    }
                }
            }
        }
        files.push(CheckedFile { path, source });
    }

    let snapshot = loader.finish(settings).snapshot;
    let objects = entries.iter().filter(|entry| matches!(entry, Entry::Object(_))).count();
    let mut findings = Vec::new();
    for entry in entries {
        match entry {
            Entry::Unreadable(finding) => findings.push(finding),
            Entry::Object(object) => {
                let identity = Identity::of(&object.value, namespace);
                let mut found = rules::check(rules::Request {
                    snapshot: &snapshot,
                    namespace: &identity.namespace,
                    object: &object.value,
                    old: None,
                });
                // Nothing that a rule says is said again.
                if found.is_empty() {
                    found.extend(object.unread.clone().map(unreadable));
                }
                let Object { file, document, path, .. } = &object;
                let Some(source) = files.get(*file).map(|file: &CheckedFile| &file.source) else {
                    continue;
                };
                let place = Place { file: *file, source, document: *document, path };
                findings.extend(found.into_iter().map(|it| place.locate(&identity, it)));
            }
        }
    }
    Checked { files, findings, problems, objects }
}

/// What there is in a file, in order.
enum Entry {
    Unreadable(Located),
    Object(Object),
}

struct Object {
    file: usize,
    document: usize,
    /// In the document.
    path: FieldPath,
    value: Value,
    /// Why the catalog does not have it.
    unread: Option<String>,
}

/// Where an object stands.
pub(in crate::cli) struct Place<'a> {
    /// Which of the files.
    pub(in crate::cli) file: usize,
    pub(in crate::cli) source: &'a Source,
    /// Which of the source's documents.
    pub(in crate::cli) document: usize,
    /// Where in the document.
    pub(in crate::cli) path: &'a FieldPath,
}

impl Place<'_> {
    /// A finding about the object that stands there.
    pub(in crate::cli) fn locate(&self, object: &Identity, finding: Finding) -> Located {
        let path = self.path.join(&finding.field);
        let mark = match finding.code {
            MISSPELT => self.source.find_key(self.document, &path),
            _ => self.source.find(self.document, &path),
        };
        Located { file: self.file, mark: Some(mark), object: Some(object.clone()), finding }
    }
}

impl Located {
    fn unreadable(file: usize, mark: Option<Mark>, reason: String) -> Self {
        Self { file, mark, object: None, finding: unreadable(reason) }
    }
}

fn unreadable(reason: String) -> Finding {
    Finding {
        code: UNREADABLE,
        severity: Severity::Reject,
        reason: Reason::Invalid,
        field: FieldPath::root(),
        message: reason,
        help: String::new(),
    }
}

/// Adds an object to the catalog, or says why that cannot be.
fn take_up(
    loader: &mut Loader,
    (path, line): (&Path, usize),
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let taken = loader.document(path, line, value.clone());
    let said = loader.take_problems();
    if taken.unread == 0 {
        problems.extend(said);
        return None;
    }
    // It has a name once it is created, and can be checked.
    let is_generated = value.pointer("/metadata/name").is_none()
        && value.pointer("/metadata/generateName").is_some();
    said.into_iter().next().map(|problem| problem.reason).filter(|_| !is_generated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::validate::{github, human, json, sarif};

    /// A service with a defect, which strange text is put into.
    const AROUND: [&str; 2] = [
        "apiVersion: serving.kserve.io/v1alpha2\nkind: LLMInferenceService\nmetadata:\n  name: x\n  a: ",
        "\nspec:\n  replicas: -1\n",
    ];

    proptest! {
        #[test]
        fn no_text_is_too_strange_to_be_shown(
            text in r#"([ \n\r\t:,&*!|>'"{}\[\]<>?%#-]|--- |<<: |a|b: |\u{0}|\u{9b}|\u{202e}|é|模|👩‍🚀|\u{feff}|\\){0,40}"#,
            long in any::<bool>(),
        ) {
            let filler = if long { " ü".repeat(600) } else { String::new() };
            let [before, after] = AROUND;
            for text in [text.clone(), format!("{before}\"{filler}\" #{text}{after}"), format!("{{{filler}{text}")] {
                let files = vec![(PathBuf::from("x"), Ok(text))];
                let checked = check(files, Loader::new("ns"), Settings::default(), "ns");
                let shown = human::print(&checked, false);
                prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
                prop_assert_eq!(github::print(&checked).lines().count(), checked.findings.len());
                for text in [json::print(&checked), sarif::print(&checked)] {
                    prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
                }
            }
        }
    }
}
