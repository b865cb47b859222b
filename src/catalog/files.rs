//! A catalog out of files: what `kubectl apply -f` would create, read without a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::{Catalog, Settings, Snapshot};
use crate::api::{Object, ObjectKey, ReadError};
use crate::json::FieldPath;
use crate::workload::keys::FABRIC;
use crate::yaml;

/// Namespace of an object that names none, where the caller does not say otherwise.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Largest file that is read, in bytes. A file of manifests is not even near; a device is past it.
const MAX_FILE: u64 = 64 << 20;

/// Reads files and directories.
///
/// A directory stands for its `*.yaml`, `*.yml` and `*.json` files in the order of their names, as
/// for `kubectl -f`; its subdirectories are not read. What cannot be read becomes a [`Problem`] and
/// keeps nothing else from being read. Kinds that decide nothing are passed over.
#[must_use]
pub fn load(paths: &[PathBuf], settings: Settings) -> Loaded {
    let mut loader = Loader::new(DEFAULT_NAMESPACE);
    for path in paths {
        loader.path(path);
    }
    loader.finish(settings)
}

/// What there was in the files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The services, configs and fabrics, with the settings.
    pub snapshot: Snapshot,
    /// What could not be read or used, in the order of reading.
    pub problems: Vec<Problem>,
    /// How many services, configs and Namespaces with a fabric were read.
    pub objects: usize,
}

/// A file, or an object in one, that was not read or not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named or found; `-` for standard input.
    pub file: PathBuf,
    /// Line on which the document starts or breaks, from 1; none when the file itself is at fault.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.reason),
            None => write!(f, "{}: {}", self.file.display(), self.reason),
        }
    }
}

/// A catalog that stays as it was loaded.
#[derive(Debug, Clone, Default)]
pub struct FileCatalog {
    snapshot: Arc<Snapshot>,
}

impl FileCatalog {
    /// A catalog of what was loaded.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot) }
    }
}

impl Catalog for FileCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }
}

/// What was taken up of one document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The services in it, in order.
    pub services: Vec<ObjectKey>,
    /// How many of its objects could not be read; the problems say why.
    pub unread: usize,
}

/// Gathers objects from several sources, in order; of two with one key the later is used.
#[derive(Debug)]
pub struct Loader {
    namespace: String,
    snapshot: Snapshot,
    problems: Vec<Problem>,
    /// Where each object was read, by kind and key.
    places: BTreeMap<(&'static str, ObjectKey), (PathBuf, usize)>,
}

impl Loader {
    /// A loader that puts objects without a namespace into `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            snapshot: Snapshot::default(),
            problems: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Reads a file or a directory.
    pub fn path(&mut self, path: &Path) {
        match manifests(path) {
            Ok(files) => files.iter().for_each(|file| self.file(file)),
            Err(error) => self.problem(path, None, reason(&error)),
        }
    }

    /// Takes up the objects of one document. `line` is where it starts in `file`.
    pub fn document(&mut self, file: &Path, line: usize, value: Value) -> Taken {
        let mut taken = Taken::default();
        for object in flattened(value) {
            match self.object(file, line, object) {
                Ok(key) => taken.services.extend(key),
                Err(reason) => {
                    taken.unread += 1;
                    self.problem(file, Some(line), reason);
                }
            }
        }
        taken
    }

    /// How many objects there are so far.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.places.len()
    }

    /// The problems so far, which [`Loader::finish`] then no longer lists.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// Everything that was gathered.
    #[must_use]
    pub fn finish(self, settings: Settings) -> Loaded {
        let Self { mut snapshot, problems, places, .. } = self;
        snapshot.settings = settings;
        Loaded { snapshot, problems, objects: places.len() }
    }

    fn file(&mut self, file: &Path) {
        let text = match File::open(file).and_then(read_text) {
            Ok(text) => text,
            Err(error) => return self.problem(file, None, reason(&error)),
        };
        for document in yaml::documents(&text) {
            match document.value {
                Ok(value) => drop(self.document(file, document.line, value)),
                Err(error) => self.problem(file, Some(error.line), error.message),
            }
        }
    }

    /// The key of the object, if it is a service.
    fn object(
        &mut self,
        file: &Path,
        line: usize,
        object: Value,
    ) -> Result<Option<ObjectKey>, String> {
        let Value::Object(map) = &object else {
            return Err(
                "not an object; every document has apiVersion, kind and metadata".to_owned()
            );
        };
        if is_namespace(map) {
            return self.namespace(file, line, &object).map(|()| None);
        }
        if !map.get("kind").is_some_and(Value::is_string) {
            return Err("kind is missing; every object has apiVersion and kind".to_owned());
        }
        match Object::read(object) {
            Ok(Object::Service(mut service)) => {
                self.home(&mut service.key);
                let key = service.key.clone();
                let service = Arc::new(service);
                let before = self.snapshot.services.insert(key.clone(), Arc::clone(&service));
                let differs = before.is_some_and(|before| before != service);
                self.place("LLMInferenceService", &key, (file, line), differs);
                Ok(Some(key))
            }
            Ok(Object::Config(mut config)) => {
                self.home(&mut config.key);
                let key = config.key.clone();
                let config = Arc::new(config);
                let before = self.snapshot.configs.insert(key.clone(), Arc::clone(&config));
                let differs = before.is_some_and(|before| before != config);
                self.place("LLMInferenceServiceConfig", &key, (file, line), differs);
                Ok(None)
            }
            Err(ReadError::OtherKind(_)) => Ok(None),
            Err(error @ ReadError::Invalid(_)) => Err(error.to_string()),
        }
    }

