//! What the watches have told so far, and what of it decides anything. No client in here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::{Config, Document, GROUP, Object, ObjectKey, Service};
use crate::catalog::{Settings, Snapshot};
use crate::compose::check_config;
use crate::workload::keys::FABRIC;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Services,
    Configs,
    Namespaces,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Services, Self::Configs, Self::Namespaces];

    /// As an object's `kind`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Services => "LLMInferenceService",
            Self::Configs => "LLMInferenceServiceConfig",
            Self::Namespaces => "Namespace",
        }
    }

    /// As in a URL.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Services => "llminferenceservices",
            Self::Configs => "llminferenceserviceconfigs",
            Self::Namespaces => "namespaces",
        }
    }

    /// As in a rule of a role.
    pub(super) fn resource(self) -> String {
        match self {
            Self::Namespaces => self.plural().to_owned(),
            Self::Services | Self::Configs => format!("{}.{GROUP}", self.plural()),
        }
    }
}

/// An object, packed: a list holds a thousand of them at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    key: ObjectKey,
    object: Document,
}

impl Item {
    /// The object, [`stripped`].
    pub(super) fn of(object: Map<String, Value>) -> Self {
        let object = stripped(object);
        Self { key: key_of(&object), object: Document::packed(&object) }
    }
}

/// One thing that a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// All there is of a kind.
    Listed(Kind, Vec<Item>),
    /// There is no such kind, so nothing of it either.
    NotInstalled(Kind),
    /// An object is new, or is not what it was.
    Applied(Kind, Item),
    /// An object is gone.
    Deleted(Kind, ObjectKey),
    /// The kind cannot be watched at the moment; what is known of it stays.
    Failing(Kind, Trouble),
}

/// Why a kind cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The API server does not answer.
    Unreachable(String),
    /// The API server answers with an error.
    Refused(String),
}

impl Trouble {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Unreachable(reason) | Self::Refused(reason) => reason,
        }
    }
}

/// Whether a kind is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// With the last reason why it could not be listed.
    Waiting(Option<String>),
    Listed,
    NotInstalled,
}

/// What was found about a config, to be told once.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// Its newest version cannot be used.
    Broken(Broken),
    /// It can be used again, or is gone.
    Mended(ObjectKey),
}

/// A config that cannot be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Broken {
    /// Its newest version.
    pub(super) object: Value,
    /// Where it is.
    pub(super) key: ObjectKey,
    /// Field path and what is wrong there.
    pub(super) reason: String,
    /// An earlier version stays in use.
    pub(super) has_good: bool,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Store {
    services: BTreeMap<ObjectKey, Arc<Service>>,
    configs: BTreeMap<ObjectKey, Arc<Config>>,
    /// Of each config that cannot be used, the newest version and what is wrong with it.
    broken: BTreeMap<ObjectKey, (Value, String)>,
    fabrics: BTreeMap<String, String>,
    states: BTreeMap<Kind, State>,
    changed: bool,
    found: Vec<Found>,
}

