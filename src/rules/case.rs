//! The object that the rules look at.

use std::cell::OnceCell;

use serde_json::Value;

use super::Request;
use super::effective::{Effective, Engine, NoPod};
use crate::api::{GROUP, Object, ObjectKey};
use crate::catalog::Snapshot;
use crate::compose::{ComposeError, Composed, compose};
use crate::json::{self, FieldPath};

/// Which of the two kinds an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Config,
}

/// An object, what it was before, and what else there is.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) kind: Kind,
    pub(super) key: ObjectKey,
    /// The object as its author wrote it.
    pub(super) object: &'a Value,
    /// What it was before.
    pub(super) old: Option<&'a Value>,
    /// The same as [`Self::object`], with the name and namespace that it is going to have.
    pub(super) read: Object,
    composed: OnceCell<Option<Result<Composed, ComposeError>>>,
    effective: OnceCell<Option<Result<Effective, NoPod>>>,
}

impl<'a> Case<'a> {
    /// `None` for an object of another kind, or one that cannot be read.
    pub(super) fn of(request: Request<'a>) -> Option<Self> {
        let Request { snapshot, namespace, object, old } = request;
        let mut read = Object::read(named(object)).ok()?;
        let (kind, key) = match &mut read {
            Object::Service(service) => (Kind::Service, &mut service.key),
            Object::Config(config) => (Kind::Config, &mut config.key),
        };
        if !namespace.is_empty() {
            namespace.clone_into(&mut key.namespace);
        }
        let key = key.clone();
        Some(Self {
            snapshot,
            kind,
            key,
            object,
            old,
            read,
            composed: OnceCell::new(),
            effective: OnceCell::new(),
        })
    }

    /// `spec`, `null` where there is none.
    pub(super) fn spec(&self) -> &'a Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// The value below `spec`.
    pub(super) fn get(&self, path: &[&str]) -> Option<&'a Value> {
        get(self.spec(), path)
    }

    /// The pools that the spec speaks of, the decode or general one first.
    pub(super) fn pools(&self) -> Vec<Pool<'a>> {
        pools(self.spec())
    }

    /// The service's effective spec, composed once; `None` of a config.
    pub(super) fn composed(&self) -> Option<&Result<Composed, ComposeError>> {
        let compose_service = || match &self.read {
            // The snapshot's cache is of the services in it; this one is not there yet.
            Object::Service(service) => Some(compose(self.snapshot, service)),
            Object::Config(_) => None,
        };
        self.composed.get_or_init(compose_service).as_ref()
    }

    /// Why the service cannot be composed.
    pub(super) fn compose_error(&self) -> Option<&ComposeError> {
        self.composed()?.as_ref().err()
    }

    /// The service's engines; `None` of a config, and of a service that cannot be composed.
    pub(super) fn effective(&self) -> Option<&Result<Effective, NoPod>> {
        let compute = || {
            let (Object::Service(service), Some(Ok(composed))) = (&self.read, self.composed())
            else {
                return None;
            };
            Some(Effective::of(self, service, composed))
        };
        self.effective.get_or_init(compute).as_ref()
    }

    /// Prefill and decode of a service that has both.
    pub(super) fn pair(&self) -> Option<(&Engine, &Engine)> {
        self.effective()?.as_ref().ok()?.pair()
    }

    /// The annotation's value.
    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.object.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    pub(super) fn is_v1alpha1(&self) -> bool {
        json::text(self.object, &["apiVersion"])
            .and_then(|version| version.strip_prefix(GROUP))
            .is_some_and(|version| version == "/v1alpha1")
    }
}

/// The spec of one pool: `spec` itself, or `spec.prefill`.
#[derive(Debug, Clone)]
pub(super) struct Pool<'a> {
    pub(super) path: FieldPath,
    pub(super) spec: &'a Value,
}

impl<'a> Pool<'a> {
    /// The value below the pool.
    pub(super) fn get(&self, path: &[&str]) -> Option<&'a Value> {
        get(self.spec, path)
    }

    /// The path of a field below the pool.
    pub(super) fn at(&self, path: &[&str]) -> FieldPath {
        below(&self.path, path)
    }

    /// Whether an object stands there.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.get(path).is_some()
    }
}

/// The pools of a spec, the decode or general one first.
pub(super) fn pools(spec: &Value) -> Vec<Pool<'_>> {
    let main = Pool { path: FieldPath::root().field("spec"), spec };
    let prefill = get(spec, &["prefill"]).filter(|prefill| prefill.is_object());
    let prefill = prefill.map(|spec| Pool { path: at(&["prefill"]), spec });
    std::iter::once(main).chain(prefill).collect()
}

/// The value that the member names lead to; null reads as absent, as it does in Go.
pub(super) fn get<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    json::at(value, path).filter(|value| !value.is_null())
}

/// A path below `spec`.
pub(super) fn at(path: &[&str]) -> FieldPath {
    below(&FieldPath::root().field("spec"), path)
}

/// A path below another.
pub(super) fn below(path: &FieldPath, names: &[&str]) -> FieldPath {
    names.iter().fold(path.clone(), |path, name| path.field(name))
}

/// The items of a list that is there, with their paths; nothing else.
pub(super) fn items<'v>(
    value: &'v Value,
    path: &[&str],
    base: &FieldPath,
) -> Vec<(FieldPath, &'v Value)> {
    let list = get(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let base = below(base, path);
    list.iter().enumerate().map(|(index, item)| (base.index(index), item)).collect()
}

/// A text member, the empty one read as absent, as Go does.
pub(super) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    json::text(value, path).filter(|text| !text.is_empty())
}

/// The object with a name: one that is created with `generateName` has none at admission.
fn named(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    let is_named =
        metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !is_named && let Some(prefix) = metadata.get("generateName").cloned() {
        metadata.insert("name".to_owned(), prefix);
    }
    object
}