    fn namespace(&mut self, file: &Path, line: usize, object: &Value) -> Result<(), String> {
        let Some(fabric) = object.pointer("/metadata/labels").and_then(|it| it.get(FABRIC)) else {
            return Ok(());
        };
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.ok_or("Namespace: metadata.name is missing")?;
        let fabric = fabric.as_str().ok_or_else(|| {
            format!("Namespace {name}: metadata.labels[{FABRIC}] is {fabric}; quote it")
        })?;
        let before = self.snapshot.fabrics.insert(name.to_owned(), fabric.to_owned());
        let key = ObjectKey { namespace: String::new(), name: name.to_owned() };
        let differs = before.is_some_and(|before| before != fabric);
        self.place("Namespace", &key, (file, line), differs);
        Ok(())
    }

    fn home(&self, key: &mut ObjectKey) {
        if key.namespace.is_empty() {
            key.namespace.clone_from(&self.namespace);
        }
    }

    /// Remembers where an object was read. The same object read twice is no problem, another one of
    /// that name is.
    fn place(&mut self, kind: &'static str, key: &ObjectKey, place: (&Path, usize), differs: bool) {
        let (file, line) = place;
        let here = (file.to_owned(), line);
        let before = self.places.insert((kind, key.clone()), here);
        if let Some((first, first_line)) = before
            && differs
        {
            let reason = format!(
                "{kind} {key} is also in {}:{first_line}; this one is used",
                first.display()
            );
            self.problem(file, Some(line), reason);
        }
    }

    fn problem(&mut self, file: &Path, line: Option<usize>, reason: String) {
        self.problems.push(Problem { file: file.to_owned(), line, reason });
    }
}

/// The files that a path stands for: itself, or those of a directory that kubectl would read, in
/// the order of their names, without kustomize's own, which holds no object.
///
/// # Errors
/// When it does not exist or cannot be listed.
pub fn manifests(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let read = file.extension().and_then(|it| it.to_str());
        let is_kustomize = file.file_stem().is_some_and(|stem| stem == "kustomization");
        if matches!(read, Some("yaml" | "yml" | "json")) && !is_kustomize && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a text of at most 64 MiB.
///
/// # Errors
/// For a larger one, and for one that is not UTF-8.
pub fn read_text(source: impl io::Read) -> io::Result<String> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut bytes = Vec::new();
    source.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read > MAX_FILE) {
        return Err(invalid(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(invalid("written in UTF-16; save it as UTF-8".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        invalid(format!("not a text in UTF-8 (byte {at})"))
    })
}

/// The objects of a document: itself, or the items of a list, lists in lists included.
///
/// An item without a kind has that of its list, as kubectl reads it. A document is at most
/// [`yaml::MAX_DEPTH`] levels deep, and so are the lists in it.
#[must_use]
pub fn flattened(value: Value) -> Vec<Value> {
    placed(value).into_iter().map(|(_, object)| object).collect()
}

/// As [`flattened`], each object behind its place in the document.
#[must_use]
pub fn placed(value: Value) -> Vec<(FieldPath, Value)> {
    let mut objects = Vec::new();
    place(FieldPath::root(), value, &mut objects);
    objects
}

fn place(path: FieldPath, value: Value, objects: &mut Vec<(FieldPath, Value)>) {
    let Some((api_version, kind)) = list_of(&value) else {
        return objects.push((path, value));
    };
    let Value::Object(mut list) = value else { return };
    let Some(Value::Array(items)) = list.remove("items") else { return };
    let path = path.field("items");
    for (index, mut item) in items.into_iter().enumerate() {
        if let (Value::Object(map), Some(kind)) = (&mut item, &kind) {
            map.entry("apiVersion").or_insert_with(|| api_version.clone().into());
            map.entry("kind").or_insert_with(|| kind.clone().into());
        }
        place(path.index(index), item, objects);
    }
}

/// For a list: its version, and the kind of its items unless it is a plain `List`.
pub fn list_of(value: &Value) -> Option<(String, Option<String>)> {
    let kind = value.get("kind")?.as_str()?.strip_suffix("List")?;
    if !value.get("items").is_some_and(|items| items.is_array() || items.is_null()) {
        return None;
    }
    let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    Some((api_version.to_owned(), (!kind.is_empty()).then(|| kind.to_owned())))
}

fn is_namespace(object: &serde_json::Map<String, Value>) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    text("kind") == Some("Namespace") && text("apiVersion") == Some("v1")
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