impl Store {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        Self {
            services: BTreeMap::new(),
            configs: BTreeMap::new(),
            broken: BTreeMap::new(),
            fabrics: BTreeMap::new(),
            states: Kind::ALL.map(|kind| (kind, State::Waiting(None))).into(),
            changed: true,
            found: Vec::new(),
        }
    }

    /// Takes up a change.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Listed(kind, items) => {
                self.set_state(kind, State::Listed);
                self.replace(kind, items);
            }
            Change::NotInstalled(kind) => {
                self.set_state(kind, State::NotInstalled);
                self.replace(kind, Vec::new());
            }
            Change::Applied(kind, item) => self.put(kind, item),
            Change::Deleted(kind, key) => self.remove(kind, &key),
            Change::Failing(kind, trouble) => {
                if matches!(self.states.get(&kind), Some(State::Waiting(_)) | None) {
                    self.set_state(kind, State::Waiting(Some(trouble.reason().to_owned())));
                }
            }
        }
    }

    /// The snapshot of now, if it differs in anything from the one that was taken last.
    pub(super) fn changed(&mut self, settings: &Settings) -> Option<Snapshot> {
        std::mem::take(&mut self.changed).then(|| self.snapshot(settings))
    }

    /// What has not been told of configs yet.
    pub(super) fn found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    /// What is not known yet.
    pub(super) fn waiting(&self) -> Option<String> {
        let kinds: Vec<String> = self
            .states
            .iter()
            .filter_map(|(kind, state)| match state {
                State::Waiting(None) => Some(format!("{}s to be listed", kind.name())),
                State::Waiting(Some(reason)) => {
                    Some(format!("{}s to be listed ({reason})", kind.name()))
                }
                State::Listed | State::NotInstalled => None,
            })
            .collect();
        (!kinds.is_empty()).then(|| format!("waiting for {}", kinds.join(", ")))
    }

    fn snapshot(&self, settings: &Settings) -> Snapshot {
        let has_good = |key: &ObjectKey, newest: &Value| {
            self.configs.get(key).is_some_and(|config| config.object != *newest)
        };
        Snapshot {
            services: self.services.clone(),
            configs: self.configs.clone(),
            fabrics: self.fabrics.clone(),
            stale: self
                .broken
                .iter()
                .filter(|(key, (newest, _))| has_good(key, newest))
                .map(|(key, (_, reason))| (key.clone(), reason.clone()))
                .collect(),
            waiting: self.waiting(),
            no_such_kind: self.states.get(&Kind::Services) == Some(&State::NotInstalled),
            settings: settings.clone(),
            ..Snapshot::default()
        }
    }

    fn set_state(&mut self, kind: Kind, state: State) {
        if self.states.get(&kind) != Some(&state) {
            self.states.insert(kind, state);
            self.changed = true;
        }
    }

    /// What is not among the items is gone.
    fn replace(&mut self, kind: Kind, items: Vec<Item>) {
        let listed: BTreeSet<&ObjectKey> = items.iter().map(|item| &item.key).collect();
        for key in self.keys(kind).into_iter().filter(|key| !listed.contains(key)) {
            self.remove(kind, &key);
        }
        for item in items {
            self.put(kind, item);
        }
    }

    fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        match kind {
            Kind::Services => self.services.keys().cloned().collect(),
            Kind::Configs => self.configs.keys().cloned().collect(),
            Kind::Namespaces => {
                self.fabrics.keys().map(|name| ObjectKey::new("", name.as_str())).collect()
            }
        }
    }

    fn put(&mut self, kind: Kind, Item { key, object }: Item) {
        match kind {
            Kind::Services => self.put_service(key, object),
            Kind::Configs => self.put_config(key, object.to_value()),
            Kind::Namespaces => {
                let fabric = object.pointer("/metadata/labels").and_then(|it| it.get(FABRIC));
                match fabric.and_then(Value::as_str) {
                    Some(fabric) if self.fabrics.get(&key.name).is_none_or(|it| it != fabric) => {
                        self.fabrics.insert(key.name, fabric.to_owned());
                        self.changed = true;
                    }
                    Some(_) => {}
                    None => self.remove(kind, &key),
                }
            }
        }
    }

    /// A service that cannot be read leaves the one that could; its schema keeps such a one out.
    fn put_service(&mut self, key: ObjectKey, object: Document) {
        let known = self.services.get(&key);
        if known.is_some_and(|known| known.object == object)
            || (known.is_some() && Object::read(object.to_value()).is_err())
        {
            return;
        }
        self.services.insert(key.clone(), Arc::new(Service { key, object }));
        self.changed = true;
    }

    fn put_config(&mut self, key: ObjectKey, object: Value) {
        if self.broken.get(&key).is_some_and(|(newest, _)| *newest == object) {
            return;
        }
        let known = self.configs.get(&key);
        if known.is_some_and(|known| known.object == object) {
            self.changed |= self.mended(&key);
            return;
        }
        self.changed = true;
        let config = Config { key: key.clone(), object };
        let Err(error) = check_config(&config) else {
            self.mended(&key);
            self.configs.insert(key, Arc::new(config));
            return;
        };
        let reason = format!("{}: {}", error.field, error.message);
        let has_good = known.is_some_and(|known| {
            self.broken.get(&key).is_none_or(|(newest, _)| *newest != known.object)
        });
        let newest = config.object.clone();
        if !has_good {
            self.configs.insert(key.clone(), Arc::new(config));
        }
        self.broken.insert(key.clone(), (newest.clone(), reason.clone()));
        self.found.push(Found::Broken(Broken { object: newest, key, reason, has_good }));
    }

    /// Whether it was broken.
    fn mended(&mut self, key: &ObjectKey) -> bool {
        let was = self.broken.remove(key).is_some();
        if was {
            self.found.push(Found::Mended(key.clone()));
        }
        was
    }

    fn remove(&mut self, kind: Kind, key: &ObjectKey) {
        self.changed |= match kind {
            Kind::Services => self.services.remove(key).is_some(),
            Kind::Configs => {
                self.mended(key);
                self.configs.remove(key).is_some()
            }
            Kind::Namespaces => self.fabrics.remove(&key.name).is_some(),
        };
    }
}

/// Where an object lives.
pub(super) fn key_of(object: &Value) -> ObjectKey {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    ObjectKey::new(text("/metadata/namespace"), text("/metadata/name"))
}

/// An object without what changes often and decides nothing, and without kubectl's copy of it, which
/// is as large as the object itself.
fn stripped(mut object: Map<String, Value>) -> Value {
    object.shift_remove("status");
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        for member in ["managedFields", "resourceVersion", "generation"] {
            metadata.shift_remove(member);
        }
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
            if annotations.is_empty() {
                metadata.shift_remove("annotations");
            }
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests;
